//! Orders and recordings at a whole gate: seals that can be connected to on the simulated air, the gate a process of its
//! own that is killed, its journal read from beside it.
//!
//! ```text
//!   SegelLock ◄─ Watched (at each write: what of it is on the gate's disk?) ◄─ air ◄─► gate (SIGKILL) ─► journal
//!                                                                                                         ▲ read here
//! ```
//!
//! `SEGEL_SEED` plays one order of kills again; it is printed at the start.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::{
    api::{self, Ordered, SOCKET, ask_seals, order},
    daemon::Daemon,
    event::{Class, Seq},
    journal::JournalReader,
    sessions::{End, Errand, line::Word, list::SealLine},
};
use segel_drivers::{
    LockClaim, MacAddress, SealId, SealWord,
    ble::{AirFrame, Payload},
    codec::{bthome::SealKey, segel_v1::Bolt},
    sim::{
        EmulatedAir, SimLock, SimPorts,
        air::Reach,
        lock::segel_v1::{Mood, SegelLock},
    },
};
use segel_hardware_tests::{
    length::{Length, seed},
    rig::{PATIENCE, Rig, RigConfig},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Command,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
const KEY: &str = "9d1b5e7730c24fa8861f02e4b7c9d35a";
const SEAL: &str = "SGL-3001";
const ADDRESS: MacAddress = MacAddress([0xA4, 0xC1, 0x38, 0x5E, 0x30, 0x01]);
/// Which log the seal begins with.
const LOG: u32 = 7;
/// Entries the seal can hold: more than any test here lets wait.
const ROOM: usize = 6_000;
/// The first byte of a command to the seal.
const COMMAND: u8 = 0x02;
/// How often the seal says that it is there.
const ADVERTISED_EVERY: Duration = Duration::from_millis(50);
/// How often something is looked at again.
const LOOK: Duration = Duration::from_millis(10);
/// How long an order is given.
const WITHIN: Duration = Duration::from_secs(60);
/// Records read at a time.
const PAGE: usize = 512;

type Outcome = anyhow::Result<()>;

/// What is on the gate's disk, read as it grows.
struct Disk {
    dir: PathBuf,
    read: BTreeMap<&'static str, Seq>,
    events: Vec<(String, Value)>,
}

impl Disk {
    fn of(dir: PathBuf) -> Self {
        Self { dir, read: BTreeMap::new(), events: Vec::new() }
    }

    /// Everything on record until now: each event's word and its whole document.
    fn events(&mut self) -> &[(String, Value)] {
        let reader = JournalReader::open(&self.dir).unwrap();
        for class in Class::ALL {
            let after = self.read.entry(class.as_str()).or_insert(Seq::NONE);
            loop {
                let records = reader.after(*class, *after, PAGE, usize::MAX).unwrap();
                let Some(last) = records.last() else { break };
                *after = last.seq;
                self.events.extend(records.iter().map(|record| (record.kind.clone(), serde_json::from_slice(&record.doc).unwrap())));
            }
        }
        &self.events
    }

    fn count(&mut self, word: &str) -> usize {
        self.events().iter().filter(|(kind, _)| kind == word).count()
    }

    /// The particulars of all events of one word.
    fn bodies(&mut self, word: &str) -> Vec<Value> {
        self.events().iter().filter(|(kind, _)| kind == word).map(|(_, doc)| doc["data"].clone()).collect()
    }

    /// How often each number of the seal's log is on record.
    fn numbers(&mut self) -> BTreeMap<u32, usize> {
        let mut numbers = BTreeMap::new();
        for (_, doc) in self.events().iter().filter(|(_, doc)| doc["data"]["stored"] == true) {
            assert_eq!(doc["data"]["logId"], LOG, "{doc}");
            *numbers.entry(u32::try_from(doc["data"]["logNumber"].as_u64().unwrap()).unwrap()).or_default() += 1;
        }
        numbers
    }
}

/// A seal whose every write is held against the gate's disk at that very moment.
struct Watched {
    seal: SegelLock,
    disk: Disk,
    /// Entries that were deleted, and how many of them were not on record when they were.
    deleted: usize,
    unrecorded: Vec<u32>,
    /// Orders on record whenever a command came.
    intended: Vec<usize>,
}

impl SimLock for Watched {
    fn address(&self) -> MacAddress {
        self.seal.address()
    }
    fn name(&self) -> Option<String> {
        self.seal.name()
    }
    fn ports(&self) -> SimPorts {
        self.seal.ports()
    }
    fn advertise(&mut self) -> Vec<Payload> {
        self.seal.advertise()
    }
    fn connected(&mut self) {
        self.seal.connected();
    }
    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if bytes.first() == Some(&COMMAND) {
            let intended = self.disk.count("ACTION_INTENDED");
            self.intended.push(intended);
        }
        let before = self.seal.held();
        let answers = self.seal.written(bytes);
        let held = self.seal.held();
        let deleted: Vec<_> = before.into_iter().filter(|number| !held.contains(number)).collect();
        if !deleted.is_empty() {
            let recorded = self.disk.numbers();
            self.deleted += deleted.len();
            self.unrecorded.extend(deleted.iter().filter(|number| !recorded.contains_key(number)));
        }
        answers
    }
    fn att_error(&self) -> Option<u8> {
        self.seal.att_error()
    }
    fn dropped(&mut self) -> bool {
        self.seal.dropped()
    }
    fn value(&self) -> Vec<u8> {
        self.seal.value()
    }
    fn openings(&self) -> u32 {
        self.seal.openings()
    }
    fn closings(&self) -> u32 {
        self.seal.closings()
    }
}

