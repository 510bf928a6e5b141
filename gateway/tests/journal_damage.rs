//! Whatever is done to the files of a journal, the next opening succeeds, or says in one sentence why not; nothing is
//! deleted; and no number is ever given twice under one identity.
//!
//! `SEGEL_NIGHTLY=1` makes a thousand cases of it; `SEGEL_SEED` plays the cases of one run again.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use journal_support::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::event::document::Head;
use segel::event::{Class, Digest, JournalId, Seq, Source};
use segel::forward::UPLINK;
use segel::journal::{Beginning, Journal, JournalConfig, JournalError, JournalReader, Salvage};

/// Cases in the common run, and in the nightly one.
const CASES: (u64, u64) = (80, 1_000);
/// Rows looked at after damage, one flaw after the other.
const STEPS_MAX: u32 = 2_000;
/// The files a journal has.
const FILES: [&str; 4] = ["journal.db", "journal.db-wal", "journal.db-shm", "journal.mark"];

/// Every document ever recorded, by the place it has for ever.
type Books = HashMap<(JournalId, Class, Seq), Vec<u8>>;

/// Journals as they are found on disk, to be damaged.
struct Templates {
    _keep: tempfile::TempDir,
    /// Closed in order.
    clean: PathBuf,
    /// Ended by a power cut: a log full of what the database does not have.
    hot: PathBuf,
    /// The same journal, earlier.
    older: PathBuf,
    /// Of another gate.
    other: PathBuf,
    books: Books,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in FILES {
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

async fn fill(journal: &Journal, from: u64, count: u64) {
    for some in (from..from + count).collect::<Vec<_>>().chunks(40) {
        let size = |n: u64| if n.is_multiple_of(23) { 6_000 } else { usize::try_from(n % 300).unwrap() };
        let entries = some.iter().map(|n| draft(Class::ALL[usize::try_from(n % 3).unwrap()], *n, size(*n)).into()).collect();
        journal.append_all(entries).await.unwrap();
    }
}

/// Waits until the mark names the last of everything.
async fn marked(dir: &Path, journal: &Journal) {
    let heads = *journal.heads().borrow();
    let named = |text: &str| Class::ALL.iter().all(|class| text.contains(&format!("\n{class} {} ", heads.of(*class))));
    until(|| fs::read_to_string(dir.join("journal.mark")).is_ok_and(|text| named(&text))).await;
}

fn books(reader: &JournalReader) -> Books {
    let mut books = Books::new();
    for class in Class::ALL {
        books.extend(all(reader, *class).into_iter().map(|record| ((reader.journal(), *class, record.seq), record.doc)));
    }
    books
}

impl Templates {
    async fn build() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let place = |name: &str| keep.path().join(name);
        let (live, clean, hot, older, other) = (place("live"), place("clean"), place("hot"), place("older"), place("other"));
        let (journal, _) = open(&live);
        fill(&journal, 0, 300).await;
        journal.advance(&UPLINK, Class::Alarm, Seq(50));
        journal.keep((0..40).map(|n| segel::journal::Note::keep("seal", format!("JT-{n}"), vec![b'x'; 300])).collect()).await.unwrap();
        journal.close().await.unwrap();
        copy(&live, &older);
        let (journal, _) = open(&live);
        fill(&journal, 300, 300).await;
        marked(&live, &journal).await;
        copy(&live, &hot);
        assert!(fs::metadata(hot.join("journal.db-wal")).unwrap().len() > 100_000, "the log holds what the database does not");
        let books = books(&journal.reader().unwrap());
        journal.close().await.unwrap();
        copy(&live, &clean);
        assert!(!clean.join("journal.db-wal").exists());

        let (journal, _) = Journal::open(&place("b"), JournalConfig::default(), Source::new("idsrg", "g02").unwrap()).unwrap();
        fill(&journal, 0, 90).await;
        copy(&place("b"), &other);
        journal.close().await.unwrap();
        Self { _keep: keep, clean, hot, older, other, books }
    }
}

/// A byte at a random place becomes another.
fn flip(chance: &mut StdRng, path: &Path, count: usize) {
    let Ok(mut bytes) = fs::read(path) else { return };
    for _ in 0..count {
        if !bytes.is_empty() {
            let at = chance.random_range(0..bytes.len());
            bytes[at] ^= 1 << chance.random_range(0..8);
        }
    }
    fs::write(path, bytes).unwrap();
}

fn cut(chance: &mut StdRng, path: &Path) {
    let Ok(file) = fs::OpenOptions::new().write(true).open(path) else { return };
    let length = file.metadata().unwrap().len();
    file.set_len(chance.random_range(0..=length)).unwrap();
}

fn replace_by_directory(path: &Path) {
    let _ = fs::remove_file(path);
    fs::create_dir(path).unwrap();
    fs::write(path.join("something"), "in it").unwrap();
}

/// Does one thing to the journal in `dir`; says what.
fn damage(chance: &mut StdRng, dir: &Path, templates: &Templates) -> String {
    let name = FILES[chance.random_range(0..FILES.len())];
    let path = dir.join(name);
    let database = dir.join("journal.db");
    match chance.random_range(0..16) {
        0..3 => {
            let count = chance.random_range(1..16);
            flip(chance, &database, count);
            format!("{count} bits flipped in the database")
        }
        3..5 => {
            let count = chance.random_range(1..4);
            flip(chance, &path, count);
            format!("{count} bits flipped in {name}")
        }
        5..7 => {
            cut(chance, &path);
            format!("{name} cut off")
        }
        7 => {
            let _ = fs::remove_file(&path);
            format!("{name} deleted")
        }
        8 => {
            let mut bytes = fs::read(&database).unwrap();
            let page = chance.random_range(0..bytes.len() / 4096);
            bytes[page * 4096..(page + 1) * 4096].fill(if chance.random() { 0 } else { 0xA5 });
            fs::write(&database, bytes).unwrap();
            format!("page {page} overwritten")
        }
        9 => {
            let mut bytes = fs::read(&database).unwrap();
            let pages = bytes.len() / 4096;
            let (a, b) = (chance.random_range(0..pages), chance.random_range(0..pages));
            for at in 0..4096 {
                bytes.swap(a * 4096 + at, b * 4096 + at);
            }
            fs::write(&database, bytes).unwrap();
            format!("pages {a} and {b} exchanged")
        }
        10 => {
            let whole = chance.random();
            let files: &[&str] = if whole { &FILES } else { &FILES[chance.random_range(0..2)..][..1] };
            for file in files {
                let _ = fs::remove_file(dir.join(file));
                if templates.other.join(file).exists() {
                    fs::copy(templates.other.join(file), dir.join(file)).unwrap();
                }
            }
            format!("{files:?} of another gate")
        }
        11 => {
            let tool = rusqlite::Connection::open(&database).unwrap();
            tool.pragma_update(None, "user_version", 3).unwrap();
            "a later schema".to_owned()
        }
        12 => {
            fs::write(&path, "").unwrap();
            format!("{name} emptied")
        }
        13 => {
            replace_by_directory(&path);
            format!("a directory in the place of {name}")
        }
        14 => {
            fs::write(&path, "somebody saved a note here, under the wrong name").unwrap();
            format!("a text in the place of {name}")
        }
        _ => {
            let keep_log: bool = chance.random();
            fs::copy(templates.older.join("journal.db"), &database).unwrap();
            if !keep_log {
                let _ = fs::remove_file(dir.join("journal.db-wal"));
                let _ = fs::remove_file(dir.join("journal.db-shm"));
            }
            format!("an older copy restored, log kept: {keep_log}")
        }
    }
}

/// What is in the files; a directory has no bytes of its own.
fn bytes(dir: &Path) -> HashMap<&'static str, Option<Vec<u8>>> {
    let there = FILES.into_iter().filter(|file| dir.join(file).exists());
    there.map(|file| (file, fs::read(dir.join(file)).ok())).collect()
}

