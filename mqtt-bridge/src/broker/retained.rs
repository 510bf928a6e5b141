//! The last value of each retained topic. Ours, because rumqttd sends only the first hundred and drops the rest.
//!
//! What must hold: bounded in topics and in bytes; a value that finds no room is refused and said so, never put in
//! place of another; an empty value clears. No I/O and no lock here.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::Message;

/// What became of a value that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It stands now, or what stood was cleared.
    Stands,
    /// There was no room for it; what stood on that topic before is cleared, because it is no longer true.
    NoRoom,
}

/// Topic to last value.
#[derive(Debug)]
pub(super) struct Retained {
    values: BTreeMap<Bytes, Message>,
    bytes: usize,
    max_topics: usize,
    max_bytes: usize,
}

impl Retained {
    pub(super) fn new(max_topics: usize, max_bytes: usize) -> Retained {
        Retained { values: BTreeMap::new(), bytes: 0, max_topics, max_bytes }
    }

    /// Keeps a message as its topic's last value; an empty one clears.
    pub(super) fn keep(&mut self, message: &Message) -> Kept {
        self.forget(message.topic());
        if message.payload.is_empty() {
            return Kept::Stands;
        }
        if self.values.len() >= self.max_topics || self.bytes + message.size() > self.max_bytes {
            return Kept::NoRoom;
        }
        self.bytes += message.size();
        self.values.insert(message.topic.clone(), message.clone());
        Kept::Stands
    }

    /// Forgets a topic's value.
    pub(super) fn forget(&mut self, topic: &str) {
        if let Some(old) = self.values.remove(topic.as_bytes()) {
            self.bytes -= old.size();
        }
    }

    /// Topics that have a value.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Every value, in order of topic; cheap, the bytes are shared.
    pub(super) fn all(&self) -> Vec<Message> {
        self.values.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, topic: &str, payload: &str) -> Message {
        Message::framed(number, 0, topic, payload.as_bytes()).1
    }

    #[test]
    fn the_last_value_stands_and_an_empty_one_clears() {
        let mut store = Retained::new(10, 1000);
        store.keep(&message(1, "t", "a"));
        store.keep(&message(2, "t", "b"));
        assert_eq!(store.all(), [message(2, "t", "b")]);
        store.keep(&message(3, "t", ""));
        assert_eq!((store.len(), store.bytes), (0, 0));
    }

    #[test]
    fn a_full_store_refuses_new_topics_and_keeps_the_old() {
        let mut store = Retained::new(2, 1000);
        assert_eq!(store.keep(&message(1, "a", "x")), Kept::Stands);
        assert_eq!(store.keep(&message(2, "b", "x")), Kept::Stands);
        assert_eq!(store.keep(&message(3, "c", "x")), Kept::NoRoom);
        assert_eq!(store.keep(&message(4, "a", "y")), Kept::Stands);
        assert_eq!(store.all(), [message(4, "a", "y"), message(2, "b", "x")]);
    }

    #[test]
    fn a_value_that_outgrows_the_store_never_leaves_a_false_one_behind() {
        let mut store = Retained::new(2, 50);
        assert_eq!(store.keep(&message(1, "a", "x")), Kept::Stands);
        assert_eq!(store.keep(&message(2, "a", &"y".repeat(50))), Kept::NoRoom);
        assert_eq!((store.len(), store.bytes), (0, 0));
    }
}
