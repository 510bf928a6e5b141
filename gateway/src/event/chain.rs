//! Whether received documents are all of them, and unchanged: pure, from their bytes alone.
//!
//! Documents may come from several journals and classes, mixed, repeated, and a little out of order, as they do across
//! a reconnection. Per journal and class the check keeps the last [`WINDOW`] documents (number, identity, two digests:
//! about half a megabyte for a full window) and settles a document only when it leaves that window or at the end:
//!
//! ```text
//!   settled ──────────────► │ window, sorted by number          │ ◄── documents, in any order
//!   prev compared, holes    │ a repeat here is compared by bytes │
//! ```
//!
//! What must hold: a number without a document is a hole, explained only by a `GAP` of the telemetry class of the same
//! journal (alarms and receipts are never dropped, so no `GAP` excuses one); where a `GAP` ends at the hole's end, the
//! document after the hole must name the digest the `GAP` states. A document below everything still in the window can no
//! longer be compared and is counted as unchecked: neither good nor bad.
//!
//! Not here: signatures, and where documents come from.

mod hole;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use uuid::Uuid;

pub use self::hole::Hole;
use self::hole::Statements;
use super::document::{DocumentError, Head};
use super::gap::Gap;
use super::{Class, Digest, EventType, JournalId, Seq};

/// Documents of one chain remembered for repeats and for those out of order. Forty times what is in flight to a broker.
pub const WINDOW: usize = 4096;
/// Chains checked at once: sixteen journals of one gate. A gate loses its journal less often than that in its life.
pub const CHAINS_MAX: usize = 48;
/// Holes and breaks of one chain that are listed one by one; beyond that they are counted.
pub const LISTED_MAX: usize = 256;

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
    /// Broken places; the first [`LISTED_MAX`].
    pub breaks: Vec<Break>,
    /// Breaks and holes beyond those listed.
    pub unlisted: u64,
}

impl ChainSummary {
    /// Whether nothing is missing without a reason and nothing was changed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.holes_unexplained.is_empty() && self.breaks.is_empty() && self.unlisted == 0
    }
}

/// What is known of all chains.
#[derive(Debug, Clone, Default)]
pub struct ChainReport {
    /// One per journal and class, in that order.
    pub chains: Vec<ChainSummary>,
    /// Documents that could not be read.
    pub unreadable: u64,
    /// Documents of more chains than [`CHAINS_MAX`], not looked at.
    pub beyond: u64,
}

impl ChainReport {
    /// Whether nothing is missing without a reason, nothing was changed and everything could be read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unreadable == 0 && self.beyond == 0 && self.chains.iter().all(ChainSummary::is_whole)
    }
}

/// Checks documents one at a time.
#[derive(Debug, Default)]
pub struct ChainCheck {
    chains: BTreeMap<(JournalId, Class), Chain>,
    stated: BTreeMap<Class, (Seq, Option<Digest>)>,
    unreadable: u64,
    beyond: u64,
}

impl ChainCheck {
    /// A check that expects every chain from number 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same check, told that what it is given of this class begins at `first` on purpose (a receiver that joined
    /// late). It counts for the first journal that is fed.
    #[must_use]
    pub fn starting_at(mut self, class: Class, first: Seq) -> Self {
        self.stated.insert(class, (first.before(), None));
        self
    }

    /// The same check, told that what it is given of this class follows the document `last` with this digest, which is
    /// kept elsewhere (in an archive). It counts for the first journal that is fed.
    #[must_use]
    pub fn starting_after(mut self, class: Class, last: Seq, digest: Digest) -> Self {
        self.stated.insert(class, (last, Some(digest)));
        self
    }

    /// Takes one document, without a line end.
    ///
    /// # Errors
    /// When it is no event document; it is counted and the check goes on.
    pub fn feed(&mut self, document: &[u8]) -> Result<Fed, DocumentError> {
        let head = Head::parse(document).inspect_err(|_| self.unreadable += 1)?;
        let room = self.chains.len() < CHAINS_MAX;
        let chain = match self.chains.entry((head.journal, head.class)) {
            Entry::Occupied(chain) => chain.into_mut(),
            Entry::Vacant(place) if room => place.insert(Chain::new(self.stated.remove(&head.class), head.seq)),
            Entry::Vacant(_) => {
                self.beyond += 1;
                return Ok(Fed::Unchecked);
            }
        };
        let fed = chain.take(head.seq, Link { id: head.id, prev: head.prev, digest: Digest::of(document) });
        if fed == Fed::New
            && head.class == Class::Telemetry
            && head.kind() == Some(EventType::Gap)
            && let Ok(gap) = serde_json::from_str::<Gap>(head.data.get())
            && gap.last < head.seq
        {
            chain.statements.add(&gap);
        }
        Ok(fed)
    }

