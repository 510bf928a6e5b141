//! Where the link stands: what a health page shows and what the gate decides by.

use std::time::Instant;

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
    /// Since when (monotonic). For `Down`, since the link was lost, not since the last attempt.
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
    /// Commands not handed to the inbox because they were longer than `max_payload_in`.
    pub commands_too_long: u64,
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
            commands_too_long: 0,
        }
    }
}
