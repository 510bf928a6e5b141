//! Sessions with seals: the real driver and the real Bluetooth library before an emulated BlueZ in which everything
//! goes wrong.
//!
//! Each test runs in a process of its own, on a bus of its own.

#[path = "../../drivers/tests/bench/mod.rs"]
mod bench;
#[path = "ble_sessions/segel.rs"]
mod segel;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bench::{Kept, epc, kept, plug_in};
use libtest_mimic::Arguments;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel_drivers::{
    Action, Ended, Evidence, Hindrance, LockClaim, MacAddress, Outcome, Progress, Rejection, Report, Sighting,
    ble::{AdapterName, Asked, BleScan, BleScanConfig, Desk, Desks, KnownSeal, Register, Request, SessionLimits, protocol::ProtocolName},
    codec::uhf::Dialect,
    sim::{SimLock, lock::tt::TtLock},
};
use segel_hardware_tests::bluez::{
    Answer, Bluez, Bus, ConnectFault, Delivered, NotifyFault, SealAt, Times, WriteFault, again::on_private_bus,
};

use segel::{
    a_link_lost_between_the_store_and_the_confirm_loses_no_stored_event, a_replayed_exchange_does_not_open_the_seal,
    an_unlock_overtakes_a_queued_log_drain, disconnect_after_the_write_is_settled_by_the_last_command_the_seal_names,
    the_bus_dying_in_a_session_is_answered_and_survived, with_a_wrong_key_nothing_that_moves_is_written,
};

macro_rules! named {
    ($with:ident: $($test:ident),+ $(,)?) => { vec![$($with(stringify!($test), $test)),+] };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = named![on_private_bus:
        a_seal_is_unlocked_locked_and_read_and_always_disconnected,
        no_write_is_ever_sent_twice,
        disconnect_after_the_write_reports_unknown_and_reads_back,
        connects_that_hang_fail_or_lose_the_seal_are_tried_again_before_the_write,
        an_answer_that_is_lost_late_or_doubled_does_not_open_twice,
        a_write_the_seal_refuses_is_rejected,
        a_wrong_password_is_rejected_and_the_state_read,
        of_two_seals_of_one_name_the_address_decides,
        an_adapter_pulled_before_the_write_costs_nothing_and_after_it_is_unknown,
        bluez_dying_in_a_session_is_answered_and_survived,
        a_scan_that_is_silent_or_fails_while_a_seal_is_connected_does_not_end_its_session,
        a_seal_that_would_not_be_disconnected_is_disconnected_later,
        whoever_goes_away_before_the_write_has_called_it_off_and_after_it_has_not,
        a_hung_adapter_does_not_stop_the_readers,
        sessions_in_a_row_leave_no_match_rule_behind,
        a_replayed_exchange_does_not_open_the_seal,
        an_unlock_overtakes_a_queued_log_drain,
        a_link_lost_between_the_store_and_the_confirm_loses_no_stored_event,
        disconnect_after_the_write_is_settled_by_the_last_command_the_seal_names,
        with_a_wrong_key_nothing_that_moves_is_written,
        the_bus_dying_in_a_session_is_answered_and_survived,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

const PASSWORD: &[u8; 6] = b"739164";
const NUMBER: &str = "83181001";
/// A frame that unlocks a TT lock: its command's place and number.
const UNLOCKS: (usize, u8) = (2, 0x37);

fn address(last: u8) -> MacAddress {
    MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, last])
}

/// Short, so that what hangs is given up in seconds; long against a busy machine.
fn limits() -> SessionLimits {
    SessionLimits {
        heard_within: Duration::from_secs(10),
        connect: Duration::from_secs(3),
        attempts: 4,
        pause: Duration::from_millis(30),
        call: Duration::from_secs(2),
        disconnect: Duration::from_secs(3),
        read_back: Duration::from_secs(24),
        ..SessionLimits::default()
    }
}

const WITHIN: Duration = Duration::from_secs(40);

type Lock = Arc<Mutex<TtLock>>;

/// An emulated BlueZ, a seal, and the driver that serves it.
struct Ground {
    bluez: Bluez,
    lock: Lock,
    seal: SealAt,
    desks: Desks,
    desk: Desk,
    reports: Arc<Mutex<Vec<Report>>>,
}

