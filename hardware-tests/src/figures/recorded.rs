//! From the air to the disk: an advertisement that is an alarm, from BlueZ's signal until the journal has committed it.
//!
//! ```text
//!   emulated BlueZ ──signal──► dbus-daemon ──► btleplug, BleScan ──► Ingest ──► Journal ──commit──► here
//! ```
//!
//! The seal is keyed and says in turns that it is locked and that it was forced open, so that every one of its messages is an
//! event at once. Beside it stands a bare append of as many bytes with `fdatasync`, in turns with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use segel::{
    clock::Clock,
    ingest::{Ingest, Judge, Known, Memory, Thinning},
    journal::Journal,
};
use segel_drivers::{
    Ear, Heard, LockClaim, MacAddress, SealReading,
    ble::{AdapterName, BleScan, BleScanConfig, KnownSeal, Register},
    codec::bthome::SealKey,
    sim::EmulatedSeal,
    supervise::{Patience, keep},
};
use segel_hardware_tests::bluez::Bluez;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    append::Bare,
    events,
    sample::{Samples, ms},
    table::Row,
};

/// Advertisements whose time is taken.
const TIMED: usize = 500;
/// What never takes so long.
const DEADLINE: Duration = Duration::from_secs(30);
/// About what an alarm takes on disk.
const BYTES: usize = 1_200;

/// The rows of this part.
pub(super) async fn run(plan: &Plan, bus: &str) -> anyhow::Result<Vec<Row>> {
    let bluez = Bluez::start(bus)?;
    let (address, key) = (MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, 0xA5]), SealKey::new([7; 16]));
    let number: segel_drivers::SealId = "JT-1".parse()?;
    let register: Register = [(address, KnownSeal::bthome(number.clone(), Some(key.clone())))].into_iter().collect();
    let (journal, _) = events::open(&plan.dir.path().join("air"))?;
    let (reports, reported) = mpsc::channel(1024);
    let thinning = Thinning {
        heartbeat: Duration::from_secs(3_600),
        tag_repeat: Duration::from_secs(60),
        battery_step_percent: 5,
        temperature_step_c: 5.0,
        lost_after: Duration::from_secs(3_600),
    };
    let known = Known { readers: [].into(), seals: [(number, None)].into(), tags: [].into() };
    let judge = Judge::new(thinning, known, &Memory::default(), Heard::now());
    let (ingest, _standing) = Ingest::new(reported, judge, Clock::new(Duration::from_secs(3_600), None), journal.clone(), None);
    let ingesting = tokio::spawn(ingest.run());
    let config = BleScanConfig::new("ble-1".parse()?, AdapterName::Kernel("hci0".to_owned()), Arc::new(register));
    let ear = Ear::new(config.id.clone(), reports);
    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep(BleScan::new(config), ear, Patience::default(), stop.clone()));

    let mut bare = Bare::new(&plan.dir.path().join("air-bare"))?;
    let mut seal = EmulatedSeal::new(address, Some(key));
    let (mut ours, mut beside) = (Samples::default(), Samples::default());
    // The first one tells of the adapter and of the seal; it is not counted.
    passes(&bluez, &mut seal, &journal, LockClaim::Locked).await?;
    for turn in 0..plan.of(TIMED) {
        let lock = if turn % 2 == 0 { LockClaim::Unlocked } else { LockClaim::Locked };
        ours.push(passes(&bluez, &mut seal, &journal, lock).await?);
        beside.push(bare.append(&[b'x'; BYTES])?);
    }
    stop.cancel();
    kept.await?;
    ingesting.await??;
    journal.close().await?;
    Ok([50, 99]
        .map(|percent| {
            let (ours, beside) = (ours.percentile(percent), beside.percentile(percent));
            let row = Row::new(format!("advertisement's signal to event in the journal, p{percent}"), ms(ours));
            row.beside(format!("{} bare append", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64())
        })
        .into())
}

/// One advertisement; how long until the journal had something new.
async fn passes(bluez: &Bluez, seal: &mut EmulatedSeal, journal: &Journal, lock: LockClaim) -> anyhow::Result<Duration> {
    let tampered = lock == LockClaim::Unlocked;
    let reading = SealReading { lock: Some(lock), tamper: Some(tampered), ..SealReading::default() };
    let mut heads = journal.heads();
    heads.mark_unchanged();
    let frame = seal.advertise(&reading);
    let began = Instant::now();
    // Until it scans nothing is heard.
    while bluez.hears(frame.address, -60, std::slice::from_ref(&frame.payload)) == 0 {
        anyhow::ensure!(began.elapsed() < DEADLINE, "the scan does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(DEADLINE, heads.changed()).await.context("an advertisement was not recorded")??;
    Ok(began.elapsed())
}
