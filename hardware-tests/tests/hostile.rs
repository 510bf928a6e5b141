//! What anybody with a transmitter can do to the gate, and what must go on meanwhile.

use std::{convert::Infallible, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel_drivers::{
    LockClaim, MacAddress, SealReading,
    ble::AirFrame,
    sim::{EmulatedAir, EmulatedSeal},
};
use segel_hardware_tests::{
    ledger::{Ledger, events},
    rig::{PATIENCE, Rig, RigConfig, Seal, tag},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Received};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Frames sent at a time; with the pause between, some 1,500 a second.
const BURST: usize = 15;
/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(10);
/// Tags that pass meanwhile.
const TAGS: u32 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_air_does_not_stop_the_portal() -> anyhow::Result<()> {
    let customs = CustomsBroker::start().await?;
    let more = "[reopen]\nfirst_ms = 20\ncap_s = 1".to_owned();
    let mut rig = Rig::build(PROGRAM, &RigConfig { customs: Some(customs.address()), seals: 3, more })?;
    rig.open().await?;
    for seal in 0..rig.seals.len() {
        rig.advertise(seal)?;
    }
    customs.until(PATIENCE, |seen| events(seen, "device-status").len() == 3).await?;
    let mut sent = 0;
    {
        let Rig { reader, air, seals, .. } = &mut rig;
        let portal = async {
            for number in 0..TAGS {
                reader.show(tag(number), 1, 0x50).await?;
                let epc = tag(number).to_string();
                let read = |seen: &[Received]| events(seen, "tag-seen").iter().any(|event| event["data"]["epc"] == *epc);
                customs.until(PATIENCE, read).await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            broke = flood(air, seals, &mut sent) => match broke? {},
            passed = portal => passed?,
        }
    }
    let status = rig.drain().await?;
    assert!(sent > 1_000, "the air was not full: {sent} frames");
    assert_eq!(status.journal_refuses, None);
    // The air itself is still heard, or heard again: a seal that is forced open now is an alarm.
    rig.gate.until(PATIENCE, |status| status.readers.iter().all(|r| r.status == segel::ingest::ReaderStatus::Up)).await?;
    rig.seals[0].force_open();
    for _ in 0..50 {
        rig.advertise(0)?;
        if customs.until(Duration::from_millis(200), |seen| !events(seen, "forced-open").is_empty()).await.is_ok() {
            break;
        }
    }
    assert_eq!(events(&customs.received(), "forced-open").len(), 1);
    rig.drain().await?;
    rig.close().await?;
    let received = customs.received();
    let count = Ledger::of(&received)?.balance(&rig.state_dir())?;
    let alarms = received.iter().filter(|m| String::from_utf8_lossy(&m.payload).contains(r#""class":"alarm""#)).count();
    eprintln!("{sent} frames on the air made {count} events, {alarms} of them alarms");
    assert!(alarms < 200, "a transmitter without a key made {alarms} alarms of {sent} frames");
    Ok(())
}

/// Strangers that claim to be seals, frames with wrong codes and plain ones under the addresses of known seals,
/// garbage, and now and then what is no frame at all.
async fn flood(air: &EmulatedAir, seals: &[Seal], sent: &mut usize) -> anyhow::Result<Infallible> {
    let mut chance = StdRng::seed_from_u64(17);
    let claim = |lock| SealReading { lock: Some(lock), tamper: Some(true), ..SealReading::default() };
    loop {
        for _ in 0..BURST {
            *sent += 1;
            let known = seals[chance.random_range(0..seals.len())].address();
            match chance.random_range(0..1_000) {
                0..400 => {
                    let mut stranger = EmulatedSeal::new(MacAddress(chance.random()), None);
                    air.send(&stranger.advertise(&claim(LockClaim::Unlocked)))?;
                }
                400..600 => {
                    let mut forger = EmulatedSeal::new(known, Some(segel_drivers::codec::bthome::SealKey::new(chance.random())));
                    air.send(&forger.advertise(&claim(LockClaim::Locked)))?;
                }
                600..700 => {
                    let mut forger = EmulatedSeal::new(known, None);
                    air.send(&forger.advertise(&claim(LockClaim::Unlocked)))?;
                }
                700..850 => {
                    let service_data = (0..chance.random_range(0..200)).map(|_| chance.random()).collect();
                    air.send(&AirFrame::bthome(known, None, service_data))?;
                }
                850..997 => {
                    let length: u16 = chance.random_range(1..=512);
                    let content = (0..length).map(|_| chance.random::<u8>());
                    air.send_raw(u32::from(length).to_le_bytes().into_iter().chain(content).collect());
                }
                _ => drop(air.send_raw(vec![0xFF; 64])),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
