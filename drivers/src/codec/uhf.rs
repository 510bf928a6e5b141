//! The UHFReader18 / UHFReader288 family of serial UHF readers.
//!
//! ```text
//!   to the reader     Len Adr Cmd        Data... CRC_L CRC_H
//!   from the reader   Len Adr Cmd Status Data... CRC_L CRC_H
//! ```
//!
//! `Len` counts the bytes after itself. The check is CRC-16/MCRF4XX over everything before it, low byte first.
//! There is no start byte: whoever has lost the beginning waits for a pause or slides until a check fits
//! ([`Decoder`]).
//!
//! Source: the makers' manual of the UR series / UHFReader288MP, version 1.14, sections 8.1 to 8.4; the frames
//! in the tests were captured from devices by the open project `wabson/chafon-rfid`. No independent source for
//! the real-time frames (`EE`) was found: they rest on that manual alone.

mod answer;
mod command;
mod decoder;

pub use answer::{Answer, InventoryEnd, ReaderInfo, TagEntry, Unreadable, meaning};
pub use command::{Command, HEARTBEAT_UNIT, ScanTime};
pub use decoder::{BUFFER_MAX, Decoder, DecoderCounts};

use crc::{CRC_16_MCRF4XX, Crc};

/// The address every reader answers to.
pub const BROADCAST: u8 = 0xFF;
/// Longest frame, in bytes: `Len` is one byte and does not count itself.
pub const FRAME_MAX: usize = 256;
/// Smallest `Len` that can be a frame at all: address, command and check.
pub(crate) const LEN_MIN: u8 = 4;

/// Command codes, the same in the command and in its answer.
pub(crate) mod code {
    pub(crate) const INVENTORY: u8 = 0x01;
    pub(crate) const INFO: u8 = 0x21;
    pub(crate) const MODE: u8 = 0x76;
    pub(crate) const HEARTBEAT: u8 = 0x78;
    pub(crate) const REALTIME: u8 = 0xEE;
}

/// Which of the two inventory layouts a reader speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// One antenna, no signal strength, answers only when asked.
    UhfReader18,
    /// Antennas, signal strength, real-time mode with heartbeat.
    UhfReader288,
}

const CHECK: Crc<u16> = Crc::<u16>::new(&CRC_16_MCRF4XX);

/// One whole frame whose check fitted.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// Builds a frame from its address, its code and what follows (for an answer: the status and the data).
    ///
    /// # Panics
    /// When `body` is longer than 251 bytes; nothing in this crate sends that much.
    #[must_use]
    pub fn new(address: u8, code: u8, body: &[u8]) -> Self {
        let len = u8::try_from(body.len() + usize::from(LEN_MIN)).expect("no frame of ours is longer than its length byte can say");
        let mut bytes = Vec::with_capacity(usize::from(len) + 1);
        bytes.extend_from_slice(&[len, address, code]);
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&CHECK.checksum(&bytes).to_le_bytes());
        Self(bytes)
    }

    /// Takes `bytes` as one whole frame if its length and its check fit.
    pub(crate) fn checked(bytes: &[u8]) -> Option<Self> {
        let (frame, check) = bytes.split_last_chunk::<2>()?;
        let len = *frame.first()?;
        let fits = len >= LEN_MIN && bytes.len() == usize::from(len) + 1 && CHECK.checksum(frame) == u16::from_le_bytes(*check);
        fits.then(|| Self(bytes.to_vec()))
    }

    /// The reader's address.
    #[must_use]
    pub fn address(&self) -> u8 {
        self.0[1]
    }

    /// The command this is, or answers.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.0[2]
    }

    /// What stands between the code and the check.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0[3..self.0.len() - 2]
    }

    /// The whole frame as on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({})", hex::encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from devices; do not change this test.
    #[test]
    fn captured_frames_pass_their_check_and_are_rebuilt_byte_for_byte() {
        for text in [
            "1100210000160c034e001e0a01000000e651",
            "1500010301010c0000000000000000000003136bb1a5",
            "0d000103010104003230386da3d2",
            "0700010101001e4b",
            "13000103010c0000000000000000000003133f39",
            "20000103020c0000000000000000000003130c0000000000000000000003149ac9",
        ] {
            let bytes = hex::decode(text).unwrap();
            let frame = Frame::checked(&bytes).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(Frame::new(frame.address(), frame.code(), frame.body()).bytes(), bytes, "{text}");
        }
    }

    /// Captured from a device, last byte changed; do not change this test.
    #[test]
    fn a_frame_with_a_wrong_check_is_no_frame() {
        assert_eq!(Frame::checked(&hex::decode("1500010301010c0000000000000000000003136bb1a6").unwrap()), None);
        for short in ["", "04", "04ff", "04ff21", "03ffffff", "04ff211995ff"] {
            assert_eq!(Frame::checked(&hex::decode(short).unwrap()), None, "{short}");
        }
    }
}
