//! A long day at the gate with everything that goes wrong, and the reckoning.
//!
//! ```text
//!   tags, seals, bolt cutters ──► gate (killed, restarted; its disk full) ══ line (cut, swallowing) ══► customs (sleeping,
//!   garbage, forgeries, unplugged     │  └─► monitors that misbehave                                     forgetful)
//!                                     └────► verify, tail, stats, export, archive beside it
//! ```
//!
//! What must hold at the end: every alarm made at the wire is at customs exactly once by its id, and no other; what is on
//! the gate's disk is at customs byte for byte; customs' own bytes make whole chains; every account added up at every
//! look; memory stayed within its bound; no error was logged that no fault explains, and nothing panicked.

mod alarms;
mod beside;
mod books;
mod diary;
mod gatehouse;
mod log;
mod looks;
mod monitors;
mod outside;
mod plan;
mod radios;
mod report;
pub(crate) mod room;

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use segel::{
    event::{Class, Digest, Seq},
    forward::UPLINK,
    journal::JournalReader,
    status::Status,
};
use segel_hardware_tests::rig::{Rig, RigConfig};
use segel_mqtt_bridge::sim::{CustomsBroker, Line};
use tokio::{
    sync::watch,
    time::{Instant as Clock, sleep, sleep_until},
};

use self::{
    alarms::{Alarm, Cutter},
    beside::Beside,
    books::Books,
    diary::Diary,
    looks::Seen,
    monitors::Shown,
    plan::{Act, Plan, Step, Track},
    report::Report,
    room::{Disk, Level},
};

/// Seals that are forced open.
const FORCED: u16 = 8;
/// Seals of ordinary traffic.
const ORDINARY: u16 = 6;
/// After the last fault everything is delivered within this.
const LAST_DRAIN: Duration = Duration::from_secs(120);
/// How often customs' broker is asked for what came.
const INTAKE: Duration = Duration::from_millis(10);
/// An alarm made and delivered in a calm period took at most this long: a gate that needs longer is ill.
const CALM_MAX: Duration = Duration::from_secs(5);
/// Records read at a time, and bytes of them.
const PAGE: (usize, usize) = (512, 1 << 20);

/// What to run.
#[derive(Debug, Parser)]
#[command(name = "soak", about = "Everything at once, with faults at random, and a reckoning at the end")]
pub(crate) struct Wanted {
    /// How long; at least one minute is played
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// What is drawn from it: when what happens
    #[arg(long)]
    seed: Option<u64>,
    #[arg(skip = std::process::id())]
    drawn: u32,
}

impl Wanted {
    /// The seed given, or one drawn for this process.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| u64::from(self.drawn))
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
}

/// Plays everything and prints the reckoning.
///
/// # Errors
/// When it could not even be played to the end.
pub(crate) async fn run(wanted: &Wanted) -> anyhow::Result<Verdict> {
    let seed = wanted.seed();
    let plan = Plan::draw(seed, Duration::from_secs(60 * wanted.minutes));
    println!("soak of {} s: --seed {seed}", plan.length.as_secs());
    let began = Instant::now();
    let customs = CustomsBroker::start().await?;
    let line = Line::to(customs.address()).await?;
    let program = std::env::current_exe()?;
    let mut rig = Rig::build(&program, &RigConfig { customs: Some(line.address()), seals: FORCED + ORDINARY, more: String::new() })?;
    rig.configure(&settings())?;
    let disk = Disk::at(&rig.state_dir())?;
    let beside = Beside::ask(&program, rig.gate.config(), rig.dir()).await?;
    let left_out = left_out(&disk, &beside)?;
    let diary = Diary::default();
    rig.open().await?;

    let mut stage = Stage { plan: &plan, diary: &diary, customs: &customs, line: &line, disk: &disk, beside };
    let played = Box::pin(stage.play(&mut rig)).await?;
    if let Err(fault) = rig.close().await {
        diary.breaks(format!("{fault:#}"));
    }
    stage.beside.at_the_end(&diary).await;

    let Played { mut books, alarms, seen, shown } = played;
    books.take_in(&customs, &diary).await;
    let ways = alarms::settle(&alarms, &books, &diary);
    if let Some(slow) = ways.calm.last().filter(|took| **took > CALM_MAX) {
        diary.breaks(format!("an alarm took {slow:?} to customs with nothing in its way"));
    }
    let repeats = books.repeats;
    let classes = reckon(&rig.state_dir(), &mut books, &[shown, std::mem::take(&mut stage.beside.shown)], &diary)?;
    let said = log::read(rig.gate.log(), &diary)?;
    something_happened(&plan, &left_out, ways.calm.len(), &diary);
    println!("{}", Report { seed, plan: &plan, diary: &diary, left_out, classes, repeats, ways, seen, said, took: began.elapsed() });
    Ok(if diary.broken().is_empty() { Verdict::Passed } else { Verdict::Failed })
}

