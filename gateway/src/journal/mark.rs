//! The high-water mark: a small text beside the database that says how far the journal had come.
//!
//! ```text
//!   segel journal mark 1
//!   gate /idsrg/g01
//!   journal 0b6f…                      which journal
//!   state open                         open: it may have gone further; settled: this is its end, the log was given back
//!   alarm 23 9f86d0…                   last number of the class and the SHA-256 of its document
//!   receipt 40 60303a…
//!   telemetry 1000 fd61a0…
//!   sha256 2c26b4…                     of the lines above: `head -n -1 journal.mark | sha256sum`
//! ```
//!
//! A database alone cannot know that it is an older copy of itself, or that its log was taken away: it would give the
//! numbers after its end a second time. The mark can tell, because it only ever names what had been committed before it
//! was written: it is a lower bound of what is on disk, whatever is killed when. So a database that does not hold what
//! its mark names is not what was here, and one that holds more is simply ahead of it.
//!
//! What must hold: an append never waits for the mark (it is written by a thread of its own, from what the writer laid
//! down last); the mark is replaced whole or not at all; a mark that is missing, torn or of another gate accuses nobody.
//! It does not see what was lost from the last second before a crash when the log is lost too.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::store::{Chains, Store, seq, signed};
use super::{JournalError, aside};
use crate::event::{Class, Digest, JournalId, Seq};

/// Its name in the state directory.
pub(super) const FILE: &str = "journal.mark";
/// Where it is written before it takes its place.
const NEW: &str = "journal.mark.new";
/// The first line.
const FORM: &str = "segel journal mark 1";
/// A mark has some 500 bytes; more than this is none.
const LENGTH_MAX: u64 = 4096;
/// An alarm or a receipt stands in the mark after this long: what a lost log could hide.
const SOON: Duration = Duration::from_secs(1);
/// Telemetry alone after this long: replacing a file costs the flash about as much as recording an event.
const LATER: Duration = Duration::from_secs(15);

/// The last number of each class with the digest of its document.
pub(super) type Ends = [(Seq, Digest); Class::ALL.len()];

/// What the mark says of the end it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The journal was open: it may have gone further.
    Open,
    /// It was closed in order: this is its end.
    Settled,
}

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) source: String,
    pub(super) journal: JournalId,
    pub(super) state: State,
    pub(super) ends: Ends,
}

/// What was found in the file's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole mark.
    Whole(Mark),
    /// Nothing.
    Nothing,
    /// Something that is no whole mark, and why.
    Unreadable(String),
}

/// The file that the log is in, before anything was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// It was there.
    There,
    /// It was not.
    Missing,
}

/// The ends of these chains.
pub(super) fn ends(chains: &Chains) -> Ends {
    chains.map(|head| (head.seq, head.digest))
}

impl Mark {
    /// The mark in `dir`.
    pub(super) fn find(dir: &Path) -> Found {
        let mut bytes = Vec::new();
        match File::open(dir.join(FILE)).and_then(|file| file.take(LENGTH_MAX + 1).read_to_end(&mut bytes)) {
            Ok(_) => Self::parse(&bytes).map_or_else(|why| Found::Unreadable(why.to_owned()), Found::Whole),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Found::Nothing,
            Err(fault) => Found::Unreadable(fault.to_string()),
        }
    }

