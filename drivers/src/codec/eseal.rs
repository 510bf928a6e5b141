//! ESealBD container seals: a frame with two checks around a payload under a keystream that never changes.
//!
//! ```text
//!   frame     FF FF FF FF | check (port, length) | port A0 02 | length | body                       big-endian throughout
//!   body      id (4) | rn (4) | length of payload (2) | payload under keystream                     most
//!             payload in clear                                                                      2F02, 1F02
//!   payload   check (what follows) | kind (2) | length of content (2) | content                     2F02 ends with its kind
//!   keystream SHA-1(id | rn | key), 20 bytes, over and over
//!   check     CRC-16/IBM-3740 (CCITT, FFFF)
//!
//!   -> 2F00 query       id                          <- 1F00 state    id | period (2) window channel | via | power safe rod | limits (9)
//!   -> 2F0C operation   id | power | 0 seal 1 unseal   <- 1F00
//!   -> 2FD1 read        id | at most (2)            <- 1FD1 stored   id | length (2) | bytes
//!   -> 2F02 get id                                  <- 1F02          id
//!                                                   <- 1F0F error    id | code
//! ```
//!
//! What must hold: both checks fit or nothing is read; an answer of another seal is not this one's.
//!
//! What this protects: nothing. The seal's published firmware decrypts with an `rn` of its own, fixed at `ABABABAB`,
//! whatever the frame says, has the key 0, and does not look at the inner check. So commands must carry that `rn`: a
//! fresh one would make a published seal read noise, and carry it out if it happens to be a command. Whoever records
//! an unsealing can play it again.
//!
//! Sources: the app agenthun/ESeal (commit 1de203e) and the firmware published beside it (EsealBDOperation, EsealBD).
//! No frame of a real seal was found: the vectors in the tests are computed from these sources.

mod inbox;
mod stored;

pub use inbox::{FRAME_MAX, Inbox};
pub use stored::{STORED_NAMES, stored_lines};

use crc::{CRC_16_IBM_3740, Crc};
use sha1::{Digest, Sha1};

use crate::SealKey;

/// The 16-bit UUID of the service.
pub const SERVICE: u16 = 0xFFB0;
/// The 16-bit UUID of the radio module's own command line; the seal does not speak there.
pub const COMMAND_LINE: u16 = 0xFFB1;
/// The 16-bit UUID of the data line, written to and notifying.
pub const DATA_LINE: u16 = 0xFFB2;

/// The `rn` the published firmware decrypts with.
pub const FIRMWARE_RN: u32 = 0xABAB_ABAB;
/// The key the published app and firmware have.
pub const PUBLISHED_KEY: u32 = 0;
/// The port of seal operations.
pub const PORT: u16 = 0xA002;
/// Bytes before a body.
pub const HEAD_LEN: usize = 10;
/// Bytes before a payload in a body.
pub const ENVELOPE_LEN: usize = 10;
/// Bytes before the content of a payload.
pub const PAYLOAD_HEAD_LEN: usize = 6;
/// The most stored bytes a seal has room for.
pub const STORED_MAX: u16 = 256;

pub(crate) const LEAD: [u8; 4] = [0xFF; 4];
const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_3740);

/// Kinds of payload.
pub mod kind {
    /// How do you stand?
    pub const QUERY: u16 = 0x2F00;
    /// Settings.
    pub const CONFIG: u16 = 0x2F01;
    /// What is your number?
    pub const GET_ID: u16 = 0x2F02;
    /// Seal or unseal.
    pub const OPERATION: u16 = 0x2F0C;
    /// Store these bytes.
    pub const WRITE_STORED: u16 = 0x2FD0;
    /// What is stored?
    pub const READ_STORED: u16 = 0x2FD1;
    /// Where are you?
    pub const INFO: u16 = 0x2FD2;
    /// Forget what is stored.
    pub const CLEAR_STORED: u16 = 0x2FD3;
    /// A state.
    pub const STATE: u16 = 0x1F00;
    /// A number.
    pub const ID: u16 = 0x1F02;
    /// An error.
    pub const ERROR: u16 = 0x1F0F;
    /// A position.
    pub const POSITION: u16 = 0x1FD0;
    /// What is stored.
    pub const STORED: u16 = 0x1FD1;
}

