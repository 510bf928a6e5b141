//! Room kept for alarms and receipts: a file that holds nothing and is let go when the disk is full.
//!
//! What must hold: the file's blocks are really taken (a file of holes keeps no room); it is made only where twice its
//! size is free, so that making it never fills the disk; letting it go never fails for want of room.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fstat, statvfs};
use rustix::io::Errno;
use tokio::time::Instant;

use super::JournalError;
use super::room::Reserve;

/// Its name beside the database.
pub(super) const FILE: &str = "journal.reserve";
/// A reserve that was let go is tried to be made again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// Beside twice its size so much must be free, so that a log still fits.
const BESIDE: u64 = 512 * 1024;
/// Where the reserve never fitted, this much free space counts as room that has returned.
const ROOM_AGAIN: u64 = 4 * BESIDE;
/// A file system is asked for its room at most this often while it is full.
const LOOK: Duration = Duration::from_millis(500);

/// The reserve of one journal.
#[derive(Debug)]
pub(super) struct Keep {
    path: PathBuf,
    dir: PathBuf,
    bytes: u64,
    standing: Reserve,
    /// Whether there was ever room for it.
    fits: bool,
    /// When it was last let go or tried to be made again.
    tried: Option<Instant>,
    /// When the file system was last asked.
    measured: Option<Instant>,
}

impl Keep {
    /// The reserve in `dir`; made if there is room for it and it is wanted.
    pub(super) fn new(dir: &Path, bytes: u64) -> Self {
        let mut keep =
            Self { path: dir.join(FILE), dir: dir.to_owned(), bytes, standing: Reserve::Absent, fits: true, tried: None, measured: None };
        if bytes == 0 {
            // A reserve of an earlier configuration only takes room.
            let _ = std::fs::remove_file(&keep.path);
        } else if !keep.make() {
            let left = keep.free();
            tracing::warn!(
                reserve_bytes = bytes,
                free_bytes = left,
                "there is no room for the journal's reserve; free space on its file system"
            );
            keep.standing = Reserve::Spent { left };
            keep.fits = false;
        }
        keep
    }

    pub(super) const fn standing(&self) -> Reserve {
        self.standing
    }

    /// Lets go of it; whether there was something to let go.
    pub(super) fn let_go(&mut self) -> bool {
        let held = matches!(self.standing, Reserve::Held { .. });
        if held && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!(%error, path = %self.path.display(), "the journal's reserve cannot be let go: remove this file by hand");
        }
        self.tried = Some(Instant::now());
        self.standing = Reserve::Spent { left: self.free() };
        held
    }

    /// Looks whether room has returned, not too often; whether it has, and the reserve is there again. On a disk that never
    /// had room for the reserve, some room is enough: telemetry must not be refused for ever.
    pub(super) fn look(&mut self) -> bool {
        if !is_due(&mut self.tried, AGAIN) {
            return false;
        }
        if self.bytes == 0 {
            self.standing = if self.free() > BESIDE { Reserve::Absent } else { Reserve::Spent { left: self.free() } };
            return self.standing == Reserve::Absent;
        }
        if self.make() {
            self.fits = true;
            return true;
        }
        let left = self.free();
        self.standing = Reserve::Spent { left };
        !self.fits && left > ROOM_AGAIN
    }

    /// Whether so little is free that a log cannot grow.
    pub(super) fn is_tight(&self) -> bool {
        self.free() < BESIDE
    }

    /// Notes how much is left while it is spent.
    pub(super) fn measure(&mut self) {
        if matches!(self.standing, Reserve::Spent { .. }) && is_due(&mut self.measured, LOOK) {
            self.standing = Reserve::Spent { left: self.free() };
        }
    }

    fn free(&self) -> u64 {
        free(&self.dir)
    }

    fn make(&mut self) -> bool {
        let there = self.taken();
        if there < self.bytes && self.free().saturating_add(there) < self.bytes.saturating_mul(2).saturating_add(BESIDE) {
            if there > 0 {
                let _ = std::fs::remove_file(&self.path);
            }
            return false;
        }
        if there < self.bytes
            && let Err(error) = self.take()
        {
            tracing::debug!(%error, "the journal's reserve could not be made");
            let _ = std::fs::remove_file(&self.path);
            return false;
        }
        self.standing = Reserve::Held { bytes: self.bytes };
        true
    }

    /// Bytes it really takes now.
    fn taken(&self) -> u64 {
        let Ok(file) = File::open(&self.path) else { return 0 };
        fstat(&file).map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0) * 512)
    }

    fn take(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                // Written out, where blocks cannot be had for the asking.
                let piece = vec![0x5A; 64 * 1024];
                let mut left = self.bytes;
                while left > 0 {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                    file.write_all(&piece[..now])?;
                    left -= now as u64;
                }
            }
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }
}

