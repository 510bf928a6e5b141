//! One writer per journal: an advisory lock on a file beside it, with the holder's process number inside.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::JournalError;

/// Name of the lock file in the state directory. It stays there: removing it would let two writers lock two files.
pub(super) const FILE: &str = "journal.lock";
/// More than this of a lock file is not read.
const HOLDER_MAX: u64 = 64;

/// Held as long as this lives; the system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the journal in `dir`.
    pub(super) fn take(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(FILE);
        let place = |source| JournalError::Place { path: path.clone(), source: Arc::new(source) };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(place)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is a help for the reader of the message; that it is held is certain.
                let _ = (&file).take(HOLDER_MAX).read_to_string(&mut text);
                let holder = text.trim().parse::<u32>().map_or_else(|_| "of unknown pid".to_owned(), |pid| format!("pid {pid}"));
                return Err(JournalError::InUse { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(place(source)),
        }
        // Who holds it is a help for the reader of a message; on a full disk it must not keep the gate from starting.
        if let Err(error) = sign(&mut file) {
            tracing::debug!(%error, "the process number could not be written into the lock file");
        }
        Ok(Self { _file: file })
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_takes_no_process_number_still_gives_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join(FILE)).unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(JournalError::InUse { .. })), "it is held all the same");
        drop(lock);
    }
}
