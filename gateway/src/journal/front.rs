//! The front of each class: up to which number the rows are gone, and where they went.
//!
//! ```text
//!   1 ......... front | ......... put away | ............ head
//!   gone: dropped     | sealed in a        | held
//!   or archived       | segment, rows      |
//!                     | still here         |
//! ```
//!
//! What must hold: rows leave from the front only, and what left is counted as dropped or as archived, never both and
//! never neither: recorded = held + archived + dropped. What is put away is deleted in small steps, each a transaction
//! of its own; the cursors of all outlets are moved over what is gone and remember how much they skipped.
//!
//! Not here: what may be put away (whoever seals segments decides), and when a step is due.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::store::{Head, seq, signed, unsigned};
use super::{JournalError, schema};
use crate::event::{Class, Digest, Seq};

/// One sealed stretch of a class: what the journal remembers of it once it is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its class.
    pub class: Class,
    /// First number in it.
    pub first: Seq,
    /// Last number in it.
    pub last: Seq,
    /// How many events: numbers have no holes, so `last - first + 1`.
    pub count: u64,
    /// Bytes of their documents.
    pub bytes: u64,
    /// SHA-256 of its last document.
    pub digest: Digest,
    /// Name of its file.
    pub name: String,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// Directory it was put in.
    pub place: String,
}

/// Up to where the rows of a class are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front {
    /// The last number whose row is gone; [`Seq::NONE`] when all are here.
    pub last: Seq,
    /// SHA-256 of that document: what the first one here names as `prev`.
    pub digest: Digest,
    /// How many of the numbers up to it went to the archive.
    pub archived: u64,
    /// How many of them were dropped.
    pub dropped: u64,
}

/// Why a segment was not taken; the segment itself is harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It does not begin where the last one ended.
    #[error("it begins at {found} and the next one begins at {expected}: seal again from there")]
    Begins {
        /// Where it must begin.
        expected: Seq,
        /// Where it begins.
        found: Seq,
    },
    /// Its numbers do not add up, or it ends beyond what there is.
    #[error("it says {count} events up to {last}, and the journal ends at {head}: seal again")]
    Ends {
        /// Where it ends.
        last: Seq,
        /// What it says it holds.
        count: u64,
        /// Where the journal ends.
        head: Seq,
    },
    /// Its last document or its bytes are not those of the journal.
    #[error("its last document or its length is not what the journal holds under number {last}: seal again, and verify the journal")]
    Differs {
        /// Where it ends.
        last: Seq,
    },
}

/// Rows of the front as they are on disk; all classes.
pub(super) fn load(connection: &Connection, class: Class, head: &mut Head) -> Result<(), rusqlite::Error> {
    let grown = schema::version(connection)? >= 2;
    let columns = if grown { "archived, archived_bytes, run" } else { "0, 0, 1" };
    let found = connection
        .prepare_cached(&format!("SELECT last, bytes, digest, {columns} FROM dropped WHERE class = ?1"))?
        .query_row([class as i64], |row| {
            Ok((
                seq(row.get(0)?),
                unsigned(row.get(1)?),
                Digest(row.get(2)?),
                unsigned(row.get(3)?),
                unsigned(row.get(4)?),
                seq(row.get(5)?),
            ))
        })
        .optional()?;
    if let Some((last, octets, digest, archived, archived_bytes, run)) = found {
        (head.front, head.front_octets, head.front_digest) = (last, octets, digest);
        (head.archived, head.archived_bytes, head.run) = (archived, archived_bytes, run);
    }
    let away = if grown {
        connection
            .prepare_cached("SELECT last, octets FROM segment WHERE class = ?1 ORDER BY first DESC LIMIT 1")?
            .query_row([class as i64], |row| Ok((seq(row.get(0)?), unsigned(row.get(1)?))))
            .optional()?
    } else {
        None
    };
    // A drop may have passed the last segment since; then the front counts.
    (head.away, head.away_octets) = away.filter(|(last, _)| *last > head.front).unwrap_or((head.front, head.front_octets));
    Ok(())
}

/// The last row to leave in one step: its number, its bytes so far, its digest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) last: Seq,
    pub(super) octets: u64,
    pub(super) digest: Digest,
}

/// What becomes of rows that leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Archived,
    Dropped,
}

