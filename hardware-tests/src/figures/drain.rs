//! A backlog goes to customs: how fast, beside publishers that keep nothing.
//!
//! The journal is filled first; then a whole gate is started on it with the line open. The rates run from the first
//! acknowledgement to the last, on every side. Between the rounds the gate's cursors are taken away, which costs only
//! what it should: everything is sent again.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use segel_hardware_tests::{
    mosquitto::Mosquitto,
    peers::Peer,
    rig::{Rig, RigConfig},
};
use segel_mqtt_bridge::sim::CustomsBroker;
use tokio::time::sleep;

use super::{
    Plan, events, plain,
    sample::{middle, per_second, rate},
    table::Row,
};

/// Events in the journal.
const BACKLOG: usize = 200_000;
/// How often all take their turn.
const ROUNDS: usize = 5;
/// How often the gate is asked how far it is; an answer costs it some 0.2 ms.
const LOOK: Duration = Duration::from_millis(25);
/// The backlog is gone within this and a second for so many events, or something is broken.
const PATIENCE: Duration = Duration::from_secs(300);
const SLOWEST: usize = 5_000;
/// Of the plain publisher's rate at least.
const TARGET: f64 = 0.9;

/// Customs' broker: a real one, or the emulated one where there is none.
pub(super) enum Customs {
    Mosquitto(Mosquitto),
    Emulated(CustomsBroker),
}

impl Customs {
    pub(super) async fn open(dir: &Path) -> anyhow::Result<Self> {
        if Peer::Mosquitto.find().is_some() {
            return Ok(Self::Mosquitto(Mosquitto::start(dir)?));
        }
        eprintln!("  no mosquitto here, an emulated broker takes its place: {}", Peer::Mosquitto.remedy());
        Ok(Self::Emulated(CustomsBroker::start().await?))
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Mosquitto(broker) => broker.address(),
            Self::Emulated(broker) => broker.address(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto",
            Self::Emulated(_) => "the EMULATED broker",
        }
    }
}

/// The rows of this part.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let many = plan.of(BACKLOG);
    let customs = Customs::open(plan.dir.path()).await?;
    let mut rig = Rig::build(&plan.program, &RigConfig { customs: Some(customs.address()), ..RigConfig::default() })?;
    events::fill(&rig.state_dir(), many).await?;
    let messages = events::messages(&rig.state_dir(), many)?;
    let lines = plain::lines(plan.dir.path().join("lines"), &messages, many)?;
    let (mut ours, mut plainly, mut piped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        forget_cursors(&rig.state_dir())?;
        rig.gate.start().await?;
        ours.push(drained(&rig, many).await?.context("all was gone before it could be looked at; the backlog is too small")?);
        rig.gate.stop().await?;
        plainly.push(rate(many, plain::rumqttc(customs.address(), &messages, many).await?));
        if let Some(took) = plain::mosquitto_pub(customs.address(), &lines).await? {
            piped.push(rate(many, took));
        }
        eprintln!(
            "  a round: ours {:.0}, plain {:.0}, mosquitto_pub {:.0?}",
            ours[ours.len() - 1],
            plainly[plainly.len() - 1],
            piped.last()
        );
    }
    let ratio = |beside: &[f64]| middle(ours.iter().zip(beside).map(|(ours, beside)| ours / beside).collect());
    let (to_plainly, to_piped) = (ratio(&plainly), ratio(&piped));
    let (name, ours, plainly) = (customs.name(), middle(ours), middle(plainly));
    let thousand = many / 1_000;
    let row = |rate: f64, ratio: f64, beside: &str| {
        let row = Row::new(format!("drain of {thousand},000 events to {name}"), per_second(ours));
        row.beside(format!("{} {beside}", per_second(rate)), ratio)
    };
    let mut rows = vec![row(plainly, to_plainly, "plain rumqttc, QoS 1").aims(format!("at least {TARGET} x"), to_plainly >= TARGET)];
    if !piped.is_empty() {
        rows.push(row(middle(piped), to_piped, "mosquitto_pub -l -q 1"));
    }
    Ok(rows)
}

/// Makes the gate send everything again; it must not be running.
pub(super) fn forget_cursors(state_dir: &Path) -> anyhow::Result<()> {
    let journal = rusqlite::Connection::open(state_dir.join("journal.db"))?;
    journal.execute("DELETE FROM cursor", [])?;
    Ok(())
}

/// Waits until this many events are acknowledged; the rate from the first acknowledgement seen to the last, unless all
/// was gone before it could be looked at.
pub(super) async fn drained(rig: &Rig, many: usize) -> anyhow::Result<Option<f64>> {
    let deadline = Instant::now() + PATIENCE + Duration::from_secs((many / SLOWEST) as u64);
    let mut first = None;
    loop {
        let status = rig.gate.status().await?;
        let now = Instant::now();
        let acknowledged = status.uplink.context("the gate has no uplink")?.acknowledged;
        let acknowledged = usize::try_from(acknowledged)?;
        if acknowledged > 0 {
            let (since, before) = *first.get_or_insert((now, acknowledged));
            if acknowledged >= many {
                return Ok((before < many).then(|| rate(acknowledged - before, now - since)));
            }
        }
        anyhow::ensure!(now < deadline, "customs has acknowledged {acknowledged} of {many} events and no more");
        sleep(LOOK).await;
    }
}
