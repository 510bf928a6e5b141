//! Reading the journal beside its writer, over a connection of its own that cannot write.
//!
//! Every query sees a state some commit left. A reader that sits on one state for long keeps the log from being given
//! back, so every call here reads a bounded piece and lets go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::accounts::{Account, Accounts, Sizes, Totals};
use super::front::{self, Front, Segment};
use super::store::{self, Head, seq, signed, unsigned};
use super::{JournalError, Outlet, Progress, Record, Verified, schema, verify};
use crate::event::{Class, JournalId, Seq};

/// Events read at a time by [`JournalReader::each`] ...
const PAGE: usize = 512;
/// ... and bytes of them: what a walk over ten million events costs in memory.
const PAGE_BYTES: usize = 512 * 1024;

/// What makes a [`Record`], in this order.
pub(super) const COLUMNS: &str = "class, seq, id, type, subject, wall, doc";

/// A note as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedNote {
    /// Which one of its kind.
    pub key: String,
    /// The fact.
    pub value: Vec<u8>,
}

/// A read-only view of the journal. The calls block for the time of the query, so use them from `spawn_blocking`.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) connection: Connection,
    dir: PathBuf,
    journal: JournalId,
    source: String,
}

impl JournalReader {
    /// Opens the journal in `dir` for reading, whether the daemon runs or not.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(schema::FILE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(JournalError::Missing { dir: dir.to_owned() }),
            Err(source) => return Err(JournalError::Place { path, source: Arc::new(source) }),
        }
        Self::connect(dir, &path).map_err(|error| match error {
            JournalError::Storage(source) => JournalError::Unreadable { dir: dir.to_owned(), source },
            other => other,
        })
    }

    fn connect(dir: &Path, path: &Path) -> Result<Self, JournalError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        schema::prepare_reader(&connection)?;
        let (application, version) = schema::header(&connection)?;
        if application != schema::APPLICATION_ID {
            return Err(JournalError::Missing { dir: dir.to_owned() });
        }
        if !schema::can_read(&connection, version)? {
            return Err(JournalError::Newer { path: path.to_owned(), found: version, known: schema::VERSION });
        }
        let journal = store::meta(&connection, "journal")?;
        let journal = journal.parse().map_err(|_| JournalError::Damaged(Arc::new(rusqlite::Error::InvalidQuery)))?;
        let source = store::meta(&connection, "source")?;
        Ok(Self { connection, dir: dir.to_owned(), journal, source })
    }

    /// Which journal this is.
    #[must_use]
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// The gate it belongs to, as `/site/gate`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The events of `class` after `seq`, in order: at most `limit`, and at most `max_bytes` of documents but always one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn after(&self, class: Class, seq: Seq, limit: usize, max_bytes: usize) -> Result<Vec<Record>, JournalError> {
        let mut statement =
            self.connection.prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"))?;
        let mut rows = statement.query(params![class as i64, signed(seq.0), signed(limit as u64)])?;
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let record = record(row)?;
            bytes += record.doc.len();
            if bytes > max_bytes && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Hands every event of `class` to `take`, in order, a page at a time, however many there are.
    ///
    /// # Errors
    /// When the database cannot be read; what was handed over until then was.
    pub fn each(&self, class: Class, mut take: impl FnMut(&Record)) -> Result<(), JournalError> {
        let mut after = Seq::NONE;
        loop {
            let records = self.after(class, after, PAGE, PAGE_BYTES)?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.seq;
            records.iter().for_each(&mut take);
        }
    }

    /// The cursor of an outlet: the last number it confirmed or had to skip, [`Seq::NONE`] when it is unknown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cursor(&self, outlet: &Outlet, class: Class) -> Result<Seq, JournalError> {
        Ok(self.position(outlet, class)?.map_or(Seq::NONE, |(seq, _)| seq))
    }

    fn position(&self, outlet: &Outlet, class: Class) -> Result<Option<(Seq, u64)>, rusqlite::Error> {
        self.connection
            .prepare_cached("SELECT seq, skipped FROM cursor WHERE outlet = ?1 AND class = ?2")?
            .query_row(params![outlet.as_str(), class as i64], |row| Ok((seq(row.get(0)?), unsigned(row.get(1)?))))
            .optional()
    }

    /// One note.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn note(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM note WHERE kind = ?1 AND key = ?2")?;
        Ok(statement.query_row(params![kind, key], |row| row.get(0)).optional()?)
    }

    /// All notes of a kind, by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn notes(&self, kind: &str) -> Result<Vec<RecordedNote>, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT key, value FROM note WHERE kind = ?1 ORDER BY key")?;
        let notes = statement.query_map([kind], |row| Ok(RecordedNote { key: row.get(0)?, value: row.get(1)? }))?;
        Ok(notes.collect::<Result<_, _>>()?)
    }

    /// The outlets that ever confirmed something.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn outlets(&self) -> Result<Vec<Outlet>, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT DISTINCT outlet FROM cursor ORDER BY outlet")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The counts of an outlet. Its account balances always.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounts(&self, outlet: &Outlet) -> Result<Accounts, JournalError> {
        let moment = self.connection.unchecked_transaction()?;
        let chains = store::load(&self.connection)?;
        let mut accounts = Vec::with_capacity(Class::ALL.len());
        for class in Class::ALL {
            accounts.push(self.account(outlet, *class, &chains[*class as usize])?);
        }
        moment.finish()?;
        Ok(Accounts::new(accounts.try_into().expect("one account per class")))
    }

    fn account(&self, outlet: &Outlet, class: Class, head: &Head) -> Result<Account, rusqlite::Error> {
        let (cursor, dropped) = self.position(outlet, class)?.unwrap_or((head.front, head.front.0));
        let oldest: Option<i64> = self
            .connection
            .prepare_cached("SELECT wall FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?
            .query_row(params![class as i64, signed(cursor.0)], |row| row.get(0))
            .optional()?;
        Ok(Account {
            class,
            recorded: head.seq.0,
            delivered: cursor.0.saturating_sub(dropped),
            pending: head.seq.0.saturating_sub(cursor.0),
            dropped,
            bytes: head.held(),
            oldest_pending_wall: oldest.and_then(|wall| Timestamp::from_millisecond(wall).ok()),
        })
    }

    /// What became of each class's events, the most urgent class first. It adds up always.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn totals(&self) -> Result<Vec<Totals>, JournalError> {
        let moment = self.connection.unchecked_transaction()?;
        let chains = store::load(&self.connection)?;
        let refused = store::load_refused(&self.connection)?;
        moment.finish()?;
        let totals = |class: &Class| {
            let head = &chains[*class as usize];
            Totals {
                class: *class,
                recorded: head.seq.0,
                held: head.seq.0.saturating_sub(head.front.0),
                archived: head.archived,
                dropped: head.dropped(),
                refused: refused[*class as usize],
                bytes: head.held(),
            }
        };
        Ok(Class::ALL.iter().map(totals).collect())
    }

    /// Up to where the rows of a class are gone, and where they went.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn front(&self, class: Class) -> Result<Front, JournalError> {
        Ok(store::load(&self.connection)?[class as usize].as_front())
    }

    /// Number of the newest `GAP`; [`Seq::NONE`] when none was ever recorded. Until it is delivered nothing of its class
    /// may be archived: the next drop would take it along, and what it accounts for would be a hole nobody explains.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last_gap(&self) -> Result<Seq, JournalError> {
        Ok(store::last_gap(&self.connection)?)
    }

    /// The sealed segments of a class, in order; also those whose rows are still here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn segments(&self, class: Class) -> Result<Vec<Segment>, JournalError> {
        Ok(front::segments(&self.connection, class)?)
    }

    /// What the journal takes on its file system.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sizes(&self) -> Result<Sizes, JournalError> {
        let number = |pragma: &str| self.connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0).map(unsigned));
        let length = |suffix: &str| std::fs::metadata(self.dir.join(format!("{}{suffix}", schema::FILE))).map_or(0, |file| file.len());
        Ok(Sizes { database: length(""), log: length("-wal"), free: number("freelist_count")? * number("page_size")? })
    }

    /// Reads a little of everything that stays small: the ends, the places of the outlets, the notes.
    pub(super) fn glimpse(&self) -> Result<(), JournalError> {
        for outlet in self.outlets()? {
            self.accounts(&outlet)?;
        }
        self.totals()?;
        let mut statement = self.connection.prepare_cached("SELECT kind, key, value FROM note")?;
        let notes = statement.query_map([], |row| {
            row.get_ref(0)?.as_str()?;
            row.get_ref(1)?.as_str()?;
            row.get_ref(2)?.as_blob()?;
            Ok(())
        })?;
        notes.collect::<Result<(), _>>()?;
        Ok(())
    }

    /// Checks everything: digests, chains, holes, rows against documents, and the database itself. Takes a while;
    /// `progress` is called now and then.
    ///
    /// # Errors
    /// When the database cannot be read at all; what is merely wrong is in the answer.
    pub fn verify(&self, progress: impl FnMut(Progress)) -> Result<Verified, JournalError> {
        verify::verify(&self.connection, self.journal, progress)
    }
}

pub(super) fn record(row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    let subject: String = row.get(4)?;
    let damaged = |column, cause: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, cause)
    };
    Ok(Record {
        class: class(row.get(0)?),
        seq: seq(row.get(1)?),
        id: Uuid::from_bytes(row.get(2)?),
        kind: row.get(3)?,
        subject: subject.parse().map_err(|error: crate::event::IdentityError| damaged(4, error.into()))?,
        wall: Timestamp::from_millisecond(row.get(5)?).map_err(|error| damaged(5, error.into()))?,
        doc: row.get(6)?,
    })
}

pub(super) fn class(number: i64) -> Class {
    usize::try_from(number).ok().and_then(|at| Class::ALL.get(at)).copied().unwrap_or(Class::Telemetry)
}
