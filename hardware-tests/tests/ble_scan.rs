//! Scanning: the real radio and the real Bluetooth library on machines where Bluetooth works, does not, or stops.
//!
//! Each test runs in a process of its own, on a bus of its own, before an emulated BlueZ.

#[path = "../../drivers/tests/bench/mod.rs"]
mod bench;

use std::{
    io::Read,
    os::unix::net::UnixListener,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bench::{Kept, epc, kept, plug_in};
use libtest_mimic::Arguments;
use segel_drivers::{
    MacAddress, Sighting, Standing,
    ble::{AdapterName, BleScan, BleScanConfig, KnownSeal, Payload, Register, air::uuid16, protocol::ProtocolName},
    codec::uhf::Dialect,
};
use segel_hardware_tests::{
    bluez::{
        Answer, Bluez, Bus, Times,
        again::{Place, on, on_private_bus},
    },
    length::Length,
};
use uuid::Uuid;

/// A test is named after its function.
macro_rules! named {
    ($with:ident: $($test:ident),+ $(,)?) => { vec![$($with(stringify!($test), $test)),+] };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        on(
            "without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on",
            |_| Ok(("unix:path=/nonexistent/bus".to_owned(), ())),
            without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on,
        ),
        on("a_hung_adapter_does_not_stop_the_other_radio", deaf_bus, a_hung_adapter_does_not_stop_the_other_radio),
    ];
    trials.extend(named![on_private_bus:
        seals_are_heard_from_their_first_advertisement_on_and_remembered_ones_are_not,
        a_silent_air_is_scanned_anew_and_an_adapter_that_cannot_is_down,
        without_bluez_or_its_adapter_the_reason_says_so_and_it_is_found_when_it_comes,
        adapter_return_resumes_the_scan_without_restart,
        an_adapter_that_returns_under_another_name_is_found_by_its_address,
        a_silent_bus_is_noticed_and_the_next_one_found,
        a_scan_that_died_in_the_adapter_is_begun_anew_in_the_same_session,
        an_answer_that_never_comes_costs_a_rebuild_and_not_the_scan,
        two_adapters_hear_independently_and_one_that_is_pulled_does_not_disturb_the_other,
        an_adapter_is_chosen_by_its_name_and_by_its_address,
        a_seal_bluez_has_forgotten_is_heard_again,
        a_seal_that_says_nothing_in_its_advertisements_is_heard_and_others_are_not,
        beginning_anew_again_and_again_panics_nowhere_and_leaves_no_rule_behind,
        two_hundred_chatty_seals_stay_within_memory,
    ]);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn hci0() -> AdapterName {
    AdapterName::Kernel("hci0".into())
}

fn adapter(hung_after: Duration) -> Kept {
    let config = BleScanConfig::new("ble-1".parse().expect("a name"), hci0(), Arc::new(Register::new()));
    Kept::new(BleScan::new(BleScanConfig { hung_after, ..config }))
}

/// A reader beside the adapter: each tag is heard before the next passes.
async fn reads_go_on(directory: &Path, until: impl Fn() -> bool) {
    let reader = plug_in(directory, "gate-in-1", Dialect::UhfReader288);
    let mut radio = kept(directory, "gate-in-1", Dialect::UhfReader288);
    radio.up().await;
    let mut number: u8 = 0;
    while number < 10 || !until() {
        reader.show(epc(number), 1, 0x6B).await.expect("it is shown");
        assert_eq!(radio.tag().await.epc, epc(number));
        number = number.checked_add(1).unwrap_or(10);
    }
}

async fn without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on(place: Place) {
    let mut ble = adapter(Duration::from_secs(30));
    let reason = ble.down().await;
    assert!(reason.contains("cannot open hci0: no connection to the D-Bus system bus"), "{reason}");
    reads_go_on(&place.directory, || true).await;
    assert!(ble.heard.is_empty(), "said once, however often it is tried");
}

/// A bus that takes the connection and never answers: libdbus blocks the thread it is called on.
fn deaf_bus(directory: &Path) -> anyhow::Result<(String, ())> {
    let socket = directory.join("bus");
    let bus = UnixListener::bind(&socket)?;
    std::thread::spawn(move || {
        for connection in bus.incoming() {
            std::thread::spawn(move || connection.expect("a connection").read_to_end(&mut Vec::new()));
        }
    });
    Ok((format!("unix:path={}", socket.display()), ()))
}

async fn a_hung_adapter_does_not_stop_the_other_radio(place: Place) {
    let mut ble = adapter(Duration::from_secs(3));
    reads_go_on(&place.directory, || !ble.heard.is_empty()).await;
    let reason = ble.down().await;
    assert!(reason.contains("never returned"), "{reason}");
    let reason = ble.down().await;
    assert!(reason.contains("still hangs in a call"), "no second thread beside a hung one: {reason}");
}

const BTHOME: Uuid = uuid16(0xFCD2);

fn mac(text: &str) -> MacAddress {
    text.parse().expect("an address")
}

fn seal() -> MacAddress {
    mac("54:48:E6:8F:80:A5")
}

fn stranger() -> MacAddress {
    mac("54:48:E6:8F:80:A6")
}

/// Locked, 93 %, with this packet number.
fn locked(packet: u8) -> [Payload; 1] {
    [Payload::ServiceData { uuid: BTHOME, bytes: vec![0x44, 0, packet, 1, 0x5D, 0x1F, 0, 0x2B, 1] }]
}

fn config(name: &str, adapter: AdapterName) -> BleScanConfig {
    let mut register = Register::new();
    register.insert(seal(), KnownSeal::bthome("JT-8000620011".parse().expect("a seal"), None));
    BleScanConfig::new(name.parse().expect("a name"), adapter, Arc::new(register))
}

fn scanning(quiet: Duration) -> Kept {
    Kept::new(BleScan::new(BleScanConfig { quiet, ..config("ble-1", hci0()) }))
}

fn bluez(bus: &Bus) -> Bluez {
    Bluez::start(&bus.address).expect("nobody else is BlueZ there")
}

/// Waits until something is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < bench::DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn seals_are_heard_from_their_first_advertisement_on_and_remembered_ones_are_not(bus: Bus) {
    let bluez = bluez(&bus);
    bluez.hci0().remembers(stranger(), &locked(9));
    let mut ble = scanning(Duration::from_secs(30));
    assert_eq!(ble.up().await, "hci0 00:11:22:33:44:55");
    for (seal_or_stranger, rssi, packet) in [(seal(), -61, 9), (seal(), -62, 10), (stranger(), -63, 11)] {
        assert_eq!(bluez.hears(seal_or_stranger, rssi, &locked(packet)), 1);
        let Sighting::Advert(advert) = ble.next().await else { panic!() };
        let name = if seal_or_stranger == seal() { "JT-8000620011" } else { "BLE-5448E68F80A6" };
        assert_eq!((advert.seal.as_str(), advert.rssi_dbm, advert.reading.packet), (name, Some(rssi), Some(packet)));
        assert_eq!(advert.address, seal_or_stranger);
    }
}