    fn lines(&self) -> String {
        let state = if self.state == State::Open { "open" } else { "settled" };
        let mut text = format!("{FORM}\ngate {}\njournal {}\nstate {state}\n", self.source, self.journal);
        for class in Class::ALL {
            let (seq, digest) = self.ends[*class as usize];
            text.push_str(&format!("{class} {seq} {digest}\n"));
        }
        text
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let above = text.trim_end_matches('\n').rfind('\n').map(|at| &text[..=at]).ok_or("it is cut off")?;
        let digest = text[above.len()..].strip_prefix("sha256 ").and_then(|rest| rest.strip_suffix('\n')).ok_or("it is cut off")?;
        if digest.parse() != Ok(Digest::of(above.as_bytes())) {
            return Err("its digest does not fit");
        }
        let mut lines = above.lines();
        let mut line = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).ok_or("a line is missing");
        line(FORM)?;
        let source = line("gate ")?.to_owned();
        let journal = line("journal ")?.parse().map_err(|_| "its journal is none")?;
        let state = match line("state ")? {
            "open" => State::Open,
            "settled" => State::Settled,
            _ => return Err("its state is none"),
        };
        let mut ends = [(Seq::NONE, Digest::ZERO); Class::ALL.len()];
        for class in Class::ALL {
            let (seq, digest) = line(class.as_str())?.trim_start().split_once(' ').ok_or("an end is none")?;
            ends[*class as usize] = (Seq(seq.parse().map_err(|_| "a number is none")?), digest.parse().map_err(|_| "a digest is none")?);
        }
        Ok(Self { source, journal, state, ends })
    }

    /// Replaces the mark in `dir`, durably and as a whole.
    fn write(&self, dir: &Path) -> io::Result<()> {
        let text = self.lines();
        let digest = Digest::of(text.as_bytes());
        let new = dir.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(format!("{text}sha256 {digest}\n").as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, dir.join(FILE))?;
        File::open(dir)?.sync_all()
    }

    /// Whether anything had been recorded.
    pub(super) fn names_something(&self) -> bool {
        self.ends.iter().any(|(seq, _)| *seq != Seq::NONE)
    }

    /// The events named last, for a sentence: `alarm 23, receipt 40`.
    pub(super) fn named(&self) -> String {
        let named = Class::ALL.iter().map(|class| (class, self.ends[*class as usize].0)).filter(|(_, seq)| *seq != Seq::NONE);
        named.map(|(class, seq)| format!("{class} {seq}")).collect::<Vec<_>>().join(", ")
    }

    /// What must have happened to a database that does not reach what this names.
    pub(super) fn suspicion(&self, log: Log) -> &'static str {
        match (self.state, log) {
            (State::Settled, _) => "an older copy of this journal was put in its place",
            (State::Open, Log::Missing) => "its log (journal.db-wal) is missing",
            (State::Open, Log::There) => "its log (journal.db-wal) is damaged, or an older copy was put in its place",
        }
    }

    /// Why the database cannot be the one this mark was written beside; none when it can.
    pub(super) fn contradiction(
        &self,
        connection: &Connection,
        journal: JournalId,
        chains: &Chains,
        log: Log,
    ) -> Result<Option<String>, rusqlite::Error> {
        if self.journal != journal {
            // One that holds nothing was begun after the other had gone, by an opening that did not get further.
            let empty = chains.iter().all(|head| head.seq == Seq::NONE);
            return Ok((!empty && self.names_something()).then(|| {
                format!(
                    "another journal of this gate ({journal}) was put in the place of {}, which had recorded {}",
                    self.journal,
                    self.named()
                )
            }));
        }
        for class in Class::ALL {
            let (recorded, digest) = self.ends[*class as usize];
            if recorded == Seq::NONE {
                continue;
            }
            let head = &chains[*class as usize];
            if recorded > head.seq {
                let ends = if head.seq == Seq::NONE { format!("it has no {class}") } else { format!("it ends at {class} {}", head.seq) };
                let what = self.suspicion(log);
                return Ok(Some(format!("{what}: {ends} and {class} {recorded} had been recorded")));
            }
            let held: Option<[u8; 32]> = connection
                .prepare_cached("SELECT digest FROM event WHERE class = ?1 AND seq = ?2")?
                .query_row(params![*class as i64, signed(recorded.0)], |row| row.get(0))
                .optional()?;
            match held.map(Digest).or(front(connection, *class, recorded)?) {
                Some(held) if held == digest || held == Digest::ZERO => {}
                Some(_) => {
                    return Ok(Some(format!(
                        "its {class} {recorded} is not the one that had been recorded here: another copy went on elsewhere"
                    )));
                }
                None => return Ok(Some(format!("its {class} {recorded} had been recorded and is not found in it"))),
            }
        }
        Ok(None)
    }
}

/// The digest of a number whose row is gone in order; zeros when it lies before the front and is not known.
fn front(connection: &Connection, class: Class, number: Seq) -> Result<Option<Digest>, rusqlite::Error> {
    let front: Option<(Seq, [u8; 32])> = connection
        .prepare_cached("SELECT last, digest FROM dropped WHERE class = ?1")?
        .query_row([class as i64], |row| Ok((seq(row.get(0)?), row.get(1)?)))
        .optional()?;
    Ok(front.filter(|(last, _)| number <= *last).map(|(last, digest)| if number == last { Digest(digest) } else { Digest::ZERO }))
}

