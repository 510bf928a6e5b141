//! The whole gate under a wall clock that starts in 1970, is set, and jumps an hour back, a year ahead and back again, while
//! events are recorded and delivered, over a line that is cut meanwhile.
//!
//! The gate's process alone lives in that time (libfaketime); its monotonic clock is left alone, as the kernel leaves it.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use libtest_mimic::Arguments;
use segel::{
    clock::AgeBasis,
    event::{ClockQuality, EventType},
    journal::{Filter, JournalReader},
    status::Status,
};
use segel_hardware_tests::{
    ledger::{Ledger, events},
    peers::{Peer, on_runtime, trial},
    rig::{PATIENCE, Rig, RigConfig},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Line, Weather};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 86_400;
/// An age that no alarm of this test reaches, and every wrong clock exceeds.
const YOUNG_S: i64 = 600;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![trial("a_clock_that_jumps_about_costs_nothing_and_every_step_is_one_event", &[Peer::Faketime], || {
        on_runtime(a_clock_that_jumps_about_costs_nothing_and_every_step_is_one_event())
    })];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The wall clock of one process.
struct FakeClock {
    dir: tempfile::TempDir,
}

impl FakeClock {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { dir: tempfile::tempdir()? })
    }

    /// A program that is the gate with this clock.
    fn program(&self) -> anyhow::Result<PathBuf> {
        let library = Peer::Faketime.find().context("libfaketime is gone")?;
        let path = self.dir.path().join("gate");
        let mut script = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path)?;
        writeln!(
            script,
            "#!/bin/sh\nexport LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\n\
             exec {PROGRAM} \"$@\"",
            library.display(),
            self.file().display()
        )?;
        Ok(path)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("clock")
    }

    /// Sets it to so many seconds beside the true time; all at once.
    fn set(&self, offset_s: i64) -> anyhow::Result<()> {
        let new = self.dir.path().join("clock.new");
        fs::write(&new, format!("{offset_s:+}\n"))?;
        Ok(fs::rename(new, self.file())?)
    }
}

/// What one phase did at the gate.
#[derive(Default)]
struct Done {
    opened: usize,
    closed: usize,
    tags: u32,
}

impl Done {
    /// A few lorries pass: a tag each, and a seal that is opened and closed again.
    async fn lorries(&mut self, rig: &mut Rig, count: usize) -> anyhow::Result<()> {
        for number in 0..count {
            let seal = number % rig.seals.len();
            rig.seals[seal].turn();
            rig.advertise(seal)?;
            rig.seals[seal].turn();
            rig.advertise(seal)?;
            (self.opened, self.closed, self.tags) = (self.opened + 1, self.closed + 1, self.tags + 1);
            rig.tag_passes(self.tags).await?;
        }
        Ok(())
    }
}

/// Events of this kind in the gate's record, told to customs or not.
fn recorded(state_dir: &Path, kind: EventType) -> anyhow::Result<usize> {
    let filter = Filter { kind: Some(kind), ..Filter::default() };
    Ok(JournalReader::open(state_dir)?.tail(&filter, 1_000)?.len())
}

async fn until_steps(rig: &mut Rig, wanted: usize) -> anyhow::Result<Status> {
    let state_dir = rig.state_dir();
    let status = rig.gate.until(PATIENCE, |_| recorded(&state_dir, EventType::ClockStepped).is_ok_and(|found| found >= wanted)).await;
    status.with_context(|| format!("step {wanted} was not found"))
}

/// No age is negative or absurd, whatever the clock did.
fn sane(status: &Status) -> anyhow::Result<()> {
    let ages = status.accounts.iter().filter_map(|account| account.oldest_pending_s).chain(status.oldest_undelivered_alarm_s);
    for age in ages {
        anyhow::ensure!((0..=YOUNG_S).contains(&age), "an age of {age} s: {status:?}");
    }
    anyhow::ensure!(status.books.imbalance.is_none(), "{status:?}");
    Ok(())
}

