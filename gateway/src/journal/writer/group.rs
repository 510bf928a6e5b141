//! What waits to be committed together, and who waits for it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::JournalError;
use super::super::entry::{Entry, Note, Recorded};
use super::super::front::Segment;
use super::super::store::Work;
use super::Answer;
use crate::event::Class;

/// Most messages in one transaction: some 300 kB of log for common events, so that a checkpoint stays short.
const MESSAGES_MAX: usize = 512;
/// Most events in one transaction, whatever the messages that brought them.
const EVENTS_MAX: usize = 1024;

/// A segment on its way into the record, and who waits for that.
type Away = (Box<(Segment, Entry)>, oneshot::Sender<Answer>);

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) work: Vec<Work>,
    answers: Vec<Option<oneshot::Sender<Answer>>>,
    /// Whoever is told that there is no room, once everybody can see why.
    left_out: Vec<oneshot::Sender<Answer>>,
    pub(super) events: usize,
    pub(super) due: Option<Instant>,
    /// Segments to be recorded after it, each in a transaction of its own.
    pub(super) away: Vec<Away>,
    pub(super) closing: Option<oneshot::Sender<Result<(), JournalError>>>,
}

/// Whether these are all telemetry.
pub(super) fn is_telemetry(entries: &[Entry]) -> bool {
    entries.iter().all(|entry| entry.draft.class == Class::Telemetry)
}

impl Group {
    pub(super) fn is_full(&self) -> bool {
        self.work.len() >= MESSAGES_MAX || self.events >= EVENTS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    pub(super) fn wait_at_most(&mut self, wait: Duration) {
        let due = Instant::now() + wait;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }

    pub(super) fn push(&mut self, work: Work, answer: Option<oneshot::Sender<Answer>>) {
        if let Work::Append(entries) = &work {
            self.events += entries.len();
        }
        self.work.push(work);
        self.answers.push(answer);
    }

    pub(super) fn push_first(&mut self, work: Work) {
        self.work.insert(0, work);
        self.answers.insert(0, None);
    }

    /// What is to be committed now; segments and the wish to close stay.
    pub(super) fn take(&mut self) -> Self {
        let rest = Self { away: std::mem::take(&mut self.away), closing: self.closing.take(), ..Self::default() };
        std::mem::replace(self, rest)
    }

    /// Refuses what is telemetry alone, keeping its notes; returns how many events that were.
    pub(super) fn leave_out_telemetry(&mut self) -> u64 {
        let mut left_out = 0;
        for (work, answer) in self.work.iter_mut().zip(&mut self.answers) {
            if let Work::Append(entries) = work
                && is_telemetry(entries)
            {
                left_out += entries.len() as u64;
                let notes = entries.drain(..).flat_map(|entry| entry.notes).collect();
                *work = Work::Keep(notes);
                self.left_out.extend(answer.take());
            }
        }
        left_out
    }

    /// Notes nobody waits for.
    pub(super) fn notes_alone(&self) -> impl Iterator<Item = Note> {
        self.work.iter().filter_map(|piece| if let Work::Keep(notes) = piece { Some(notes) } else { None }).flatten().cloned()
    }

    /// It is on disk.
    pub(super) fn answer(self, recorded: Vec<Vec<Recorded>>) {
        refuse(self.left_out);
        for (answer, recorded) in self.answers.into_iter().zip(recorded) {
            if let Some(answer) = answer {
                // Whoever gave up waiting does not want to know.
                let _ = answer.send(Ok(recorded));
            }
        }
    }

    /// It is not.
    pub(super) fn fail(self, error: &JournalError) {
        refuse(self.left_out);
        for answer in self.answers.into_iter().flatten() {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

fn refuse(left_out: Vec<oneshot::Sender<Answer>>) {
    for answer in left_out {
        let _ = answer.send(Err(JournalError::NoRoom));
    }
}
