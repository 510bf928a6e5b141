//! Opening: one writer, the right gate, whatever is in it, and a start that damage does not prevent.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::fs;
use std::path::Path;

use journal_support::*;
use segel::event::{Class, Seq, Source};
use segel::journal::{Beginning, Journal, JournalConfig, JournalError, JournalReader};

fn refused(dir: &Path) -> JournalError {
    Journal::open(dir, JournalConfig::default(), source()).unwrap_err()
}

#[tokio::test]
async fn a_second_opening_is_refused_and_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, JournalError::InUse { .. }));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");

    journal.append(entry(Class::Alarm, 1)).await.unwrap();
    journal.close().await.unwrap();
    open(dir.path());
}

#[tokio::test]
async fn a_journal_of_another_gate_is_refused_with_both_names_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(entry(Class::Alarm, 1)).await.unwrap();
    journal.close().await.unwrap();
    let error = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g02").unwrap()).unwrap_err();
    assert!(error.to_string().contains("/idsrg/g01") && error.to_string().contains("/idsrg/g02"), "{error}");
    let (_, opening) = open(dir.path());
    assert_eq!((opening.beginning, opening.heads.of(Class::Alarm)), (Beginning::Resumed, Seq(1)));
}

#[tokio::test]
async fn a_journal_of_a_later_version_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.close().await.unwrap();
    let database = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    database.pragma_update(None, "user_version", 3).unwrap();
    assert!(matches!(refused(dir.path()), JournalError::Newer { found: 3, known: 2, .. }));
    assert_verifies(&JournalReader::open(dir.path()).expect("a later version that says this one can read it is read"));
    database.execute("UPDATE meta SET value = '3' WHERE key = 'readable_from'", []).unwrap();
    drop(database);
    assert!(matches!(JournalReader::open(dir.path()), Err(JournalError::Newer { .. })));
    assert!(!fs::read_dir(dir.path()).unwrap().any(|file| file.unwrap().file_name().to_string_lossy().contains("damaged")));
}

#[tokio::test]
async fn numbers_and_chains_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut identity = None;
    for round in 0..4 {
        let (journal, opening) = open(dir.path());
        assert_eq!(opening.beginning, if round == 0 { Beginning::Fresh } else { Beginning::Resumed });
        assert_eq!(*identity.get_or_insert(opening.journal), opening.journal);
        for class in Class::ALL {
            assert_eq!(journal.append(entry(*class, round)).await.unwrap().seq, Seq(round + 1));
        }
        assert!(received(&journal.reader().unwrap()).is_whole());
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_new_journal_has_the_settings_its_promises_rest_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.close().await.unwrap();
    let tool = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    let setting = |name: &str| -> String {
        let value: rusqlite::types::Value = tool.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).unwrap();
        format!("{value:?}")
    };
    assert_eq!(setting("auto_vacuum"), "Integer(2)", "incremental: space can be given back in small steps");
    assert_eq!(setting("journal_mode"), r#"Text("wal")"#);
    assert_eq!(setting("user_version"), "Integer(2)");
    assert_eq!(setting("application_id"), format!("Integer({})", 0x5345_474C));
}

