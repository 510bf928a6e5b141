//! The database under the writer: knows its heads, writes one group in one transaction.
//!
//! What must hold: the heads in memory are those of the last commit and nothing else. A group is written against a copy
//! of them, and the copy becomes true only after COMMIT; after a failure they are read again from disk before anything
//! else is written. If a commit that was reported failed turns out to be on disk all the same, whoever tries its events
//! again is answered with what is there; if something acknowledged is not there any more, that is damage.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use uuid::Uuid;

use super::entry::{Entry, Heads, Note, Recorded};
use super::front::{self, Front, Segment};
use super::pending::Cursors;
use super::{JournalError, quota, schema};
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
    /// The last number whose row is gone; all up to it are.
    pub(super) front: Seq,
    /// Bytes of all documents up to it.
    pub(super) front_octets: u64,
    /// The digest of that document.
    pub(super) front_digest: Digest,
    /// How many of the numbers up to the front went to the archive, and their bytes.
    pub(super) archived: u64,
    pub(super) archived_bytes: u64,
    /// First number of the unbroken run of dropped ones that ends at the front; [`Seq::NONE`] when it was archived.
    pub(super) run: Seq,
    /// The last number that is put away in a segment, not below the front, and the bytes up to it.
    pub(super) away: Seq,
    pub(super) away_octets: u64,
}

impl Head {
    const EMPTY: Self = Self {
        seq: Seq::NONE,
        digest: Digest::ZERO,
        octets: 0,
        front: Seq::NONE,
        front_octets: 0,
        front_digest: Digest::ZERO,
        archived: 0,
        archived_bytes: 0,
        run: Seq(1),
        away: Seq::NONE,
        away_octets: 0,
    };

    /// Bytes of the documents held.
    pub(super) const fn held(&self) -> u64 {
        self.octets.saturating_sub(self.front_octets)
    }

    /// How many events were dropped.
    pub(super) const fn dropped(&self) -> u64 {
        self.front.0.saturating_sub(self.archived)
    }

    /// Bytes of what was dropped.
    pub(super) const fn dropped_bytes(&self) -> u64 {
        self.front_octets.saturating_sub(self.archived_bytes)
    }

    pub(super) const fn as_front(&self) -> Front {
        Front { last: self.front, digest: self.front_digest, archived: self.archived, dropped: self.dropped() }
    }
}

pub(super) type Chains = [Head; Class::ALL.len()];

/// What is written along with the next group, and what nobody waits for.
#[derive(Debug, Default, Clone)]
pub(super) struct Along {
    pub(super) cursors: Cursors,
    /// Telemetry refused since the last commit.
    pub(super) refused: u64,
}

impl Along {
    pub(super) fn is_empty(&self) -> bool {
        self.cursors.is_empty() && self.refused == 0
    }
}

/// The open database.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    pub(super) connection: Connection,
    source: Source,
    journal: JournalId,
    chains: Chains,
    refused: [u64; Class::ALL.len()],
    /// Set when a commit failed: memory and disk may differ.
    stale: bool,
    /// Events of a commit that was reported failed and is on disk all the same.
    resurrected: HashMap<Uuid, Recorded>,
    quota: u64,
    /// Whether telemetry was lost since the start: said once.
    losing: bool,
}

impl Store {
    /// The writing side of an opened journal, whose chains end at `chains`.
    pub(super) fn new(
        dir: &Path,
        connection: Connection,
        source: Source,
        journal: JournalId,
        chains: Chains,
        refused: [u64; Class::ALL.len()],
        quota: u64,
    ) -> Self {
        let resurrected = HashMap::new();
        Self { dir: dir.to_owned(), connection, source, journal, chains, refused, stale: false, resurrected, quota, losing: false }
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

    /// Takes these for the last ends acknowledged, as after a failure.
    #[cfg(test)]
    pub(super) fn believe(&mut self, chains: Chains) {
        self.chains = chains;
        self.stale = true;
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Events refused since this journal began, as far as that is on disk.
    pub(super) const fn refused(&self) -> [u64; Class::ALL.len()] {
        self.refused
    }

    /// The last committed numbers.
    pub(super) fn heads(&self) -> Heads {
        Heads { by_class: self.chains.map(|head| head.seq) }
    }

    /// Opens the database anew: after a storage that came back the old handle may be of no use.
    pub(super) fn reopen(&mut self) -> Result<(), JournalError> {
        use rusqlite::OpenFlags;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.dir.join(schema::FILE), flags)?;
        schema::prepare_any(&connection)?;
        schema::prepare_writer(&connection)?;
        let found = meta(&connection, "journal")?;
        if found != self.journal.to_string() || !schema::is_durable(&connection)? {
            return Err(JournalError::Replaced { dir: self.dir.clone() });
        }
        self.connection = connection;
        self.stale = true;
        Ok(())
    }

    /// Reads the ends of the chains again after a failure.
    fn refresh(&mut self) -> Result<(), JournalError> {
        if !self.stale {
            return Ok(());
        }
        let found = load(&self.connection)?;
        for class in Class::ALL {
            let (had, has) = (&self.chains[*class as usize], &found[*class as usize]);
            if has.seq < had.seq || (has.seq == had.seq && has.digest != had.digest) {
                return Err(JournalError::Lost { class: *class, had: had.seq, has: has.seq });
            }
            self.recall_resurrected(*class, had.seq)?;
        }
        if !self.resurrected.is_empty() {
            // Found is not flushed: what a failed flush gave up is in memory only, and no later flush of the log brings it to disk.
            settle(&self.connection, &self.dir)?;
        }
        self.chains = found;
        self.stale = false;
        Ok(())
    }

    fn recall_resurrected(&mut self, class: Class, after: Seq) -> Result<(), JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT seq, id, digest FROM event WHERE class = ?1 AND seq > ?2")?;
        let rows = statement.query_map(params![class as i64, signed(after.0)], |row| {
            Ok(Recorded { class, seq: seq(row.get(0)?), id: Uuid::from_bytes(row.get(1)?), digest: Digest(row.get(2)?) })
        })?;
        for row in rows {
            let recorded = row?;
            tracing::warn!(class = class.as_str(), seq = recorded.seq.0, "an event whose commit was reported failed is on disk after all");
            self.resurrected.insert(recorded.id, recorded);
        }
        Ok(())
    }

