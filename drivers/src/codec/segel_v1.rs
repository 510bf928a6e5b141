//! Frames of the segel open seal protocol v1, drawn and explained in `docs/seal-protocol.md`.
//!
//! ```text
//!   gateway  01 HELLO     lowest highest 00 NG(16)                          20 bytes, in the clear
//!   seal     81 CHALLENGE length(2) version NS(16) {status(31)} tag(8)      59 bytes
//!   gateway  02 COMMAND   {action body(10)} tag(8)                          20 bytes
//!   seal     82 RESULT    length(2) {outcome n status(31) n entries} tag(8) 44 + 20 n bytes
//!   seal     80 PENDING   03 00                                             no answer yet; believed by nobody
//! ```
//!
//! `{}` is AES-128-CCM under a session key that is derived from the seal's key and both nonces and is good for this one
//! exchange; the additional data is the whole frame before. What must hold: nothing of a frame is given out before its
//! tag was checked; no key is ever shown; no input panics.
//!
//! Source: our own. The examples of the document are the vectors of the tests.

mod advert;
mod command;
mod entry;
mod exchange;
mod keys;
mod status;

use uuid::Uuid;

pub use advert::{Advert, AdvertFault, advert_code, read_advert, write_advert};
pub use command::{Command, Outcome, Reference};
pub use entry::{ENTRY_LEN, Entry, What};
pub use exchange::{Answer, Challenged, Commanded, Hello, Offer};
pub use keys::{advert_key, nonce_key, seal_nonce};
pub use status::{Bolt, Last, Marks, STATUS_LEN, Status, Trouble};

/// The service, also the UUID of its service data.
pub const SERVICE: Uuid = Uuid::from_u128(0x3f48_0001_a39b_488d_8fd4_c6f3_7928_d160);
/// Where requests are written.
pub const REQUEST: Uuid = Uuid::from_u128(0x3f48_0002_a39b_488d_8fd4_c6f3_7928_d160);
/// Where answers come from; readable until the next write.
pub const ANSWER: Uuid = Uuid::from_u128(0x3f48_0003_a39b_488d_8fd4_c6f3_7928_d160);

/// The version of this document.
pub const VERSION: u8 = 1;
/// Every request has this length, in bytes: it fits the smallest ATT MTU.
pub const REQUEST_LEN: usize = 20;
/// Length of a CHALLENGE, in bytes.
pub const CHALLENGE_LEN: usize = 59;
/// Most entries in one RESULT: then it is 244 bytes, one notification at MTU 247.
pub const ENTRIES_MAX: usize = 10;
/// The value of the answer characteristic when there is no answer.
pub const PENDING: [u8; 3] = [kind::PENDING, 3, 0];

/// First bytes of frames.
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 0x01;
    pub(crate) const COMMAND: u8 = 0x02;
    pub(crate) const PENDING: u8 = 0x80;
    pub(crate) const CHALLENGE: u8 = 0x81;
    pub(crate) const RESULT: u8 = 0x82;
}

/// ATT application errors of a seal that does not take a write.
pub mod att {
    /// It is not a frame.
    pub const NOT_A_FRAME: u8 = 0x80;
    /// No common version.
    pub const VERSION: u8 = 0x81;
    /// No live challenge.
    pub const NO_CHALLENGE: u8 = 0x82;
    /// The tag does not fit.
    pub const WRONG_CODE: u8 = 0x83;
    /// Too soon after a wrong code.
    pub const WAIT: u8 = 0x84;
    /// A command is being executed.
    pub const BUSY: u8 = 0x85;
    /// It cannot write its memory or fails its own test.
    pub const FAULT: u8 = 0x86;
}

/// A frame nothing can be made of, or that may not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has not the length it says or must have: read the characteristic again.
    #[error("the frame has {found} bytes instead of {wanted}")]
    Length {
        /// How many it should have.
        wanted: usize,
        /// How many it has.
        found: usize,
    },
    /// Another frame than is due here.
    #[error("a frame of kind {0:#04x} is not due here")]
    Kind(u8),
    /// The seal picked a version that was not offered.
    #[error("version {0} was not offered")]
    Version(u8),
    /// The tag does not fit: another key, another seal, another exchange, or it was changed on its way.
    #[error("the code does not fit the key")]
    WrongCode,
    /// It is genuine and makes no sense.
    #[error("genuine and senseless: {0}")]
    Senseless(&'static str),
}

/// What can be said of an answer's bytes without any key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A frame of this kind, whole.
    Whole(u8),
    /// A frame of this kind whose end is missing: the notification was cut, read the characteristic.
    Cut(u8),
    /// Nothing of this protocol.
    Nothing,
}

/// Looks at an answer without believing it.
#[must_use]
pub fn form(bytes: &[u8]) -> Form {
    let Some(&[kind, low, high]) = bytes.first_chunk::<3>() else { return Form::Nothing };
    let length = usize::from(u16::from_le_bytes([low, high]));
    match bytes.len().cmp(&length) {
        std::cmp::Ordering::Less => Form::Cut(kind),
        std::cmp::Ordering::Equal => Form::Whole(kind),
        std::cmp::Ordering::Greater => Form::Nothing,
    }
}

/// A little-endian piece of a fixed layout.
fn piece<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut piece = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        piece.copy_from_slice(found);
    }
    piece
}

#[cfg(test)]
mod tests;