/// Something that happens to a file, and what one would call it.
type Damage = (&'static str, fn(&Path));

fn damages() -> Vec<Damage> {
    vec![
        ("not a database", |path| fs::write(path, "this is no database, but a note somebody saved here").unwrap()),
        ("not a database, and neither is its log", |path| {
            fs::write(path, [7; 9_000]).unwrap();
            fs::write(path.with_extension("db-wal"), [8; 9_000]).unwrap();
        }),
        ("its first pages are zeros", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[..8192].fill(0);
            fs::write(path, bytes).unwrap();
        }),
        ("its last events are garbage", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[4096..].fill(0xA5);
            fs::write(path, bytes).unwrap();
        }),
        ("the bytes up to its last event are others", |path| {
            let connection = rusqlite::Connection::open(path).unwrap();
            let flip = "UPDATE event SET octets = octets + (1 << 40) WHERE rowid = (SELECT max(rowid) FROM event)";
            assert_eq!(connection.execute(flip, []).unwrap(), 1);
        }),
        ("a table is gone", |path| {
            rusqlite::Connection::open(path).unwrap().execute_batch("DROP TABLE event").unwrap();
        }),
        ("another program's", |path| {
            rusqlite::Connection::open(path).unwrap().pragma_update(None, "application_id", 77).unwrap();
        }),
        ("a database of another program, without a log", |path| {
            fs::remove_file(path).unwrap();
            let other = rusqlite::Connection::open(path).unwrap();
            other.execute_batch("CREATE TABLE song (title TEXT); INSERT INTO song VALUES ('Gambang Semarang')").unwrap();
        }),
        ("the last document was changed", |path| {
            let database = rusqlite::Connection::open(path).unwrap();
            database.execute("UPDATE event SET doc = CAST(replace(CAST(doc AS TEXT), 'JT-', 'JX-') AS BLOB)", []).unwrap();
        }),
        ("only its log is left", |path| {
            fs::write(path.with_extension("db-wal"), [1; 100]).unwrap();
            fs::remove_file(path).unwrap();
        }),
    ]
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_whole_and_the_start_succeeds() {
    for (what, damage) in damages() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, before) = open(dir.path());
        for n in 0..50 {
            journal.append(entry(Class::Alarm, n)).await.unwrap();
        }
        journal.close().await.unwrap();
        let file = dir.path().join("journal.db");
        damage(&file);
        let log = file.with_extension("db-wal");
        let (damaged, damaged_log) = (fs::read(&file).ok(), fs::read(&log).ok());

        let (journal, opening) = open(dir.path());
        let Beginning::SetAside { to, .. } = &opening.beginning else { panic!("{what}: {:?}", opening.beginning) };
        assert!(fs::read(to.join("journal.db")).ok() == damaged, "{what}: kept as it was");
        if damaged_log.is_some() {
            assert!(fs::read(to.join("journal.db-wal")).ok() == damaged_log, "{what}: its log too");
        }
        assert_ne!(opening.journal, before.journal, "{what}: numbers begin again under another identity");
        assert_eq!(journal.append(entry(Class::Alarm, 1)).await.unwrap().seq, Seq(1), "{what}");
        assert_verifies(&journal.reader().unwrap());
        journal.close().await.unwrap();
        assert_eq!(open(dir.path()).1.beginning, Beginning::Resumed, "{what}");
    }
}

#[test]
fn an_unwritable_place_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    fs::write(&file, "").unwrap();
    let error = refused(&file);
    assert!(error.to_string().contains("occupied"), "{error}");
    assert!(matches!(JournalReader::open(&dir.path().join("nothing")), Err(JournalError::Missing { .. })));
}

/// Bytes this thread asked the kernel for so far.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn opening_a_full_journal_takes_under_a_second() {
    const EVENTS: u64 = 50_000;
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(entry(Class::Telemetry, 0)).await.unwrap();
    journal.close().await.unwrap();
    let small = open(dir.path());
    let (journal, few) = small;
    for together in 0..EVENTS / 200 {
        let entries = (0..200).map(|n| entry(Class::ALL[usize::try_from(n % 3).unwrap()], together * 200 + n)).collect();
        journal.append_all(entries).await.unwrap();
    }
    journal.close().await.unwrap();
    let size = fs::metadata(dir.path().join("journal.db")).unwrap().len();
    assert!(size > 20_000_000, "the journal is full: {size}");

    let before = bytes_read();
    let (_journal, opening) = open(dir.path());
    let read = bytes_read() - before;
    let recorded: u64 = Class::ALL.iter().map(|class| opening.heads.of(*class).0).sum();
    assert_eq!(recorded, EVENTS + 1);
    // Three classes instead of one are found, each by a few searches; a scan would take a step per event at least.
    assert!(opening.steps < few.steps + 200 && opening.steps < 1_000, "{} steps, with one event {}", opening.steps, few.steps);
    assert!(read < 500_000, "{read} bytes of {size} were read");
}

#[tokio::test]
async fn a_journal_found_damaged_while_writing_is_set_aside_at_the_next_opening_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(dir.path());
    journal.append(entry(Class::Alarm, 1)).await.unwrap();
    journal.condemn().unwrap();
    journal.close().await.unwrap();

    let (journal, second) = open(dir.path());
    let Beginning::SetAside { to, reason } = second.beginning else { panic!("{:?}", second.beginning) };
    assert!(to.join("journal.db").exists() && reason.contains("written"), "{reason}");
    assert_ne!(first.journal, second.journal);
    journal.close().await.unwrap();

    let (_journal, third) = open(dir.path());
    assert_eq!((third.beginning, third.journal), (Beginning::Resumed, second.journal));
}
