//! Reading what can still be read from a journal that was set aside.
//!
//! ```text
//!   by number: event_pk(class, seq) ─► row      pages; where one fails, the numbers after it one by one
//!   by row:    the table itself                 only for numbers the index did not give: its own pages may be the damaged ones
//! ```
//!
//! What must hold: nothing there is changed but the index of the log, which SQLite makes anew for every first reader;
//! an event is believed only when its document has the recorded digest and names the place it was found at; every call
//! reads a bounded piece, whatever is in it and however much; nothing it finds is an error.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::mark::{Found, Mark};
use super::store::signed;
use super::{Outlet, schema};
use crate::event::document::Head;
use crate::event::{Class, Digest, JournalId, Seq};

/// Numbers or rows tried one by one where a page cannot be read, in one call.
const PROBES: u64 = 256;
/// Rows whose place is looked at in one call when the table itself is walked.
const ROWS: i64 = 512;
/// Rows at the end of the table that are asked for the highest number, when the index cannot be believed.
const LAST_ROWS: i64 = 512;
/// Stretches of numbers remembered as not found by number; beyond it they are given up without a second look.
const STRETCHES_MAX: usize = 500;
/// Notes read at a time.
const NOTES: i64 = 256;
/// So many rows in a row that cannot be read are the end of the table, when that is not known.
const END_AFTER: i64 = 100_000;

/// The classes that are carried over.
pub const CARRIED: [Class; 2] = [Class::Alarm, Class::Receipt];

/// What is to be carried over from one journal, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its identity, where it can be read.
    pub journal: Option<JournalId>,
    /// Alarms and receipts.
    pub classes: [Stretch; CARRIED.len()],
    /// Telemetry that was not delivered and stays behind; none when nobody can say.
    pub telemetry_left: Option<u64>,
    /// The last row looked at when the table itself is walked; none before that.
    #[serde(default)]
    pub row: Option<i64>,
    /// Rows in a row that could not be read on that walk.
    #[serde(default)]
    pub blank: i64,
}

/// One class's undelivered events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    /// Everything up to here was delivered or is gone in order.
    pub after: u64,
    /// The last number there was, as far as anybody knows.
    pub last: u64,
    /// Everything up to here was looked for by its number.
    pub next: u64,
    /// Carried over so far.
    pub carried: u64,
    /// Not found by number, and to be looked for once more: from, to.
    pub missing: Vec<(u64, u64)>,
    /// Given up.
    pub lost: u64,
}

impl Stretch {
    /// How many there were to carry.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.last - self.after
    }

    /// How many could not be read.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.lost + self.missing.iter().map(|(from, to)| to - from + 1).sum::<u64>()
    }

    fn miss(&mut self, from: u64, to: u64) {
        let room = self.missing.len() < STRETCHES_MAX;
        match self.missing.last_mut() {
            Some((_, end)) if *end + 1 == from => *end = to,
            _ if room => self.missing.push((from, to)),
            _ => self.lost += to - from + 1,
        }
    }

    /// Takes a number out of what is missing; whether it was there.
    fn find(&mut self, number: u64) -> bool {
        let Some(at) = self.missing.iter().position(|(from, to)| (*from..=*to).contains(&number)) else { return false };
        let (from, to) = self.missing.remove(at);
        if number < to {
            self.missing.insert(at, (number + 1, to));
        }
        if from < number {
            if self.missing.len() < STRETCHES_MAX {
                self.missing.insert(at, (from, number - 1));
            } else {
                // The plan goes into one note, which has a bound.
                self.lost += number - from;
            }
        }
        true
    }
}

/// An event of the old journal, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its class.
    pub class: Class,
    /// Its number there.
    pub seq: Seq,
    /// SHA-256 of its document, as recorded and as it is.
    pub digest: Digest,
    /// Its document, byte for byte.
    pub doc: Vec<u8>,
}

/// A note of the old journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldNote {
    /// What it is about.
    pub kind: String,
    /// Which one of that kind.
    pub key: String,
    /// The fact.
    pub value: Vec<u8>,
}

/// How far the walk over the notes is: from the front as far as that goes, then from the back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NoteWalk {
    Forward(String, String),
    Backward(String, String),
    /// The end, and whether those were all.
    Ended {
        whole: bool,
    },
}

