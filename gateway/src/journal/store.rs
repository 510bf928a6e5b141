//! The database under the writer: knows its heads, writes one group in one transaction.
//!
//! What must hold: the heads in memory are those of the last commit and nothing else. A group is written against a copy
//! of them, and the copy becomes true only after COMMIT; after a failure they are read again from disk before anything
//! else is written.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::entry::{Entry, Heads, Note, Recorded};
use super::pending::Cursors;
use super::{JournalError, quota};
use crate::event::gap::Gap;
use crate::event::{Assurance, Class, Digest, Draft, EventType, JournalId, Seq, Source, Subject, document};

/// One thing to be written, in its place in line.
#[derive(Debug)]
pub(super) enum Work {
    /// Events with their notes.
    Append(Vec<Entry>),
    /// Notes alone.
    Keep(Vec<Note>),
}

/// The end of one class's chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) seq: Seq,
    pub(super) digest: Digest,
    /// Bytes of all documents ever recorded.
    pub(super) octets: u64,
    /// The last number dropped; everything up to it was.
    pub(super) dropped: Seq,
    /// Bytes of what was dropped.
    pub(super) dropped_bytes: u64,
}

impl Head {
    const EMPTY: Self = Self { seq: Seq::NONE, digest: Digest::ZERO, octets: 0, dropped: Seq::NONE, dropped_bytes: 0 };

    /// Bytes of the documents held.
    pub(super) const fn held(&self) -> u64 {
        self.octets.saturating_sub(self.dropped_bytes)
    }
}

pub(super) type Chains = [Head; Class::ALL.len()];

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    source: Source,
    journal: JournalId,
    chains: Chains,
    /// Set when a commit failed: memory and disk may differ.
    stale: bool,
    quota: u64,
    /// Whether telemetry was lost since the start: said once.
    losing: bool,
}

impl Store {
    /// The writing side of an opened journal, whose chains end at `chains`.
    pub(super) const fn new(connection: Connection, source: Source, journal: JournalId, chains: Chains, quota: u64) -> Self {
        Self { connection, source, journal, chains, stale: false, quota, losing: false }
    }

    pub(super) const fn journal(&self) -> JournalId {
        self.journal
    }

    /// The gate it belongs to.
    pub(super) const fn source(&self) -> &Source {
        &self.source
    }

    /// The ends of what is committed.
    pub(super) const fn chains(&self) -> &Chains {
        &self.chains
    }

    /// The last committed numbers.
    pub(super) fn heads(&self) -> Heads {
        Heads { by_class: self.chains.map(|head| head.seq) }
    }

    /// Writes all of this in one transaction; the answer has one list per work.
    pub(super) fn commit(&mut self, work: &[Work], cursors: &Cursors) -> Result<Vec<Vec<Recorded>>, JournalError> {
        if self.stale {
            self.chains = load(&self.connection)?;
            self.stale = false;
        }
        let mut chains = self.chains;
        let before = chains[Class::Telemetry as usize].seq;
        let written = self.transact(&mut chains, before, work, cursors);
        match written {
            Ok((recorded, gap)) => {
                self.chains = chains;
                if let Some(gap) = gap {
                    self.on_gap(&gap);
                }
                Ok(recorded)
            }
            Err(error) => {
                self.stale = true;
                Err(error.into())
            }
        }
    }

    fn transact(
        &mut self,
        chains: &mut Chains,
        before: Seq,
        work: &[Work],
        cursors: &Cursors,
    ) -> Result<(Vec<Vec<Recorded>>, Option<Gap>), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut recorded = Vec::with_capacity(work.len());
        let mut stamp = None;
        for piece in work {
            let mut answers = Vec::new();
            match piece {
                Work::Append(entries) => {
                    for entry in entries {
                        answers.push(insert(&transaction, chains, &self.source, self.journal, &entry.draft)?);
                        write_notes(&transaction, &entry.notes)?;
                        if entry.draft.class == Class::Telemetry {
                            stamp = Some(entry.draft.stamp);
                        }
                    }
                }
                Work::Keep(notes) => write_notes(&transaction, notes)?,
            }
            recorded.push(answers);
        }
        write_cursors(&transaction, chains, cursors)?;
        let mut gap = None;
        if let Some(stamp) = stamp {
            gap = quota::drop_oldest(&transaction, chains, before, self.quota)?;
            if let Some(gap) = &gap {
                let draft = Draft::new(Class::Telemetry, EventType::Gap, Subject::gateway(), stamp, Assurance::Own, gap)
                    .expect("a gap is a small object of numbers and digits");
                insert(&transaction, chains, &self.source, self.journal, &draft)?;
            }
        }
        transaction.commit()?;
        Ok((recorded, gap))
    }

    fn on_gap(&mut self, gap: &Gap) {
        if gap.undelivered > 0 && !self.losing {
            self.losing = true;
            tracing::error!(
                quota_bytes = self.quota,
                last = %gap.last,
                "telemetry is full and nobody takes it: the oldest is being dropped, each step is recorded as a GAP"
            );
        } else {
            tracing::debug!(first = %gap.first, last = %gap.last, undelivered = gap.undelivered, "old telemetry was dropped");
        }
    }

    /// Gives the whole log back to the database file.
    pub(super) fn checkpoint(&self) -> Result<(), JournalError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// One fact of the journal about itself.
