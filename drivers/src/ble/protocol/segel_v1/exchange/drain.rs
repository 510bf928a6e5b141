//! How far a log is drained, and that no number is missing.

use crate::{
    SealEvent,
    codec::segel_v1::{Answer, Command, ENTRIES_MAX, Entry, Outcome, Status},
};

/// Entries asked for at a time: what one answer holds.
const PIECE: u8 = 10;
const _: () = assert!(PIECE as usize == ENTRIES_MAX);
/// Pieces in one session at most: more than any log here holds, so that a seal that writes as fast as it is read ends.
const PIECES_MAX: u32 = 1_000;

/// A drain on its way.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Entries the seal has deleted because they are on disk here.
    pub(super) confirmed: u32,
    /// How many it said last that it holds.
    pub(super) remaining: Option<u32>,
    /// Which log, once the seal said it.
    log: Option<u32>,
    /// The highest number that is on disk here; 0 before the first.
    on_disk: u32,
    /// The highest number handed over.
    taken: u32,
    /// Handed over and not yet confirmed.
    waiting: u32,
    pieces: u32,
    stop: bool,
}

impl Drain {
    /// The next command; `None` when there is nothing to hand over and nothing to confirm.
    pub(super) fn next(&mut self, status: &Status) -> Result<Option<Command>, &'static str> {
        if self.log.is_some_and(|log| log != status.log) {
            return Err("its log changed while it was drained");
        }
        self.log = Some(status.log);
        self.remaining = Some(u32::from(status.stored));
        if status.stored == 0 && self.on_disk == 0 {
            return Ok(None);
        }
        let most = if self.stop { 0 } else { PIECE };
        Ok(Some(Command::Drain { log: status.log, confirm: self.on_disk, most }))
    }

    /// What to store and of which log; `None` at the end.
    pub(super) fn took(&mut self, answer: &Answer) -> Result<Option<(Vec<SealEvent>, u32)>, &'static str> {
        match answer.outcome {
            Outcome::DONE => {}
            Outcome::WRONG_LOG => return Err("it began a new log while the old was drained"),
            Outcome::NOT_TOLD => return Err("it does not know what it handed over: it started anew; drain it again"),
            _ => return Err("it does not hand over its log"),
        }
        if self.log != Some(answer.status.log) {
            return Err("it answers for another log than the one that was drained");
        }
        self.confirmed += std::mem::take(&mut self.waiting);
        let Answer { status, entries, .. } = answer;
        self.remaining = Some(u32::from(status.stored));
        let Some(first) = entries.first() else {
            let done = self.stop || status.stored == 0;
            return if done { Ok(None) } else { Err("it holds entries and hands over none") };
        };
        if self.stop || first.number != status.oldest {
            return Err("it hands over entries that were not asked for");
        }
        self.contiguous(entries)?;
        self.taken = entries.last().map_or(self.taken, |last| last.number);
        self.waiting = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        Ok(Some((entries.iter().map(Entry::event).collect(), status.log)))
    }

    /// Each number is one more than the one before; lost entries may stand at the beginning only, and cover all that is
    /// missing.
    fn contiguous(&self, entries: &[Entry]) -> Result<(), &'static str> {
        let mut before = None;
        for entry in entries {
            let expected = match (before, entry.lost()) {
                (None, None) if self.on_disk == 0 => Some(entry.number),
                (None, None) => self.on_disk.checked_add(1),
                (None, Some(lost)) => {
                    let from = entry.number.checked_sub(lost);
                    let covers = lost > 0 && from.is_some_and(|from| self.on_disk == 0 || from == self.on_disk);
                    covers.then_some(entry.number)
                }
                (Some(number), None) => u32::checked_add(number, 1),
                (Some(_), Some(_)) => None,
            };
            if entry.number == 0 || expected != Some(entry.number) {
                return Err("the numbers of its log have a gap or a repetition");
            }
            before = Some(entry.number);
        }
        Ok(())
    }

    /// All that was handed over is on disk.
    pub(super) fn confirm(&mut self) {
        self.on_disk = self.taken;
        self.pieces += 1;
        self.stop |= self.pieces >= PIECES_MAX;
    }

    /// All that was handed over is on disk, and no more is wanted now.
    pub(super) fn confirm_and_stop(&mut self) {
        self.confirm();
        self.stop = true;
    }
}