async fn a_silent_air_is_scanned_anew_and_an_adapter_that_cannot_is_down(bus: Bus) {
    let bluez = bluez(&bus);
    let mut ble = scanning(Duration::from_millis(100));
    ble.up().await;
    // silent for so long that everything is rebuilt at least once, and not a word of it
    until("scans are begun anew", || bluez.hci0().scans() >= 14).await;
    assert!(ble.heard.is_empty(), "silence alone is no news");
    until("and it still hears", || bluez.hears(seal(), -60, &locked(9)) > 0).await;
    assert!(matches!(ble.next().await, Sighting::Advert(_)));
    bluez.hci0().refuses_scans(Times::Always);
    let reason = ble.down().await;
    assert!(reason.contains("BlueZ does not give a scan"), "{reason}");
}

async fn without_bluez_or_its_adapter_the_reason_says_so_and_it_is_found_when_it_comes(bus: Bus) {
    let mut ble = scanning(Duration::from_secs(30));
    let reason = ble.down().await;
    assert!(reason.contains("start bluetooth.service"), "{reason}");
    let _bluez = bluez(&bus);
    ble.up().await;
    let by_another_name = config("ble-2", AdapterName::Kernel("hci7".into()));
    let reason = Kept::new(BleScan::new(by_another_name)).down().await;
    assert!(reason.contains("There is: hci0 00:11:22:33:44:55"), "{reason}");
    let by_address = config("ble-3", AdapterName::Address(mac("00:11:22:33:44:55")));
    Kept::new(BleScan::new(by_address)).up().await;
}

