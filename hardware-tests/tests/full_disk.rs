//! The whole gate on a disk of a few MiB that fills up: telemetry is refused and counted, alarms are recorded into the
//! reserve, everybody is told, and when space is back everything goes on by itself and the books agree.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use libtest_mimic::Arguments;
use segel::{event::Class, space::levels::Level, status::Status};
use segel_hardware_tests::{
    ledger::{Ledger, events},
    peers::{Peer, SmallDisk, on_runtime, trial},
    rig::{PATIENCE, Rig, RigConfig},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Received};
use tokio::time::sleep;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// The disk; SQLite's log alone takes up to four MiB before it is given back.
const DISK_MIB: u32 = 8;
/// What is left when the disk is merely scarce, in bytes: below the limit of one MiB.
const SCARCE_BYTES: u64 = 700 * 1024;
/// Tags that pass while telemetry is refused.
const TAGS: u32 = 50;
/// How often a test looks again.
const LOOK: Duration = Duration::from_millis(50);
const CONFIG: &str = "[journal]\nspace_warn_mib = 2\nspace_scarce_mib = 1\nreserve_mib = 1";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("a_full_disk_refuses_telemetry_keeps_alarms_and_ends_by_itself", &[Peer::SmallDisk], || {
            on_runtime(a_full_disk_refuses_telemetry_keeps_alarms_and_ends_by_itself())
        }),
        trial("a_disk_full_to_the_last_byte_without_a_reserve_loses_nothing_acknowledged", &[Peer::SmallDisk], || {
            on_runtime(a_disk_full_to_the_last_byte_without_a_reserve_loses_nothing_acknowledged())
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A file that takes room.
struct Ballast(PathBuf);

impl Ballast {
    /// Takes all but so many bytes; with 0, until the disk says it is full.
    fn leave(dir: &Path, bytes: u64) -> anyhow::Result<Self> {
        let ballast = Self(dir.join("ballast"));
        ballast.grow(bytes)?;
        Ok(ballast)
    }

    fn grow(&self, leave: u64) -> anyhow::Result<()> {
        let mut file = File::options().append(true).create(true).open(&self.0)?;
        let piece = [0x5A; 4_096];
        while segel::space::disk::Disk::look(self.0.parent().context("a file has a directory")?)?.free_bytes > leave {
            match file.write_all(&piece) {
                Err(full) if full.kind() == std::io::ErrorKind::StorageFull => break,
                other => other?,
            }
        }
        Ok(())
    }

    fn throw_away(self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.0)?)
    }
}

async fn gate_on_a_small_disk(customs: &CustomsBroker, config: &str) -> anyhow::Result<(Rig, SmallDisk)> {
    let config = RigConfig { customs: Some(customs.address()), seals: 2, more: config.to_owned() };
    let mut rig = Rig::build(PROGRAM, &config)?;
    fs::create_dir(rig.state_dir())?;
    let disk = SmallDisk::mount(&rig.state_dir(), DISK_MIB)?;
    rig.open().await?;
    for seal in 0..rig.seals.len() {
        rig.advertise(seal)?;
    }
    rig.tag_passes(0).await?;
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 1).await?;
    Ok((rig, disk))
}

fn refused(status: &Status) -> u64 {
    status.accounts.iter().filter(|account| account.class == Class::Telemetry).map(|account| account.refused).sum()
}

/// What the retained state of the gateway says of the disk, as monitors see it.
fn shown_level(seen: &[Received]) -> Option<String> {
    let last = seen.iter().rev().find(|message| message.topic.ends_with("/state/gateway"))?;
    let state: serde_json::Value = serde_json::from_slice(&last.payload).ok()?;
    state["summary"]["storage"]["level"].as_str().map(ToOwned::to_owned)
}

