//! Archiving and compacting on demand: one at a time, told line by line, over when nobody wants it any more.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{Instant, timeout_at},
};

use super::{
    ArchiveError, Archivist, Older,
    errand::{Compacted, Errand, Line, failed},
};
use crate::journal::{JournalError, Sizes};

/// While upkeep makes no step for this long, something is wrong with the journal: a step takes milliseconds, a retry
/// after a failed one comes within seconds.
const STALLED: Duration = Duration::from_secs(60);

/// Somebody else is at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("archiving or compacting is already running: wait until it has ended, or stop it where it was started")]
pub struct Busy;

/// What somebody wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Archive these.
    Archive(Older),
    /// Delete what is archived and give free pages back until none are left.
    Compact,
}

/// The long work on one journal.
#[derive(Debug, Clone)]
pub struct Housekeeping {
    archivist: Archivist,
    demand: Arc<Mutex<()>>,
}

/// The right to one piece of work; held until it has ended.
#[derive(Debug)]
pub struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Housekeeping {
    /// The work that this archivist does.
    #[must_use]
    pub fn new(archivist: Archivist) -> Self {
        Self { archivist, demand: Arc::default() }
    }

    /// The archivist.
    #[must_use]
    pub const fn archivist(&self) -> &Archivist {
        &self.archivist
    }

    /// Asks for the turn.
    ///
    /// # Errors
    /// When somebody else has it.
    pub fn begin(&self) -> Result<Turn, Busy> {
        Arc::clone(&self.demand).try_lock_owned().map(|held| Turn { _held: held }).map_err(|_| Busy)
    }

    /// Does it and says all of it to whoever listens; returns the last line.
    pub async fn perform(&self, turn: Turn, demand: Demand, errand: &Errand) -> Line {
        let outcome = match demand {
            Demand::Archive(older) => self.archivist.round(older, errand).await.map(Line::Archived),
            Demand::Compact => self.compact(errand).await.map(Line::Compacted),
        };
        let last = outcome.unwrap_or_else(|fault| failed(&fault));
        // Whoever reads the last line may begin anew at once.
        drop(turn);
        errand.say(last.clone()).await;
        last
    }

    /// Asks the journal's writer for upkeep without pauses, and watches it until nothing is left. Stopped, the writer
    /// goes on by itself at its own pace.
    async fn compact(&self, errand: &Errand) -> Result<Compacted, ArchiveError> {
        let journal = self.archivist.journal();
        let mut standing = journal.standing();
        let before = self.sizes().await?;
        journal.hurry_upkeep().await?;
        let first = standing.borrow_and_update().upkeep;
        let mut last = (first, Instant::now());
        let stopped = loop {
            let now = standing.borrow_and_update().upkeep;
            if !now.hurried {
                break false;
            }
            if errand.is_over() {
                break true;
            }
            if now != last.0 {
                last = (now, Instant::now());
            }
            errand.tell(Line::Compacting { to_trim: now.to_trim, free_pages: now.free_pages });
            tokio::select! {
                changed = timeout_at(last.1 + STALLED, standing.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(JournalError::Closed.into()),
                    Err(_) => return Err(ArchiveError::Stalled),
                },
                () = errand.over() => {}
            }
        };
        let left = standing.borrow().upkeep;
        let after = self.sizes().await?;
        let trimmed = first.to_trim.saturating_sub(left.to_trim);
        Ok(Compacted { trimmed, bytes_before: before.database + before.log, bytes: after.database + after.log, stopped })
    }

    async fn sizes(&self) -> Result<Sizes, ArchiveError> {
        let journal = self.archivist.journal().clone();
        let read = tokio::task::spawn_blocking(move || journal.reader()?.sizes()).await;
        Ok(read.expect("reading the lengths of files does not panic")?)
    }
}
