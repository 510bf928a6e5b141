//! Whether the disk has room for what is about to be written: asked before anything is, so that no run ends after half
//! an hour with a full disk, and nobody else on the machine loses theirs.

use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::size::Size;

/// Bytes of the journal's files per event: documents of some 700 bytes, two indexes, a log.
const JOURNAL_PER_EVENT: u64 = 1_150;
/// Bytes of the archive per event beside it, should nothing be saved by its form.
const ARCHIVE_PER_EVENT: u64 = 700;
/// A small journal is copied for each part that changes it, so there are two of it.
const COPIES_BELOW: u64 = 2_000_000_000;
/// For everything else: bare files, logs, lines, what the parts record themselves.
const BESIDES: u64 = 2_000_000_000;

/// What keeps a run from beginning.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoomError {
    #[error(
        "a journal of {size} events with its archive needs {need} here and {dir} has {free} free: \
         name a directory on a larger disk with --dir, or a smaller size with --journal", dir = dir.display(), need = gb(*need), free = gb(*free)
    )]
    TooSmall { dir: PathBuf, size: Size, need: u64, free: u64 },
    #[error("{dir} is on a disk that is read-only: name another directory with --dir", dir = dir.display())]
    ReadOnly { dir: PathBuf },
    #[error("{dir} cannot be used: name a directory that is there and that you may write to with --dir", dir = dir.display())]
    Place { dir: PathBuf, source: std::io::Error },
}

/// Bytes a run of this size needs at its fullest.
pub(super) fn need(size: Size) -> u64 {
    let journal = size.0 as u64 * JOURNAL_PER_EVENT;
    let copy = if journal < COPIES_BELOW { journal } else { 0 };
    journal + copy + size.0 as u64 * ARCHIVE_PER_EVENT + BESIDES
}

/// Whether the journal of a run of this size is small enough to be copied for each part.
pub(super) fn is_copied(size: Size) -> bool {
    size.0 as u64 * JOURNAL_PER_EVENT < COPIES_BELOW
}

/// Whether the disk under `dir` holds a run of the largest of these sizes; they follow each other, and each cleans up
/// before the next. Returns what is needed and what is free, in bytes.
///
/// # Errors
/// When it does not, or cannot be written to.
pub(super) fn check(dir: &Path, sizes: &[Size]) -> Result<(u64, u64), RoomError> {
    let place = |source| RoomError::Place { dir: dir.to_owned(), source };
    let disk = statvfs(dir).map_err(|fault| place(fault.into()))?;
    if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(RoomError::ReadOnly { dir: dir.to_owned() });
    }
    enough(dir, sizes, disk.f_bavail * disk.f_frsize)
}

fn enough(dir: &Path, sizes: &[Size], free: u64) -> Result<(u64, u64), RoomError> {
    let Some(size) = sizes.iter().max().copied() else { return Ok((0, free)) };
    let need = need(size);
    if need > free {
        return Err(RoomError::TooSmall { dir: dir.to_owned(), size, need, free });
    }
    Ok((need, free))
}

/// As GB of a thousand million bytes.
pub(super) fn gb(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_events_need_about_twenty_gigabytes_and_never_twenty_five() {
        let need = need(Size(10_000_000));
        assert!((18_000_000_000..25_000_000_000).contains(&need), "{need}");
        assert!(is_copied(Size(1_000_000)) && !is_copied(Size(10_000_000)));
    }

    #[test]
    fn a_disk_too_small_is_told_with_both_figures_and_the_remedy() {
        let error = enough(Path::new("/small"), &[Size(10_000), Size(10_000_000)], 12_300_000_000).unwrap_err().to_string();
        for part in ["10,000,000 events", "/small", "12.3 GB free", "20.5 GB", "--dir", "--journal"] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        assert!(enough(Path::new("/small"), &[Size(10_000), Size(1_000_000)], 12_300_000_000).is_ok());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named_with_the_remedy() {
        let error = check(Path::new("/nowhere/at/all"), &[Size(1_000)]).unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("--dir"), "{error}");
    }

    #[test]
    fn the_disk_here_is_seen() {
        let (need, free) = check(Path::new("/"), &[]).unwrap();
        assert!(need == 0 && free > 0);
    }
}
