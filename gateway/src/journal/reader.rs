//! Reading the journal beside its writer, over a connection of its own that cannot write.

use std::path::Path;

use jiff::Timestamp;

use super::{Accounts, JournalError, Outlet, Progress, Record, Verified};
use crate::event::{Class, EventType, JournalId, Seq, Subject};

/// Which events `tail` wants; all of them by default.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this class only.
    pub class: Option<Class>,
    /// Of this kind only.
    pub kind: Option<EventType>,
    /// About this subject only.
    pub subject: Option<Subject>,
    /// Not before this wall time.
    pub since: Option<Timestamp>,
}

/// A note as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedNote {
    /// Which one of its kind.
    pub key: String,
    /// The fact.
    pub value: Vec<u8>,
}

/// A read-only view of the journal. Every call sees a state some commit left; the calls block for the time of the
/// query, so use them from `spawn_blocking`.
#[derive(Debug)]
pub struct JournalReader {}

impl JournalReader {
    /// Opens the journal in `dir` for reading, whether the daemon runs or not.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        Err(JournalError::Missing { dir: dir.to_owned() })
    }

    /// Which journal this is.
    #[must_use]
    pub fn journal(&self) -> JournalId {
        JournalId(uuid::Uuid::nil())
    }

    /// The events of `class` after `seq`, in order: at most `limit`, and at most `max_bytes` of documents but always one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn after(&self, class: Class, seq: Seq, limit: usize, max_bytes: usize) -> Result<Vec<Record>, JournalError> {
        let _ = (class, seq, limit, max_bytes);
        Ok(Vec::new())
    }

    /// The cursor of an outlet: the last number it confirmed, [`Seq::NONE`] when it is unknown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cursor(&self, outlet: &Outlet, class: Class) -> Result<Seq, JournalError> {
        let _ = (outlet, class);
        Ok(Seq::NONE)
    }

    /// One note.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn note(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        let _ = (kind, key);
        Ok(None)
    }

    /// All notes of a kind, by key.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn notes(&self, kind: &str) -> Result<Vec<RecordedNote>, JournalError> {
        let _ = kind;
        Ok(Vec::new())
    }

    /// The counts of an outlet. Its account balances always.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounts(&self, outlet: &Outlet) -> Result<Accounts, JournalError> {
        let _ = outlet;
        Err(JournalError::Closed)
    }

    /// The last `n` events that pass the filter, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tail(&self, filter: &Filter, n: usize) -> Result<Vec<Record>, JournalError> {
        let _ = (filter, n);
        Ok(Vec::new())
    }

    /// Checks everything: digests, chains, holes, rows against documents, and the database itself. Takes a while;
    /// `progress` is called now and then.
    ///
    /// # Errors
    /// When the database cannot be read at all; what is merely wrong is in the answer.
    pub fn verify(&self, progress: impl FnMut(Progress)) -> Result<Verified, JournalError> {
        let _ = progress;
        Err(JournalError::Closed)
    }
}
