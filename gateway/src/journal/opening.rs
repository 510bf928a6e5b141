//! Opening the database: whether it is a journal, ours, and whole enough to go on writing.
//!
//! ```text
//!   readable? ─► ours, our schema? ─► this gate's? ─► ends whole? ─► as far as its mark says? ─► settings ─► written
//! ```
//!
//! What must hold: opening costs a few searches whatever is in it; nothing is changed in a file before it is known to
//! be this gate's journal, whole at its ends, and no older copy of itself; damage is told apart from what a person must
//! settle.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use uuid::Uuid;

use super::mark::{Found, Log, Mark};
use super::store::{Chains, Head, Store, flush_log, load, load_refused, meta, settle, signed, unsigned};
use super::{JournalError, aside, schema};
use crate::event::document::Head as Document;
use crate::event::{Class, Digest, JournalId, Source};

/// Prepared statements kept; there are fewer.
const STATEMENTS: usize = 24;
/// The last events in the order of recording that must be found by their numbers.
const LAST_LOOKED_AT: usize = 8;
/// A schema further ahead than this is a damaged number, not a later version.
const VERSIONS_AHEAD: i64 = 100;

/// Why a database was not taken as a journal.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is damaged, or is something else: set it aside.
    Damaged(String),
    /// It could not be read, as what is damaged cannot: to be opened once more before it counts as that.
    Unread(String),
    /// It cannot be used as it is: say so.
    Unusable(JournalError),
}

/// How the reason begins when the log of a crash was already on its way into the database.
const GIVING_BACK: &str = "it could not be read while its log was given back";

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        match &error {
            // Settling what a crash left copies pages, and may be the first to meet a page that is not one.
            JournalError::Damaged(source) => Self::Unread(format!("{GIVING_BACK} ({source})")),
            _ => Self::Unusable(error),
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let unreadable = super::error::is_lost_to_the_disk(&error);
        // `Unknown` is SQLITE_ERROR: a table or column that must be there is not.
        let damaged = match error.sqlite_error_code() {
            Some(code) => matches!(
                code,
                Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown | Code::TooBig | Code::TypeMismatch | Code::ConstraintViolation
            ),
            None => true,
        };
        if damaged || unreadable { Self::Unread(format!("it cannot be read ({error})")) } else { Self::Unusable(error.into()) }
    }
}

/// Opens, and opens once more what could not be read the first time: memory and cables fail too, and a journal that is
/// well must not be set aside for a moment.
pub(super) fn opened<T>(mut open: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    match open() {
        Err(Refusal::Unread(why)) => {
            tracing::warn!(why, "the journal could not be read: it is opened once more");
            open()
        }
        other => other,
    }
}

impl Store {
    /// Opens or creates the database in `dir`; says whether it was created and how many steps of the database machine it took.
    pub(super) fn open(dir: &Path, source: &Source, quota: u64) -> Result<(Self, bool, u64), Refusal> {
        let path = dir.join(schema::FILE);
        if let Some(what) = aside::no_file(dir) {
            return Err(Refusal::Damaged(what));
        }
        if aside::is_emptied(dir) {
            return Err(Refusal::Damaged("the database is empty and its log is not".to_owned()));
        }
        let mark = find_mark(dir, source);
        let log = aside::log(dir);
        let blank = std::fs::metadata(&path).map_or(true, |file| file.len() == 0);
        if let Some(mark) = mark.as_ref().filter(|mark| blank && mark.names_something()) {
            let what = if path.exists() { "is empty" } else { "is missing" };
            return Err(Refusal::Damaged(format!("its database ({}) {what}, and {} had been recorded", schema::FILE, mark.named())));
        }
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
        let fresh = is_fresh(&connection, &path)?;
        if fresh {
            // A young journal is in its log alone.
            if let Some(mark) = mark.as_ref().filter(|mark| mark.names_something()) {
                return Err(Refusal::Damaged(format!("{}: it holds nothing and {} had been recorded", mark.suspicion(log), mark.named())));
            }
        } else {
            check_writable(&connection, &path)?;
            let journal = check_identity(&connection, &path, source, mark.as_ref())?;
            check_ends(&connection, journal, mark.as_ref(), log)?;
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
            aside::sync(dir)?;
        }
        let journal = identity(&connection)?;
        let (_, version) = schema::header(&connection)?;
        if version < schema::VERSION {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::grow(&transaction, version)?;
            transaction.commit()?;
            tracing::info!(from = version, to = schema::VERSION, "the journal was brought up to this version's schema");
        }
        let chains = load(&connection)?;
        make_durable(&connection, dir)?;
        connection.progress_handler(0, None::<fn() -> bool>)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        let steps = steps.load(Ordering::Relaxed);
        let refused = load_refused(&connection)?;
        Ok((Self::new(dir, connection, source.clone(), journal, chains, refused, quota), fresh, steps))
    }
}

