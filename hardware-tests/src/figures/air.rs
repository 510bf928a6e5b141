//! From the air to a report: what the scan takes, through the real Bluetooth library and an emulated BlueZ.
//!
//! ```text
//!   emulated BlueZ ──signal──► dbus-daemon ──► btleplug, BleScan (one thread) ──report──► here
//! ```
//!
//! Sustained means as many as are taken in while there is always something to take in: a hundred on the way, never
//! a heap. The processor time is that of the scan's own thread, which does all of
//! it on this side of the bus; the bus and the emulator are not in it. Beside the latency stands one bare call over the
//! same bus to the same emulator and back, by another library, in turns with it.
//!
//! libdbus reads the address of its bus once per process, so the bench starts itself again with a bus of its own.

use std::{
    fs,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use segel_drivers::{
    Ear, MacAddress, Report, Sighting, Standing,
    ble::{AdapterName, BleScan, BleScanConfig, KnownSeal, Payload, air::uuid16},
    supervise::{Patience, keep},
};
use segel_hardware_tests::bluez::{Bluez, Bus};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    sample::{Samples, ms, per_second, rate},
    table::Row,
};

/// Where libdbus finds the system bus.
const BUS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// Set in the process that was started again.
const AGAIN: &str = "SEGEL_FIGURES_AGAIN";
/// Seals on the air.
const SEALS: u8 = 50;
/// Advertisements of the sustained run.
const MANY: usize = 20_000;
/// Advertisements on the way at a time.
const ON_THE_WAY: usize = 100;
/// Advertisements whose time is taken, one in so long: 40 seals with five a second.
const TIMED: usize = 2_000;
const EVERY: Duration = Duration::from_millis(5);
/// What never takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts this program again on a bus of its own, if it is not the one that was.
///
/// # Errors
/// When there is no bus, or the other process says so.
pub(super) fn on_a_bus() -> anyhow::Result<bool> {
    if std::env::var_os(AGAIN).is_some() {
        return Ok(true);
    }
    let dir = tempfile::tempdir()?;
    let bus = Bus::start(dir.path())?;
    let mut again = Command::new(std::env::current_exe()?);
    let status = again.args(std::env::args_os().skip(1)).env(AGAIN, "1").env(BUS, &bus.address).status()?;
    ensure!(status.success(), "the process with the bus of its own failed");
    Ok(false)
}

/// The address of the bus.
pub(super) fn bus() -> anyhow::Result<String> {
    std::env::var(BUS).context("there is no bus")
}

/// The rows of this part.
pub(super) async fn run(plan: &Plan, address: &str) -> anyhow::Result<Vec<Row>> {
    let mut air = Air::open(address).await?;
    air.sustain(plan.of(MANY) / 10).await.context("warming up")?;
    let many = plan.of(MANY);
    let cpu = scan_cpu()?;
    let took = air.sustain(many).await?;
    let cpu = scan_cpu()?.saturating_sub(cpu);
    let per_thousand = Duration::from_secs_f64(cpu.as_secs_f64() * 1000.0 / many as f64);
    let (ours, beside) = air.timed(plan.of(TIMED), address).await?;
    let row = |percent| {
        let (ours, beside) = (ours.percentile(percent), beside.percentile(percent));
        let row = Row::new(format!("advertisement's signal to report, p{percent}"), ms(ours));
        row.beside(format!("{} one call and back", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64())
    };
    Ok(vec![
        Row::new("advertisements sustained through BlueZ", per_second(rate(many, took))),
        Row::new("processor time of a thousand, the scan's thread", ms(per_thousand)),
        row(50),
        row(99),
    ])
}

/// The emulated air and the scan before it.
struct Air {
    bluez: Bluez,
    reports: mpsc::Receiver<Report>,
    _stop: tokio_util::sync::DropGuard,
    next: u8,
}

impl Air {
    async fn open(address: &str) -> anyhow::Result<Self> {
        let bluez = Bluez::start(address)?;
        let seals = (0..SEALS).map(|last| Ok((seal(last), KnownSeal::bthome(format!("JT-{last}").parse()?, None))));
        let register = seals.collect::<anyhow::Result<_>>()?;
        let config = BleScanConfig::new("ble-1".parse()?, AdapterName::Kernel("hci0".to_owned()), Arc::new(register));
        let (told, mut reports) = mpsc::channel(1024);
        let ear = Ear::new(config.id.clone(), told);
        let stop = CancellationToken::new();
        tokio::spawn(keep(BleScan::new(config), ear, Patience::default(), stop.clone()));
        let first = tokio::time::timeout(DEADLINE, reports.recv()).await.context("the scan does not begin")?;
        match first.map(|report| report.sighting) {
            Some(Sighting::Standing(Standing::Up { .. })) => Ok(Self { bluez, reports, _stop: stop.drop_guard(), next: 0 }),
            other => bail!("the scan does not begin: {other:?}"),
        }
    }

    /// The next seal says something new.
    fn send(&mut self) {
        self.next = self.next.wrapping_add(1);
        let bytes = vec![0x44, 0, self.next, 1, 0x5D, 0x1F, 0, 0x2B, 1];
        self.bluez.hears(seal(self.next % SEALS), -60, &[Payload::ServiceData { uuid: uuid16(0xFCD2), bytes }]);
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        let report = tokio::time::timeout(DEADLINE, self.reports.recv()).await.context("an advertisement was not reported")?;
        match report.map(|report| report.sighting) {
            Some(Sighting::Advert(_)) => Ok(()),
            other => bail!("no advertisement was reported but {other:?}"),
        }
    }

    /// So many advertisements, one sent for each that was reported; how long that took.
    async fn sustain(&mut self, many: usize) -> anyhow::Result<Duration> {
        let since = Instant::now();
        let ahead = ON_THE_WAY.min(many);
        (0..ahead).for_each(|_| self.send());
        for _ in ahead..many {
            self.report().await?;
            self.send();
        }
        for _ in 0..ahead {
            self.report().await?;
        }
        Ok(since.elapsed())
    }

    /// How long single advertisements take, and in turns with them a bare call over the same bus.
    async fn timed(&mut self, many: usize, address: &str) -> anyhow::Result<(Samples, Samples)> {
        let bare = zbus::connection::Builder::address(address).build().await?;
        let (mut ours, mut beside) = (Samples::default(), Samples::default());
        let mut clock = tokio::time::interval(EVERY);
        for _ in 0..many {
            clock.tick().await;
            let began = Instant::now();
            self.send();
            self.report().await?;
            ours.push(began.elapsed());
            let began = Instant::now();
            let (to, at) = (Some("org.bluez"), "/org/bluez/hci0");
            bare.call_method(to, at, Some("org.freedesktop.DBus.Properties"), "GetAll", &("org.bluez.Adapter1",)).await?;
            beside.push(began.elapsed());
        }
        Ok((ours, beside))
    }
}

fn seal(last: u8) -> MacAddress {
    MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, last])
}

/// The processor time of the scan's thread, from the kernel's account of it.
fn scan_cpu() -> anyhow::Result<Duration> {
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() == "ble-hci0" {
            let account = fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = account.split(' ').next().and_then(|first| first.parse().ok());
            return Ok(Duration::from_nanos(nanoseconds.context("the kernel keeps no account of threads")?));
        }
    }
    bail!("the scan has no thread")
}
