//! One entry of a seal's log, 20 bytes.
//!
//! ```text
//!   number(4) time(4) what flags battery 00 detail(8)
//! ```

use super::{Fault, piece};
use crate::{SealEvent, SealWord};

/// Its length in bytes.
pub const ENTRY_LEN: usize = 20;

/// The clock was set when it was written.
const CLOCK_SET: u8 = 0x01;

/// What happened, by the seal's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What(pub u8);

/// The numbers of the words, in order from 1.
const WORDS: [SealWord; 17] = [
    SealWord::Sealed,
    SealWord::Unsealed,
    SealWord::ForcedOpen,
    SealWord::ShackleCut,
    SealWord::CoverOpened,
    SealWord::EmergencyOpened,
    SealWord::WrongPassword,
    SealWord::OpenTooLong,
    SealWord::LowBattery,
    SealWord::MotorStuck,
    SealWord::LocallySealed,
    SealWord::SealingCancelled,
    SealWord::Restarted,
    SealWord::TimeSet,
    SealWord::LogLost,
    SealWord::Abnormal,
    SealWord::Heartbeat,
];

impl What {
    /// Entries that were overwritten.
    pub const LOG_LOST: Self = Self(15);

    /// The seal's number for a word.
    #[must_use]
    pub fn of(word: SealWord) -> Self {
        let at = WORDS.iter().position(|known| *known == word).unwrap_or(WORDS.len());
        Self(u8::try_from(at + 1).unwrap_or(u8::MAX))
    }

    /// The word; a number nobody knows is something abnormal.
    #[must_use]
    pub fn word(self) -> SealWord {
        usize::from(self.0).checked_sub(1).and_then(|at| WORDS.get(at)).copied().unwrap_or(SealWord::Abnormal)
    }
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the log, from 1.
    pub number: u32,
    /// By the seal's clock: seconds since 1970, or since its start where the clock was not set.
    pub time: u32,
    /// Whether its clock was set.
    pub clock_set: bool,
    /// What happened.
    pub what: What,
    /// Battery in percent as the seal writes it.
    pub battery: u8,
    /// The detail that belongs to it.
    pub detail: [u8; 8],
}

impl Entry {
    /// As bytes.
    #[must_use]
    pub fn write(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8] = self.what.0;
        bytes[9] = if self.clock_set { CLOCK_SET } else { 0 };
        bytes[10] = self.battery;
        bytes[12..].copy_from_slice(&self.detail);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`Fault::Length`].
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() != ENTRY_LEN {
            return Err(Fault::Length { wanted: ENTRY_LEN, found: bytes.len() });
        }
        Ok(Self {
            number: u32::from_le_bytes(piece(bytes, 0)),
            time: u32::from_le_bytes(piece(bytes, 4)),
            clock_set: bytes[9] & CLOCK_SET != 0,
            what: What(bytes[8]),
            battery: bytes[10],
            detail: piece(bytes, 12),
        })
    }

    /// For a [`What::LOG_LOST`], how many entries it stands for.
    #[must_use]
    pub fn lost(&self) -> Option<u32> {
        (self.what == What::LOG_LOST).then(|| u32::from_le_bytes(piece(&self.detail, 0)))
    }

    /// In the words all seals share.
    #[must_use]
    pub fn event(&self) -> SealEvent {
        SealEvent {
            word: self.what.word(),
            number: Some(self.number),
            device_time: self.clock_set.then_some(u64::from(self.time)),
            raw: self.write().to_vec(),
        }
    }
}
