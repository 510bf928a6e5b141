//! What must be true of a journal, in lists: no file, no thread, no cleverness.

use std::collections::BTreeMap;

use segel::event::gap::{Dropped, Gap};
use segel::event::{Class, Digest, Draft, JournalId, Seq, Source, document};

use crate::operation::Note;

/// Where an event is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Held,
    Dropped,
}

#[derive(Debug, Clone)]
pub struct Written {
    pub doc: Vec<u8>,
    pub digest: Digest,
    pub fate: Fate,
}

/// The events of one class: number 1 is the first.
#[derive(Debug, Clone, Default)]
pub struct Chain(pub Vec<Written>);

impl Chain {
    pub fn last(&self) -> u64 {
        self.0.len() as u64
    }

    /// The last number whose event is not held any more.
    pub fn front(&self) -> u64 {
        self.0.iter().take_while(|event| event.fate != Fate::Held).count() as u64
    }

    /// How many of this fate there are, and their bytes.
    pub fn sum(&self, fate: Fate) -> (u64, u64) {
        let of_it = self.0.iter().filter(|event| event.fate == fate);
        of_it.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.doc.len() as u64))
    }

    pub fn push(&mut self, doc: Vec<u8>) -> &Written {
        let digest = Digest::of(&doc);
        self.0.push(Written { doc, digest, fate: Fate::Held });
        self.0.last().expect("it was just pushed")
    }
}

/// Up to where an outlet has confirmed or had to skip, and how many it had to skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    pub seq: u64,
    pub skipped: u64,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub source: Source,
    pub journal: JournalId,
    pub chains: [Chain; 3],
    pub cursors: BTreeMap<(usize, Class), Cursor>,
    pub notes: BTreeMap<u8, u8>,
    /// Written with the next commit, or a little earlier by itself.
    pub waiting_cursors: BTreeMap<(usize, Class), u64>,
    pub waiting_notes: Vec<Note>,
}

impl Model {
    pub fn of(&self, class: Class) -> &Chain {
        &self.chains[class as usize]
    }

    /// The event becomes the next of its class; what its document must be.
    pub fn record(&mut self, draft: &Draft) -> Written {
        let chain = &mut self.chains[draft.class as usize];
        let prev = chain.0.last().map_or(Digest::ZERO, |event| event.digest);
        chain.push(document::write(draft, &self.source, self.journal, Seq(chain.last() + 1), &prev)).clone()
    }

    pub fn note(&mut self, (key, value): Note) {
        match value {
            Some(value) => self.notes.insert(key, value),
            None => self.notes.remove(&key),
        };
    }

    /// What waited is on disk.
    pub fn commit(&mut self) {
        for note in std::mem::take(&mut self.waiting_notes) {
            self.note(note);
        }
        for ((outlet, class), seq) in std::mem::take(&mut self.waiting_cursors) {
            let front = self.of(class).front();
            let seq = seq.min(self.of(class).last()).max(front);
            let cursor = self.cursors.entry((outlet, class)).or_insert(Cursor { seq, skipped: front });
            cursor.seq = cursor.seq.max(seq);
        }
    }

    pub fn advance(&mut self, outlet: usize, class: Class, seq: u64) {
        let waiting = self.waiting_cursors.entry((outlet, class)).or_default();
        *waiting = seq.max(*waiting);
    }

    /// Where an outlet stands; one that never confirmed anything had to skip what is gone.
    pub fn cursor(&self, outlet: usize, class: Class) -> Cursor {
        let front = self.of(class).front();
        self.cursors.get(&(outlet, class)).copied().unwrap_or(Cursor { seq: front, skipped: front })
    }

    /// Telemetry up to `last` is dropped; what the `GAP` must say.
    pub fn drop_up_to(&mut self, last: u64) -> Gap {
        let class = Class::Telemetry;
        let first = self.of(class).front() + 1;
        let behind = self.cursors.iter().filter(|((_, of), _)| *of == class).map(|(_, cursor)| cursor.seq).min().unwrap_or(0);
        let range = usize::try_from(first - 1).expect("few")..usize::try_from(last).expect("few");
        let gone = &mut self.chains[class as usize].0[range];
        let bytes = gone.iter().map(|event| event.doc.len() as u64).sum();
        gone.iter_mut().for_each(|event| event.fate = Fate::Dropped);
        let digest = gone.last().expect("something was dropped").digest;
        for ((_, of), cursor) in &mut self.cursors {
            if *of == class && cursor.seq < last {
                cursor.skipped += last - cursor.seq;
                cursor.seq = last;
            }
        }
        let (all, all_bytes) = self.of(class).sum(Fate::Dropped);
        Gap {
            first: Seq(first),
            last: Seq(last),
            count: last + 1 - first,
            bytes,
            undelivered: last.saturating_sub(behind.max(first - 1)),
            digest,
            since_start: Dropped { count: all, bytes: all_bytes },
        }
    }
}
