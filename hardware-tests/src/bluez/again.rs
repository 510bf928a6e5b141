//! One process per test: libdbus reads the address of the system bus once, so each test starts itself again with the
//! bus it needs, and only that second process runs it.

use std::{path::Path, process::Command, time::Duration};

use libtest_mimic::{Failed, Trial};

use super::Bus;
use crate::peers::{self, Peer};

/// Where libdbus finds the system bus.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Set in a process that was started again.
const AGAIN: &str = "SEGEL_TEST_AGAIN";
/// How long what a test leaves behind on its runtime may take to end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// The directory and the address of the bus in the process that was started again.
#[derive(Debug)]
pub struct Place {
    /// A directory of the test's own; gone after it.
    pub directory: std::path::PathBuf,
    /// The address of its bus.
    pub address: String,
}

/// A test on a bus that `bus` makes in the directory it is given; the bus lives as long as what it returns beside
/// its address.
pub fn on<B>(
    name: &'static str,
    bus: impl FnOnce(&Path) -> anyhow::Result<(String, B)> + Send + 'static,
    test: impl AsyncFnOnce(Place) + Send + 'static,
) -> Trial {
    Trial::test(name, move || with_bus(name, bus, test))
}

/// A test on a private bus that the test process starts itself, so that it can let it die; skipped with a word where
/// `dbus-daemon` is missing.
pub fn on_private_bus(name: &'static str, test: impl AsyncFnOnce(Bus) + Send + 'static) -> Trial {
    let address = |directory: &Path| Ok((format!("unix:path={}", directory.join("bus").display()), ()));
    let test = async move |place: Place| {
        let bus = Bus::start(&place.directory).expect("dbus-daemon was found a moment ago");
        test(bus).await;
    };
    if std::env::var_os(AGAIN).is_some() {
        return on(name, address, test);
    }
    peers::trial(name, &[Peer::DbusDaemon], move || with_bus(name, address, test))
}

fn with_bus<B>(name: &str, bus: impl FnOnce(&Path) -> anyhow::Result<(String, B)>, test: impl AsyncFnOnce(Place)) -> Result<(), Failed> {
    if let Some(directory) = std::env::var_os(AGAIN) {
        let address = std::env::var(BUS).map_err(|_| Failed::from(format!("{BUS} is not set in a process started again")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test(Place { directory: directory.into(), address }));
        runtime.shutdown_timeout(SHUTDOWN_GRACE);
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let (address, _until_the_end) = bus(directory.path()).map_err(|fault| Failed::from(format!("{fault:#}")))?;
    let mut again = Command::new(std::env::current_exe()?);
    again.args([name, "--exact", "--include-ignored", "--nocapture"]).env(AGAIN, directory.path()).env(BUS, address);
    let out = again.output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(Failed::from(format!("{}\n{}", said(&out.stdout), said(&out.stderr))))
}
