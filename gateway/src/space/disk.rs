//! What the file system of the state directory says of itself.

use std::{io, path::Path};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// One look at a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Bytes the daemon's user may still take.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Inodes it may still take; none where the file system has no such limit (btrfs, FAT).
    pub free_inodes: Option<u64>,
    /// Whether it may be written at all.
    pub access: Access,
}

/// Whether a file system may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Writable,
    /// It is mounted read-only: by hand, or by the kernel after an error.
    ReadOnly,
}

impl Disk {
    /// Looks. Blocks as long as the file system does, which may be for ever: see [`super::timely`].
    ///
    /// # Errors
    /// When the directory is gone or the file system answers with an error.
    pub fn look(dir: &Path) -> io::Result<Self> {
        let said = statvfs(dir)?;
        let read_only = said.f_flag.contains(StatVfsMountFlags::RDONLY);
        Ok(Self {
            free_bytes: said.f_bavail.saturating_mul(said.f_frsize),
            total_bytes: said.f_blocks.saturating_mul(said.f_frsize),
            free_inodes: (said.f_files > 0).then_some(said.f_favail),
            access: if read_only { Access::ReadOnly } else { Access::Writable },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_this_machine_has_a_size_and_a_missing_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::look(dir.path()).unwrap();
        assert!(disk.total_bytes >= disk.free_bytes && disk.total_bytes > 0, "{disk:?}");
        assert_eq!(disk.access, Access::Writable);
        assert!(Disk::look(&dir.path().join("gone")).is_err());
    }
}
