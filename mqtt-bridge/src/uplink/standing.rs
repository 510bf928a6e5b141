//! Where the link stands: what a health page shows and what the gate decides by.

use std::time::Instant;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::fault::LineFault;

/// What the link is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// No line. The reason is a sentence a person can act on.
    Down {
        /// Why there is no line.
        reason: LineFault,
        /// Failed attempts since the link was last up.
        attempts: u32,
        /// When the next attempt begins (monotonic); `None` when none will be made.
        next_try: Option<Instant>,
    },
    /// Looking up the name, TCP, TLS, CONNECT.
    Connecting,
    /// Connected; the broker has not yet granted every command filter. Nothing is published.
    Subscribing,
    /// Connected and subscribed: messages go up, commands come down.
    Up,
}

impl Phase {
    /// Is the link up?
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// The link at one moment. Watchers are woken when the phase changes; the counters beside it are current whenever
/// they are read, but wake nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStanding {
    /// What the link is doing.
    pub phase: Phase,
    /// Since when it has been up or, in every other phase, since when it has not been up (monotonic).
    pub since: Instant,
    /// The last reason for which a line failed, kept while the link connects again and while it is up.
    pub last_fault: Option<LineFault>,
    /// Messages sent and not yet acknowledged.
    pub in_flight: usize,
    /// Parcels acknowledged by customs' broker.
    pub acked: u64,
    /// Parcels taken back from a lost line: each is sent again.
    pub resent: u64,
    /// Parcels that can never be sent.
    pub unsendable: u64,
    /// Lines on which CONNECT was accepted.
    pub connections: u64,
    /// Commands with the inbox now.
    pub commands_in_progress: usize,
    /// Commands the inbox has kept.
    pub commands_kept: u64,
}

impl LinkStanding {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Down { reason: LineFault::NotTriedYet, attempts: 0, next_try: Some(now) },
            since: now,
            last_fault: None,
            in_flight: 0,
            acked: 0,
            resent: 0,
            unsendable: 0,
            connections: 0,
            commands_in_progress: 0,
            commands_kept: 0,
        }
    }
}

/// The standing as the link writes it: wakes watchers and logs once per change of state, not once per attempt.
#[derive(Debug)]
pub(super) struct Board {
    shown: watch::Sender<LinkStanding>,
    attempts: u32,
    /// Troubles already logged since the link was last up.
    logged: Vec<LineFault>,
}

impl Board {
    pub(super) fn new(now: Instant) -> (Self, watch::Receiver<LinkStanding>) {
        let (shown, watcher) = watch::channel(LinkStanding::new(now));
        (Self { shown, attempts: 0, logged: Vec::new() }, watcher)
    }

    /// Change counters; wakes nobody.
    pub(super) fn count(&self, change: impl FnOnce(&mut LinkStanding)) {
        self.shown.send_if_modified(|standing| {
            change(standing);
            false
        });
    }

    pub(super) fn connecting(&self) {
        debug!("connecting to customs");
        self.shown.send_modify(|standing| standing.phase = Phase::Connecting);
    }

    pub(super) fn subscribing(&self) {
        debug!("connected to customs, subscribing");
        self.shown.send_modify(|standing| standing.phase = Phase::Subscribing);
    }

    pub(super) fn up(&mut self, now: Instant) {
        let down_for = now.saturating_duration_since(self.shown.borrow().since);
        info!(failed_attempts = self.attempts, ?down_for, "the link to customs is up");
        self.attempts = 0;
        self.logged.clear();
        self.shown.send_modify(|standing| {
            standing.phase = Phase::Up;
            standing.since = now;
        });
    }

    pub(super) fn down(&mut self, reason: LineFault, now: Instant, next_try: Option<Instant>) {
        let was_up = self.shown.borrow().phase.is_up();
        if !was_up {
            self.attempts = self.attempts.saturating_add(1);
        }
        if reason == LineFault::Stopped {
            info!("the link to customs was stopped");
        } else if self.logged.iter().any(|known| known.same_trouble(&reason)) {
            debug!(%reason, attempts = self.attempts, "still no link to customs");
        } else {
            warn!(%reason, "no link to customs; trying again");
            self.logged.push(reason.clone());
        }
        self.shown.send_modify(|standing| {
            if was_up {
                standing.since = now;
            }
            standing.in_flight = 0;
            standing.last_fault = Some(reason.clone());
            standing.phase = Phase::Down { reason, attempts: self.attempts, next_try };
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trouble_is_logged_once_until_the_link_was_up_again() {
        let now = Instant::now();
        let (mut board, watcher) = Board::new(now);
        let trouble = |seconds| LineFault::Silent { silent: Duration::from_secs(seconds) };
        for seconds in 0..100 {
            board.down(trouble(seconds), now, Some(now));
            board.down(LineFault::Closed, now, Some(now));
        }
        assert_eq!(board.logged, [trouble(0), LineFault::Closed], "once per kind, whatever the numbers in it");
        assert!(matches!(watcher.borrow().phase, Phase::Down { attempts: 200, .. }));
        board.up(now);
        assert!(board.logged.is_empty());
        board.down(LineFault::Closed, now, Some(now));
        assert!(matches!(watcher.borrow().phase, Phase::Down { attempts: 0, .. }), "the fall of a link that was up is no failed attempt");
        assert_eq!(board.logged, [LineFault::Closed]);
    }

    #[test]
    fn counters_wake_nobody_and_phases_do() {
        let (board, mut watcher) = Board::new(Instant::now());
        watcher.mark_unchanged();
        board.count(|standing| standing.acked += 1);
        assert!(!watcher.has_changed().expect("the board lives"));
        assert_eq!(watcher.borrow().acked, 1);
        board.connecting();
        assert!(watcher.has_changed().expect("the board lives"));
    }
}