async fn a_full_disk_refuses_telemetry_keeps_alarms_and_ends_by_itself() -> anyhow::Result<()> {
    let customs = CustomsBroker::start().await?;
    let (mut rig, disk) = gate_on_a_small_disk(&customs, CONFIG).await?;
    let monitor = rig.monitor().await?;
    let status = rig.gate.until(PATIENCE, |status| status.storage.reserve == "held" && status.storage.free_bytes.is_some()).await?;
    anyhow::ensure!(status.storage.level == Level::Plenty && refused(&status) == 0, "{:?}", status.storage);

    // Somebody copies something large to the disk.
    let ballast = Ballast::leave(&rig.state_dir(), SCARCE_BYTES)?;
    rig.gate.until(PATIENCE, |status| status.storage.level == Level::Scarce && status.storage.telemetry_refused).await?;
    monitor.until(PATIENCE, |seen| shown_level(seen).as_deref() == Some("scarce")).await?;
    customs.until(PATIENCE, |seen| events(seen, "storage-scarce").len() == 1).await?;
    for number in 1..=TAGS {
        rig.tag_passes(number).await?;
    }
    let by_reader = |status: &Status| status.unrecorded.get("gate-in").map_or(0, |lost| lost.refused_events);
    rig.gate.until(PATIENCE, |status| by_reader(status) == u64::from(TAGS)).await?;

    // To the last byte; seals go on being opened and closed until the reserve is spent, and after that.
    ballast.grow(0)?;
    let mut turns = 0;
    let mut after_spent = 0;
    while after_spent < 40 {
        anyhow::ensure!(turns < 2_000, "the reserve was never needed");
        rig.seals[0].turn();
        rig.advertise(0)?;
        turns += 1;
        let told = turns;
        customs.until(PATIENCE, |seen| changes(seen) == told).await.with_context(|| format!("change {told} was not recorded"))?;
        if rig.gate.status().await?.storage.reserve == "spent" {
            after_spent += 1;
        }
    }
    let status = rig.gate.status().await?;
    anyhow::ensure!(status.journal_refuses.is_none() && status.books.imbalance.is_none(), "{status:?}");

    ballast.throw_away()?;
    let well =
        |status: &Status| status.storage.level == Level::Plenty && status.storage.reserve == "held" && !status.storage.telemetry_refused;
    let status = recovers(&mut rig, well).await?;
    customs.until(PATIENCE, |seen| !events(seen, "storage-recovered").is_empty()).await?;
    rig.tag_passes(TAGS + 1).await?;
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 2).await?;
    rig.drain().await?;
    rig.close().await?;

    let received = customs.received();
    let recovered = &events(&received, "storage-recovered")[0];
    anyhow::ensure!(recovered["class"] == "receipt" && recovered["data"]["refusedTelemetry"] == refused(&status), "{recovered}");
    anyhow::ensure!(recovered["data"]["from"].as_str() < recovered["data"]["until"].as_str(), "{recovered}");
    for (kind, times) in [("storage-scarce", 1), ("storage-recovered", 1), ("storage-failed", 0), ("journal-refused", 0)] {
        anyhow::ensure!(events(&received, kind).len() == times, "{} times {kind}", events(&received, kind).len());
    }
    anyhow::ensure!(changes(&received) == turns, "{turns} changes of the seal, {} on record", changes(&received));
    Ledger::of(&received)?.balance(&rig.state_dir())?;
    eprintln!("{turns} changes of a seal recorded on a full disk, {} telemetry events refused and counted", refused(&status));
    drop(disk);
    Ok(())
}

/// What was deleted is enough, without anybody's help.
async fn recovers(rig: &mut Rig, well: impl FnMut(&Status) -> bool) -> anyhow::Result<Status> {
    match rig.gate.until(PATIENCE, well).await {
        Ok(status) => Ok(status),
        Err(fault) => anyhow::bail!("the gate did not recover by itself: {fault}; it is {:#?}\n{}", rig.gate.status().await, rig.log()?),
    }
}

fn changes(seen: &[Received]) -> usize {
    events(seen, "unsealed").len() + events(seen, "sealed").len()
}

/// Whether a state of the gateway says that nothing is recorded.
fn says_refuses(message: &Received) -> bool {
    serde_json::from_slice::<serde_json::Value>(&message.payload).is_ok_and(|state| state["summary"]["journalRefuses"].is_string())
}

async fn a_disk_full_to_the_last_byte_without_a_reserve_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let customs = CustomsBroker::start().await?;
    let config = "[journal]\nspace_warn_mib = 2\nspace_scarce_mib = 1\nreserve_mib = 0";
    let (mut rig, disk) = gate_on_a_small_disk(&customs, config).await?;
    let monitor = rig.monitor().await?;
    let ballast = Ballast::leave(&rig.state_dir(), 0)?;
    // Until nothing fits any more, which is when it stays so: then it is said, and what the seals say waits in memory.
    let mut turns = 0;
    let told = |seen: &[Received]| seen.iter().any(|message| message.topic.ends_with("/state/gateway") && says_refuses(message));
    loop {
        anyhow::ensure!(turns < 2_000, "the disk was never full");
        if !customs.received().is_empty() && changes(&customs.received()) == turns {
            rig.seals[0].turn();
            rig.advertise(0)?;
            turns += 1;
        }
        let now = turns;
        let settled = rig.gate.until(PATIENCE, |status| status.journal_refuses.is_some() || changes(&customs.received()) == now).await?;
        if settled.journal_refuses.is_some() && told(&monitor.received()) && rig.gate.status().await?.no_receipts.is_some() {
            break;
        }
        sleep(LOOK).await;
    }
    for _ in 0..5 {
        rig.seals[1].turn();
        rig.advertise(1)?;
        turns += 1;
    }

    ballast.throw_away()?;
    let well = |status: &Status| status.journal_refuses.is_none() && status.storage.level == Level::Plenty && status.no_receipts.is_none();
    recovers(&mut rig, well).await?;
    customs.until(PATIENCE, |seen| changes(seen) == turns && !events(seen, "journal-refused").is_empty()).await?;
    rig.drain().await?;
    rig.close().await?;
    let received = customs.received();
    let outages = events(&received, "journal-refused");
    let whole = |outage: &serde_json::Value| outage["class"] == "alarm" && outage["data"]["forMs"].as_u64().is_some();
    anyhow::ensure!(outages.iter().all(whole), "{outages:?}");
    eprintln!("{turns} changes of seals over {} outages of the journal", outages.len());
    anyhow::ensure!(changes(&received) == turns, "{turns} changes of seals, {} on record", changes(&received));
    Ledger::of(&received)?.balance(&rig.state_dir())?;
    drop(disk);
    Ok(())
}