/// Often enough for the tests; a gate waits for 30 s.
const QUIET: Duration = Duration::from_millis(200);

/// Sends an advertisement again and again until one is heard; what was said of the radio's standing meanwhile.
async fn heard_again(bluez: &Bluez, ble: &mut Kept) -> Vec<Standing> {
    let mut standings = Vec::new();
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < bench::DEADLINE, "the seal is heard again");
        bluez.hears(seal(), -60, &locked(1));
        match tokio::time::timeout(QUIET / 10, ble.heard.recv()).await {
            Ok(Some(report)) => match report.sighting {
                Sighting::Advert(_) => break,
                Sighting::Standing(standing) => standings.push(standing),
                other => panic!("{other:?}"),
            },
            Ok(None) => panic!("the radio is kept"),
            Err(_) => {}
        }
    }
    // the rest of what was sent
    while let Ok(report) = ble.heard.try_recv() {
        assert!(matches!(report.sighting, Sighting::Advert(_)), "{report:?}");
    }
    standings
}

fn ups_and_downs(standings: &[Standing]) -> String {
    standings.iter().map(|standing| if matches!(standing, Standing::Up { .. }) { 'U' } else { 'D' }).collect()
}

async fn adapter_return_resumes_the_scan_without_restart(bus: Bus) {
    let bluez = bluez(&bus);
    let mut ble = scanning(QUIET);
    ble.up().await;
    assert!(heard_again(&bluez, &mut ble).await.is_empty());

    bluez.hci0().power_off();
    assert!(!bluez.hci0().is_scanning());
    assert!(heard_again(&bluez, &mut ble).await.is_empty(), "it is switched on again, in the same session");

    bluez.hci0().pull();
    let reason = ble.down().await;
    assert!(reason.contains("hci0"), "{reason}");
    bluez.hci0().put_back("hci0");
    let standings = heard_again(&bluez, &mut ble).await;
    assert!(ups_and_downs(&standings).ends_with('U'), "{standings:?}");

    bluez.dies().expect("it dies");
    bluez.returns().expect("it returns");
    let standings = heard_again(&bluez, &mut ble).await;
    assert!(["", "DU"].contains(&&*ups_and_downs(&standings)), "one that is back at once may not even be missed: {standings:?}");

    bluez.dies().expect("it dies");
    let reason = ble.down().await;
    assert!(reason.contains("BlueZ"), "{reason}");
    bluez.returns().expect("it returns");
    let standings = heard_again(&bluez, &mut ble).await;
    assert!(ups_and_downs(&standings).ends_with('U'), "{standings:?}");
}

async fn an_adapter_that_returns_under_another_name_is_found_by_its_address(bus: Bus) {
    let bluez = bluez(&bus);
    let by_address = config("ble-1", AdapterName::Address(bluez.hci0().address()));
    let mut ble = Kept::new(BleScan::new(BleScanConfig { quiet: QUIET, ..by_address }));
    assert_eq!(ble.up().await, "hci0 00:11:22:33:44:55");
    bluez.hci0().pull();
    ble.down().await;
    bluez.hci0().put_back("hci5");
    let standings = heard_again(&bluez, &mut ble).await;
    let Some(Standing::Up { detail }) = standings.last() else { panic!("{standings:?}") };
    assert_eq!(detail, "hci5 00:11:22:33:44:55");
}

async fn a_silent_bus_is_noticed_and_the_next_one_found(mut bus: Bus) {
    let bluez = bluez(&bus);
    let mut ble = scanning(QUIET);
    ble.up().await;
    heard_again(&bluez, &mut ble).await;
    bus.dies();
    let reason = ble.down().await;
    assert!(reason.contains("BlueZ") || reason.contains("D-Bus"), "{reason}");
    bus.returns().expect("it comes back");
    bluez.returns().expect("and BlueZ with it");
    let standings = heard_again(&bluez, &mut ble).await;
    assert!(ups_and_downs(&standings).ends_with('U'), "{standings:?}");
}

