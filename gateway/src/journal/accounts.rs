//! The counts of one outlet: recorded = delivered + pending + dropped, always.

use jiff::Timestamp;

use crate::event::Class;

/// What became of one class's events at one outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The class.
    pub class: Class,
    /// Events ever recorded in this journal. Equals `delivered + pending + dropped`.
    pub recorded: u64,
    /// Delivered to this outlet, as far as its cursor knows.
    pub delivered: u64,
    /// Still to be delivered to it.
    pub pending: u64,
    /// Dropped before its cursor had passed them. An event delivered whose confirmation had not reached the journal
    /// when it was dropped counts here: never the other way round.
    pub dropped: u64,
    /// Bytes of the documents still held.
    pub bytes: u64,
    /// Wall time of the oldest event still to be delivered.
    pub oldest_pending_wall: Option<Timestamp>,
}

/// The accounts of one outlet, one per class, all read at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    by_class: [Account; Class::ALL.len()],
}

impl Accounts {
    pub(super) const fn new(by_class: [Account; Class::ALL.len()]) -> Self {
        Self { by_class }
    }

    /// The account of one class.
    #[must_use]
    pub const fn of(&self, class: Class) -> &Account {
        &self.by_class[class as usize]
    }

    /// All classes, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.by_class.iter()
    }
}

/// What became of one class's events in this journal, whoever received them. `recorded = held + archived + dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The class.
    pub class: Class,
    /// Events ever recorded in this journal.
    pub recorded: u64,
    /// Events whose rows are here. Rows that are in the archive and not deleted yet count here.
    pub held: u64,
    /// Events whose rows are gone and that are in the archive.
    pub archived: u64,
    /// Events dropped under the quota.
    pub dropped: u64,
    /// Events refused for want of room; they were never recorded.
    pub refused: u64,
    /// Bytes of the documents held.
    pub bytes: u64,
}

/// What the journal takes on its file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The database file.
    pub database: u64,
    /// Its log.
    pub log: u64,
    /// Part of the database file that holds nothing.
    pub free: u64,
}
