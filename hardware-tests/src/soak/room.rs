//! The disk of the journal: a small file system of its own, which a file of no use fills and frees again.
//!
//! It is mounted where nobody else sees it (a mount namespace of this process), so it is gone when this process is,
//! however it ends. That needs root, or a kernel that gives every user a namespace; where there is neither, the journal
//! lies on the common disk and nothing is filled.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;

/// Set inside the namespace.
const INSIDE: &str = "SEGEL_SOAK_INSIDE";
/// Two ways to a mount namespace: as root, and as anybody.
const WAYS: [&[&str]; 2] =
    [&["--mount", "--propagation", "private"], &["--user", "--map-root-user", "--mount", "--propagation", "private"]];
/// Size of the disk: several times what the journal of an hour needs, with some to spare.
const SIZE: &str = "64m";
/// What is left on a disk nearly full, in bytes: less than what telemetry may use.
const NEARLY: u64 = 2 * 1024 * 1024;
/// Bytes written at a time.
const CHUNK: usize = 256 * 1024;
/// The smallest piece with which the disk is filled to the brim.
const CRUMB: usize = 4_096;

/// Starts this program again inside a mount namespace, if there is a way; ends only when that cannot be done.
pub(crate) fn enter() -> Option<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let works = |way: &&&[&str]| {
        let tried =
            Command::new("unshare").args(**way).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let way = WAYS.iter().find(works)?;
    let program = std::env::current_exe().ok()?;
    let failed = Command::new("unshare").args(*way).arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1").exec();
    eprintln!("soak: {failed}");
    Some(ExitCode::FAILURE)
}

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    ballast: PathBuf,
    own: bool,
}

impl Disk {
    /// A disk at `place`, of its own if there may be one.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn at(place: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(place).with_context(|| place.display().to_string())?;
        let mount =
            || Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=700"), "segel-soak"]).arg(place).status();
        let own = std::env::var_os(INSIDE).is_some() && mount().is_ok_and(|status| status.success());
        Ok(Self { ballast: place.join("ballast"), own })
    }

    /// Whether it can be filled without harm to anybody else.
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    /// Fills it; to the brim, or but for a little.
    ///
    /// # Errors
    /// When it cannot be filled for another reason than that it is full.
    pub(super) fn fill(&self, level: Level) -> io::Result<()> {
        let mut ballast = OpenOptions::new().create(true).append(true).open(&self.ballast)?;
        fill_with(&mut ballast, CHUNK)?;
        fill_with(&mut ballast, CRUMB)?;
        if level == Level::Nearly {
            ballast.set_len(ballast.metadata()?.len().saturating_sub(NEARLY))?;
        }
        Ok(())
    }

    /// Frees what was filled.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(super) fn free(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.ballast) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }
}

/// How full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Nearly,
    Brim,
}

fn fill_with(file: &mut File, piece: usize) -> io::Result<()> {
    let nothing = vec![0; piece];
    loop {
        match file.write_all(&nothing) {
            Ok(()) => {}
            Err(fault) if fault.kind() == io::ErrorKind::StorageFull => return Ok(()),
            Err(fault) => return Err(fault),
        }
    }
}
