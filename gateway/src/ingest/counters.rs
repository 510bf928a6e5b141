//! The message counters of seals: what is on disk, what was just heard, and what still has to be kept.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use segel_drivers::{
    Protection, SealId,
    codec::counter::{CounterMemory, Verdict, judge},
};

use super::{finding::note_json, seal_body::CounterStanding};
use crate::journal::Note;

/// Two adapters may hear the same messages a moment apart: counters that went forward are remembered for this long (the
/// window in which BTHome takes a packet for the same one) ...
const RECENT_WINDOW: Duration = Duration::from_secs(4);
/// ... and so many of them.
const RECENT_MAX: usize = 16;
/// The kind of note a seal's message counter is kept under.
pub const COUNTER_NOTE: &str = "counter";

/// The counters of all seals that have one; only registered seals have keys, so there are no more than the register has.
#[derive(Debug)]
pub(super) struct Counters {
    memory: HashMap<SealId, CounterMemory>,
    recent: HashMap<SealId, VecDeque<(u32, Instant)>>,
    unkept: HashSet<SealId>,
}

impl Counters {
    pub(super) fn new(memory: HashMap<SealId, CounterMemory>) -> Self {
        Self { memory, recent: HashMap::new(), unkept: HashSet::new() }
    }

    /// How a message stands against what was heard before; remembers it.
    pub(super) fn stand(&mut self, seal: &SealId, protection: Protection, now: Instant) -> CounterStanding {
        let Protection::Keyed { counter } = protection else {
            return CounterStanding { verdict: None, counter: None, high: None };
        };
        if self.was_just_heard(seal, counter, now) {
            return CounterStanding { verdict: Some(Verdict::Repeat), counter: Some(counter), high: Some(counter) };
        }
        let (verdict, memory) = judge(self.memory.get(seal), counter);
        if self.memory.insert(seal.clone(), memory) != Some(memory) {
            self.unkept.insert(seal.clone());
        }
        CounterStanding { verdict: Some(verdict), counter: Some(counter), high: Some(memory.high) }
    }

    /// Whether this counter is one of the last few that went forward: the same message by way of another adapter, late.
    /// Remembers it otherwise, if it is new.
    fn was_just_heard(&mut self, seal: &SealId, counter: u32, now: Instant) -> bool {
        let recent = self.recent.entry(seal.clone()).or_default();
        recent.retain(|(_, at)| now.saturating_duration_since(*at) < RECENT_WINDOW);
        if recent.iter().any(|(known, _)| *known == counter) {
            return true;
        }
        if self.memory.get(seal).is_none_or(|memory| counter > memory.high) {
            recent.push_back((counter, now));
            if recent.len() > RECENT_MAX {
                recent.pop_front();
            }
        }
        false
    }

    /// The note of a seal's counter, if it has moved since it was last kept: for the transaction of the event it moved with.
    pub(super) fn take_note(&mut self, seal: &SealId) -> Option<Note> {
        let moved = self.unkept.remove(seal);
        let memory = self.memory.get(seal).filter(|_| moved)?;
        Some(note_json(COUNTER_NOTE, seal.as_str(), memory))
    }

    /// The notes of all counters that moved without an event.
    pub(super) fn take_unkept(&mut self) -> Vec<Note> {
        let unkept: Vec<_> = self.unkept.iter().cloned().collect();
        unkept.iter().filter_map(|seal| self.take_note(seal)).collect()
    }

    /// Every counter counts as moved.
    pub(super) fn offer_again(&mut self) {
        self.unkept.extend(self.memory.keys().cloned());
    }
}
