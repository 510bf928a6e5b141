//! A gate with everything in front of it: an emulated reader on a pty, emulated seals on a simulated air.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use segel::{daemon::Daemon, event::Class, ingest::ReaderStatus, status::Status};
use segel_drivers::{
    Epc, LockClaim, MacAddress, SealId, SealReading,
    ble::AirFrame,
    codec::{bthome::SealKey, uhf::Dialect},
    sim::{EmulatedAir, EmulatedReader, EmulatedReaderConfig, EmulatedSeal},
};
use segel_mqtt_bridge::sim::Monitor;
use tempfile::TempDir;

/// What the gate has to do within this, it does within a fraction of it on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Antenna and raw signal strength of the tags shown.
const ANTENNA: (u8, u8) = (1, 0x5A);

/// What a rig is to be.
#[derive(Debug, Clone, Default)]
pub struct RigConfig {
    /// Customs' broker; without one the uplink is off.
    pub customs: Option<SocketAddr>,
    /// Seals in the register.
    pub seals: u16,
    /// Lines of TOML to follow the rest.
    pub more: String,
}

/// One emulated seal and what it says.
#[derive(Debug)]
pub struct Seal {
    /// Its number.
    pub id: SealId,
    /// The tag on it.
    pub epc: Epc,
    /// What it says.
    pub reading: SealReading,
    radio: EmulatedSeal,
    key: [u8; 16],
}

/// The gate and what is in front of it.
#[derive(Debug)]
pub struct Rig {
    /// The reader on its pty.
    pub reader: EmulatedReader,
    /// The air.
    pub air: EmulatedAir,
    /// The seals of the register.
    pub seals: Vec<Seal>,
    /// The gate itself, not yet started.
    pub gate: Daemon,
    dir: TempDir,
}

impl Rig {
    /// Builds everything; `program` is the `segel` to run. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When there is no pseudo-terminal, no space, or no right to write.
    pub fn build(program: impl Into<PathBuf>, config: &RigConfig) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("segel-rig-").tempdir()?;
        let reader = EmulatedReader::plug_in(EmulatedReaderConfig::new(dir.path().join("tty-gate-in"), Dialect::UhfReader288))?;
        let air = EmulatedAir::open(dir.path().join("air.sock"))?;
        let seals: Vec<_> = (0..config.seals).map(Seal::new).collect();
        let gate = Daemon::new(program, dir.path());
        write_configuration(dir.path(), gate.config(), config)?;
        write_register(&dir.path().join("seals.toml"), &seals)?;
        Ok(Self { reader, air, seals, gate, dir })
    }

    /// Where the gate's journal is.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directory of everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// More configuration, in a drop-in of its own: what it says wins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, toml: &str) -> anyhow::Result<()> {
        let folder = self.dir().join("segel.d");
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("more.toml"), toml)?)
    }

    /// Starts the gate and waits until all its parts work: both readers, the monitors' broker, and the line to customs
    /// where there is one.
    ///
    /// # Errors
    /// When it does not get there in time.
    pub async fn open(&mut self) -> anyhow::Result<Status> {
        self.gate.start().await?;
        let up = |s: &Status| s.readers.len() == 2 && s.readers.iter().all(|r| r.status == ReaderStatus::Up);
        let linked = |s: &Status| s.uplink.as_ref().is_none_or(|link| link.phase == "up");
        self.gate.until(PATIENCE, |s| up(s) && linked(s) && s.broker.is_some()).await
    }

    /// A monitor that is subscribed to everything, from now on.
    ///
    /// # Errors
    /// When it cannot connect in time.
    pub async fn monitor(&self) -> anyhow::Result<Monitor> {
        let monitor = Monitor::watch(self.broker().await?, "segel/#");
        monitor.until(PATIENCE, |seen| seen.iter().any(|m| m.topic.ends_with("/state/gateway"))).await?;
        Ok(monitor)
    }

    /// Where the monitors' broker listens.
    ///
    /// # Errors
    /// When the gate does not answer or has none yet.
    pub async fn broker(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.gate.status().await?.broker.context("the gate has no broker")?.listen)
    }

    /// Waits until customs has acknowledged everything recorded.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn drain(&mut self) -> anyhow::Result<Status> {
        self.gate.until(PATIENCE, |status| pending(status) == 0).await.context("not everything recorded arrived at customs")
    }

    /// Stops the gate as a supervisor would, and wants it to end well.
    ///
    /// # Errors
    /// When it does not, or not in time.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        let ended = self.gate.stop().await?;
        anyhow::ensure!(ended.code() == Some(0), "the gate ended with {ended}");
        Ok(())
    }

    /// What the gate has logged over all its lives.
    ///
    /// # Errors
    /// When there is no log.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.gate.log()).context("the gate has no log")
    }

    /// Waits until the log says so, this often.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until_logged(&mut self, words: &str, times: usize) -> anyhow::Result<()> {
        let log = self.gate.log().to_owned();
        let said = || fs::read_to_string(&log).map_or(0, |log| log.matches(words).count());
        let waited = self.gate.until(PATIENCE, |_| said() >= times).await;
        waited.map(drop).with_context(|| format!("the log does not say {times} times: {words}"))
    }

    /// This seal advertises what it has to say.
    ///
    /// # Errors
    /// When the frame is too long for the air.
    pub fn advertise(&mut self, index: usize) -> anyhow::Result<()> {
        self.air.send(&self.seals[index].frame())?;
        Ok(())
    }

    /// A tag nobody has seen before passes the reader.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn tag_passes(&self, number: u32) -> anyhow::Result<()> {
        self.reader.show(tag(number), ANTENNA.0, ANTENNA.1).await?;
        Ok(())
    }
}

