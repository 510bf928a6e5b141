//! What a simulated seal keeps in flash: its log, its command journal, its counters.

use std::collections::VecDeque;

use crate::{
    SealWord,
    codec::{
        bthome::SealKey,
        segel_v1::{Bolt, Entry, Last, Outcome, Reference, Trouble, What},
    },
};

/// Entries the log holds: the least a seal must.
const ROOM: usize = 200;

/// A command begun and not ended.
#[derive(Debug, Clone, Copy)]
struct Begun {
    to: Bolt,
    from: Bolt,
    reference: Reference,
}

/// What a start writes into the log for a command that was under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) word: SealWord,
    pub(super) reference: Reference,
}

/// Flash.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) key: SealKey,
    pub(super) log_id: u32,
    pub(super) room: usize,
    pub(super) trouble: Trouble,
    /// Starts, for nonces that never repeat. Never reset, as the counter.
    pub(super) starts: u32,
    /// The advertisement's counter, and up to where it may be used without writing.
    pub(super) counter: u32,
    pub(super) counter_ceiling: u32,
    entries: VecDeque<Entry>,
    next: u32,
    /// Highest number ever confirmed.
    confirmed: u32,
    /// Time of the last entry overwritten.
    overwritten: Option<Entry>,
    begun: Option<Begun>,
    last: Last,
}

impl Memory {
    pub(super) fn new(key: SealKey, log_id: u32) -> Self {
        Self {
            key,
            log_id,
            room: ROOM,
            trouble: Trouble::default(),
            starts: 0,
            counter: 0,
            counter_ceiling: 0,
            entries: VecDeque::new(),
            next: 1,
            confirmed: 0,
            overwritten: None,
            begun: None,
            last: Last::default(),
        }
    }

    /// Another key: the log and the command journal begin anew; what nonces and counters are made of goes on.
    pub(super) fn set_key(&mut self, key: SealKey, log_id: u32) {
        let Self { room, starts, counter, counter_ceiling, .. } = *self;
        *self = Self { room, starts, counter, counter_ceiling, ..Self::new(key, log_id) };
    }

    pub(super) fn is_factory(&self) -> bool {
        self.key.bytes() == &[0; 16]
    }

    pub(super) fn count(&mut self, ahead: u32) {
        self.counter = self.counter.saturating_add(1);
        if self.counter >= self.counter_ceiling {
            self.counter_ceiling = self.counter.saturating_add(ahead);
        }
    }

    pub(super) fn last(&self) -> Last {
        self.last
    }

    pub(super) fn begin(&mut self, to: Bolt, reference: Reference, from: Bolt) {
        self.begun = Some(Begun { to, from, reference });
    }

    pub(super) fn end(&mut self, result: Outcome) {
        if let Some(Begun { to, reference, .. }) = self.begun.take() {
            let action = if to == Bolt::Locked { 1 } else { 2 };
            self.last = Last { action, result: result.0, reference };
        }
    }

    /// At a start: where the bolt is says what became of a command that was under way.
    pub(super) fn settle(&mut self, bolt: Bolt) -> Option<Settled> {
        let Begun { to, from, reference } = self.begun?;
        if bolt == to {
            self.end(Outcome::DONE);
            if to == Bolt::Locked {
                self.trouble = Trouble::default();
            }
            let word = if to == Bolt::Locked { SealWord::Sealed } else { SealWord::Unsealed };
            let written = self.entries.iter().any(|entry| entry.what == What::of(word) && entry.detail == reference.0);
            return (!written).then_some(Settled { word, reference });
        }
        if bolt == from {
            self.end(Outcome::INTERRUPTED);
            return None;
        }
        self.end(Outcome::STUCK);
        self.trouble = self.trouble.with(Trouble::STUCK);
        Some(Settled { word: SealWord::MotorStuck, reference })
    }

    pub(super) fn add(&mut self, word: SealWord, time: u32, clock_set: bool, battery: u8, detail: [u8; 8]) {
        self.entries.push_back(Entry { number: self.next, time, clock_set, what: What::of(word), battery, detail });
        self.next += 1;
        while self.entries.len() > self.room {
            self.overwritten = self.entries.pop_front();
        }
    }

    /// Deletes up to and including this number.
    pub(super) fn confirm(&mut self, number: u32) {
        self.confirmed = self.confirmed.max(number);
        self.entries.retain(|entry| entry.number > number);
        self.overwritten = self.overwritten.filter(|entry| entry.number > number);
    }

    pub(super) fn has_lost(&self) -> bool {
        self.overwritten.is_some()
    }

    /// The oldest entries, lost ones told first, at most so many.
    pub(super) fn told(&self, most: usize) -> Vec<Entry> {
        let lost = self.overwritten.map(|entry| {
            let count = (entry.number - self.confirmed).to_le_bytes();
            Entry { what: What::LOG_LOST, detail: [count[0], count[1], count[2], count[3], 0, 0, 0, 0], ..entry }
        });
        lost.into_iter().chain(self.entries.iter().copied()).take(most).collect()
    }

    pub(super) fn stored(&self) -> u16 {
        u16::try_from(self.entries.len() + usize::from(self.has_lost())).unwrap_or(u16::MAX)
    }

    pub(super) fn oldest(&self) -> u32 {
        self.overwritten.or_else(|| self.entries.front().copied()).map_or(self.next, |entry| entry.number)
    }
}
