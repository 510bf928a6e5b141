//! Report in, event on disk: stamp, judge, record.
//!
//! ```text
//!   radios ──Report──► Judge ──Finding──► stamp ──Entry──► journal ──► on disk
//!                        ▲ every second: who fell silent, has the clock stepped
//! ```
//!
//! What must hold: reports are recorded in the order they were heard; an alarm or receipt that cannot be recorded is
//! held and tried again, never dropped; telemetry the journal has no room for is counted under its reader and left, and
//! nothing is confirmed to anybody for it; what a seal handed over out of its log is confirmed to it when all of it is on
//! disk, and never before; while the journal cannot be written, reports wait in a bounded shelter, and
//! what has to leave that is counted; what is only counted is told with the next event about the same thing (what was
//! counted since the last one is lost at a stop).

mod counters;
mod finding;
mod judge;
mod memory;
mod reader_rule;
mod recording;
mod seal_body;
mod seal_change;
mod seal_rule;
mod seal_talk;
mod shelter;
mod tag_rule;
mod telling;
mod watched;

use std::{collections::BTreeMap, time::Duration};

use segel_drivers::{Confirm, Heard, ReaderId, Report, SealTold, Sighting};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};

pub use counters::COUNTER_NOTE;
pub use finding::Finding;
pub(crate) use finding::note_json;
pub use judge::{Judge, Known, ReaderPlace, SealCounts, Thinning};
pub use memory::{Memory, Recalled};
pub use reader_rule::{READER_NOTE, ReaderState, ReaderStatus};
pub(crate) use recording::{RETRY_CAP, RETRY_FIRST};
pub(crate) use shelter::HELD_MAX;
pub(crate) use tag_rule::TAGS_MAX;
pub use telling::{Promise, TOLD_NOTE, Telling, ToldMarks, ToldMemory};

use self::{
    recording::{Ended, Recording, Unit},
    shelter::Shelter,
};
use crate::{
    clock::{Clock, Mark, Reading, Step, StepWatch},
    event::{Assurance, Class, EventType, Stamp, Subject},
    journal::{Journal, JournalError, NOTES_MAX},
};

/// Reports whose events are on their way to disk at once; beyond it the radios wait. A group commit takes 64.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// When nothing has moved for so long reports are taken into the shelter; shorter waits are a busy disk.
pub(crate) const STALLED: Duration = Duration::from_secs(2);
/// Most events recorded together: far below what the journal takes in one transaction.
const UNIT_MAX: usize = 64;
/// How often silence and the clock are looked at; also the longest a moved counter waits to be kept.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// How often it is kept where the clocks stand: after a restart within this boot a slew of this long is no step.
const MARK_INTERVAL: Duration = Duration::from_secs(3_600);
/// Steps of the clock told one by one while the journal cannot be written; beyond it the last is told with the sum.
const STEPS_MAX: usize = 32;
/// The kind and key of the note that says where the clocks stand.
pub const CLOCK_NOTE: (&str, &str) = ("clock", "mark");
/// What ingest tells of itself.
#[derive(Debug, Clone)]
pub struct IngestStanding {
    /// Seals in range and known.
    pub seals: SealCounts,
    /// Every reader's last standing.
    pub readers: BTreeMap<String, ReaderState>,
    /// When it last looked around; old means stuck.
    pub ticked: Instant,
    /// Set while the journal refuses to record.
    pub journal_refuses: Option<String>,
    /// Reports that wait because of that.
    pub sheltered: usize,
    /// What was heard and is not on record, by reader.
    pub unrecorded: BTreeMap<String, Unrecorded>,
}

/// What of one reader was heard and is not on record, since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unrecorded {
    /// Telemetry events the journal had no room for.
    pub refused_events: u64,
    /// Reports that found no place while the journal could not be written.
    pub shed_reports: u64,
}

