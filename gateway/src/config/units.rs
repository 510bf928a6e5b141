//! From a number in the unit its key names to a [`Duration`] or a count of bytes.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Milliseconds.
pub(super) fn millis<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// Seconds.
pub(super) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}

/// Hours.
pub(super) fn hours<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u32::deserialize(from).map(|hours| Duration::from_secs(u64::from(hours) * 3600))
}

/// Days of 24 hours.
pub(super) fn days<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u32::deserialize(from).map(|days| Duration::from_secs(u64::from(days) * 86_400))
}

/// Mebibytes, as bytes.
pub(super) fn mib<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    u32::deserialize(from).map(|mib| u64::from(mib) << 20)
}

/// Kibibytes, as bytes.
pub(super) fn kib<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    u32::deserialize(from)?.checked_mul(1024).ok_or_else(|| D::Error::custom("more than 4 GiB"))
}
