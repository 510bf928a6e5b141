//! The one writer: gathers what waits, commits it, answers everybody, on a thread of its own.
//!
//! ```text
//!   first telemetry ──► deadline: group_wait      alarm, receipt, at once ──► deadline: now      notes, cursors ──► LAZY
//!                         the earliest deadline or a full group ──► everything in line goes along ──► COMMIT ──► answers
//!   room scarce ──► telemetry is refused at the door      nobody waits ──► one step of upkeep
//! ```
//!
//! What must hold: an answer is sent after COMMIT and never before; the order of the line is the order of the numbers;
//! a group is bounded in entries and time, so that a single event never waits for the next and a flood never makes one
//! giant transaction. A failed commit answers everyone in the group with the error; notes and cursors that came alone
//! are kept for the next one. On a full disk the reserve is let go and the group tried once more without its telemetry.
//!
//! It does not retry on its own: whoever appended knows whether the event still matters.

mod group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use self::group::Group;
use super::entry::{Entry, Haste, Heads, Note, Recorded};
use super::front::Segment;
use super::lock::Lock;
use super::mark::Keeper;
use super::pending::Pending;
use super::reserve::Keep;
use super::room::{JournalStanding, Reserve, Room};
use super::store::{Along, Store, Work};
use super::upkeep::Upkeep;
use super::{JournalConfig, JournalError, aside};
use crate::event::Class;

/// Notes and cursors alone wait this long for a commit that comes anyway: what a crash costs is a second of duplicates.
const LAZY: Duration = Duration::from_secs(1);
/// Most notes kept for the next commit after a failed one. Beyond it the oldest are given up, and said to be.
const UNWRITTEN_MAX: usize = 4096;
/// After as many failed commits on end the database is opened anew.
const REOPEN_AFTER: u32 = 2;

/// What became of one message's events.
pub(super) type Answer = Result<Vec<Recorded>, JournalError>;

/// One message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Record these, together.
    Append(Vec<Entry>, oneshot::Sender<Answer>),
    /// Keep these.
    Keep(Vec<Note>),
    /// This stretch is in the archive; record that, and delete it by and by.
    PutAway(Box<(Segment, Entry)>, oneshot::Sender<Answer>),
    /// Somebody waits for upkeep to end.
    Hurry(oneshot::Sender<()>),
    /// Somebody wants to know whether the writer still gets round.
    Ping(oneshot::Sender<()>),
    /// Write what is in line and end.
    Close(oneshot::Sender<Result<(), JournalError>>),
}

/// What the writer shows of itself.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) heads: watch::Sender<Heads>,
    pub(super) standing: watch::Sender<JournalStanding>,
}

