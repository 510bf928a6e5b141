//! Report in, event on disk: stamp, judge, record.
//!
//! ```text
//!   radios ──Report──► Judge ──Finding──► stamp ──Entry──► journal ──► on disk
//!                        ▲ every second: who fell silent, has the clock stepped
//! ```
//!
//! What must hold: reports are recorded in the order they were heard; a report that cannot be recorded is held and
//! tried again, never dropped, and meanwhile the radios wait; what is only counted is told with the next event about
//! the same thing (what was counted since the last one is lost at a stop).

mod counters;
mod finding;
mod judge;
mod memory;
mod reader_rule;
mod recording;
mod seal_body;
mod seal_change;
mod seal_rule;
mod tag_rule;
mod watched;

use std::{collections::BTreeMap, time::Duration};

use segel_drivers::{Heard, Report};
use serde::Serialize;
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
pub(crate) use tag_rule::TAGS_MAX;

use self::recording::{Ended, Recording, Unit};
use crate::{
    clock::{Clock, StepWatch},
    event::{Assurance, Class, EventType, Stamp, Subject},
    journal::{Journal, JournalError, NOTES_MAX},
};

/// Reports whose events are on their way to disk at once; beyond it the radios wait. A group commit takes 64.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// Most events recorded together: far below what the journal takes in one transaction.
const UNIT_MAX: usize = 64;
/// How often silence and the clock are looked at; also the longest a moved counter waits to be kept.
pub(crate) const TICK: Duration = Duration::from_secs(1);
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
}

/// The particulars of a stepped clock.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClockStep {
    step_ms: i64,
}

/// The task between the radios and the journal.
#[derive(Debug)]
pub struct Ingest {
    reports: mpsc::Receiver<Report>,
    judge: Judge,
    clock: Clock,
    steps: StepWatch,
    journal: Journal,
    recording: Recording,
    standing: watch::Sender<IngestStanding>,
}

impl Ingest {
    /// An ingest that begins with what the journal remembers.
    #[must_use]
    pub fn new(reports: mpsc::Receiver<Report>, judge: Judge, clock: Clock, journal: Journal) -> (Self, watch::Receiver<IngestStanding>) {
        let first = IngestStanding { seals: judge.seal_counts(), readers: BTreeMap::new(), ticked: Instant::now(), journal_refuses: None };
        let (standing, view) = watch::channel(first);
        let steps = StepWatch::new(Heard::now());
        (Self { reports, judge, clock, steps, recording: Recording::new(journal.clone()), journal, standing }, view)
    }

    /// Runs until every radio has gone, then waits for what is still on its way to disk.
    ///
    /// # Errors
    /// When the journal is damaged or gone: nothing can be recorded any more, and the gate must end.
    pub async fn run(mut self) -> Result<(), JournalError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = self.reports.recv(), if self.recording.len() < IN_FLIGHT_MAX => match report {
                    Some(report) => self.on_report(&report).await,
                    None => break,
                },
                Some(ended) = self.recording.ended() => self.on_ended(ended).await?,
                _ = tick.tick() => self.on_tick().await,
            }
        }
        while let Some(ended) = self.recording.ended().await {
            self.on_ended(ended).await?;
        }
        self.keep_counters().await;
        Ok(())
    }

    async fn on_report(&mut self, report: &Report) {
        let findings = self.judge.on_report(report);
        let stamp = self.clock.stamp(report.heard);
        self.record(findings, &stamp).await;
    }

    async fn on_tick(&mut self) {
        let now = Heard::now();
        let stamp = self.clock.stamp(now);
        let mut findings = self.judge.on_tick(now);
        if let Some(step_ms) = self.steps.look(now) {
            tracing::warn!(step_ms, clock = stamp.clock.as_str(), "the clock stepped");
            let body = ClockStep { step_ms };
            findings.push(Finding::new(Class::Alarm, EventType::ClockStepped, Subject::gateway(), Assurance::Own, &body));
        }
        self.record(findings, &stamp).await;
        self.keep_counters().await;
        self.standing.send_modify(|standing| {
            standing.seals = self.judge.seal_counts();
            standing.readers = self.judge.reader_states();
            standing.ticked = Instant::now();
        });
    }

    /// What one report or one look around amounts to is one unit: on disk together or not at all.
    async fn record(&mut self, findings: Vec<Finding>, stamp: &Stamp) {
        let mut unit = Vec::new();
        for finding in findings {
            match finding.stamped(*stamp) {
                Ok(entry) => unit.push(entry),
                Err(fault) => tracing::error!(%fault, "an event could not be written down and is lost; please report this"),
            }
        }
        // A look around may find hundreds of silent seals; they need not be told together.
        while unit.len() > UNIT_MAX {
            let rest = unit.split_off(UNIT_MAX);
            self.recording.submit(std::mem::replace(&mut unit, rest)).await;
        }
        self.recording.submit(unit).await;
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
            Ended::Recorded(unit) => self.on_recorded(&unit),
            Ended::Failed(unit, fault) => self.on_failed(unit, fault).await?,
        }
        Ok(())
    }

    fn on_recorded(&mut self, unit: &Unit) {
        unit.iter().for_each(|entry| self.clock.recorded(&entry.draft.stamp));
    }

    /// Nothing new is taken until what failed is on disk; the radios wait. The journal itself logs that it cannot be
    /// written and that it can again; waiting for it is no reason to be restarted.
    async fn on_failed(&mut self, unit: Unit, fault: JournalError) -> Result<(), JournalError> {
        let standing = &self.standing;
        let waiting = |fault: &JournalError| {
            standing.send_modify(|standing| {
                standing.ticked = Instant::now();
                standing.journal_refuses = Some(fault.to_string());
            });
        };
        let units = self.recording.insist(unit, fault, waiting).await?;
        units.iter().for_each(|unit| self.on_recorded(unit));
        // The retried may have brought older counters back: offer the present ones again.
        self.judge.offer_counters_again();
        self.keep_counters().await;
        self.standing.send_modify(|standing| standing.journal_refuses = None);
        Ok(())
    }
}
