//! What is in flight, and which acknowledgement belongs to what.
//!
//! The MQTT library numbers our messages itself, one after the other and round a ring, and tells the number only when
//! it has taken a message. So a message is in one of three states here:
//!
//! ```text
//!   push(ticket)            named(id)                 acked(id)
//!   ───────────► nameless ───────────► id known ────────────────► ticket given back, once
//!                └──────────── take_back(): all of them, oldest first ──────────┘
//! ```
//!
//! What must hold
//! - Names are given in the order of pushing, for the library takes messages in that order.
//! - The window is bounded by its **span**, from the oldest unacknowledged message to the newest pushed, not by the
//!   number of messages in flight. A ring of at least `span` numbers can then never come round to one that is still in
//!   use, however much out of order the acknowledgements come.
//! - An acknowledgement that fits nothing moves nothing and is reported.
//!
//! Pure: no I/O, no clock; the time of pushing is given.

use std::collections::VecDeque;

use tokio::time::Instant;

/// One message sent and perhaps already acknowledged behind an older one that is not.
#[derive(Debug)]
struct Slot<T> {
    id: Option<u16>,
    /// `None` once acknowledged.
    ticket: Option<T>,
    pushed: Instant,
}

/// The messages from the oldest unacknowledged one to the newest.
#[derive(Debug)]
pub struct Window<T> {
    slots: VecDeque<Slot<T>>,
    /// How many slots from the front have their packet id.
    named: usize,
    in_flight: usize,
    span: usize,
}

/// What the library or the broker said does not fit what we know. The line cannot be trusted any more: take everything back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowFault {
    /// An acknowledgement for a packet id that is not in flight.
    #[error("packet {id} was acknowledged, but is not in flight")]
    UnknownAck {
        /// The packet id.
        id: u16,
    },
    /// A packet id was named although no message waits for one.
    #[error("packet {id} was sent, but no message waited for a packet id")]
    Nameless {
        /// The packet id.
        id: u16,
    },
    /// A packet id was given out while it is still in use.
    #[error("packet {id} was sent while another message with this id is in flight")]
    Reused {
        /// The packet id.
        id: u16,
    },
}

impl<T> Window<T> {
    /// A window of at most `span` messages from the oldest unacknowledged to the newest.
    #[must_use]
    pub fn new(span: usize) -> Self {
        Self { slots: VecDeque::with_capacity(span), named: 0, in_flight: 0, span }
    }

