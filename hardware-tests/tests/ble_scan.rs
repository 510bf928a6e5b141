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
    sync::Arc,
    time::{Duration, Instant},
};

use bench::{Kept, epc, kept, plug_in};
use libtest_mimic::Arguments;
use segel_drivers::{
    MacAddress, Sighting,
    ble::{AdapterName, BleScan, BleScanConfig, KnownSeal, Payload, Register, air::uuid16},
    codec::uhf::Dialect,
};
use segel_hardware_tests::bluez::{
    Bluez, Bus, Times,
    again::{Place, on, on_private_bus},
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
