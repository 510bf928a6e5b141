//! The stage of the demo: a directory, a reader, an air, customs, a line, a monitor, a gateway.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use segel_drivers::{
    codec::uhf::Dialect,
    sim::{EmulatedAir, EmulatedReader, EmulatedReaderConfig},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Line, Monitor};

use super::{
    DemoArgs,
    cast::{Lorry, lorries},
    technician::HandSeal,
};
use crate::daemon::Daemon;

/// What a minute at the gate takes on disk, with much to spare, in bytes.
const ROOM: u64 = 32 * 1024 * 1024;

/// The parts of the world the gateway sees.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    pub(super) broker_port: u16,
    pub(super) reader: EmulatedReader,
    pub(super) air: EmulatedAir,
    pub(super) customs: CustomsBroker,
    pub(super) line: Line,
    pub(super) monitor: Monitor,
    pub(super) gateway: Daemon,
    pub(super) lorries: Vec<Lorry>,
    pub(super) hand_seal: HandSeal,
    /// Removes the directory at the end, unless the person named one.
    _dir: Option<tempfile::TempDir>,
}

impl Stage {
    /// Sets everything up but the gateway, which the story starts.
    pub(super) async fn set(args: &DemoArgs) -> anyhow::Result<Self> {
        let (dir, temporary) = directory(args.dir.as_deref())?;
        room(&dir)?;
        free(args.broker_port, "--broker-port")?;
        let reader_config = EmulatedReaderConfig::new(dir.join("tty-gate-in"), Dialect::UhfReader288);
        let reader = EmulatedReader::plug_in(reader_config).context(
            "no pseudo-terminal can be had: /dev/ptmx and a mounted /dev/pts are needed (in a container: run it with a tty-capable /dev)",
        )?;
        let air = EmulatedAir::open(dir.join("air.sock")).with_context(|| {
            format!("the simulated air cannot be opened in {}; give --dir a shorter path on a local disk", dir.display())
        })?;
        let customs = CustomsBroker::start_at(&format!("127.0.0.1:{}", args.customs_port)).await.with_context(|| {
            format!("customs' broker cannot have port {}: choose another with --customs-port, or 0 for any", args.customs_port)
        })?;
        let line = Line::to(customs.address()).await.context("no port for the line to customs can be had")?;
        let lorries = lorries();
        let hand_seal = HandSeal::stand_in(&air);
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let gateway = Daemon::new(program, &dir);
        write_configuration(&dir, gateway.config(), args.broker_port, line.address().port(), &register(&lorries, &hand_seal))
            .with_context(|| format!("the demo's files cannot be written in {}: see that there is space", dir.display()))?;
        let monitor = Monitor::watch((Ipv4Addr::LOCALHOST, args.broker_port).into(), "segel/#");
        Ok(Self { dir, broker_port: args.broker_port, reader, air, customs, line, monitor, gateway, lorries, hand_seal, _dir: temporary })
    }
}

fn directory(wanted: Option<&Path>) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    match wanted {
        None => {
            let dir =
                tempfile::Builder::new().prefix("segel-demo-").tempdir().context("no temporary directory can be made: is there space?")?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("--dir {} cannot be made", dir.display()))?;
            let empty = fs::read_dir(dir)?.next().is_none();
            anyhow::ensure!(empty, "--dir {} is not empty: name an empty directory, so that nothing of yours is touched", dir.display());
            Ok((dir.canonicalize()?, None))
        }
    }
}

/// A disk that is full must be said before the story begins, too.
fn room(dir: &Path) -> anyhow::Result<()> {
    let disk = rustix::fs::statvfs(dir).with_context(|| format!("the disk of {} cannot be asked for its space", dir.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    anyhow::ensure!(
        free >= ROOM,
        "only {} KiB are free in {} and the demo needs {} KiB: free some, or name another place with --dir DIR",
        free / 1024,
        dir.display(),
        ROOM / 1024
    );
    Ok(())
}

/// A port that is taken must be said before the story begins, not in the gateway's log.
fn free(port: u16, option: &str) -> anyhow::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .with_context(|| format!("port {port} of 127.0.0.1 cannot be used: choose another with {option} PORT"))
}

fn write_configuration(dir: &Path, file: &Path, broker: u16, customs: u16, register: &str) -> std::io::Result<()> {
    let dir = dir.display();
    let text = format!(
        r#"# The configuration of the demo's gate.
[gate]
site = "idsrg"
id = "g01"
office_code = "060100"
state_dir = "{dir}/state"
runtime_dir = "{dir}/run"
seals_file = "seals.toml"

[thinning]
heartbeat_s = 5
temperature_step_c = 1
lost_after_s = 30

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
listen = "127.0.0.1:{broker}"

[uplink]
url = "mqtt://127.0.0.1:{customs}"
backoff_first_ms = 200
backoff_cap_s = 2

[log]
level = "info"
format = "text"
"#
    );
    fs::write(file, text)?;
    let path = file.with_file_name("seals.toml");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(register.as_bytes())
}

/// The register of seals.
fn register(lorries: &[Lorry], hand_seal: &HandSeal) -> String {
    let mut seals = String::from("# The demo's register of seals. It holds keys, so only its owner may read it.\n");
    for lorry in lorries {
        let key: String = lorry.key.iter().map(|byte| format!("{byte:02x}")).collect();
        seals.push_str(&format!(
            "\n[[seal]]\nid = \"{}\"\naddress = \"{}\"\nkey = \"{key}\"\nepc = \"{}\"\ncontainer = \"{}\"\n",
            lorry.seal, lorry.address, lorry.epc, lorry.container
        ));
    }
    seals.push_str(&hand_seal.register());
    seals
}
