//! The outside of a frame, and the envelope inside.

use crc::{CRC_16_IBM_3740, Crc};

use super::{GFault, LEN_MAX};
use crate::{
    SealKey,
    codec::{
        calendar::SealTime,
        ecb,
        stream::{Framing, Look, Place, Stream},
    },
};

/// CRC16-CCITT-FALSE by its other name.
const INNER_CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);
const MARK_SEALED: [u8; 2] = [0xFF, 0xEE];
const MARK_PLAIN: [u8; 2] = [0xFF, 0xFF];
const SHORT: [u8; 2] = [0x20, 0xF1];
/// Head, mark, command, len.
const BEFORE: usize = 8;
/// Check and tail.
const BEHIND: usize = 3;
/// Check, serial and random before the content.
const ENVELOPE: usize = 12;

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the gate to the lock.
    ToLock,
    /// From the lock to the gate.
    FromLock,
}

impl Way {
    fn head(self) -> [u8; 2] {
        match self {
            Self::ToLock => [0xF1, 0x1F],
            Self::FromLock => [0xF3, 0x3F],
        }
    }

    fn tail(self) -> [u8; 2] {
        match self {
            Self::ToLock => [0xF2, 0x2F],
            Self::FromLock => [0xF4, 0x4F],
        }
    }
}

/// What a frame is sealed with.
#[derive(Debug, Clone)]
pub struct Sealing<'a> {
    /// The lock's key.
    pub key: &'a SealKey,
    /// Above that of every command before.
    pub serial: SealTime,
    /// Fresh.
    pub random: [u8; 4],
}

/// Writes a frame in the clear. Content above [`LEN_MAX`] is cut off.
#[must_use]
pub fn plain(way: Way, command: u16, content: &[u8]) -> Vec<u8> {
    let content = &content[..content.len().min(LEN_MAX)];
    frame(way, MARK_PLAIN, command, content.len(), content)
}

/// Writes a frame that is encrypted. Content above [`LEN_MAX`] less 12 is cut off.
#[must_use]
pub fn sealed(way: Way, command: u16, content: &[u8], with: &Sealing<'_>) -> Vec<u8> {
    let content = &content[..content.len().min(LEN_MAX - ENVELOPE)];
    let check = INNER_CHECK.checksum(content).to_be_bytes();
    let inside = [&check[..], &with.serial.to_bcd(), &with.random, content].concat();
    frame(way, MARK_SEALED, command, inside.len(), &ecb::encrypt(with.key, &inside))
}

/// The short answer.
#[must_use]
pub fn short(result: u8) -> Vec<u8> {
    vec![SHORT[0], SHORT[1], result]
}

fn frame(way: Way, mark: [u8; 2], command: u16, len: usize, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(len).expect("LEN_MAX fits");
    let mut bytes = [&way.head()[..], &mark, &command.to_be_bytes(), &len.to_be_bytes(), body].concat();
    bytes.push(check(&bytes[2..]));
    bytes.extend(way.tail());
    bytes
}

/// The maker's odd check: it never gives F1 to FF, so that no head or tail can be mistaken for it.
fn check(bytes: &[u8]) -> u8 {
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    if sum > 0xF0 { sum - 16 } else { sum }
}

/// How a content came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByWhom {
    /// Somebody who has the key wrote it, now or earlier.
    KeyHolder,
    /// Anybody: it came in the clear.
    Anybody,
}

/// What was inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The content.
    pub content: Vec<u8>,
    /// Who can have written it.
    pub by: ByWhom,
    /// The six bytes of its serial, where it has one.
    pub serial: Option<[u8; 6]>,
}

/// A frame whose outer check fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it commands, or which command it answers.
    pub command: u16,
    marked_sealed: bool,
    len: usize,
    body: Vec<u8>,
}

impl Frame {
    /// What is inside.
    ///
    /// # Errors
    /// [`GFault::NoKey`], [`GFault::WrongKey`].
    pub fn open(&self, key: Option<&SealKey>) -> Result<Opened, GFault> {
        let inside = key.and_then(|key| self.unseal(key));
        match (inside, self.marked_sealed, key) {
            (Some(opened), ..) => Ok(opened),
            (None, true, None) => Err(GFault::NoKey),
            (None, true, Some(_)) => Err(GFault::WrongKey),
            (None, false, _) if self.body.len() != self.len => Err(GFault::WrongKey),
            (None, false, _) => Ok(Opened { content: self.body.clone(), by: ByWhom::Anybody, serial: None }),
        }
    }

    fn unseal(&self, key: &SealKey) -> Option<Opened> {
        let inside = ecb::decrypt(key, &self.body)?;
        let (inside, padding) = inside.split_at_checked(self.len)?;
        let (envelope, content) = inside.split_first_chunk::<ENVELOPE>()?;
        let [c0, c1, s0, s1, s2, s3, s4, s5, ..] = *envelope;
        let fits = INNER_CHECK.checksum(content).to_be_bytes() == [c0, c1] && padding.iter().all(|byte| *byte == 0);
        let serial = Some([s0, s1, s2, s3, s4, s5]);
        (fits && !content.is_empty()).then(|| Opened { content: content.to_vec(), by: ByWhom::KeyHolder, serial })
    }
}

/// What notifications consist of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// A frame.
    Frame(Frame),
    /// The short answer.
    Short(u8),
}

/// What frames look like to a [`Stream`].
#[derive(Debug, Clone, Copy)]
pub struct G(Way);

/// Turns notifications, or writes, into frames.
pub type Decoder = Stream<G>;

/// A decoder that has seen nothing.
#[must_use]
pub fn decoder(way: Way) -> Decoder {
    Stream::new(G(way))
}

impl Framing for G {
    type Frame = Unit;
    type Fault = GFault;
    const CUT: GFault = GFault::Cut;

    fn look(&self, bytes: &[u8], place: Place) -> Look<Unit, GFault> {
        if self.0 == Way::FromLock && place == Place::InStep && SHORT.starts_with(&bytes[..bytes.len().min(SHORT.len())]) {
            return bytes.get(SHORT.len()).map_or(Look::More, |result| Look::Frame(Unit::Short(*result), SHORT.len() + 1));
        }
        let [h0, h1] = self.0.head();
        let known = bytes.iter().zip([h0, h1, MARK_SEALED[0]]).all(|(byte, expected)| *byte == expected);
        let Some((before, rest)) = bytes.split_first_chunk::<BEFORE>() else {
            return if known { Look::More } else { Look::Not(GFault::Garbage) };
        };
        let [_, _, m0, m1, c0, c1, l0, l1] = *before;
        let (mark, len) = ([m0, m1], usize::from(u16::from_be_bytes([l0, l1])));
        if !known || (mark != MARK_SEALED && mark != MARK_PLAIN) || len == 0 || len > LEN_MAX {
            return Look::Not(GFault::Garbage);
        }
        let marked_sealed = mark == MARK_SEALED;
        let lengths = [len, ecb::padded(len)];
        for on_wire in lengths.into_iter().skip(usize::from(marked_sealed)) {
            let Some((body, behind)) = rest.split_at_checked(on_wire).filter(|(_, behind)| behind.len() >= BEHIND) else {
                return Look::More;
            };
            if behind[0] == check(&bytes[2..BEFORE + on_wire]) && behind[1..BEHIND] == self.0.tail() {
                let frame = Frame { command: u16::from_be_bytes([c0, c1]), marked_sealed, len, body: body.to_vec() };
                return Look::Frame(Unit::Frame(frame), BEFORE + on_wire + BEHIND);
            }
        }
        Look::Not(GFault::Check)
    }
}
