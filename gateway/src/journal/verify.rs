//! Whether what is on disk is what was written.

use crate::event::chain::ChainReport;
use crate::event::{Class, Seq};

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Events looked at.
    pub done: u64,
    /// Events there were when it began.
    pub total: u64,
}

/// Something on disk that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Class of the event.
    pub class: Class,
    /// Its number.
    pub seq: Seq,
    /// What is wrong, in words.
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The chains.
    pub chains: ChainReport,
    /// Rows that do not agree with their documents; the first hundred.
    pub faults: Vec<Fault>,
    /// How many there were.
    pub fault_count: u64,
    /// What the database's own check says; empty when it is well.
    pub database: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.chains.is_whole() && self.fault_count == 0 && self.database.is_empty()
    }
}
