//! TOTARGET TT-Series BLE-ELOCK A7: the frames of a container lock with a rod.
//!
//! ```text
//!   frame      kind | len | data | CRC-8/MAXIM of all before
//!   kind       01 plain, len bytes of data | 11 AES-128-ECB, data padded with zeros; len is that of the plaintext
//!   to it      12 state, 31 lock, 37 unlock   code | lock 4 | password 6, ASCII | time 6
//!              20 set time                    code | time 6
//!              01 answers a heartbeat         code | lock 4 | time 6
//!   from it    62, 80 to 87, 90 to 99         code | lock 4 | battery | status | reserved | source | time 6
//!              01 heartbeat                   code | lock 4 | battery | status | reserved | time 6
//!              03 broken, 04 rod cut, 05 opened
//!   lock       "83181001" -> 20 7E 03 E9: two halves of four decimal digits, u16 BE each
//!   time       YY MM DD hh mm ss, each a byte
//!   source     what was operated: 1 by itself, 2 its keyboard, 3 over Bluetooth
//! ```
//!
//! What must hold: nothing of a frame is used whose check does not fit; with a key nothing is believed that came in the
//! clear; an answer that does not name its lock is none. The codes and status words are in [`codes`] and [`state`].
//!
//! Source: WeyeTech/welockbridge (`TTSeriesProtocol.kt`, `TTSeriesDigitalLock.kt`), a kit that names the maker's document
//! "A7"; it goes on when a check does not fit, this does not. Inferred, because nobody says it: the time is UTC (the kit
//! writes its phone's local time); an alarm's body begins like a heartbeat's; battery is percent; no data is longer than
//! [`DATA_MAX`]; the answer to 20 is any frame with that code.

mod body;
pub mod codes;
mod frame;
pub mod state;

use std::{fmt, str::FromStr};

pub use body::{Access, Alarm, Command, Message, Report, Source};
pub use frame::{Decoder, Frame, Kind, Tt, decoder, write};

/// Longest data that is read, in bytes; the longest known has 17, and a version in text has room.
pub const DATA_MAX: usize = 64;
/// Digits of a password.
pub const PASSWORD_LEN: usize = 6;

/// The number a lock calls itself by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockId([u8; 4]);

impl LockId {
    /// From four bytes of a frame.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// As it stands in a frame.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        self.0
    }
}

impl fmt::Display for LockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{:04}{:04}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }
}

/// Text that is no lock's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the number of a TT lock: write its 8 digits")]
pub struct NoLockIdError;

impl FromStr for LockId {
    type Err = NoLockIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NoLockIdError);
        }
        let half = |digits: &str| digits.parse::<u16>().map(u16::to_be_bytes).map_err(|_| NoLockIdError);
        let ([a, b], [c, d]) = (half(&text[..4])?, half(&text[4..])?);
        Ok(Self([a, b, c, d]))
    }
}

/// Why bytes say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TtFault {
    /// The check does not fit.
    #[error("the check of a frame does not fit: it was damaged on the way")]
    Check,
    /// No frame begins here.
    #[error("bytes that are no frame")]
    Garbage,
    /// The end of a frame never came.
    #[error("a frame that was cut off")]
    Cut,
    /// It is encrypted and there is no key.
    #[error("it is encrypted, and there is no key for it")]
    NoKey,
    /// It is in the clear although there is a key.
    #[error("it came in the clear although there is a key")]
    PlainDespiteKey,
    /// What it is padded with are not zeros.
    #[error("it does not decrypt with this key")]
    WrongKey,
    /// A code nobody knows.
    #[error("code {0:#04x}, which is not known")]
    UnknownCode(u8),
    /// Less than the code needs.
    #[error("{len} bytes for code {code:#04x}: too few")]
    TooShort {
        /// The code.
        code: u8,
        /// How much there is, in bytes.
        len: usize,
    },
}

#[cfg(test)]
mod tests;