/// Deletes the rows up to `leaving`, moves the front and the cursors over them; returns how many of them the outlet
/// furthest behind had not confirmed. Within the caller's transaction.
pub(super) fn leave(connection: &Connection, class: Class, head: &mut Head, leaving: Leaving, fate: Fate) -> Result<u64, rusqlite::Error> {
    let (count, bytes) = (leaving.last.0.saturating_sub(head.front.0), leaving.octets.saturating_sub(head.front_octets));
    connection
        .prepare_cached("DELETE FROM event WHERE class = ?1 AND seq <= ?2")?
        .execute(params![class as i64, signed(leaving.last.0)])?;
    let behind: Option<u64> = connection
        .prepare_cached("SELECT min(seq) FROM cursor WHERE class = ?1")?
        .query_row([class as i64], |row| Ok(row.get::<_, Option<i64>>(0)?.map(unsigned)))?;
    connection
        .prepare_cached("UPDATE cursor SET skipped = skipped + (?2 - seq), seq = ?2 WHERE class = ?1 AND seq < ?2")?
        .execute(params![class as i64, signed(leaving.last.0)])?;
    let undelivered = leaving.last.0.saturating_sub(behind.unwrap_or(0).max(head.front.0));
    match fate {
        Fate::Archived => {
            head.archived += count;
            head.archived_bytes += bytes;
            head.run = Seq::NONE;
        }
        Fate::Dropped if head.run == Seq::NONE => head.run = head.front.next(),
        Fate::Dropped => {}
    }
    (head.front, head.front_octets, head.front_digest) = (leaving.last, leaving.octets, leaving.digest);
    if head.away < head.front {
        (head.away, head.away_octets) = (head.front, head.front_octets);
    }
    connection
        .prepare_cached(
            "INSERT INTO dropped (class, last, bytes, digest, archived, archived_bytes, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (class) DO UPDATE SET last = excluded.last, bytes = excluded.bytes, digest = excluded.digest,
               archived = excluded.archived, archived_bytes = excluded.archived_bytes, run = excluded.run",
        )?
        .execute(params![
            class as i64,
            signed(head.front.0),
            signed(head.front_octets),
            head.front_digest.0,
            signed(head.archived),
            signed(head.archived_bytes),
            signed(head.run.0),
        ])?;
    Ok(undelivered)
}

/// Deletes at most `rows` of what is put away; returns how many. The last row of a class stays until there is another:
/// it holds the number and the digest that the next one goes on from.
pub(super) fn trim(connection: &Connection, class: Class, head: &mut Head, rows: u64) -> Result<u64, rusqlite::Error> {
    let last = head.away.min(Seq(head.front.0 + rows)).min(head.seq.before());
    if last <= head.front {
        return Ok(0);
    }
    let leaving = connection
        .prepare_cached("SELECT octets, digest FROM event WHERE class = ?1 AND seq = ?2")?
        .query_row(params![class as i64, signed(last.0)], |row| {
            Ok(Leaving { last, octets: unsigned(row.get(0)?), digest: Digest(row.get(1)?) })
        })?;
    let count = last.0 - head.front.0;
    leave(connection, class, head, leaving, Fate::Archived)?;
    Ok(count)
}

/// Writes the row of a segment, if it fits. Within the caller's transaction.
pub(super) fn put_away(connection: &Connection, head: &mut Head, segment: &Segment) -> Result<(), JournalError> {
    let misfit = |why| JournalError::Misfit { class: segment.class, why };
    if segment.first != head.away.next() {
        return Err(misfit(Misfit::Begins { expected: head.away.next(), found: segment.first }));
    }
    if segment.last > head.seq || segment.last < segment.first || segment.count != segment.last.0 - segment.first.before().0 {
        return Err(misfit(Misfit::Ends { last: segment.last, count: segment.count, head: head.seq }));
    }
    let (octets, digest) = connection
        .prepare_cached("SELECT octets, digest FROM event WHERE class = ?1 AND seq = ?2")?
        .query_row(params![segment.class as i64, signed(segment.last.0)], |row| Ok((unsigned(row.get(0)?), Digest(row.get(1)?))))?;
    if digest != segment.digest || octets.checked_sub(head.away_octets) != Some(segment.bytes) {
        return Err(misfit(Misfit::Differs { last: segment.last }));
    }
    connection
        .prepare_cached(
            "INSERT INTO segment (class, first, last, count, bytes, octets, digest, name, manifest, place)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            segment.class as i64,
            signed(segment.first.0),
            signed(segment.last.0),
            signed(segment.count),
            signed(segment.bytes),
            signed(octets),
            segment.digest.0,
            segment.name,
            segment.manifest.0,
            segment.place,
        ])?;
    (head.away, head.away_octets) = (segment.last, octets);
    Ok(())
}

/// The segments of a class, in order; for readers.
pub(super) fn segments(connection: &Connection, class: Class) -> Result<Vec<Segment>, rusqlite::Error> {
    if schema::version(connection)? < 2 {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare_cached("SELECT first, last, count, bytes, digest, name, manifest, place FROM segment WHERE class = ?1 ORDER BY first")?;
    let rows = statement.query_map([class as i64], |row| {
        Ok(Segment {
            class,
            first: seq(row.get(0)?),
            last: seq(row.get(1)?),
            count: unsigned(row.get(2)?),
            bytes: unsigned(row.get(3)?),
            digest: Digest(row.get(4)?),
            name: row.get(5)?,
            manifest: Digest(row.get(6)?),
            place: row.get(7)?,
        })
    })?;
    rows.collect()
}
