//! An archive on a disk of its own that is full, taken out, and put back, under a gate that runs on.

use std::{fs, ops::ControlFlow, process::ExitCode, time::Duration};

use anyhow::ensure;
use libtest_mimic::Arguments;
use segel::{
    archive::verify,
    daemon::Daemon,
    event::{Assurance, BootId, Class, ClockQuality, Draft, EventType, Seq, Source, Stamp, Subject},
    journal::{Entry, Journal, JournalConfig, JournalReader},
};
use segel_hardware_tests::{
    disk::Disk,
    peers::{Peer, on_runtime, trial},
};
use serde_json::json;
use tokio::time::{Instant, sleep};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events that fill some 400 KiB of archive.
const EVENTS: u64 = 1_000;

fn main() -> ExitCode {
    let trials =
        vec![trial("a_full_and_a_removed_archive_disk_are_told_once_and_everything_goes_on_when_it_is_back", &[Peer::Tmpfs], || {
            on_runtime(a_full_and_a_removed_disk())
        })];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The words the gate recorded about its archive, with their reasons.
fn told(state: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let reader = JournalReader::open(state)?;
    let mut told = Vec::new();
    for class in [Class::Alarm, Class::Receipt] {
        reader.each(class, |record| {
            let document: serde_json::Value = serde_json::from_slice(&record.doc).unwrap_or_default();
            if record.kind.starts_with("ARCHIVE_") {
                told.push(format!("{} {}", record.kind, document["data"]["reason"].as_str().unwrap_or_default()));
            }
        })?;
    }
    Ok(told)
}

async fn until(what: &str, mut so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !so()? {
        ensure!(Instant::now() < deadline, "{what}: this should have become true long ago");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn record(state: &std::path::Path) -> anyhow::Result<()> {
    let journal = Journal::open(state, JournalConfig::default(), Source::new("idsrg", "g01")?)?.0;
    let wall = jiff::Timestamp::now() - Duration::from_secs(10 * 86_400);
    for from in (0..EVENTS).step_by(100) {
        let draft = |n| {
            let stamp = Stamp { wall, monotonic_ms: n, boot: BootId(uuid::Uuid::nil()), clock: ClockQuality::Ntp };
            Draft::new(Class::Telemetry, EventType::DeviceStatus, Subject::gateway(), stamp, Assurance::Own, &json!({ "n": n }))
        };
        let entries: Result<Vec<Entry>, _> = (from..from + 100).map(|n| draft(n).map(Entry::new)).collect();
        journal.append_all(entries?).await?;
    }
    journal.close().await?;
    Ok(())
}

async fn a_full_and_a_removed_disk() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (place, state) = (dir.path().display(), dir.path().join("state"));
    let disk = Disk::new("64k")?;
    let config = format!(
        "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nstate_dir = \"{place}/state\"\nruntime_dir = \"{place}/run\"\n\
         [uplink]\nenabled = false\n[broker]\nenabled = false\n\
         [journal]\nretention_days = 1\narchive_every_s = 1\narchive_removable = true\narchive_dir = \"{}\"\n",
        disk.path().display()
    );
    fs::write(dir.path().join("segel.toml"), config)?;
    fs::create_dir(&state)?;
    record(&state).await?;
    let mut gate = Daemon::new(PROGRAM, dir.path());
    gate.start().await?;

    until("the full disk is told", || Ok(told(&state)? == ["ARCHIVE_FAILING disk_full"])).await?;
    until("what was begun is removed", || Ok(disk.files().is_empty())).await?;
    // It is tried again every second, and not told again.
    sleep(Duration::from_millis(2_500)).await;
    ensure!(told(&state)? == ["ARCHIVE_FAILING disk_full"], "{:?}", told(&state)?);
    ensure!(JournalReader::open(&state)?.segments(Class::Telemetry)?.is_empty());

    disk.resize("8m")?;
    until("room is used", || Ok(told(&state)?.len() == 2)).await?;
    let segments = JournalReader::open(&state)?.segments(Class::Telemetry)?;
    ensure!(segments.last().map(|segment| segment.last) == Some(Seq(EVENTS - 1)), "{segments:?}");
    let shelf = verify(disk.path(), &mut |_| ControlFlow::Continue(()))?;
    ensure!(shelf.is_good(), "{shelf:#?}");

    until("the disk can be taken out", || Ok(disk.take_out().is_ok())).await?;
    let expected = ["ARCHIVE_FAILING disk_full", "ARCHIVE_FAILING disk_not_mounted", "ARCHIVE_WORKING disk_full"];
    until("the missing disk is told", || Ok(told(&state)? == expected)).await?;
    ensure!(fs::read_dir(disk.path())?.next().is_none(), "nothing is written below the missing disk");
    disk.put_in("8m")?;
    until("its return is told", || Ok(told(&state)?.len() == 4)).await?;
    ensure!(gate.status().await.is_ok());
    ensure!(gate.stop().await?.success());
    let found = JournalReader::open(&state)?.verify(|_| {})?;
    ensure!(found.is_good(), "{found:#?}");
    Ok(())
}