/// What the sources call a kind.
#[must_use]
pub fn kind_name(kind: u16) -> &'static str {
    match kind {
        kind::QUERY => "query",
        kind::CONFIG => "config",
        kind::GET_ID => "get id",
        kind::OPERATION => "operation",
        kind::WRITE_STORED => "write stored data",
        kind::READ_STORED => "read stored data",
        kind::INFO => "where are you",
        kind::CLEAR_STORED => "clear stored data",
        kind::STATE => "state",
        kind::ID => "its number",
        kind::ERROR => "error",
        kind::POSITION => "position",
        kind::STORED => "stored data",
        _ => "a kind the sources do not name",
    }
}

/// Which way to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Seal: close and watch.
    Seal,
    /// Unseal: stop watching, and forget that it was forced.
    Unseal,
}

/// A key of more than 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this seal's key has 8 hex digits; write 24 zeros before them")]
pub struct NoShortKeyError;

/// The seal's 32-bit key: the last four bytes of a key whose others are 0.
///
/// # Errors
/// [`NoShortKeyError`].
pub fn short_key(key: &SealKey) -> Result<u32, NoShortKeyError> {
    match *key.bytes() {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Ok(u32::from_be_bytes([a, b, c, d])),
        _ => Err(NoShortKeyError),
    }
}

/// To the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// How do you stand?
    Query,
    /// Seal or unseal; its power stays on.
    Operate(Turn),
    /// What is stored?
    ReadStored {
        /// At most so many bytes.
        most: u16,
    },
    /// What is your number? In clear.
    GetId,
}

impl Order {
    /// The frame for the seal of this number and key, with this `rn`.
    #[must_use]
    pub fn frame(self, id: u32, rn: u32, key: u32) -> Vec<u8> {
        let id_bytes = id.to_be_bytes();
        match self {
            Self::Query => sealed_frame(id, rn, key, kind::QUERY, &id_bytes),
            Self::Operate(turn) => {
                let safe = u8::from(turn == Turn::Unseal);
                sealed_frame(id, rn, key, kind::OPERATION, &[&id_bytes[..], &[1, safe]].concat())
            }
            Self::ReadStored { most } => sealed_frame(id, rn, key, kind::READ_STORED, &[&id_bytes[..], &most.to_be_bytes()].concat()),
            Self::GetId => {
                let kind = kind::GET_ID.to_be_bytes();
                framed(&[&CHECK.checksum(&kind).to_be_bytes()[..], &kind].concat())
            }
        }
    }
}

/// A frame of any kind under the keystream.
///
/// # Panics
/// When `content` is longer than 512 bytes; nothing here is.
#[must_use]
pub fn sealed_frame(id: u32, rn: u32, key: u32, kind: u16, content: &[u8]) -> Vec<u8> {
    let mut payload = payload(kind, content);
    apply_keystream(id, rn, key, &mut payload);
    let length = short(payload.len());
    framed(&[&id.to_be_bytes()[..], &rn.to_be_bytes(), &length.to_be_bytes(), &payload].concat())
}

/// A frame of any kind in clear, with its length.
///
/// # Panics
/// When `content` is longer than 512 bytes; nothing here is.
#[must_use]
pub fn clear_frame(kind: u16, content: &[u8]) -> Vec<u8> {
    framed(&payload(kind, content))
}

fn payload(kind: u16, content: &[u8]) -> Vec<u8> {
    let rest = [&kind.to_be_bytes()[..], &short(content.len()).to_be_bytes(), content].concat();
    [&CHECK.checksum(&rest).to_be_bytes()[..], &rest].concat()
}

fn framed(body: &[u8]) -> Vec<u8> {
    let head = [PORT.to_be_bytes(), short(body.len()).to_be_bytes()].concat();
    [&LEAD[..], &CHECK.checksum(&head).to_be_bytes(), &head, body].concat()
}

fn short(length: usize) -> u16 {
    assert!(length <= 600, "a frame of ours is short");
    u16::try_from(length).expect("at most 600")
}

fn apply_keystream(id: u32, rn: u32, key: u32, bytes: &mut [u8]) {
    let stream = Sha1::digest([id.to_be_bytes(), rn.to_be_bytes(), key.to_be_bytes()].concat());
    for (byte, mask) in bytes.iter_mut().zip(stream.iter().cycle()) {
        *byte ^= mask;
    }
}

/// How the seal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    /// Not sealed.
    Unsealed,
    /// Sealed, by its own word.
    Sealed,
    /// It was opened while it was sealed.
    ForcedOpen,
    /// A code the sources do not name.
    Unnamed(u8),
}

impl Safe {
    /// From its code.
    #[must_use]
    pub fn new(code: u8) -> Self {
        match code {
            0 => Self::Unsealed,
            1 => Self::Sealed,
            2 => Self::ForcedOpen,
            code => Self::Unnamed(code),
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Unsealed => 0,
            Self::Sealed => 1,
            Self::ForcedOpen => 2,
            Self::Unnamed(code) => code,
        }
    }
}