/// A gate and a seal that proves itself.
struct Bench {
    rig: Rig,
    seal: Arc<Mutex<Watched>>,
}

impl Bench {
    /// `seals` sensors that only advertise stand beside it.
    fn build(seals: u16, more: &str) -> anyhow::Result<Self> {
        let more = format!("[sessions]\npause_ms = 20\n{more}");
        let rig = Rig::build(PROGRAM, &RigConfig { seals, more, ..RigConfig::default() })?;
        let mut register = OpenOptions::new().append(true).open(rig.dir().join("seals.toml"))?;
        writeln!(register, "[[seal]]\nid = \"{SEAL}\"\naddress = \"{ADDRESS}\"\nprotocol = \"segel\"\nkey = \"{KEY}\"\n")?;
        let mut seal = SegelLock::new(ADDRESS, SEAL, KEY.parse::<SealKey>()?, LOG);
        seal.set_room(ROOM);
        let disk = Disk::of(rig.state_dir());
        let watched = Watched { seal, disk, deleted: 0, unrecorded: Vec::new(), intended: Vec::new() };
        let seal = Arc::new(Mutex::new(watched));
        rig.air.add(&seal);
        Ok(Self { rig, seal })
    }

    fn with<T>(&self, with: impl FnOnce(&mut SegelLock) -> T) -> T {
        with(&mut self.seal.lock().unwrap().seal)
    }

    fn disk(&self) -> Disk {
        Disk::of(self.rig.state_dir())
    }

    fn run_dir(&self) -> PathBuf {
        self.rig.dir().join("run")
    }

    /// Asks something of the seal, which advertises meanwhile.
    async fn asked(&self, errand: Errand) -> anyhow::Result<End> {
        let dir = self.run_dir();
        heard(&self.rig.air, ask(&dir, errand)).await
    }

    async fn line(&self, seal: &str) -> anyhow::Result<SealLine> {
        let lines = ask_seals(&self.run_dir()).await?;
        lines.into_iter().find(|line| line.seal.as_str() == seal).ok_or_else(|| anyhow::anyhow!("{seal} is not listed"))
    }

    /// Waits until the gate says so of a seal.
    async fn until_listed(&self, seal: &str, what: &str, so: impl Fn(&SealLine) -> bool) -> anyhow::Result<SealLine> {
        let since = Instant::now();
        loop {
            let line = self.line(seal).await?;
            if so(&line) {
                return Ok(line);
            }
            anyhow::ensure!(since.elapsed() < PATIENCE, "{what}: {line:?}");
            sleep(LOOK).await;
        }
    }
}

