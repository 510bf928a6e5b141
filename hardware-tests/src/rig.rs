//! A gate with everything in front of it: an emulated reader on a pty, emulated seals on a simulated air.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use segel::daemon::Daemon;
use segel_drivers::{
    Epc, LockClaim, MacAddress, SealId, SealReading,
    codec::{bthome::SealKey, uhf::Dialect},
    sim::{EmulatedAir, EmulatedReader, EmulatedReaderConfig, EmulatedSeal},
};
use tempfile::TempDir;

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

    /// This seal advertises what it has to say.
    ///
    /// # Errors
    /// When the frame is too long for the air.
    pub fn advertise(&mut self, index: usize) -> anyhow::Result<()> {
        let seal = &mut self.seals[index];
        self.air.send(&seal.radio.advertise(&seal.reading))?;
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

    /// Opens or closes its lock; with each change of this kind the gate has something to record.
    pub fn turn(&mut self) {
        self.reading.lock = match self.reading.lock {
            Some(LockClaim::Locked) => Some(LockClaim::Unlocked),
            _ => Some(LockClaim::Locked),
        };
    }
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
