//! What goes wrong while the power is on.

use std::ffi::{OsStr, OsString};

/// Which files a fault or a trigger is about, by the ends of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// All.
    Any,
    /// Those whose name ends so.
    EndingIn(&'static str),
    /// Those whose name contains this.
    Containing(&'static str),
    /// All but those whose name ends so. A page of a mapped file that cannot be read kills the process that maps it,
    /// whoever wrote the program: nobody can ask a process to live through a `-shm` that cannot be read.
    NotEndingIn(&'static str),
}

impl Names {
    pub(super) fn hold(&self, names: &[OsString]) -> bool {
        let ends = |end: &str| names.iter().any(|name| name.as_encoded_bytes().ends_with(OsStr::new(end).as_encoded_bytes()));
        match self {
            Self::Any => true,
            Self::EndingIn(end) => ends(end),
            Self::Containing(part) => names.iter().any(|name| name.to_string_lossy().contains(part)),
            Self::NotEndingIn(end) => !ends(end),
        }
    }
}

/// Something that goes wrong until it is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `ENOSPC` for whatever would take more than so many bytes in all. What is there already can be overwritten.
    Full {
        /// Bytes of space.
        bytes: u64,
    },
    /// `EIO` on every write.
    Write(Names),
    /// `EIO` on every sync; what was written stays readable and is not durable, and no later sync makes it so.
    Sync(Names),
    /// `EIO` on every read that reaches the disk. What the kernel still has in memory is read.
    Read(Names),
    /// `EROFS` on everything that would change something.
    ReadOnly,
    /// `EIO` on opening, creating and finding.
    Open(Names),
}
