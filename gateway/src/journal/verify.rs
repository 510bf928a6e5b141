//! Whether what is on disk is what was written: every document against its digest, its row and its chain, and the
//! database against its own rules. Reads in small pieces, so that it may run beside the daemon.

use rusqlite::{Connection, Row, params};

use super::JournalError;
use super::store::{self, Head, seq, signed, unsigned};
use crate::event::chain::{ChainCheck, ChainReport};
use crate::event::document::{self, Head as Document};
use crate::event::{Class, Digest, JournalId, Seq};

/// Events read between two looks at the rest of the world.
const PIECE: i64 = 256;
/// Faults listed one by one.
const FAULTS_MAX: usize = 100;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Events looked at.
    pub done: u64,
    /// Events there were when it began.
    pub total: u64,
}

/// Something on disk that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Class of the event.
    pub class: Class,
    /// Its number.
    pub seq: Seq,
    /// What is wrong, in words.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The chains.
    pub chains: ChainReport,
    /// Rows that do not agree with their documents; the first hundred.
    pub faults: Vec<Fault>,
    /// How many there were.
    pub fault_count: u64,
    /// What the database's own check says; empty when it is well.
    pub database: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.chains.is_whole() && self.fault_count == 0 && self.database.is_empty()
    }

    fn fault(&mut self, class: Class, seq: Seq, what: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { class, seq, what });
        }
    }
}

pub(super) fn verify(connection: &Connection, journal: JournalId, mut progress: impl FnMut(Progress)) -> Result<Verified, JournalError> {
    let chains = store::load(connection)?;
    let total = chains.iter().map(|head| head.seq.0 - head.front.0).sum();
    let mut found = Verified { chains: ChainReport::default(), faults: Vec::new(), fault_count: 0, database: Vec::new() };
    // Where the front was archived no `GAP` accounts for what is missing; the digest kept of it does.
    let check = Class::ALL.iter().map(|class| (*class, &chains[*class as usize])).filter(|(_, head)| head.archived > 0);
    let mut check = check.fold(ChainCheck::new(), |check, (class, head)| check.starting_after(class, head.front, head.front_digest));
    let mut done = 0;
    for class in Class::ALL {
        let mut before = Before { seq: chains[*class as usize].front, octets: chains[*class as usize].front_octets };
        loop {
            let piece = match piece(connection, *class, before.seq) {
                Ok(piece) => piece,
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                    found.database.push(format!("{class} events after number {} cannot be read: {error}", before.seq));
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            if piece.is_empty() {
                break;
            }
            for row in &piece {
                let _ = check.feed(&row.doc);
                if let Some(what) = row.disagrees(*class, journal, before) {
                    found.fault(*class, row.seq, what);
                }
                before = Before { seq: row.seq, octets: row.octets };
            }
            done += piece.len() as u64;
            progress(Progress { done, total });
        }
        check_end(*class, &chains[*class as usize], before, &mut found);
    }
    found.chains = check.finish();
    quick_check(connection, &mut found.database)?;
    Ok(found)
}

/// The event before this one, as far as sums go.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) seq: Seq,
    pub(super) octets: u64,
}

impl Before {
    /// Nothing is known of what is before.
    pub(super) const UNKNOWN: Self = Self { seq: Seq(u64::MAX - 1), octets: 0 };
}

/// What makes a [`Stored`], in this order.
pub(super) const ROW: &str = "seq, id, boot, wall, mono, type, subject, container, doc, digest, octets";

/// A row as it is in the table.
pub(super) struct Stored {
    seq: Seq,
    id: [u8; 16],
    boot: [u8; 16],
    wall: i64,
    mono: i64,
    word: String,
    subject: String,
    container: Option<String>,
    pub(super) doc: Vec<u8>,
    pub(super) digest: [u8; 32],
    pub(super) octets: u64,
}

fn piece(connection: &Connection, class: Class, after: Seq) -> Result<Vec<Stored>, rusqlite::Error> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {ROW} FROM event WHERE class = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"))?;
    let rows = statement.query_map(params![class as i64, signed(after.0), PIECE], stored)?;
    rows.collect()
}

pub(super) fn stored(row: &Row<'_>) -> Result<Stored, rusqlite::Error> {
    Ok(Stored {
        seq: seq(row.get(0)?),
        id: row.get(1)?,
        boot: row.get(2)?,
        wall: row.get(3)?,
        mono: row.get(4)?,
        word: row.get(5)?,
        subject: row.get(6)?,
        container: row.get(7)?,
        doc: row.get(8)?,
        digest: row.get(9)?,
        octets: unsigned(row.get(10)?),
    })
}

impl Stored {
    /// What in the row does not agree with the document, with the journal or with the row before; none when all does.
    pub(super) fn disagrees(&self, class: Class, journal: JournalId, before: Before) -> Option<String> {
        let digest = Digest::of(&self.doc);
        if digest.0 != self.digest {
            return Some(format!("the document is not what was written: its digest is {digest}, recorded was {}", Digest(self.digest)));
        }
        let document = match Document::parse(&self.doc) {
            Ok(document) => document,
            Err(error) => return Some(format!("the document cannot be read: {error}")),
        };
        let follows = before.seq.next() == self.seq;
        let agreements = [
            ("class", document.class == class),
            ("seq", document.seq == self.seq),
            ("journal", document.journal == journal),
            ("id", *document.id.as_bytes() == self.id),
            ("boot", *document.boot.0.as_bytes() == self.boot),
            ("time", document::truncated(document.time).as_millisecond() == self.wall),
            ("mono", signed(document.monotonic_ms) == self.mono),
            ("type", document.word == self.word),
            ("subject", document.subject.as_str() == self.subject),
            ("container", document.container.as_deref() == self.container.as_deref()),
            ("octets", !follows || before.octets + self.doc.len() as u64 == self.octets),
        ];
        let wrong: Vec<_> = agreements.iter().filter(|(_, agrees)| !agrees).map(|(name, _)| *name).collect();
        (!wrong.is_empty()).then(|| format!("the row and its document disagree about {}", wrong.join(", ")))
    }
}

/// Rows are deleted from the front only: the last one there was at the beginning must still be there.
fn check_end(class: Class, head: &Head, last: Before, found: &mut Verified) {
    if last.seq < head.seq {
        found.fault(class, head.seq, format!("the events after number {} were there and are not found any more", last.seq));
    }
}

fn quick_check(connection: &Connection, said: &mut Vec<String>) -> Result<(), JournalError> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({FAULTS_MAX})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        match line {
            Ok(line) if line == "ok" => {}
            Ok(line) => said.push(line),
            Err(error) => {
                said.push(error.to_string());
                break;
            }
        }
    }
    Ok(())
}