/// The index of the log is made anew by whoever opens the database first, and proves nothing.
fn assert_kept(what: &str, before: &HashMap<&str, Option<Vec<u8>>>, dir: &Path) {
    for (file, was) in before.iter().filter(|(file, _)| !file.ends_with("-shm")) {
        assert!(dir.join(file).exists(), "{what}: {file} is gone from {}", dir.display());
        assert!(fs::read(dir.join(file)).ok() == *was, "{what}: {file} was changed");
    }
}

/// Everything that reads well in this journal must be in the books; what is new goes into them.
fn audit(what: &str, reader: &JournalReader, books: &mut Books) {
    for class in Class::ALL {
        let mut after = Seq::NONE;
        // Rows that cannot be read are what the proof is for.
        for _ in 0..STEPS_MAX {
            let Ok((records, flaw)) = reader.proven_after(*class, after, Seq::NONE, 100, usize::MAX) else { break };
            for record in &records {
                let Ok(head) = Head::parse(&record.doc) else { continue };
                let known = books.entry((head.journal, head.class, head.seq)).or_insert_with(|| record.doc.clone());
                assert!(*known == record.doc, "{what}: {class} {} of {} has two forms", head.seq, head.journal);
            }
            match (records.last(), flaw) {
                (_, Some(flaw)) => {
                    let bad = flaw.place.unwrap().1;
                    // A flipped bit makes a number, and so a hole, of any size.
                    let next = reader.after(*class, bad, 1, usize::MAX).ok().and_then(|found| Some(found.first()?.seq.before()));
                    after = bad.max(next.unwrap_or(bad));
                }
                (Some(last), None) => after = last.seq,
                (None, None) => break,
            }
        }
    }
}

