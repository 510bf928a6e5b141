//! Events as a gate records them, and journals filled with them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use segel::{
    clock::Clock,
    event::{Assurance, Class, Draft, EventType, Seq, Source, Subject},
    forward::{event_topic, place},
    journal::{Entry, Journal, JournalConfig, JournalReader, Opening},
};
use segel_drivers::Epc;
use serde_json::json;

/// Events put in line before the first is waited for.
const IN_LINE: usize = 1_024;
/// One event in so many is an alarm.
const ALARM_EVERY: u64 = 50;
/// Events and bytes read at a time.
const PAGE: (usize, usize) = (1_024, 4 << 20);

/// The gate of every part; the rig's configuration says the same.
pub(super) fn source() -> anyhow::Result<Source> {
    Ok(Source::new("idsrg", "g01")?)
}

/// Makes events: reads of tags that were never read before, and seals forced open.
#[derive(Debug)]
pub(super) struct Events {
    clock: Clock,
    made: u64,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { clock: Clock::new(Duration::from_secs(86_400), None), made: 0 }
    }

    /// The next tag.
    pub(super) fn epc(&mut self) -> Epc {
        self.made += 1;
        let number = self.made.to_be_bytes();
        Epc::new(&[&[0xE2, 0x80, 0x69, 0x15][..], &number].concat()).expect("twelve bytes are an EPC")
    }

    /// A tag in front of an antenna, as ingest would record it.
    pub(super) fn tag(&mut self) -> anyhow::Result<Draft> {
        let epc = self.epc();
        let raw = format!("1500EE00010C{epc}5AF39B");
        let body = json!({
            "epc": epc.to_string(), "reader": "gate-in", "lane": "in-1", "driver": "uhf-reader", "antenna": 1, "rssiRaw": 90,
            "reason": "first_read", "repeats": 0, "raw": raw,
        });
        let subject = Subject::tag(&epc);
        Ok(Draft::new(Class::Telemetry, EventType::TagSeen, subject, self.clock.now(), Assurance::Presence, &body)?)
    }

    /// A seal forced open.
    pub(super) fn alarm(&mut self) -> anyhow::Result<Draft> {
        self.made += 1;
        let seal = format!("SGL-{:05}", 10_000 + self.made % 200).parse()?;
        let body = json!({
            "reason": "change", "changed": ["lock", "tamper"], "repeats": 0, "reader": "air", "lane": "in-1", "counter": self.made,
            "state": { "seal": seal, "says": { "lock": "unlocked", "tamper": true, "batteryPercent": 90 }, "presence": "in_range" },
        });
        let subject = Subject::seal(&seal);
        Ok(Draft::new(Class::Alarm, EventType::ForcedOpen, subject, self.clock.now(), Assurance::Keyed, &body)?)
    }

    /// What comes by at a gate: tags, and now and then an alarm.
    pub(super) fn next(&mut self) -> anyhow::Result<Draft> {
        if self.made.is_multiple_of(ALARM_EVERY) { self.alarm() } else { self.tag() }
    }
}

/// Opens a journal that drops nothing.
pub(super) fn open(dir: &Path) -> anyhow::Result<(Journal, Opening)> {
    let config = JournalConfig { telemetry_quota_bytes: u64::MAX, ..JournalConfig::default() };
    Ok(Journal::open(dir, config, source()?)?)
}

/// A journal with events in it, closed.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) dir: PathBuf,
    pub(super) events: usize,
    pub(super) took: Duration,
    pub(super) bytes: u64,
}

/// Fills a new journal in `dir`.
pub(super) async fn fill(dir: &Path, events: usize) -> anyhow::Result<Filled> {
    let (journal, _) = open(dir)?;
    let mut made = Events::new();
    let begin = Instant::now();
    let mut left = events;
    while left > 0 {
        let mut tickets = Vec::with_capacity(IN_LINE);
        for _ in 0..left.min(IN_LINE) {
            tickets.push(journal.submit(Entry::new(made.next()?)).await?);
        }
        left -= tickets.len();
        for ticket in tickets {
            ticket.await?;
        }
    }
    let took = begin.elapsed();
    journal.close().await?;
    let bytes = fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    Ok(Filled { dir: dir.to_owned(), events, took, bytes })
}

/// Every document in the journal in `dir` with the topic it goes out under.
pub(super) fn messages(dir: &Path) -> anyhow::Result<Vec<(String, bytes::Bytes)>> {
    let reader = JournalReader::open(dir)?;
    let place = place(&source()?);
    let mut messages = Vec::new();
    for class in Class::ALL {
        let mut after = Seq::NONE;
        loop {
            let records = reader.after(*class, after, PAGE.0, PAGE.1)?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            messages.extend(records.into_iter().map(|record| (event_topic(&place, &record.kind).as_str().to_owned(), record.doc.into())));
        }
    }
    Ok(messages)
}