    /// May one more message be pushed?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.slots.len() < self.span
    }

    /// Messages not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// When the oldest unacknowledged message was pushed.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.pushed)
    }

    /// A message is handed to the library now.
    ///
    /// # Errors
    /// Gives the ticket back when there is no room: ask [`Window::has_room`] first.
    pub fn push(&mut self, ticket: T, now: Instant) -> Result<(), T> {
        if !self.has_room() {
            return Err(ticket);
        }
        self.slots.push_back(Slot { id: None, ticket: Some(ticket), pushed: now });
        self.in_flight += 1;
        Ok(())
    }

    /// The library has given the oldest nameless message this packet id.
    ///
    /// # Errors
    /// [`WindowFault::Nameless`] or [`WindowFault::Reused`]; nothing is changed.
    pub fn named(&mut self, id: u16) -> Result<(), WindowFault> {
        if self.position(id).is_some() {
            return Err(WindowFault::Reused { id });
        }
        let slot = self.slots.get_mut(self.named).ok_or(WindowFault::Nameless { id })?;
        slot.id = Some(id);
        self.named += 1;
        Ok(())
    }

    /// The broker has acknowledged this packet id: the ticket it belongs to.
    ///
    /// # Errors
    /// [`WindowFault::UnknownAck`]; nothing is changed.
    pub fn acked(&mut self, id: u16) -> Result<T, WindowFault> {
        let position = self.position(id).ok_or(WindowFault::UnknownAck { id })?;
        let ticket = self.slots[position].ticket.take().expect("position() finds only slots that hold a ticket");
        self.in_flight -= 1;
        while self.slots.front().is_some_and(|slot| slot.ticket.is_none()) {
            self.slots.pop_front();
            self.named -= 1;
        }
        Ok(ticket)
    }

    /// The line is lost: every ticket not acknowledged, oldest first. The window is empty afterwards.
    pub fn take_back(&mut self) -> Vec<T> {
        self.named = 0;
        self.in_flight = 0;
        self.slots.drain(..).filter_map(|slot| slot.ticket).collect()
    }

    /// Where this packet id is in use; mostly at the front, for brokers acknowledge in order.
    fn position(&self, id: u16) -> Option<usize> {
        self.slots.iter().take(self.named).position(|slot| slot.id == Some(id) && slot.ticket.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The library's ring of packet ids with `size` numbers.
    struct Ring {
        size: u16,
        last: u16,
    }

    impl Ring {
        fn next(&mut self) -> u16 {
            self.last = self.last % self.size + 1;
            self.last
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Name,
        Ack(prop::sample::Index),
        StrayAck(u16),
        LoseLine,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => Just(Step::Push),
            8 => Just(Step::Name),
            7 => any::<prop::sample::Index>().prop_map(Step::Ack),
            1 => any::<u16>().prop_map(Step::StrayAck),
            1 => Just(Step::LoseLine),
        ];
        prop::collection::vec(step, 0..600)
    }

    proptest! {
        /// The model: tickets are numbers in the order of pushing; `names` says which open ticket has which id.
        #[test]
        fn the_window_pairs_every_ack_with_its_ticket_and_never_collides(span in 1u16..20, spare in 0u16..3, steps in steps()) {
            let mut window = Window::new(usize::from(span));
            let mut ring = Ring { size: span + spare, last: 0 };
            let now = Instant::now();
            let (mut pushed, mut nameless): (u64, VecDeque<u64>) = (0, VecDeque::new());
            let mut open: Vec<u64> = Vec::new();
            let mut names: BTreeMap<u16, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Push => {
                        let oldest = open.first().copied().unwrap_or(pushed);
                        let room = pushed - oldest < u64::from(span);
                        prop_assert_eq!(window.has_room(), room);
                        prop_assert_eq!(window.push(pushed, now).is_ok(), room);
                        if room {
                            open.push(pushed);
                            nameless.push_back(pushed);
                            pushed += 1;
                        }
                    }
                    Step::Name => match nameless.pop_front() {
                        Some(ticket) => {
                            let id = ring.next();
                            prop_assert!(!names.contains_key(&id), "the ring came round to {} in use", id);
                            prop_assert_eq!(window.named(id), Ok(()));
                            names.insert(id, ticket);
                        }
                        None => prop_assert!(window.named(u16::MAX).is_err()),
                    },
                    Step::Ack(which) => {
                        if !names.is_empty() {
                            let (&id, &ticket) = names.iter().nth(which.index(names.len())).unwrap();
                            prop_assert_eq!(window.acked(id), Ok(ticket));
                            names.remove(&id);
                            open.retain(|other| *other != ticket);
                        }
                    }
                    Step::StrayAck(id) => {
                        if !names.contains_key(&id) {
                            prop_assert_eq!(window.acked(id), Err(WindowFault::UnknownAck { id }));
                        }
                    }
                    Step::LoseLine => {
                        prop_assert_eq!(window.take_back(), std::mem::take(&mut open));
                        names.clear();
                        nameless.clear();
                        ring.last = 0;
                    }
                }
                prop_assert_eq!(window.in_flight(), open.len());
                prop_assert_eq!(window.waiting_since().is_some(), !open.is_empty());
            }
        }
    }

    #[test]
    fn acks_out_of_order_keep_the_span_closed_until_the_oldest_comes() {
        let mut window = Window::new(3);
        let now = Instant::now();
        for ticket in ["a", "b", "c"] {
            window.push(ticket, now).unwrap();
        }
        for id in 1..=3 {
            window.named(id).unwrap();
        }
        assert_eq!(window.acked(2), Ok("b"));
        assert_eq!(window.acked(3), Ok("c"));
        assert_eq!(window.in_flight(), 1);
        assert!(!window.has_room(), "id 1 is still in use: a fourth message could come round to it");
        assert_eq!(window.push("d", now), Err("d"));
        assert_eq!(window.acked(1), Ok("a"));
        assert!(window.has_room());
    }

    #[test]
    fn an_ack_counts_once_and_only_after_its_message_was_sent() {
        let mut window = Window::new(2);
        window.push("a", Instant::now()).unwrap();
        assert_eq!(window.acked(1), Err(WindowFault::UnknownAck { id: 1 }), "not sent yet");
        window.named(1).unwrap();
        assert_eq!(window.acked(1), Ok("a"));
        assert_eq!(window.acked(1), Err(WindowFault::UnknownAck { id: 1 }), "acknowledged twice");
    }

    #[test]
    fn a_packet_id_in_use_is_not_given_twice() {
        let mut window = Window::new(3);
        window.push("a", Instant::now()).unwrap();
        window.push("b", Instant::now()).unwrap();
        window.named(1).unwrap();
        assert_eq!(window.named(1), Err(WindowFault::Reused { id: 1 }));
        assert_eq!(window.named(2), Ok(()));
        assert_eq!(window.named(3), Err(WindowFault::Nameless { id: 3 }));
        assert_eq!(window.take_back(), ["a", "b"]);
    }
}
