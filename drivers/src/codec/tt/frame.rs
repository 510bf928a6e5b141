//! The outside of a frame: kind, length, check, encryption.

use crc::{CRC_8_MAXIM_DOW, Crc};

use super::{DATA_MAX, TtFault};
use crate::{
    SealKey,
    codec::{
        ecb,
        stream::{Framing, Look, Place, Stream},
    },
};

const CHECK: Crc<u8> = Crc::<u8>::new(&CRC_8_MAXIM_DOW);
/// kind, len.
const HEAD: usize = 2;

/// How the data of a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In the clear.
    Plain,
    /// AES-128-ECB.
    Encrypted,
}

/// A frame whose check fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    kind: Kind,
    /// Length of the plaintext, 1 to [`DATA_MAX`].
    len: usize,
    payload: Vec<u8>,
}

impl Frame {
    /// How its data is written.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its data in the clear; never empty.
    ///
    /// # Errors
    /// [`TtFault::NoKey`], [`TtFault::PlainDespiteKey`], [`TtFault::WrongKey`].
    pub fn open(&self, key: Option<&SealKey>) -> Result<Vec<u8>, TtFault> {
        match (self.kind, key) {
            (Kind::Plain, None) => Ok(self.payload.clone()),
            (Kind::Plain, Some(_)) => Err(TtFault::PlainDespiteKey),
            (Kind::Encrypted, None) => Err(TtFault::NoKey),
            (Kind::Encrypted, Some(key)) => {
                let mut data = ecb::decrypt(key, &self.payload).ok_or(TtFault::WrongKey)?;
                if data[self.len..].iter().any(|padding| *padding != 0) {
                    return Err(TtFault::WrongKey);
                }
                data.truncate(self.len);
                Ok(data)
            }
        }
    }
}

/// Writes 1 to [`DATA_MAX`] bytes of data as a frame, encrypted where there is a key.
#[must_use]
pub fn write(data: &[u8], key: Option<&SealKey>) -> Vec<u8> {
    let data = &data[..data.len().min(DATA_MAX)];
    let len = u8::try_from(data.len()).expect("DATA_MAX fits into a byte");
    let mut frame = match key {
        None => [&[0x01, len], data].concat(),
        Some(key) => [&[0x11, len], ecb::encrypt(key, data).as_slice()].concat(),
    };
    frame.push(CHECK.checksum(&frame));
    frame
}

/// What frames look like to a [`Stream`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Tt;

/// Turns notifications into frames.
pub type Decoder = Stream<Tt>;

/// A decoder that has seen nothing.
#[must_use]
pub fn decoder() -> Decoder {
    Stream::new(Tt)
}

impl Framing for Tt {
    type Frame = Frame;
    type Fault = TtFault;
    const CUT: TtFault = TtFault::Cut;

    fn look(&self, bytes: &[u8], _: Place) -> Look<Frame, TtFault> {
        let kind = match bytes[0] {
            0x01 => Kind::Plain,
            0x11 => Kind::Encrypted,
            _ => return Look::Not(TtFault::Garbage),
        };
        let Some(&len) = bytes.get(1) else { return Look::More };
        let len = usize::from(len);
        if len == 0 || len > DATA_MAX {
            return Look::Not(TtFault::Garbage);
        }
        let end = HEAD + if kind == Kind::Encrypted { ecb::padded(len) } else { len };
        let Some(&check) = bytes.get(end) else { return Look::More };
        if CHECK.checksum(&bytes[..end]) != check {
            return Look::Not(TtFault::Check);
        }
        Look::Frame(Frame { kind, len, payload: bytes[HEAD..end].to_vec() }, end + 1)
    }
}
