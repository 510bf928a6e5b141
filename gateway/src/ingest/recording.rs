//! On the way to disk: what one report amounts to is one transaction, in the order heard, until it is there.
//!
//! ```text
//!   unit ─► submitted ─► committed
//!                 ├────► refused: no room for telemetry; counted by whoever submitted, not tried again
//!                 └────► failed ─► everything still out is waited for, then the failed are tried again, in order
//! ```
//!
//! What must hold: nothing new is submitted while something failed is not on disk; a note of a failed unit that a
//! later, committed unit has already replaced is not written over it; a unit that cannot be recorded is tried again
//! until it can, unless the journal itself is damaged or gone, which ends the gate.

use std::{collections::HashSet, collections::VecDeque, time::Duration};

use segel_drivers::{Confirm, ReaderId};
use tokio::time::sleep;

use super::telling::ToldMarks;
use crate::journal::{Entry, Journal, JournalError, TogetherTicket};

/// A journal that refuses is tried again after this long at first ...
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// ... and at least this often later.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(5);

/// The events of one report: recorded together or not at all.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Who heard it; none for what ingest found by itself.
    pub(super) reader: Option<ReaderId>,
    pub(super) entries: Vec<Entry>,
    /// What of a seal's log it holds, and the promise to be kept when all of it is on disk. Dropped, it is not kept.
    pub(super) told: Option<(ToldMarks, Option<Confirm>)>,
}

/// Units on their way to disk, the oldest first.
#[derive(Debug)]
pub(super) struct Recording {
    journal: Journal,
    out: VecDeque<(Unit, Result<TogetherTicket, JournalError>)>,
}

/// How a unit ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is on disk.
    Recorded(Unit),
    /// The journal has no room for telemetry: it is counted and left, and nobody is told that it was kept.
    Refused(Unit),
    /// It is not; [`Recording::insist`] is next.
    Failed(Unit, JournalError),
}

impl Ended {
    fn of(unit: Unit, outcome: Result<(), JournalError>) -> Self {
        match outcome {
            Ok(()) => Self::Recorded(unit),
            Err(fault) if is_refusal(&fault) => Self::Refused(unit),
            Err(fault) => Self::Failed(unit, fault),
        }
    }
}

/// Whether the journal has decided, so that no second try is wanted.
fn is_refusal(fault: &JournalError) -> bool {
    matches!(fault, JournalError::NoRoom)
}

impl Recording {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, out: VecDeque::new() }
    }

    /// How many units are on their way.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Puts a unit in the journal's line.
    pub(super) async fn submit(&mut self, unit: Unit) {
        if !unit.entries.is_empty() {
            let ticket = self.journal.submit_all(unit.entries.clone()).await;
            self.out.push_back((unit, ticket));
        }
    }

    /// The oldest unit once it has ended; `None` when none is out. Safe to cancel.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        let (_, ticket) = self.out.front_mut()?;
        let outcome = match ticket {
            Ok(ticket) => ticket.await.map(drop),
            Err(fault) => Err(fault.clone()),
        };
        let (unit, _) = self.out.pop_front()?;
        Some(Ended::of(unit, outcome))
    }

    /// A unit failed: waits for all that are out, then records the failed ones in order, however long it takes.
    /// `waiting` is called with the reason before each pause. What became of each, in the order heard: none has failed.
    ///
    /// # Errors
    /// When the journal is damaged or closed: no waiting helps.
    pub(super) async fn insist(
        &mut self,
        first: Unit,
        fault: JournalError,
        mut waiting: impl FnMut(&JournalError),
    ) -> Result<Vec<Ended>, JournalError> {
        let mut all = vec![Ended::Failed(first, fault)];
        while let Some(ended) = self.ended().await {
            all.push(ended);
        }
        forget_replaced(&mut all);
        let mut settled = Vec::with_capacity(all.len());
        for ended in all {
            settled.push(match ended {
                Ended::Failed(unit, fault) => record(&self.journal, unit, fault, &mut waiting).await?,
                settled => settled,
            });
        }
        Ok(settled)
    }
}

async fn record(
    journal: &Journal,
    unit: Unit,
    fault: JournalError,
    waiting: &mut impl FnMut(&JournalError),
) -> Result<Ended, JournalError> {
    let (mut fault, mut pause) = (fault, RETRY_FIRST);
    // The first try costs no pause: the fault may be over.
    loop {
        if fault.is_damage() || matches!(fault, JournalError::Closed | JournalError::Replaced { .. }) {
            return Err(fault);
        }
        waiting(&fault);
        match journal.append_all(unit.entries.clone()).await {
            Ok(_) => return Ok(Ended::Recorded(unit)),
            Err(again) if is_refusal(&again) => return Ok(Ended::Refused(unit)),
            Err(again) => fault = again,
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_CAP);
    }
}

/// Takes from the failed units what later ones have already written anew; the notes of what was refused are kept too.
fn forget_replaced(all: &mut [Ended]) {
    let mut written = HashSet::new();
    for ended in all.iter_mut().rev() {
        match ended {
            Ended::Recorded(unit) | Ended::Refused(unit) => {
                written.extend(unit.entries.iter().flat_map(|entry| &entry.notes).map(|note| (note.kind, note.key.clone())));
            }
            Ended::Failed(unit, _) => {
                for entry in &mut unit.entries {
                    entry.notes.retain(|note| !written.contains(&(note.kind, note.key.clone())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Assurance, BootId, Class, ClockQuality, Draft, EventType, Stamp, Subject},
        journal::Note,
    };

    fn unit(key: &str, value: &str) -> Unit {
        let stamp = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, monotonic_ms: 0, boot: BootId(uuid::Uuid::nil()), clock: ClockQuality::Rtc };
        let body = serde_json::json!({});
        let draft = Draft::new(Class::Alarm, EventType::Tampered, Subject::gateway(), stamp, Assurance::Own, &body).expect("a small body");
        Unit { reader: None, told: None, entries: vec![Entry::new(draft).with(Note::keep("seal", key, value))] }
    }

    #[test]
    fn a_retried_unit_never_writes_an_old_state_over_a_newer_one() {
        let failed = |unit| Ended::Failed(unit, JournalError::Closed);
        let mut all = vec![
            failed(unit("A", "locked")),
            failed(unit("B", "locked")),
            failed(unit("C", "locked")),
            Ended::Recorded(unit("A", "forced open")),
            Ended::Refused(unit("C", "open")),
            failed(unit("A", "still open")),
        ];
        forget_replaced(&mut all);
        let notes = |ended: &Ended| match ended {
            Ended::Recorded(unit) | Ended::Refused(unit) | Ended::Failed(unit, _) => unit.entries[0].notes.len(),
        };
        let notes: Vec<usize> = all.iter().map(notes).collect();
        assert_eq!(notes, [0, 1, 0, 1, 1, 1], "only what a later committed unit wrote is left out");
    }
}
