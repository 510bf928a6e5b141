//! A seal that proves itself, a real gate and its command line: who asked, what became of it, and what is confirmed when.
//!
//! `SEGEL_SEED` plays one order of kills again; it is printed at the start.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::{
    event::{Class, Seq, Source},
    journal::{Journal, JournalConfig},
};
use segel_drivers::{MacAddress, SealWord, sim::lock::segel_v1::SegelLock};
use segel_hardware_tests::rig::{Rig, RigConfig};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
const KEY: &str = "5f3a9c1e7b2d48a6c0e4f1937d5b8a26";
const SEAL: &str = "SGL-1003";
/// How often the seal says that it is there.
const ADVERTISED_EVERY: Duration = Duration::from_millis(100);
/// An order that takes longer hangs.
const ORDER: Duration = Duration::from_secs(60);

type Outcome = anyhow::Result<()>;

fn address() -> MacAddress {
    "C0:FF:EE:00:10:03".parse().unwrap()
}

/// A gate with one seal that speaks the open protocol.
struct Custody {
    rig: Rig,
    lock: Arc<Mutex<SegelLock>>,
}

impl Custody {
    fn build() -> anyhow::Result<Self> {
        let rig = Rig::build(PROGRAM, &RigConfig::default())?;
        rig.configure("[gate]\nseal_keys = \"keys.toml\"\n[sessions]\npause_ms = 20\n")?;
        let seals = format!("[[seal]]\nid = \"{SEAL}\"\naddress = \"{}\"\nprotocol = \"segel\"\ncontainer = \"CSQU3054383\"\n", address());
        fs::write(rig.dir().join("seals.toml"), seals)?;
        let keys = rig.dir().join("keys.toml");
        fs::write(&keys, format!("[{SEAL}]\nkey = \"{KEY}\"\n"))?;
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
        let lock = Arc::new(Mutex::new(SegelLock::new(address(), SEAL, KEY.parse()?, 7)));
        rig.air.add(&lock);
        Ok(Self { rig, lock })
    }