fn known(last: u8) -> KnownSeal {
    let mut seal = KnownSeal::new(format!("TT-{last}").parse().expect("a seal"), ProtocolName::TtElock);
    seal.credentials.password = Some(std::str::from_utf8(PASSWORD).expect("digits").parse().expect("a password"));
    seal.credentials.device_number = Some(NUMBER.to_owned());
    seal
}

fn lock(last: u8) -> Lock {
    Arc::new(Mutex::new(TtLock::new(address(last), NUMBER.parse().expect("a number"), *PASSWORD).sealed()))
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < bench::DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Ground {
    async fn new(bus: &Bus) -> Self {
        Self::quiet(bus, Duration::from_secs(30)).await
    }

    /// The same, with a scan that is begun anew after this much silence.
    async fn quiet(bus: &Bus, quiet: Duration) -> Self {
        let bluez = Bluez::start(&bus.address).expect("nobody else is BlueZ there");
        let lock = lock(1);
        let seal = bluez.add(Arc::clone(&lock) as Arc<Mutex<dyn SimLock>>);
        let desks = Desks::new(limits());
        let desk = desks.desk(&"ble-1".parse().expect("a name"));
        let mut register = Register::new();
        for last in 1..=2 {
            register.insert(address(last), known(last));
        }
        let id = desk.reader().clone();
        // by its address: it comes back under another name
        let adapter = AdapterName::Address(bluez.hci0().address());
        let config = BleScanConfig::new(id, adapter, Arc::new(register));
        let ble = Kept::new(BleScan::new(BleScanConfig { desk: desk.clone(), quiet, ..config }));
        let reports = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&reports);
        tokio::spawn(async move {
            // all of it, or the radio is not kept
            let mut ble = ble;
            while let Some(report) = ble.heard.recv().await {
                if let Sighting::Standing(standing) = &report.sighting {
                    // shown where the test fails
                    println!("{standing:?}");
                }
                heard.lock().expect("no panic").push(report);
            }
        });
        let ground = Self { bluez, lock, seal, desks, desk, reports };
        until("it scans", || ground.bluez.hci0().is_scanning()).await;
        ground.seal.advertises_every(Duration::from_millis(50));
        until("it is heard", || ground.desk.hearing(address(1)).is_some()).await;
        ground
    }

    fn ask(&self, action: Action) -> Asked {
        self.ask_of(1, action)
    }

    fn ask_of(&self, last: u8, action: Action) -> Asked {
        let request = Request { address: address(last), seal: known(last), action, within: WITHIN };
        self.desks.ask(request).expect("it may be asked")
    }

    async fn does(&self, action: Action) -> Ended {
        self.ask(action).ended().await
    }

    fn openings(&self) -> u32 {
        self.lock.lock().expect("no panic").openings()
    }

    /// Commands to open that BlueZ was given.
    fn commands(&self) -> usize {
        let (place, unlocks) = UNLOCKS;
        self.seal.writes().iter().filter(|write| write.bytes.get(place) == Some(&unlocks)).count()
    }

    fn reseals(&self) {
        let mut lock = self.lock.lock().expect("no panic");
        *lock = TtLock::new(address(1), NUMBER.parse().expect("a number"), *PASSWORD).sealed();
    }

    async fn is_free(&self) {
        until("it is always disconnected at the end", || self.bluez.links() == 0).await;
    }
}

fn done(ended: &Ended) -> Evidence {
    let Outcome::Done { evidence, .. } = ended.outcome else { panic!("{ended:?}") };
    evidence
}

fn nightly() -> bool {
    std::env::var_os("SEGEL_NIGHTLY").is_some()
}

