//! `segel journal export` and `tail --follow`: long work beside a gate that goes on.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_cli;
mod journal_support;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use journal_cli::*;
use journal_support::*;
use segel::event::Class;
use segel::journal::{Journal, JournalConfig};
use sha2::Digest as _;

/// The log is cut back to this many bytes; one commit may stand beyond it.
const LOG_LIMIT: u64 = 8 * 1024 * 1024 + 512 * 1024;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn record(journal: &Journal, class: Class, numbers: std::ops::Range<u64>, size: usize) {
    for n in numbers {
        journal.append(draft(class, n, size).into()).await.unwrap();
    }
}

#[tokio::test]
async fn an_export_of_everything_is_whole_and_its_file_is_what_its_sum_says() {
    let dir = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("all.jsonl");
    let out = file.to_str().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 20_000, ..JournalConfig::default() });
    for n in 0..300 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).into()).await.unwrap();
    }
    let said = segel(dir.path(), &["export", "--out", out, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let bytes = fs::read(&file).unwrap();
    let sum = hex::encode(sha2::Sha256::digest(&bytes));
    assert_eq!(fs::read_to_string(to.path().join("all.jsonl.sha256")).unwrap(), format!("{sum}  all.jsonl\n"));
    assert_eq!(said.json()["sha256"], sum);
    assert_eq!(names(to.path()), ["all.jsonl", "all.jsonl.sha256"]);
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
    assert_eq!(said.json()["events"], lines);
    assert!(said.err.contains("telemetry begins at"), "what an export lacks is said: {}", said.err);
    assert_eq!(segel(Path::new("/nonexistent"), &["verify", "--received", out]).code, 0);
    assert_eq!(segel(dir.path(), &["export"]).out.as_bytes(), bytes, "the same to standard output");
    for class in Class::ALL {
        let documents: Vec<u8> =
            all(&journal.reader().unwrap(), *class).into_iter().flat_map(|record| [record.doc, b"\n".to_vec()].concat()).collect();
        assert_eq!(segel(dir.path(), &["export", "--class", class.as_str()]).out.as_bytes(), documents, "{class}, byte for byte");
    }
    let part = segel(dir.path(), &["export", "--class", "alarm", "--from-seq", "3", "--to-seq", "5", "--type", "forced-open"]);
    assert_eq!((part.out.lines().count(), part.err.as_str()), (3, ""));
    let bounded =
        segel(dir.path(), &["export", "--since", "2026-11-18T11:06:40.010Z", "--until", "2026-11-18T11:06:40.012Z", "--seal", "jt-3"]);
    assert_eq!(bounded.out.lines().count(), 1, "{bounded:?}");
    let nothing = segel(dir.path(), &["export", "--class", "alarm", "--from-seq", "1000"]);
    assert!(nothing.code == 0 && nothing.err.contains("no alarm event from number 1000"), "{nothing:?}");

    let said = segel(dir.path(), &["export", "--out", out]);
    assert!(said.code == 1 && said.err.contains("--force"), "{said:?}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "what was there stays");
    assert_eq!(segel(dir.path(), &["export", "--class", "alarm", "--out", out, "--force"]).code, 0);
    assert!(fs::read(&file).unwrap().len() < bytes.len());
    let own = dir.path().join("journal.db");
    let said = segel(dir.path(), &["export", "--out", own.to_str().unwrap(), "--force"]);
    assert!(said.code == 2 && said.err.contains("belongs to the journal itself"), "{said:?}");
    journal.close().await.unwrap();
}

#[tokio::test]
async fn an_export_broken_off_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let to = tempfile::tempdir().unwrap();
    let file = to.path().join("all.jsonl");
    bulky(dir.path(), 25_000, 4_000).await;

    let running = Running::start(&mut command(dir.path(), &["export", "--out", file.to_str().unwrap()]));
    wait_for(|| to.path().join("all.jsonl.part").exists());
    running.interrupt();
    let said = running.end();
    assert_eq!((said.code, said.out.as_str()), (130, ""), "{said:?}");
    assert!(said.err.contains("interrupted after") && said.err.contains("nothing is left of it"), "{}", said.err);
    assert!(names(to.path()).is_empty(), "{:?}", names(to.path()));

    // A disk that takes no more: files may have 1 MiB here.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_segel"), "journal", "export"]);
    let said: Said = limited.arg("--state-dir").arg(dir.path()).arg("--out").arg(&file).output().unwrap().into();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("nothing is left of it") && said.err.contains("give --out elsewhere"), "{}", said.err);
    assert!(names(to.path()).is_empty(), "{:?}", names(to.path()));
}