    /// What came out.
    #[must_use]
    pub fn finish(self) -> ChainReport {
        let chains = self.chains.into_iter().map(|((journal, class), chain)| chain.finish(journal, class)).collect();
        ChainReport { chains, unreadable: self.unreadable, beyond: self.beyond }
    }
}

/// One document, as far as the chain needs it.
#[derive(Debug, Clone, Copy)]
struct Link {
    id: Uuid,
    prev: Digest,
    digest: Digest,
}

#[derive(Debug)]
struct Chain {
    window: BTreeMap<Seq, Link>,
    /// The last number settled and its digest, if that is known.
    settled: (Seq, Option<Digest>),
    first: Seq,
    last: Seq,
    count: u64,
    duplicates: u64,
    unchecked: u64,
    holes: Vec<(Hole, Digest)>,
    breaks: Vec<Break>,
    unlisted: u64,
    statements: Statements,
}

impl Chain {
    fn new(stated: Option<(Seq, Option<Digest>)>, seen: Seq) -> Self {
        let settled = stated.filter(|(before, _)| *before > Seq::NONE).unwrap_or((Seq::NONE, Some(Digest::ZERO)));
        Self {
            window: BTreeMap::new(),
            settled,
            first: seen,
            last: seen,
            count: 0,
            duplicates: 0,
            unchecked: 0,
            holes: Vec::new(),
            breaks: Vec::new(),
            unlisted: 0,
            statements: Statements::default(),
        }
    }

    fn take(&mut self, seq: Seq, link: Link) -> Fed {
        if seq <= self.settled.0 {
            self.unchecked += 1;
            return Fed::Unchecked;
        }
        match self.window.entry(seq) {
            Entry::Occupied(known) if known.get().digest == link.digest => {
                self.duplicates += 1;
                return Fed::Duplicate;
            }
            Entry::Occupied(_) => {
                self.broken(Break::Conflict { seq, id: link.id });
                return Fed::Conflict;
            }
            Entry::Vacant(place) => place.insert(link),
        };
        self.count += 1;
        self.first = self.first.min(seq);
        self.last = self.last.max(seq);
        while self.window.len() > WINDOW {
            self.settle();
        }
        Fed::New
    }

    /// Moves the lowest document out of the window.
    fn settle(&mut self) {
        let Some((seq, link)) = self.window.pop_first() else { return };
        let (before, digest) = self.settled;
        if before.next() == seq {
            if let Some(expected) = digest
                && expected != link.prev
            {
                self.broken(Break::Prev { seq, expected, found: link.prev });
            }
        } else if self.holes.len() < LISTED_MAX {
            self.holes.push((Hole { first: before.next(), last: seq.before() }, link.prev));
        } else {
            self.unlisted += 1;
        }
        self.settled = (seq, Some(link.digest));
    }

    fn broken(&mut self, place: Break) {
        if self.breaks.len() < LISTED_MAX {
            self.breaks.push(place);
        } else {
            self.unlisted += 1;
        }
    }

    fn finish(mut self, journal: JournalId, class: Class) -> ChainSummary {
        while !self.window.is_empty() {
            self.settle();
        }
        let mut holes_explained = Vec::new();
        let mut holes_unexplained = Vec::new();
        for (hole, found) in std::mem::take(&mut self.holes) {
            if let Some(expected) = self.statements.digest_at(hole.last)
                && expected != found
            {
                self.broken(Break::Prev { seq: hole.last.next(), expected, found });
            }
            self.statements.split(hole, &mut holes_explained, &mut holes_unexplained);
        }
        ChainSummary {
            journal,
            class,
            first: self.first,
            last: self.last,
            count: self.count,
            duplicates: self.duplicates,
            unchecked: self.unchecked,
            holes_explained,
            holes_unexplained,
            breaks: self.breaks,
            unlisted: self.unlisted,
        }
    }
}