impl Seal {
    fn new(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        let address = MacAddress([0xA4, 0xC1, 0x38, 0x01, high, low]);
        let key = [low ^ 0x5A; 16];
        Self {
            id: format!("SGL-{:05}", 10_000 + u32::from(number)).parse().expect("a maker, a dash and digits are a seal number"),
            epc: format!("E280691500005000{number:04X}784F").parse().expect("whole bytes in hex are an EPC"),
            reading: SealReading {
                lock: Some(LockClaim::Locked),
                tamper: Some(false),
                battery_percent: Some(90),
                temperature_centi_c: Some(3_000),
                ..SealReading::default()
            },
            radio: EmulatedSeal::new(address, Some(SealKey::new(key))),
            key,
        }
    }

    /// What it advertises next.
    pub fn frame(&mut self) -> AirFrame {
        self.radio.advertise(&self.reading)
    }

    /// The address it advertises with.
    #[must_use]
    pub fn address(&self) -> MacAddress {
        self.radio.address
    }

    /// Somebody takes a bolt cutter to it.
    pub fn force_open(&mut self) {
        self.reading.lock = Some(LockClaim::Unlocked);
        self.reading.tamper = Some(true);
    }

    /// The topic of its retained state.
    #[must_use]
    pub fn state_topic(&self) -> String {
        format!("segel/1/idsrg/g01/state/seal-{}", self.id.as_str().to_ascii_lowercase())
    }

    /// Opens or closes its lock; with each change of this kind the gate has something to record.
    pub fn turn(&mut self) {
        self.reading.lock = match self.reading.lock {
            Some(LockClaim::Locked) => Some(LockClaim::Unlocked),
            _ => Some(LockClaim::Locked),
        };
    }
}

/// The tag with this number; none of them is a seal's.
#[must_use]
pub fn tag(number: u32) -> Epc {
    format!("E28011606000{number:08X}D00D").parse().expect("whole bytes in hex are an EPC")
}

/// Events customs has not acknowledged.
#[must_use]
pub fn pending(status: &Status) -> u64 {
    status.accounts.iter().map(|account| account.pending).sum()
}

/// Events recorded in a class.
#[must_use]
pub fn recorded(status: &Status, class: Class) -> u64 {
    status.accounts.iter().filter(|account| account.class == class).map(|account| account.recorded).sum()
}

fn write_configuration(dir: &Path, file: &Path, config: &RigConfig) -> std::io::Result<()> {
    let uplink = match config.customs {
        Some(address) => format!("url = \"mqtt://{address}\"\nbackoff_first_ms = 100\nbackoff_cap_s = 1"),
        None => "enabled = false".to_owned(),
    };
    let dir = dir.display();
    let text = format!(
        r#"[gate]
site = "idsrg"
id = "g01"
state_dir = "{dir}/state"
runtime_dir = "{dir}/run"
seals_file = "seals.toml"

[readers.gate-in]
kind = "uhf-reader"
port = "{dir}/tty-gate-in"
dialect = "288"
mode = "realtime"
lane = "in-1"

[readers.air]
kind = "simulated-air"
socket = "{dir}/air.sock"
lane = "in-1"

[broker]
listen = "127.0.0.1:0"

[uplink]
{uplink}

[log]
format = "text"

{}
"#,
        config.more
    );
    fs::write(file, text)
}

fn write_register(file: &Path, seals: &[Seal]) -> std::io::Result<()> {
    let mut register = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    for seal in seals {
        let key = hex::encode(seal.key);
        writeln!(
            register,
            "[[seal]]\nid = \"{}\"\naddress = \"{}\"\nkey = \"{key}\"\nepc = \"{}\"\n",
            seal.id, seal.radio.address, seal.epc
        )?;
    }
    Ok(())
}
