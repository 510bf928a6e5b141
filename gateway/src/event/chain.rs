//! Whether received documents are all of them, and unchanged.

use uuid::Uuid;

use super::document::DocumentError;
use super::{Class, Digest, JournalId, Seq};

/// Documents of one chain remembered for duplicates and for those that come out of order.
pub const WINDOW: usize = 4096;

/// What one document turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// Not seen before.
    New,
    /// The same bytes once more.
    Duplicate,
    /// Too far below the head to be compared any more, or of one chain too many.
    Unchecked,
    /// Another document under a number already taken.
    Conflict,
}

/// Numbers that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first missing number.
    pub first: Seq,
    /// The last missing number.
    pub last: Seq,
}

/// A place where the chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// This document does not name the digest of the one before it.
    Prev {
        /// Number of the document.
        seq: Seq,
        /// Digest of the document before it, or the one a `GAP` states for it.
        expected: Digest,
        /// Digest it names.
        found: Digest,
    },
    /// Two different documents under one number.
    Conflict {
        /// The number.
        seq: Seq,
        /// Identity of the second document.
        id: Uuid,
    },
}

/// What is known of one chain.
#[derive(Debug, Clone)]
pub struct ChainSummary {
    /// The journal.
    pub journal: JournalId,
    /// The class.
    pub class: Class,
    /// The lowest number received.
    pub first: Seq,
    /// The highest number received.
    pub last: Seq,
    /// Different documents received.
    pub count: u64,
    /// Repeated documents, byte for byte the same.
    pub duplicates: u64,
    /// Documents that came too late to be compared.
    pub unchecked: u64,
    /// Missing numbers that a `GAP` accounts for.
    pub holes_explained: Vec<Hole>,
    /// Missing numbers nobody accounts for.
    pub holes_unexplained: Vec<Hole>,
    /// Broken places.
    pub breaks: Vec<Break>,
}

/// What is known of all chains.
#[derive(Debug, Clone, Default)]
pub struct ChainReport {
    /// One per journal and class.
    pub chains: Vec<ChainSummary>,
}

impl ChainReport {
    /// Whether nothing is missing without a reason and nothing was changed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.chains.iter().all(|chain| chain.holes_unexplained.is_empty() && chain.breaks.is_empty())
    }
}

/// Checks documents one at a time.
#[derive(Debug, Default)]
pub struct ChainCheck {}

impl ChainCheck {
    /// A check that expects every chain from number 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one document.
    ///
    /// # Errors
    /// When it is no event document; the check goes on.
    pub fn feed(&mut self, document: &[u8]) -> Result<Fed, DocumentError> {
        Err(DocumentError::TooLong(document.len()))
    }

    /// What came out.
    #[must_use]
    pub fn finish(self) -> ChainReport {
        ChainReport::default()
    }
}
