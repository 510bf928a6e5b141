//! What was asked of BlueZ: counts, and each write with its time.

use std::{collections::BTreeMap, time::Instant};

use segel_drivers::MacAddress;

/// Whether the seal got the bytes of a write that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivered {
    /// It got them, and acted on them.
    Yes,
    /// It did not.
    No,
}

/// How something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// With an answer of the seal.
    Request,
    /// Without.
    Command,
}

/// One write, as BlueZ got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// When.
    pub at: Instant,
    /// Through which adapter, by its kernel name.
    pub adapter: String,
    /// To whom.
    pub seal: MacAddress,
    /// What.
    pub bytes: Vec<u8>,
    /// How.
    pub kind: WriteKind,
    /// Whether the seal got it.
    pub delivered: Delivered,
}

/// What was counted of one seal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `Connect`.
    pub connects: u32,
    /// Links that were made.
    pub links: u32,
    /// Calls of `Disconnect`.
    pub disconnects: u32,
    /// Links that ended, by whatever.
    pub ended: u32,
    /// Values read.
    pub reads: u32,
    /// Calls of `WriteValue`, whatever became of them.
    pub writes: u32,
    /// Notifications sent.
    pub notifications: u32,
}

/// Everything counted since the beginning.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) writes: Vec<Written>,
    pub(super) seals: BTreeMap<MacAddress, Counts>,
    /// Calls by their member.
    pub(super) calls: BTreeMap<String, u32>,
    /// Advertisements that reached a client.
    pub(super) heard: u64,
    /// Advertisements that reached none, because no adapter scanned.
    pub(super) unheard: u64,
}

impl Book {
    pub(super) fn of(&mut self, seal: MacAddress) -> &mut Counts {
        self.seals.entry(seal).or_default()
    }
}