#[tokio::test]
async fn a_slow_export_holds_neither_memory_nor_the_log() {
    let dir = tempfile::tempdir().unwrap();
    bulky(dir.path(), 10_000, 4_000).await;
    let (journal, _) = open(dir.path());
    let log = dir.path().join("journal.db-wal");
    let length = || fs::metadata(&log).map_or(0, |file| file.len());

    let mut running = Running::start(&mut command(dir.path(), &["export", "--class", "telemetry"]));
    let mut out = running.take_stdout();
    let mut taken = vec![0; 2 * 1024 * 1024];
    for n in 0..6 {
        // It now waits for somebody to read on, in the middle of the journal, while the gate records.
        if let Err(fault) = out.read_exact(&mut taken) {
            panic!("{fault}: {:?}", running.end());
        }
        record_big(&journal, n * 1_000).await;
        assert!(length() < LOG_LIMIT, "the log has {} bytes beside a slow export", length());
    }
    let peak = running.status().lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").to_owned();
    assert!(peak.parse::<u64>().unwrap() < 64 * 1024, "{peak} kB at the most, however much is exported");
    drop(out);
    assert_eq!(running.end().code, 0);

    // The same with a reader that does hold: this is what must not be.
    let holding = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    holding.execute_batch("BEGIN; SELECT count(*) FROM meta;").unwrap();
    for n in 6..12 {
        record_big(&journal, n * 1_000).await;
    }
    assert!(length() > LOG_LIMIT, "the test can fail: {} bytes", length());
    holding.execute_batch("ROLLBACK").unwrap();
    journal.close().await.unwrap();
}

/// Some three megabytes of log.
async fn record_big(journal: &Journal, from: u64) {
    for n in 0..3 {
        let entries = (0..60).map(|i| draft(Class::Telemetry, from + n * 100 + i, 12_000).into()).collect();
        journal.append_all(entries).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_dropped_under_a_slow_export_is_said_and_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 6_000_000, ..JournalConfig::default() });
    for n in 0..5 {
        let entries = (0..100).map(|i| draft(Class::Telemetry, n * 100 + i, 10_000).into()).collect();
        journal.append_all(entries).await.unwrap();
    }
    let mut running = Running::start(&mut command(dir.path(), &["export"]));
    let words = running.words();
    let mut out = running.take_stdout();
    let mut received = vec![0; 1_000];
    out.read_exact(&mut received).unwrap();
    let front = || journal.reader().unwrap().front(Class::Telemetry).unwrap().last.0;
    let mut n = 1_000;
    while front() < 400 {
        let entries = (0..100).map(|i| draft(Class::Telemetry, n + i, 10_000).into()).collect();
        journal.append_all(entries).await.unwrap();
        n += 100;
    }
    out.read_to_end(&mut received).unwrap();
    assert_eq!(running.end().code, 0);
    let said = words.rest().join("\n");
    assert!(said.contains("dropped or archived while this went on"), "{said}");
    let file = dir.path().join("slow.jsonl");
    fs::write(&file, received).unwrap();
    let found = segel(dir.path(), &["verify", "--received", file.to_str().unwrap()]);
    assert!(found.code == 0 && found.out.contains("dropped, as a GAP says"), "{found:?}");
    journal.close().await.unwrap();
}