/// Where the rod is, by the switch in the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rod {
    /// In.
    In,
    /// Out.
    Out,
}

/// A state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// How often it reports by itself, in seconds.
    pub period_s: u16,
    /// Its receive window in seconds; below 5 it is always open.
    pub window_s: u8,
    /// The way it reports: 0 it chooses, 1 GPRS, 2 Beidou, 3 both, 4 D+, 5 GPRS and D+.
    pub channel: u8,
    /// The way this answer took, in the same numbers.
    pub via: u8,
    /// Its power byte: 0 off.
    pub power: u8,
    /// Sealed or not.
    pub safe: Safe,
    /// The rod.
    pub rod: Rod,
    /// Its limits for temperature, humidity and shaking, as it sent them.
    pub limits: [u8; 9],
}

impl State {
    /// Bytes of a state's content.
    pub const LEN: usize = 21;

    fn read(content: &[u8]) -> Option<Self> {
        let [_, _, _, _, p1, p2, window_s, channel, via, power, safe, rod, limits @ ..] = *<&[u8; Self::LEN]>::try_from(content).ok()?;
        let rod = if rod == 0 { Rod::Out } else { Rod::In };
        Some(Self { period_s: u16::from_be_bytes([p1, p2]), window_s, channel, via, power, safe: Safe::new(safe), rod, limits })
    }

    /// The content of an answer with this state, for the simulated seal.
    #[must_use]
    pub fn content(&self, id: u32) -> Vec<u8> {
        let [p1, p2] = self.period_s.to_be_bytes();
        let rod = u8::from(self.rod == Rod::In);
        [&id.to_be_bytes()[..], &[p1, p2, self.window_s, self.channel, self.via, self.power, self.safe.code(), rod], &self.limits].concat()
    }
}

/// From the seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// How it stands.
    State(State),
    /// What is stored in it. Nine lines as the app writes them, or anything ([`stored_lines`]).
    Stored(Vec<u8>),
    /// Its number.
    Id(u32),
    /// It refuses.
    Error(u8),
    /// Something else whose checks fit.
    Other,
}

/// A frame whose checks fitted, in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The seal's number and the `rn` in the envelope; `None` where the payload came in clear.
    pub envelope: Option<(u32, u32)>,
    /// Its kind.
    pub kind: u16,
    /// Its content.
    pub content: Vec<u8>,
    /// The whole payload in clear, with check, kind and length.
    pub payload: Vec<u8>,
}

/// Why a frame says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EsealFault {
    /// It ends before it should.
    #[error("it ends after {0} bytes, in the middle")]
    Cut(usize),
    /// It has more bytes than any frame.
    #[error("longer than the {FRAME_MAX} bytes a frame can have")]
    TooLong,
    /// It does not begin as a frame does.
    #[error("it does not begin with ff ff ff ff")]
    Lead,
    /// The check over port and length does not fit.
    #[error("the check over port and length is {says:04x} and should be {is:04x}")]
    HeadCheck {
        /// What it says.
        says: u16,
        /// What was computed.
        is: u16,
    },
    /// Another port.
    #[error("port {0:04x}; seal operations have {PORT:04x}")]
    Port(u16),
    /// A length inside is not what is there.
    #[error("it says that {says} bytes follow, and {is} do")]
    Length {
        /// What it says.
        says: usize,
        /// What is there.
        is: usize,
    },
    /// The check over the payload does not fit: damaged, or another key.
    #[error("the check over the payload does not fit: it is damaged, or the key is another")]
    PayloadCheck,
    /// The content is not as long as its kind wants.
    #[error("kind {kind:04x} cannot have {is} bytes of content")]
    Content {
        /// The kind.
        kind: u16,
        /// How long it is.
        is: usize,
    },
    /// Another seal's number in it.
    #[error("it is of seal {0}, not of this one")]
    OtherSeal(u32),
}

