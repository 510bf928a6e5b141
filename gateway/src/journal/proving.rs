//! Proving, while the gate works, that what is on disk is what was written: a piece at a time, and before anything is sent.
//!
//! ```text
//!   forwarding: after(class, seq) ─► documents that are what was recorded, up to the first that is not, or is missing
//!   background: row, row, row …   ─► digest, link, row against document, holes      let go after every piece
//!               quick_check       ─► the trees themselves, as long as its deadline lets it
//! ```
//!
//! What must hold: a piece is one short read, so that the log can be given back between two; a row that cannot be read
//! is a finding, not an error of the walk; what was dropped or archived meanwhile is no hole.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::reader::{COLUMNS, record};
use super::store::{self, seq, signed, unsigned};
use super::verify::{Before, ROW, stored};
use super::{JournalError, JournalReader, Record};
use crate::event::document::Head as Document;
use crate::event::{Class, Digest, JournalId, Seq};

/// Steps of the database machine between two looks at the deadline of a structure check: a fraction of a millisecond.
const LOOK_EVERY: i32 = 4_000;
/// Faults of the structure that are named.
const FAULTS_MAX: usize = 5;

/// Something on disk that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Which event; none when it is the database itself.
    pub place: Option<(Class, Seq)>,
    /// What is wrong, in words.
    pub what: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((class, seq)) => write!(f, "its {class} {seq} is damaged: {}", self.what),
            None => write!(f, "its database is damaged: {}", self.what),
        }
    }
}

impl Flaw {
    /// This flaw as the error whoever used the journal ends with.
    #[must_use]
    pub fn as_error(&self) -> JournalError {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        JournalError::Damaged(Arc::new(rusqlite::Error::SqliteFailure(code, Some(self.to_string()))))
    }
}

/// What the database says of its own structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Structure {
    /// It is well.
    Well,
    /// It is too large to be checked within the time given.
    TooLarge,
    /// It is not.
    Broken(Flaw),
}

/// A walk over every row, a piece at a time.
#[derive(Debug)]
pub struct Proving {
    class: usize,
    before: Option<Row>,
    /// The last number when the walk came to this class.
    end: Seq,
}

/// The row before, as far as the next one rests on it.
#[derive(Debug, Clone, Copy)]
struct Row {
    seq: Seq,
    octets: u64,
    /// None after a row that could not be read.
    digest: Option<Digest>,
}

/// One piece of the walk.
#[derive(Debug, Default)]
pub struct Step {
    /// Rows looked at.
    pub rows: usize,
    /// What is wrong in it.
    pub flaws: Vec<Flaw>,
}

impl Proving {
    /// A walk that begins with the first alarm.
    #[must_use]
    pub const fn new() -> Self {
        Self { class: 0, before: None, end: Seq::NONE }
    }

    /// Looks at the next `limit` rows; none when all were looked at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn step(&mut self, reader: &JournalReader, limit: usize) -> Result<Option<Step>, JournalError> {
        let Some(class) = Class::ALL.get(self.class).copied() else { return Ok(None) };
        let moment = reader.connection.unchecked_transaction()?;
        let front = front(&reader.connection, class)?;
        let before = match self.before {
            Some(before) if before.seq >= front.seq => before,
            moved => {
                if moved.is_none() {
                    self.end = store::load(&reader.connection)?[class as usize].seq;
                }
                front
            }
        };
        let (step, before) = look(reader, class, before, limit)?;
        moment.finish()?;
        let mut step = step;
        self.before = Some(before);
        if step.rows == 0 {
            if before.seq < self.end {
                let what = format!("the events up to it were there and end at {}", before.seq);
                step.flaws.push(Flaw { place: Some((class, self.end)), what });
            }
            (self.class, self.before) = (self.class + 1, None);
        }
        Ok(Some(step))
    }
}

