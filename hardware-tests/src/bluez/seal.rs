//! A simulated seal's place in the emulated world: where it stands, what it meets.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use segel_drivers::sim::SimLock;
use uuid::Uuid;

use super::fault::{Armed, ConnectFault, NotifyFault, WriteFault};

/// The signal strength of a seal nobody said otherwise of, in dBm.
pub(super) const USUAL_RSSI: i16 = -60;

/// A simulated seal before the gate.
pub(super) struct Seal {
    lock: Arc<Mutex<dyn SimLock>>,
    pub(super) rssi: i16,
    /// Whether it can be heard and connected to.
    pub(super) present: bool,
    /// How often it advertises by itself; `turn` tells its present clock from one that was replaced.
    pub(super) every: Option<Duration>,
    pub(super) turn: u64,
    /// The service UUIDs in its advertisement; a filter of a scan looks at nothing else.
    pub(super) lists: Vec<Uuid>,
    /// The adapter that holds its link; a seal has one.
    pub(super) linked: Option<String>,
    pub(super) connect: Armed<ConnectFault>,
    pub(super) write: Armed<WriteFault>,
    pub(super) notify: Armed<NotifyFault>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("present", &self.present).field("linked", &self.linked).finish_non_exhaustive()
    }
}

impl Seal {
    pub(super) fn new(lock: Arc<Mutex<dyn SimLock>>) -> Self {
        Self {
            lock,
            rssi: USUAL_RSSI,
            present: true,
            every: None,
            turn: 0,
            lists: Vec::new(),
            linked: None,
            connect: Armed::default(),
            write: Armed::default(),
            notify: Armed::default(),
        }
    }

    /// The seal itself. A test must not hold it while it speaks to the emulator.
    pub(super) fn lock(&self) -> MutexGuard<'_, dyn SimLock + 'static> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
