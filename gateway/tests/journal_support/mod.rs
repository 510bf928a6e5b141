//! What the tests of the journal share.

#![allow(dead_code, unreachable_pub, reason = "every test binary takes what it needs")]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use segel::event::chain::{ChainCheck, ChainReport};
use segel::event::{Assurance, BootId, Class, ClockQuality, Digest, Draft, EventType, Seq, Source, Stamp, Subject};
use segel::journal::{Entry, Journal, JournalConfig, JournalError, JournalReader, Opening, Record, Segment};
use uuid::Uuid;

/// Longer than anything here takes on a busy machine; a wait this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn source() -> Source {
    Source::new("idsrg", "g01").unwrap()
}

pub fn stamp(n: u64) -> Stamp {
    Stamp {
        wall: jiff::Timestamp::from_millisecond(1_795_000_000_000 + i64::try_from(n).unwrap()).unwrap(),
        monotonic_ms: 1_000 + n,
        boot: BootId(Uuid::from_u128(0xB007)),
        clock: ClockQuality::Ntp,
    }
}

pub const fn kind(class: Class) -> EventType {
    match class {
        Class::Alarm => EventType::ForcedOpen,
        Class::Receipt => EventType::CommandReceived,
        Class::Telemetry => EventType::DeviceStatus,
    }
}

/// The `n`th event of a test, with a body of at least `size` bytes.
pub fn draft(class: Class, n: u64, size: usize) -> Draft {
    let body = serde_json::json!({ "n": n, "text": "x".repeat(size) });
    let subject: Subject = format!("seal/JT-{}", n % 7).parse().unwrap();
    Draft::new(class, kind(class), subject, stamp(n), Assurance::Claim, &body).unwrap()
}

pub fn entry(class: Class, n: u64) -> Entry {
    draft(class, n, 10).into()
}

pub fn open(dir: &Path) -> (Journal, Opening) {
    open_with(dir, JournalConfig::default())
}

#[expect(clippy::needless_pass_by_value, reason = "as the journal itself takes it")]
pub fn open_with(dir: &Path, config: JournalConfig) -> (Journal, Opening) {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match Journal::open(dir, config.clone(), source()) {
            // A command that another test has just begun holds a copy of our lock until it is itself.
            Err(JournalError::InUse { .. }) if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            outcome => return outcome.unwrap(),
        }
    }
}

/// Everything of one class.
pub fn all(reader: &JournalReader, class: Class) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(Seq::NONE, |record| record.seq);
        let more = reader.after(class, after, 100, usize::MAX).unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

pub fn ids(records: &[Record]) -> HashSet<Uuid> {
    records.iter().map(|record| record.id).collect()
}

/// Checks what a receiver of everything on disk would find.
pub fn received(reader: &JournalReader) -> ChainReport {
    let mut check = ChainCheck::new();
    for class in Class::ALL {
        for record in all(reader, *class) {
            check.feed(&record.doc).unwrap();
        }
    }
    check.finish()
}

pub fn assert_verifies(reader: &JournalReader) {
    let found = reader.verify(|_| {}).unwrap();
    assert!(found.is_good(), "{found:#?}");
}

/// Resolves to what the future does, or fails the test.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should have happened long ago")
}

/// Asks again until it is so.
pub async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "this should have become true long ago");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The stretch `first..=last` as somebody who sealed it would describe it.
pub fn segment(reader: &JournalReader, class: Class, first: u64, last: u64) -> Segment {
    let records = all(reader, class);
    let inside: Vec<_> = records.iter().filter(|record| (first..=last).contains(&record.seq.0)).collect();
    Segment {
        class,
        first: Seq(first),
        last: Seq(last),
        count: last + 1 - first,
        bytes: inside.iter().map(|record| record.doc.len() as u64).sum(),
        digest: inside.last().map_or(Digest::ZERO, |record| Digest::of(&record.doc)),
        name: format!("{class}-{first}-{last}.jsonl"),
        manifest: Digest::of(b"manifest"),
        place: "/somewhere".to_owned(),
    }
}
