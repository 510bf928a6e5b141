//! When something happened, and how far that time can be trusted.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::vocabulary::words;
use super::{IdentityError, UnknownWord};

words! {
    /// What the wall clock was worth at that moment.
    ClockQuality, "clock quality" {
        /// Kept by a time server.
        Ntp = "ntp",
        /// Kept by a time server not long ago, running free since.
        Holdover = "holdover",
        /// Taken from the battery clock at start and never checked.
        Rtc = "rtc",
        /// Known to be wrong, or nothing is known.
        Untrusted = "untrusted",
    }
}

/// One run of the machine's kernel (`/proc/sys/kernel/random/boot_id`): monotonic times compare within it only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootId(pub Uuid);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for BootId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text.trim()).map(Self).map_err(|_| IdentityError::Uuid(text.chars().take(60).collect()))
    }
}

impl TryFrom<String> for BootId {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BootId> for String {
    fn from(boot: BootId) -> Self {
        boot.to_string()
    }
}

/// A moment at this gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Wall time; written in UTC with milliseconds.
    pub wall: Timestamp,
    /// Milliseconds since the machine booted; goes on through every step of the wall clock.
    pub monotonic_ms: u64,
    /// The boot `monotonic_ms` counts from.
    pub boot: BootId,
    /// What the wall time was worth.
    pub clock: ClockQuality,
}
