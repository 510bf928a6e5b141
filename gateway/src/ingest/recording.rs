//! On the way to disk: what one report amounts to is one transaction, in the order heard, until it is there.
//!
//! ```text
//!   unit ─► submitted ─► committed
//!                 └────► failed ─► everything still out is waited for, then the failed are tried again, in order
//! ```
//!
//! What must hold: nothing new is submitted while something failed is not on disk; a note of a failed unit that a
//! later, committed unit has already replaced is not written over it; a unit that cannot be recorded is tried again
//! until it can, unless the journal itself is damaged or gone, which ends the gate.

use std::{collections::HashSet, collections::VecDeque, time::Duration};

use tokio::time::sleep;

use crate::journal::{Entry, Journal, JournalError, TogetherTicket};

/// A journal that refuses is tried again after this long at first ...
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// ... and at least this often later.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(5);

/// The events of one report: recorded together or not at all.
pub(super) type Unit = Vec<Entry>;

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
    /// It is not; [`Recording::insist`] is next.
    Failed(Unit, JournalError),
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
        if !unit.is_empty() {
            let ticket = self.journal.submit_all(unit.clone()).await;
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
        Some(match outcome {
            Ok(()) => Ended::Recorded(unit),
            Err(fault) => Ended::Failed(unit, fault),
        })
    }

    /// A unit failed: waits for all that are out, then records the failed ones in order, however long it takes.
    /// `waiting` is called with the reason before each pause. All units that are now on disk, in the order heard.
    ///
    /// # Errors
    /// When the journal is damaged or closed: no waiting helps.
    pub(super) async fn insist(
        &mut self,
        first: Unit,
        fault: JournalError,
        mut waiting: impl FnMut(&JournalError),
    ) -> Result<Vec<Unit>, JournalError> {
        let mut units = vec![(first, Some(fault))];
        while let Some(ended) = self.ended().await {
            units.push(match ended {
                Ended::Recorded(unit) => (unit, None),
                Ended::Failed(unit, fault) => (unit, Some(fault)),
            });
        }
        forget_replaced(&mut units);
        for (unit, fault) in &mut units {
            if let Some(fault) = fault.take() {
                record(&self.journal, unit, fault, &mut waiting).await?;
            }
        }
        Ok(units.into_iter().map(|(unit, _)| unit).collect())
    }
}

async fn record(journal: &Journal, unit: &Unit, fault: JournalError, waiting: &mut impl FnMut(&JournalError)) -> Result<(), JournalError> {
    let (mut fault, mut pause) = (fault, RETRY_FIRST);
    // The first try costs no pause: the fault may be over.
    loop {
        if fault.is_damage() || matches!(fault, JournalError::Closed | JournalError::Replaced { .. }) {
            return Err(fault);
        }
        waiting(&fault);
        match journal.append_all(unit.clone()).await {
            Ok(_) => return Ok(()),
            Err(again) => fault = again,
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_CAP);
    }
}

/// Takes from the failed units what later, committed ones have already written anew.
fn forget_replaced(units: &mut [(Unit, Option<JournalError>)]) {
    let mut written = HashSet::new();
    for (unit, fault) in units.iter_mut().rev() {
        for entry in unit.iter_mut() {
            match fault {
                None => written.extend(entry.notes.iter().map(|note| (note.kind, note.key.clone()))),
                Some(_) => entry.notes.retain(|note| !written.contains(&(note.kind, note.key.clone()))),
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
        vec![Entry::new(draft).with(Note::keep("seal", key, value))]
    }

    #[test]
    fn a_retried_unit_never_writes_an_old_state_over_a_newer_one() {
        let failed = || Some(JournalError::Closed);
        let mut units = vec![
            (unit("A", "locked"), failed()),
            (unit("B", "locked"), failed()),
            (unit("A", "forced open"), None),
            (unit("A", "still open"), failed()),
        ];
        forget_replaced(&mut units);
        let notes: Vec<usize> = units.iter().map(|(unit, _)| unit[0].notes.len()).collect();
        assert_eq!(notes, [0, 1, 1, 1], "only what a later committed unit wrote is left out");
    }
}