async fn a_scan_that_died_in_the_adapter_is_begun_anew_in_the_same_session(bus: Bus) {
    let bluez = bluez(&bus);
    let mut ble = scanning(QUIET);
    ble.up().await;
    heard_again(&bluez, &mut ble).await;
    bluez.hci0().falls_silent();
    // BlueZ may be busy with the old scan still: once is no fault
    let busy = Answer::Error { name: "org.bluez.Error.InProgress".into(), text: "Operation already in progress".into() };
    bluez.answers("StartDiscovery", busy, Times::Next(1));
    assert!(heard_again(&bluez, &mut ble).await.is_empty(), "and not a word of it");
    assert_eq!(ble.tally.opened.load(Ordering::Relaxed), 1);
    // some adapters tell of a standing seal only every 11 s
    assert!(config("ble-1", hci0()).quiet >= Duration::from_secs(22), "that is no silence");
}

async fn an_answer_that_never_comes_costs_a_rebuild_and_not_the_scan(bus: Bus) {
    let bluez = bluez(&bus);
    let mut ble = scanning(QUIET);
    ble.up().await;
    heard_again(&bluez, &mut ble).await;
    // the library asks for each device it hears of, waits for up to 30 s, and hears nothing meanwhile
    bluez.answers("GetAll", Answer::Never, Times::Next(1));
    let since = Instant::now();
    assert!(heard_again(&bluez, &mut ble).await.is_empty(), "and not a word of it");
    assert!(since.elapsed() < Duration::from_secs(30), "it is not the library that gave up");
    assert!(ble.tally.opened.load(Ordering::Relaxed) > 1);
}

async fn two_adapters_hear_independently_and_one_that_is_pulled_does_not_disturb_the_other(bus: Bus) {
    let bluez = bluez(&bus);
    let hci1 = bluez.plug_in("hci1", mac("00:11:22:33:44:66"));
    let mut first = Kept::new(BleScan::new(config("ble-1", hci0())));
    let second = config("ble-2", AdapterName::Kernel("hci1".into()));
    let mut second = Kept::new(BleScan::new(BleScanConfig { quiet: QUIET, ..second }));
    first.up().await;
    second.up().await;
    until("both scan", || hci1.is_scanning() && bluez.hci0().is_scanning()).await;
    assert!(hci1.hears(seal(), -70, &locked(2)));
    let Sighting::Advert(advert) = second.next().await else { panic!() };
    assert_eq!(advert.rssi_dbm, Some(-70));
    assert!(bluez.hci0().hears(seal(), -50, &locked(3)));
    let Sighting::Advert(advert) = first.next().await else { panic!() };
    assert_eq!((advert.rssi_dbm, advert.reading.packet), (Some(-50), Some(3)), "it has not heard what the other heard");
    hci1.pull();
    second.down().await;
    for packet in 4..14 {
        assert!(bluez.hci0().hears(seal(), -50, &locked(packet)));
        let Sighting::Advert(advert) = first.next().await else { panic!() };
        assert_eq!(advert.reading.packet, Some(packet));
    }
    assert!(first.heard.is_empty());
    assert_eq!(first.tally.opened.load(Ordering::Relaxed), 1);
}

async fn an_adapter_is_chosen_by_its_name_and_by_its_address(bus: Bus) {
    let bluez = bluez(&bus);
    for (name, last) in [("hci1", 0x66), ("hci2", 0x77), ("hci3", 0x88)] {
        bluez.plug_in(name, MacAddress([0x00, 0x11, 0x22, 0x33, 0x44, last]));
    }
    let by_name = config("ble-1", AdapterName::Kernel("hci2".into()));
    assert_eq!(Kept::new(BleScan::new(by_name)).up().await, "hci2 00:11:22:33:44:77");
    let by_address = config("ble-2", AdapterName::Address(mac("00:11:22:33:44:66")));
    assert_eq!(Kept::new(BleScan::new(by_address)).up().await, "hci1 00:11:22:33:44:66");
    assert!(!bluez.hci0().is_powered(), "the others are left alone");
}

async fn a_seal_bluez_has_forgotten_is_heard_again(bus: Bus) {
    let bluez = bluez(&bus);
    bluez.pace(|pace| pace.expiry = Duration::from_millis(50));
    let mut ble = scanning(Duration::from_secs(30));
    ble.up().await;
    for packet in 0..3 {
        assert_eq!(bluez.hears(seal(), -60, &locked(packet)), 1);
        let Sighting::Advert(advert) = ble.next().await else { panic!() };
        assert_eq!(advert.reading.packet, Some(packet));
        until("BlueZ forgets it", || bluez.hci0().devices().is_empty()).await;
    }
}