/// Why a journal that was set aside cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// There is nothing to open: do not wait for it.
    #[error("{0}")]
    Gone(String),
    /// It seems to be no database, or a broken one: look some more times, bad reads pass too.
    #[error("{0}")]
    Broken(String),
    /// The machine refuses (no room, no file handle, a disk that fails): try again.
    #[error("{0}")]
    Refused(String),
}

impl Unopened {
    /// Whether nothing will ever be read there.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }

    /// Whether what was read speaks against the file, not against the machine.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    fn of(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        // `Unknown` is what SQLite answers to a header it does not understand.
        match error.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown) => Self::Broken(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// The old journal, open for reading.
#[derive(Debug)]
pub struct Salvage {
    connection: Connection,
    mark: Option<Mark>,
    walk: NoteWalk,
}

impl Salvage {
    /// Opens what was set aside in `dir`.
    ///
    /// # Errors
    /// Why nothing of it can be read now, or ever.
    pub fn of(dir: &Path) -> Result<Self, Unopened> {
        let path = dir.join(schema::FILE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Unopened::Gone(format!("there is no {} in {}", schema::FILE, dir.display()))),
            Err(error) => return Err(Unopened::Refused(error.to_string())),
        }
        if let Some(strange) = super::aside::no_file(dir) {
            return Err(Unopened::Gone(strange));
        }
        if super::aside::is_emptied(dir) {
            return Err(Unopened::Gone("the database is empty".to_owned()));
        }
        let connection = Self::connect(&path).map_err(|error| Unopened::of(&error))?;
        Ok(Self { connection, mark: whole_mark(dir), walk: NoteWalk::Forward(String::new(), String::new()) })
    }

    fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        schema::prepare_reader(&connection)?;
        // The first look tells whether it is a database at all.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    }

    /// What there is to carry of a journal that cannot be opened: nothing, out of as much as its mark names.
    #[must_use]
    pub fn nothing(dir: &Path) -> Plan {
        let mark = whole_mark(dir);
        let stretch = |class: Class| {
            let last = mark.as_ref().map_or(0, |mark| mark.ends[class as usize].0.0);
            Stretch { after: 0, last, next: last, carried: 0, missing: Vec::new(), lost: last }
        };
        Plan { journal: mark.as_ref().map(|mark| mark.journal), classes: CARRIED.map(stretch), telemetry_left: None, row: None, blank: 0 }
    }

    /// What there is to carry for a gate that reports to nobody: nothing is owed.
    #[must_use]
    pub fn unwanted(dir: &Path) -> Plan {
        let mut plan = Self::nothing(dir);
        for stretch in &mut plan.classes {
            (stretch.after, stretch.lost) = (stretch.last, 0);
        }
        plan
    }

    /// The next notes that can be read, at most 256: from the front as far as that goes, then from the back. None when
    /// there are no more.
    pub fn next_notes(&mut self) -> Option<Vec<OldNote>> {
        let (found, read) = match &self.walk {
            NoteWalk::Forward(kind, key) => self.some_notes("(kind, key) > (?1, ?2) ORDER BY kind, key", kind, key),
            NoteWalk::Backward(kind, key) => self.some_notes("(kind, key) < (?1, ?2) ORDER BY kind DESC, key DESC", kind, key),
            NoteWalk::Ended { .. } => return None,
        };
        let last = found.last().map(|note| (note.kind.clone(), note.key.clone()));
        self.walk = match (&self.walk, last) {
            // A damaged tree can lead in circles; in order it cannot.
            (NoteWalk::Forward(kind, key), Some((next, and))) if read && (&next, &and) > (kind, key) => NoteWalk::Forward(next, and),
            (NoteWalk::Backward(kind, key), Some((next, and))) if read && (&next, &and) < (kind, key) => NoteWalk::Backward(next, and),
            (NoteWalk::Forward(..), None) if read => NoteWalk::Ended { whole: true },
            (NoteWalk::Forward(..), _) => NoteWalk::Backward("\u{10FFFF}".to_owned(), String::new()),
            _ => NoteWalk::Ended { whole: false },
        };
        Some(found)
    }

    /// Whether the notes handed over were all there were; only once [`Salvage::next_notes`] has no more.
    #[must_use]
    pub fn notes_whole(&self) -> bool {
        self.walk == NoteWalk::Ended { whole: true }
    }

    /// Some notes from one place on, and whether they could be read.
    fn some_notes(&self, condition: &str, kind: &str, key: &str) -> (Vec<OldNote>, bool) {
        let mut found = Vec::new();
        let query = format!("SELECT kind, key, value FROM note WHERE {condition} LIMIT {NOTES}");
        let Ok(mut statement) = self.connection.prepare_cached(&query) else { return (found, false) };
        let Ok(mut rows) = statement.query(params![kind, key]) else { return (found, false) };
        loop {
            match rows.next() {
                Ok(Some(row)) => match (row.get(0), row.get(1), row.get(2)) {
                    (Ok(kind), Ok(key), Ok(value)) => found.push(OldNote { kind, key, value }),
                    _ => return (found, false),
                },
                Ok(None) => return (found, true),
                Err(_) => return (found, false),
            }
        }
    }

    /// What is to be carried: everything above the cursor of `outlet`, or everything there is when it cannot be read.
    #[must_use]
    pub fn plan(&self, outlet: &Outlet) -> Plan {
        let journal: Option<String> = self.one("SELECT value FROM meta WHERE key = 'journal'", &[]);
        let journal = journal.and_then(|text| text.parse().ok()).or(self.mark.as_ref().map(|mark| mark.journal));
        let stretch = |class: Class| {
            let last = self.last(class);
            let after = self.after(outlet, class, last);
            Stretch { after, last, next: after, carried: 0, missing: Vec::new(), lost: 0 }
        };
        let telemetry: Option<i64> = self.one("SELECT max(seq) FROM event WHERE class = ?1", &[&(Class::Telemetry as i64)]);
        let left = telemetry.map(i64::unsigned_abs).map(|last| last - self.after(outlet, Class::Telemetry, last).min(last));
        Plan { journal, classes: CARRIED.map(stretch), telemetry_left: left, row: None, blank: 0 }
    }

    fn one<T: rusqlite::types::FromSql>(&self, query: &str, values: &[&dyn rusqlite::ToSql]) -> Option<T> {
        self.connection.prepare_cached(query).ok()?.query_row(values, |row| row.get(0)).optional().ok().flatten()
    }

    /// The highest number anything believable names.
    fn last(&self, class: Class) -> u64 {
        let marked = self.mark.as_ref().map_or(0, |mark| mark.ends[class as usize].0.0);
        let by_index: Option<Option<i64>> = self.one("SELECT max(seq) FROM event WHERE class = ?1", &[&(class as i64)]);
        let by_index = by_index.flatten().map_or(0, i64::unsigned_abs);
        // A flipped bit makes a number of any size; its document knows better.
        let by_index = if self.at_number(class, by_index).is_some() { by_index } else { 0 };
        let mut by_row = 0;
        let mut look = |row: &Row<'_>| {
            by_row = saved(row).filter(|saved| saved.class == class).map_or(by_row, |saved| by_row.max(saved.seq.0));
        };
        if by_index == 0
            && let Ok(mut statement) =
                self.connection.prepare_cached(&format!("{SELECT} NOT INDEXED ORDER BY rowid DESC LIMIT {LAST_ROWS}"))
            && let Ok(mut rows) = statement.query([])
        {
            while let Ok(Some(row)) = rows.next() {
                look(row);
            }
        }
        marked.max(by_index).max(by_row)
    }

    /// Up to where nothing is to be carried: the cursor, or what went in order, or what lies before the first there is.
    fn after(&self, outlet: &Outlet, class: Class, last: u64) -> u64 {
        let number = |query: &str, values: &[&dyn rusqlite::ToSql]| self.one::<i64>(query, values).and_then(|n| u64::try_from(n).ok());
        let class = class as i64;
        let cursor = number("SELECT seq FROM cursor WHERE outlet = ?1 AND class = ?2", &[&outlet.as_str(), &class]);
        let front = number("SELECT last FROM dropped WHERE class = ?1", &[&class]);
        let first =
            || number("SELECT seq FROM event WHERE class = ?1 ORDER BY seq LIMIT 1", &[&class]).map(|first| first.saturating_sub(1));
        let believable = |place: &u64| *place <= last;
        cursor.max(front).filter(believable).or_else(|| first().filter(believable)).unwrap_or(0)
    }

    fn at_number(&self, class: Class, number: u64) -> Option<Saved> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} WHERE class = ?1 AND seq = ?2")).ok()?;
        let row = statement.query_row(params![class as i64, signed(number)], |row| Ok(saved(row))).ok()??;
        (row.class == class && row.seq.0 == number).then_some(row)
    }

    /// The next piece of what is to be carried, at most `limit` events; moves the plan on. None when nothing is left.
    #[must_use]
    pub fn next(&self, plan: &mut Plan, limit: usize) -> Option<Vec<Saved>> {
        for (at, class) in CARRIED.iter().enumerate() {
            let stretch = &mut plan.classes[at];
            if stretch.next < stretch.last {
                return Some(self.by_number(*class, stretch, limit));
            }
        }
        if plan.classes.iter().all(|stretch| stretch.missing.is_empty()) { None } else { self.by_row(plan, limit) }
    }

    fn by_number(&self, class: Class, stretch: &mut Stretch, limit: usize) -> Vec<Saved> {
        let mut found = Vec::new();
        let (mut failed, mut looked) = (true, 0);
        let query = format!("{SELECT} WHERE class = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq LIMIT ?4");
        if let Ok(mut statement) = self.connection.prepare_cached(&query)
            && let Ok(mut rows) = statement.query(params![class as i64, signed(stretch.next), signed(stretch.last), signed(limit as u64)])
        {
            failed = loop {
                let row = match rows.next() {
                    Ok(Some(row)) => row,
                    Ok(None) => break false,
                    Err(_) => break true,
                };
                let Some(number) = row.get::<_, i64>(3).ok().and_then(|number| u64::try_from(number).ok()) else { break true };
                if number <= stretch.next {
                    // The index is out of order: its numbers one by one tell what it still knows.
                    break true;
                }
                if number > stretch.next + 1 {
                    stretch.miss(stretch.next + 1, number - 1);
                }
                (stretch.next, looked) = (number, looked + 1);
                match saved(row).filter(|saved| saved.class == class && saved.seq.0 == number) {
                    Some(saved) => found.push(saved),
                    None => stretch.miss(number, number),
                }
            };
            if !failed && looked < limit {
                // The index has no more: what it does not know may still be in the table.
                if stretch.next < stretch.last {
                    stretch.miss(stretch.next + 1, stretch.last);
                }
                stretch.next = stretch.last;
            }
        }
        if failed {
            for _ in 0..PROBES {
                if stretch.next >= stretch.last || found.len() >= limit {
                    break;
                }
                let number = stretch.next + 1;
                match self.at_number(class, number) {
                    Some(saved) => found.push(saved),
                    None => stretch.miss(number, number),
                }
                stretch.next = number;
            }
        }
        stretch.carried += found.len() as u64;
        found
    }

    fn by_row(&self, plan: &mut Plan, limit: usize) -> Option<Vec<Saved>> {
        let mut found = Vec::new();
        let mut at = plan.row.unwrap_or(0);
        let end: Option<i64> = self.one("SELECT max(rowid) FROM event NOT INDEXED", &[]);
        let mut ended = end.is_some_and(|end| at >= end) || plan.blank >= END_AFTER;
        let mut failed = true;
        let query = format!("SELECT rowid, class, seq FROM event NOT INDEXED WHERE rowid > ?1 ORDER BY rowid LIMIT {ROWS}");
        if !ended
            && let Ok(mut statement) = self.connection.prepare_cached(&query)
            && let Ok(mut rows) = statement.query([at])
        {
            failed = loop {
                let row = match rows.next() {
                    Ok(Some(row)) => row,
                    Ok(None) => break false,
                    Err(_) => break true,
                };
                let Ok(id) = row.get::<_, i64>(0) else { break true };
                if id <= at {
                    break true;
                }
                if found.len() >= limit {
                    break false;
                }
                (at, plan.blank) = (id, 0);
                if let (Ok(class), Ok(number)) = (row.get::<_, i64>(1), row.get::<_, i64>(2)) {
                    self.take_row(plan, id, class, number, &mut found);
                }
            };
            ended = !failed && found.is_empty() && at == plan.row.unwrap_or(0);
        }
        if failed && !ended {
            for _ in 0..PROBES {
                if found.len() >= limit {
                    break;
                }
                at += 1;
                let place = self.connection.prepare_cached("SELECT class, seq FROM event NOT INDEXED WHERE rowid = ?1");
                match place.and_then(|mut place| place.query_row([at], |row| Ok((row.get(0)?, row.get(1)?)))) {
                    Ok((class, number)) => {
                        plan.blank = 0;
                        self.take_row(plan, at, class, number, &mut found);
                    }
                    Err(_) => plan.blank += 1,
                }
            }
        }
        plan.row = Some(at);
        let none_missing = plan.classes.iter().all(|stretch| stretch.missing.is_empty());
        (!found.is_empty() || !(ended || none_missing)).then_some(found)
    }

    fn take_row(&self, plan: &mut Plan, id: i64, class: i64, number: i64, found: &mut Vec<Saved>) {
        let Some(at) = CARRIED.iter().position(|carried| *carried as i64 == class) else { return };
        let Ok(number) = u64::try_from(number) else { return };
        let stretch = &mut plan.classes[at];
        if !stretch.missing.iter().any(|(from, to)| (*from..=*to).contains(&number)) {
            return;
        }
        let row = self.connection.prepare_cached(&format!("{SELECT} NOT INDEXED WHERE rowid = ?1"));
        let row = row.and_then(|mut row| row.query_row([id], |row| Ok(saved(row)))).ok().flatten();
        let row = row.filter(|row| row.class == CARRIED[at] && row.seq.0 == number);
        if let Some(row) = row
            && stretch.find(number)
        {
            stretch.carried += 1;
            found.push(row);
        }
    }
}

