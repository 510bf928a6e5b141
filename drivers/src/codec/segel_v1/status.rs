//! The status block of 31 bytes.
//!
//! ```text
//!   state trouble battery mV(2) temp(2) clock(4) log(4) oldest(4) stored(2) action result reference(8)
//! ```

use super::{Fault, Reference, piece};
use crate::{LockClaim, SealReading, SealWord};

/// Its length in bytes.
pub const STATUS_LEN: usize = 31;

/// No percentage is known.
const BATTERY_UNKNOWN: u8 = 0xFF;
/// No temperature is known.
const TEMPERATURE_UNKNOWN: i16 = i16::MIN;

/// Where the bolt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bolt {
    /// Open.
    Unlocked,
    /// Closed.
    Locked,
    /// Neither end is sensed.
    Between,
}

macro_rules! bits {
    ($(#[$what:meta])* $name:ident { $($(#[$doc:meta])* $bit:ident = $value:literal,)* }) => {
        $(#[$what])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name(u8);

        impl $name {
            $($(#[$doc])* pub const $bit: Self = Self($value);)*

            /// Whether any of these is set.
            #[must_use]
            pub fn has(self, these: Self) -> bool {
                self.0 & these.0 != 0
            }

            /// With these set.
            #[must_use]
            pub fn with(self, these: Self) -> Self {
                Self(self.0 | these.0)
            }

            /// With these not set.
            #[must_use]
            pub fn without(self, these: Self) -> Self {
                Self(self.0 & !these.0)
            }
        }
    };
}

bits! {
    /// What holds at this moment.
    Marks {
        /// The shackle is in place.
        SHACKLE = 0x04,
        /// The clock is set.
        CLOCK = 0x08,
        /// The key is all zero.
        FACTORY_KEY = 0x10,
        /// The battery is low.
        BATTERY_LOW = 0x20,
        /// The oldest entry tells of lost ones.
        LOG_LOST = 0x40,
    }
}
bits! {
    /// What happened since it was last locked.
    Trouble {
        /// Forced open.
        FORCED = 0x01,
        /// Its shackle, rope or rod was cut.
        CUT = 0x02,
        /// Its cover was opened.
        COVER = 0x04,
        /// Opened by its emergency means.
        EMERGENCY = 0x08,
        /// Its motor stuck.
        STUCK = 0x10,
        /// A fault of its own.
        FAULT = 0x20,
        /// Wrong codes were tried.
        WRONG_CODE = 0x40,
        /// Any sign of tampering.
        TAMPER = 0x0F,
    }
}

/// What it executed last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    /// 0 nothing yet, 1 lock, 2 unlock.
    pub action: u8,
    /// 0 done, 4 motor stuck, 8 interrupted and not done.
    pub result: u8,
    /// The command's reference.
    pub reference: Reference,
}

/// A seal's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The bolt.
    pub bolt: Bolt,
    /// What holds now.
    pub marks: Marks,
    /// What happened since it was last locked.
    pub trouble: Trouble,
    /// Battery in percent.
    pub battery_percent: Option<u8>,
    /// Battery voltage in millivolts; 0 is not known.
    pub millivolts: u16,
    /// Hundredths of a degree Celsius.
    pub temperature_centi_c: Option<i16>,
    /// Seconds since 1970 where its clock is set, else since it started.
    pub clock: u32,
    /// Which log.
    pub log: u32,
    /// The number of the oldest entry, or of the next one when there is none.
    pub oldest: u32,
    /// Entries held.
    pub stored: u16,
    /// The last command executed.
    pub last: Last,
}

impl Status {
    /// As bytes.
    #[must_use]
    pub fn write(&self) -> [u8; STATUS_LEN] {
        let bolt = match self.bolt {
            Bolt::Unlocked => 0,
            Bolt::Locked => 1,
            Bolt::Between => 2,
        };
        let mut bytes = [0; STATUS_LEN];
        bytes[0] = bolt | self.marks.0;
        bytes[1] = self.trouble.0;
        bytes[2] = self.battery_percent.unwrap_or(BATTERY_UNKNOWN);
        bytes[3..5].copy_from_slice(&self.millivolts.to_le_bytes());
        bytes[5..7].copy_from_slice(&self.temperature_centi_c.unwrap_or(TEMPERATURE_UNKNOWN).to_le_bytes());
        bytes[7..11].copy_from_slice(&self.clock.to_le_bytes());
        bytes[11..15].copy_from_slice(&self.log.to_le_bytes());
        bytes[15..19].copy_from_slice(&self.oldest.to_le_bytes());
        bytes[19..21].copy_from_slice(&self.stored.to_le_bytes());
        bytes[21] = self.last.action;
        bytes[22] = self.last.result;
        bytes[23..].copy_from_slice(&self.last.reference.0);
        bytes
    }

    /// From bytes; bits that should be zero are passed over.
    ///
    /// # Errors
    /// [`Fault::Length`], and [`Fault::Senseless`] for a bolt nobody can name.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let found = bytes.len();
        let bytes: &[u8; STATUS_LEN] = bytes.try_into().map_err(|_| Fault::Length { wanted: STATUS_LEN, found })?;
        let bolt = match bytes[0] & 0x03 {
            0 => Bolt::Unlocked,
            1 => Bolt::Locked,
            2 => Bolt::Between,
            _ => return Err(Fault::Senseless("the bolt is in no place that has a name")),
        };
        let temperature = i16::from_le_bytes(piece(bytes, 5));
        Ok(Self {
            bolt,
            marks: Marks(bytes[0] & 0x7C),
            trouble: Trouble(bytes[1] & 0x7F),
            battery_percent: Some(bytes[2]).filter(|percent| *percent <= 100),
            millivolts: u16::from_le_bytes(piece(bytes, 3)),
            temperature_centi_c: Some(temperature).filter(|centi| *centi != TEMPERATURE_UNKNOWN),
            clock: u32::from_le_bytes(piece(bytes, 7)),
            log: u32::from_le_bytes(piece(bytes, 11)),
            oldest: u32::from_le_bytes(piece(bytes, 15)),
            stored: u16::from_le_bytes(piece(bytes, 19)),
            last: Last { action: bytes[21], result: bytes[22], reference: Reference(piece(bytes, 23)) },
        })
    }

    /// As a reading in the words all seals share.
    #[must_use]
    pub fn reading(&self) -> SealReading {
        SealReading {
            lock: match self.bolt {
                Bolt::Unlocked => Some(LockClaim::Unlocked),
                Bolt::Locked => Some(LockClaim::Locked),
                Bolt::Between => None,
            },
            tamper: Some(self.trouble.has(Trouble::TAMPER)),
            open: Some(!self.marks.has(Marks::SHACKLE)),
            battery_percent: self.battery_percent,
            battery_low: Some(self.marks.has(Marks::BATTERY_LOW)),
            voltage_mv: Some(self.millivolts).filter(|millivolts| *millivolts != 0),
            temperature_centi_c: self.temperature_centi_c.map(i32::from),
            problem: Some(self.trouble.has(Trouble::STUCK.with(Trouble::FAULT))),
            device_time: self.marks.has(Marks::CLOCK).then_some(self.clock),
            ..SealReading::default()
        }
    }

    /// What it complains of.
    #[must_use]
    pub fn complaints(&self) -> Vec<SealWord> {
        let troubles = [
            (Trouble::FORCED, SealWord::ForcedOpen),
            (Trouble::CUT, SealWord::ShackleCut),
            (Trouble::COVER, SealWord::CoverOpened),
            (Trouble::EMERGENCY, SealWord::EmergencyOpened),
            (Trouble::STUCK, SealWord::MotorStuck),
            (Trouble::FAULT, SealWord::Abnormal),
            (Trouble::WRONG_CODE, SealWord::WrongPassword),
        ];
        let marks = [(Marks::BATTERY_LOW, SealWord::LowBattery), (Marks::LOG_LOST, SealWord::LogLost)];
        let of_trouble = troubles.into_iter().filter(|(bit, _)| self.trouble.has(*bit)).map(|(_, word)| word);
        let of_marks = marks.into_iter().filter(|(bit, _)| self.marks.has(*bit)).map(|(_, word)| word);
        of_trouble.chain(of_marks).collect()
    }
}
