//! What must be true of a journal, in lists: no file, no thread, no cleverness.

use std::collections::BTreeMap;
use std::rc::Rc;

use segel::event::gap::{Dropped, Gap};
use segel::event::{Class, Digest, Draft, JournalId, Seq, Source, document};
use segel::journal::Room;

use crate::operation::Note;

/// Where an event is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Held,
    /// In the archive; its row leaves some time later.
    Archived,
    Dropped,
}

#[derive(Debug, Clone)]
pub struct Written {
    pub doc: Rc<[u8]>,
    pub digest: Digest,
    pub fate: Fate,
}

/// The events of one class: number 1 is the first.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    pub events: Vec<Written>,
    /// Rows up to this number are known to be gone; never beyond [`Chain::front`].
    pub gone: u64,
    /// First and last number of each segment in the archive.
    pub segments: Vec<(u64, u64)>,
}

impl Chain {
    pub fn last(&self) -> u64 {
        self.events.len() as u64
    }

    /// The last number that is dropped or archived. Rows that are archived may be here a little longer.
    pub fn front(&self) -> u64 {
        self.events.iter().take_while(|event| event.fate != Fate::Held).count() as u64
    }

    /// How many of this fate there are, and their bytes.
    pub fn sum(&self, fate: Fate) -> (u64, u64) {
        let of_it = self.events.iter().filter(|event| event.fate == fate);
        of_it.fold((0, 0), |(count, bytes), event| (count + 1, bytes + event.doc.len() as u64))
    }

    /// Bytes of the documents from after this number.
    pub fn bytes_after(&self, seq: u64) -> u64 {
        self.range(seq + 1, self.last()).iter().map(|event| event.doc.len() as u64).sum()
    }

    pub fn range(&self, first: u64, last: u64) -> &[Written] {
        &self.events[usize::try_from(first - 1).expect("few")..usize::try_from(last).expect("few")]
    }

    pub fn get(&self, seq: u64) -> &Written {
        &self.range(seq, seq)[0]
    }

    /// Whether events were dropped, then archived, then dropped again.
    pub fn has_two_runs(&self) -> bool {
        let mut fates = self.events.iter().map(|event| event.fate);
        [Fate::Dropped, Fate::Archived, Fate::Dropped].iter().all(|fate| fates.any(|of| of == *fate))
    }

    /// All that is held up to this number is that from now on.
    fn mark_up_to(&mut self, last: u64, fate: Fate) {
        let up_to = self.events.iter_mut().take(usize::try_from(last).expect("few"));
        up_to.filter(|event| event.fate == Fate::Held).for_each(|event| event.fate = fate);
    }

    pub fn push(&mut self, doc: Vec<u8>) -> &Written {
        let digest = Digest::of(&doc);
        self.events.push(Written { doc: doc.into(), digest, fate: Fate::Held });
        self.events.last().expect("it was just pushed")
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
    pub room: Room,
    /// Telemetry refused for want of room, as counted on disk, and what is still to be added.
    pub refused: u64,
    pub waiting_refused: u64,
}

impl Model {
    pub fn of(&self, class: Class) -> &Chain {
        &self.chains[class as usize]
    }

    /// The event becomes the next of its class; what its document must be.
    pub fn record(&mut self, draft: &Draft) -> Written {
        let chain = &mut self.chains[draft.class as usize];
        let prev = chain.events.last().map_or(Digest::ZERO, |event| event.digest);
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
        self.refused += std::mem::take(&mut self.waiting_refused);
        for note in std::mem::take(&mut self.waiting_notes) {
            self.note(note);
        }
        for ((outlet, class), seq) in std::mem::take(&mut self.waiting_cursors) {
            let front = self.of(class).gone;
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
        let front = self.of(class).gone;
        self.cursors.get(&(outlet, class)).copied().unwrap_or(Cursor { seq: front, skipped: front })
    }

    /// The rows up to `last` are gone: every outlet that was not there yet has to skip them.
    pub fn rows_are_gone(&mut self, class: Class, last: u64) {
        self.chains[class as usize].gone = last;
        for ((_, of), cursor) in &mut self.cursors {
            if *of == class && cursor.seq < last {
                cursor.skipped += last - cursor.seq;
                cursor.seq = last;
            }
        }
    }

    /// Everything up to `last` is in the archive; the rows leave some time later.
    pub fn put_away(&mut self, class: Class, last: u64) {
        let chain = &mut self.chains[class as usize];
        chain.segments.push((chain.front() + 1, last));
        chain.mark_up_to(last, Fate::Archived);
    }

    /// Telemetry up to `last` is dropped; what the `GAP` must say.
    pub fn drop_up_to(&mut self, last: u64) -> Gap {
        let class = Class::Telemetry;
        // What is in the archive left before anything was dropped.
        let before = self.of(class).front();
        self.rows_are_gone(class, before);
        let behind = self.cursors.iter().filter(|((_, of), _)| *of == class).map(|(_, cursor)| cursor.seq).min().unwrap_or(0);
        self.rows_are_gone(class, last);
        let chain = &mut self.chains[class as usize];
        chain.mark_up_to(last, Fate::Dropped);
        let run = chain.range(1, last).iter().rev().take_while(|event| event.fate == Fate::Dropped).count() as u64;
        let (all, all_bytes) = chain.sum(Fate::Dropped);
        Gap {
            first: Seq(before + 1),
            last: Seq(last),
            count: last - before,
            bytes: chain.range(before + 1, last).iter().map(|event| event.doc.len() as u64).sum(),
            undelivered: last.saturating_sub(behind.max(before)),
            digest: chain.get(last).digest,
            run: Some(Seq(last + 1 - run)),
            since_start: Dropped { count: all, bytes: all_bytes },
        }
    }
}