/// The writer's side of the journal.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    line: mpsc::Receiver<Message>,
    pending: Arc<Pending>,
    shown: Shown,
    config: JournalConfig,
    /// Says beside the database how far it is; ends before the lock is let go.
    mark: Keeper,
    /// Kept until the store is gone.
    lock: Lock,
    /// What whoever watches the disk says.
    told: watch::Receiver<Room>,
    reserve: Keep,
    upkeep: Upkeep,
    group: Group,
    /// Notes of a failed commit that nobody waits for.
    unwritten: VecDeque<Note>,
    /// Telemetry refused and not yet counted on disk.
    refused: u64,
    /// Whether the disk was found full and room has not returned.
    full: bool,
    /// How many commits failed on end.
    failures: u32,
    refusing: Option<JournalError>,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        (mark, lock): (Keeper, Lock),
        line: mpsc::Receiver<Message>,
        pending: Arc<Pending>,
        shown: Shown,
        told: watch::Receiver<Room>,
        config: JournalConfig,
    ) -> Self {
        let reserve = Keep::new(store.dir(), config.reserve_bytes);
        let writer = Self {
            store,
            line,
            pending,
            shown,
            config,
            mark,
            lock,
            told,
            reserve,
            upkeep: Upkeep::new(),
            group: Group::default(),
            unwritten: VecDeque::new(),
            refused: 0,
            full: false,
            failures: 0,
            refusing: None,
        };
        writer.show();
        writer
    }

    /// Runs until closed, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let pending = Arc::clone(&self.pending);
        let closing = loop {
            if self.is_due() {
                self.gather();
                self.commit_group();
                self.put_away();
                if let Some(closing) = self.group.closing.take() {
                    break Some(closing);
                }
                if self.upkeep.is_overdue() {
                    self.take_care();
                }
                continue;
            }
            let (due, care) = (self.group.due, self.upkeep.due());
            tokio::select! {
                biased;
                message = self.line.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => break None,
                },
                () = pending.rung() => self.group.wait_at_most(LAZY),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                Ok(()) = self.told.changed() => self.on_told(),
                () = sleep_until(care) => self.take_care(),
            }
        };
        self.end(closing);
    }

    fn is_due(&self) -> bool {
        self.group.closing.is_some()
            || self.group.is_full()
            || self.group.events >= self.config.group_events.max(1)
            || self.group.due.is_some_and(|due| due <= Instant::now())
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Append(entries, answer) if self.is_scarce() && group::is_telemetry(&entries) => self.refuse(entries, answer),
            Message::Append(entries, answer) => {
                let at_once = entries.iter().any(|entry| entry.haste == Haste::AtOnce || entry.draft.class != Class::Telemetry);
                self.group.wait_at_most(if at_once { Duration::ZERO } else { self.config.group_wait });
                self.group.push(Work::Append(entries), Some(answer));
            }
            Message::Keep(notes) => {
                self.group.wait_at_most(LAZY);
                self.group.push(Work::Keep(notes), None);
            }
            Message::PutAway(segment, answer) => {
                self.group.wait_at_most(Duration::ZERO);
                self.group.away.push((segment, answer));
            }
            Message::Ping(answer) => {
                let _ = answer.send(());
            }
            Message::Hurry(answer) => {
                self.upkeep.hurry();
                self.show();
                let _ = answer.send(());
            }
            Message::Close(answer) => self.group.closing = Some(answer),
        }
    }

    /// Telemetry without room: counted, not recorded; what it says of states is kept all the same.
    fn refuse(&mut self, entries: Vec<Entry>, answer: oneshot::Sender<Answer>) {
        self.refused += entries.len() as u64;
        let notes: Vec<_> = entries.into_iter().flat_map(|entry| entry.notes).collect();
        if !notes.is_empty() {
            self.group.push(Work::Keep(notes), None);
        }
        self.group.wait_at_most(LAZY);
        self.show();
        // Whoever gave up waiting does not want to know.
        let _ = answer.send(Err(JournalError::NoRoom));
    }

    fn is_scarce(&self) -> bool {
        self.full || *self.told.borrow() == Room::Scarce
    }

    fn on_told(&mut self) {
        self.told.mark_unchanged();
        self.upkeep.wake(&self.store);
        self.show();
    }

    /// Whatever waits in line goes along.
    fn gather(&mut self) {
        while !self.group.is_full() && self.group.closing.is_none() {
            let Ok(message) = self.line.try_recv() else { break };
            self.on_message(message);
        }
    }

    /// Commits the group and answers it; returns what went wrong.
    fn commit_group(&mut self) -> Option<JournalError> {
        let mut group = self.group.take();
        if !self.unwritten.is_empty() {
            group.push_first(Work::Keep(self.unwritten.iter().cloned().collect()));
        }
        let along = Along { cursors: self.pending.take(), refused: std::mem::take(&mut self.refused) };
        if group.is_empty() && along.is_empty() {
            return None;
        }
        let mut outcome = self.commit(&group.work, &along);
        // Some file systems say so only when they are told to flush, as an I/O error.
        let full = match &outcome {
            Err(JournalError::DiskFull(_)) => true,
            Err(JournalError::Storage(_)) => self.reserve.is_tight(),
            _ => false,
        };
        if full {
            self.on_full();
            self.refused += group.leave_out_telemetry();
            outcome = self.commit(&group.work, &along);
        }
        match outcome {
            Ok(recorded) => {
                self.unwritten.clear();
                self.on_success();
                group.answer(recorded);
                None
            }
            Err(error) => {
                self.on_failure(&error, &group, along);
                group.fail(&error);
                Some(error)
            }
        }
    }

    /// Commits; what seems damaged is tried once more over a new connection, because a journal that is well must not be
    /// condemned for a moment's fault of memory or a cable.
    fn commit(&mut self, work: &[Work], along: &Along) -> Result<Vec<Vec<Recorded>>, JournalError> {
        let first = self.store.commit(work, along);
        let Err(fault @ JournalError::Damaged(_)) = &first else { return first };
        tracing::warn!(%fault, "the journal seems damaged: what was to be recorded is tried once more over a new connection");
        match self.store.reopen() {
            Ok(()) => self.store.commit(work, along),
            Err(_) => first,
        }
    }

    /// The disk is full: what room was kept is for alarms and receipts.
    fn on_full(&mut self) {
        let let_go = self.reserve.let_go();
        self.store.checkpoint_what_can_be();
        if !std::mem::replace(&mut self.full, true) {
            tracing::error!(
                reserve_let_go = let_go,
                "the journal's disk is full: telemetry is refused until there is room; free space on it"
            );
        }
    }

    fn put_away(&mut self) {
        for (piece, answer) in std::mem::take(&mut self.group.away) {
            let (segment, entry) = *piece;
            let outcome = self.store.put_away(&segment, &entry);
            if outcome.is_ok() {
                self.upkeep.wake(&self.store);
                self.on_success();
            }
            let _ = answer.send(outcome.map(|recorded| vec![recorded]));
        }
    }

    /// One step of upkeep, and a look whether room has returned.
    fn take_care(&mut self) {
        match &self.refusing {
            None => self.upkeep.step(&mut self.store),
            Some(error) => {
                self.upkeep.rest();
                // Nobody may have anything to record for long; that it can be recorded must be known all the same.
                if error.may_pass() {
                    match self.store.probe() {
                        Ok(()) => self.on_success(),
                        Err(error) => self.try_anew(&error),
                    }
                }
            }
        }
        let spent = matches!(self.reserve.standing(), Reserve::Spent { .. });
        if (self.full || spent) && *self.told.borrow() == Room::Plenty && self.reserve.look() && std::mem::take(&mut self.full) {
            tracing::info!("the journal's disk has room again: telemetry is recorded");
        }
        self.reserve.measure();
        self.show();
    }

    /// Something could be written. What waits for the next commit still waits: this may not have been one.
    fn on_success(&mut self) {
        self.failures = 0;
        if self.refusing.take().is_some() {
            tracing::info!("the journal can be written again");
        }
        self.mark.note(self.store.chains());
        let heads = self.store.heads();
        self.shown.heads.send_if_modified(|known| std::mem::replace(known, heads) != heads);
        self.reserve.measure();
        self.show();
    }

    fn on_failure(&mut self, error: &JournalError, group: &Group, along: Along) {
        if self.refusing.replace(error.clone()).is_none() {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, cause, "the journal cannot be written: nothing is acknowledged until it can");
        }
        self.unwritten.clear();
        self.unwritten.extend(group.notes_alone());
        let beyond = self.unwritten.len().saturating_sub(UNWRITTEN_MAX);
        if beyond > 0 {
            tracing::error!(beyond, "notes were given up while the journal could not be written");
            self.unwritten.drain(..beyond);
        }
        self.pending.put_back(along.cursors);
        self.refused += along.refused;
        if !self.unwritten.is_empty() || self.pending.is_waiting() || self.refused > 0 {
            self.group.wait_at_most(LAZY);
        }
        self.try_anew(error);
        self.show();
    }

    /// After some failures on end: opens the database anew, because the old handle may be dead.
    fn try_anew(&mut self, error: &JournalError) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= REOPEN_AFTER && error.may_pass() {
            match self.store.reopen() {
                Ok(()) => tracing::debug!("the journal's database was opened anew"),
                Err(error) => tracing::debug!(%error, "the journal's database cannot be opened anew yet"),
            }
        }
    }

    /// Lets everybody see how it is, if that has changed.
    fn show(&self) {
        let mut refused = self.store.refused();
        refused[Class::Telemetry as usize] += self.refused;
        let quotas = [(Class::Alarm, self.config.alarm_quota_bytes), (Class::Receipt, self.config.receipt_quota_bytes)];
        let over = quotas.into_iter().filter(|(class, quota)| self.store.chains()[*class as usize].held() > *quota);
        let now = JournalStanding {
            room: if self.is_scarce() { Room::Scarce } else { Room::Plenty },
            reserve: self.reserve.standing(),
            refusing: self.refusing.clone(),
            refused,
            over_quota: over.map(|(class, _)| class).collect(),
            upkeep: self.upkeep.standing(),
        };
        self.shown.standing.send_if_modified(|known| {
            let changed = !known.is_like(&now);
            if changed {
                *known = now;
            }
            changed
        });
    }

    fn end(mut self, closing: Option<oneshot::Sender<Result<(), JournalError>>>) {
        self.line.close();
        let mut waiting: Vec<_> = closing.into_iter().collect();
        let mut outcome = Ok(());
        loop {
            while let Ok(message) = self.line.try_recv() {
                match message {
                    Message::Close(answer) => waiting.push(answer),
                    message => self.on_message(message),
                }
                if self.group.is_full() {
                    break;
                }
            }
            if let Some(error) = self.commit_group() {
                outcome = Err(error);
                break;
            }
            self.put_away();
            if self.line.is_empty() {
                break;
            }
        }
        let given_back = self.store.checkpoint();
        if let Err(error) = &given_back {
            tracing::warn!(%error, "the journal's log could not be given back to the database; the next start does it");
        }
        let Self { store, mark, lock, .. } = self;
        let (chains, dir) = (*store.chains(), store.dir().to_owned());
        drop(store);
        // Only an end that is certain is called the end: beside somebody who reads the log may not be given back.
        if given_back.is_ok() && outcome.is_ok() && aside::is_log_empty(&dir) {
            mark.settle(&chains);
        } else {
            drop(mark);
        }
        drop(lock);
        for closing in waiting {
            let _ = closing.send(outcome.clone());
        }
    }
}
