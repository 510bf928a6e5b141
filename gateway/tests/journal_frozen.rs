//! Do not change these tests, nor the file they read. Journals like it are in the field.
//!
//! `hardware-tests/frozen/journal-v1.db` was written by the version that knew schema 1 and nothing later: 317 events of
//! all classes, of which 158 were dropped with their `GAP`s, cursors of two outlets and notes. Every version after it
//! opens it, verifies it, and goes on writing in it.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::fs;
use std::path::Path;

use journal_support::*;
use segel::event::{Class, Digest, Seq};
use segel::journal::{Beginning, JournalReader, Outlet};

/// SHA-256 of the file.
const FILE: &str = "5bf43b18f4d3920cbb3231cc108d5ebfddf71ebaf79f2272bc9d9771ff5862d3";
const JOURNAL: &str = "b023cf66-1fc7-4b5d-b315-087466b8a407";
const BROKER: Outlet = Outlet::named("broker");
const UPLINK: Outlet = Outlet::named("uplink");

/// The frozen journal in a directory of its own, as its version left it.
fn frozen() -> tempfile::TempDir {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware-tests/frozen/journal-v1.db");
    let bytes = fs::read(file).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), FILE, "the file is as it was");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal.db"), bytes).unwrap();
    dir
}

/// What the version that wrote it would say of it.
fn assert_as_written(reader: &JournalReader) {
    for (class, first, last, digest) in [
        (Class::Alarm, 1, 55, "09d1498804928283ea6b5c753da4e5345d33fbea2f1e6ab5f9bde1f35f9436ae"),
        (Class::Receipt, 1, 64, "ee027f2029b65713f659af96d89e2767a4b6f7be2fff9cfc05a917f2faf1b5d5"),
        (Class::Telemetry, 159, 198, "491dd678c9cb070eea30d61100a2367d65f6947014be6c9af0be60add4100894"),
    ] {
        let records = all(reader, class);
        let written: Vec<_> = records.iter().take_while(|record| record.seq <= Seq(last)).collect();
        assert_eq!((written[0].seq, written.last().unwrap().seq), (Seq(first), Seq(last)), "{class}");
        assert_eq!(Digest::of(&written.last().unwrap().doc).to_string(), digest, "{class}");
    }
    for (outlet, class, seq) in [
        (BROKER, Class::Receipt, 47),
        (BROKER, Class::Telemetry, 158),
        (UPLINK, Class::Alarm, 33),
        (UPLINK, Class::Receipt, 26),
        (UPLINK, Class::Telemetry, 167),
    ] {
        assert_eq!(reader.cursor(&outlet, class).unwrap(), Seq(seq), "{outlet} {class}");
    }
    let notes: Vec<_> = reader.notes("work").unwrap().into_iter().map(|note| (note.key, String::from_utf8(note.value).unwrap())).collect();
    let expected = [("alone", "147"), ("k0", "277"), ("k1", "215"), ("k2", "280"), ("k3", "279"), ("k4", "130")];
    assert_eq!(notes, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_journal_of_version_1_is_opened_verified_and_goes_on() {
    let dir = frozen();
    let (journal, opening) = open(dir.path());
    assert_eq!((opening.beginning, opening.journal.to_string().as_str()), (Beginning::Resumed, JOURNAL));
    for (class, last) in [(Class::Alarm, 55), (Class::Receipt, 64), (Class::Telemetry, 198)] {
        assert_eq!(opening.heads.of(class), Seq(last));
    }
    let reader = journal.reader().unwrap();
    assert_as_written(&reader);
    assert_verifies(&reader);
    let accounts = reader.accounts(&UPLINK).unwrap();
    let telemetry = accounts.of(Class::Telemetry);
    assert_eq!((telemetry.recorded, telemetry.delivered, telemetry.pending, telemetry.dropped), (198, 64, 31, 103));

    for (class, next) in [(Class::Alarm, 56), (Class::Receipt, 65), (Class::Telemetry, 199)] {
        assert_eq!(journal.append(entry(class, next)).await.unwrap().seq, Seq(next), "its numbers go on");
    }
    assert_verifies(&journal.reader().unwrap());
    journal.close().await.unwrap();

    let (journal, opening) = open(dir.path());
    assert_eq!((opening.beginning, opening.journal.to_string().as_str()), (Beginning::Resumed, JOURNAL));
    assert_as_written(&journal.reader().unwrap());
    assert_verifies(&journal.reader().unwrap());
    assert!(received(&journal.reader().unwrap()).is_whole());
    journal.close().await.unwrap();
}

#[test]
fn a_journal_of_version_1_is_read_without_being_changed() {
    let dir = frozen();
    let reader = JournalReader::open(dir.path()).unwrap();
    assert_as_written(&reader);
    assert_verifies(&reader);
    drop(reader);
    let bytes = fs::read(dir.path().join("journal.db")).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), FILE, "whoever only reads leaves it as it is");
}