    /// Lets the seal advertise while something else goes on.
    async fn while_heard<T>(&self, something: impl Future<Output = T>) -> T {
        let heard = async {
            loop {
                self.rig.air.advertise(address()).unwrap();
                sleep(ADVERTISED_EVERY).await;
            }
        };
        tokio::select! {
            done = something => done,
            () = heard => unreachable!("it goes on for ever"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--runtime-dir").arg(self.rig.dir().join("run")).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn asked(&self, words: &[&str]) -> anyhow::Result<Output> {
        Ok(timeout(ORDER, self.while_heard(self.command(words).output())).await??)
    }

    fn state_dir(&self) -> PathBuf {
        self.rig.state_dir()
    }

    /// The bodies of all alarms and receipts on record, with their words; the gate does not run.
    async fn record(&self) -> Vec<(String, Value)> {
        let journal = Journal::open(&self.state_dir(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let reader = journal.reader().unwrap();
        let mut all = Vec::new();
        for class in [Class::Alarm, Class::Receipt] {
            for record in reader.after(class, Seq::NONE, 10_000, usize::MAX).unwrap() {
                let doc: Value = serde_json::from_slice(&record.doc).unwrap();
                all.push((record.kind, doc["data"].clone()));
            }
        }
        drop(reader);
        journal.close().await.unwrap();
        all
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_is_read_locked_and_drained_from_the_command_line_and_never_opened() -> Outcome {
    let mut custody = Custody::build()?;
    custody.rig.open().await?;
    custody.lock.lock().unwrap().happens(SealWord::CoverOpened);

    let read = custody.asked(&["seal", SEAL, "read"]).await?;
    assert_eq!(read.status.code(), Some(0), "{}{}", text(&read.stdout), text(&read.stderr));
    assert!(text(&read.stdout).contains("COVER_OPENED") && text(&read.stdout).contains("(authenticated)"), "{}", text(&read.stdout));
    assert!(text(&read.stderr).contains("connecting 1/4"), "progress goes to standard error: {}", text(&read.stderr));

    let refused = custody.asked(&["seal", SEAL, "unlock"]).await?;
    assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), String::new()));
    assert!(text(&refused.stderr).contains("permit"), "{}", text(&refused.stderr));
    let unknown = custody.asked(&["seal", "SGL-9", "read"]).await?;
    assert_eq!(unknown.status.code(), Some(10), "{}", text(&unknown.stderr));

    let locked = custody.asked(&["seal", SEAL, "lock", "--json"]).await?;
    let last: Value = serde_json::from_str(text(&locked.stdout).lines().last().unwrap())?;
    let drained = custody.asked(&["seal", SEAL, "drain"]).await?;
    assert_eq!(drained.status.code(), Some(0), "{}{}", text(&drained.stdout), text(&drained.stderr));
    assert_eq!(custody.lock.lock().unwrap().held(), Vec::<u32>::new(), "confirmed and deleted");

    let listed = custody.asked(&["seals", "--json"]).await?;
    let list: Value = serde_json::from_slice(&listed.stdout)?;
    assert_eq!(
        (&list[0]["seal"], &list[0]["security"], &list[0]["hasKey"]),
        (&SEAL.into(), &"authenticated".into(), &true.into()),
        "{list}"
    );
    assert!(list[0]["heardAgoMs"].as_u64().is_some() && list[0]["adapter"] == "air", "{list}");
    custody.rig.gate.stop().await?;

    let log = custody.rig.log()?;
    for shown in [&log, &text(&listed.stdout), &text(&read.stderr), &text(&locked.stdout)] {
        assert!(!shown.contains(KEY) && !shown.to_lowercase().contains(&KEY[..8]), "a key is shown: {shown}");
    }
    let record = custody.record().await;
    assert!(!serde_json::to_string(&record.iter().map(|(_, body)| body).collect::<Vec<_>>())?.contains(KEY));
    let of = |kind: &str| record.iter().filter(|(word, _)| word == kind).map(|(_, body)| body.clone()).collect::<Vec<_>>();
    let (intents, ends) = (of("ACTION_INTENDED"), of("ACTION_ENDED"));
    assert_eq!(intents.iter().map(|body| body["action"].as_str().unwrap()).collect::<Vec<_>>(), ["lock", "drain"]);
    assert_eq!(ends.len(), 2, "reading leaves none: {ends:?}");
    assert_eq!(ends[0]["outcome"], last["outcome"]);
    assert!(intents.iter().all(|body| body["askedBy"]["uid"] == u64::from(rustix::process::getuid().as_raw())), "{intents:?}");
    let covers = of("COVER_OPENED");
    assert_eq!(covers.iter().filter(|body| body["stored"] == true).count(), 1, "{covers:?}");
    assert_eq!(covers.iter().filter(|body| body["reason"] != "told").count(), 1, "once as a state: {covers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_events_are_confirmed_only_after_they_are_journalled_however_often_the_gate_is_killed() -> Outcome {
    let seed = std::env::var("SEGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let kills = if std::env::var_os("SEGEL_NIGHTLY").is_some() { 60 } else { 8 };
    let mut custody = Custody::build()?;
    let words = [SealWord::LowBattery, SealWord::CoverOpened, SealWord::WrongPassword, SealWord::ShackleCut];
    let mut logged = BTreeSet::new();
    for _ in 0..kills {
        {
            let mut lock = custody.lock.lock().unwrap();
            (0..40).for_each(|number| lock.happens(words[number % words.len()]));
            logged.extend(lock.held());
        }
        custody.rig.open().await?;
        let mut draining = custody.command(&["seal", SEAL, "drain"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // Long enough to connect, and some way into the log.
        let lives = Duration::from_millis(chance.random_range(100..1_500));
        custody.while_heard(sleep(lives)).await;
        custody.rig.gate.kill().await?;
        draining.wait().await?;
        let on_record: BTreeSet<u32> = custody.record().await.iter().filter_map(number).collect();
        let held: BTreeSet<u32> = custody.lock.lock().unwrap().held().into_iter().collect();
        let lost: Vec<_> = logged.iter().filter(|number| !held.contains(number) && !on_record.contains(number)).collect();
        assert!(lost.is_empty(), "deleted at the seal and not on record: {lost:?}");
    }
    custody.rig.open().await?;
    let deadline = Instant::now() + ORDER;
    while !custody.lock.lock().unwrap().held().is_empty() {
        assert!(Instant::now() < deadline, "the log is never empty");
        custody.asked(&["seal", SEAL, "drain"]).await?;
    }
    custody.rig.gate.stop().await?;
    let record = custody.record().await;
    let numbers: Vec<u32> = record.iter().filter_map(number).collect();
    let once: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), once.len(), "an event is on record twice");
    assert_eq!(logged.difference(&once).collect::<Vec<_>>(), Vec::<&u32>::new(), "an event is missing");
    let of = |kind: &str| record.iter().filter(|(word, _)| word == kind).count();
    assert_eq!(of("ACTION_INTENDED"), of("ACTION_ENDED"), "every intent has one end");
    Ok(())
}

/// The number in the seal's log of what it told out of it.
fn number((_, body): &(String, Value)) -> Option<u32> {
    (body["stored"] == true).then(|| u32::try_from(body["logNumber"].as_u64().unwrap()).unwrap())
}
