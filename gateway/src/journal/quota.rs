//! When telemetry is full: the oldest is dropped in small steps, and a `GAP` in the chain says what.
//!
//! What must hold: alarms and receipts are never touched; nothing of the group being written is dropped in the same
//! transaction; the cursors of all outlets are moved over what is gone and remember how much they skipped, so that
//! recorded = delivered + pending + dropped stays true.

use rusqlite::{Transaction, params};

use super::store::{Chains, seq, signed, unsigned};
use crate::event::gap::{Dropped, Gap};
use crate::event::{Class, Digest, Seq};

/// Most events dropped in one transaction: a few milliseconds, so that no alarm waits for it.
const STEP_EVENTS: i64 = 512;
/// A step goes on until this part of the quota is free again, so that not every event costs a `GAP`.
const FREE_PART: u64 = 8;

/// Drops the oldest telemetry, none after `before`, if there is more than `quota` bytes; returns the `GAP` to record.
pub(super) fn drop_oldest(
    transaction: &Transaction<'_>,
    chains: &mut Chains,
    before: Seq,
    quota: u64,
) -> Result<Option<Gap>, rusqlite::Error> {
    let head = &mut chains[Class::Telemetry as usize];
    if head.held() <= quota || head.dropped >= before {
        return Ok(None);
    }
    // What this very group brought is added to the step, so that dropping always gains on recording.
    let step = STEP_EVENTS + signed(head.seq.0 - before.0);
    let target = quota - quota / FREE_PART;
    let first = head.dropped.next();
    let mut last: Option<(Seq, u64, Digest)> = None;
    {
        let mut statement = transaction
            .prepare_cached("SELECT seq, octets, digest FROM event WHERE class = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4")?;
        let mut rows = statement.query(params![Class::Telemetry as i64, signed(first.0), signed(before.0), step])?;
        while let Some(row) = rows.next()? {
            let octets = unsigned(row.get(1)?);
            last = Some((seq(row.get(0)?), octets, Digest(row.get(2)?)));
            if head.octets - octets <= target {
                break;
            }
        }
    }
    let Some((last, bytes, digest)) = last else { return Ok(None) };
    transaction
        .prepare_cached("DELETE FROM event WHERE class = ?1 AND seq <= ?2")?
        .execute(params![Class::Telemetry as i64, signed(last.0)])?;
    transaction
        .prepare_cached(
            "INSERT INTO dropped (class, last, bytes, digest) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (class) DO UPDATE SET last = excluded.last, bytes = excluded.bytes, digest = excluded.digest",
        )?
        .execute(params![Class::Telemetry as i64, signed(last.0), signed(bytes), digest.0])?;
    let behind: Option<u64> = transaction
        .prepare_cached("SELECT min(seq) FROM cursor WHERE class = ?1")?
        .query_row([Class::Telemetry as i64], |row| Ok(row.get::<_, Option<i64>>(0)?.map(unsigned)))?;
    transaction
        .prepare_cached("UPDATE cursor SET skipped = skipped + (?2 - seq), seq = ?2 WHERE class = ?1 AND seq < ?2")?
        .execute(params![Class::Telemetry as i64, signed(last.0)])?;
    let gap = Gap {
        first,
        last,
        count: last.0 - first.before().0,
        bytes: bytes - head.dropped_bytes,
        undelivered: last.0.saturating_sub(behind.unwrap_or(0).max(first.before().0)),
        digest,
        since_start: Dropped { count: last.0, bytes },
    };
    (head.dropped, head.dropped_bytes) = (last, bytes);
    Ok(Some(gap))
}
