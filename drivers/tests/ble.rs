//! The Bluetooth radio on machines where Bluetooth does not work.
//!
//! libdbus reads the address of the system bus once per process, so each test here starts itself again in a process
//! of its own with the bus it needs. Some need D-Bus's own daemon: where it is missing they count as ignored and say
//! so; with `SEGEL_PEERS=required` they fail instead, so that nothing is tested less in silence.

mod bench;

use std::{
    io::Read,
    os::unix::net::UnixListener,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use bench::{
    Kept,
    bluez::{self, Bluez, Bus},
    epc, kept, plug_in,
};
use libtest_mimic::{Arguments, Trial};
use segel_drivers::{
    Sighting,
    ble::{AdapterName, BleScan, BleScanConfig, KnownSeal, Register},
    codec::uhf::Dialect,
};

/// A test, told its own name.
type Test = fn(&'static str);

/// Names a test after its function.
macro_rules! named {
    ($($test:ident),+ $(,)?) => { [$((stringify!($test), $test as Test)),+] };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let alone =
        named![without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on, a_hung_adapter_does_not_stop_the_other_radio,];
    let on_a_bus = named![
        seals_are_heard_from_their_first_advertisement_on_and_remembered_ones_are_not,
        a_silent_air_is_scanned_anew_and_an_adapter_that_cannot_is_down,
        without_bluez_or_its_adapter_the_reason_says_so_and_it_is_found_when_it_comes,
    ];
    let mut trials: Vec<Trial> = alone.into_iter().map(|(name, test)| trial(name, test)).collect();
    let missing = !bluez::has_daemon();
    let required = std::env::var("SEGEL_PEERS").is_ok_and(|wish| wish == "required");
    for (name, test) in on_a_bus {
        let ignored = missing && !required;
        if ignored && std::env::var_os(AGAIN).is_none() {
            eprintln!("SKIPPED {name}: {REMEDY}");
        }
        // run all the same, by wish or because it is required, it fails
        trials.push(
            if missing { trial(name, |_| panic!("dbus-daemon is missing: {REMEDY}")) } else { trial(name, test) }
                .with_ignored_flag(ignored),
        );
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

const REMEDY: &str = "install Debian's package dbus";

fn trial(name: &'static str, test: Test) -> Trial {
    Trial::test(name, move || {
        test(name);
        Ok(())
    })
}

/// Where a process started again finds its bus.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const AGAIN: &str = "SEGEL_TEST_AGAIN";

/// Runs `test` in this process if it is the one with its own bus, else makes that bus and starts that process.
fn with_bus<B>(name: &str, bus: impl FnOnce(&Path) -> (String, B), test: impl AsyncFnOnce()) {
    if std::env::var_os(AGAIN).is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let (address, _until_the_end) = bus(directory.path());
        let mut again = Command::new(std::env::current_exe().expect("this very program"));
        let status = again
            .args([name, "--exact", "--include-ignored", "--nocapture"])
            .env(AGAIN, "1")
            .env(BUS, address)
            .status()
            .expect("it starts again");
        assert!(status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(test());
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn adapter(hung_after: Duration) -> Kept {
    let config = BleScanConfig::new("ble-1".parse().expect("a name"), AdapterName::Kernel("hci0".into()), Arc::new(Register::new()));
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

fn without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on(name: &str) {
    with_bus(
        name,
        |_| ("unix:path=/nonexistent/bus".to_owned(), ()),
        async || {
            let directory = tempfile::tempdir().expect("a directory");
            let mut ble = adapter(Duration::from_secs(30));
            let reason = ble.down().await;
            assert!(reason.contains("cannot open hci0: no connection to the D-Bus system bus"), "{reason}");
            reads_go_on(directory.path(), || true).await;
            assert!(ble.heard.is_empty(), "said once, however often it is tried");
        },
    );
}

/// A bus that takes the connection and never answers: libdbus blocks the thread it is called on.
fn deaf_bus(directory: &Path) -> (String, ()) {
    let socket = directory.join("bus");
    let bus = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for connection in bus.incoming() {
            std::thread::spawn(move || connection.expect("a connection").read_to_end(&mut Vec::new()));
        }
    });
    (format!("unix:path={}", socket.display()), ())
}

fn a_hung_adapter_does_not_stop_the_other_radio(name: &str) {
    with_bus(name, deaf_bus, async || {
        let directory = tempfile::tempdir().expect("a directory");
        let mut ble = adapter(Duration::from_secs(3));
        reads_go_on(directory.path(), || !ble.heard.is_empty()).await;
        let reason = ble.down().await;
        assert!(reason.contains("never returned"), "{reason}");
        let reason = ble.down().await;
        assert!(reason.contains("still hangs in a call"), "no second thread beside a hung one: {reason}");
    });
}

const SEAL: &str = "54:48:E6:8F:80:A5";
const STRANGER: &str = "54:48:E6:8F:80:A6";

fn locked() -> Vec<u8> {
    vec![0x44, 0, 9, 1, 0x5D, 0x1F, 0, 0x2B, 1]
}

fn a_bus(directory: &Path) -> (String, Bus) {
    let bus = Bus::start(directory);
    (bus.address.clone(), bus)
}

fn scanning(quiet: Duration) -> Kept {
    let mut register = Register::new();
    register.insert(SEAL.parse().expect("an address"), KnownSeal::bthome("JT-8000620011".parse().expect("a seal"), None));
    let config = BleScanConfig::new("ble-1".parse().expect("a name"), AdapterName::Kernel("hci0".into()), Arc::new(register));
    Kept::new(BleScan::new(BleScanConfig { quiet, ..config }))
}

fn seals_are_heard_from_their_first_advertisement_on_and_remembered_ones_are_not(name: &str) {
    with_bus(name, a_bus, async || {
        let bluez = Bluez::start();
        bluez.remembers(STRANGER, &locked());
        let mut ble = scanning(Duration::from_secs(30));
        assert_eq!(ble.up().await, "hci0 00:11:22:33:44:55");
        for (seal, rssi, packet) in [(SEAL, -61, 9), (SEAL, -62, 10), (STRANGER, -63, 11)] {
            let mut data = locked();
            data[2] = packet;
            bluez.hears(seal, rssi, &data);
            let Sighting::Advert(advert) = ble.next().await else { panic!() };
            let name = if seal == SEAL { "JT-8000620011" } else { "BLE-5448E68F80A6" };
            assert_eq!((advert.seal.as_str(), advert.rssi_dbm, advert.reading.packet), (name, Some(rssi), Some(packet)));
            assert_eq!(advert.address, seal.parse().expect("it is well formed"));
        }
    });
}

fn a_silent_air_is_scanned_anew_and_an_adapter_that_cannot_is_down(name: &str) {
    with_bus(name, a_bus, async || {
        let bluez = Bluez::start();
        let mut ble = scanning(Duration::from_millis(100));
        ble.up().await;
        // silent for so long that everything is rebuilt at least once, and not a word of it
        let since = std::time::Instant::now();
        while bluez.scans() < 14 {
            assert!(since.elapsed() < bench::DEADLINE, "scans are begun anew");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(ble.heard.is_empty(), "silence alone is no news");
        bluez.hears(SEAL, -60, &locked());
        assert!(matches!(ble.next().await, Sighting::Advert(_)), "and it still hears");
        bluez.refuse_scans();
        let reason = ble.down().await;
        assert!(reason.contains("BlueZ does not give a scan"), "{reason}");
    });
}

fn without_bluez_or_its_adapter_the_reason_says_so_and_it_is_found_when_it_comes(name: &str) {
    with_bus(name, a_bus, async || {
        let mut ble = scanning(Duration::from_secs(30));
        let reason = ble.down().await;
        assert!(reason.contains("start bluetooth.service"), "{reason}");
        let bluez = Bluez::start();
        ble.up().await;
        let config =
            BleScanConfig::new("ble-2".parse().expect("it is well formed"), AdapterName::Kernel("hci7".into()), Arc::new(Register::new()));
        let reason = Kept::new(BleScan::new(config)).down().await;
        assert!(reason.contains("There is: hci0 00:11:22:33:44:55"), "{reason}");
        let by_address = BleScanConfig::new(
            "ble-3".parse().expect("it is well formed"),
            "00:11:22:33:44:55".parse().expect("it is well formed"),
            Arc::new(Register::new()),
        );
        Kept::new(BleScan::new(by_address)).up().await;
        drop(bluez);
    });
}