/// Tries something that needs a little room. Where there is none the reserve in `dir` is let go and it is tried once more:
/// a gate whose disk filled up while it was down must start, or what is kept for its alarms keeps it from having any.
pub(super) fn with_room<T>(dir: &Path, mut attempt: impl FnMut() -> Result<T, JournalError>) -> Result<T, JournalError> {
    let fault = match attempt() {
        Err(fault) if wants_room(dir, &fault) => fault,
        other => return other,
    };
    if std::fs::remove_file(dir.join(FILE)).is_err() {
        return Err(fault);
    }
    tracing::error!(%fault, "the journal's disk is full: its reserve is let go, so that the gate can start; free space on it");
    attempt()
}

/// Whether this went wrong for want of room. Some file systems say so with another word.
fn wants_room(dir: &Path, fault: &JournalError) -> bool {
    match fault {
        JournalError::DiskFull(_) => true,
        JournalError::Storage(_) => free(dir) < BESIDE,
        JournalError::Place { source, .. } => {
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}

/// Bytes a process without privileges may still take on this file system.
fn free(dir: &Path) -> u64 {
    statvfs(dir).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// Whether it is time again; then it counts as done now.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let now = Instant::now();
    let due = last.is_none_or(|last| now.duration_since(last) >= every);
    if due {
        *last = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserve_takes_real_blocks_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut keep = Keep::new(dir.path(), 1 << 20);
        assert_eq!(keep.standing(), Reserve::Held { bytes: 1 << 20 });
        assert!(keep.taken() >= 1 << 20, "a file of holes keeps no room");
        assert!(keep.let_go());
        assert!(matches!(keep.standing(), Reserve::Spent { left } if left > 0));
        assert!(!dir.path().join(FILE).exists());
        assert!(!keep.let_go(), "there is nothing more to let go");
        assert!(!keep.look(), "not at once, or it would come and go");
        keep.tried = None;
        assert!(keep.look(), "the disk has room, so it is there again");
        assert!(keep.taken() >= 1 << 20);
    }

    #[tokio::test]
    async fn no_reserve_is_made_where_it_would_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let free = statvfs(dir.path()).unwrap();
        let mut keep = Keep::new(dir.path(), free.f_bavail * free.f_frsize);
        assert!(matches!(keep.standing(), Reserve::Spent { .. }));
        assert!(!dir.path().join(FILE).exists());
        assert!(keep.look(), "telemetry is taken all the same: this disk has room, only never so much");
    }

    #[tokio::test]
    async fn a_reserve_that_is_no_longer_wanted_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        drop(Keep::new(dir.path(), 1 << 20));
        assert!(dir.path().join(FILE).exists(), "it outlives the process");
        assert_eq!(Keep::new(dir.path(), 0).standing(), Reserve::Absent);
        assert!(!dir.path().join(FILE).exists());
    }

    #[test]
    fn a_start_without_room_lets_the_reserve_go_and_is_tried_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let no_room = || {
            let source = std::sync::Arc::new(io::Error::from_raw_os_error(28));
            Err(JournalError::Place { path: dir.path().to_owned(), source })
        };
        let held = || dir.path().join(FILE).exists();
        let fault = with_room::<()>(dir.path(), no_room).unwrap_err();
        assert!(matches!(fault, JournalError::Place { .. }), "without a reserve there is nothing to let go");
        std::fs::write(dir.path().join(FILE), "room").unwrap();
        with_room::<()>(dir.path(), || Err(JournalError::Closed)).unwrap_err();
        assert!(held(), "another fault leaves it alone");
        let mut attempts = 0;
        let outcome = with_room(dir.path(), || {
            attempts += 1;
            if held() { no_room() } else { Ok(()) }
        });
        assert!(outcome.is_ok() && attempts == 2 && !held());
        std::fs::write(dir.path().join(FILE), "room").unwrap();
        attempts = 0;
        with_room::<()>(dir.path(), || {
            attempts += 1;
            no_room()
        })
        .unwrap_err();
        assert_eq!(attempts, 2, "once more and not for ever");
    }
}
