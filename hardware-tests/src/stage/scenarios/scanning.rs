//! Hearing seals, whatever happens to the adapter and to BlueZ.

use std::time::Duration;

use anyhow::{Context, ensure};
use segel_drivers::{Protection, Sighting};

use crate::stage::{BusLoad, Listening, Stage};

/// Until a radio is up and everything speaks: a start of the runtime, one scan.
const SOON: Duration = Duration::from_secs(20);
/// Until everything is heard again after the worst: quiet, a rebuild, the pauses of the supervisor, a start of BlueZ.
const RECOVERED: Duration = Duration::from_secs(45);
/// How long a radio may take to stop.
const STOPPED: Duration = Duration::from_secs(10);
/// How often an adapter with the dullest duplicate filter tells of a standing seal, with room.
const DULLEST: Duration = Duration::from_secs(16);
/// Faults in a row that one radio must survive.
const IN_A_ROW: usize = 3;
/// Advertisements of each seal that show that the scan is back: more than can have been under way before.
const BACK: usize = 3;

/// # Errors
/// When it is not so.
pub async fn every_seal_is_heard_with_the_protection_it_has(stage: &mut impl Stage) -> anyhow::Result<()> {
    let mut radio = Listening::on(stage);
    for beacon in stage.beacons() {
        let advert = radio.advert_of(beacon.address, SOON).await?;
        let keyed = matches!(advert.protection, Protection::Keyed { .. });
        ensure!(keyed == beacon.known.credentials.key.is_some(), "{advert:?}");
        ensure!(advert.seal == beacon.known.seal && advert.rssi_dbm.is_some() && advert.reading.battery_percent.is_some(), "{advert:?}");
    }
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn a_seal_out_of_reach_is_heard_again_when_it_is_back(stage: &mut impl Stage) -> anyhow::Result<()> {
    let beacon = stage.beacons().pop().context("a beacon")?;
    let mut radio = Listening::on(stage);
    radio.advert_of(beacon.address, SOON).await?;
    stage.take_away(beacon.address).await?;
    radio.forget();
    // One that was on its way may still come; then it is silent.
    while radio.advert_of(beacon.address, Duration::from_secs(1)).await.is_ok() {}
    stage.bring_back(beacon.address).await?;
    radio.advert_of(beacon.address, SOON).await?;
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn an_adapter_switched_off_is_switched_on_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    for _ in 0..IN_A_ROW {
        heard_from_all(stage, &mut radio).await?;
        stage.power_off().await?;
        radio.forget();
    }
    heard_from_all(stage, &mut radio).await?;
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn adapter_return_resumes_the_scan_without_restart(stage: &mut impl Stage) -> anyhow::Result<()> {
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    for _ in 0..IN_A_ROW {
        heard_from_all(stage, &mut radio).await?;
        stage.pull().await?;
        radio.forget();
        stage.plug().await?;
    }
    heard_from_all(stage, &mut radio).await?;
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn an_adapter_away_for_long_is_reported_once_and_heard_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    stage.pull().await?;
    let down = |sighting: &Sighting| match sighting {
        Sighting::Standing(segel_drivers::Standing::Down { reason }) => Some(reason.clone()),
        _ => None,
    };
    let reason = radio.until("the radio down", RECOVERED, down).await?;
    ensure!(reason.contains("adapter") || reason.contains("bluetooth.service"), "what to do is not said: {reason}");
    stage.plug().await?;
    radio.up(RECOVERED).await?;
    heard_from_all(stage, &mut radio).await?;
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn bluez_killed_and_started_again_is_heard_again(stage: &mut impl Stage) -> anyhow::Result<()> {
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    for _ in 0..IN_A_ROW {
        heard_from_all(stage, &mut radio).await?;
        stage.kill_bluez().await?;
        radio.forget();
        stage.start_bluez().await?;
    }
    heard_from_all(stage, &mut radio).await?;
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn a_stick_that_tells_each_seal_once_a_scan_is_enough(stage: &mut impl Stage) -> anyhow::Result<()> {
    stage.dullest_duplicate_filter().await?;
    let mut radio = Listening::on(stage);
    radio.up(SOON).await?;
    for _ in 0..IN_A_ROW {
        radio.forget();
        for beacon in stage.beacons() {
            radio.advert_of(beacon.address, DULLEST).await?;
        }
    }
    radio.stop(STOPPED).await
}

/// # Errors
/// When it is not so.
pub async fn radios_that_come_and_go_leave_nothing_on_the_bus(stage: &mut impl Stage) -> anyhow::Result<()> {
    let before = BusLoad::now().await?;
    for _ in 0..IN_A_ROW {
        let mut radio = Listening::on(stage);
        radio.up(SOON).await?;
        heard_from_all(stage, &mut radio).await?;
        let meanwhile = BusLoad::now().await?;
        ensure!(meanwhile.match_rules > before.match_rules, "the radio is not seen on the bus: {before:?}, then {meanwhile:?}");
        radio.stop(STOPPED).await?;
    }
    let after = BusLoad::now().await?;
    ensure!(after.match_rules <= before.match_rules && after.connections <= before.connections, "{before:?}, then {after:?}");
    Ok(())
}

/// Everything that stands there is heard, whatever was before.
async fn heard_from_all(stage: &impl Stage, radio: &mut Listening) -> anyhow::Result<()> {
    for beacon in stage.beacons() {
        for _ in 0..BACK {
            radio.advert_of(beacon.address, RECOVERED).await?;
        }
    }
    Ok(())
}
