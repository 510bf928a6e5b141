//! `segel journal archive` and `compact`, with the gate running and without.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use journal_support::*;
use segel::api::{self, ApiError};
use segel::archive::errand::Line;
use segel::archive::{Demand, Older, verify};
use segel::daemon::Daemon;
use segel::event::{Class, Seq};
use segel::journal::{Journal, JournalReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_segel");

/// A gate's directory with its configuration.
struct Gate {
    dir: tempfile::TempDir,
}

impl Gate {
    fn new() -> Self {
        let gate = Self { dir: tempfile::tempdir().unwrap() };
        let dir = gate.dir.path().display();
        let config = format!(
            "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nstate_dir = \"{dir}/state\"\nruntime_dir = \"{dir}/run\"\n\
             [uplink]\nenabled = false\n[broker]\nenabled = false\n[journal]\narchive_every_s = 1\n"
        );
        fs::write(gate.config(), config).unwrap();
        fs::create_dir(gate.state()).unwrap();
        gate
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("segel.toml")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn archive(&self) -> PathBuf {
        self.state().join("archive")
    }

    fn configure(&self, more: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), text + more).unwrap();
    }

    async fn record(&self, class: Class, count: u64) {
        let (journal, _) = open(&self.state());
        let all: Vec<u64> = (0..count).collect();
        for some in all.chunks(256) {
            journal.append_all(some.iter().map(|n| entry(class, *n)).collect()).await.unwrap();
        }
        journal.close().await.unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("journal").args(words).arg("--config").arg(self.config()).kill_on_drop(true);
        command
    }

    async fn type_in(&self, words: &[&str]) -> Output {
        soon(self.command(words).output()).await.unwrap()
    }

    fn daemon(&self) -> Daemon {
        Daemon::new(PROGRAM, self.dir.path())
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn archived(&self, class: Class) -> u64 {
        JournalReader::open(&self.state()).unwrap().segments(class).unwrap().last().map_or(0, |segment| segment.last.0)
    }

    fn assert_shelf_is_good(&self) {
        let found = verify(&self.archive(), &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(found.is_good(), "{found:#?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn without_a_gate_the_command_archives_and_compacts_by_itself() {
    let gate = Gate::new();
    gate.record(Class::Alarm, 300).await;
    let before = fs::metadata(gate.state().join("journal.db")).unwrap().len();
    let young = gate.type_in(&["archive", "--older-than", "36500d"]).await;
    assert!(young.status.success() && text(&young.stdout).contains("nothing was archived"), "{young:?}");
    let said = gate.type_in(&["archive", "--older-than", "0"]).await;
    assert!(said.status.success(), "{said:?}");
    assert!(text(&said.stdout).contains("alarm 1 to 299: "), "{said:?}");
    assert!(text(&said.stdout).contains("1 segment with 299 events"), "{said:?}");
    gate.assert_shelf_is_good();
    let said = gate.type_in(&["compact", "--json"]).await;
    let line: Line = serde_json::from_slice(&said.stdout).unwrap();
    let Line::Compacted(compacted) = line else { panic!("{line:?}") };
    assert!(compacted.bytes < before && !compacted.stopped, "{compacted:?}");
    assert!(fs::metadata(gate.state().join("journal.db")).unwrap().len() < before);
    let totals = JournalReader::open(&gate.state()).unwrap().totals().unwrap();
    assert_eq!((totals[0].archived, totals[0].held), (299, 1));
    assert!(gate.type_in(&["verify"]).await.status.success());
    // What stands in a segment is what `verify --received` reads.
    let reader = JournalReader::open(&gate.state()).unwrap();
    let segment = &reader.segments(Class::Alarm).unwrap()[0];
    let file = Path::new(&segment.place).join(format!("{}.jsonl", segment.name));
    assert!(gate.type_in(&["verify", "--received", file.to_str().unwrap()]).await.status.success());
}

#[tokio::test]
async fn the_running_gate_does_it_one_at_a_time_and_stops_when_the_client_goes_away() {
    let gate = Gate::new();
    gate.configure("retention_days = 0\n");
    gate.record(Class::Telemetry, 20_000).await;
    let mut daemon = gate.daemon();
    daemon.start().await.unwrap();
    let (began, beginning) = tokio::sync::oneshot::channel();
    let (stop, run) = (CancellationToken::new(), gate.run_dir());
    let first = {
        let (stop, run) = (stop.clone(), run.clone());
        tokio::spawn(async move {
            let mut began = Some(began);
            api::demand(&run, Demand::Archive(Older::All), &stop, |line| {
                if matches!(line, Line::Sealing { .. }) {
                    let _ = began.take().map(|began| began.send(()));
                }
            })
            .await
        })
    };
    soon(beginning).await.unwrap();
    for demand in [Demand::Archive(Older::All), Demand::Compact] {
        let said = api::demand(&run, demand, &CancellationToken::new(), |_| {}).await.unwrap_err();
        assert!(matches!(&said, ApiError::Refused { reason } if reason.contains("already running")), "{said:?}");
    }
    let typed = gate.type_in(&["archive", "--older-than", "0"]).await;
    assert_eq!(typed.status.code(), Some(10), "{typed:?}");
    stop.cancel();
    assert!(first.await.unwrap().unwrap().is_none());
    assert_eq!(gate.archived(Class::Telemetry), 0, "nothing is half done");
    // The gate notices within a page or a line, and is free for the next.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let typed = loop {
        let typed = gate.type_in(&["archive", "--older-than", "0", "--json"]).await;
        if typed.status.code() != Some(10) {
            break typed;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(typed.status.success(), "{typed:?}");
    let lines: Vec<Line> = text(&typed.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [Line::Segment(put), Line::Archived(round)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((put.archived_class, put.last, round.documents), (Class::Telemetry, Seq(19_999), 19_999));
    gate.assert_shelf_is_good();
    assert!(gate.type_in(&["compact"]).await.status.success());
    assert!(daemon.stop().await.unwrap().success());
    assert!(gate.type_in(&["verify"]).await.status.success());
}

#[tokio::test]
async fn the_gate_archives_by_itself_what_is_older_than_the_retention() {
    let gate = Gate::new();
    gate.configure("retention_days = 1\n");
    // These events say they are of 2026-11-18, so they are due when the machine's clock is right.
    gate.record(Class::Alarm, 50).await;
    gate.record_young().await;
    let mut daemon = gate.daemon();
    daemon.start().await.unwrap();
    until(|| gate.archived(Class::Alarm) == 50).await;
    assert!(daemon.stop().await.unwrap().success());
    gate.assert_shelf_is_good();
}

impl Gate {
    /// One alarm of now.
    async fn record_young(&self) {
        let (journal, _) = open(&self.state());
        let mut draft = draft(Class::Alarm, 0, 10);
        draft.stamp.wall = jiff::Timestamp::now();
        journal.append(draft.into()).await.unwrap();
        journal.close().await.unwrap();
    }
}

#[tokio::test]
async fn ctrl_c_ends_it_with_130_and_a_second_run_goes_on() {
    let gate = Gate::new();
    gate.record(Class::Telemetry, 20_000).await;
    let child = gate
        .command(&["archive", "--older-than", "0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let part = || walk(&gate.archive()).iter().any(|path| path.extension().is_some_and(|ending| ending == "part"));
    until(part).await;
    rustix::process::kill_process(rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), rustix::process::Signal::INT)
        .unwrap();
    let said = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    assert!(text(&said.stderr).contains("interrupted: nothing was archived; a second run goes on from there"), "{said:?}");
    assert_eq!(gate.archived(Class::Telemetry), 0);
    assert!(gate.type_in(&["verify"]).await.status.success());
    let said = gate.type_in(&["archive", "--older-than", "0"]).await;
    assert!(said.status.success(), "{said:?}");
    assert_eq!(gate.archived(Class::Telemetry), 19_999);
    gate.assert_shelf_is_good();
}

/// All files below.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().flat_map(|entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[tokio::test]
async fn a_journal_that_is_open_elsewhere_without_an_answer_is_named_with_its_holder() {
    let gate = Gate::new();
    gate.record(Class::Alarm, 3).await;
    let (_journal, _): (Journal, _) = open(&gate.state());
    let said = gate.type_in(&["compact"]).await;
    assert_eq!(said.status.code(), Some(21), "{said:?}");
    let said = text(&said.stderr);
    assert!(said.contains(&format!("pid {}", std::process::id())) && said.contains("api.sock"), "{said}");
    let said = gate.type_in(&["archive", "--to", "/tmp"]).await;
    assert!(text(&said.stderr).contains("stop it first"), "{said:?}");
}

#[tokio::test]
async fn another_directory_is_taken_only_if_it_is_there() {
    let gate = Gate::new();
    gate.record(Class::Alarm, 30).await;
    let usb = gate.dir.path().join("usb");
    let said = gate.type_in(&["archive", "--older-than", "0", "--to", usb.to_str().unwrap()]).await;
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(text(&said.stderr).contains("mount the disk"), "{said:?}");
    fs::create_dir(&usb).unwrap();
    let said = gate.type_in(&["archive", "--older-than", "0", "--to", usb.to_str().unwrap()]).await;
    assert!(said.status.success(), "{said:?}");
    assert!(verify(&usb, &mut |_| ControlFlow::Continue(())).unwrap().is_good());
    let empty = Gate::new();
    let said = empty.type_in(&["archive"]).await;
    assert!(text(&said.stderr).contains("there is no journal in"), "{said:?}");
    assert!(!empty.state().join("journal.db").exists());
}
