//! What all parts of a broker share: the numbering of messages, the retained values, the router of the moment.
//!
//! What must hold: a message gets its number, its place among the retained values and its place on the way to the
//! router in one step under one lock, so that a snapshot and what follows it never overlap or leave a gap. The lock is
//! never held across a wait; taking a snapshot copies references only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Keep;
use super::guests::Guests;
use super::limits::Limits;
use super::message::Message;
use super::monitor::Snapshot;
use super::retained::{Kept, Retained};
use super::spine::{RouterGone, Spine};
use super::standing::Ledger;

struct Flow {
    /// Number of the last message.
    last: u64,
    retained: Retained,
    spine: Option<Arc<Spine>>,
    /// Something was lost and nothing has been carried since: a mark must follow, or monitors would not notice.
    gap: bool,
}

impl Flow {
    /// One step: number, retained value, on its way. True when the router has it.
    fn carry(&mut self, topic: &str, payload: &[u8], keep: Keep, most: usize) -> (bool, Kept) {
        self.last += 1;
        let before = self.spine.as_ref().map_or(0, |spine| spine.sent());
        let (frame, message) = Message::framed(self.last, before, topic, payload);
        let kept = match keep {
            Keep::Retained => self.retained.keep(&message),
            Keep::Passing => Kept::Stands,
        };
        let taken = self.spine.as_ref().is_some_and(|spine| spine.carry(frame, most));
        self.gap = !taken;
        (taken, kept)
    }
}

/// See the head of this file.
pub(super) struct Core {
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) guests: Guests,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    flow: Mutex<Flow>,
}

impl Core {
    pub(super) fn new(limits: Limits, spine: Arc<Spine>) -> Core {
        let retained = Retained::new(limits.retained_topics, limits.retained_bytes);
        Core {
            limits,
            ledger: Ledger::new(),
            guests: Guests::new(limits.clients),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            flow: Mutex::new(Flow { last: 0, retained, spine: Some(spine), gap: false }),
        }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a message, keeps it if asked, and sends it on its way. Never waits for anybody.
    pub(super) fn publish(&self, topic: &str, payload: &[u8], keep: Keep) {
        let fits = payload.len() <= self.limits.payload_bytes;
        let (taken, kept, retained) = {
            let mut flow = self.flow();
            let (taken, kept) = if fits {
                flow.carry(topic, payload, keep, self.limits.transit_bytes)
            } else {
                // what stood there is no longer true
                flow.retained.forget(topic);
                flow.gap |= keep == Keep::Retained;
                flow.last += u64::from(keep == Keep::Retained);
                (false, Kept::Stands)
            };
            (taken, kept, flow.retained.len())
        };
        self.ledger.note_quietly(|s| {
            s.published += 1;
            s.retained = retained;
        });
        if kept == Kept::NoRoom {
            self.ledger.note(|s| s.not_retained += 1);
            if self.ledger.speak("no room") {
                warn!(topic, "no room for another retained value; monitors that connect later will not see it");
            }
        }
        match (taken, fits) {
            (true, _) => {}
            (false, true) => self.lose("too much under way, or no router", topic),
            (false, false) => self.lose("larger than the broker carries", topic),
        }
    }

    /// Sends a mark after a loss, as soon as there is room; called now and then.
    pub(super) fn mark_gap(&self) {
        let mut flow = self.flow();
        if flow.gap {
            flow.carry("", b"", Keep::Passing, self.limits.transit_bytes);
        }
    }

    fn lose(&self, reason: &'static str, topic: &str) {
        self.ledger.note(|s| s.lost += 1);
        if self.ledger.speak(reason) {
            warn!(topic, reason, "a message does not reach the monitors on this machine's broker; the journal has it");
        }
    }

    /// What is retained now.
    pub(super) fn snapshot(&self) -> Snapshot {
        let flow = self.flow();
        Snapshot { number: flow.last, messages: flow.retained.all() }
    }

    /// Number of the last message.
    pub(super) fn last(&self) -> u64 {
        self.flow().last
    }

    /// The router of the moment.
    pub(super) fn spine(&self) -> Result<Arc<Spine>, RouterGone> {
        self.flow().spine.clone().ok_or(RouterGone)
    }

    /// Puts another router, or none, in place of the one before.
    pub(super) fn set_spine(&self, spine: Option<Arc<Spine>>) {
        self.flow().spine = spine;
    }
}