/// Everything that can be saved is what was recorded, once.
fn salvage(what: &str, to: &Path, books: &Books) -> usize {
    let Ok(old) = Salvage::of(to) else { return 0 };
    let mut plan = old.plan(&UPLINK);
    let mut saved = HashSet::new();
    let mut pieces = 0;
    while let Some(piece) = old.next(&mut plan, 64) {
        pieces += 1;
        assert!(pieces < 20_000 && piece.len() <= 64, "{what}: this does not end: {plan:?}");
        for event in piece {
            assert!(saved.insert((event.class, event.seq)), "{what}: {} {} twice", event.class, event.seq);
            assert_eq!(Digest::of(&event.doc), event.digest);
            let journal = Head::parse(&event.doc).unwrap().journal;
            let known = books.get(&(journal, event.class, event.seq));
            assert!(known.is_none_or(|known| *known == event.doc), "{what}: {} {} is not what was recorded", event.class, event.seq);
        }
    }
    for stretch in &plan.classes {
        assert_eq!(stretch.found(), stretch.carried + stretch.unreadable(), "{what}: {stretch:?}");
    }
    saved.len()
}

async fn one_case(case: u64, seed: u64, templates: &Templates) -> &'static str {
    let mut chance = StdRng::seed_from_u64(seed.wrapping_add(case));
    let dir = tempfile::tempdir().unwrap();
    let hot = chance.random();
    copy(if hot { &templates.hot } else { &templates.clean }, dir.path());
    let what = damage(&mut chance, dir.path(), templates);
    let what = format!("case {case} of SEGEL_SEED={seed}: {}, {what}", if hot { "after a power cut" } else { "closed in order" });
    let before = bytes(dir.path());
    let mut books = templates.books.clone();

    let (journal, opening) = match Journal::open(dir.path(), JournalConfig::default(), source()) {
        Ok(opened) => opened,
        Err(error) => {
            let sentence = error.to_string();
            let settled = matches!(error, JournalError::Newer { .. } | JournalError::OtherGate { .. } | JournalError::Place { .. });
            assert!(settled && !sentence.contains('\n') && sentence.len() > 40, "{what}: {error:?}: {sentence}");
            assert_kept(&what, &before, dir.path());
            return "refused";
        }
    };
    let outcome = match &opening.beginning {
        Beginning::SetAside { to, reason } => {
            assert!(reason.len() > 15 && !reason.contains('\n') && !reason.starts_with("database disk"), "{what}: {reason}");
            // After a power cut the log may have been given back to the database before the damage was met: no byte of an
            // event is lost by that, as the salvage shows.
            if !hot {
                assert_kept(&what, &before, to);
            }
            assert!(!books.keys().any(|(journal, ..)| *journal == opening.journal), "{what}: a new journal has a new identity");
            salvage(&what, to, &books);
            "set aside"
        }
        Beginning::Resumed => "resumed",
        Beginning::Fresh => panic!("{what}: what was there is forgotten"),
    };
    for n in 0..6 {
        match journal.append(entry(Class::ALL[n % 3], 9_000 + n as u64)).await {
            Ok(recorded) => {
                let place = (opening.journal, recorded.class, recorded.seq);
                assert!(!books.contains_key(&place), "{what}: {} {} is given a second time", recorded.class, recorded.seq);
            }
            // Damage in the middle may be met only now; then it is said, and the next opening sets it aside.
            Err(error) => assert!(error.is_damage(), "{what}: {error:?}"),
        }
    }
    if let Ok(reader) = journal.reader() {
        audit(&what, &reader, &mut books);
    }
    let _ = journal.close().await;
    drop(journal);
    let (journal, again) = open(dir.path());
    assert_ne!(again.beginning, Beginning::Fresh, "{what}");
    let _ = journal.close().await;
    outcome
}

#[tokio::test]
async fn whatever_is_done_to_its_files_a_journal_opens_or_says_why_not_and_gives_no_number_twice() {
    let seed = std::env::var("SEGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::random::<u32>().into());
    let cases = if std::env::var("SEGEL_NIGHTLY").is_ok_and(|on| on == "1") { CASES.1 } else { CASES.0 };
    eprintln!("{cases} damaged journals: SEGEL_SEED={seed}");
    let templates = Templates::build().await;
    let mut outcomes: HashMap<&str, u64> = HashMap::new();
    for case in 0..cases {
        *outcomes.entry(one_case(case, seed, &templates).await).or_default() += 1;
    }
    eprintln!("{outcomes:?}");
    assert!(["refused", "set aside", "resumed"].iter().all(|outcome| outcomes.contains_key(outcome)), "{outcomes:?}");
}

#[tokio::test]
async fn everything_undelivered_is_saved_when_only_the_index_of_the_events_is_destroyed() {
    let templates = Templates::build().await;
    let dir = tempfile::tempdir().unwrap();
    copy(&templates.clean, dir.path());
    assert_eq!(salvage("whole", dir.path(), &templates.books), 150 + 200, "alarms above the cursor, and all receipts");
    let root: u32 = {
        let tool = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        tool.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_event_1'", [], |row| row.get(0)).unwrap()
    };
    let path = dir.path().join("journal.db");
    let mut damaged = fs::read(&path).unwrap();
    damaged[(root as usize - 1) * 4096..root as usize * 4096].fill(0xA5);
    fs::write(&path, damaged).unwrap();
    assert_eq!(salvage("without its index", dir.path(), &templates.books), 150 + 200);
}