pub(super) fn meta(connection: &Connection, key: &str) -> Result<String, rusqlite::Error> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
}

/// The ends of all chains: a few searches in a tree, never a scan.
pub(super) fn load(connection: &Connection) -> Result<Chains, rusqlite::Error> {
    let mut chains = [Head::EMPTY; Class::ALL.len()];
    for class in Class::ALL {
        let head = &mut chains[*class as usize];
        let last = connection
            .prepare_cached("SELECT seq, digest, octets FROM event WHERE class = ?1 ORDER BY seq DESC LIMIT 1")?
            .query_row([*class as i64], |row| Ok((seq(row.get(0)?), Digest(row.get(1)?), unsigned(row.get(2)?))))
            .optional()?;
        if let Some((seq, digest, octets)) = last {
            (head.seq, head.digest, head.octets) = (seq, digest, octets);
        }
        let dropped = connection
            .prepare_cached("SELECT last, bytes FROM dropped WHERE class = ?1")?
            .query_row([*class as i64], |row| Ok((seq(row.get(0)?), unsigned(row.get(1)?))))
            .optional()?;
        if let Some((last, bytes)) = dropped {
            (head.dropped, head.dropped_bytes) = (last, bytes);
        }
    }
    Ok(chains)
}

fn insert(
    transaction: &Transaction<'_>,
    chains: &mut Chains,
    source: &Source,
    journal: JournalId,
    draft: &Draft,
) -> Result<Recorded, rusqlite::Error> {
    let head = &mut chains[draft.class as usize];
    let seq = head.seq.next();
    let doc = document::write(draft, source, journal, seq, &head.digest);
    let digest = Digest::of(&doc);
    let octets = head.octets + doc.len() as u64;
    transaction
        .prepare_cached(
            "INSERT INTO event (class, seq, id, boot, wall, mono, type, subject, container, doc, digest, octets)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            draft.class as i64,
            signed(seq.0),
            draft.id.as_bytes(),
            draft.stamp.boot.0.as_bytes(),
            document::truncated(draft.stamp.wall).as_millisecond(),
            signed(draft.stamp.monotonic_ms),
            draft.kind.as_str(),
            draft.subject.as_str(),
            draft.container(),
            doc,
            digest.0,
            signed(octets),
        ])?;
    (head.seq, head.digest, head.octets) = (seq, digest, octets);
    Ok(Recorded { class: draft.class, seq, id: draft.id, digest })
}

fn write_notes(transaction: &Transaction<'_>, notes: &[Note]) -> Result<(), rusqlite::Error> {
    for note in notes {
        if let Some(value) = &note.value {
            transaction
                .prepare_cached(
                    "INSERT INTO note (kind, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![note.kind, note.key, value])?;
        } else {
            transaction.prepare_cached("DELETE FROM note WHERE kind = ?1 AND key = ?2")?.execute(params![note.kind, note.key])?;
        }
    }
    Ok(())
}

/// Moves cursors forward. A cursor never lies below what was dropped, and one that begins there skipped all of that.
fn write_cursors(transaction: &Transaction<'_>, chains: &Chains, cursors: &Cursors) -> Result<(), rusqlite::Error> {
    for ((outlet, class), seq) in cursors {
        let head = &chains[*class as usize];
        let seq = (*seq).min(head.seq).max(head.dropped);
        transaction
            .prepare_cached(
                "INSERT INTO cursor (outlet, class, seq, skipped) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (outlet, class) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
            )?
            .execute(params![outlet.as_str(), *class as i64, signed(seq.0), signed(head.dropped.0)])?;
    }
    Ok(())
}

/// Numbers on disk are signed; ours end long before the sign.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn seq(number: i64) -> Seq {
    Seq(unsigned(number))
}
