//! Programs of others that some tests talk to.
//!
//! Where one is missing, the tests that need it count as ignored and say so; with `SEGEL_PEERS=required`, as in CI,
//! they fail instead, so that nothing is tested less in silence.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use libtest_mimic::{Failed, Trial};

/// A program of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The broker customs is most likely to run.
    Mosquitto,
    /// Its subscribing client.
    MosquittoSub,
    /// Its publishing client.
    MosquittoPub,
    /// Python with `paho-mqtt`; `SEGEL_PYTHON` names the interpreter.
    Paho,
    /// Python with `cryptography`; `SEGEL_PYTHON` names the interpreter.
    Cryptography,
    /// The right to mount a small file system in memory.
    Tmpfs,
    /// libfaketime, which tells one process another wall time; `SEGEL_FAKETIME` names the library.
    Faketime,
    /// The kernel's interface for file systems in a process, and the right to mount one.
    Fuse,
    /// D-Bus's own daemon.
    DbusDaemon,
}

impl Peer {
    /// What to install.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Mosquitto => "install Debian's package mosquitto",
            Self::MosquittoSub | Self::MosquittoPub => "install Debian's package mosquitto-clients",
            Self::Tmpfs => "run as root, where mounting is allowed",
            Self::Faketime => "install Debian's package faketime, or name libfaketimeMT.so.1 in SEGEL_FAKETIME",
            Self::Fuse => {
                "load the kernel module fuse, give access to /dev/fuse, and run as root (or install fuse3, whose fusermount mounts for others)"
            }
            Self::DbusDaemon => "install Debian's package dbus",
            Self::Cryptography => "install cryptography for python3 (pip), or name an interpreter that has it in SEGEL_PYTHON",
            Self::Paho => "install paho-mqtt for python3 (pip), or name an interpreter that has it in SEGEL_PYTHON",
        }
    }

    /// Where it is, if it is there and runs.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        match self {
            Self::Mosquitto => ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|name| runs(name, &["-h"])),
            Self::MosquittoSub => runs("mosquitto_sub", &["--help"]),
            Self::MosquittoPub => runs("mosquitto_pub", &["--help"]),
            Self::Tmpfs => crate::disk::Disk::new("16k").ok().map(|_| PathBuf::from("/proc/filesystems")),
            Self::Faketime => faketime(),
            Self::Fuse => crate::cutfs::CutFs::mount(&crate::cutfs::Image::default()).ok().map(|_| PathBuf::from("/dev/fuse")),
            Self::DbusDaemon => runs("dbus-daemon", &["--version"]),
            Self::Paho => python("import paho.mqtt.client"),
            Self::Cryptography => python("import cryptography.hazmat.primitives.cmac"),
        }
    }
}

/// An interpreter that can do this.
fn python(imports: &str) -> Option<PathBuf> {
    runs(&std::env::var("SEGEL_PYTHON").unwrap_or_else(|_| "python3".to_owned()), &["-c", imports])
}

/// The variant for programs with threads.
fn faketime() -> Option<PathBuf> {
    let named = std::env::var_os("SEGEL_FAKETIME").map(PathBuf::from);
    let beside = |dir: &std::path::Path| dir.join("faketime/libfaketimeMT.so.1");
    let by_machine = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| beside(&entry.path()));
    named.into_iter().chain(by_machine).chain([beside("/usr/lib".as_ref())]).find(|library| library.is_file())
}

/// The program if it can be started. Some of these exit with 1 on their help, so a start is enough but for Python.
fn runs(program: &str, args: &[&str]) -> Option<PathBuf> {
    let mut command = Command::new(program);
    let status = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    (args[0] != "-c" || status.success()).then(|| PathBuf::from(program))
}

/// A test that needs these peers: ignored with a word where one is missing, failed where peers are required.
pub fn trial(name: &str, needs: &[Peer], test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    let missing: Vec<_> = needs.iter().filter(|peer| peer.find().is_none()).copied().collect();
    if missing.is_empty() {
        return Trial::test(name, test);
    }
    let remedies = missing.iter().map(|peer| peer.remedy()).collect::<Vec<_>>().join("; ");
    if std::env::var("SEGEL_PEERS").is_ok_and(|wish| wish == "required") {
        return Trial::test(name, move || Err(Failed::from(format!("a peer is missing and SEGEL_PEERS=required: {remedies}"))));
    }
    eprintln!("SKIPPED {name}: {remedies}");
    // Whoever runs ignored tests on purpose learns why this one cannot pass.
    Trial::test(name, move || Err(Failed::from(format!("a peer is missing: {remedies}")))).with_ignored_flag(true)
}

/// Runs an async test on a runtime of its own.
///
/// # Errors
/// What the test says.
pub fn on_runtime(test: impl Future<Output = anyhow::Result<()>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(test).map_err(|fault| Failed::from(format!("{fault:#}")))
}
