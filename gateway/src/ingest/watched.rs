//! One seal: as it was last heard, as it was last recorded, and what was claimed in its name.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use segel_drivers::{Heard, LockClaim, ReaderId};

use super::judge::Known;
use crate::{
    clock::wall_of,
    event::Assurance,
    seals::{SealSays, SealState},
};

/// Unauthenticated changes of one seal recorded within a heartbeat. A seal that is handled makes a handful; beyond this
/// somebody plays with it, and alarms have space that nobody with a transmitter may fill.
const CLAIMED_CHANGES_MAX: u32 = 24;

/// One seal as it was last heard and as it was last recorded.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) state: SealState,
    pub(super) recorded: SealSays,
    pub(super) recorded_at: Instant,
    pub(super) heard_at: Instant,
    pub(super) repeats: u64,
    pub(super) doubtful: Doubtful,
    /// When each complaint (by its word's number) was last an event in this run; no more than there are words.
    pub(super) complained_at: HashMap<u8, Instant>,
    burst: Burst,
}

/// Changes anybody with a transmitter could have made up, within one heartbeat.
#[derive(Debug, Default)]
pub(super) struct Burst {
    since: Option<Instant>,
    spoken: u32,
}

/// What was claimed while the seal's counter was behind; the state knows nothing of it.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    pub(super) says: SealSays,
    pub(super) reset_at: Option<Instant>,
    pub(super) recorded: HashMap<Claim, Instant>,
}

/// What of a doubtful claim is worth an event of its own. There are 27 of these, so a replayed recording, however it
/// is mixed, makes at most 27 events in a heartbeat, and a real tampering is still recorded at once.
pub(super) type Claim = (Option<LockClaim>, Option<bool>, Option<bool>);

impl Watched {
    /// A seal from now on, as known.
    pub(super) fn new(state: SealState, now: Instant) -> Self {
        let recorded = state.says.clone();
        let (doubtful, burst) = (Doubtful::default(), Burst::default());
        Self { state, recorded, recorded_at: now, heard_at: now, repeats: 0, doubtful, complained_at: HashMap::new(), burst }
    }

    /// Whether one more unauthenticated change may make events now. What is held back is still the state, and is told
    /// with the first message after the heartbeat.
    pub(super) fn may_speak(&mut self, now: Instant, heartbeat: Duration) -> bool {
        if self.burst.since.is_none_or(|since| now.saturating_duration_since(since) >= heartbeat) {
            self.burst = Burst { since: Some(now), spoken: 0 };
        }
        self.burst.spoken += 1;
        self.burst.spoken <= CLAIMED_CHANGES_MAX
    }

    pub(super) fn place(&mut self, known: &Known, reader: &ReaderId, heard: Heard, assurance: Assurance) {
        self.state.equipment_reference = known.container(&self.state.seal);
        self.state.conclude();
        self.state.assurance = assurance;
        self.state.reader = reader.to_string();
        self.state.lane = known.lane(reader);
        self.state.event_date_time = wall_of(heard.wall);
    }

    pub(super) fn record(&mut self, now: Instant) -> u64 {
        self.recorded = self.state.says.clone();
        self.recorded_at = now;
        std::mem::take(&mut self.repeats)
    }
}
