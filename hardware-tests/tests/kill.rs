//! The gate is killed at random moments, fifty times, under load, on a line that breaks: nothing that was acknowledged
//! may be lost, nothing may be forged, and customs must be able to tell from what it received alone.
//!
//! ```text
//!   tags, seals ──► gate (SIGKILL, again and again) ══ line (cut, swallowing) ══► customs
//!                     └──► a monitor per life: what it is shown has been acknowledged
//! ```
//!
//! `SEGEL_SEED` plays one order of things again; it is printed at the start of each run.

use std::{convert::Infallible, process::ExitCode, time::Duration};

use libtest_mimic::{Arguments, Trial};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::daemon::Daemon;
use segel_drivers::sim::{EmulatedAir, EmulatedReader};
use segel_hardware_tests::{
    ledger::{Ledger, events, is_event},
    mosquitto::{Mosquitto, Subscriber},
    peers::{Peer, on_runtime, trial},
    rig::{PATIENCE, Rig, RigConfig, Seal, tag},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Line, Monitor, Received, Weather, line::Direction};
use tokio::time::{sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Times the gate is killed.
const KILLS: usize = 50;
/// Seals that change their minds all the time.
const SEALS: u16 = 6;
/// From one thing that happens at the gate to the next: some 150 a second.
const BETWEEN: Duration = Duration::from_millis(6);
/// A gate that is killed while it opens lives at most this long, in milliseconds: about as long as it opens.
const OPENING_MS: u64 = 80;
/// A gate that has opened lives this long, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 60..700;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("fifty_kills_lose_nothing_and_forge_nothing_against_an_in_process_broker", || {
            on_runtime(async {
                let customs = Customs::InProcess(CustomsBroker::start().await?);
                fifty_kills_lose_nothing_and_forge_nothing(&customs).await
            })
        }),
        trial("fifty_kills_lose_nothing_and_forge_nothing_against_mosquitto", &[Peer::Mosquitto], || {
            on_runtime(async {
                let dir = tempfile::tempdir()?;
                let broker = Mosquitto::start(dir.path())?;
                let subscriber = Subscriber::to(broker.address(), "segel/#").await?;
                fifty_kills_lose_nothing_and_forge_nothing(&Customs::Mosquitto { broker, subscriber }).await
            })
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Who plays customs.
#[allow(clippy::large_enum_variant, reason = "there are two of them in all")]
enum Customs {
    InProcess(CustomsBroker),
    Mosquitto { broker: Mosquitto, subscriber: Subscriber },
}

impl Customs {
    fn address(&self) -> std::net::SocketAddr {
        match self {
            Self::InProcess(broker) => broker.address(),
            Self::Mosquitto { broker, .. } => broker.address(),
        }
    }

    /// All that customs received, complete up to the notice of the last stop.
    async fn received(&self, stops: usize) -> anyhow::Result<Vec<Received>> {
        let all = |seen: &[Received]| events(seen, "gateway-stopped").len() >= stops;
        Ok(match self {
            Self::InProcess(broker) => {
                broker.until(PATIENCE, all).await?;
                broker.received()
            }
            // The notice of the stop is the last thing sent, and QoS 1 to one subscriber keeps the order.
            Self::Mosquitto { subscriber, .. } => {
                subscriber.until(PATIENCE, all).await?;
                subscriber.received()
            }
        })
    }
}

async fn fifty_kills_lose_nothing_and_forge_nothing(customs: &Customs) -> anyhow::Result<()> {
    let seed = std::env::var("SEGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let what = match customs {
        Customs::InProcess(_) => "an in-process broker",
        Customs::Mosquitto { .. } => "mosquitto",
    };
    eprintln!("fifty kills against {what}: SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let line = Line::to(customs.address()).await?;
    let config = RigConfig { customs: Some(line.address()), seals: SEALS, more: "[reopen]\nfirst_ms = 20\ncap_s = 1".to_owned() };
    let mut rig = Rig::build(PROGRAM, &config)?;
    let mut deaths = Deaths::default();
    {
        let Rig { reader, air, seals, gate, .. } = &mut rig;
        let mut load = Load { reader, air, seals, chance: StdRng::seed_from_u64(chance.random()), tags: 0 };
        tokio::select! {
            broke = load.run() => match broke? {},
            killed = deaths.fifty(gate, &line, &mut chance) => killed?,
        }
    }
    line.set(Weather::Fair);
    rig.open().await?;
    rig.drain().await?;
    rig.close().await?;
    deaths.hang_up();

    let received = customs.received(1).await?;
    let ledger = Ledger::of(&received)?;
    let shown: Vec<_> = deaths.shown.iter().flatten().filter(|m| is_event(&m.topic)).collect();
    for message in &shown {
        let id = segel::event::document::Head::parse(&message.payload)?.id.to_string();
        anyhow::ensure!(ledger.holds(&id, &message.payload), "{} {id} was shown to a monitor and is lost or changed", message.topic);
    }
    let repeats = ledger.repeats;
    let count = ledger.balance(&rig.state_dir())?;

    // What proves nothing when little happened.
    let lives = deaths.shown.iter().filter(|life| life.iter().any(|m| is_event(&m.topic))).count();
    eprintln!(
        "against {what}: {count} events, {repeats} repeats, {} shown to monitors in {lives} lives, {} kills while opening",
        shown.len(),
        deaths.in_opening
    );
    anyhow::ensure!(lives >= KILLS / 2, "monitors saw events in {lives} lives only");
    anyhow::ensure!(deaths.in_opening > 0 && deaths.in_opening < KILLS / 2, "{} kills while opening", deaths.in_opening);
    anyhow::ensure!(repeats > 0, "no kill came between an event's arrival and its acknowledgement");
    for kind in ["tag-seen", "unsealed", "sealed", "forced-open", "gateway-started"] {
        anyhow::ensure!(!events(&received, kind).is_empty(), "the load made no {kind}");
    }
    Ok(())
}

/// What happens in front of the gate, whether or not it is alive.
struct Load<'a> {
    reader: &'a EmulatedReader,
    air: &'a EmulatedAir,
    seals: &'a mut [Seal],
    chance: StdRng,
    tags: u32,
}

impl Load<'_> {
    async fn run(&mut self) -> anyhow::Result<Infallible> {
        loop {
            match self.chance.random_range(0..10) {
                0..4 => {
                    self.tags += 1;
                    self.reader.show(tag(self.tags), self.chance.random_range(1..5), 0x50).await?;
                }
                4..9 => {
                    let seal = self.seal();
                    seal.turn();
                    let frame = seal.frame();
                    self.air.send(&frame)?;
                }
                _ => {
                    let seal = self.seal();
                    seal.reading.lock = Some(segel_drivers::LockClaim::Locked);
                    seal.reading.tamper = Some(false);
                    let whole = seal.frame();
                    seal.force_open();
                    let forced = seal.frame();
                    self.air.send(&whole)?;
                    self.air.send(&forced)?;
                }
            }
            sleep(BETWEEN).await;
        }
    }

    fn seal(&mut self) -> &mut Seal {
        let index = self.chance.random_range(0..self.seals.len());
        &mut self.seals[index]
    }
}

/// The kills, and what the monitors of each life were shown.
#[derive(Default)]
struct Deaths {
    in_opening: usize,
    shown: Vec<Vec<Received>>,
    monitor: Option<Monitor>,
}

impl Deaths {
    async fn fifty(&mut self, gate: &mut Daemon, line: &Line, chance: &mut StdRng) -> anyhow::Result<()> {
        for number in 0..KILLS {
            // The first life is a whole one, so that the journal is there for the others.
            if number > 0 && chance.random_ratio(1, 5) {
                self.dies_while_opening(gate, chance).await?;
            } else {
                self.lives_and_dies(gate, line, chance).await?;
            }
        }
        Ok(())
    }

    async fn dies_while_opening(&mut self, gate: &mut Daemon, chance: &mut StdRng) -> anyhow::Result<()> {
        let life = Duration::from_millis(chance.random_range(0..OPENING_MS));
        match timeout(life, gate.start()).await {
            Ok(opened) => drop(opened?),
            Err(_) => self.in_opening += 1,
        }
        gate.kill().await?;
        Ok(())
    }

    async fn lives_and_dies(&mut self, gate: &mut Daemon, line: &Line, chance: &mut StdRng) -> anyhow::Result<()> {
        gate.start().await?;
        let broker = gate.until(PATIENCE, |status| status.broker.is_some()).await?.broker;
        let broker = broker.ok_or_else(|| anyhow::anyhow!("a gate without a broker"))?.listen;
        self.monitor = Some(Monitor::watch(broker, "segel/#"));
        match chance.random_range(0..8) {
            0 => line.snap(),
            1 => line.set(Weather::Cut),
            2 => line.set(Weather::BlackHole),
            3 => line.set(Weather::Slow(Duration::from_millis(chance.random_range(1..60)))),
            4 => line.cut_after(Direction::Up, chance.random_range(1..40_000)),
            5 => line.cut_after(Direction::Down, chance.random_range(1..400)),
            _ => {}
        }
        sleep(Duration::from_millis(chance.random_range(LIFE_MS))).await;
        line.set(Weather::Fair);
        if chance.random_ratio(1, 2) {
            sleep(Duration::from_millis(chance.random_range(LIFE_MS))).await;
        }
        gate.kill().await?;
        self.hang_up();
        Ok(())
    }

    fn hang_up(&mut self) {
        self.shown.extend(self.monitor.take().map(|monitor| monitor.received()));
    }
}