/// The task between the radios and the journal.
#[derive(Debug)]
pub struct Ingest {
    reports: mpsc::Receiver<Report>,
    judge: Judge,
    clock: Clock,
    steps: StepWatch,
    /// Steps of the clock not yet recorded.
    stepped: Vec<Step>,
    /// When it was last kept where the clocks stand, since boot.
    marked: Option<Duration>,
    journal: Journal,
    recording: Recording,
    shelter: Shelter,
    /// Since when as much is on its way to disk as may be.
    full_since: Option<Instant>,
    refused: BTreeMap<ReaderId, u64>,
    standing: watch::Sender<IngestStanding>,
}

impl Ingest {
    /// An ingest that begins with what the journal remembers; `mark` is what is kept under [`CLOCK_NOTE`].
    #[must_use]
    pub fn new(
        reports: mpsc::Receiver<Report>,
        judge: Judge,
        clock: Clock,
        journal: Journal,
        mark: Option<Mark>,
    ) -> (Self, watch::Receiver<IngestStanding>) {
        let first = IngestStanding {
            seals: judge.seal_counts(),
            readers: BTreeMap::new(),
            ticked: Instant::now(),
            journal_refuses: None,
            sheltered: 0,
            unrecorded: BTreeMap::new(),
        };
        let (standing, view) = watch::channel(first);
        let (steps, step) = StepWatch::resume(clock.boot(), mark, Reading::now());
        let ingest = Self {
            reports,
            judge,
            clock,
            steps,
            stepped: Vec::from_iter(step),
            marked: None,
            recording: Recording::new(journal.clone()),
            journal,
            shelter: Shelter::default(),
            full_since: None,
            refused: BTreeMap::new(),
            standing,
        };
        (ingest, view)
    }