/// The mark in `dir`, when it is one and of this gate. Any other accuses nobody.
fn find_mark(dir: &Path, source: &Source) -> Option<Mark> {
    match Mark::find(dir) {
        Found::Whole(mark) if mark.source == source.to_string() => Some(mark),
        Found::Whole(mark) => {
            tracing::warn!(gate = mark.source, "the journal's mark is of another gate: it is not believed, and written anew");
            None
        }
        Found::Unreadable(why) => {
            tracing::warn!(why, "the journal's mark cannot be read: whether this is an older copy cannot be told; it is written anew");
            None
        }
        Found::Nothing => None,
    }
}

/// Whether there is nothing in it yet; what is in it is a journal in a schema this version knows.
fn is_fresh(connection: &Connection, path: &Path) -> Result<bool, Refusal> {
    let (application, version) = schema::header(connection)?;
    if application == 0 && version == 0 && is_empty(connection)? {
        return Ok(true);
    }
    if application != schema::APPLICATION_ID {
        return Err(Refusal::Damaged(format!("it is a database of another program (application id {application:#x})")));
    }
    if !(1..=schema::VERSION + VERSIONS_AHEAD).contains(&version) {
        return Err(Refusal::Damaged(format!("its schema is numbered {version}, which no version has")));
    }
    if version > schema::VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found: version, known: schema::VERSION }.into());
    }
    Ok(false)
}

/// A file whose header forbids writing is damaged; one that the system forbids to write is a person's to settle.
fn check_writable(connection: &Connection, path: &Path) -> Result<(), Refusal> {
    if !connection.is_readonly("main")? {
        return Ok(());
    }
    match std::fs::OpenOptions::new().write(true).open(path) {
        Ok(_) => Err(Refusal::Damaged("its header says that it cannot be written".to_owned())),
        Err(source) => Err(JournalError::Place { path: path.to_owned(), source: Arc::new(source) }.into()),
    }
}

fn identity(connection: &Connection) -> Result<JournalId, Refusal> {
    let journal = meta(connection, "journal")?;
    journal.parse().map_err(|_| Refusal::Damaged(format!("its identity is `{journal}`")))
}

/// Which journal it is, if it is one of this gate.
fn check_identity(connection: &Connection, path: &Path, source: &Source, mark: Option<&Mark>) -> Result<JournalId, Refusal> {
    let found = meta(connection, "source")?;
    let journal = identity(connection)?;
    if found == source.to_string() {
        return Ok(journal);
    }
    // The mark of this gate names this very journal: the name in it is damaged.
    if mark.is_some_and(|mark| mark.journal == journal) {
        return Err(Refusal::Damaged(format!("it says it belongs to the gate `{found}`, and was written by this one")));
    }
    Err(JournalError::OtherGate { path: path.to_owned(), found, expected: source.clone() }.into())
}

/// New documents will rest on the last ones: they must be what was written, be found by their numbers, and be the last.
fn check_ends(connection: &Connection, journal: JournalId, mark: Option<&Mark>, log: Log) -> Result<(), Refusal> {
    let chains = load(connection)?;
    check_last(connection, journal, &chains)?;
    check_latest(connection, journal, &chains)?;
    check_places(connection, &chains)?;
    match mark.map(|mark| mark.contradiction(connection, journal, &chains, log)).transpose()?.flatten() {
        Some(reason) => Err(Refusal::Damaged(reason)),
        None => Ok(()),
    }
}

