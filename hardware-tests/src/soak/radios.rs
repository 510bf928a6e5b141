//! What goes on in front of the gate: lorries with tags, seals that open and close, and a reader that fails.

use std::{convert::Infallible, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel_drivers::{
    LockClaim, MacAddress, SealReading,
    ble::AirFrame,
    codec::bthome::SealKey,
    sim::{EmulatedAir, EmulatedReader, EmulatedSeal},
};
use segel_hardware_tests::rig::{Seal, tag};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    diary::Diary,
    plan::{Act, Plan, Step, Track},
};

/// Between two things that happen in ordinary traffic.
const BETWEEN: Duration = Duration::from_millis(40);
/// Tags of a burst.
const BURST: u32 = 150;
/// Tags of bursts have numbers from here, those of ordinary traffic below.
const BURST_FROM: u32 = 0x4000_0000;
/// Frames sent at a time while the air is flooded, and the pause after them.
const FLOOD: (usize, Duration) = (10, Duration::from_millis(10));
/// Longest garbage on the serial line, in bytes.
const GARBAGE: usize = 300;

/// Traffic that never stops.
pub(super) async fn traffic(reader: &EmulatedReader, air: &EmulatedAir, seals: &mut [Seal], seed: u64) -> Infallible {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut number = 0;
    loop {
        if chance.random_ratio(6, 10) {
            number += 1;
            // A reader that is unplugged sees nothing; that is no fault of the traffic.
            drop(reader.show(tag(number), chance.random_range(1..5), 0x50).await);
        } else {
            let at = chance.random_range(0..seals.len());
            let seal = &mut seals[at];
            if chance.random_ratio(1, 12) {
                seal.turn();
            } else {
                seal.reading.temperature_centi_c = Some(chance.random_range(2_000..4_000));
            }
            let frame = seal.frame();
            drop(air.send(&frame));
        }
        sleep(BETWEEN).await;
    }
}

/// Bursts of tags.
pub(super) async fn bursts(reader: &EmulatedReader, plan: &Plan, begin: Instant, diary: &Diary) {
    let mut number = BURST_FROM;
    for step in plan.on(Track::Traffic).filter(|step| step.act == Act::Burst) {
        sleep_until(begin + step.at).await;
        diary.did(step.act);
        for _ in 0..BURST {
            number += 1;
            drop(reader.show(tag(number), 1, 0x50).await);
        }
    }
}

/// Does to the reader what is planned.
///
/// # Errors
/// When the emulated reader itself fails.
pub(super) async fn reader(reader: &EmulatedReader, plan: &Plan, begin: Instant, diary: &Diary) -> anyhow::Result<()> {
    for Step { at, act, lasts, seed } in plan.on(Track::Reader) {
        sleep_until(begin + at).await;
        let mut chance = StdRng::seed_from_u64(seed);
        let _trouble = diary.trouble(act);
        match act {
            Act::ReaderUnplugged => {
                reader.unplug().await?;
                sleep(lasts).await;
                reader.replug().await?;
            }
            Act::ReaderSilent => {
                reader.go_silent().await?;
                sleep(lasts).await;
                reader.speak().await?;
            }
            Act::ReaderAntenna => {
                reader.antenna_fault().await?;
                sleep(lasts).await;
                reader.antenna_repaired().await?;
            }
            Act::ReaderForgetsMode => reader.forget_mode().await?,
            _ => {
                let end = Instant::now() + lasts;
                while Instant::now() < end {
                    let garbage: Vec<u8> = (0..chance.random_range(1..GARBAGE)).map(|_| chance.random()).collect();
                    reader.noise(&garbage).await?;
                    reader.corrupt_next().await?;
                    sleep(Duration::from_millis(chance.random_range(20..200))).await;
                }
            }
        }
    }
    Ok(())
}

/// Strangers, forgeries and garbage on the air for so long.
pub(super) async fn flood(air: &EmulatedAir, known: &[MacAddress], step: Step) {
    let mut chance = StdRng::seed_from_u64(step.seed);
    let end = Instant::now() + step.lasts;
    let claim = SealReading { lock: Some(LockClaim::Unlocked), tamper: Some(true), ..SealReading::default() };
    while Instant::now() < end {
        for _ in 0..FLOOD.0 {
            let address = known[chance.random_range(0..known.len())];
            match chance.random_range(0..1_000) {
                0..400 => drop(air.send(&EmulatedSeal::new(MacAddress(chance.random()), None).advertise(&claim))),
                400..600 => drop(air.send(&EmulatedSeal::new(address, Some(SealKey::new(chance.random()))).advertise(&claim))),
                600..700 => drop(air.send(&EmulatedSeal::new(address, None).advertise(&claim))),
                700..999 => {
                    let service_data = (0..chance.random_range(0..200)).map(|_| chance.random()).collect();
                    drop(air.send(&AirFrame::bthome(address, None, service_data)));
                }
                _ => drop(air.send_raw(vec![0xFF; 64])),
            }
        }
        sleep(FLOOD.1).await;
    }
}