#[tokio::test]
async fn following_survives_whatever_happens_to_the_journal_and_ends_with_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    record(&journal, Class::Alarm, 0..3, 10).await;
    let mut running = Running::start(&mut command(dir.path(), &["tail", "-n", "1", "--follow", "--json", "--class", "alarm"]));
    let (lines, words) = (running.lines(), running.words());
    let shows = |n: u64| {
        let line = lines.next();
        assert!(line.contains(&format!("\"data\":{{\"n\":{n},")), "{n} should be next: {line}");
    };
    shows(2);
    record(&journal, Class::Alarm, 3..5, 10).await;
    record(&journal, Class::Telemetry, 0..3, 10).await;
    shows(3);
    shows(4);
    // The gate stops and starts.
    journal.close().await.unwrap();
    let (journal, _) = open(dir.path());
    record(&journal, Class::Alarm, 5..6, 10).await;
    shows(5);
    // It is found damaged, set aside by the next start, and another begins.
    journal.condemn().unwrap();
    record(&journal, Class::Alarm, 6..7, 10).await;
    journal.close().await.unwrap();
    let (journal, _) = open(dir.path());
    record(&journal, Class::Alarm, 100..102, 10).await;
    shows(6);
    assert!(words.until("another journal begins here").contains(&journal.reader().unwrap().journal().to_string()));
    assert!(words.next().contains("journal.damaged-"));
    shows(100);
    shows(101);
    // It is written anew as a whole, under the same name, as one who makes it smaller does: the same numbers in other places.
    journal.close().await.unwrap();
    let path = dir.path().join("journal.db");
    let hand = rusqlite::Connection::open(&path).unwrap();
    hand.execute("DELETE FROM event WHERE class = 0 AND seq = 1", []).unwrap();
    hand.execute("INSERT INTO dropped (class, last, bytes, digest) SELECT 0, 1, 0, zeroblob(32)", []).unwrap();
    hand.execute("VACUUM INTO ?1", [dir.path().join("smaller.db").to_str().unwrap()]).unwrap();
    drop(hand);
    fs::rename(dir.path().join("smaller.db"), &path).unwrap();
    for part in ["journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(dir.path().join(part));
    }
    let (journal, _) = open(dir.path());
    record(&journal, Class::Alarm, 102..103, 10).await;
    shows(102);
    // It is gone for a while.
    journal.close().await.unwrap();
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    words.until("waiting for a journal");
    fs::rename(dir.path().join("elsewhere"), &path).unwrap();
    words.until("the journal is there again");
    running.interrupt();
    assert_eq!(running.end().code, 0);
    assert_eq!(lines.rest(), Vec::<String>::new(), "nothing was shown twice");
}

#[tokio::test]
async fn what_is_dropped_before_it_could_be_shown_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 400_000, ..JournalConfig::default() });
    record(&journal, Class::Telemetry, 0..1, 10).await;
    let mut running = Running::start(&mut command(dir.path(), &["tail", "-n", "1", "--follow", "--json"]));
    let words = running.words();
    let mut out = running.take_stdout();
    out.read_exact(&mut [0; 100]).unwrap();
    // Nobody reads on: it stands with a full pipe while telemetry is dropped in front of it.
    let mut n = 1;
    while journal.reader().unwrap().front(Class::Telemetry).unwrap().last.0 < 300 {
        journal.append_all((0..50).map(|i| draft(Class::Telemetry, n + i, 10_000).into()).collect()).await.unwrap();
        n += 50;
    }
    let reading = std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
    assert!(words.until("before they could be shown").contains("telemetry"));
    running.interrupt();
    assert_eq!(running.end().code, 0);
    reading.join().unwrap().unwrap();
    journal.close().await.unwrap();
}

#[tokio::test]
async fn following_a_quiet_journal_ends_when_nobody_reads_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    record(&journal, Class::Alarm, 0..1, 10).await;
    let mut running = Running::start(command(dir.path(), &["tail", "--follow"]).stdin(Stdio::null()));
    let mut out = running.take_stdout();
    out.read_exact(&mut [0; 20]).unwrap();
    drop(out);
    let said = running.end();
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    journal.close().await.unwrap();
}
