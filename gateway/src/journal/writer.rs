//! The one writer: gathers what waits, commits it, answers everybody, on a thread of its own.
//!
//! ```text
//!   first telemetry ──► deadline: group_wait      alarm, receipt, at once ──► deadline: now      notes, cursors ──► LAZY
//!                         the earliest deadline or a full group ──► everything in line goes along ──► COMMIT ──► answers
//! ```
//!
//! What must hold: an answer is sent after COMMIT and never before; the order of the line is the order of the numbers;
//! a group is bounded in entries and time, so that a single event never waits for the next and a flood never makes one
//! giant transaction. A failed commit answers everyone in the group with the error; notes and cursors that came alone
//! are kept for the next one.
//!
//! It does not retry on its own: whoever appended knows whether the event still matters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::entry::{Entry, Haste, Heads, Note, Recorded};
use super::lock::Lock;
use super::mark::Keeper;
use super::pending::{Cursors, Pending};
use super::store::{Store, Work};
use super::{JournalConfig, JournalError};
use crate::event::Class;

/// Notes and cursors alone wait this long for a commit that comes anyway: what a crash costs is a second of duplicates.
const LAZY: Duration = Duration::from_secs(1);
/// Most messages in one transaction: some 300 kB of log for common events, so that a checkpoint stays short.
const GROUP_MAX: usize = 512;
/// Most notes kept for the next commit after a failed one. Beyond it the oldest are given up, and said to be.
const UNWRITTEN_MAX: usize = 4096;

/// Most events in one transaction, whatever the messages that brought them.
const GROUP_EVENTS_MAX: usize = 1024;

/// What became of one message's events.
pub(super) type Answer = Result<Vec<Recorded>, JournalError>;

/// One message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// Record these, together.
    Append(Vec<Entry>, oneshot::Sender<Answer>),
    /// Keep these.
    Keep(Vec<Note>),
    /// Write what is in line and end.
    Close(oneshot::Sender<Result<(), JournalError>>),
}

/// The writer's side of the journal.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    line: mpsc::Receiver<Message>,
    pending: Arc<Pending>,
    heads: watch::Sender<Heads>,
    config: JournalConfig,
    /// Says beside the database how far it is; ends before the lock is let go.
    mark: Keeper,
    /// Kept until the store is gone.
    lock: Lock,
    group: Group,
    /// Notes of a failed commit that nobody waits for.
    unwritten: VecDeque<Note>,
    /// Whether the last commit failed: said once.
    failing: bool,
}

/// What waits to be committed together.
#[derive(Debug, Default)]
struct Group {
    work: Vec<Work>,
    answers: Vec<Option<oneshot::Sender<Answer>>>,
    events: usize,
    due: Option<Instant>,
    closing: Option<oneshot::Sender<Result<(), JournalError>>>,
}

impl Group {
    fn is_full(&self) -> bool {
        self.work.len() >= GROUP_MAX || self.events >= GROUP_EVENTS_MAX
    }

    fn wait_at_most(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}

impl Writer {
    pub(super) fn new(
        store: Store,
        mark: Keeper,
        lock: Lock,
        line: mpsc::Receiver<Message>,
        pending: Arc<Pending>,
        heads: watch::Sender<Heads>,
        config: JournalConfig,
    ) -> Self {
        Self { store, line, pending, heads, config, mark, lock, group: Group::default(), unwritten: VecDeque::new(), failing: false }
    }

    /// Runs until closed, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let pending = Arc::clone(&self.pending);
        let closing = loop {
            if self.is_due() {
                self.gather();
                self.commit_group();
                if let Some(closing) = self.group.closing.take() {
                    break Some(closing);
                }
                continue;
            }
            let due = self.group.due;
            tokio::select! {
                biased;
                message = self.line.recv() => match message {
                    Some(message) => self.on_message(message),
                    None => break None,
                },
                () = pending.rung() => self.group.wait_at_most(LAZY),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
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
            Message::Append(entries, answer) => {
                let at_once = entries.iter().any(|entry| entry.haste == Haste::AtOnce || entry.draft.class != Class::Telemetry);
                self.group.wait_at_most(if at_once { Duration::ZERO } else { self.config.group_wait });
                self.group.events += entries.len();
                self.group.work.push(Work::Append(entries));
                self.group.answers.push(Some(answer));
            }
            Message::Keep(notes) => {
                self.group.wait_at_most(LAZY);
                self.group.work.push(Work::Keep(notes));
                self.group.answers.push(None);
            }
            Message::Close(answer) => self.group.closing = Some(answer),
        }
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
        let closing = self.group.closing.take();
        let Group { mut work, mut answers, .. } = std::mem::take(&mut self.group);
        self.group.closing = closing;
        if !self.unwritten.is_empty() {
            work.insert(0, Work::Keep(self.unwritten.iter().cloned().collect()));
            answers.insert(0, None);
        }
        let cursors = self.pending.take();
        if work.is_empty() && cursors.is_empty() {
            return None;
        }
        match self.store.commit(&work, &cursors) {
            Ok(recorded) => {
                self.on_success();
                for (answer, recorded) in answers.into_iter().zip(recorded) {
                    if let Some(answer) = answer {
                        // Whoever gave up waiting does not want to know.
                        let _ = answer.send(Ok(recorded));
                    }
                }
                None
            }
            Err(error) => {
                self.on_failure(&error, work, cursors);
                for answer in answers.into_iter().flatten() {
                    let _ = answer.send(Err(error.clone()));
                }
                Some(error)
            }
        }
    }

    fn on_success(&mut self) {
        self.unwritten.clear();
        if std::mem::take(&mut self.failing) {
            tracing::info!("the journal can be written again");
        }
        self.mark.note(self.store.chains());
        let heads = self.store.heads();
        self.heads.send_if_modified(|known| std::mem::replace(known, heads) != heads);
    }

    fn on_failure(&mut self, error: &JournalError, work: Vec<Work>, cursors: Cursors) {
        if !std::mem::replace(&mut self.failing, true) {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, cause, "the journal cannot be written: nothing is acknowledged until it can");
        }
        self.unwritten.clear();
        self.unwritten
            .extend(work.into_iter().filter_map(|piece| if let Work::Keep(notes) = piece { Some(notes) } else { None }).flatten());
        let beyond = self.unwritten.len().saturating_sub(UNWRITTEN_MAX);
        if beyond > 0 {
            tracing::error!(beyond, "notes were given up while the journal could not be written");
            self.unwritten.drain(..beyond);
        }
        self.pending.put_back(cursors);
        if !self.unwritten.is_empty() || self.pending.is_waiting() {
            self.group.wait_at_most(LAZY);
        }
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
            if self.line.is_empty() {
                break;
            }
        }
        let given_back = self.store.checkpoint();
        if let Err(error) = &given_back {
            tracing::warn!(%error, "the journal's log could not be given back to the database; the next start does it");
        }
        let Self { store, mark, lock, .. } = self;
        let chains = *store.chains();
        drop(store);
        // Only an end that is certain is called the end.
        if given_back.is_ok() && outcome.is_ok() {
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
