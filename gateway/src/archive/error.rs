//! What can go wrong with the archive, and what to do about it.

use std::{io, path::Path, path::PathBuf, sync::Arc};

use crate::{
    event::{Class, Seq},
    journal::JournalError,
};

/// The archive did not do what was asked. Nothing was deleted from the journal.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// The directory is not there.
    #[error("the archive directory {dir} is not there: mount the disk it is on, or create it and give it to the service's user", dir = dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// Its name belongs to something else.
    #[error("{path} is in the way of the archive and is no directory: move it away, or choose another journal.archive_dir", path = path.display())]
    NotADirectory {
        /// What is in the way.
        path: PathBuf,
    },
    /// It should be on a disk of its own and is not.
    #[error(
        "the archive directory {dir} is on the same file system as the journal, and journal.archive_removable says it is on a disk of its own: \
         mount that disk",
        dir = dir.display()
    )]
    NotApart {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be written.
    #[error("{path} cannot be written: give it to the service's user, see that its disk is not mounted read-only, and that the unit's ReadWritePaths names it", path = path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Its disk is full.
    #[error("the disk of the archive is full, {path} was given up and removed: make room there, or put in an empty disk", path = path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The system fails on one of its files.
    #[error("{path} cannot be used: look for disk errors with `dmesg`", path = path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A call to the system does not come back.
    #[error("the disk of the archive at {dir} does not answer: look at its cable, its network and `dmesg`; archiving goes on when it answers", dir = dir.display())]
    Hangs {
        /// The archive directory.
        dir: PathBuf,
    },
    /// What was read back is not what was written.
    #[error("{path} is not what was written a moment ago ({what}): its disk is failing, replace it; the journal keeps the events", path = path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A document in the journal does not follow from the one before it.
    #[error("the journal's {class} event {seq} cannot be archived ({what}): run `segel journal verify`")]
    Damaged {
        /// Its class.
        class: Class,
        /// Its number.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// The journal dropped old telemetry while it was being archived.
    #[error("the journal dropped {class} events up to {seq} while they were being archived: archive again")]
    Overtaken {
        /// The class.
        class: Class,
        /// The number before which nothing is left.
        seq: Seq,
    },
    /// Our time is worth nothing.
    #[error("the clock of this computer is not to be trusted, and nothing is archived by it: set the clock, or let it reach a time server")]
    Clock,
    /// It was told to stop.
    #[error("archiving was stopped; what was begun will be written anew")]
    Stopped,
    /// Upkeep makes no step.
    #[error("the journal gives nothing back, it may be failing or its disk full: look at `segel status` and the log")]
    Stalled,
    /// The journal refuses.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ArchiveError {
    /// What the system said about a file of the archive.
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let path = path.to_owned();
        match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full { path, source: Arc::new(source) },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::NotWritable { path, source: Arc::new(source) },
            Kind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { path, source: Arc::new(source) },
        }
    }

    /// The same in one word, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "directory_missing",
            Self::NotADirectory { .. } => "not_a_directory",
            Self::NotApart { .. } => "disk_not_mounted",
            Self::NotWritable { .. } => "not_writable",
            Self::Full { .. } => "disk_full",
            Self::Io { .. } => "io_error",
            Self::Hangs { .. } => "disk_hangs",
            Self::Altered { .. } => "altered",
            Self::Damaged { .. } => "journal_damaged",
            Self::Overtaken { .. } => "overtaken",
            Self::Clock => "clock_untrusted",
            Self::Stopped => "stopped",
            Self::Stalled => "stalled",
            Self::Journal(_) => "journal_refuses",
        }
    }
}