/// Keeps the mark of an open journal: the writer lays down where it is, a thread writes it when it is time.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: std::path::PathBuf,
    mark: Mark,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    latest: Mutex<Latest>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Latest {
    ends: Option<Ends>,
    ending: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Latest> {
        // Numbers laid down by an assignment are whole, whatever the holder of the lock died of.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Writes the mark of a journal that is being opened, and keeps it from now on.
    ///
    /// A mark that cannot be written is said and does without: the one that lies there names less, and accuses nobody.
    /// One of another journal must not stay, because it would accuse this one.
    pub(super) fn begin(dir: &Path, store: &Store) -> Result<Self, JournalError> {
        let mark = Mark { source: store.source().to_string(), journal: store.journal(), state: State::Open, ends: ends(store.chains()) };
        if let Err(fault) = mark.write(dir) {
            tracing::warn!(%fault, "the journal's mark cannot be written: an older copy put in its place would not be noticed");
            if matches!(Mark::find(dir), Found::Whole(old) if old.journal != mark.journal) {
                aside::remove(&dir.join(FILE))?;
            }
        }
        let shared = Arc::new(Shared::default());
        let (place, kept, view) = (dir.to_owned(), mark.clone(), Arc::clone(&shared));
        let run = move || keep(&place, kept, &view);
        let thread = std::thread::Builder::new().name("mark".to_owned()).spawn(run);
        let thread = thread.map_err(|source| JournalError::Place { path: dir.join(FILE), source: Arc::new(source) })?;
        Ok(Self { dir: dir.to_owned(), mark, shared, thread: Some(thread) })
    }

    /// These are the ends of what is committed: to be in the mark soon. Never waits.
    pub(super) fn note(&self, chains: &Chains) {
        self.shared.lock().ends = Some(ends(chains));
        self.shared.bell.notify_one();
    }

    /// The journal was closed in order and ends here: its log is given back and the database closed.
    pub(super) fn settle(mut self, chains: &Chains) {
        self.end();
        self.mark.ends = ends(chains);
        self.mark.state = State::Settled;
        if let Err(fault) = self.mark.write(&self.dir) {
            tracing::warn!(%fault, "the journal's mark cannot be written: an older copy put in its place may not be noticed");
        }
    }

    fn end(&mut self) {
        self.shared.lock().ending = true;
        self.shared.bell.notify_one();
        if let Some(thread) = self.thread.take() {
            // It writes one small file at most.
            drop(thread.join());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// How long after the last time these ends are to be written.
fn wait(written: &Ends, ends: &Ends) -> Duration {
    let kept = [Class::Alarm, Class::Receipt].iter().all(|class| written[*class as usize] == ends[*class as usize]);
    if kept { LATER } else { SOON }
}

fn keep(dir: &Path, mut mark: Mark, shared: &Shared) {
    let mut last = Instant::now();
    let mut failing = false;
    let mut latest = shared.lock();
    while !latest.ending {
        let Some(ends) = latest.ends.filter(|ends| *ends != mark.ends) else {
            latest = shared.bell.wait(latest).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let early = wait(&mark.ends, &ends).saturating_sub(last.elapsed());
        if early > Duration::ZERO {
            latest = shared.bell.wait_timeout(latest, early).unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        drop(latest);
        let before = std::mem::replace(&mut mark.ends, ends);
        match mark.write(dir) {
            Ok(()) if std::mem::take(&mut failing) => tracing::info!("the journal's mark can be written again"),
            Ok(()) => {}
            Err(fault) => {
                mark.ends = before;
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%fault, "the journal's mark cannot be written: an older copy put in its place may not be noticed");
                }
            }
        }
        last = Instant::now();
        latest = shared.lock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        let ends = [(Seq(23), Digest::of(b"a")), (Seq(40), Digest::of(b"b")), (Seq::NONE, Digest::ZERO)];
        Mark { source: "/idsrg/g01".to_owned(), journal: JournalId(uuid::Uuid::from_u128(7)), state: State::Open, ends }
    }

    /// Do not change this test. Marks of this form are in the field.
    #[test]
    fn the_form_of_the_mark_is_frozen() {
        let dir = tempfile::tempdir().unwrap();
        mark().write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(
            text,
            "segel journal mark 1\ngate /idsrg/g01\njournal 00000000-0000-0000-0000-000000000007\nstate open\n\
             alarm 23 ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\n\
             receipt 40 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d\n\
             telemetry 0 0000000000000000000000000000000000000000000000000000000000000000\n\
             sha256 69c7490555deb238cab0546ff1480b2a833ec88327712a7762b6293cba240915\n"
        );
        assert_eq!(Mark::find(dir.path()), Found::Whole(mark()));
    }

    #[test]
    fn a_mark_that_is_cut_or_changed_anywhere_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        mark().write(dir.path()).unwrap();
        let whole = fs::read(dir.path().join(FILE)).unwrap();
        for length in 0..whole.len() {
            assert!(Mark::parse(&whole[..length]).is_err(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(Mark::parse(&changed).is_err(), "changed at {at}");
        }
    }
}
