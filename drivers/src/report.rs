//! What a radio saw, in the radio's own words.
//!
//! A report is not an event: nothing here is classed, numbered or judged. It says who heard it, when the bytes
//! arrived here, what they say and how they were protected. The raw bytes travel along as evidence.

use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Epc, MacAddress, ReaderId, SealId, SealRead, SealTold};

/// One thing one radio noticed.
#[derive(Debug, Clone)]
pub struct Report {
    /// The radio that noticed.
    pub reader: ReaderId,
    /// When its bytes arrived here.
    pub heard: Heard,
    /// What it noticed.
    pub sighting: Sighting,
}

/// The moment bytes arrived, on both clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// Monotonic time: good for durations.
    pub monotonic: Instant,
    /// Wall time as this machine believes it: the gate adds how far that can be trusted.
    pub wall: SystemTime,
}

impl Heard {
    /// Now, on both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }
}

/// What a radio can notice.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// A reader reported a tag. It proves presence, never that anything is sealed.
    Tag(TagRead),
    /// A seal's advertisement was heard and understood.
    Advert(SealAdvert),
    /// An advertisement of a registered seal was heard and may not be believed.
    Refused(RefusedAdvert),
    /// A seal's state was read over a connection.
    Read(SealRead),
    /// A seal told what happened to it, over a connection.
    Told(SealTold),
    /// The reader itself complains.
    Trouble(Trouble),
    /// The radio came up or went down; sent once per change.
    Standing(Standing),
}

/// One tag in one reader's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRead {
    /// What the tag calls itself.
    pub epc: Epc,
    /// Antenna, counted from 1, where the reader says it.
    pub antenna: Option<u8>,
    /// Signal strength as the reader's raw byte; its unit is not stated by the maker.
    pub rssi_raw: Option<u8>,
    /// The whole frame as received.
    pub raw: Vec<u8>,
}

/// A seal's advertisement, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealAdvert {
    /// The seal, from the register or from its address.
    pub seal: SealId,
    /// The address it advertised with.
    pub address: MacAddress,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
    /// What it says of itself.
    pub reading: SealReading,
    /// How that was protected.
    pub protection: Protection,
    /// The service data as received.
    pub raw: Vec<u8>,
}

/// How an advertisement was protected on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Anybody could have sent it.
    Plain,
    /// Its code was verified with the seal's key.
    Keyed {
        /// The seal's own message counter. Whether it went forward is the gate's to judge, against what it has on disk.
        counter: u32,
    },
}

/// What a seal says of its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockClaim {
    /// It says it is locked.
    Locked,
    /// It says it is open.
    Unlocked,
}

/// The measurements of one advertisement; what it did not say is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealReading {
    /// The lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockClaim>,
    /// Tamper detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tamper: Option<bool>,
    /// A door or opening reported open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Battery charge in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_percent: Option<u8>,
    /// The seal's own low-battery flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_low: Option<bool>,
    /// Charging.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charging: Option<bool>,
    /// Battery voltage in millivolts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voltage_mv: Option<u16>,
    /// Temperature in hundredths of a degree Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_centi_c: Option<i32>,
    /// Relative humidity in hundredths of a percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub humidity_centi_pct: Option<u32>,
    /// Moving or vibrating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<bool>,
    /// The seal reports a fault of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<bool>,
    /// The seal's own time, seconds since 1970, never used as ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_time: Option<u32>,
    /// Packet number, wraps at 255; the same number within seconds is the same packet heard again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet: Option<u8>,
}

/// An advertisement that names a registered seal and may not be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAdvert {
    /// The seal it names.
    pub seal: SealId,
    /// The address it came from.
    pub address: MacAddress,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
    /// Why.
    pub why: AdvertRefusal,
    /// The service data as received.
    pub raw: Vec<u8>,
}

/// Why an advertisement is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvertRefusal {
    /// It came in the clear although the register holds a key for this seal (a downgrade).
    PlainDespiteKey,
    /// Its code does not fit the seal's key.
    BadCode,
    /// It is encrypted and the register holds no key.
    NoKey,
    /// It is not a well-formed BTHome v2 advertisement.
    Malformed,
}

/// What a reader says is wrong with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// An antenna is missing or mismatched.
    Antenna {
        /// Which, counted from 1, where the reader says it or it was asked for one alone.
        antenna: Option<u8>,
        /// The reader's status byte.
        status: u8,
    },
    /// The reader answered with an error of its own.
    ReaderError {
        /// The reader's status byte.
        status: u8,
        /// What the maker's manual calls it.
        meaning: &'static str,
    },
    /// The gate was too slow and this many sightings were not passed on since the last such report.
    Overrun {
        /// How many.
        lost: u64,
    },
}

/// Whether a radio works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Up {
        /// What it says it is, e.g. type and firmware.
        detail: String,
    },
    /// It does not.
    Down {
        /// Why, and what to look at.
        reason: String,
    },
}
