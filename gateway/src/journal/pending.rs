//! Cursors on their way to disk: the latest per outlet and class, in memory, shared by all handles.
//!
//! A cursor is a hint, so nobody waits for it; only the highest counts, so this is as small as the number of outlets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::entry::Outlet;
use crate::event::{Class, Seq};

/// Positions to be written.
pub(super) type Cursors = BTreeMap<(Outlet, Class), Seq>;

/// The waiting positions, and the bell for the writer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    cursors: Mutex<Cursors>,
    bell: Notify,
}

impl Pending {
    /// Notes that an outlet confirmed everything up to `seq`.
    pub(super) fn advance(&self, outlet: &Outlet, class: Class, seq: Seq) {
        let mut cursors = self.lock();
        let first = cursors.is_empty();
        raise(&mut cursors, (outlet.clone(), class), seq);
        drop(cursors);
        if first {
            self.bell.notify_one();
        }
    }

    /// Takes what waits.
    pub(super) fn take(&self) -> Cursors {
        std::mem::take(&mut *self.lock())
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&self, taken: Cursors) {
        let mut cursors = self.lock();
        for (key, seq) in taken {
            raise(&mut cursors, key, seq);
        }
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Resolves when something begins to wait.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Cursors> {
        // A map of numbers is whole at every moment, whatever the holder of the lock died of.
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raise(cursors: &mut Cursors, key: (Outlet, Class), seq: Seq) {
    let place = cursors.entry(key).or_default();
    *place = (*place).max(seq);
}
