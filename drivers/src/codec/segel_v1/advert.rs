//! The service data of an advertisement, 10 bytes: a claim, and replayable until its counter has gone forward.
//!
//! ```text
//!   b0 (version 01, battery in 5 %) b1 (flags) counter(4) code(4)
//! ```

use super::{
    Bolt, Marks, Status, Trouble,
    keys::{advert_key, cmac},
    piece,
};
use crate::{LockClaim, Protection, SealReading, codec::bthome::SealKey};

const LEN: usize = 10;
const VERSION_BITS: u8 = 0b0100_0000;
const BATTERY_BITS: u8 = 0b0001_1111;
const BATTERY_STEP: u8 = 5;
const BATTERY_UNKNOWN: u8 = 31;

const LOCKED: u8 = 0x01;
const BETWEEN: u8 = 0x02;
const SHACKLE: u8 = 0x04;
const TAMPER: u8 = 0x08;
const BATTERY_LOW: u8 = 0x10;
const FAULTY: u8 = 0x20;
const STORED: u8 = 0x40;
const CLOCK: u8 = 0x80;

/// What an advertisement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// In the words all seals share.
    pub reading: SealReading,
    /// [`Protection::Keyed`] only where the code was checked.
    pub protection: Protection,
    /// Whether its log holds entries.
    pub stored: bool,
}

/// Why an advertisement says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdvertFault {
    /// Not 10 bytes of version 1.
    #[error("it is no advertisement of version 1")]
    Malformed,
    /// Its code does not fit the key.
    #[error("its code does not fit the key")]
    BadCode,
}

/// The first two bytes for a state.
fn said(status: &Status) -> [u8; 2] {
    let battery = status.battery_percent.map_or(BATTERY_UNKNOWN, |percent| percent.min(100) / BATTERY_STEP);
    let bits = [
        (LOCKED, status.bolt == Bolt::Locked),
        (BETWEEN, status.bolt == Bolt::Between),
        (SHACKLE, status.marks.has(Marks::SHACKLE)),
        (TAMPER, status.trouble.has(Trouble::TAMPER)),
        (BATTERY_LOW, status.marks.has(Marks::BATTERY_LOW)),
        (FAULTY, status.trouble.has(Trouble::STUCK.with(Trouble::FAULT))),
        (STORED, status.stored > 0),
        (CLOCK, status.marks.has(Marks::CLOCK)),
    ];
    [VERSION_BITS | battery, bits.iter().filter(|(_, set)| *set).fold(0, |flags, (bit, _)| flags | bit)]
}

/// The code over the first six bytes.
#[must_use]
pub fn advert_code(key: &SealKey, number: &str, said: &[u8; 6]) -> [u8; 4] {
    piece(&cmac(advert_key(key, number).bytes(), &[said]), 0)
}

/// What a seal in this state advertises.
#[must_use]
pub fn write_advert(key: &SealKey, number: &str, status: &Status, counter: u32) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..2].copy_from_slice(&said(status));
    bytes[2..6].copy_from_slice(&counter.to_le_bytes());
    let code = advert_code(key, number, &piece(&bytes, 0));
    bytes[6..].copy_from_slice(&code);
    bytes
}

/// Reads service data; without a key it is what anybody could have sent.
///
/// # Errors
/// [`AdvertFault`].
pub fn read_advert(key: Option<&SealKey>, number: &str, bytes: &[u8]) -> Result<Advert, AdvertFault> {
    let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| AdvertFault::Malformed)?;
    if bytes[0] & !BATTERY_BITS != VERSION_BITS {
        return Err(AdvertFault::Malformed);
    }
    let protection = match key {
        None => Protection::Plain,
        Some(key) if advert_code(key, number, &piece(bytes, 0)) == piece::<4>(bytes, 6) => {
            Protection::Keyed { counter: u32::from_le_bytes(piece(bytes, 2)) }
        }
        Some(_) => return Err(AdvertFault::BadCode),
    };
    let battery = bytes[0] & BATTERY_BITS;
    let is = |bit: u8| bytes[1] & bit != 0;
    let lock = match (is(LOCKED), is(BETWEEN)) {
        (true, false) => Some(LockClaim::Locked),
        (false, false) => Some(LockClaim::Unlocked),
        (false, true) => None,
        (true, true) => return Err(AdvertFault::Malformed),
    };
    let reading = SealReading {
        lock,
        tamper: Some(is(TAMPER)),
        open: Some(!is(SHACKLE)),
        battery_percent: (battery <= 100 / BATTERY_STEP).then_some(battery * BATTERY_STEP),
        battery_low: Some(is(BATTERY_LOW)),
        problem: Some(is(FAULTY)),
        ..SealReading::default()
    };
    Ok(Advert { reading, protection, stored: is(STORED) })
}
