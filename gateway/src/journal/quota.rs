//! When telemetry is full: the oldest is dropped in small steps, and a `GAP` in the chain says what.
//!
//! What must hold: alarms and receipts are never touched; nothing of the group being written is dropped in the same
//! transaction; the cursors of all outlets are moved over what is gone and remember how much they skipped, so that
//! recorded = delivered + pending + dropped stays true.

use rusqlite::{Transaction, params};

use super::front::{self, Fate, Leaving};
use super::store::{Chains, seq, signed, unsigned};
use crate::event::gap::{Dropped, Gap};
use crate::event::{Class, Digest, Seq};

/// Most events dropped in one transaction: a few milliseconds, so that no alarm waits for it.
const STEP_EVENTS: u64 = 512;
/// A step goes on until this part of the quota is free again, so that not every event costs a `GAP`.
const FREE_PART: u64 = 8;

/// Drops the oldest telemetry, none after `before`, if there is more than `quota` bytes; returns the `GAP` to record.
/// What is in the archive already leaves first, and leaves no gap.
pub(super) fn drop_oldest(
    transaction: &Transaction<'_>,
    chains: &mut Chains,
    before: Seq,
    quota: u64,
) -> Result<Option<Gap>, rusqlite::Error> {
    let head = &mut chains[Class::Telemetry as usize];
    if head.held() <= quota {
        return Ok(None);
    }
    // What this very group brought is added to the step, so that dropping always gains on recording.
    let step = STEP_EVENTS + (head.seq.0 - before.0);
    if front::trim(transaction, Class::Telemetry, head, step)? > 0 || head.front >= before {
        return Ok(None);
    }
    let target = quota - quota / FREE_PART;
    let first = head.front.next();
    let mut last: Option<Leaving> = None;
    {
        let mut statement = transaction
            .prepare_cached("SELECT seq, octets, digest FROM event WHERE class = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4")?;
        let mut rows = statement.query(params![Class::Telemetry as i64, signed(first.0), signed(before.0), signed(step)])?;
        while let Some(row) = rows.next()? {
            let octets = unsigned(row.get(1)?);
            last = Some(Leaving { last: seq(row.get(0)?), octets, digest: Digest(row.get(2)?) });
            if head.octets.saturating_sub(octets) <= target {
                break;
            }
        }
    }
    let Some(leaving) = last else { return Ok(None) };
    let bytes = leaving.octets.saturating_sub(head.front_octets);
    let undelivered = front::leave(transaction, Class::Telemetry, head, leaving, Fate::Dropped)?;
    Ok(Some(Gap {
        first,
        last: leaving.last,
        count: leaving.last.0 - first.before().0,
        bytes,
        undelivered,
        digest: leaving.digest,
        run: Some(head.run),
        since_start: Dropped { count: head.dropped(), bytes: head.dropped_bytes() },
    }))
}