impl Default for Proving {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands where the rows of a class begin.
fn front(connection: &Connection, class: Class) -> Result<Row, rusqlite::Error> {
    let front = connection
        .prepare_cached("SELECT last, bytes, digest FROM dropped WHERE class = ?1")?
        .query_row([class as i64], |row| {
            Ok(Row { seq: seq(row.get(0)?), octets: unsigned(row.get(1)?), digest: Some(Digest(row.get(2)?)) })
        })
        .optional()?;
    Ok(front.unwrap_or(Row { seq: Seq::NONE, octets: 0, digest: Some(Digest::ZERO) }))
}

/// Numbers that are missing out of order. The first of them is the place, because that is the one not to pass over.
fn hole(class: Class, from: Seq, to: Seq) -> Flaw {
    Flaw { place: Some((class, from)), what: format!("the numbers from {from} to {to} are missing") }
}

/// What in a row that is about to be sent is not what was recorded.
fn unsendable(record: &Record, class: Class, number: Seq, digest: Digest, journal: JournalId) -> Option<String> {
    let found = Digest::of(&record.doc);
    if found != digest {
        return Some(format!("the digest of its document is {found}, recorded was {digest}"));
    }
    let document = match Document::parse(&record.doc) {
        Ok(document) => document,
        Err(error) => return Some(format!("its document cannot be read: {error}")),
    };
    let agrees = document.class == class && document.seq == number && document.journal == journal && document.word == record.kind.as_str();
    (!agrees).then(|| {
        let (class, seq, journal, word) = (document.class, document.seq, document.journal, &document.word);
        format!("its row is of the type {} and its document is {class} {seq} of {journal}, {word}", record.kind)
    })
}

fn look(reader: &JournalReader, class: Class, mut before: Row, limit: usize) -> Result<(Step, Row), JournalError> {
    let mut step = Step::default();
    let mut statement =
        reader.connection.prepare_cached(&format!("SELECT {ROW} FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"))?;
    let mut rows = statement.query(params![class as i64, signed(before.seq.0), signed(limit as u64)])?;
    while let Some(row) = rows.next()? {
        step.rows += 1;
        let number = seq(row.get(0)?);
        let follows = number == before.seq.next();
        if !follows {
            step.flaws.push(hole(class, before.seq.next(), number.before()));
        }
        let mut flaw = |what| step.flaws.push(Flaw { place: Some((class, number)), what });
        match stored(row) {
            Ok(stored) => {
                let sum = Before { seq: before.seq, octets: before.octets };
                let link = Document::parse(&stored.doc).ok().map(|document| document.prev);
                // A row that could not be read says nothing of the sums after it.
                let known = before.digest.filter(|_| follows);
                let broken = link.zip(known).is_some_and(|(link, known)| link != known);
                if let Some(what) = stored.disagrees(class, reader.journal(), if known.is_some() { sum } else { Before::UNKNOWN }) {
                    flaw(what);
                } else if broken {
                    flaw("it does not follow the document before it".to_owned());
                }
                before = Row { seq: number, octets: stored.octets, digest: Some(Digest(stored.digest)) };
            }
            Err(error) if error.sqlite_error_code().is_none() => {
                flaw(format!("its row cannot be read ({error})"));
                before = Row { seq: number, octets: 0, digest: None };
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((step, before))
}

impl JournalReader {
    /// Whether this event is damaged or missing, its link to the one before it included. What is gone in order is neither.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_flawed(&self, class: Class, number: Seq) -> Result<bool, JournalError> {
        let moment = self.connection.unchecked_transaction()?;
        let front = front(&self.connection, class)?;
        let two_before = number.before().before();
        let before = if two_before > front.seq { Row { seq: two_before, octets: 0, digest: None } } else { front };
        let (step, last) = look(self, class, before, 2)?;
        moment.finish()?;
        let missing = last.seq < number;
        Ok(front.seq < number && (missing || step.flaws.iter().any(|flaw| flaw.place == Some((class, number)))))
    }

    /// The events of `class` after `seq`, in order, as [`JournalReader::after`] has them, up to the first that is not what
    /// was recorded or is missing, and what is wrong there. What is gone in order is not missing. `end` is the last number
    /// known to be recorded; [`Seq::NONE`] when nobody knows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn proven_after(
        &self,
        class: Class,
        seq: Seq,
        end: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<Record>, Option<Flaw>), JournalError> {
        // The rows and where they begin must be of one moment.
        let moment = self.connection.unchecked_transaction()?;
        let found = self.proven(class, seq, end, limit, max_bytes)?;
        moment.finish()?;
        Ok(found)
    }

    fn proven(
        &self,
        class: Class,
        seq: Seq,
        end: Seq,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<Record>, Option<Flaw>), JournalError> {
        let front = front(&self.connection, class)?.seq;
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS}, digest FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"))?;
        let mut rows = statement.query(params![class as i64, signed(seq.0), signed(limit as u64)])?;
        let mut records = Vec::new();
        let (mut bytes, mut before) = (0, seq.max(front));
        while let Some(row) = rows.next()? {
            let number = store::seq(row.get(1)?);
            if number > before.next() {
                return Ok((records, Some(hole(class, before.next(), number.before()))));
            }
            let flaw = |what| Flaw { place: Some((class, number)), what };
            let (record, digest) = match (record(row), row.get("digest").map(Digest)) {
                (Ok(record), Ok(digest)) => (record, digest),
                (Err(error), _) | (_, Err(error)) if error.sqlite_error_code().is_none() => {
                    return Ok((records, Some(flaw(format!("its row cannot be read ({error})")))));
                }
                (Err(error), _) | (_, Err(error)) => return Err(error.into()),
            };
            if let Some(what) = unsendable(&record, class, number, digest, self.journal()) {
                return Ok((records, Some(flaw(what))));
            }
            bytes += record.doc.len();
            if bytes > max_bytes && !records.is_empty() {
                return Ok((records, None));
            }
            before = before.max(number);
            records.push(record);
        }
        let missing = records.len() < limit && before < end;
        Ok((records, missing.then(|| hole(class, before.next(), end))))
    }

    /// What the database says of its own structure, if it can be said `within` this time: it is one long read, during
    /// which the log cannot be given back.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub fn structure(&mut self, within: Duration) -> Result<Structure, JournalError> {
        let begun = Instant::now();
        self.connection.progress_handler(LOOK_EVERY, Some(move || begun.elapsed() > within))?;
        let said = self.quick_check();
        self.connection.progress_handler(0, None::<fn() -> bool>)?;
        match said {
            Ok(said) if said.is_empty() => Ok(Structure::Well),
            Ok(said) => Ok(Structure::Broken(Flaw { place: None, what: said.join("; ") })),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) => Ok(Structure::TooLarge),
            Err(error) => Err(error.into()),
        }
    }

    fn quick_check(&self) -> Result<Vec<String>, rusqlite::Error> {
        let mut statement = self.connection.prepare(&format!("PRAGMA quick_check({FAULTS_MAX})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        let lines: Result<Vec<_>, _> = lines.collect();
        Ok(lines?.into_iter().filter(|line| line != "ok").map(|line| line.replace('\n', " ")).collect())
    }
}
