//! A journal in a directory of its own, and drafts to put into it.

use std::time::Duration;

use segel::{
    event::{Assurance, BootId, Class, ClockQuality, Draft, EventType, Source, Stamp, Subject},
    ingest::Thinning,
    journal::{Entry, Journal, JournalConfig, Recorded},
};
use serde_json::json;

/// A rule with round numbers.
pub(crate) const THINNING: Thinning = Thinning {
    heartbeat: Duration::from_secs(60),
    tag_repeat: Duration::from_secs(10),
    battery_step_percent: 5,
    temperature_step_c: 2.0,
    lost_after: Duration::from_secs(120),
};

/// The gate of the tests.
pub(crate) fn source() -> Source {
    Source::new("idsrg", "g01").unwrap()
}

/// Opens, or opens again, the journal there.
pub(crate) fn open(dir: &std::path::Path) -> Journal {
    Journal::open(dir, JournalConfig::default(), source()).unwrap().0
}

/// The same, with a configuration of its own.
pub(crate) fn open_with(dir: &std::path::Path, config: JournalConfig) -> Journal {
    Journal::open(dir, config, source()).unwrap().0
}

/// Somebody else holds the database for writing until this is dropped: every commit fails meanwhile.
pub(crate) fn hold(dir: &std::path::Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Asks again until it is so; fails when that takes too long.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "this should have become true long ago");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An event of this class that carries a number of its own.
pub(crate) fn entry(class: Class, number: u64) -> Entry {
    let kind = match class {
        Class::Alarm => EventType::Tampered,
        Class::Receipt => EventType::Sealed,
        Class::Telemetry => EventType::DeviceStatus,
    };
    let stamp = Stamp { wall: jiff::Timestamp::now(), monotonic_ms: number, boot: BootId(uuid::Uuid::nil()), clock: ClockQuality::Rtc };
    Entry::new(Draft::new(class, kind, Subject::gateway(), stamp, Assurance::Own, &json!({ "number": number })).unwrap())
}

/// Records so many events of a class, in one transaction each hundred.
pub(crate) async fn record(journal: &Journal, class: Class, count: u64) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for from in (0..count).step_by(100) {
        let entries = (from..count.min(from + 100)).map(|number| entry(class, number)).collect();
        recorded.extend(journal.append_all(entries).await.unwrap());
    }
    recorded
}
