//! `segel journal verify --archive`, and the other commands on a journal whose front is archived.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_cli;
mod journal_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use journal_cli::*;
use journal_support::*;
use segel::archive::errand::Errand;
use segel::archive::{Archivist, Counting, Medium, Older, Place, due::Limits};
use segel::clock::Clock;
use segel::event::Class;
use segel::journal::JournalConfig;
use tokio_util::sync::CancellationToken;

/// A journal with its alarms, receipts and some telemetry archived and trimmed, and some telemetry dropped before that.
async fn archived(dir: &Path, shelf: &Path) {
    let (journal, _) = open_with(dir, JournalConfig { telemetry_quota_bytes: 12_000, ..JournalConfig::default() });
    for n in 0..120 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).into()).await.unwrap();
    }
    let clock = Clock::new(Duration::from_secs(86_400), None);
    let place = Place::new(dir, Some(shelf), Medium::Fixed);
    let archivist =
        Archivist::new(journal.clone(), clock, source(), place, Counting::Nobody).with_limits(Limits { events: 15, bytes: 1 << 20 });
    archivist.round(Older::All, &Errand::gentle(CancellationToken::new())).await.unwrap();
    journal.hurry_upkeep().await.unwrap();
    let reader = journal.reader().unwrap();
    until(|| Class::ALL.iter().all(|class| reader.front(*class).unwrap().last == reader.segments(*class).unwrap().last().unwrap().last))
        .await;
    drop(reader);
    for n in 120..150 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).into()).await.unwrap();
    }
    journal.close().await.unwrap();
}

/// Files of the shelf whose name has this in it, in order.
fn files(shelf: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![shelf.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_str().unwrap().contains(part) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn shelf_and_database_are_one_chain_and_what_does_not_join_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = tempfile::tempdir().unwrap();
    let shelf = at.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    archived(dir.path(), &shelf).await;
    let place = shelf.to_str().unwrap();
    let verify = || segel(dir.path(), &["verify", "--archive", place]);
    let said = verify();
    assert!(said.code == 0 && said.out.contains("goes on where this ends"), "{said:?}");
    let found = segel(dir.path(), &["verify", "--archive", place, "--json"]);
    assert_eq!((found.code, &found.json()["good"], &found.json()["joined"]["on_shelf"]), (0, &true.into(), &true.into()));

    let mut alone = Command::new(env!("CARGO_BIN_EXE_segel"));
    let said: Said = alone.args(["journal", "verify", "--archive", place, "--config", "/dev/null"]).output().unwrap().into();
    assert_eq!(said.code, 20, "a configuration that was named must be good: {said:?}");
    let mut alone = Command::new(env!("CARGO_BIN_EXE_segel"));
    let said: Said = alone.args(["journal", "verify", "--archive", place]).output().unwrap().into();
    assert!(said.out.contains("no journal was compared"), "{said:?}");
    let said = segel(dir.path(), &["verify", "--archive", "/nonexistent"]);
    assert!(said.code == 1 && said.err.contains("/nonexistent is not there"), "{said:?}");
    let nothing = tempfile::tempdir().unwrap();
    let said = segel(dir.path(), &["verify", "--archive", nothing.path().to_str().unwrap()]);
    assert!(said.code == 1 && said.out.contains("no segment of a gate's archive"), "nothing is no proof: {said:?}");

    let database = dir.path().join("journal.db");
    let whole = fs::read(&database).unwrap();
    let hand = rusqlite::Connection::open(&database).unwrap();
    assert_eq!(hand.execute("UPDATE dropped SET digest = zeroblob(32) WHERE class = 0", []).unwrap(), 1);
    drop(hand);
    let said = verify();
    assert!(said.code == 1 && said.out.contains("journal and shelf do not join: alarm"), "{said:?}");
    fs::write(&database, &whole).unwrap();
    let hand = rusqlite::Connection::open(&database).unwrap();
    let first = "DELETE FROM event WHERE class = 1 AND seq = (SELECT min(seq) FROM event WHERE class = 1)";
    assert_eq!(hand.execute(first, []).unwrap(), 1);
    drop(hand);
    let said = verify();
    assert!(said.code == 1 && said.out.contains("MISSING, nothing says why"), "{said:?}");
    fs::write(&database, &whole).unwrap();

    let segments = files(&shelf, "alarm");
    let last = segments.iter().rfind(|path| path.extension().unwrap() != "json").unwrap();
    let text = fs::read_to_string(last).unwrap();
    fs::write(last, text.replacen("JT-", "JX-", 1)).unwrap();
    let said = verify();
    assert!(said.code == 1 && said.out.contains("NOT WHOLE"), "{said:?}");
    fs::write(last, text).unwrap();
    assert_eq!(verify().code, 0);
    let stem = last.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    files(&shelf, &stem).iter().for_each(|path| fs::remove_file(path).unwrap());
    let said = verify();
    assert!(said.code == 1 && said.out.contains("were archived and are not here: bring those segments"), "{said:?}");
}

#[tokio::test]
async fn a_journal_whose_front_is_archived_is_counted_exported_and_shown_and_says_where_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = dir.path().join("shelf");
    fs::create_dir(&shelf).unwrap();
    archived(dir.path(), &shelf).await;
    let stats = segel(dir.path(), &["stats", "--types", "--json"]);
    assert_eq!((stats.code, &stats.json()["adds_up"]), (0, &true.into()), "{stats:?}");
    let archived = |class: usize| stats.json()["classes"][class]["archived"].as_u64().unwrap();
    assert!((0..3).all(|class| archived(class) > 0), "{stats:?}");
    assert!(stats.json()["classes"][2]["dropped"].as_u64().unwrap() > 0, "{stats:?}");
    let front = |class| segel::journal::JournalReader::open(dir.path()).unwrap().front(class).unwrap().last;
    let file = dir.path().join("all.jsonl");
    let said = segel(dir.path(), &["export", "--out", file.to_str().unwrap()]);
    let first = front(Class::Alarm).next();
    assert!(said.code == 0 && said.err.contains(&format!("alarm begins at {first}")), "{said:?}");
    let from: Vec<String> = Class::ALL.iter().map(|class| format!("{class}={}", front(*class).next())).collect();
    let verify = ["verify", "--received", file.to_str().unwrap(), "--from", &from[0], "--from", &from[1], "--from", &from[2]];
    assert_eq!(segel(dir.path(), &verify).code, 0);
    assert!(said.err.contains(&format!("--from {}", from[0])), "and how to check it is said: {}", said.err);
    let shown = segel(dir.path(), &["tail", "-n", "1000", "--class", "alarm", "--json"]);
    assert_eq!(shown.out, segel(dir.path(), &["export", "--class", "alarm"]).out);
    assert!(shown.out.lines().next().unwrap().contains(&format!("\"seq\":\"{first}\"")), "{}", shown.out);
}