/// What was found is shown to others from now on, who pass it on: it must outlive a power cut. A log that was left by a
/// process that died may hold what was never flushed.
fn make_durable(connection: &Connection, dir: &Path) -> Result<(), JournalError> {
    flush_log(dir)?;
    match settle(connection, dir) {
        // On a full disk, or beside somebody who reads, the flush of the log has to do.
        Err(error @ (JournalError::DiskFull(_) | JournalError::Busy(_))) => {
            tracing::warn!(%error, "what the journal's log holds could not be copied into its database at the start");
            Ok(())
        }
        other => other,
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

/// The last document of each chain must be what its digest says, and the one that its number names.
fn check_last(connection: &Connection, journal: JournalId, chains: &Chains) -> Result<(), Refusal> {
    for class in Class::ALL {
        let head = chains[*class as usize];
        let doc: Option<Vec<u8>> = connection
            .query_row("SELECT doc FROM event WHERE class = ?1 AND seq = ?2", params![*class as i64, signed(head.seq.0)], |row| row.get(0))
            .optional()?;
        // A class whose events are all gone in order ends with what is remembered of the last.
        let Some(doc) = doc else { continue };
        let named = Document::parse(&doc).is_ok_and(|it| (it.class, it.seq, it.journal) == (*class, head.seq, journal));
        if Digest::of(&doc) != head.digest || !named {
            return Err(Refusal::Damaged(format!("the last {class} event, number {}, is not what was written", head.seq)));
        }
        let before = octets_before(connection, *class, head)?;
        if before.is_some_and(|before| before.checked_add(doc.len() as u64) != Some(head.octets)) {
            let why = format!("the bytes up to the last {class} event, number {}, do not add up", head.seq);
            return Err(Refusal::Damaged(why));
        }
    }
    Ok(())
}

/// Bytes of all documents of a class before its last, by the row before or by the front; none where there is a hole, which
/// the proof of the whole finds.
fn octets_before(connection: &Connection, class: Class, head: Head) -> Result<Option<u64>, rusqlite::Error> {
    let before = head.seq.before();
    if before == head.front {
        return Ok(Some(head.front_octets));
    }
    connection
        .query_row("SELECT octets FROM event WHERE class = ?1 AND seq = ?2", params![class as i64, signed(before.0)], |row| row.get(0))
        .map(unsigned)
        .optional()
}

/// The latest events in the order of recording must not lie beyond the ends that the numbers give: a number that is
/// not found would be given again.
fn check_latest(connection: &Connection, journal: JournalId, chains: &Chains) -> Result<(), Refusal> {
    let mut statement = connection.prepare(&format!("SELECT doc FROM event NOT INDEXED ORDER BY rowid DESC LIMIT {LAST_LOOKED_AT}"))?;
    let docs = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    for doc in docs {
        let doc = doc?;
        // What cannot be read is found by the proof of the whole; here the question is whether something is missing.
        let Ok(document) = Document::parse(&doc) else { continue };
        if document.journal == journal && document.seq > chains[document.class as usize].seq {
            return Err(Refusal::Damaged(format!("its {} {} is in it and not found by its number", document.class, document.seq)));
        }
    }
    Ok(())
}

/// A cursor or a front beyond the last number would keep back what was never delivered.
fn check_places(connection: &Connection, chains: &Chains) -> Result<(), Refusal> {
    let mut statement = connection.prepare("SELECT class, seq FROM cursor UNION ALL SELECT class, last FROM dropped")?;
    let places = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    for place in places {
        let (class, number) = place?;
        let head = Class::ALL.iter().find(|known| **known as i64 == class).map(|class| chains[*class as usize].seq);
        if !head.is_some_and(|head| (0..=signed(head.0)).contains(&number)) {
            return Err(Refusal::Damaged(format!(
                "it says that number {number} of class {class} was delivered or dropped, which it never had"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_for_a_moment_is_opened_once_more_and_what_is_wrong_is_not() {
        let opens = |refusal: fn() -> Refusal| {
            let mut opened_so_often = 0;
            let outcome = opened(|| {
                opened_so_often += 1;
                if opened_so_often == 1 { Err(refusal()) } else { Ok(()) }
            });
            (opened_so_often, outcome.is_ok())
        };
        let corrupt = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None).into();
        assert_eq!(opens(corrupt), (2, true));
        let bad_sector = || rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_READ), None).into();
        assert_eq!(opens(bad_sector), (2, true));
        assert_eq!(opens(|| Refusal::Damaged("it is an older copy".to_owned())), (1, false));
    }
}
