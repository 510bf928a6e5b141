//! Seals on the simulated air, with the daemon's own radio listening.

mod bench;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bench::{DEADLINE, Kept};
use segel_drivers::{
    Action, AdvertRefusal, Ended, Evidence, Hindrance, LockClaim, MacAddress, Outcome, Protection, SealReading, Sighting,
    ble::{Desks, KnownSeal, Register, Request, SessionLimits, protocol::ProtocolName},
    codec::bthome::SealKey,
    sim::{
        EmulatedAir, EmulatedSeal, Reach, SimLock, SimulatedAir, SimulatedAirConfig,
        lock::segel_v1::{Mood, PowerCut, SegelLock},
    },
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

/// A seal of the segel protocol in an air, a radio that serves, and the desks it serves at.
struct Stage {
    seal: Arc<Mutex<SegelLock>>,
    air: EmulatedAir,
    desks: Desks,
    radio: Kept,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn new(seal: SegelLock) -> Self {
        let directory = tempfile::tempdir().expect("a bench");
        let socket = directory.path().join("air");
        let air = EmulatedAir::open(&socket).expect("a bench");
        let seal = Arc::new(Mutex::new(seal));
        air.add(&seal);
        // a motor of no mass, and a radio without a kernel
        let desks = Desks::new(SessionLimits { pause: Duration::ZERO, ..SessionLimits::default() });
        let config = SimulatedAirConfig {
            id: "air-1".parse().expect("a bench"),
            socket,
            register: Arc::new(Register::from_iter([(address(), known())])),
        };
        let desk = desks.desk(&config.id);
        let mut radio = Kept::new(SimulatedAir::new(config).serving(desk));
        radio.up().await;
        hears(&air).await;
        Self { seal, air, desks, radio, directory }
    }

    /// Asks, and lets the seal advertise until there is an end.
    async fn ask(&mut self, action: Action) -> Ended {
        let request = Request { address: address(), seal: known(), action, within: DEADLINE };
        let asked = self.desks.ask(request).expect("a bench");
        let mut ended = Box::pin(asked.ended());
        let mut often = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                _ = often.tick() => drop(self.air.advertise(address()).expect("a bench")),
                report = self.radio.heard.recv() => {
                    if let Sighting::Told(told) = report.expect("a bench").sighting {
                        told.confirm.expect("a bench").on_disk();
                    }
                }
            }
        }
    }

    /// Openings and closings.
    fn moved(&self) -> (u32, u32) {
        let seal = self.seal();
        (seal.openings(), seal.closings())
    }

    fn seal(&self) -> std::sync::MutexGuard<'_, SegelLock> {
        self.seal.lock().expect("a bench")
    }
}

fn known() -> KnownSeal {
    let mut known = KnownSeal::new("SGL-1003".parse().expect("a bench"), ProtocolName::Segel);
    known.credentials.key = Some(key());
    known
}

fn lock() -> SegelLock {
    SegelLock::new(address(), "SGL-1003", key(), 77).locked()
}

#[tokio::test]
async fn a_seal_on_the_simulated_air_is_unlocked_locked_and_drained_over_it() {
    let mut stage = Stage::new(lock()).await;
    let Outcome::Done { evidence, status: Some(status), .. } = stage.ask(Action::Unlock).await.outcome else { panic!() };
    assert_eq!((evidence, status.did_ours), (Evidence::ReportedAndReadBack, Some(true)));
    assert!(matches!(stage.ask(Action::Unlock).await.outcome, Outcome::Already { .. }));
    assert!(matches!(stage.ask(Action::Lock).await.outcome, Outcome::Done { .. }));
    assert_eq!(stage.moved(), (1, 1));
    let Outcome::Done { drained, .. } = stage.ask(Action::DrainLog).await.outcome else { panic!() };
    assert_eq!((drained, stage.seal().held()), (2, vec![]));
    assert!(matches!(stage.ask(Action::SetTime).await.outcome, Outcome::Done { .. }));
}

#[tokio::test]
async fn a_connection_lost_after_the_command_is_settled_by_reading_the_seal_over_a_new_one() {
    let mut stage = Stage::new(lock()).await;
    stage.air.set_reach(address(), Reach::LostAfterTheSecondWrite);
    let Outcome::Done { evidence, status: Some(status), .. } = stage.ask(Action::Unlock).await.outcome else { panic!() };
    assert_eq!((evidence, status.did_ours), (Evidence::ReadBack, Some(true)));
    assert_eq!(stage.seal().openings(), 1);
}

#[tokio::test]
async fn a_seal_that_loses_its_power_half_way_is_not_said_to_have_opened() {
    let mut stage = Stage::new(lock()).await;
    stage.seal().set_mood(Mood::LosesPower(PowerCut::BeforeTheMove));
    let ended = stage.ask(Action::Unlock).await;
    assert!(!matches!(ended.outcome, Outcome::Done { .. } | Outcome::NotAttempted { .. }), "{ended:?}");
    assert_eq!(stage.seal().openings(), 0);
}

#[tokio::test]
async fn a_seal_with_another_key_is_said_to_be_so_and_not_opened() {
    let mut stage = Stage::new(lock()).await;
    stage.seal().set_key(SealKey::new([9; 16]), 78);
    let Outcome::NotAttempted { why: Hindrance::WrongCredential { .. } } = stage.ask(Action::Unlock).await.outcome else { panic!() };
    assert_eq!(stage.seal().openings(), 0);
}

#[tokio::test]
async fn a_seal_out_of_reach_is_not_attempted_and_one_that_comes_near_is_opened() {
    let mut stage = Stage::new(lock()).await;
    stage.air.set_reach(address(), Reach::OutOfReach);
    let Outcome::NotAttempted { why } = stage.ask(Action::Unlock).await.outcome else { panic!() };
    assert!(matches!(why, Hindrance::NoConnection { attempts: 4, .. }), "{why}");
    stage.air.set_reach(address(), Reach::Near);
    assert!(matches!(stage.ask(Action::Unlock).await.outcome, Outcome::Done { .. }));
}

#[tokio::test]
async fn a_radio_that_asks_nonsense_is_dropped_and_its_seal_is_free() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stage = Stage::new(lock()).await;
    let socket = stage.directory.path().join("air");
    let mut stranger = tokio::net::UnixStream::connect(&socket).await.unwrap();
    stranger.write_all(&[3, 0, 0, 0, 9, 9, 9]).await.unwrap();
    let mut said = Vec::new();
    tokio::time::timeout(DEADLINE, stranger.read_to_end(&mut said)).await.expect("it is dropped").unwrap();
    assert!(matches!(stage.ask(Action::Unlock).await.outcome, Outcome::Done { .. }));
}
