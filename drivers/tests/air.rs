//! Seals on the simulated air, with the daemon's own radio listening.

mod bench;

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};

use bench::{DEADLINE, Kept};
use segel_drivers::{
    AdvertRefusal, LockClaim, MacAddress, Protection, SealReading, Sighting,
    ble::{KnownSeal, Register},
    codec::bthome::SealKey,
    sim::{EmulatedAir, EmulatedSeal, SimulatedAir, SimulatedAirConfig},
};

fn address() -> MacAddress {
    "54:48:E6:8F:80:A5".parse().expect("an address")
}

fn key() -> SealKey {
    "231d39c1d7cc1ab1aee224cd096db932".parse().expect("a key")
}

fn locked() -> SealReading {
    SealReading { lock: Some(LockClaim::Locked), battery_percent: Some(90), ..SealReading::default() }
}

async fn listening(socket: &Path, air: &EmulatedAir) -> Kept {
    let mut register = Register::new();
    register.insert(address(), KnownSeal::bthome("JT-8000620011".parse().expect("a seal"), Some(key())));
    let config = SimulatedAirConfig { id: "air-1".parse().expect("a name"), socket: socket.to_owned(), register: Arc::new(register) };
    let mut radio = Kept::new(SimulatedAir::new(config));
    radio.up().await;
    hears(air).await;
    radio
}

/// Waits until somebody hears what is sent from now on.
async fn hears(air: &EmulatedAir) {
    tokio::time::timeout(DEADLINE, async {
        while air.listeners() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("somebody listens");
}

#[tokio::test]
async fn a_seal_is_heard_and_a_voice_without_its_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("air");
    let air = EmulatedAir::open(&socket).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let mut radio = listening(&socket, &air).await;
    let mut seal = EmulatedSeal::new(address(), Some(key()));
    air.send(&seal.advertise(&locked())).unwrap();
    let Sighting::Advert(advert) = radio.next().await else { panic!() };
    assert_eq!((advert.seal.as_str(), advert.rssi_dbm), ("JT-8000620011", Some(-60)));
    assert_eq!(advert.protection, Protection::Keyed { counter: 1 });
    assert_eq!(advert.reading.lock, Some(LockClaim::Locked));
    let mut impostor = EmulatedSeal::new(address(), None);
    air.send(&impostor.advertise(&locked())).unwrap();
    let Sighting::Refused(refused) = radio.next().await else { panic!() };
    assert_eq!(refused.why, AdvertRefusal::PlainDespiteKey);
}

#[tokio::test]
async fn frames_that_are_none_are_counted_and_cost_nothing_behind_them() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("air");
    let air = EmulatedAir::open(&socket).unwrap();
    let mut radio = listening(&socket, &air).await;
    air.send_raw(vec![3, 0, 0, 0, 0xFF, 0xFF, 0xFF]);
    // a stranger that is no seal
    let mut thermometer = EmulatedSeal::new("00:00:00:00:00:01".parse().unwrap(), None);
    air.send(&thermometer.advertise(&SealReading { temperature_centi_c: Some(2100), ..SealReading::default() })).unwrap();
    air.send(&EmulatedSeal::new(address(), Some(key())).advertise(&locked())).unwrap();
    assert!(matches!(radio.next().await, Sighting::Advert(_)));
    assert_eq!(radio.tally.not_understood.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_frame_without_end_ends_the_session_and_the_next_begins() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("air");
    let air = EmulatedAir::open(&socket).unwrap();
    let mut radio = listening(&socket, &air).await;
    air.send_raw(vec![0xFF; 64]);
    let reason = radio.down().await;
    assert!(reason.contains("longer than any may be"), "{reason}");
    radio.up().await;
}

#[tokio::test]
async fn an_air_that_ends_is_said_once_and_heard_again_when_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("air");
    let air = EmulatedAir::open(&socket).unwrap();
    let mut radio = listening(&socket, &air).await;
    drop(air);
    let reason = radio.down().await;
    assert!(reason.contains("the air has ended"), "{reason}");
    let reason = radio.down().await;
    assert!(reason.contains("nobody plays the air there"), "{reason}");
    let air = EmulatedAir::open(&socket).unwrap();
    radio.up().await;
    hears(&air).await;
    air.send(&EmulatedSeal::new(address(), Some(key())).advertise(&locked())).unwrap();
    assert!(matches!(radio.next().await, Sighting::Advert(_)));
}