async fn a_seal_is_unlocked_locked_and_read_and_always_disconnected(bus: Bus) {
    let ground = Ground::new(&bus).await;
    assert_eq!(done(&ground.does(Action::Unlock).await), Evidence::ReportedAndReadBack);
    assert_eq!((ground.openings(), ground.commands()), (1, 1));
    assert_eq!(done(&ground.does(Action::Lock).await), Evidence::ReportedAndReadBack);
    let ended = ground.does(Action::ReadState).await;
    let Outcome::Done { status: Some(status), .. } = ended.outcome else { panic!("{ended:?}") };
    assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(LockClaim::Locked), Some(87)));
    ground.is_free().await;
    let reports = ground.reports.lock().expect("no panic");
    let read: Vec<Action> = reports
        .iter()
        .filter_map(|report| match &report.sighting {
            Sighting::Read(read) => Some(read.during),
            _ => None,
        })
        .collect();
    assert_eq!(read, [Action::Unlock, Action::Lock, Action::ReadState]);
}

/// A fault or none, on the way to the seal, there, or on the way back.
fn arms(ground: &Ground, random: &mut StdRng) -> String {
    let seal = &ground.seal;
    let delivered = if random.random() { Delivered::Yes } else { Delivered::No };
    let mut armed = Vec::new();
    for _ in 0..random.random_range(0..4) {
        match random.random_range(0..3) {
            0 => {
                let fault = match random.random_range(0..5) {
                    0 => ConnectFault::After(Duration::from_millis(500)),
                    1 => ConnectFault::Never,
                    2 => ConnectFault::Refused("le-connection-abort-by-local".to_owned()),
                    3 => ConnectFault::LostBeforeServices,
                    _ => ConnectFault::NeverResolved,
                };
                armed.push(format!("{fault:?}"));
                seal.connecting_meets(fault, Times::Next(1));
            }
            1 => {
                let fault = match random.random_range(0..5) {
                    0 => WriteFault::AttError(0x80),
                    1 => WriteFault::AttError(0x0E),
                    2 => WriteFault::LinkLost(delivered),
                    3 => WriteFault::LinkLostAfterwards,
                    _ => WriteFault::Unanswered(delivered),
                };
                armed.push(format!("{fault:?}"));
                seal.writing_meets(fault, Times::Next(1));
            }
            _ => {
                let fault = match random.random_range(0..3) {
                    0 => NotifyFault::Lost,
                    1 => NotifyFault::Twice,
                    _ => NotifyFault::Late(Duration::from_millis(700)),
                };
                armed.push(format!("{fault:?}"));
                seal.notifying_meets(fault, Times::Next(1));
            }
        }
    }
    armed.join(", ")
}

async fn no_write_is_ever_sent_twice(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let seed = std::env::var("SEGEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEGEL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..if nightly() { 300 } else { 12 } {
        let armed = arms(&ground, &mut random);
        let (case, before) = (format!("seed {seed}, round {round}: {armed}"), ground.commands());
        let leaves = if random.random_ratio(1, 4) { random.random_range(0..1500) } else { u64::MAX };
        let asked = ground.ask(Action::Unlock);
        let ended = tokio::time::timeout(Duration::from_millis(leaves), asked.ended()).await.ok();
        ground.is_free().await;
        until("the session is over", || ground.seal.advertises() > 0).await;
        let (commands, openings) = (ground.commands() - before, ground.openings());
        assert!(commands <= 1 && openings <= 1, "{commands} commands, {openings} openings; {case}");
        if let Some(ended) = ended {
            match ended.outcome {
                Outcome::NotAttempted { .. } => assert_eq!(commands, 0, "{ended:?}; {case}"),
                Outcome::Done { .. } => assert_eq!(openings, 1, "{ended:?}; {case}"),
                Outcome::Rejected { .. } => assert_eq!(openings, 0, "{ended:?}; {case}"),
                Outcome::Already { .. } => panic!("{ended:?}; {case}"),
                Outcome::Unknown { .. } => assert_eq!(commands, 1, "{ended:?}; {case}"),
            }
        }
        ground.seal.behaves();
        ground.reseals();
    }
}