    /// Runs until every radio has gone, then waits for what is still on its way to disk.
    ///
    /// # Errors
    /// When the journal is damaged or gone: nothing can be recorded any more, and the gate must end.
    pub async fn run(mut self) -> Result<(), JournalError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut radios = Radios::There;
        loop {
            let full = self.recording.len() >= IN_FLIGHT_MAX;
            self.full_since = self.full_since.filter(|_| full).or_else(|| full.then(Instant::now));
            let stalled = self.full_since.is_some_and(|since| since.elapsed() >= STALLED);
            let from = if full { Source::Radios } else { Source::Shelter };
            tokio::select! {
                report = next(&mut self.shelter, &mut self.reports, from), if !full || (stalled && radios == Radios::There) => match report {
                    Some(report) if !full => self.on_report(&report).await,
                    // A commit that neither ends nor fails: what is heard meanwhile waits here and not in the radios' buffers.
                    Some(report) => self.shelter.take(report),
                    None if !full => break,
                    None => radios = Radios::Gone,
                },
                Some(ended) = self.recording.ended() => self.on_ended(ended).await?,
                _ = tick.tick() => self.on_tick().await,
            }
        }
        while let Some(ended) = self.recording.ended().await {
            self.on_ended(ended).await?;
        }
        self.keep_counters().await;
        self.keep_mark().await;
        Ok(())
    }

    async fn on_report(&mut self, report: &Report) {
        if let Sighting::Told(told) = &report.sighting {
            self.on_told(report, told).await;
            return;
        }
        let findings = self.judge.on_report(report);
        let stamp = self.clock.stamp(report.heard);
        self.record(findings, &stamp, Some(&report.reader)).await;
    }

    /// What a seal told is one unit, whole, and only when that is on disk the seal may delete it.
    async fn on_told(&mut self, report: &Report, told: &SealTold) {
        let telling = self.judge.on_told(&report.reader, report.heard, told);
        if telling.promise == Promise::Now {
            told.confirm.iter().for_each(Confirm::on_disk);
        }
        let stamp = self.clock.stamp(report.heard);
        let confirm = telling.with_unit(told.confirm.as_ref());
        match telling.findings.into_iter().map(|finding| finding.stamped(stamp)).collect() {
            Ok(entries) => {
                let told = Some((telling.marks, confirm));
                self.recording.submit(Unit { reader: Some(report.reader.clone()), entries, told }).await;
            }
            // Its notes speak of all of it: on disk without the one entry they would have the seal delete it.
            Err(fault) => {
                tracing::error!(seal = %told.seal, %fault, "what a seal told could not be written down; it keeps all of it; please report this");
                self.judge.told_refused(&telling.marks);
            }
        }
    }

    async fn on_tick(&mut self) {
        let now = Heard::now();
        look_at_clocks(&self.clock, &mut self.steps, &mut self.stepped);
        let stamp = self.clock.stamp(now);
        let mut findings = self.steps_found();
        // Who was silent is judged when everything that was heard has been.
        if self.shelter.len() == 0 && self.full_since.is_none() {
            findings.extend(self.judge.on_tick(now));
        }
        self.record(findings, &stamp, None).await;
        self.keep_counters().await;
        if self.marked.is_none_or(|marked| self.steps.since_boot().saturating_sub(marked) >= MARK_INTERVAL) {
            self.keep_mark().await;
        }
        self.tell();
    }

    /// Every step of the clock as an event; the last carries where the clocks stand now, so that no later run finds the
    /// same step again.
    fn steps_found(&mut self) -> Vec<Finding> {
        let event = |step: &Step| Finding::new(Class::Alarm, EventType::ClockStepped, Subject::gateway(), Assurance::Own, step);
        let mut findings: Vec<_> = self.stepped.drain(..).map(|step| event(&step)).collect();
        if let Some(last) = findings.pop() {
            findings.push(last.with_note(note_json(CLOCK_NOTE.0, CLOCK_NOTE.1, &self.steps.mark())));
        }
        findings
    }

    fn tell(&self) {
        self.standing.send_modify(|standing| {
            standing.seals = self.judge.seal_counts();
            standing.readers = self.judge.reader_states();
            standing.ticked = Instant::now();
            standing.sheltered = self.shelter.len();
            standing.unrecorded = unrecorded(&self.refused, self.shelter.shed());
        });
    }

    /// What one report or one look around amounts to is one unit: on disk together or not at all.
    async fn record(&mut self, findings: Vec<Finding>, stamp: &Stamp, reader: Option<&ReaderId>) {
        let mut entries = Vec::new();
        for finding in findings {
            match finding.stamped(*stamp) {
                Ok(entry) => entries.push(entry),
                Err(fault) => tracing::error!(%fault, "an event could not be written down and is lost; please report this"),
            }
        }
        // A look around may find hundreds of silent seals; they need not be told together.
        while entries.len() > UNIT_MAX {
            let rest = entries.split_off(UNIT_MAX);
            let some = std::mem::replace(&mut entries, rest);
            self.recording.submit(Unit { reader: reader.cloned(), entries: some, told: None }).await;
        }
        self.recording.submit(Unit { reader: reader.cloned(), entries, told: None }).await;
    }

    async fn keep_mark(&mut self) {
        self.marked = Some(self.steps.since_boot());
        let note = note_json(CLOCK_NOTE.0, CLOCK_NOTE.1, &self.steps.mark());
        if let Err(fault) = self.journal.keep(vec![note]).await {
            tracing::debug!(%fault, "where the clocks stand could not be kept");
        }
    }

    async fn keep_counters(&mut self) {
        let notes = self.judge.take_unkept();
        for some in notes.chunks(NOTES_MAX) {
            if let Err(fault) = self.journal.keep(some.to_vec()).await {
                tracing::warn!(%fault, "message counters could not be kept; a replay could pass as new after a restart");
            }
        }
    }

    async fn on_ended(&mut self, ended: Ended) -> Result<(), JournalError> {
        match ended {
            Ended::Failed(unit, fault) => self.on_failed(unit, fault).await?,
            settled => self.on_settled(&settled),
        }
        Ok(())
    }

    fn on_settled(&mut self, ended: &Ended) {
        match ended {
            Ended::Recorded(unit) => {
                unit.entries.iter().for_each(|entry| self.clock.recorded(&entry.draft.stamp));
                if let Some((marks, confirm)) = &unit.told {
                    self.judge.told_on_disk(marks);
                    confirm.iter().for_each(Confirm::on_disk);
                }
            }
            // A seal that waits for its confirmation gets none: the promise goes with the unit.
            Ended::Refused(unit) => {
                if let Some((marks, _)) = &unit.told {
                    self.judge.told_refused(marks);
                }
                if let Some(reader) = &unit.reader {
                    *self.refused.entry(reader.clone()).or_default() += unit.entries.len() as u64;
                }
            }
            Ended::Failed(..) => {}
        }
    }

    /// Nothing new is judged until what failed is on disk; reports wait in the shelter. The journal itself logs that it
    /// cannot be written and that it can again; waiting for it is no reason to be restarted.
    async fn on_failed(&mut self, unit: Unit, fault: JournalError) -> Result<(), JournalError> {
        let Self { recording, reports, shelter, steps, stepped, clock, standing, refused, .. } = self;
        let waiting = |fault: &JournalError| standing.send_modify(|standing| standing.journal_refuses = Some(fault.to_string()));
        let mut insisting = Box::pin(recording.insist(unit, fault, waiting));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut radios = Radios::There;
        let settled = loop {
            tokio::select! {
                settled = &mut insisting => break settled?,
                report = reports.recv(), if radios == Radios::There => match report {
                    Some(report) => shelter.take(report),
                    None => radios = Radios::Gone,
                },
                _ = tick.tick() => {
                    look_at_clocks(clock, steps, stepped);
                    standing.send_modify(|standing| {
                        standing.ticked = Instant::now();
                        standing.sheltered = shelter.len();
                        standing.unrecorded = unrecorded(refused, shelter.shed());
                    });
                }
            }
        };
        drop(insisting);
        settled.iter().for_each(|ended| self.on_settled(ended));
        // The retried may have brought older counters back: offer the present ones again.
        self.judge.offer_counters_again();
        self.keep_counters().await;
        self.standing.send_modify(|standing| standing.journal_refuses = None);
        self.tell();
        Ok(())
    }
}

