//! What a gateway asks of a seal and what becomes of it.

use super::piece;

/// Length of a command in the clear, in bytes.
pub(super) const COMMAND_LEN: usize = 11;
/// The earliest time a seal takes: 2020-01-01, in seconds since 1970.
const EARLIEST: u32 = 1_577_836_800;

/// The name of a command for ever, picked by the gateway; never all zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reference(pub [u8; 8]);

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Close the bolt.
    Lock(Reference),
    /// Open the bolt.
    Unlock(Reference),
    /// Set the clock, in seconds since 1970.
    SetTime(u32),
    /// Delete what is confirmed and hand over what follows.
    Drain {
        /// Which log.
        log: u32,
        /// Highest number that is on disk at the gateway; 0 confirms nothing.
        confirm: u32,
        /// Most entries wanted.
        most: u8,
    },
}

impl Command {
    /// Whether it moves the bolt.
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(self, Self::Lock(_) | Self::Unlock(_))
    }

    /// As bytes in the clear.
    #[must_use]
    pub fn write(&self) -> [u8; COMMAND_LEN] {
        let mut bytes = [0; COMMAND_LEN];
        match *self {
            Self::Lock(reference) => {
                bytes[0] = 1;
                bytes[1..9].copy_from_slice(&reference.0);
            }
            Self::Unlock(reference) => {
                bytes[0] = 2;
                bytes[1..9].copy_from_slice(&reference.0);
            }
            Self::SetTime(seconds) => {
                bytes[0] = 3;
                bytes[1..5].copy_from_slice(&seconds.to_le_bytes());
            }
            Self::Drain { log, confirm, most } => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&log.to_le_bytes());
                bytes[5..9].copy_from_slice(&confirm.to_le_bytes());
                bytes[9] = most;
            }
        }
        bytes
    }

    /// From bytes in the clear; `None` is [`Outcome::BAD_BODY`].
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; COMMAND_LEN] = bytes.try_into().ok()?;
        let reference = Reference(piece(bytes, 1));
        let command = match bytes[0] {
            1 if reference != Reference::default() => Self::Lock(reference),
            2 if reference != Reference::default() => Self::Unlock(reference),
            3 => Self::SetTime(u32::from_le_bytes(piece(bytes, 1))),
            4 => Self::Drain { log: u32::from_le_bytes(piece(bytes, 1)), confirm: u32::from_le_bytes(piece(bytes, 5)), most: bytes[9] },
            _ => return None,
        };
        let early = matches!(command, Self::SetTime(seconds) if seconds < EARLIEST);
        // whatever should be zero and is not differs from how it would be written
        (command.write() == *bytes && !early).then_some(command)
    }
}

/// What became of a command, by the seal's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome(pub u8);

impl Outcome {
    /// Done; a bolt was sensed in its end position.
    pub const DONE: Self = Self(0);
    /// It stood so already, or this reference was executed before.
    pub const ALREADY: Self = Self(1);
    /// The battery may not last; nothing moved.
    pub const BATTERY_LOW: Self = Self(2);
    /// The shackle is out; nothing moved.
    pub const SHACKLE_OUT: Self = Self(3);
    /// It tried and stuck.
    pub const STUCK: Self = Self(4);
    /// Cut or cover open now; nothing moved.
    pub const IN_ALARM: Self = Self(5);
    /// Its key is all zero; nothing moved.
    pub const FACTORY_KEY: Self = Self(6);
    /// A body nobody can make sense of; nothing done.
    pub const BAD_BODY: Self = Self(7);
    /// Only as a last result: power was lost during the move and the bolt did not arrive.
    pub const INTERRUPTED: Self = Self(8);
    /// Not this log's id; nothing deleted.
    pub const WRONG_LOG: Self = Self(9);
    /// More is confirmed than was handed over; nothing deleted.
    pub const NOT_TOLD: Self = Self(10);
}
