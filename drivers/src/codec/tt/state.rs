//! The status byte, and what it means in the words of all makers.

use crate::{LockClaim, SealReading, SealWord};

/// What a lock says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// `1`: open.
    Open,
    /// `2`: standing by.
    Standby,
    /// `3`: not ready.
    NotReady,
    /// `4`: sealed.
    Sealed,
    /// `5`: sealed on the spot, not by a command.
    LocallySealed,
    /// `6`: unsealed.
    Unsealed,
    /// `7`: alarm.
    Alarm(Flags),
    /// `9`: an alarm was cancelled.
    AlarmCancelled,
    /// `A`: abnormal.
    Abnormal,
    /// Nothing the maker's document names.
    Unknown(u8),
}

/// What raised the alarm; several may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// The rod was cut.
    pub const ROD_CUT: u8 = 1;
    /// It was opened.
    pub const OPENED: u8 = 2;
    /// The shell was opened.
    pub const SHELL: u8 = 4;
    /// It was opened by its emergency means.
    pub const EMERGENCY: u8 = 8;

    /// From the low half of a status byte.
    #[must_use]
    pub fn new(low: u8) -> Self {
        Self(low & 0x0F)
    }

    /// The flags as they stand in the status byte.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl State {
    /// Reads a status byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte >> 4 {
            0x1 => Self::Open,
            0x2 => Self::Standby,
            0x3 => Self::NotReady,
            0x4 => Self::Sealed,
            0x5 => Self::LocallySealed,
            0x6 => Self::Unsealed,
            0x7 => Self::Alarm(Flags::new(byte)),
            0x9 => Self::AlarmCancelled,
            0xA => Self::Abnormal,
            _ => Self::Unknown(byte),
        }
    }

    /// Writes a status byte.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Open => 0x10,
            Self::Standby => 0x20,
            Self::NotReady => 0x30,
            Self::Sealed => 0x40,
            Self::LocallySealed => 0x50,
            Self::Unsealed => 0x60,
            Self::Alarm(flags) => 0x70 | flags.bits(),
            Self::AlarmCancelled => 0x90,
            Self::Abnormal => 0xA0,
            Self::Unknown(byte) => byte,
        }
    }

    /// What it complains of. An alarm that does not say why, one that was cancelled, and a state nobody knows are
    /// [`SealWord::Abnormal`]: somebody should look.
    #[must_use]
    pub fn complaints(self) -> Vec<SealWord> {
        match self {
            Self::Alarm(Flags(0)) | Self::AlarmCancelled | Self::Abnormal | Self::Unknown(_) => vec![SealWord::Abnormal],
            Self::Alarm(Flags(flags)) => {
                let words = [
                    (Flags::ROD_CUT, SealWord::ShackleCut),
                    (Flags::OPENED, SealWord::ForcedOpen),
                    (Flags::SHELL, SealWord::CoverOpened),
                    (Flags::EMERGENCY, SealWord::EmergencyOpened),
                ];
                words.into_iter().filter(|(flag, _)| flags & flag != 0).map(|(_, word)| word).collect()
            }
            Self::LocallySealed => vec![SealWord::LocallySealed],
            Self::Open | Self::Standby | Self::NotReady | Self::Sealed | Self::Unsealed => Vec::new(),
        }
    }

    /// What it says of lock and tampering; what it leaves open stays `None`.
    #[must_use]
    pub fn reading(self) -> SealReading {
        let lock = match self {
            Self::Sealed | Self::LocallySealed => Some(LockClaim::Locked),
            Self::Open | Self::Unsealed => Some(LockClaim::Unlocked),
            _ => None,
        };
        let opened = |flags: Flags| flags.bits() & (Flags::OPENED | Flags::EMERGENCY) != 0;
        let open = match self {
            Self::Open => Some(true),
            Self::Alarm(flags) if opened(flags) => Some(true),
            _ => None,
        };
        let tamper = match self {
            Self::Alarm(_) => Some(true),
            Self::Sealed | Self::LocallySealed | Self::Open | Self::Unsealed => Some(false),
            _ => None,
        };
        let problem = matches!(self, Self::Abnormal | Self::Unknown(_)).then_some(true);
        SealReading { lock, open, tamper, problem, ..SealReading::default() }
    }
}
