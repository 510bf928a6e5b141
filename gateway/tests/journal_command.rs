//! `segel journal` as somebody types it.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::fs;
use std::path::Path;

use clap::Parser as _;
use journal_support::*;
use segel::cli::journal::{JournalArgs, run};
use segel::event::{Class, Seq};
use segel::journal::{JournalConfig, JournalReader, Outlet};

#[derive(clap::Parser)]
struct Typed {
    #[command(flatten)]
    args: JournalArgs,
}

/// The exit code as text, since codes do not compare.
fn typed(dir: &Path, words: &[&str]) -> Result<String, String> {
    let typed = Typed::try_parse_from(["segel"].iter().chain(words)).map_err(|error| error.to_string())?;
    run(typed.args, dir).map(|code| format!("{code:?}")).map_err(|error| format!("{error:#}"))
}

fn good() -> Result<String, String> {
    Ok(format!("{:?}", std::process::ExitCode::SUCCESS))
}

fn bad() -> Result<String, String> {
    Ok(format!("{:?}", std::process::ExitCode::FAILURE))
}

#[tokio::test]
async fn the_journal_is_shown_counted_and_checked_while_the_daemon_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 8_000, ..JournalConfig::default() });
    for n in 0..60 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).with_container("CSQU3054383").unwrap().into()).await.unwrap();
    }
    journal.advance(&Outlet::named("uplink"), Class::Alarm, Seq(7));
    let reader = journal.reader().unwrap();
    until(|| !reader.outlets().unwrap().is_empty()).await;
    for words in [
        &["tail"][..],
        &["tail", "-n", "3", "--json"],
        &["tail", "--class", "alarm", "--type", "FORCED_OPEN", "--seal", "JT-3", "--since", "3650d"],
        &["stats"],
        &["stats", "--json"],
        &["verify"],
        &["verify", "--json"],
    ] {
        assert_eq!(typed(dir.path(), words), good(), "{words:?}");
    }
    journal.close().await.unwrap();
    assert_eq!(typed(dir.path(), &["tail"]), good());
}

#[tokio::test]
async fn received_documents_are_checked_without_the_journal_and_a_change_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..10 {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    let documents = all(&journal.reader().unwrap(), Class::Alarm);
    let lines: Vec<_> = documents.iter().map(|record| String::from_utf8(record.doc.clone()).unwrap()).collect();
    let nowhere = dir.path().join("nowhere");
    let check = |lines: &[String], more: &[&str]| {
        let file = dir.path().join("received.jsonl");
        fs::write(&file, lines.join("\n")).unwrap();
        typed(&nowhere, &[&["verify", "--received", file.to_str().unwrap()], more].concat())
    };
    assert_eq!(check(&lines, &[]), good());
    assert_eq!(check(&lines, &["--json"]), good());
    assert_eq!(check(&[&lines[..], &lines[5..]].concat(), &[]), good(), "repeats are nothing wrong");
    assert_eq!(check(&lines[4..], &[]), bad(), "the first four are missing");
    assert_eq!(check(&lines[4..], &["--from", "alarm=5"]), good(), "and that was said");
    assert_eq!(check(&[], &[]), bad(), "nothing is no proof");
    let mut changed = lines.clone();
    changed[3] = changed[3].replace("JT-3", "JT-4");
    assert_eq!(check(&changed, &[]), bad());
    changed[3] = "not a document".to_owned();
    assert_eq!(check(&changed, &[]), bad());
}

#[tokio::test]
async fn a_changed_row_and_a_changed_document_are_found_in_the_journal() {
    for change in [
        "UPDATE event SET doc = CAST(replace(CAST(doc AS TEXT), 'JT-3', 'JT-4') AS BLOB) WHERE seq = 4",
        "UPDATE event SET subject = 'seal/JT-9' WHERE seq = 4",
        "UPDATE event SET wall = wall + 1 WHERE seq = 4",
        "UPDATE event SET octets = octets + 1 WHERE seq = 4",
        "DELETE FROM event WHERE seq = 4",
        "DELETE FROM event WHERE seq = 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        for n in 0..10 {
            journal.append(entry(Class::Receipt, n)).await.unwrap();
        }
        journal.close().await.unwrap();
        assert_eq!(typed(dir.path(), &["verify"]), good());
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        assert_eq!(hand.execute(change, []).unwrap(), 1, "{change}");
        drop(hand);
        assert_eq!(typed(dir.path(), &["verify"]), bad(), "{change}");
        assert!(!JournalReader::open(dir.path()).unwrap().verify(|_| {}).unwrap().is_good(), "{change}");
    }
}

#[test]
fn without_a_journal_the_remedy_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for words in [&["tail"][..], &["verify"], &["stats"]] {
        let said = typed(dir.path(), words).unwrap_err();
        assert!(said.contains("there is no journal in") && said.contains("state directory"), "{said}");
    }
    let said = typed(dir.path(), &["verify", "--received", "/nonexistent/file"]).unwrap_err();
    assert!(said.contains("one document per line"), "{said}");
    assert!(typed(dir.path(), &["tail", "--class", "news"]).unwrap_err().contains("alarm, receipt, telemetry"));
}