/// Whether anybody can still report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Radios {
    There,
    Gone,
}

/// Where the next report is looked for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Shelter,
    Radios,
}

/// The next report in the order heard, or the next a radio has; none when every radio has gone. Safe to cancel.
async fn next(shelter: &mut Shelter, reports: &mut mpsc::Receiver<Report>, from: Source) -> Option<Report> {
    match (from == Source::Shelter).then(|| shelter.next()).flatten() {
        Some(report) => Some(report),
        None => reports.recv().await,
    }
}

/// Notes a step of the clock, if there was one, until it can be recorded.
fn look_at_clocks(clock: &Clock, steps: &mut StepWatch, stepped: &mut Vec<Step>) {
    let now = Reading::now();
    clock.looked(&now);
    let Some(step) = steps.look(now) else { return };
    tracing::warn!(step_ms = step.step_ms, before = %step.before, after = %step.after, "the clock stepped");
    if stepped.len() < STEPS_MAX {
        stepped.push(step);
    } else if let Some(last) = stepped.last_mut() {
        (last.step_ms, last.after) = (last.step_ms.saturating_add(step.step_ms), step.after);
    }
}

fn unrecorded(refused: &BTreeMap<ReaderId, u64>, shed: &BTreeMap<ReaderId, u64>) -> BTreeMap<String, Unrecorded> {
    let mut all: BTreeMap<String, Unrecorded> = BTreeMap::new();
    for (reader, count) in refused {
        all.entry(reader.to_string()).or_default().refused_events = *count;
    }
    for (reader, count) in shed {
        all.entry(reader.to_string()).or_default().shed_reports = *count;
    }
    all
}
