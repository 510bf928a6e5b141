//! A pseudo-terminal with a stable name.
//!
//! The emulator holds the master and, so that the line does not hang up before the daemon opens it or after it
//! closes it, one handle on the other side too. Dropping the terminal hangs up and takes the name away.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr},
};
use tokio::io::unix::AsyncFd;

/// One pseudo-terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
    other_side: OwnedFd,
    link: PathBuf,
}

impl Terminal {
    /// Makes a terminal in raw mode and points `link` at it in one step.
    pub(super) fn plug_in(link: &Path) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let other_side = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let mut settings = tcgetattr(&other_side)?;
        settings.make_raw();
        tcsetattr(&other_side, OptionalActions::Now, &settings)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        #[allow(deprecated, reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's never does")]
        let master = AsyncFd::new(master)?;
        let beside = crate::sim::beside(link);
        let _ = fs::remove_file(&beside);
        std::os::unix::fs::symlink(OsStr::from_bytes(name.to_bytes()), &beside)?;
        fs::rename(&beside, link)?;
        Ok(Self { master, other_side, link: link.to_owned() })
    }

    /// Waits for bytes from whoever opened the other side.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.master.readable().await?;
            match ready.try_io(|master| Ok(rustix::io::read(master, &mut *buffer)?)) {
                Ok(read) => return read,
                Err(_would_block) => {}
            }
        }
    }

    /// Sends bytes; what the line cannot take (nobody reads) is lost, as on a real line.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match rustix::io::write(self.master.get_ref(), bytes) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes off the mark of a program that was killed while it had the line for itself: a real device would have
    /// lost it with the last close, but ours is always open.
    pub(super) fn unmark(&self) {
        let _ = ioctl_tiocnxcl(&self.other_side);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}