async fn a_clock_that_jumps_about_costs_nothing_and_every_step_is_one_event() -> anyhow::Result<()> {
    let clock = FakeClock::new()?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let to_1970 = 60 - now;
    clock.set(to_1970)?;
    let customs = CustomsBroker::start().await?;
    let line = Line::to(customs.address()).await?;
    let config = RigConfig { customs: Some(line.address()), seals: 3, more: String::new() };
    let mut rig = Rig::build(clock.program()?, &config)?;
    let status = rig.open().await?;
    anyhow::ensure!(status.clock == ClockQuality::Untrusted && status.time.as_second() < YEAR, "the gate is not in 1970: {status:?}");
    for seal in 0..rig.seals.len() {
        rig.advertise(seal)?;
    }
    let mut done = Done::default();
    done.lorries(&mut rig, 10).await?;

    // NTP sets the clock; the line is cut, so that alarms of before and after wait together.
    customs.until(PATIENCE, |seen| events(seen, "unsealed").len() == 10).await?;
    line.set(Weather::Cut);
    done.lorries(&mut rig, 5).await?;
    clock.set(0)?;
    let status = until_steps(&mut rig, 1).await?;
    anyhow::ensure!(status.clock == ClockQuality::Rtc, "{status:?}");
    done.lorries(&mut rig, 5).await?;
    let waiting = rig.gate.until(PATIENCE, |status| status.oldest_undelivered_alarm_s.is_some()).await?;
    anyhow::ensure!(waiting.oldest_undelivered_alarm_by == Some(AgeBasis::Monotonic), "{waiting:?}");
    sane(&waiting)?;

    for (number, offset) in [(2, -HOUR), (3, YEAR), (4, 0)] {
        clock.set(offset)?;
        let status = until_steps(&mut rig, number).await?;
        sane(&status)?;
        let behind = offset != YEAR;
        anyhow::ensure!((status.clock == ClockQuality::Untrusted) == behind, "after step {number}: {status:?}");
        done.lorries(&mut rig, 5).await?;
        if number == 2 {
            line.set(Weather::Fair);
        }
        if number == 3 {
            line.set(Weather::Cut);
        }
    }
    // Between two runs of one boot the clock is set once more, with alarms waiting.
    let (state_dir, wanted) = (rig.state_dir(), done.opened);
    rig.gate.until(PATIENCE, |_| recorded(&state_dir, EventType::Unsealed).is_ok_and(|found| found == wanted)).await?;
    rig.gate.kill().await?;
    clock.set(2 * HOUR)?;
    line.set(Weather::Fair);
    rig.open().await?;
    sane(&until_steps(&mut rig, 5).await?)?;
    done.lorries(&mut rig, 5).await?;
    customs.until(PATIENCE, |seen| events(seen, "unsealed").len() >= done.opened).await?;
    sane(&rig.drain().await?)?;
    rig.close().await?;

    let received = customs.received();
    customs_has_everything(&received, &done, to_1970)?;
    let count = Ledger::of(&received)?.balance(&rig.state_dir())?;
    eprintln!("{count} events under {} steps of the clock", events(&received, "clock-stepped").len());
    Ok(())
}

/// One document for each thing that happened, in the order of its numbers, and each step with its size.
fn customs_has_everything(received: &[segel_mqtt_bridge::sim::Received], done: &Done, to_1970: i64) -> anyhow::Result<()> {
    let once = |kind: &str| {
        let mut all = events(received, kind);
        let number = |event: &Value| event["seq"].as_str().and_then(|seq| seq.parse::<u64>().ok()).unwrap_or(0);
        all.sort_by_key(number);
        all.dedup_by_key(|event| number(event));
        all
    };
    let unsealed = once("unsealed");
    anyhow::ensure!(unsealed.len() == done.opened, "{} openings, {} alarms", done.opened, unsealed.len());
    anyhow::ensure!(once("sealed").len() == done.closed, "{} closings, {} receipts", done.closed, once("sealed").len());
    anyhow::ensure!(once("tag-seen").len() == done.tags as usize, "{} tags, {} events", done.tags, once("tag-seen").len());

    let mono: Vec<u64> = unsealed.iter().filter_map(|event| event["mono"].as_str()?.parse().ok()).collect();
    anyhow::ensure!(mono.len() == unsealed.len() && mono.is_sorted(), "numbers are not in the order of time since boot: {mono:?}");
    let walls: Vec<&str> = unsealed.iter().filter_map(|event| event["time"].as_str()).collect();
    anyhow::ensure!(!walls.is_sorted(), "the wall clock was to jump, and did not: {walls:?}");
    anyhow::ensure!(walls[0].starts_with("1970") && unsealed[0]["clock"] == "untrusted", "{}", unsealed[0]);

    let stepped = once("clock-stepped");
    let sizes: Vec<i64> = stepped.iter().filter_map(|event| event["data"]["stepMs"].as_i64()).collect();
    let wanted = [-to_1970, -HOUR, HOUR + YEAR, -YEAR, 2 * HOUR].map(|seconds| seconds * 1_000);
    let near = sizes.len() == wanted.len() && sizes.iter().zip(wanted).all(|(size, wanted)| (size - wanted).abs() < 1_000);
    anyhow::ensure!(near, "steps of {sizes:?} ms, made were {wanted:?}");
    let seen: Vec<_> = stepped.iter().map(|event| event["data"]["seen"].as_str().unwrap_or("-")).collect();
    anyhow::ensure!(seen == ["running", "running", "running", "running", "between_runs"], "{seen:?}");
    let both = |event: &Value| event["data"]["before"].is_string() && event["data"]["after"].is_string();
    anyhow::ensure!(stepped.iter().all(both), "{stepped:?}");
    Ok(())
}
