//! What the broker says of itself: numbers for the gate's own state, and a log that says each thing once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The same kind of trouble is logged again only after this long; in between it is only counted.
const AGAIN: Duration = Duration::from_secs(600);

/// Is the router alive?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterState {
    /// It carries messages.
    Up,
    /// It died or hangs, and a new one is being built; monitors are dropped and come back.
    Down,
}

/// How the broker stands; counters count since start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerStanding {
    /// Monitors connected now.
    pub clients: usize,
    /// Topics with a retained value now.
    pub retained: usize,
    /// Connections turned away: CONNECT refused, too late, unreadable, TLS failed, or no room.
    pub refused: u64,
    /// Monitors sent away because they published or broke the protocol.
    pub expelled: u64,
    /// Monitors cut off because they were too slow.
    pub cut_off: u64,
    /// Messages the gate handed over.
    pub published: u64,
    /// Messages that no monitor got live: too much under way, too large, or no router.
    pub lost: u64,
    /// Values that found no room among the retained ones.
    pub not_retained: u64,
    /// Routers built after one died.
    pub router_restarts: u64,
    /// Is the router alive?
    pub router: RouterState,
}

/// The writing end of the standing, and the memory of what was logged.
#[derive(Debug)]
pub(super) struct Ledger {
    standing: watch::Sender<BrokerStanding>,
    said: Mutex<HashMap<&'static str, Instant>>,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        let standing = BrokerStanding {
            clients: 0,
            retained: 0,
            refused: 0,
            expelled: 0,
            cut_off: 0,
            published: 0,
            lost: 0,
            not_retained: 0,
            router_restarts: 0,
            router: RouterState::Up,
        };
        Ledger { standing: watch::Sender::new(standing), said: Mutex::new(HashMap::new()) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<BrokerStanding> {
        self.standing.subscribe()
    }

    /// Writes a change that watchers should wake for.
    pub(super) fn note(&self, change: impl FnOnce(&mut BrokerStanding)) {
        self.standing.send_modify(change);
    }

    /// Writes a change that happens with every message; watchers see it when they next look.
    pub(super) fn note_quietly(&self, change: impl FnOnce(&mut BrokerStanding)) {
        self.standing.send_if_modified(|standing| {
            change(standing);
            false
        });
    }

    /// Should this kind of trouble be logged now?
    pub(super) fn speak(&self, kind: &'static str) -> bool {
        self.speak_at(kind, Instant::now())
    }

    fn speak_at(&self, kind: &'static str, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get(kind) {
            Some(before) if now.saturating_duration_since(*before) < AGAIN => false,
            _ => {
                said.insert(kind, now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_said_once_in_a_while() {
        let ledger = Ledger::new();
        let start = Instant::now();
        assert!(ledger.speak_at("slow", start));
        assert!(!ledger.speak_at("slow", start + AGAIN / 2));
        assert!(ledger.speak_at("other", start));
        assert!(ledger.speak_at("slow", start + AGAIN));
    }
}
