//! Events as a gate records them, and journals filled with them.

use std::{
    collections::VecDeque,
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

/// Events recorded together when a journal is filled ...
const TOGETHER: usize = 256;
/// ... and so many of these groups in line before the first is waited for.
const IN_LINE: usize = 4;
/// One event in so many is an alarm.
const ALARM_EVERY: u64 = 50;
/// The same in a journal of ten million, a hundred thousand of which are alarms.
const ALARM_EVERY_AT_A_PORT: u64 = 100;
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
    alarm_every: u64,
    tags: Tags,
}

/// In which order the numbers of tags come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tags {
    InARow,
    /// All over their range, as lorries come: the index by subject is then written to everywhere.
    Scattered,
}

/// An odd number far from every simple fraction of 2^64: times it, numbers in a row lie scattered and none comes twice.
const SCATTER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Events {
    pub(super) fn new() -> Self {
        Self { clock: Clock::new(Duration::from_secs(86_400), None), made: 0, alarm_every: ALARM_EVERY, tags: Tags::InARow }
    }

    /// As they come by at a port: tags in no order, one event in a hundred an alarm.
    pub(super) fn of_a_port() -> Self {
        Self { alarm_every: ALARM_EVERY_AT_A_PORT, tags: Tags::Scattered, ..Self::new() }
    }

    /// The next tag.
    pub(super) fn epc(&mut self) -> Epc {
        self.made += 1;
        let number = match self.tags {
            Tags::InARow => self.made,
            Tags::Scattered => self.made.wrapping_mul(SCATTER),
        };
        let number = number.to_be_bytes();
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
        if self.made.is_multiple_of(self.alarm_every) { self.alarm() } else { self.tag() }
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
    fill_with(dir, events, Events::new()).await
}

/// Records so many of these events in the journal in `dir`, new or not.
pub(super) async fn fill_with(dir: &Path, events: usize, mut made: Events) -> anyhow::Result<Filled> {
    let (journal, _) = open(dir)?;
    let begin = Instant::now();
    let mut in_line = VecDeque::with_capacity(IN_LINE);
    let mut left = events;
    while left > 0 {
        let group = (0..left.min(TOGETHER)).map(|_| Ok(Entry::new(made.next()?))).collect::<anyhow::Result<Vec<_>>>()?;
        left -= group.len();
        in_line.push_back(journal.submit_all(group).await?);
        if in_line.len() == IN_LINE
            && let Some(first) = in_line.pop_front()
        {
            first.await?;
        }
    }
    for ticket in in_line {
        ticket.await?;
    }
    let took = begin.elapsed();
    journal.close().await?;
    Ok(Filled { dir: dir.to_owned(), events, took, bytes: size_of(dir)? })
}

/// Bytes of the files in this directory.
pub(super) fn size_of(dir: &Path) -> std::io::Result<u64> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// The documents in the journal in `dir`, the most urgent class first and not more than so many, each with the topic it
/// goes out under.
pub(super) fn messages(dir: &Path, at_most: usize) -> anyhow::Result<Vec<(String, bytes::Bytes)>> {
    let reader = JournalReader::open(dir)?;
    let place = place(&source()?);
    let mut messages = Vec::new();
    for class in Class::ALL {
        let mut after = Seq::NONE;
        while messages.len() < at_most {
            let records = reader.after(*class, after, PAGE.0.min(at_most - messages.len()), PAGE.1)?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            messages.extend(records.into_iter().map(|record| (event_topic(&place, &record.kind).as_str().to_owned(), record.doc.into())));
        }
    }
    Ok(messages)
}
