//! A file system that loses power, fills up and fails when it is told to.
//!
//! ```text
//!   writer (a process of its own) ──► kernel ──/dev/fuse──► serve ──► disk: what is written │ what was synced
//!                                                             │                   cut(how) └──► survive ──► image ──► a real directory
//!                                                             └──► faults: full, failing writes, syncs, reads, read-only
//! ```
//!
//! What it models: per file, the bytes that an `fsync` or `fdatasync` made durable apart from those only written, in
//! the order of writing; per directory, which names (creating, renaming, removing) an `fsync` of the directory made
//! durable. A name is not made durable by syncing the file, which is harsher than ext4 and what POSIX promises. At the
//! cut ([`Cut`]) nothing of the rest is kept, or all of it, or the first part of it, or of each 4 KiB page some version,
//! independent of other pages, or pages torn at their 512-byte sectors; the size of a file and the names are kept or
//! lost independently of what is in it. After the cut every request fails and nothing is acknowledged any more.
//!
//! What it does not model: a disk that acknowledges a flush and did not do it; bits that rot; the order between
//! metadata and data that ext4's `data=ordered` and other journalling file systems keep (a cut here may do what they
//! exclude, so passing here is more than passing there; but a fault in the file system itself is not seen); stale
//! blocks in place of what was lost (what was never written reads as zeros, as it does on file systems that are used
//! for this); owners, times and extended attributes. An `fsync` that fails forgets that the pages were dirty, as Linux
//! does: a later one succeeds and what was written before is still not durable.
//!
//! The kernel's page cache works as for a disk (no direct I/O), so that SQLite can map its `-shm` file. Whoever writes
//! must be another process than the one that serves: a page fault of the server on its own mount would wait for itself.

mod disk;
mod fault;
mod image;
mod serve;
mod state;
mod survive;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fuser::{BackgroundSession, Config, MountOption};
use rand::rngs::StdRng;
use tempfile::TempDir;

pub use self::{
    fault::{Fault, Names},
    image::Image,
    survive::Cut,
};
use self::{serve::Server, state::State};

/// What was asked of the file system so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes written, those through a mapping too.
    pub written: u64,
    /// Writes.
    pub writes: u64,
    /// Files synced.
    pub syncs: u64,
    /// Directories synced.
    pub directory_syncs: u64,
    /// Requests that failed because of a fault that was switched on.
    pub failed: u64,
    /// Requests that would have changed something: writes, syncs, names and lengths. The clock of [`Trigger`].
    pub changes: u64,
}

/// When the power goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// At the so many-th request from now that would change something, which is not done any more: 1 is the next.
    pub after: u64,
    /// Only requests about these files count.
    pub names: Names,
}

/// The mounted file system; unmounted when it is dropped.
#[derive(Debug)]
pub struct CutFs {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    place: TempDir,
}

/// What the serving thread and the test have in common.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    went_dark: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A server that panicked has failed the test already; what it left is still worth looking at.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CutFs {
    /// Mounts a disk that holds `image`, all of it synced.
    ///
    /// # Errors
    /// When there is no `/dev/fuse` or no right to mount.
    pub fn mount(image: &Image) -> io::Result<Self> {
        let place = tempfile::Builder::new().prefix("segel-cutfs-").tempdir()?;
        let shared = Arc::new(Shared { state: Mutex::new(State::of(image)), went_dark: Condvar::new() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("segel-cutfs".to_owned()), MountOption::NoAtime];
        let session = fuser::spawn_mount(Server::new(Arc::clone(&shared)), place.path(), &config)?;
        Ok(Self { shared, session: Some(session), place })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// A path on it.
    #[must_use]
    pub fn join(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    /// Lets the power go by itself.
    pub fn arm(&self, trigger: Trigger) {
        self.shared.lock().arm(trigger);
    }

    /// Waits until the power is gone; says whether it is.
    #[must_use]
    pub fn wait_for_dark(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut state = self.shared.lock();
        while !state.is_dark() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.shared.went_dark.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The power goes now, if it has not gone yet.
    pub fn go_dark(&self) {
        self.shared.lock().go_dark();
        self.shared.went_dark.notify_all();
    }

    /// The power goes now, if it has not gone yet: what the disk holds after it.
    #[must_use]
    pub fn cut(&self, how: Cut, chance: &mut StdRng) -> Image {
        self.go_dark();
        self.shared.lock().disk.survivors(how, chance)
    }

    /// What somebody who reads it now would find, synced or not.
    #[must_use]
    pub fn now(&self) -> Image {
        self.shared.lock().disk.now()
    }

    /// Switches a fault on.
    pub fn begin(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Switches all faults off.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// What was asked of it so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// Bytes of space taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.lock().disk.used()
    }
}

impl Drop for CutFs {
    fn drop(&mut self) {
        self.go_dark();
        if let Some(session) = self.session.take()
            && let Err(fault) = session.umount_and_join()
        {
            // Somebody still has a file open there: detached, it goes with the last of them.
            eprintln!("{} could not be unmounted: {fault}", self.place.path().display());
        }
    }
}