async fn a_seal_that_says_nothing_in_its_advertisements_is_heard_and_others_are_not(bus: Bus) {
    let bluez = bluez(&bus);
    let mut register = Register::new();
    register.insert(seal(), KnownSeal::new("TT-1".parse().expect("a seal"), ProtocolName::TtElock));
    let config = BleScanConfig::new("ble-1".parse().expect("a name"), hci0(), Arc::new(register));
    let mut ble = Kept::new(BleScan::new(config));
    ble.up().await;
    for rssi in [-61, -62] {
        let telephone = [Payload::ManufacturerData { company: 0x004C, bytes: vec![0x10, 5] }];
        bluez.hears(stranger(), -40, &telephone);
        bluez.hears(seal(), rssi, &[Payload::Bare]);
        let Sighting::Advert(advert) = ble.next().await else { panic!() };
        assert_eq!((advert.address, advert.rssi_dbm, advert.raw.len()), (seal(), Some(rssi), 0));
    }
    assert!(ble.heard.is_empty());
    assert_eq!(ble.tally.not_understood.load(Ordering::Relaxed), 0, "the air is full of telephones");
}

async fn beginning_anew_again_and_again_panics_nowhere_and_leaves_no_rule_behind(bus: Bus) {
    static PANICS: AtomicU32 = AtomicU32::new(0);
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        told(panic);
    }));
    let bluez = bluez(&bus);
    let mut ble = scanning(Duration::from_millis(20));
    ble.up().await;
    // those of its stream of events
    let rules = 2;
    until("the rules are seen", || bluez.rules().total() == rules).await;
    let times = u64::try_from(Length { ci: 5, nightly: 200 }.now()).expect("few");
    // silence: the scan is begun anew ten times, then everything is rebuilt
    until("it is rebuilt", || ble.tally.opened.load(Ordering::Relaxed) > times).await;
    heard_again(&bluez, &mut ble).await;
    until("nothing is left of those before", || bluez.rules().total() == rules).await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

/// Resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How many seals.
const SEALS: u8 = 200;
/// What the process may grow by after it is warm, in KiB: 64 bytes for each advertisement of the short run, less than
/// any event of the library takes, of which there are two for each; 4 bytes for each of the long run. Without a fault
/// it is a quarter of this, whatever the number.
const GROWTH_MAX: u64 = 768;

async fn two_hundred_chatty_seals_stay_within_memory(bus: Bus) {
    let bluez = bluez(&bus);
    let register = (0..SEALS).map(|last| {
        let seal = format!("JT-{last}").parse().expect("a seal");
        (MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, last]), KnownSeal::bthome(seal, None))
    });
    let config = BleScanConfig::new("ble-1".parse().expect("a name"), hci0(), Arc::new(register.collect()));
    let mut ble = Kept::new(BleScan::new(config));
    ble.up().await;
    let warm = 20;
    let rounds = warm + Length { ci: 60, nightly: 1000 }.now();
    let mut before = 0;
    for round in 0..rounds {
        if round == warm {
            before = resident();
        }
        let began = Instant::now();
        let heard = ble.tally.frames.load(Ordering::Relaxed);
        for last in 0..SEALS {
            // every other seal has something new to say
            let packet = if last % 2 == 0 { u8::try_from(round % 256).expect("a byte") } else { 0 };
            bluez.hears(MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, last]), -60, &locked(packet));
        }
        // five a second, or as fast as this machine takes them: this is about room and not about speed
        while ble.tally.frames.load(Ordering::Relaxed) < heard + u64::from(SEALS) || began.elapsed() < Duration::from_millis(200) {
            assert!(began.elapsed() < bench::DEADLINE, "all of them are heard");
            while ble.heard.try_recv().is_ok() {}
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let grown = resident().saturating_sub(before);
    println!("after {} advertisements {before} KiB, grown by {grown} KiB", rounds * usize::from(SEALS));
    assert!(grown <= GROWTH_MAX, "grown by {grown} KiB from {before} KiB");
    assert_eq!(ble.tally.overruns.load(Ordering::Relaxed), 0);
}
