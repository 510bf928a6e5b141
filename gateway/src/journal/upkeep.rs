//! What the writer does when nobody waits: deletes what is in the archive, gives empty pages back, watches the reserve.
//!
//! What must hold: one step is a few milliseconds and is taken only when nothing is to be committed (or once a second
//! under a load that never pauses), so that an alarm waits for one step at most; steps grow and shrink with the time
//! the last ones took, because a slow card needs smaller ones; what a step could not do is tried again, never given up.

use std::time::Duration;

use tokio::time::Instant;

use super::JournalError;
use super::room::UpkeepStanding;
use super::store::Store;

/// A step that took longer than this makes the next ones smaller ...
const STEP_LONG: Duration = Duration::from_millis(10);
/// ... and one shorter than this makes them larger.
const STEP_SHORT: Duration = Duration::from_millis(4);
/// Rows deleted in one step.
const ROWS: Bounds = Bounds { least: 16, most: 1_024 };
/// Pages given back in one step.
const PAGES: Bounds = Bounds { least: 8, most: 512 };
/// Free pages of 4 KiB beyond which they are given back: below, new events soon fill them again.
const FREE_PAGES_MANY: u64 = 4_096;
/// Giving back ends here unless somebody asked for all.
const FREE_PAGES_FEW: u64 = 1_024;
/// With nothing to do, how long until the next look.
const IDLE: Duration = Duration::from_secs(5);
/// After a step that failed, how long until the next.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Under a load that never pauses a step is taken all the same after this long.
const AT_LEAST_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: u64,
    most: u64,
}

/// The upkeep of one journal.
#[derive(Debug)]
pub(super) struct Upkeep {
    rows: u64,
    pages: u64,
    due: Instant,
    last: Instant,
    giving_back: bool,
    standing: UpkeepStanding,
}

impl Upkeep {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { rows: ROWS.least * 4, pages: PAGES.least * 4, due: now, last: now, giving_back: false, standing: UpkeepStanding::default() }
    }

    pub(super) const fn standing(&self) -> UpkeepStanding {
        self.standing
    }

    /// When the next step is due, if nobody waits.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether it has waited for a pause long enough.
    pub(super) fn is_overdue(&self) -> bool {
        let now = Instant::now();
        self.due <= now && now.duration_since(self.last) >= AT_LEAST_EVERY
    }

    /// Somebody waits for it: everything that can be given back is, without pauses.
    pub(super) fn hurry(&mut self) {
        self.standing.hurried = true;
        self.due = Instant::now();
    }

    /// There is more to trim.
    pub(super) fn wake(&mut self, store: &Store) {
        self.standing.to_trim = store.to_trim();
        self.due = self.due.min(Instant::now());
    }

    /// Nothing can be written now: looks again later.
    pub(super) fn rest(&mut self) {
        self.due = Instant::now() + AFTER_FAILURE;
    }

    /// Takes one step.
    pub(super) fn step(&mut self, store: &mut Store) {
        let begin = Instant::now();
        let outcome = self.take(store);
        let took = begin.elapsed();
        self.last = Instant::now();
        self.due = match outcome {
            Ok(Done::Nothing) => {
                self.standing.hurried = false;
                self.last + IDLE
            }
            // As long a pause as the step was, so that the disk is never ours alone.
            Ok(Done::Something) if self.standing.hurried => self.last,
            Ok(Done::Something) => self.last + took,
            Err(error) => {
                tracing::debug!(%error, "the journal's upkeep could not go on; trying again");
                self.last + AFTER_FAILURE
            }
        };
    }

    fn take(&mut self, store: &mut Store) -> Result<Done, JournalError> {
        let begin = Instant::now();
        if store.trim(self.rows)? > 0 {
            adapt(&mut self.rows, ROWS, begin.elapsed());
            self.look(store)?;
            return Ok(Done::Something);
        }
        self.look(store)?;
        let free = self.standing.free_pages;
        let few = if self.standing.hurried { 0 } else { FREE_PAGES_FEW };
        self.giving_back = (self.giving_back && free > few) || free > FREE_PAGES_MANY || (self.standing.hurried && free > 0);
        if !self.giving_back {
            return Ok(Done::Nothing);
        }
        let begin = Instant::now();
        store.give_back(self.pages.min(free - few.min(free)).max(1))?;
        adapt(&mut self.pages, PAGES, begin.elapsed());
        self.look(store)?;
        // A database from before pages could be given back keeps them: that is no reason to go round for ever.
        Ok(if self.standing.free_pages < free { Done::Something } else { Done::Nothing })
    }

    fn look(&mut self, store: &Store) -> Result<(), JournalError> {
        let (free_pages, _) = store.pages()?;
        self.standing = UpkeepStanding { to_trim: store.to_trim(), free_pages, ..self.standing };
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Something,
    Nothing,
}

fn adapt(size: &mut u64, bounds: Bounds, took: Duration) {
    if took > STEP_LONG {
        *size = (*size / 2).max(bounds.least);
    } else if took < STEP_SHORT {
        *size = (*size * 2).min(bounds.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_gets_small_steps_and_a_fast_one_large_steps() {
        let mut size = 100;
        adapt(&mut size, ROWS, Duration::from_millis(40));
        assert_eq!(size, 50);
        for _ in 0..10 {
            adapt(&mut size, ROWS, Duration::from_millis(40));
        }
        assert_eq!(size, ROWS.least);
        for _ in 0..10 {
            adapt(&mut size, ROWS, Duration::from_millis(1));
        }
        assert_eq!(size, ROWS.most);
        adapt(&mut size, ROWS, Duration::from_millis(7));
        assert_eq!(size, ROWS.most, "a step of the right size stays");
    }
}