/// Checks and opens a whole frame.
///
/// # Errors
/// [`EsealFault`]: nothing of it may be used.
pub fn open(frame: &[u8], key: u32) -> Result<Opened, EsealFault> {
    let body = body(frame)?;
    let (envelope, payload) = if body.len() < ENVELOPE_LEN + PAYLOAD_HEAD_LEN {
        (None, body.to_vec())
    } else {
        let (head, rest) = body.split_at(ENVELOPE_LEN);
        let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let rn = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let says = usize::from(u16::from_be_bytes([head[8], head[9]]));
        if says != rest.len() {
            return Err(EsealFault::Length { says, is: rest.len() });
        }
        let mut payload = rest.to_vec();
        apply_keystream(id, rn, key, &mut payload);
        (Some((id, rn)), payload)
    };
    let (check, rest) = payload.split_first_chunk::<2>().ok_or(EsealFault::Cut(frame.len()))?;
    if CHECK.checksum(rest) != u16::from_be_bytes(*check) {
        return Err(EsealFault::PayloadCheck);
    }
    let (kind, rest) = rest.split_first_chunk::<2>().ok_or(EsealFault::Cut(frame.len()))?;
    let kind = u16::from_be_bytes(*kind);
    let content = match rest.split_first_chunk::<2>() {
        Some((says, content)) if usize::from(u16::from_be_bytes(*says)) == content.len() => content.to_vec(),
        Some((says, content)) => return Err(EsealFault::Length { says: u16::from_be_bytes(*says).into(), is: content.len() }),
        None if rest.is_empty() => Vec::new(),
        None => return Err(EsealFault::Cut(frame.len())),
    };
    Ok(Opened { envelope, kind, content, payload })
}

/// The body of a whole frame whose head fits.
///
/// # Errors
/// [`EsealFault`].
pub fn body(frame: &[u8]) -> Result<&[u8], EsealFault> {
    if frame.len() > FRAME_MAX {
        return Err(EsealFault::TooLong);
    }
    if !frame.starts_with(&LEAD) {
        return Err(if LEAD.starts_with(frame) { EsealFault::Cut(frame.len()) } else { EsealFault::Lead });
    }
    let (head, body) = frame.split_at_checked(HEAD_LEN).ok_or(EsealFault::Cut(frame.len()))?;
    let (says, is) = (u16::from_be_bytes([head[4], head[5]]), CHECK.checksum(&head[6..]));
    if says != is {
        return Err(EsealFault::HeadCheck { says, is });
    }
    let port = u16::from_be_bytes([head[6], head[7]]);
    if port != PORT {
        return Err(EsealFault::Port(port));
    }
    let says = usize::from(u16::from_be_bytes([head[8], head[9]]));
    if says != body.len() {
        return Err(EsealFault::Length { says, is: body.len() });
    }
    Ok(body)
}

impl Opened {
    /// What it says, as an answer of seal `id`.
    ///
    /// # Errors
    /// [`EsealFault::OtherSeal`], [`EsealFault::Content`].
    pub fn answer(&self, id: u32) -> Result<Answer, EsealFault> {
        if let Some((other, _)) = self.envelope.filter(|(other, _)| *other != id) {
            return Err(EsealFault::OtherSeal(other));
        }
        let wrong = EsealFault::Content { kind: self.kind, is: self.content.len() };
        if !matches!(self.kind, kind::STATE | kind::STORED | kind::ERROR | kind::ID) {
            return Ok(Answer::Other);
        }
        let (own, rest) = self.content.split_first_chunk::<4>().ok_or(wrong)?;
        let own = u32::from_be_bytes(*own);
        if own != id && self.kind != kind::ID {
            return Err(EsealFault::OtherSeal(own));
        }
        match (self.kind, rest) {
            (kind::STATE, _) => State::read(&self.content).map(Answer::State).ok_or(wrong),
            (kind::STORED, [a, b, bytes @ ..]) if usize::from(u16::from_be_bytes([*a, *b])) == bytes.len() => {
                Ok(Answer::Stored(bytes.to_vec()))
            }
            (kind::ERROR, [code]) => Ok(Answer::Error(*code)),
            (kind::ID, []) => Ok(Answer::Id(own)),
            _ => Err(wrong),
        }
    }

    /// What it says, as an order to seal `id`; `None` where it is none of ours.
    #[must_use]
    pub fn order(&self, id: u32) -> Option<Order> {
        if self.envelope.is_some_and(|(other, _)| other != id) {
            return None;
        }
        let (own, rest) =
            self.content.split_first_chunk::<4>().map_or((None, &[][..]), |(own, rest)| (Some(u32::from_be_bytes(*own)), rest));
        match (self.kind, own == Some(id), rest) {
            (kind::QUERY, true, []) => Some(Order::Query),
            (kind::OPERATION, true, [1, 0]) => Some(Order::Operate(Turn::Seal)),
            (kind::OPERATION, true, [1, _]) => Some(Order::Operate(Turn::Unseal)),
            (kind::READ_STORED, true, [a, b]) => Some(Order::ReadStored { most: u16::from_be_bytes([*a, *b]) }),
            (kind::GET_ID, ..) => Some(Order::GetId),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