/// Every key a gate knows, with what it stands at: the sample is compared with the program by a test.
const SAMPLE: &str = include_str!("../../../gateway/conf/segel.toml");

/// Small quotas, so that telemetry is dropped; limits of space that fit the small disk; short patience with the line, so
/// that a minute holds several outages.
const SETTINGS: &[(&str, &[(&str, u32)])] = &[
    ("uplink", &[("keep_alive_s", 2), ("connect_timeout_s", 2), ("stable_after_s", 1)]),
    ("reopen", &[("first_ms", 20), ("cap_s", 1), ("stable_s", 1)]),
    ("journal", &[("telemetry_quota_mib", 1), ("reserve_mib", 4), ("space_warn_mib", 12), ("space_scarce_mib", 8)]),
    ("thinning", &[("heartbeat_s", 10)]),
];

/// The settings as a drop-in, those that this gate knows.
fn settings() -> String {
    let mut text = String::new();
    for (section, keys) in SETTINGS {
        text += &format!("[{section}]\n");
        for (key, value) in keys.iter().filter(|(key, _)| SAMPLE.contains(key)) {
            text += &format!("{key} = {value}\n");
        }
    }
    text
}

/// What cannot be done here: said at once and at the end, and a fault where nothing may be left out.
fn left_out(disk: &Disk, beside: &Beside) -> anyhow::Result<BTreeSet<Act>> {
    let mut left_out = beside.missing.clone();
    if !disk.is_own() {
        anyhow::ensure!(
            std::env::var_os("SEGEL_PEERS").is_none_or(|wish| wish != "required"),
            "no disk can be filled (neither root nor a mount namespace), and SEGEL_PEERS=required"
        );
        left_out.extend([Act::DiskNearlyFull, Act::DiskFull]);
    }
    for act in &left_out {
        println!("LEFT OUT: {}", act.name());
    }
    Ok(left_out)
}

/// Everything around the gate.
struct Stage<'a> {
    plan: &'a Plan,
    diary: &'a Diary,
    customs: &'a CustomsBroker,
    line: &'a Line,
    disk: &'a Disk,
    beside: Beside,
}

/// What a run leaves to be judged.
struct Played {
    books: Books,
    alarms: Vec<Alarm>,
    seen: Seen,
    shown: Shown,
}

impl Stage<'_> {
    async fn play(&mut self, rig: &mut Rig) -> anyhow::Result<Played> {
        let Self { plan, diary, customs, line, disk, beside } = self;
        let (run_dir, state_dir) = (rig.dir().join("run"), rig.state_dir());
        let known: Vec<_> = rig.seals.iter().map(segel_hardware_tests::rig::Seal::address).collect();
        let Rig { reader, air, seals, gate, .. } = rig;
        let (forced, ordinary) = seals.split_at_mut(usize::from(FORCED));
        let mut cutter = Cutter::new(forced, air, &state_dir, diary);
        let (tell, status) = watch::channel(None::<Status>);
        let (mut seen, mut shown, mut books) = (Seen::default(), Shown::new(), Books::default());
        let begin = Clock::now();
        let to_the_end = async {
            let faults = async {
                let (gate_lives, radio_works, ..) = tokio::join!(
                    gatehouse::run(gate, plan, begin, diary),
                    radios::reader(reader, plan, begin, diary),
                    radios::bursts(reader, plan, begin, diary),
                    outside::line(line, plan, begin, diary),
                    outside::customs(customs, plan, begin, diary),
                    full_disks(disk, plan, begin, diary),
                    beside.work(plan, begin, diary),
                    monitors::misbehave(status.clone(), air, &known, plan, begin, diary),
                );
                gate_lives.and(radio_works)
            };
            let forced = cutter.run(begin, plan.on(Track::Traffic).filter(|step| step.act == Act::ForcedOpen));
            let (faults, ()) = tokio::join!(faults, forced);
            sleep_until(begin + plan.length).await;
            cutter.finish(LAST_DRAIN).await;
            faults
        };
        let books_open = async {
            loop {
                books.take_in(customs, diary).await;
                sleep(INTAKE).await;
            }
        };
        let stage = async {
            tokio::select! {
                over = to_the_end => over,
                never = radios::traffic(reader, air, ordinary, plan.traffic) => match never {},
            }?;
            drained(&mut status.clone()).await
        };
        tokio::select! {
            over = stage => if let Err(fault) = over { diary.breaks(format!("{fault:#}")) },
            () = books_open => {}
            never = looks::look(&run_dir, &state_dir, tell, &mut seen, diary) => match never {},
            never = monitors::watch(status.clone(), &mut shown) => match never {},
            stopped = tokio::signal::ctrl_c() => { stopped?; diary.breaks("stopped by hand before the end") }
        }
        Ok(Played { books, alarms: std::mem::take(&mut cutter.alarms), seen, shown })
    }
}

