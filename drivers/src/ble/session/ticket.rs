//! The one word that decides between writing and calling off.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::{Evidence, Hindrance, Outcome};

const FREE: u8 = 0;
const MOVED: u8 = 1;
const CALLED_OFF: u8 = 2;

/// The word of one request, and what it has done without moving anything: whoever ends it, wherever, says it.
#[derive(Debug, Default)]
pub struct Ticket {
    word: AtomicU8,
    news: Notify,
    /// Stored events that were confirmed to the seal.
    confirmed: AtomicU32,
    /// A write that may have set the seal's clock left.
    set: AtomicBool,
}

impl Ticket {
    /// Claims the one write that may move the seal. True once in the life of a request, and never after it was called off.
    #[must_use]
    pub fn take_the_write(&self) -> bool {
        self.word.compare_exchange(FREE, MOVED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Calls the request off. False when the write was claimed already: then what became of it is not known here.
    #[must_use]
    pub fn call_off(&self) -> bool {
        match self.word.compare_exchange(FREE, CALLED_OFF, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.news.notify_one();
                true
            }
            Err(now) => now == CALLED_OFF,
        }
    }

    /// Whether it was called off.
    #[must_use]
    pub fn is_called_off(&self) -> bool {
        self.word.load(Ordering::Acquire) == CALLED_OFF
    }

    /// Waits until it is called off; for ever when the write was claimed. One may wait at a time.
    pub(super) async fn called_off(&self) {
        while !self.is_called_off() {
            self.news.notified().await;
        }
    }

    /// Whether the write was claimed.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.word.load(Ordering::Acquire) == MOVED
    }

    /// So many more stored events were confirmed to the seal.
    pub(super) fn confirms(&self, more: u32) {
        self.confirmed.fetch_add(more, Ordering::AcqRel);
    }

    /// How many stored events were confirmed to the seal.
    pub(super) fn confirmed(&self) -> u32 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Whether a write left that may have set the seal's clock; what it was before is given back.
    pub(super) fn sets(&self, now: bool) -> bool {
        self.set.swap(now, Ordering::AcqRel)
    }

    /// What became of a request that ends for this reason, with nothing moved.
    pub(super) fn cut_short(&self, why: Hindrance) -> Outcome {
        match self.confirmed() {
            0 if self.set.load(Ordering::Acquire) => {
                Outcome::Unknown { why: format!("its time was sent to it and it did not confirm it: {why}"), read_back: None }
            }
            0 => Outcome::NotAttempted { why },
            drained => Outcome::Done { evidence: Evidence::Reported, status: None, drained, remaining: None, interrupted: Some(why) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_is_taken_once_and_never_after_calling_off() {
        let ticket = Ticket::default();
        assert!(ticket.take_the_write());
        assert!(!ticket.take_the_write());
        assert!(!ticket.call_off() && ticket.has_moved());
        let ticket = Ticket::default();
        assert!(ticket.call_off() && ticket.call_off());
        assert!(!ticket.take_the_write() && ticket.is_called_off());
    }

    #[test]
    fn of_many_threads_one_takes_the_write_or_one_calls_off() {
        for _ in 0..200 {
            let ticket = Ticket::default();
            let outcomes: Vec<(bool, bool)> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..2).map(|_| scope.spawn(|| (ticket.take_the_write(), false))).collect();
                let caller = scope.spawn(|| (false, ticket.call_off()));
                writers.into_iter().chain([caller]).map(|thread| thread.join().expect("no panic")).collect()
            });
            let wrote = outcomes.iter().filter(|(wrote, _)| *wrote).count();
            let called_off = outcomes.iter().any(|(_, off)| *off);
            assert_eq!(wrote, usize::from(!called_off));
        }
    }
}
