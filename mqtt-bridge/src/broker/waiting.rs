//! Connections that have not said CONNECT yet.
//!
//! Bounded. When full, the one that waited longest is sent away: an honest client needs milliseconds here, so it is
//! hardly ever the oldest, while silent ones always become so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, CancellationToken>,
    last: u64,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct WaitingRoom {
    queue: Arc<Mutex<Queue>>,
    most: usize,
}

/// One connection's place; free again when dropped.
pub(super) struct Place {
    room: WaitingRoom,
    number: u64,
    /// Cancelled when this one is sent away.
    pub(super) left: CancellationToken,
}

impl WaitingRoom {
    pub(super) fn new(most: usize) -> WaitingRoom {
        WaitingRoom { queue: Arc::default(), most }
    }

    /// Takes a place; may send the oldest away.
    pub(super) fn enter(&self) -> Place {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.len() >= self.most
            && let Some((_, oldest)) = queue.waiting.pop_first()
        {
            oldest.cancel();
        }
        queue.last += 1;
        let (number, left) = (queue.last, CancellationToken::new());
        queue.waiting.insert(number, left.clone());
        Place { room: self.clone(), number, left }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.queue.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_is_sent_away_and_only_when_it_is_full() {
        let room = WaitingRoom::new(2);
        let first = room.enter();
        let second = room.enter();
        assert!(!first.left.is_cancelled());
        let third = room.enter();
        assert!(first.left.is_cancelled() && !second.left.is_cancelled());
        drop((first, second));
        let _fourth = room.enter();
        assert!(!third.left.is_cancelled());
    }
}