/// Waits until the gate says that customs has everything.
async fn drained(status: &mut watch::Receiver<Option<Status>>) -> anyhow::Result<()> {
    let empty = |status: &Option<Status>| {
        status.as_ref().is_some_and(|status| segel_hardware_tests::rig::pending(status) == 0 && status.journal_refuses.is_none())
    };
    let waited = tokio::time::timeout(LAST_DRAIN, status.wait_for(empty)).await;
    waited.map(drop).context("not everything recorded arrived at customs after the last fault")
}

async fn full_disks(disk: &Disk, plan: &Plan, begin: Clock, diary: &Diary) {
    if !disk.is_own() {
        return;
    }
    for Step { at, act, lasts, .. } in plan.on(Track::Disk) {
        sleep_until(begin + at).await;
        let _trouble = diary.trouble(act);
        let level = if act == Act::DiskFull { Level::Brim } else { Level::Nearly };
        let filled = tokio::task::block_in_place(|| disk.fill(level));
        sleep(lasts).await;
        for fault in [filled, disk.free()].into_iter().filter_map(Result::err) {
            diary.breaks(format!("the disk cannot be filled or freed: {fault}"));
        }
    }
}

/// Compares the gate's disk, its accounts and customs' books.
fn reckon(state_dir: &Path, books: &mut Books, shown: &[Shown], diary: &Diary) -> anyhow::Result<Vec<report::Class>> {
    let reader = JournalReader::open(state_dir)?;
    for class in Class::ALL {
        let mut after = Seq::NONE;
        loop {
            let records = reader.after(*class, after, PAGE.0, PAGE.1)?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in &records {
                match books.get(&record.id.to_string()) {
                    Some(entry) if entry.digest == Digest::of(&record.doc) => {}
                    Some(_) => diary.breaks(format!("{} {class} {} differs between the gate and customs", record.kind, record.seq)),
                    None => diary.breaks(format!("{} {class} {} is on the gate's disk and not at customs", record.kind, record.seq)),
                }
            }
        }
    }
    let accounts = reader.accounts(&UPLINK)?;
    let totals = reader.totals()?;
    let chain = books.chain();
    if !chain.is_whole() {
        diary.breaks(format!("the chain is not whole from what customs received: {chain:?}"));
    }
    let mut classes = Vec::new();
    for (account, totals) in accounts.iter().zip(&totals) {
        if totals.recorded != totals.held + totals.archived + totals.dropped {
            diary.breaks(format!("the journal does not add up: {totals:?}"));
        }
        let at_customs = books.of_class(account.class);
        let explained: u64 = chain
            .chains
            .iter()
            .filter(|chain| chain.class == account.class)
            .flat_map(|chain| &chain.holes_explained)
            .map(|hole| hole.last.0 + 1 - hole.first.0)
            .sum();
        if account.pending != 0 {
            diary.breaks(format!("not everything is delivered: {account:?}"));
        }
        if account.class != Class::Telemetry && (account.dropped != 0 || at_customs != account.recorded) {
            diary.breaks(format!("customs has {at_customs} {} events: {account:?}", account.class));
        }
        if at_customs + explained != account.recorded {
            diary.breaks(format!("customs has {at_customs} {} events and a reason for {explained} more: {account:?}", account.class));
        }
        classes.push(report::Class {
            name: account.class.as_str(),
            recorded: account.recorded,
            delivered: account.delivered,
            pending: account.pending,
            dropped: account.dropped,
            refused: totals.refused,
            archived: totals.archived,
            at_customs,
        });
    }
    for (id, digest) in shown.iter().flatten() {
        if books.get(id).is_some_and(|entry| entry.digest != *digest) {
            diary.breaks(format!("{id} was shown with other bytes than customs has"));
        }
    }
    // Two watched the same gate: what both were shown is one event.
    let missing: BTreeSet<&String> = shown.iter().flatten().map(|(id, _)| id).filter(|id| books.get(id).is_none()).collect();
    let missing = missing.len() as u64;
    let dropped = accounts.of(Class::Telemetry).dropped;
    if missing > dropped {
        diary.breaks(format!("{missing} events were shown at the gate and are not at customs, {dropped} were dropped"));
    }
    diary.count("events shown at the gate and compared", shown.iter().map(|shown| shown.len() as u64).sum());
    Ok(classes)
}

/// A run in which nothing happened proves nothing.
fn something_happened(plan: &Plan, left_out: &BTreeSet<Act>, calm: usize, diary: &Diary) {
    for (act, ..) in plan::ACTS.iter().filter(|(act, ..)| !left_out.contains(act)) {
        if diary.times(*act) == 0 && plan.times(*act) > 0 {
            diary.breaks(format!("never came to pass: {}", act.name()));
        }
    }
    if calm == 0 {
        diary.breaks("no alarm was made and delivered in a calm period: nothing is known of the gate's speed");
    }
}
