//! A small disk in memory that can be full, grown, taken out and put back.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

/// A mounted file system of a fixed size; taken out when dropped.
#[derive(Debug)]
pub struct Disk {
    /// The directory it is mounted on, which stays when it is taken out.
    mountpoint: tempfile::TempDir,
}

impl Disk {
    /// A disk of this size (`64k`, `8m`), put in.
    ///
    /// # Errors
    /// When this user may not mount here.
    pub fn new(size: &str) -> anyhow::Result<Self> {
        let disk = Self { mountpoint: tempfile::tempdir()? };
        disk.put_in(size)?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.mountpoint.path()
    }

    /// Puts in an empty disk of this size.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn put_in(&self, size: &str) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o"]).arg(format!("size={size}")).arg("segel-test").arg(self.path()))
    }

    /// Makes it larger or smaller.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn resize(&self, size: &str) -> anyhow::Result<()> {
        run(Command::new("mount").arg("-o").arg(format!("remount,size={size}")).arg(self.path()))
    }

    /// Takes it out; what was on it is gone.
    ///
    /// # Errors
    /// When somebody has a file of it open.
    pub fn take_out(&self) -> anyhow::Result<()> {
        run(Command::new("umount").arg(self.path()))
    }

    /// The files on it, at any depth.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        files(self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Perhaps it is out already; what is still busy is let go when its last user ends.
        let _ = Command::new("umount").arg("-l").arg(self.path()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