    /// Writes all of this in one transaction; the answer has one list per work.
    pub(super) fn commit(&mut self, work: &[Work], along: &Along) -> Result<Vec<Vec<Recorded>>, JournalError> {
        self.refresh()?;
        let mut chains = self.chains;
        let before = chains[Class::Telemetry as usize].seq;
        let written = self.transact(&mut chains, before, work, along);
        match written {
            Ok((recorded, gap)) => {
                self.chains = chains;
                self.refused[Class::Telemetry as usize] += along.refused;
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

    /// Writes the row of a segment and the event that says so, in one transaction.
    pub(super) fn put_away(&mut self, segment: &Segment, entry: &Entry) -> Result<Recorded, JournalError> {
        self.refresh()?;
        let mut chains = self.chains;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).inspect_err(|_| self.stale = true)?;
        front::put_away(&transaction, &mut chains[segment.class as usize], segment)?;
        let written = insert(&transaction, &mut chains, &self.source, self.journal, &entry.draft)
            .and_then(|recorded| write_notes(&transaction, &entry.notes).map(|()| recorded))
            .and_then(|recorded| transaction.commit().map(|()| recorded));
        match written {
            Ok(recorded) => {
                self.chains = chains;
                Ok(recorded)
            }
            Err(error) => {
                self.stale = true;
                Err(error.into())
            }
        }
    }

    /// Deletes at most `rows` rows of what is put away; returns how many.
    pub(super) fn trim(&mut self, rows: u64) -> Result<u64, JournalError> {
        self.refresh()?;
        let Some(class) = Class::ALL.iter().find(|class| self.to_trim_of(**class) > 0) else { return Ok(0) };
        let mut chains = self.chains;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let trimmed = front::trim(&transaction, *class, &mut chains[*class as usize], rows)
            .and_then(|trimmed| transaction.commit().map(|()| trimmed))
            .inspect_err(|_| self.stale = true)?;
        self.chains = chains;
        Ok(trimmed)
    }

    fn to_trim_of(&self, class: Class) -> u64 {
        let head = &self.chains[class as usize];
        // The last row of a class stays: numbers and chain go on from it.
        head.away.min(head.seq.before()).0.saturating_sub(head.front.0)
    }

    /// Rows that are put away and still here.
    pub(super) fn to_trim(&self) -> u64 {
        Class::ALL.iter().map(|class| self.to_trim_of(*class)).sum()
    }

    /// Pages of the file that hold nothing, and all pages.
    pub(super) fn pages(&self) -> Result<(u64, u64), JournalError> {
        let free = self.connection.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?;
        let all = self.connection.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        Ok((unsigned(free), unsigned(all)))
    }

    /// Gives at most `pages` free pages back to the file system.
    pub(super) fn give_back(&self, pages: u64) -> Result<(), JournalError> {
        let mut statement = self.connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn transact(
        &mut self,
        chains: &mut Chains,
        before: Seq,
        work: &[Work],
        along: &Along,
    ) -> Result<(Vec<Vec<Recorded>>, Option<Gap>), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut recorded = Vec::with_capacity(work.len());
        let mut stamp = None;
        for piece in work {
            let mut answers = Vec::new();
            match piece {
                Work::Append(entries) => {
                    for entry in entries {
                        let there = self.resurrected.get(&entry.draft.id).copied();
                        answers.push(match there {
                            Some(recorded) => recorded,
                            None => insert(&transaction, chains, &self.source, self.journal, &entry.draft)?,
                        });
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
        write_cursors(&transaction, chains, &along.cursors)?;
        write_refused(&transaction, self.refused[Class::Telemetry as usize] + along.refused)?;
        let mut gap = None;
        if let Some(stamp) = stamp {
            gap = quota::drop_oldest(&transaction, chains, before, self.quota)?;
            if let Some(gap) = &gap {
                let draft = Draft::new(Class::Telemetry, EventType::Gap, Subject::gateway(), stamp, Assurance::Own, gap)
                    .expect("a gap is a small object of numbers and digits");
                let recorded = insert(&transaction, chains, &self.source, self.journal, &draft)?;
                write_last_gap(&transaction, recorded.seq)?;
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

    /// Writes something that changes nothing, to learn whether writing is possible again.
    pub(super) fn probe(&mut self) -> Result<(), JournalError> {
        self.refresh()?;
        self.connection.execute("UPDATE meta SET value = value WHERE key = 'journal'", []).inspect_err(|_| self.stale = true)?;
        Ok(())
    }

    /// Gives as much of the log back to the database file as nobody still reads, so that the log begins anew.
    pub(super) fn checkpoint_what_can_be(&self) {
        // On a disk that is full this may fail too; the log is whole either way.
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            tracing::debug!(%error, "the journal's log could not be given back now");
        }
    }

    /// Gives the whole log back to the database file.
    pub(super) fn checkpoint(&self) -> Result<(), JournalError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// Copies all that the log holds into the database file, flushes that, and empties the log. What a recovered log holds may
/// never have reached the disk: its writer was killed before the flush, or the flush failed, after which the system takes
/// the pages for clean and a second flush of the log does nothing. Only written anew it is certain; and the log must be
/// gone for good before, because the part of it that did reach the disk would be put over the newer pages again.
///
/// # Errors
/// When it is not certain: the disk is full or fails, or somebody reads for longer than the wait for locks.
pub(super) fn settle(connection: &Connection, dir: &Path) -> Result<(), JournalError> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(code, Some("somebody reads an older state".to_owned())).into());
    }
    flush_log(dir)
}

/// Flushes the log as it is; nothing to do where there is none.
pub(super) fn flush_log(dir: &Path) -> Result<(), JournalError> {
    let path = dir.join(format!("{}-wal", schema::FILE));
    match File::open(&path).and_then(|file| file.sync_data()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(JournalError::Place { path, source: Arc::new(source) }),
        _ => Ok(()),
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
        front::load(connection, *class, head)?;
        if head.seq < head.front {
            // Every row of the class is gone: the chain still ends where the front is, and numbers go on from there.
            (head.seq, head.digest, head.octets) = (head.front, head.front_digest, head.front_octets);
        }
    }
    Ok(chains)
}

/// How many events were refused so far, per class.
pub(super) fn load_refused(connection: &Connection) -> Result<[u64; Class::ALL.len()], rusqlite::Error> {
    let mut refused = [0; Class::ALL.len()];
    if schema::version(connection)? < 2 {
        return Ok(refused);
    }
    for class in Class::ALL {
        let count = connection
            .prepare_cached("SELECT count FROM refused WHERE class = ?1")?
            .query_row([*class as i64], |row| row.get(0))
            .optional()?;
        refused[*class as usize] = count.map_or(0, unsigned);
    }
    Ok(refused)
}

/// Key of `meta`: number of the newest `GAP`.
const LAST_GAP: &str = "last_gap";

fn write_last_gap(transaction: &Transaction<'_>, seq: Seq) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")?
        .execute(params![LAST_GAP, seq.to_string()])?;
    Ok(())
}

/// Number of the newest `GAP`, which is telemetry; none before the first.
pub(super) fn last_gap(connection: &Connection) -> Result<Seq, rusqlite::Error> {
    let found: Option<String> =
        connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([LAST_GAP], |row| row.get(0)).optional()?;
    Ok(Seq(found.and_then(|number| number.parse().ok()).unwrap_or(0)))
}

/// The whole count and not what came to it: a failed commit that is on disk all the same is not counted twice.
fn write_refused(transaction: &Transaction<'_>, count: u64) -> Result<(), rusqlite::Error> {
    if count > 0 {
        transaction
            .prepare_cached(
                "INSERT INTO refused (class, count) VALUES (?1, ?2)
                 ON CONFLICT (class) DO UPDATE SET count = excluded.count WHERE excluded.count > count",
            )?
            .execute(params![Class::Telemetry as i64, signed(count)])?;
    }
    Ok(())
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
        let seq = (*seq).min(head.seq).max(head.front);
        transaction
            .prepare_cached(
                "INSERT INTO cursor (outlet, class, seq, skipped) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (outlet, class) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq",
            )?
            .execute(params![outlet.as_str(), *class as i64, signed(seq.0), signed(head.front.0)])?;
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
