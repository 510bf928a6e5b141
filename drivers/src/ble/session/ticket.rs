//! The one word that decides between writing and calling off.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

const FREE: u8 = 0;
const MOVED: u8 = 1;
const CALLED_OFF: u8 = 2;

/// The word of one request.
#[derive(Debug, Default)]
pub struct Ticket(AtomicU8, Notify);

impl Ticket {
    /// Claims the one write that may move the seal. True once in the life of a request, and never after it was called off.
    #[must_use]
    pub fn take_the_write(&self) -> bool {
        self.0.compare_exchange(FREE, MOVED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Calls the request off. False when the write was claimed already: then what became of it is not known here.
    #[must_use]
    pub fn call_off(&self) -> bool {
        match self.0.compare_exchange(FREE, CALLED_OFF, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.1.notify_one();
                true
            }
            Err(now) => now == CALLED_OFF,
        }
    }

    /// Whether it was called off.
    #[must_use]
    pub fn is_called_off(&self) -> bool {
        self.0.load(Ordering::Acquire) == CALLED_OFF
    }

    /// Waits until it is called off; for ever when the write was claimed. One may wait at a time.
    pub(super) async fn called_off(&self) {
        while !self.is_called_off() {
            self.1.notified().await;
        }
    }

    /// Whether the write was claimed.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.0.load(Ordering::Acquire) == MOVED
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
