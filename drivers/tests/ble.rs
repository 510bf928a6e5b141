//! The Bluetooth radio on machines where Bluetooth does not work.
//!
//! libdbus reads the address of the system bus once per process, so each test here starts itself again in a process
//! of its own with the bus it needs.

mod bench;

use std::{io::Read, os::unix::net::UnixListener, path::Path, process::Command, sync::Arc, time::Duration};

use bench::{Kept, epc, kept, plug_in};
use segel_drivers::{
    ble::{AdapterName, BleScan, BleScanConfig, Register},
    codec::uhf::Dialect,
};

/// Where a process started again finds its bus.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const AGAIN: &str = "SEGEL_TEST_AGAIN";

/// Runs `test` in this process if it is the one with its own bus, else starts that one.
fn with_bus(name: &str, address: &str, test: impl AsyncFnOnce()) {
    if std::env::var_os(AGAIN).is_none() {
        let mut again = Command::new(std::env::current_exe().expect("this very program"));
        let status = again.args([name, "--exact", "--nocapture"]).env(AGAIN, "1").env(BUS, address).status().expect("it starts again");
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

#[test]
fn without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on() {
    with_bus("without_d_bus_the_adapter_is_down_with_a_reason_and_the_readers_go_on", "unix:path=/nonexistent/bus", async || {
        let directory = tempfile::tempdir().unwrap();
        let mut ble = adapter(Duration::from_secs(30));
        let reason = ble.down().await;
        assert!(reason.contains("cannot open hci0: no connection to the D-Bus system bus"), "{reason}");
        reads_go_on(directory.path(), || true).await;
        assert!(ble.heard.is_empty(), "said once, however often it is tried");
    });
}

#[test]
fn a_hung_adapter_does_not_stop_the_other_radio() {
    // a bus that takes the connection and never answers: libdbus blocks the thread it is called on
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("bus");
    let bus = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for connection in bus.incoming() {
            std::thread::spawn(move || connection.unwrap().read_to_end(&mut Vec::new()));
        }
    });
    with_bus("a_hung_adapter_does_not_stop_the_other_radio", &format!("unix:path={}", socket.display()), async || {
        let directory = tempfile::tempdir().unwrap();
        let mut ble = adapter(Duration::from_secs(3));
        reads_go_on(directory.path(), || !ble.heard.is_empty()).await;
        let reason = ble.down().await;
        assert!(reason.contains("never returned"), "{reason}");
        let reason = ble.down().await;
        assert!(reason.contains("still hangs in a call"), "no second thread beside a hung one: {reason}");
    });
}