async fn disconnect_after_the_write_reports_unknown_and_reads_back(bus: Bus) {
    let ground = Ground::new(&bus).await;
    for delivered in [Delivered::Yes, Delivered::No] {
        ground.seal.writing_meets(WriteFault::LinkLost(delivered), Times::Next(1));
        let before = (ground.openings(), ground.commands());
        let ended = ground.does(Action::Unlock).await;
        let Outcome::Unknown { why, read_back: Some(status) } = ended.outcome else { panic!("{ended:?}") };
        let (opened, lock) = match delivered {
            Delivered::Yes => (1, LockClaim::Unlocked),
            Delivered::No => (0, LockClaim::Locked),
        };
        assert_eq!(status.reading.lock, Some(lock), "{why}");
        assert_eq!((ground.openings(), ground.commands()), (before.0 + opened, before.1 + 1));
        assert_eq!(ended.spent.attempts, 2, "it was connected to again, to read");
        ground.is_free().await;
        ground.reseals();
    }
}

async fn connects_that_hang_fail_or_lose_the_seal_are_tried_again_before_the_write(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let faults = [
        ConnectFault::Never,
        ConnectFault::Refused("le-connection-abort-by-local".to_owned()),
        ConnectFault::Refused("Input/output error".to_owned()),
        ConnectFault::LostBeforeServices,
        ConnectFault::NeverResolved,
        ConnectFault::Vanishes,
    ];
    for fault in faults {
        let before = ground.commands();
        ground.seal.connecting_meets(fault.clone(), Times::Next(1));
        let ended = ground.does(Action::Unlock).await;
        assert_eq!(done(&ended), Evidence::ReportedAndReadBack, "{fault:?}: {ended:?}");
        assert_eq!(ground.commands(), before + 1, "{fault:?}");
        ground.is_free().await;
        ground.reseals();
    }
    ground.seal.connecting_meets(ConnectFault::Refused("le-connection-abort-by-local".to_owned()), Times::Always);
    let ended = ground.does(Action::Unlock).await;
    let Outcome::NotAttempted { why: Hindrance::NoConnection { attempts: 4, last } } = &ended.outcome else { panic!("{ended:?}") };
    assert!(last.contains("le-connection-abort-by-local"), "{last}");
    ground.is_free().await;
}

async fn an_answer_that_is_lost_late_or_doubled_does_not_open_twice(bus: Bus) {
    let ground = Ground::new(&bus).await;
    for fault in [NotifyFault::Twice, NotifyFault::Late(Duration::from_millis(800)), NotifyFault::Lost] {
        let before = ground.commands();
        ground.seal.notifying_meets(fault, Times::Next(1));
        let ended = ground.does(Action::Unlock).await;
        match ended.outcome {
            Outcome::Unknown { read_back: Some(_), .. } if fault == NotifyFault::Lost => {}
            _ => assert_eq!(done(&ended), Evidence::ReportedAndReadBack, "{fault:?}"),
        }
        assert_eq!((ground.openings(), ground.commands()), (1, before + 1), "{fault:?}");
        ground.reseals();
    }
}

async fn a_write_the_seal_refuses_is_rejected(bus: Bus) {
    let ground = Ground::new(&bus).await;
    ground.seal.writing_meets(WriteFault::AttError(0x80), Times::Next(1));
    let ended = ground.does(Action::Unlock).await;
    let Outcome::Rejected { cause: Rejection::Other { code: 0x80, .. }, read_back: Some(status) } = ended.outcome else {
        panic!("{ended:?}")
    };
    assert_eq!((status.reading.lock, ended.spent.attempts), (Some(LockClaim::Locked), 1));
    assert_eq!((ground.openings(), ground.commands()), (0, 1));
}

async fn a_wrong_password_is_rejected_and_the_state_read(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let mut seal = known(1);
    seal.credentials.password = Some("739165".parse().expect("a password"));
    let asked = ground.desks.ask(Request { address: address(1), seal, action: Action::Unlock, within: WITHIN });
    let ended = asked.expect("it may be asked").ended().await;
    assert!(matches!(ended.outcome, Outcome::Rejected { cause: Rejection::WrongPassword, .. }), "{ended:?}");
    assert_eq!((ground.openings(), ground.commands()), (0, 1));
}

