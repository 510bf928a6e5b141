//! What the gate holds of the machine's memory: resident set of the process, at its highest.
//!
//! The kernel's own high-water mark is printed too: it holds the start, which no look from outside catches.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::symlink,
    pin::pin,
    time::Duration,
};

use anyhow::Context;
use segel_hardware_tests::rig::{Rig, RigConfig};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    Plan,
    drain::{self, Customs},
    sample::{per_second, thousands},
    subscriber::Subscriber,
    table::Row,
};

/// Seals in range, and how often each of them advertises.
const SEALS: u16 = 200;
const ADVERTS_PER_SECOND: u32 = 5;
/// Seals advertise in this many batches a second.
const BATCHES_PER_SECOND: u32 = 50;
/// How long each state is watched, in tenths of a second.
const WATCHED: usize = 100;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The gate's readers are up within this.
const READY: Duration = Duration::from_secs(20);
/// At most this much, in MB of 1000 kB.
const TARGET_MB: f64 = 30.0;

/// The rows of this part.
pub(super) async fn run(plan: &mut Plan) -> anyhow::Result<Vec<Row>> {
    let watched = Duration::from_millis(100 * plan.of(WATCHED) as u64);
    let mut rows = Vec::new();
    let customs = Customs::open(plan.dir.path()).await?;

    let mut rig = Rig::build(&plan.program, &RigConfig { customs: Some(customs.address()), seals: SEALS, ..RigConfig::default() })?;
    let (_, rest) = watch(&mut rig, async |_| {
        sleep(watched).await;
        Ok(())
    })
    .await?;
    rows.push(row(format!("memory at rest, {SEALS} seals registered"), &rest));
    let (_, busy) = watch(&mut rig, async |rig| advertise(rig, Says::TheSame, watched).await).await?;
    let pace = format!("{SEALS} seals advertising {ADVERTS_PER_SECOND} times a second");
    rows.push(row(format!("memory with {pace}"), &busy));
    let (_, storm) = watch(&mut rig, async |rig| {
        let broker = rig.gate.status().await?.broker.context("the gate has no broker")?.listen;
        let _screen = Subscriber::connect(broker, "figures", "#").await?.and_forget();
        // Longer, until the broker has filled whatever it fills.
        advertise(rig, Says::AChange, watched * 3).await
    })
    .await?;
    rows.push(row(format!("memory with {pace}, each a change, one screen"), &storm));

    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let (_, down) = watch(&mut on_full(plan, nobody).await?, async |_| {
        sleep(watched).await;
        Ok(())
    })
    .await?;
    let events = thousands(plan.full().await?.events as f64);
    rows.push(row(format!("memory with {events} events waiting, no line"), &down));

    let mut rig = on_full(plan, customs.address()).await?;
    drain::forget_cursors(&rig.state_dir())?;
    let many = plan.full().await?.events;
    let (rate, draining) = watch(&mut rig, async |rig| drain::drained(rig, many).await).await?;
    let pace = rate.map_or_else(|| "at once".to_owned(), per_second);
    rows.push(row(format!("memory while {events} events leave ({pace})"), &draining));
    Ok(rows)
}

/// A rig on the full journal.
async fn on_full(plan: &mut Plan, customs: SocketAddr) -> anyhow::Result<Rig> {
    let rig = Rig::build(&plan.program, &RigConfig { customs: Some(customs), ..RigConfig::default() })?;
    symlink(&plan.full().await?.dir, rig.state_dir())?;
    Ok(rig)
}

/// What a seal advertises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    TheSame,
    /// Its lock has turned: an alarm or a receipt each time.
    AChange,
}

/// Every seal advertises at its pace; they take turns, as real ones would.
async fn advertise(rig: &mut Rig, says: Says, during: Duration) -> anyhow::Result<()> {
    let mut tick = interval(Duration::from_secs(1) / BATCHES_PER_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let batch = u32::from(SEALS) * ADVERTS_PER_SECOND / BATCHES_PER_SECOND;
    let until = Instant::now() + during;
    let mut turns = (0..usize::from(SEALS)).cycle();
    while Instant::now() < until {
        tick.tick().await;
        for index in turns.by_ref().take(batch as usize) {
            if says == Says::AChange {
                rig.seals[index].turn();
            }
            rig.advertise(index)?;
        }
    }
    let status = rig.gate.status().await?;
    anyhow::ensure!(status.seals.in_range == usize::from(SEALS), "the gate hears {} of {SEALS} seals", status.seals.in_range);
    Ok(())
}

/// Starts the gate, watches it while this goes on, and stops it.
async fn watch<T>(rig: &mut Rig, meanwhile: impl AsyncFnOnce(&mut Rig) -> anyhow::Result<T>) -> anyhow::Result<(T, Resident)> {
    rig.gate.start().await?;
    let pid = rig.gate.pid().context("the gate ended by itself")?;
    rig.gate.until(READY, |status| status.readers.len() == 2).await?;
    let mut highest = Resident::of(pid)?;
    let done = {
        let mut work = pin!(meanwhile(rig));
        let mut tick = interval(LOOK);
        loop {
            tokio::select! {
                done = &mut work => break done?,
                _ = tick.tick() => highest = highest.or_higher(Resident::of(pid)?),
            }
        }
    };
    highest = highest.or_higher(Resident::of(pid)?);
    rig.gate.stop().await?;
    Ok((done, highest))
}

/// What is resident of a process, in kB of 1024 bytes as the kernel counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resident {
    pub(super) all: u64,
    /// Its own memory.
    anonymous: u64,
    /// Pages of the program and of files.
    of_files: u64,
    /// The highest it ever was.
    pub(super) high_water: u64,
}

impl Resident {
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the process ended by itself")?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).with_context(|| format!("/proc shows no {name}"))
        };
        Ok(Self { all: of("VmRSS")?, anonymous: of("RssAnon")?, of_files: of("RssFile")?, high_water: of("VmHWM")? })
    }

    /// The higher of the two; the high-water mark only ever rises.
    fn or_higher(self, later: Self) -> Self {
        let higher = if later.all > self.all { later } else { self };
        Self { high_water: later.high_water, ..higher }
    }
}

/// So many kB of 1024 bytes in MB of 1000 kB.
pub(super) fn mb(kib: u64) -> f64 {
    kib as f64 * 1.024 / 1e3
}

fn row(what: String, seen: &Resident) -> Row {
    let parts = format!(
        "{:.1} MB its own, {:.1} MB of files; high-water mark {:.1} MB",
        mb(seen.anonymous),
        mb(seen.of_files),
        mb(seen.high_water)
    );
    let row = Row::new(what, format!("{:.1} MB", mb(seen.all)));
    row.told_beside(parts).aims(format!("under {TARGET_MB:.0} MB"), mb(seen.high_water) < TARGET_MB)
}
