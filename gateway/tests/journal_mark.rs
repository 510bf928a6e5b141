//! The mark beside the database: what it notices, whom it never accuses, and what a kill in the midst of setting aside costs.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::fs;
use std::path::Path;

use journal_support::*;
use segel::event::{Class, JournalId, Seq};
use segel::journal::{Beginning, Journal, LEGACY_NOTE, Legacy, Note};

/// Where a journal was before it was damaged in the stories below.
const TO: &str = "journal.damaged-20261121T080000Z";

fn mark(dir: &Path) -> String {
    fs::read_to_string(dir.join("journal.mark")).unwrap()
}

fn copy(from: &Path, to: &Path, files: &[&str]) {
    for file in files {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

async fn alarms(journal: &Journal, numbers: std::ops::Range<u64>) {
    for n in numbers {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
}

/// A journal of five alarms as a power cut leaves it: none of them in the database, all in the log, the mark of them written.
async fn after_a_power_cut(to: &Path, files: &[&str]) -> JournalId {
    let live = tempfile::tempdir().unwrap();
    let (journal, _) = open(live.path());
    journal.close().await.unwrap();
    let (journal, opening) = open(live.path());
    alarms(&journal, 0..5).await;
    until(|| mark(live.path()).contains("\nalarm 5 ")).await;
    assert!(mark(live.path()).contains("\nstate open\n"));
    copy(live.path(), to, files);
    opening.journal
}

fn set_aside(opening: &segel::journal::Opening) -> &str {
    match &opening.beginning {
        Beginning::SetAside { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_copy_of_the_journal_is_noticed_and_no_number_is_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, first) = open(dir.path());
    alarms(&journal, 0..3).await;
    journal.close().await.unwrap();
    let older = fs::read(dir.path().join("journal.db")).unwrap();
    let (journal, _) = open(dir.path());
    alarms(&journal, 3..5).await;
    journal.close().await.unwrap();
    assert!(mark(dir.path()).contains("\nstate settled\n"));
    fs::write(dir.path().join("journal.db"), older).unwrap();

    let (journal, opening) = open(dir.path());
    assert_eq!(set_aside(&opening), "an older copy of this journal was put in its place: it ends at alarm 3 and alarm 5 had been recorded");
    assert_ne!(opening.journal, first.journal);
    journal.close().await.unwrap();
    assert_eq!(open(dir.path()).1.beginning, Beginning::Resumed);
}

#[tokio::test]
async fn a_log_that_is_gone_is_noticed_and_one_that_a_foreign_tool_gave_back_accuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    after_a_power_cut(dir.path(), &["journal.db", "journal.mark"]).await;
    let (_journal, opening) = open(dir.path());
    assert_eq!(set_aside(&opening), "its log (journal.db-wal) is missing: it has no alarm and alarm 5 had been recorded");

    let dir = tempfile::tempdir().unwrap();
    let written = after_a_power_cut(dir.path(), &["journal.db", "journal.db-wal", "journal.mark"]).await;
    let tool = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    let count: i64 = tool.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
    tool.close().unwrap();
    assert!(count == 5 && !dir.path().join("journal.db-wal").exists(), "the tool gave the log back and removed it");
    let (_journal, opening) = open(dir.path());
    assert_eq!((opening.beginning, opening.journal, opening.heads.of(Class::Alarm)), (Beginning::Resumed, written, Seq(5)));
}

#[tokio::test]
async fn a_damaged_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    after_a_power_cut(dir.path(), &["journal.db", "journal.db-wal", "journal.mark"]).await;
    let log = dir.path().join("journal.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.len() - 2_000;
    bytes[last] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let (_journal, opening) = open(dir.path());
    assert_eq!(
        set_aside(&opening),
        "its log (journal.db-wal) is damaged, or an older copy was put in its place: it ends at alarm 4 and alarm 5 had been recorded"
    );
}

#[tokio::test]
async fn a_mark_that_is_missing_torn_or_of_another_gate_accuses_nobody_and_is_written_anew() {
    let spoilt: [fn(&Path); 5] = [
        |mark| fs::remove_file(mark).unwrap(),
        |mark| fs::write(mark, "").unwrap(),
        |mark| fs::write(mark, fs::read(mark).unwrap().split_at(100).0).unwrap(),
        |mark| fs::write(mark, fs::read_to_string(mark).unwrap().replace("alarm 3", "alarm 9")).unwrap(),
        |mark| {
            let other = tempfile::tempdir().unwrap();
            let source = segel::event::Source::new("idtpp", "g07").unwrap();
            drop(Journal::open(other.path(), segel::journal::JournalConfig::default(), source).unwrap());
            fs::copy(other.path().join("journal.mark"), mark).unwrap();
        },
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, first) = open(dir.path());
        alarms(&journal, 0..3).await;
        journal.close().await.unwrap();
        spoil(&dir.path().join("journal.mark"));
        let (journal, opening) = open(dir.path());
        assert_eq!((opening.beginning, opening.journal), (Beginning::Resumed, first.journal), "{number}");
        let mark = mark(dir.path());
        assert!(mark.contains("gate /idsrg/g01\n") && mark.contains("\nalarm 3 ") && mark.contains("\nstate open\n"), "{number}: {mark}");
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn another_whole_journal_of_the_same_gate_is_not_gone_on_with() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut identities = Vec::new();
    for place in [&dir, &other] {
        let (journal, opening) = open(place.path());
        alarms(&journal, 0..3).await;
        journal.close().await.unwrap();
        identities.push(opening.journal);
    }
    copy(other.path(), dir.path(), &["journal.db"]);
    let (_journal, opening) = open(dir.path());
    let [here, put] = identities[..] else { panic!("two") };
    assert_eq!(
        set_aside(&opening),
        format!("another journal of this gate ({put}) was put in the place of {here}, which had recorded alarm 3")
    );
    assert!(opening.journal != here && opening.journal != put);
}

#[tokio::test]
async fn a_database_that_was_taken_away_is_said_and_its_mark_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    alarms(&journal, 0..3).await;
    journal.close().await.unwrap();
    fs::remove_file(dir.path().join("journal.db")).unwrap();
    let before = mark(dir.path());
    let (journal, opening) = open(dir.path());
    let Beginning::SetAside { to, reason } = &opening.beginning else { panic!("{:?}", opening.beginning) };
    assert_eq!(reason, "its database (journal.db) is missing, and alarm 3 had been recorded");
    assert_eq!(fs::read_to_string(to.join("journal.mark")).unwrap(), before);
    journal.close().await.unwrap();
    assert_eq!(open(dir.path()).1.beginning, Beginning::Resumed);
}

/// Every state that a kill can leave while a journal is set aside.
#[tokio::test]
async fn a_kill_at_any_step_of_setting_aside_loses_neither_the_journal_nor_the_reason_nor_its_notes() {
    let steps = [
        "condemned without a word",
        "condemned",
        "directory made",
        "database moved",
        "all moved",
        "unclaimed",
        "unclaimed, and a new one made",
    ];
    for (step, name) in steps.into_iter().enumerate() {
        let keep = tempfile::tempdir().unwrap();
        let (dir, to) = (keep.path(), keep.path().join(TO));
        let (journal, old) = open(dir);
        journal.append(entry(Class::Alarm, 1).with(Note::keep("counter", "JT-1", "17"))).await.unwrap();
        journal.close().await.unwrap();
        let database = fs::read(dir.join("journal.db")).unwrap();

        let condemned = if step == 0 { String::new() } else { format!("its alarm 1 is damaged: for a test\n{TO}\n") };
        fs::write(dir.join("journal.condemned"), condemned).unwrap();
        if step >= 2 {
            fs::create_dir(&to).unwrap();
        }
        if step >= 3 {
            fs::rename(dir.join("journal.db"), to.join("journal.db")).unwrap();
        }
        if step >= 4 {
            fs::rename(dir.join("journal.mark"), to.join("journal.mark")).unwrap();
        }
        if step >= 5 {
            fs::rename(dir.join("journal.condemned"), dir.join(format!("{TO}.unclaimed"))).unwrap();
        }
        if step >= 6 {
            fs::rename(dir.join(format!("{TO}.unclaimed")), dir.join("hidden")).unwrap();
            open(dir).0.close().await.unwrap();
            fs::rename(dir.join("hidden"), dir.join(format!("{TO}.unclaimed"))).unwrap();
        }

        let (journal, opening) = open(dir);
        let Beginning::SetAside { to, reason } = &opening.beginning else { panic!("{name}: {:?}", opening.beginning) };
        let expected = if step == 0 { "it was found damaged while it was being written" } else { "its alarm 1 is damaged: for a test" };
        assert_eq!(reason, expected, "{name}");
        assert_ne!(opening.journal, old.journal, "{name}");
        assert!(fs::read(to.join("journal.db")).unwrap() == database && to.join("journal.mark").exists(), "{name}");
        assert!(step < 2 || to.ends_with(TO), "{name}: it goes on where it was");
        let reader = journal.reader().unwrap();
        assert_eq!(reader.note("counter", "JT-1").unwrap().as_deref(), Some(&b"17"[..]), "{name}: what was known is known");
        let owed = reader.notes(LEGACY_NOTE).unwrap();
        assert_eq!(owed.len(), 1, "{name}");
        let legacy: Legacy = serde_json::from_slice(&owed[0].value).unwrap();
        assert_eq!((legacy.notes, legacy.notes_whole, legacy.reason.as_str()), (1, true, expected), "{name}");
        let left: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!left.iter().any(|file| file.ends_with(".unclaimed") || file == "journal.condemned"), "{name}: {left:?}");
        assert_eq!(left.iter().filter(|file| file.starts_with("journal.damaged")).count(), 1, "{name}: {left:?}");
        journal.close().await.unwrap();
        assert_eq!(open(dir).1.beginning, Beginning::Resumed, "{name}");
    }
}

#[tokio::test]
async fn a_debt_to_a_journal_set_aside_is_handed_on_when_the_next_is_set_aside_too() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (journal, _) = open(dir.path());
        alarms(&journal, 0..2).await;
        journal.condemn().unwrap();
        journal.close().await.unwrap();
    }
    let (journal, _) = open(dir.path());
    assert_eq!(journal.reader().unwrap().notes(LEGACY_NOTE).unwrap().len(), 3);
}
