//! The gate's own deaths, and the supervisor that starts it again.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::daemon::Daemon;
use segel_hardware_tests::rig::PATIENCE;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{
    diary::Diary,
    plan::{Act, Plan, Track},
};

/// A gate that is killed while it opens lives at most this long, in milliseconds: about as long as it opens.
const OPENING_MS: u64 = 80;
/// The supervisor waits this long before it tries a start again that a full disk refused.
const AGAIN: Duration = Duration::from_millis(500);
/// Most such starts in a row: a disk is never full for that long.
const STARTS_MAX: usize = 60;

/// Acts that may stop a journal from being opened.
const FULL: &[Act] = &[Act::DiskFull, Act::DiskNearlyFull];

/// Does to the gate what is planned, and keeps it running.
///
/// # Errors
/// When it does not start any more.
pub(super) async fn run(gate: &mut Daemon, plan: &Plan, begin: Instant, diary: &Diary) -> anyhow::Result<()> {
    for step in plan.on(Track::Gate) {
        sleep_until(begin + step.at).await;
        let mut chance = StdRng::seed_from_u64(step.seed);
        let _trouble = diary.trouble(step.act);
        match step.act {
            Act::GateRestarted => match gate.stop().await {
                Ok(ended) if ended.code() == Some(0) => {}
                Ok(ended) => unless_full(diary, format!("told to stop, the gate ended with {ended}")),
                Err(fault) => diary.breaks(format!("told to stop: {fault:#}")),
            },
            Act::GateKilledOpening => {
                kill(gate, diary).await;
                let life = Duration::from_millis(chance.random_range(0..OPENING_MS));
                // Whether it opened in time is of no interest: it is killed in either case.
                drop(timeout(life, gate.start()).await);
                kill(gate, diary).await;
            }
            _ => kill(gate, diary).await,
        }
        start(gate, diary).await?;
    }
    Ok(())
}

async fn kill(gate: &mut Daemon, diary: &Diary) {
    if let Err(fault) = gate.kill().await {
        unless_full(diary, format!("{fault:#}"));
    }
}

fn unless_full(diary: &Diary, what: String) {
    if diary.explains(FULL, Timestamp::now()) {
        diary.count("ends of the gate that a full disk explains", 1);
    } else {
        diary.breaks(what);
    }
}

/// Starts it and waits until monitors can connect.
///
/// # Errors
/// When it does not get there, and no full disk is the reason.
pub(super) async fn start(gate: &mut Daemon, diary: &Diary) -> anyhow::Result<()> {
    for _ in 0..STARTS_MAX {
        match gate.start().await {
            Ok(_) => {
                gate.until(PATIENCE, |status| status.broker.is_some()).await.context("the gate has no broker")?;
                diary.count("starts of the gate", 1);
                return Ok(());
            }
            Err(fault) if diary.explains(FULL, Timestamp::now()) => {
                diary.count("starts that a full disk refused", 1);
                drop(fault);
                sleep(AGAIN).await;
            }
            Err(fault) => return Err(fault).context("the gate does not start"),
        }
    }
    anyhow::bail!("the gate does not start although the disk has room again")
}