fn whole_mark(dir: &Path) -> Option<Mark> {
    match Mark::find(dir) {
        Found::Whole(mark) => Some(mark),
        Found::Nothing | Found::Unreadable(_) => None,
    }
}

/// What makes a [`Saved`], and the number as the index has it.
const SELECT: &str = "SELECT doc, digest, class, seq FROM event";

/// The row, if its document is what was written.
fn saved(row: &Row<'_>) -> Option<Saved> {
    let doc: Vec<u8> = row.get(0).ok()?;
    let digest = Digest(row.get(1).ok()?);
    if Digest::of(&doc) != digest {
        return None;
    }
    let (class, seq) = Head::parse(&doc).map(|head| (head.class, head.seq)).ok()?;
    Some(Saved { class, seq, digest, doc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_shrinks_from_both_ends_and_in_the_middle() {
        let mut stretch = Stretch { after: 0, last: 20, next: 0, carried: 0, missing: Vec::new(), lost: 0 };
        stretch.miss(3, 5);
        stretch.miss(6, 6);
        stretch.miss(9, 12);
        assert_eq!(stretch.missing, [(3, 6), (9, 12)]);
        assert!(stretch.find(3) && stretch.find(10) && !stretch.find(10) && !stretch.find(7));
        assert_eq!(stretch.missing, [(4, 6), (9, 9), (11, 12)]);
        assert_eq!(stretch.unreadable(), 6);
    }

    #[test]
    fn what_is_missing_fits_into_its_note_however_it_is_found() {
        let last = u64::MAX / 4;
        let mut stretch = Stretch { after: 0, last, next: last, carried: 0, missing: vec![(1, last)], lost: 0 };
        let mut found = 0;
        for number in (1..=4_000).map(|n| last / 5_000 * n) {
            found += u64::from(stretch.find(number));
            assert!(stretch.missing.len() <= STRETCHES_MAX);
        }
        assert!(found > 499, "{found}");
        assert_eq!(stretch.unreadable() + found, last);
        assert!(serde_json::to_vec(&[&stretch; 2]).unwrap().len() < super::super::NOTE_MAX - 8_000);
    }
}
