//! When the journal could not be written, for how long and why: pure. What cannot be journalled while it lasts is
//! journalled when it is over.

use serde::Serialize;

use super::disk::Access;
use crate::{event::Stamp, journal::JournalError};

/// A time in which nothing could be recorded. This is also the body of its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outage {
    /// Why, and what to do; the last reason there was.
    pub reason: String,
    /// From this time by the wall clock ...
    pub from: jiff::Timestamp,
    /// ... to this; the clock may have been set between them.
    pub until: jiff::Timestamp,
    /// How long it lasted, by the monotonic clock.
    pub for_ms: u64,
}

/// Watches for outages.
#[derive(Debug, Default)]
pub struct Refusal {
    going: Option<Going>,
}

/// An outage that goes on.
#[derive(Debug, Clone)]
pub struct Going {
    /// When it was noticed.
    pub from: Stamp,
    /// Why, and what to do.
    pub reason: String,
}

impl Refusal {
    /// How the journal is now; an outage once it is over.
    pub fn on_standing(&mut self, now: Stamp, refusing: Option<&JournalError>, access: Option<Access>) -> Option<Outage> {
        match (&mut self.going, refusing) {
            (None, None) => None,
            (None, Some(error)) => {
                self.going = Some(Going { from: now, reason: reason(error, access) });
                None
            }
            (Some(going), Some(error)) => {
                going.reason = reason(error, access);
                None
            }
            (Some(_), None) => self.going.take().map(|Going { from, reason }| Outage {
                reason,
                from: from.wall,
                until: now.wall,
                for_ms: now.monotonic_ms.saturating_sub(from.monotonic_ms),
            }),
        }
    }

    /// The outage that goes on.
    #[must_use]
    pub const fn going(&self) -> Option<&Going> {
        self.going.as_ref()
    }
}

/// The reason in a sentence a technician can act on.
#[must_use]
pub fn reason(error: &JournalError, access: Option<Access>) -> String {
    let sqlite = match error {
        JournalError::Storage(source) | JournalError::Database(source) => source.sqlite_error_code(),
        _ => None,
    };
    if access == Some(Access::ReadOnly) || sqlite == Some(rusqlite::ErrorCode::ReadOnly) {
        return "the state directory's file system is read-only, nothing is recorded: the kernel makes it so after a disk error; look \
                into `dmesg`, stop the gate, check the file system (fsck), mount it for writing and start the gate, or change the disk"
            .to_owned();
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BootId, ClockQuality};

    fn at(wall_s: i64, mono_s: u64) -> Stamp {
        let wall = jiff::Timestamp::from_second(wall_s).unwrap();
        Stamp { wall, monotonic_ms: mono_s * 1_000, boot: BootId(uuid::Uuid::nil()), clock: ClockQuality::Rtc }
    }

    fn fault(code: i32) -> JournalError {
        JournalError::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
    }

    #[test]
    fn an_outage_is_told_once_when_it_is_over_and_its_length_is_not_the_wall_clocks() {
        let mut refusal = Refusal::default();
        let full = fault(rusqlite::ffi::SQLITE_FULL);
        assert_eq!(refusal.on_standing(at(1_000, 100), None, None), None);
        assert_eq!(refusal.on_standing(at(1_001, 101), Some(&full), None), None);
        assert_eq!(refusal.going().unwrap().from.wall.as_second(), 1_001);
        assert_eq!(refusal.on_standing(at(1_002, 102), Some(&full), None), None);
        // The clock is set back meanwhile.
        let outage = refusal.on_standing(at(500, 161), None, None).unwrap();
        assert_eq!((outage.from.as_second(), outage.until.as_second(), outage.for_ms), (1_001, 500, 60_000));
        assert!(outage.reason.contains("disk of the journal is full"), "{}", outage.reason);
        assert_eq!(refusal.on_standing(at(501, 162), None, None), None);
    }

    #[test]
    fn a_read_only_file_system_is_called_that_with_what_to_do() {
        let by_sqlite = reason(&fault(rusqlite::ffi::SQLITE_READONLY), None);
        let by_mount = reason(&fault(rusqlite::ffi::SQLITE_IOERR_WRITE), Some(Access::ReadOnly));
        let other = reason(&fault(rusqlite::ffi::SQLITE_IOERR_WRITE), Some(Access::Writable));
        assert!(by_sqlite.contains("read-only") && by_sqlite.contains("fsck") && by_sqlite == by_mount, "{by_sqlite}");
        assert!(other.contains("dmesg") && !other.contains("fsck"), "{other}");
    }
}
