//! Setting a damaged journal aside, whole, so that it stays evidence.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::{JournalError, schema};

/// What belongs to a database. The database itself moves first: a move broken off in between leaves a log without a
/// database, which the next opening notices and finishes; the other way round it would leave an older journal that
/// looks whole and would give its numbers again.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];
/// The mark of a journal that was found damaged while it was being written.
const MARK: &str = "journal.condemned";
/// As many names are tried within one second.
const NAMES_MAX: u32 = 100;

/// Whether a log or index lies there without its database.
pub(super) fn is_orphaned(dir: &Path) -> bool {
    !part(dir, "").exists() && PARTS.iter().any(|suffix| part(dir, suffix).exists())
}

/// Marks the journal there as damaged, durably.
pub(super) fn mark(dir: &Path) -> Result<(), JournalError> {
    let path = dir.join(MARK);
    let place = |source| JournalError::Place { path: path.clone(), source: Arc::new(source) };
    fs::File::create(&path).and_then(|file| file.sync_all()).map_err(place)?;
    sync(dir)
}

/// Whether the journal there was marked as damaged.
pub(super) fn is_marked(dir: &Path) -> bool {
    dir.join(MARK).exists()
}

/// Moves the database with its log into a directory of its own, named by the time; returns that directory.
pub(super) fn set_aside(dir: &Path, now: Timestamp) -> Result<PathBuf, JournalError> {
    let to = new_directory(dir, now)?;
    for suffix in PARTS {
        let from = part(dir, suffix);
        if from.exists() {
            let place = |source| JournalError::Place { path: from.clone(), source: Arc::new(source) };
            fs::rename(&from, part(&to, suffix)).map_err(place)?;
        }
    }
    sync(&to)?;
    // The mark goes last: until the whole journal has moved, an opening must begin this again.
    match fs::remove_file(dir.join(MARK)) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(JournalError::Place { path: dir.join(MARK), source: Arc::new(source) });
        }
        _ => {}
    }
    sync(dir)?;
    Ok(to)
}

fn part(dir: &Path, suffix: &str) -> PathBuf {
    dir.join(format!("{}{suffix}", schema::FILE))
}

fn new_directory(dir: &Path, now: Timestamp) -> Result<PathBuf, JournalError> {
    let stem = now.strftime("journal.damaged-%Y%m%dT%H%M%SZ").to_string();
    let mut try_name = stem.clone();
    for number in 2..NAMES_MAX {
        let path = dir.join(&try_name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => try_name = format!("{stem}-{number}"),
            Err(source) => return Err(JournalError::Place { path, source: Arc::new(source) }),
        }
    }
    let source = Arc::new(std::io::Error::other("too many damaged journals within one second"));
    Err(JournalError::Place { path: dir.join(stem), source })
}

/// Makes names in this directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), JournalError> {
    let place = |source| JournalError::Place { path: dir.to_owned(), source: Arc::new(source) };
    fs::File::open(dir).and_then(|directory| directory.sync_all()).map_err(place)
}
