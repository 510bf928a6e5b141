//! Missing numbers, and the statements that account for them.

use std::collections::BTreeMap;

use crate::event::gap::Gap;
use crate::event::{Digest, Seq};

/// Ends of statements whose digest is remembered. A gap covers hundreds of events, so this spans millions.
const ENDS_MAX: usize = 4096;
/// Separate stretches of accounted numbers. Honest statements all begin at 1 and make one stretch.
const STRETCHES_MAX: usize = 1024;

/// Numbers that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first missing number.
    pub first: Seq,
    /// The last missing number.
    pub last: Seq,
}

/// What all `GAP`s of one chain account for, together.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// First to last, disjoint, not touching.
    stretches: BTreeMap<Seq, Seq>,
    ends: BTreeMap<Seq, Digest>,
}

impl Statements {
    /// Takes one more statement.
    pub(super) fn add(&mut self, gap: &Gap) {
        if self.ends.len() < ENDS_MAX {
            self.ends.insert(gap.last, gap.digest);
        }
        let (mut first, mut last) = (gap.accounts_from(), gap.last);
        if last < first || first == Seq::NONE {
            return;
        }
        let touching: Vec<_> =
            self.stretches.range(..=last.next()).filter(|(_, end)| end.next() >= first).map(|(start, end)| (*start, *end)).collect();
        for (start, end) in touching {
            self.stretches.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        if self.stretches.len() < STRETCHES_MAX {
            self.stretches.insert(first, last);
        }
    }

    /// The digest stated for the document `seq`, if a statement ends there.
    pub(super) fn digest_at(&self, seq: Seq) -> Option<Digest> {
        self.ends.get(&seq).copied()
    }

    /// Cuts a hole into what is accounted for and what is not.
    pub(super) fn split(&self, hole: Hole, explained: &mut Vec<Hole>, unexplained: &mut Vec<Hole>) {
        let mut at = hole.first;
        for (start, end) in self.stretches.range(..=hole.last) {
            if *end < at {
                continue;
            }
            if *start > at {
                unexplained.push(Hole { first: at, last: start.before() });
            }
            explained.push(Hole { first: at.max(*start), last: hole.last.min(*end) });
            at = end.next();
            if at > hole.last {
                return;
            }
        }
        unexplained.push(Hole { first: at, last: hole.last });
    }
}
