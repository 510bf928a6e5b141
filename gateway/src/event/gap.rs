//! The body of a `GAP`: which events of the class were dropped, and what the last of them was.
//!
//! Dropping always takes the oldest that is still held, so what was dropped is made of unbroken runs, with what went to
//! the archive between them. `run` names the run in full, because an earlier `GAP` may itself have been dropped since.

use serde::{Deserialize, Serialize};

use super::{Digest, Seq};

/// What one `GAP` event says; its member `data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First number dropped this time.
    pub first: Seq,
    /// Last number dropped this time.
    pub last: Seq,
    /// How many were dropped this time.
    pub count: u64,
    /// How many bytes of documents they had.
    pub bytes: u64,
    /// How many of them the outlet furthest behind had not confirmed: what was really lost to somebody.
    pub undelivered: u64,
    /// SHA-256 of the document `last`: what the next document that survived names as `prev`.
    pub digest: Digest,
    /// First number of the unbroken run of dropped ones that ends at `last`: this statement accounts for all of it,
    /// because an earlier one may itself be among what was dropped. Absent in statements of the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Seq>,
    /// Everything dropped since this journal began.
    pub since_start: Dropped,
}

/// An amount of dropped events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Events.
    pub count: u64,
    /// Bytes of their documents.
    pub bytes: u64,
}

impl Gap {
    /// The first number this statement accounts for.
    #[must_use]
    pub fn accounts_from(&self) -> Seq {
        if let Some(run) = self.run {
            run.min(self.first)
        } else if self.since_start.count == self.last.0 {
            Seq(1)
        } else {
            self.first
        }
    }
}
