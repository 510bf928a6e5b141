//! Whether a session stands, which the scan waits for before it ends anything.
//!
//! Between a write that moves a seal and its judgement nothing may end a session but its own bounds. The scan and the
//! sessions live in one thread and end together, so a fault of the scan, or a rebuild, waits here until the session that
//! stands has ended; no other begins meanwhile.

use std::{cell::Cell, rc::Rc};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Inner {
    stands: Cell<bool>,
    closed: Cell<bool>,
    ended: Notify,
}

/// The one session of this adapter. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Visits(Rc<Inner>);

impl Visits {
    /// A connection is about to be made.
    pub(super) fn begin(&self) {
        self.0.stands.set(true);
    }

    /// The session is over, and its connection ended.
    pub(super) fn end(&self) {
        self.0.stands.set(false);
        self.0.ended.notify_one();
    }

    pub(super) fn stands(&self) -> bool {
        self.0.stands.get()
    }

    /// From now on none begins.
    pub(super) fn close(&self) {
        self.0.closed.set(true);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// A session has ended. One that ended before this call wakes it as well: whoever waits looks again.
    pub(super) async fn ended(&self) {
        self.0.ended.notified().await;
    }
}
