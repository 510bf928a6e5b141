//! G-Series container locks (IMZ, Bander protocol V11).
//!
//! ```text
//!   to it      F11F | mark | command u16 | len u16 | body | check | F22F
//!   from it    F33F | mark | command u16 | len u16 | body | check | F44F
//!              20 F1 result                                            short, without any check
//!   mark       FFFF body is the content | FFEE body is AES-128-ECB, zero padded, of
//!              CRC16-CCITT-FALSE(content) | serial 6 | random 4 | content
//!   len        of the body before padding
//!   check      two's complement of the sum of all between head and check; if above F0, less 16
//!   serial     YY MM DD hh mm ss, each two decimal digits; must be above the last one
//!   0310 set   count | (param | len | value)..      answered by: result, or count | (param | result)..
//!   0312 query param                                answered by: result, or count | (param | len | value)..
//!   param      24 sealed (01) or not (00), 26 password, 30 lock state (01, 31 locked; 00, 30 not), 94 battery
//!   result     00 done, 01 and 11 (17) failed and it may have moved all the same, 04 serial not above the last,
//!              05 check, 06 other; in the short answer 02 shackle not in place
//! ```
//!
//! What must hold: nothing of a frame is used whose outer or inner check does not fit; the short answer, which has
//! none, is only taken where a frame would begin, never out of the middle of damaged bytes.
//!
//! Source: WeyeTech/welockbridge (`GSeriesProtocol.kt`, which says that it follows a working program). Its comment:
//! "device may still unlock despite error code 1 or 17; wait 2 s and verify". It takes the first byte of an answer for
//! the result even where that is a count, which may be where its code 1 comes from. Inferred, because nobody says it:
//! `len` in answers counts as in commands (the kit does not look at it); an answer marked FFFF may be encrypted all the
//! same (the kit decrypts both); battery is asked for as the lock state is, and is percent; the serial is UTC.

mod content;
mod frame;

pub use content::{Param, QueryAnswer, Verdict, may_have_moved, params, query, query_answer, set_answer, set_sealed, verdict};
pub use frame::{ByWhom, Decoder, Frame, G, Opened, Sealing, Unit, Way, decoder, plain, sealed, short};

use uuid::Uuid;

/// The Nordic UART service.
pub const SERVICE: Uuid = Uuid::from_u128(0x6E40_0001_B5A3_F393_E0A9_E50E_24DC_CA9E);
/// Its characteristic that is written to.
pub const WRITE: Uuid = Uuid::from_u128(0x6E40_0002_B5A3_F393_E0A9_E50E_24DC_CA9E);
/// Its characteristic that notifies.
pub const NOTIFY: Uuid = Uuid::from_u128(0x6E40_0003_B5A3_F393_E0A9_E50E_24DC_CA9E);

/// Sets parameters.
pub const SET: u16 = 0x0310;
/// Asks for parameters.
pub const QUERY: u16 = 0x0312;
/// Sealed or not.
pub const PARAM_SEAL: u8 = 0x24;
/// The password of its keyboard.
pub const PARAM_PASSWORD: u8 = 0x26;
/// The lock state.
pub const PARAM_LOCK: u8 = 0x30;
/// The battery.
pub const PARAM_BATTERY: u8 = 0x94;
/// Longest body that is read, in bytes before padding. The longest known has 26.
pub const LEN_MAX: usize = 240;

/// Why bytes say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GFault {
    /// The outer check does not fit.
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
    /// What is inside does not fit its check.
    #[error("the inner check does not fit: it was written with another key")]
    WrongKey,
    /// The content is not what its command has.
    #[error("the content of command {0:#06x} makes no sense")]
    Content(u16),
}

#[cfg(test)]
mod tests;