async fn until(what: &str, mut so: impl FnMut() -> bool) -> Outcome {
    let since = Instant::now();
    while !so() {
        anyhow::ensure!(since.elapsed() < PATIENCE, "{what}");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Lets the seal advertise while something else goes on.
async fn heard<T>(air: &EmulatedAir, something: impl Future<Output = T>) -> T {
    let heard = async {
        loop {
            air.advertise(ADDRESS).unwrap();
            sleep(ADVERTISED_EVERY).await;
        }
    };
    tokio::select! {
        done = something => done,
        () = heard => unreachable!("it goes on for ever"),
    }
}

async fn ask(run_dir: &Path, errand: Errand) -> anyhow::Result<End> {
    let asked = api::Order { seal: SEAL.parse::<SealId>().unwrap(), errand, within: WITHIN };
    match order(run_dir, &asked, &CancellationToken::new(), |_| ()).await? {
        Ordered::Ended(end) => Ok(end),
        Ordered::GoesOn { command } => anyhow::bail!("{command} was called off by nobody"),
        Ordered::Left => anyhow::bail!("nobody left"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_events_are_confirmed_only_after_they_are_journalled() -> Outcome {
    let seed = seed();
    println!("SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut bench = Bench::build(0, "")?;
    let (mut disk, dir) = (bench.disk(), bench.run_dir());
    let logged = Arc::new(Mutex::new(0_u32));
    let words = [SealWord::LowBattery, SealWord::CoverOpened, SealWord::WrongPassword, SealWord::ShackleCut];
    let (seal, count) = (Arc::clone(&bench.seal), Arc::clone(&logged));
    let happens = move |times: u32| {
        let (mut seal, mut count) = (seal.lock().unwrap(), count.lock().unwrap());
        for _ in 0..times {
            seal.seal.happens(words[*count as usize % words.len()]);
            *count += 1;
        }
    };
    let mut between = 0;
    for round in 0..(Length { ci: 10, nightly: 100 }).now() {
        happens(40);
        let Rig { air, gate, .. } = &mut bench.rig;
        let lives = Duration::from_millis(chance.random_range(20..900));
        let adding = async {
            loop {
                happens(1);
                sleep(LOOK).await;
            }
        };
        // one that was killed says nothing any more
        let draining = async {
            loop {
                let _ = ask(&dir, Errand::Drain).await;
                sleep(LOOK).await;
            }
        };
        gate.start().await?;
        tokio::select! {
            killed = heard(air, killed_after(gate, lives)) => killed?,
            () = adding => unreachable!("it goes on for ever"),
            () = draining => unreachable!("it goes on for ever"),
        }
        // The journal first: what is deleted after it was read was deleted by a gate that could not write any more.
        let recorded = disk.numbers();
        let (held, logged) = (bench.with(|seal| seal.held()), *logged.lock().unwrap());
        let lost: Vec<_> = (1..=logged).filter(|number| !held.contains(number) && !recorded.contains_key(number)).collect();
        assert!(lost.is_empty(), "round {round}, seed {seed}: deleted at the seal and not on record: {lost:?}");
        assert!(recorded.values().all(|times| *times == 1), "round {round}, seed {seed}: on record twice: {recorded:?}");
        between += usize::from(held.iter().any(|number| recorded.contains_key(number)));
        let watched = bench.seal.lock().unwrap();
        assert!(watched.unrecorded.is_empty(), "round {round}, seed {seed}: deleted before they were on record: {:?}", watched.unrecorded);
    }
    bench.rig.gate.start().await?;
    let since = Instant::now();
    while !bench.with(|seal| seal.held()).is_empty() {
        assert!(since.elapsed() < PATIENCE, "the log is never empty");
        assert_eq!(bench.asked(Errand::Drain).await?.outcome, Word::Done);
    }
    bench.rig.close().await?;
    let logged = *logged.lock().unwrap();
    assert_eq!(disk.numbers(), (1..=logged).map(|number| (number, 1)).collect(), "each number once; seed {seed}");
    assert_eq!(disk.count("ACTION_INTENDED"), disk.count("ACTION_ENDED"), "every intent has one end");
    let watched = bench.seal.lock().unwrap();
    assert_eq!((watched.deleted, &watched.unrecorded), (logged as usize, &Vec::new()), "every deletion was looked at");
    println!("{logged} entries; {between} kills fell between the journal and the seal's deletion");
    Ok(())
}

async fn killed_after(gate: &mut Daemon, lives: Duration) -> Outcome {
    sleep(lives).await;
    gate.kill().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_advertisement_is_not_evidence() -> Outcome {
    /// More than a gate remembers as the same message heard late by another adapter.
    const FRAMES: u8 = 24;
    let mut bench = Bench::build(1, "")?;
    bench.with(|seal| seal.set_battery(90));
    bench.rig.open().await?;
    assert_eq!(bench.asked(Errand::Lock).await?.outcome, Word::Done);
    let sensor = bench.rig.seals[0].id.clone();
    let mut recorded = Vec::new();
    // Each says something new, so each has a counter of its own.
    for turn in 0..FRAMES {
        bench.with(|seal| seal.set_battery(90 - turn * 2));
        bench.rig.seals[0].reading.battery_percent = Some(90 - turn);
        recorded.extend(frames(&mut bench));
    }
    recorded.iter().try_for_each(|frame| bench.rig.air.send(frame).map(drop))?;
    for seal in [SEAL, sensor.as_str()] {
        bench.until_listed(seal, "locked", |line| line.says.lock == Some(LockClaim::Locked)).await?;
    }
    assert_eq!(bench.asked(Errand::Read).await?.outcome, Word::Done);

    bench.with(|seal| seal.happens(SealWord::ForcedOpen));
    bench.rig.seals[0].force_open();
    for turn in 0..FRAMES {
        bench.with(|seal| seal.set_battery(40 + turn * 2));
        bench.rig.seals[0].reading.battery_percent = Some(40 + turn);
        frames(&mut bench).iter().try_for_each(|frame| bench.rig.air.send(frame).map(drop))?;
    }
    for seal in [SEAL, sensor.as_str()] {
        bench.until_listed(seal, "forced open", |line| line.says.lock == Some(LockClaim::Unlocked)).await?;
    }
    assert_eq!(bench.asked(Errand::Read).await?.outcome, Word::Done);
    let mut disk = bench.disk();
    let sealed_before = disk.count("SEALED");
    let dir = bench.rig.state_dir();
    // a reading is on record a moment after it was told
    until("what was read is kept as proven", || proven(&dir).is_ok_and(|evidence| evidence["lock"] == "unlocked")).await?;
    let evidence = proven(&dir)?;

    // Somebody who has recorded all of it plays it: to this run of the gate, and to one that has just begun.
    for run in 1..=2 {
        let before = disk.events().len();
        for _ in 0..3 {
            recorded.iter().try_for_each(|frame| bench.rig.air.send(frame).map(drop))?;
        }
        until("both replays are on record", || {
            let doubted = |seal: &str| disk.events()[before..].iter().any(|(_, doc)| doc["assurance"] == "doubtful" && is_of(doc, seal));
            [SEAL, sensor.as_str()].into_iter().all(doubted)
        })
        .await?;
        for seal in [SEAL, sensor.as_str()] {
            let line = bench.line(seal).await?;
            assert_eq!(line.says.lock, Some(LockClaim::Unlocked), "run {run}: the state is what the newest said: {line:?}");
        }
        assert_eq!(proven(&dir)?, evidence, "run {run}: no recording proves anything");
        assert_eq!(disk.count("SEALED"), sealed_before, "run {run}: nothing was sealed");
        for (word, doc) in &disk.events()[before..] {
            let says_locked = doc["data"]["state"]["lock"] == "locked";
            assert!(!says_locked && (doc["assurance"] != "evidence" || doc["data"]["state"].is_null()), "run {run}: {word} {doc}");
        }
        let resets = disk.events()[before..].iter().filter(|(word, _)| word == "COUNTER_RESET").count();
        assert!(resets >= 2, "run {run}: that a counter went back is an alarm of its own");
        if run == 1 {
            bench.rig.close().await?;
            bench.rig.open().await?;
        }
    }
    bench.rig.close().await
}

/// The next advertisements of the sensor and of the seal, as anybody may record them.
fn frames(bench: &mut Bench) -> Vec<AirFrame> {
    let payloads = bench.seal.lock().unwrap().advertise();
    let of_seal = payloads.into_iter().map(|payload| AirFrame { address: ADDRESS, rssi_dbm: Some(-60), payload });
    of_seal.chain([bench.rig.seals[0].frame()]).collect()
}

fn is_of(doc: &Value, seal: &str) -> bool {
    doc["data"]["seal"] == seal
}

/// What the gate keeps of the seal as proven.
fn proven(state_dir: &Path) -> anyhow::Result<Value> {
    let note = JournalReader::open(state_dir)?.note(segel::seals::NOTE, SEAL)?.ok_or_else(|| anyhow::anyhow!("no state is kept"))?;
    Ok(serde_json::from_slice::<Value>(&note)?["evidence"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_order_is_on_disk_before_the_write_and_a_kill_leaves_one_end_and_no_second_closing() -> Outcome {
    // Killed before the seal was written to, and after it was and had moved.
    for (reach, mood, closings) in [(Reach::OutOfReach, Mood::Obeying, 0), (Reach::Near, Mood::Slow, 1)] {
        let case = format!("{reach:?}, {mood:?}");
        let mut bench = Bench::build(0, "")?;
        let (mut disk, dir) = (bench.disk(), bench.run_dir());
        bench.rig.open().await?;
        bench.rig.air.set_reach(ADDRESS, reach);
        bench.with(|seal| seal.set_mood(mood));
        {
            let asking = heard(&bench.rig.air, ask(&dir, Errand::Lock));
            let so_far = until("it is intended and got as far as it can", || {
                disk.count("ACTION_INTENDED") == 1 && bench.with(|seal| seal.closings()) == closings
            });
            tokio::select! {
                ended = asking => anyhow::bail!("{case}: it ended before it was killed: {ended:?}"),
                so_far = so_far => so_far?,
            }
        }
        bench.rig.gate.kill().await?;
        assert_eq!(disk.count("ACTION_ENDED"), 0, "{case}");

        bench.rig.air.set_reach(ADDRESS, Reach::Near);
        bench.with(|seal| {
            seal.finish();
            seal.set_mood(Mood::Obeying);
        });
        let before = bench.with(|seal| seal.writes().len());
        bench.rig.open().await?;
        let read = bench.asked(Errand::Read).await?;
        assert_eq!(read.outcome, Word::Done, "{case}: {read:?}");
        bench.rig.close().await?;

        let (intents, ends) = (disk.bodies("ACTION_INTENDED"), disk.bodies("ACTION_ENDED"));
        assert_eq!((intents.len(), ends.len()), (1, 1), "{case}: {intents:?} {ends:?}");
        assert_eq!((&ends[0]["outcome"], &ends[0]["commandId"]), (&"unknown".into(), &intents[0]["commandId"]), "{case}");
        let written = bench.with(|seal| seal.writes()[before..].to_vec());
        assert!(!written.is_empty() && written.iter().all(|bytes| bytes[0] != COMMAND), "{case}: it is not done again by itself");
        assert_eq!(bench.with(|seal| seal.closings()), closings, "{case}");
        let intended = bench.seal.lock().unwrap().intended.clone();
        assert_eq!(intended, vec![1; closings as usize], "{case}: the intent is on disk when the command comes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlock_is_refused_by_the_socket_and_the_command_line_and_nothing_reaches_the_seal() -> Outcome {
    let mut bench = Bench::build(0, "")?;
    bench.with(|seal| seal.happens(SealWord::LowBattery));
    bench.rig.open().await?;
    let dir = bench.run_dir();
    heard(&bench.rig.air, bench.until_listed(SEAL, "heard", |line| line.heard_ago_ms.is_some())).await?;

    let mut refusals = Vec::new();
    for body in ["", r#"{"within_s":60}"#] {
        let request = format!(
            "POST /v1/seals/{SEAL}/unlock HTTP/1.1\r\nhost: segel\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = UnixStream::connect(dir.join(SOCKET)).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(PATIENCE, socket.read_to_string(&mut answer)).await??;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        refusals.push(answer);
    }
    let mut command = Command::new(PROGRAM);
    command.args(["seal", SEAL, "unlock", "--runtime-dir"]).arg(&dir).stdin(Stdio::null());
    let out = timeout(PATIENCE, heard(&bench.rig.air, command.output())).await??;
    assert_eq!(out.status.code(), Some(2));
    refusals.push(String::from_utf8(out.stderr)?);
    assert!(refusals.iter().all(|words| words.contains("permit")), "{refusals:?}");

    // The gate serves orders all the while: it was not deaf.
    assert_eq!(bench.asked(Errand::Read).await?.outcome, Word::Done);
    bench.rig.close().await?;
    let (commands, openings) = bench.with(|seal| (seal.writes().iter().filter(|bytes| bytes[0] == COMMAND).count(), seal.openings()));
    assert_eq!((commands, openings), (0, 0));
    assert_eq!(bench.disk().count("ACTION_INTENDED"), 0, "what is refused was never intended");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_receipt_cannot_be_promised_is_refused_before_anything_is_sent() -> Outcome {
    /// Entries that take more than a MiB on record.
    const ENTRIES: u32 = 3_000;
    let mut bench = Bench::build(0, "[journal]\nreceipt_quota_mib = 1\n")?;
    bench.with(|seal| (0..ENTRIES).for_each(|_| seal.happens(SealWord::TimeSet)));
    bench.rig.open().await?;
    let drained = bench.asked(Errand::Drain).await?;
    assert_eq!((drained.outcome, drained.drained), (Word::Done, Some(ENTRIES)), "{drained:?}");
    bench.rig.gate.until(PATIENCE, |status| status.no_receipts.is_some()).await?;
    let before = bench.with(|seal| seal.writes().len());
    for errand in [Errand::Lock, Errand::Drain, Errand::SetTime] {
        let refused = bench.asked(errand).await.expect_err("its end could not be kept");
        assert!(format!("{refused:#}").contains("nothing was sent to the seal"), "{refused:#}");
    }
    assert_eq!(bench.with(|seal| (seal.writes().len(), seal.closings(), seal.bolt())), (before, 0, Bolt::Unlocked));
    // to read promises nothing
    assert_eq!(bench.asked(Errand::Read).await?.outcome, Word::Done);
    bench.rig.close().await?;
    assert_eq!(bench.disk().count("ACTION_INTENDED"), 1, "the drain alone");
    Ok(())
}