async fn of_two_seals_of_one_name_the_address_decides(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let other = lock(2);
    let at = ground.bluez.add(Arc::clone(&other) as Arc<Mutex<dyn SimLock>>);
    assert_eq!(other.lock().expect("no panic").name(), ground.lock.lock().expect("no panic").name());
    at.advertises_every(Duration::from_millis(50));
    until("both are heard", || ground.desk.hearing(address(2)).is_some()).await;
    assert_eq!(done(&ground.ask_of(2, Action::Unlock).ended().await), Evidence::ReportedAndReadBack);
    assert_eq!((ground.openings(), other.lock().expect("no panic").openings()), (0, 1));
    assert_eq!((ground.seal.counts().connects, at.counts().connects), (0, 1));
}

async fn an_adapter_pulled_before_the_write_costs_nothing_and_after_it_is_unknown(bus: Bus) {
    let ground = Ground::new(&bus).await;
    ground.seal.connecting_meets(ConnectFault::Never, Times::Next(1));
    let asked = ground.ask(Action::Unlock);
    until("it connects", || ground.seal.counts().connects > 0).await;
    ground.bluez.hci0().pull();
    let ended = tokio::spawn(asked.ended());
    tokio::time::sleep(Duration::from_millis(500)).await;
    ground.bluez.hci0().put_back("hci1");
    let ended = ended.await.expect("no panic");
    assert_eq!(done(&ended), Evidence::ReportedAndReadBack, "{ended:?}");
    assert_eq!(ground.commands(), 1);
    ground.is_free().await;
    ground.reseals();
    // the command is on its way when it is pulled again
    ground.seal.writing_meets(WriteFault::Unanswered(Delivered::Yes), Times::Next(1));
    let asked = ground.ask(Action::Unlock);
    until("it has arrived, and its answer has not", || ground.openings() == 1).await;
    ground.bluez.hci0().pull();
    let ended = asked.ended().await;
    assert!(matches!(ended.outcome, Outcome::Unknown { .. }), "{ended:?}");
    assert_eq!((ground.openings(), ground.commands()), (1, 2));
}

async fn bluez_dying_in_a_session_is_answered_and_survived(bus: Bus) {
    let ground = Ground::new(&bus).await;
    ground.seal.connecting_meets(ConnectFault::Never, Times::Next(1));
    let asked = ground.ask(Action::Unlock);
    until("it connects", || ground.seal.counts().connects > 0).await;
    ground.bluez.dies().expect("it dies");
    let ended = tokio::spawn(asked.ended());
    tokio::time::sleep(Duration::from_millis(500)).await;
    ground.bluez.returns().expect("it returns");
    let ended = ended.await.expect("no panic");
    let commands = ground.commands();
    match ended.outcome {
        Outcome::Done { .. } => assert_eq!((ground.openings(), commands), (1, 1)),
        Outcome::NotAttempted { .. } => assert_eq!((ground.openings(), commands), (0, 0)),
        other => panic!("{other:?}"),
    }
    until("it scans again", || ground.bluez.hci0().is_scanning()).await;
    ground.reseals();
    assert_eq!(done(&ground.does(Action::Unlock).await), Evidence::ReportedAndReadBack);
}

/// A seal that is connected does not advertise, and it is the only one in range.
async fn a_scan_that_is_silent_or_fails_while_a_seal_is_connected_does_not_end_its_session(bus: Bus) {
    let ground = Ground::quiet(&bus, Duration::from_millis(100)).await;
    for scans_are_refused in [false, true] {
        ground.reseals();
        let commands = ground.commands();
        until("it is heard", || ground.desk.hearing(address(1)).is_some_and(|heard| heard.at.elapsed() < Duration::from_secs(1))).await;
        // longer than a scan that fails is tried again, and than it takes silence to have everything rebuilt
        ground.seal.notifying_meets(NotifyFault::Late(Duration::from_millis(2500)), Times::Next(1));
        let asked = ground.ask(Action::Unlock);
        until("it is connected", || ground.seal.is_linked()).await;
        if scans_are_refused {
            ground.bluez.hci0().refuses_scans(Times::Always);
        }
        let ended = asked.ended().await;
        assert_eq!(done(&ended), Evidence::ReportedAndReadBack, "{ended:?}");
        assert_eq!((ground.openings(), ground.commands()), (1, commands + 1));
        ground.is_free().await;
    }
    ground.bluez.answers_again();
    until("it scans again", || ground.bluez.hci0().is_scanning()).await;
}

