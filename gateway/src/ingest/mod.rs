//! Report in, event on disk: stamp, judge, record.
//!
//! ```text
//!   radios ──Report──► Judge ──Finding──► stamp ──Entry──► journal ──► on disk
//!                        ▲ every second: who fell silent, has the clock stepped
//! ```
//!
//! What must hold: reports are recorded in the order they were heard; a report that cannot be recorded is held and
//! tried again, never dropped, and meanwhile the radios wait; what is only counted is counted completely.

mod finding;
mod judge;
mod memory;
mod reader_rule;
mod seal_body;
mod seal_change;
mod seal_rule;
mod tag_rule;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use segel_drivers::{Heard, Report};
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

pub use finding::Finding;
pub(crate) use finding::note_json;
pub use judge::{Judge, Known, ReaderPlace, SealCounts, Thinning};
pub use memory::{Memory, Recalled};
pub use reader_rule::{READER_NOTE, ReaderState, ReaderStatus};
pub use seal_rule::COUNTER_NOTE;
pub(crate) use tag_rule::TAGS_MAX;

use crate::{
    clock::{Clock, StepWatch},
    event::{Assurance, Class, EventType, Stamp, Subject},
    journal::{Entry, Journal, JournalError, Recorded},
};

/// Entries on their way to disk at once; beyond it the radios wait. A group commit takes 64.
pub(crate) const IN_FLIGHT_MAX: usize = 256;
/// How often silence and the clock are looked at; also the longest a moved counter waits to be kept.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// A journal that refuses is tried again after this long at first ...
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// ... and at least this often later.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(5);

type Recording = BoxFuture<'static, (Entry, Result<Recorded, JournalError>)>;

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
    recording: FuturesOrdered<Recording>,
    standing: watch::Sender<IngestStanding>,
}

impl Ingest {
    /// An ingest that begins with what the journal remembers.
    #[must_use]
    pub fn new(reports: mpsc::Receiver<Report>, judge: Judge, clock: Clock, journal: Journal) -> (Self, watch::Receiver<IngestStanding>) {
        let first = IngestStanding { seals: judge.seal_counts(), readers: BTreeMap::new(), ticked: Instant::now(), journal_refuses: None };
        let (standing, view) = watch::channel(first);
        let steps = StepWatch::new(Heard::now());
        (Self { reports, judge, clock, steps, journal, recording: FuturesOrdered::new(), standing }, view)
    }

    /// Runs until every radio has gone, then waits for what is still on its way to disk.
    pub async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = self.reports.recv(), if self.recording.len() < IN_FLIGHT_MAX => match report {
                    Some(report) => self.on_report(&report).await,
                    None => break,
                },
                Some((entry, outcome)) = self.recording.next() => self.on_recorded(entry, outcome).await,
                _ = tick.tick() => self.on_tick().await,
            }
        }
        while let Some((entry, outcome)) = self.recording.next().await {
            self.on_recorded(entry, outcome).await;
        }
        self.keep_counters().await;
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

    async fn record(&mut self, findings: Vec<Finding>, stamp: &Stamp) {
        for finding in findings {
            match finding.stamped(*stamp) {
                Ok(entry) => self.submit(entry).await,
                Err(fault) => tracing::error!(%fault, "an event could not be written down and is lost; please report this"),
            }
        }
    }

    /// Puts an entry in the journal's line; its outcome is looked at in order.
    async fn submit(&mut self, entry: Entry) {
        let ticket = self.journal.submit(entry.clone()).await;
        self.recording.push_back(Box::pin(async move {
            let outcome = match ticket {
                Ok(ticket) => ticket.await,
                Err(fault) => Err(fault),
            };
            (entry, outcome)
        }));
    }

    async fn keep_counters(&mut self) {
        let notes = self.judge.take_unkept();
        if !notes.is_empty()
            && let Err(fault) = self.journal.keep(notes).await
        {
            tracing::warn!(%fault, "message counters could not be kept; a replay could pass as new after a restart");
        }
    }

    async fn on_recorded(&mut self, entry: Entry, outcome: Result<Recorded, JournalError>) {
        match outcome {
            Ok(_) => self.clock.recorded(&entry.draft.stamp),
            Err(fault) => self.insist(entry, fault).await,
        }
    }

    /// Tries again until it is on disk. Nothing else is recorded meanwhile, and the radios wait. The journal itself logs
    /// that it cannot be written and that it can again; waiting for it is no reason to be restarted.
    async fn insist(&mut self, entry: Entry, fault: JournalError) {
        self.standing.send_modify(|standing| standing.journal_refuses = Some(fault.to_string()));
        let mut pause = RETRY_FIRST;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_CAP);
            self.standing.send_modify(|standing| standing.ticked = Instant::now());
            match self.journal.append(entry.clone()).await {
                Ok(_) => break,
                Err(JournalError::Closed) => {
                    tracing::error!(event = %entry.draft.id, kind = entry.draft.kind.as_str(), "the journal is closed; this event is lost");
                    return;
                }
                Err(_) => {}
            }
        }
        self.clock.recorded(&entry.draft.stamp);
        self.standing.send_modify(|standing| standing.journal_refuses = None);
    }
}
