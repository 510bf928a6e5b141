//! What the broker knows, shared by its connections and the test.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rumqttc::{Connect, ConnectReturnCode, LastWill};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::words::{Ack, Grant, Reading, Received, Sendoff};

#[derive(Debug)]
pub(super) struct Command {
    pub(super) what: Sendoff,
    pub(super) acknowledged: bool,
    /// It went with a session that was forgotten or wiped.
    pub(super) forgotten: bool,
    pub(super) deliveries: u32,
    /// On which connection it was last sent, under which packet id.
    pub(super) sent: Option<(u64, u16)>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) received: Vec<Received>,
    pub(super) connects: Vec<Connect>,
    pub(super) wills: Vec<LastWill>,
    pub(super) disconnects: u64,
    pub(super) sessions: HashMap<String, HashSet<String>>,
    pub(super) commands: Vec<Command>,
    pub(super) acks: Ack,
    pub(super) grant: Grant,
    pub(super) reading: Reading,
    pub(super) connect_answer: ConnectReturnCode,
    pub(super) drop_after: Option<usize>,
    pub(super) live: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Counts changes; wakes those who wait for a condition and the connections with something to send.
    pub(super) changed: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State {
            received: Vec::new(),
            connects: Vec::new(),
            wills: Vec::new(),
            disconnects: 0,
            sessions: HashMap::new(),
            commands: Vec::new(),
            acks: Ack::AtOnce,
            grant: Grant::AsAsked,
            reading: Reading::Awake,
            connect_answer: ConnectReturnCode::Success,
            drop_after: None,
            live: CancellationToken::new(),
        };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        result
    }
}