/// Connected it does not advertise: nobody would ever hear of it again.
async fn a_seal_that_would_not_be_disconnected_is_disconnected_later(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let refused = || Answer::failed("Software caused connection abort");
    // said no to; never answered; said no to twice: then nothing comes after it that could end it by the way
    for (answer, times) in [(refused(), 1), (Answer::Never, 1), (refused(), 2)] {
        ground.bluez.answers("Disconnect", answer, Times::Next(times));
        let ended = ground.does(Action::ReadState).await;
        assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
        ground.is_free().await;
        let free = Instant::now();
        until("it is heard again", || ground.desk.hearing(address(1)).is_some_and(|heard| heard.at > free)).await;
        ground.bluez.answers_again();
    }
    assert_eq!(done(&ground.does(Action::Unlock).await), Evidence::ReportedAndReadBack);
}

async fn whoever_goes_away_before_the_write_has_called_it_off_and_after_it_has_not(bus: Bus) {
    let ground = Ground::new(&bus).await;
    ground.seal.connecting_meets(ConnectFault::After(Duration::from_secs(1)), Times::Next(1));
    let asked = ground.ask(Action::Unlock);
    until("it connects", || ground.seal.counts().connects > 0).await;
    drop(asked);
    until("the attempt is ended", || ground.seal.counts().disconnects > 0).await;
    ground.is_free().await;
    assert_eq!((ground.openings(), ground.commands()), (0, 0));
    ground.seal.notifying_meets(NotifyFault::Late(Duration::from_millis(500)), Times::Next(1));
    let asked = ground.ask(Action::Unlock);
    until("it is written", || ground.commands() == 1).await;
    let mut progress = asked.progress();
    drop(asked);
    progress.wait_for(|now| *now == Progress::ReadingBack).await.expect("the session goes on to its end");
    ground.is_free().await;
    assert_eq!((ground.openings(), ground.commands()), (1, 1));
}

async fn a_hung_adapter_does_not_stop_the_readers(bus: Bus) {
    let ground = Ground::new(&bus).await;
    ground.seal.connecting_meets(ConnectFault::Never, Times::Always);
    // nothing that has to do with connections is ever answered
    ground.bluez.answers("Disconnect", Answer::Never, Times::Always);
    let asked = ground.ask(Action::Unlock);
    until("it hangs", || ground.seal.counts().connects > 0).await;
    let ended = tokio::spawn(asked.ended());
    let directory = tempfile::tempdir().expect("a directory");
    let reader = plug_in(directory.path(), "gate-in-1", Dialect::UhfReader288);
    let mut radio = kept(directory.path(), "gate-in-1", Dialect::UhfReader288);
    radio.up().await;
    let mut number: u8 = 0;
    let mut heard = 0;
    while number < 10 || !ended.is_finished() {
        reader.show(epc(number), 1, 0x6B).await.expect("it is shown");
        assert_eq!(radio.tag().await.epc, epc(number));
        number = number.checked_add(1).unwrap_or(10);
        heard = heard.max(ground.reports.lock().expect("no panic").len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = ended.await.expect("no panic");
    assert!(matches!(ended.outcome, Outcome::NotAttempted { .. }), "{ended:?}");
    assert_eq!(ground.commands(), 0);
    until("and the scan goes on", || ground.reports.lock().expect("no panic").len() > heard).await;
}

async fn sessions_in_a_row_leave_no_match_rule_behind(bus: Bus) {
    let ground = Ground::new(&bus).await;
    let count = if nightly() { 3000 } else { 300 };
    assert_eq!(done(&ground.does(Action::ReadState).await), Evidence::Reported);
    ground.is_free().await;
    let before = ground.bluez.rules().total();
    for round in 1..count {
        let ended = ground.does(Action::ReadState).await;
        assert!(matches!(ended.outcome, Outcome::Done { .. }), "round {round}: {ended:?}");
    }
    ground.is_free().await;
    until("no rule is left", || ground.bluez.rules().total() <= before).await;
    assert!(ground.bluez.hci0().is_scanning());
}
