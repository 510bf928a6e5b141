//! From reports to findings: pure, with `now` in every report.
//!
//! One rule per kind of sighting; each keeps what it needs to tell a change from a repeat, in bounded memory:
//!
//! ```text
//!   advert, refused advert ─► SealRule     last known state, counters, thinning
//!   read, told             ─► SealRule     the same state, and what of a seal's log is on record
//!   tag                    ─► TagRule      who is in front of which antenna
//!   standing, trouble      ─► ReaderRule   is the gate itself able to hear
//! ```
//!
//! A repeat is counted, never recorded; a change is always recorded; and everything that stays as it is is
//! recorded again once per heartbeat with the number of repeats, so that silence and stillness differ.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use segel_drivers::{Epc, Heard, ReaderId, Report, SealId, SealTold, Sighting};

use super::{
    Finding, Memory, ReaderState,
    reader_rule::ReaderRule,
    seal_rule::SealRule,
    tag_rule::TagRule,
    telling::{Telling, ToldMarks},
};
use crate::journal::Note;

/// When something unchanged is worth recording again.
#[derive(Debug, Clone, Copy)]
pub struct Thinning {
    /// Each seal in range and each tag in view is recorded at least this often.
    pub heartbeat: Duration,
    /// A tag not read for this long has left; its next read is a new one.
    pub tag_repeat: Duration,
    /// A change of charge of at least this many percentage points is recorded.
    pub battery_step_percent: u8,
    /// A change of temperature of at least this many degrees Celsius is recorded.
    pub temperature_step_c: f64,
    /// A seal not heard for this long counts as not heard.
    pub lost_after: Duration,
}

/// What the gate knows beforehand: its readers and the seals of the register.
#[derive(Debug, Default)]
pub struct Known {
    /// Each reader's driver and lane.
    pub readers: HashMap<ReaderId, ReaderPlace>,
    /// The registered seals and the containers they are on, where known.
    pub seals: HashMap<SealId, Option<String>>,
    /// Tags that are known to be a seal's.
    pub tags: HashMap<Epc, SealId>,
}

/// Where a reader is and what drives it.
#[derive(Debug, Clone)]
pub struct ReaderPlace {
    /// The driver's name as in the configuration, so that a simulated radio is seen to be one in every record.
    pub driver: &'static str,
    /// The lane it watches.
    pub lane: Option<String>,
}

impl Known {
    pub(super) fn driver(&self, reader: &ReaderId) -> &'static str {
        self.readers.get(reader).map_or("unknown", |place| place.driver)
    }

    pub(super) fn lane(&self, reader: &ReaderId) -> Option<String> {
        self.readers.get(reader).and_then(|place| place.lane.clone())
    }

    pub(super) fn container(&self, seal: &SealId) -> Option<String> {
        self.seals.get(seal).cloned().flatten()
    }
}

/// All rules together.
#[derive(Debug)]
pub struct Judge {
    seals: SealRule,
    tags: TagRule,
    readers: ReaderRule,
}

impl Judge {
    /// A judge that remembers what the journal's notes say, as of `now`.
    #[must_use]
    pub fn new(thinning: Thinning, known: Known, memory: &Memory, now: Heard) -> Self {
        let known = Arc::new(known);
        Self {
            seals: SealRule::new(thinning, Arc::clone(&known), memory, now),
            tags: TagRule::new(thinning, Arc::clone(&known)),
            readers: ReaderRule::new(known),
        }
    }

    /// What this report means.
    pub fn on_report(&mut self, report: &Report) -> Vec<Finding> {
        match &report.sighting {
            Sighting::Advert(advert) => self.seals.on_advert(&report.reader, report.heard, advert),
            Sighting::Refused(refused) => self.seals.on_refused(&report.reader, report.heard, refused),
            Sighting::Read(read) => self.seals.on_read(&report.reader, report.heard, read),
            Sighting::Told(told) => self.seals.on_told(&report.reader, report.heard, told).findings,
            Sighting::Tag(read) => self.tags.on_read(&report.reader, report.heard, read),
            Sighting::Trouble(trouble) => self.readers.on_trouble(&report.reader, trouble),
            Sighting::Standing(standing) => self.readers.on_standing(&report.reader, report.heard, standing),
        }
    }

    /// What a seal told means, and what may be promised to it.
    pub fn on_told(&mut self, reader: &ReaderId, heard: Heard, told: &SealTold) -> Telling {
        self.seals.on_told(reader, heard, told)
    }

    /// What a seal told is on disk.
    pub fn told_on_disk(&mut self, marks: &ToldMarks) {
        self.seals.tellings().on_disk(marks);
    }

    /// What a seal told is not on disk, and will not be.
    pub fn told_refused(&mut self, marks: &ToldMarks) {
        self.seals.tellings().refused(marks);
    }

    /// What has not been heard for too long, looked for now and then.
    pub fn on_tick(&mut self, now: Heard) -> Vec<Finding> {
        let mut findings = self.tags.on_tick(now.monotonic);
        findings.extend(self.seals.on_tick(now));
        findings
    }

    /// What moved without an event, or was written by halves: counters, and what of the seals' logs is on record; to be kept
    /// within a second.
    pub fn take_unkept(&mut self) -> Vec<Note> {
        let mut notes = self.seals.counters().take_unkept();
        notes.extend(self.seals.tellings().take_unkept());
        notes
    }

    /// Every counter is to be offered again by [`Self::take_unkept`].
    pub fn offer_counters_again(&mut self) {
        self.seals.counters().offer_again();
    }

    /// Every reader's last standing in this run.
    #[must_use]
    pub fn reader_states(&self) -> BTreeMap<String, ReaderState> {
        self.readers.states()
    }

    /// How many seals are in range and how many are known.
    #[must_use]
    pub fn seal_counts(&self) -> SealCounts {
        self.seals.counts()
    }
}

/// Seals by presence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealCounts {
    /// Heard within the configured time.
    pub in_range: usize,
    /// With a last known state in memory.
    pub known: usize,
}
