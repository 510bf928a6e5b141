//! What can go wrong with the journal, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::front::Misfit;
use crate::event::{Class, Seq, Source};

/// The journal did not do what was asked. Cheap to copy: one failed commit answers everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The directory or the lock file cannot be used.
    #[error("{path} cannot be used: let the user of the daemon own this directory and be able to write there", path = path.display())]
    Place {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has this journal open.
    #[error("the journal in {dir} is open in another process ({holder}): stop that one first, one journal has one writer", dir = dir.display())]
    InUse {
        /// Directory of the journal.
        dir: PathBuf,
        /// `pid 4711`, or `of unknown pid`.
        holder: String,
    },
    /// Written by a later version.
    #[error(
        "the journal {path} has schema {found} and this version knows {known}: install the newer version again; nothing was changed",
        path = path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Schema found.
        found: i64,
        /// Schema this version writes.
        known: i64,
    },
    /// Written by another gate.
    #[error(
        "the journal {path} belongs to the gate {found} and this gate is {expected}: correct `site` and `gate` in the configuration, \
         or move that journal away; nothing was changed",
        path = path.display()
    )]
    OtherGate {
        /// The database.
        path: PathBuf,
        /// The gate it belongs to.
        found: String,
        /// The gate that wanted to open it.
        expected: Source,
    },
    /// The file system cannot hold a write-ahead log.
    #[error(
        "the file system of {dir} cannot hold the journal's log: use a local disk for the state directory, not a network share",
        dir = dir.display()
    )]
    Unsuited {
        /// Directory of the journal.
        dir: PathBuf,
    },
    /// It is there and cannot be opened for reading.
    #[error("the journal in {dir} cannot be read: try it as the daemon's user or as root", dir = dir.display())]
    Unreadable {
        /// Directory of the journal.
        dir: PathBuf,
        /// What the database said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// There is none here.
    #[error("there is no journal in {dir}: give the state directory of the daemon (as in its configuration), or start the daemon once", dir = dir.display())]
    Missing {
        /// The directory looked in.
        dir: PathBuf,
    },
    /// The disk or its quota is full.
    #[error("the disk of the journal is full, nothing was recorded: free space on the file system of the state directory")]
    DiskFull(#[source] Arc<rusqlite::Error>),
    /// A foreign program holds the database.
    #[error("another program holds the journal's database locked, nothing was recorded: close the tool that has it open for writing")]
    Busy(#[source] Arc<rusqlite::Error>),
    /// The file system refuses.
    #[error("the journal's storage fails, nothing was recorded: look for disk errors with `dmesg` and whether it became read-only")]
    Storage(#[source] Arc<rusqlite::Error>),
    /// What is on disk is not what was written.
    #[error("the journal is damaged: restart the daemon, it sets the damaged one aside and begins a new one; keep the old for evidence")]
    Damaged(#[source] Arc<rusqlite::Error>),
    /// Anything else the database says.
    #[error("the journal's database refuses: this is a defect, please report it with the log")]
    Database(#[source] Arc<rusqlite::Error>),
    /// One call brings more than goes into one transaction.
    #[error("{count} events or notes in one call, {limit} are allowed: split the call")]
    TooMany {
        /// How many there were.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// A note beyond its bound.
    #[error("the note {kind}/{key} has {length} bytes, {limit} are allowed: notes are for small facts")]
    NoteTooLarge {
        /// Kind of the note.
        kind: &'static str,
        /// Key of the note.
        key: String,
        /// Length of its value in bytes.
        length: usize,
        /// Largest length in bytes.
        limit: usize,
    },
    /// Telemetry that is not taken, because what room is left is for alarms and receipts.
    #[error("there is no room for telemetry: it was counted and not recorded; free space on the file system of the state directory")]
    NoRoom,
    /// A segment that does not fit what the journal holds.
    #[error("a segment of {class} events was not taken: {why}")]
    Misfit {
        /// Its class.
        class: Class,
        /// Why.
        why: Misfit,
    },
    /// What was acknowledged is not there any more.
    #[error(
        "the journal lost {class} events: number {had} was on disk and now it ends at {has}; restart the daemon, it sets this \
         journal aside and begins a new one; keep the old for evidence"
    )]
    Lost {
        /// Class of what is missing.
        class: Class,
        /// The last number acknowledged.
        had: Seq,
        /// The last number found.
        has: Seq,
    },
    /// Another database stands where the journal stood.
    #[error(
        "the journal in {dir} was replaced by another while it was written: restart the daemon, it will say what it finds",
        dir = dir.display()
    )]
    Replaced {
        /// Directory of the journal.
        dir: PathBuf,
    },
    /// The journal was closed, or its thread died.
    #[error("the journal is closed, nothing was recorded: the daemon is stopping")]
    Closed,
}

impl JournalError {
    /// Whether the journal itself is damaged, so that no waiting helps: it is to be condemned and the gate to end.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Lost { .. })
    }

    /// Whether something in the journal cannot be read back: damage, or a place the disk does not give out any more. Read
    /// again before anything is concluded from it.
    #[must_use]
    pub fn bars_reading(&self) -> bool {
        match self {
            Self::Storage(cause) => is_lost_to_the_disk(cause),
            Self::Unreadable { source, .. } => is_lost_to_the_disk(source),
            other => other.is_damage(),
        }
    }

    /// Whether trying again later can help.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::DiskFull(_) | Self::Busy(_) | Self::Storage(_) | Self::Database(_))
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let code = error.sqlite_error_code();
        let error = Arc::new(error);
        match code {
            Some(Code::DiskFull) => Self::DiskFull(error),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy(error),
            Some(Code::SystemIoFailure | Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => Self::Storage(error),
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Damaged(error),
            None if is_unreadable_row(&error) => Self::Damaged(error),
            _ => Self::Database(error),
        }
    }
}

/// The disk was asked for a page and did not give it.
pub(super) fn is_lost_to_the_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS))
}

/// A row is there and holds something else than was written, or one that must be there is not.
const fn is_unreadable_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnType(..)
            | Error::QueryReturnedNoRows
    )
}
