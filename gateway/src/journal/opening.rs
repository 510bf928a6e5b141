//! Opening the database: whether it is a journal, ours, and whole enough to go on writing.
//!
//! What must hold: opening costs a few searches whatever is in it; nothing is changed in a file before it is known to
//! be this gate's journal in a schema this version writes; damage is told apart from what a person must settle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use uuid::Uuid;

use super::store::{Chains, Store, load, load_refused, meta, signed};
use super::{JournalError, schema};
use crate::event::{Class, Digest, JournalId, Source};

/// Prepared statements kept; there are fewer.
const STATEMENTS: usize = 24;

/// Why a database was not taken as a journal.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is damaged, or is something else: set it aside.
    Damaged(String),
    /// It cannot be used as it is: say so.
    Unusable(JournalError),
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::Unusable(error)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        use rusqlite::ffi;
        let unreadable = matches!(
            error.sqlite_error().map(|e| e.extended_code),
            Some(ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS)
        );
        // `Unknown` is SQLITE_ERROR: a table or column that must be there is not.
        let damaged = match error.sqlite_error_code() {
            Some(code) => matches!(code, Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown),
            None => true,
        };
        if damaged || unreadable { Self::Damaged(error.to_string()) } else { Self::Unusable(error.into()) }
    }
}

impl Store {
    /// Opens or creates the database in `dir`; says whether it was created and how many steps of the database machine it took.
    pub(super) fn open(dir: &Path, source: &Source, quota: u64) -> Result<(Self, bool, u64), Refusal> {
        let path = dir.join(schema::FILE);
        let blank = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
        let mut connection = Connection::open(&path)?;
        // Until it is known to be a journal, closing must leave the file and its log as they are: they may be evidence.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let steps = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&steps);
        connection.progress_handler(
            1,
            Some(move || {
                counter.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        schema::prepare_any(&connection)?;
        let (application, version) = schema::header(&connection)?;
        let fresh = application == 0 && version == 0 && is_empty(&connection)?;
        if !fresh && application != schema::APPLICATION_ID {
            return Err(Refusal::Damaged(format!("it is a database of another program (application id {application:#x})")));
        }
        if version > schema::VERSION {
            return Err(JournalError::Newer { path, found: version, known: schema::VERSION }.into());
        }
        if blank {
            schema::prepare_file(&connection)?;
        }
        schema::prepare_writer(&connection)?;
        if !schema::is_durable(&connection)? {
            return Err(JournalError::Unsuited { dir: dir.to_owned() }.into());
        }
        if fresh {
            create(&mut connection, source)?;
            super::aside::sync(dir)?;
        }
        let found = meta(&connection, "source")?;
        if found != source.to_string() {
            return Err(JournalError::OtherGate { path, found, expected: source.clone() }.into());
        }
        let journal = meta(&connection, "journal")?;
        let journal = journal.parse().map_err(|_| Refusal::Damaged(format!("its identity is `{journal}`")))?;
        if !fresh && version < schema::VERSION {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::grow(&transaction, version)?;
            transaction.commit()?;
            tracing::info!(from = version, to = schema::VERSION, "the journal was brought up to this version's schema");
        }
        let chains = load(&connection)?;
        check_last(&connection, &chains)?;
        connection.progress_handler(0, None::<fn() -> bool>)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        let steps = steps.load(Ordering::Relaxed);
        let refused = load_refused(&connection)?;
        Ok((Self::new(dir, connection, source.clone(), journal, chains, refused, quota), fresh, steps))
    }
}

fn is_empty(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let any: Option<i64> = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |row| row.get(0)).optional()?;
    Ok(any.is_none())
}

fn create(connection: &mut Connection, source: &Source) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(schema::SCHEMA)?;
    transaction.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    let journal = JournalId(Uuid::new_v4());
    for (key, value) in [("journal", journal.to_string()), ("source", source.to_string())] {
        transaction.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", params![key, value])?;
    }
    schema::grow(&transaction, 1)?;
    transaction.commit()
}

/// The last document of each chain must be what its digest says: new documents will rest on it.
fn check_last(connection: &Connection, chains: &Chains) -> Result<(), Refusal> {
    for class in Class::ALL {
        let head = chains[*class as usize];
        if head.seq == head.front {
            // Nothing was recorded yet, or every row is gone: then the front has the digest, and there is no document to ask.
            continue;
        }
        let doc: Vec<u8> = connection.query_row(
            "SELECT doc FROM event WHERE class = ?1 AND seq = ?2",
            params![*class as i64, signed(head.seq.0)],
            |row| row.get(0),
        )?;
        if Digest::of(&doc) != head.digest {
            return Err(Refusal::Damaged(format!("the last {class} event, number {}, is not what was written", head.seq)));
        }
    }
    Ok(())
}
