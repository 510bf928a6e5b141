//! What a seal's advertisement means against what was known of it.
//!
//! ```text
//!   advert ─► counter ─┬─ forward, first ─► merge into the last known state ─► changed? ─► event(s) now
//!                      │                                                       step, heartbeat ─► DEVICE_STATUS
//!                      │                                                       else counted as a repeat
//!                      └─ back, below the highest ─► never touches the state; recorded beside it as doubtful
//! ```
//!
//! What must hold: a change of a lock, a tamper flag, an opening or a fault is never thinned; a counter that goes
//! back is never silently accepted, whatever its value; a seal that is not in the register raises no alarm, so that
//! nobody with a transmitter fills the space that alarms are promised.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use segel_drivers::{
    AdvertRefusal, Heard, LockClaim, Protection, ReaderId, RefusedAdvert, SealAdvert, SealId,
    codec::counter::{CounterMemory, Verdict, judge},
};

use super::{
    Finding,
    finding::note_json,
    judge::{Known, SealCounts, Thinning},
    memory::Memory,
    seal_body::{Body, CounterStanding},
    seal_change::{kinds_of_change, steps},
};
use crate::{
    clock::wall_of,
    event::{Assurance, Class, EventType, Subject},
    journal::Note,
    seals::{self, Presence, SEALS_MAX, SealSays, SealState},
};

/// The kind of note a seal's message counter is kept under.
pub const COUNTER_NOTE: &str = "counter";

#[derive(Debug)]
pub(super) struct SealRule {
    thinning: Thinning,
    known: Arc<Known>,
    seals: HashMap<SealId, Watched>,
    counters: HashMap<SealId, CounterMemory>,
    unkept: HashSet<SealId>,
    refusals: HashMap<(SealId, AdvertRefusal), Refusals>,
}

/// One seal as it was last heard and as it was last recorded.
#[derive(Debug)]
struct Watched {
    state: SealState,
    recorded: SealSays,
    recorded_at: Instant,
    heard_at: Instant,
    repeats: u64,
    doubtful: Doubtful,
}

/// What was claimed while the seal's counter was behind; the state knows nothing of it.
#[derive(Debug, Default)]
struct Doubtful {
    says: SealSays,
    reset_at: Option<Instant>,
    recorded: HashMap<Claim, Instant>,
}

/// What of a doubtful claim is worth an event of its own. There are 27 of these, so a replayed recording, however it
/// is mixed, makes at most 27 events in a heartbeat, and a real tampering is still recorded at once.
type Claim = (Option<LockClaim>, Option<bool>, Option<bool>);

#[derive(Debug)]
struct Refusals {
    recorded_at: Instant,
    repeats: u64,
}

impl SealRule {
    pub(super) fn new(thinning: Thinning, known: Arc<Known>, memory: &Memory, now: Heard) -> Self {
        let watched = |state: &SealState| Watched {
            recorded: state.says.clone(),
            recorded_at: now.monotonic,
            heard_at: now.monotonic,
            repeats: 0,
            doubtful: Doubtful::default(),
            state: state.clone(),
        };
        Self {
            thinning,
            known,
            seals: memory.seals.iter().take(SEALS_MAX).map(|state| (state.seal.clone(), watched(state))).collect(),
            counters: memory.counters.clone(),
            unkept: HashSet::new(),
            refusals: HashMap::new(),
        }
    }

    pub(super) fn on_advert(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert) -> Vec<Finding> {
        let standing = match advert.protection {
            Protection::Plain => CounterStanding { verdict: None, counter: None, high: None },
            Protection::Keyed { counter } => {
                let (verdict, memory) = judge(self.counters.get(&advert.seal), counter);
                if self.counters.insert(advert.seal.clone(), memory) != Some(memory) {
                    self.unkept.insert(advert.seal.clone());
                }
                CounterStanding { verdict: Some(verdict), counter: Some(counter), high: Some(memory.high) }
            }
        };
        if standing.is_doubtful() {
            self.on_doubtful(reader, heard, advert, standing)
        } else {
            self.on_believed(reader, heard, advert, standing)
        }
    }

    fn on_believed(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert, standing: CounterStanding) -> Vec<Finding> {
        let now = heard.monotonic;
        let registered = self.known.seals.contains_key(&advert.seal);
        let assurance = standing.assurance();
        let Some(watched) = self.seals.get_mut(&advert.seal) else {
            return self.on_first(reader, heard, advert, standing);
        };
        // The same message again says nothing new, not even that its seal is still there: anybody can play it.
        if standing.verdict == Some(Verdict::Repeat) {
            watched.repeats += 1;
            return Vec::new();
        }
        let returned = watched.state.presence == Presence::NotHeard;
        let before = watched.state.says.clone();
        watched.heard_at = now;
        watched.state.says.merge(&advert.reading);
        watched.doubtful.says = SealSays::default();
        watched.state.rssi_dbm = advert.rssi_dbm;
        let changed = watched.state.says.changed_from(&before);
        let kinds = kinds_of_change(&before, &watched.state.says);
        let due = now.saturating_duration_since(watched.recorded_at) >= self.thinning.heartbeat;
        let stepped = steps(&self.thinning, &watched.recorded, &watched.state.says);
        let reason = match (returned, changed.is_empty(), stepped, due) {
            (true, ..) => "heard_again",
            (_, false, ..) => "change",
            (_, _, true, _) => "step",
            (_, _, _, true) => "heartbeat",
            _ => {
                watched.repeats += 1;
                return Vec::new();
            }
        };
        watched.state.presence = Presence::InRange;
        watched.place(&self.known, reader, heard, assurance);
        let repeats = watched.record(now);
        let mut kinds = kinds;
        if returned {
            kinds.insert(0, (Class::Telemetry, EventType::CommsRestored));
        } else if kinds.is_empty() {
            kinds.push((Class::Telemetry, EventType::DeviceStatus));
        }
        let about = About { reason, changed: &changed, repeats, assurance, registered };
        self.findings(reader, advert, standing, &about, &kinds)
    }

    fn on_first(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert, standing: CounterStanding) -> Vec<Finding> {
        self.make_room();
        let mut says = SealSays::default();
        says.merge(&advert.reading);
        let state = SealState {
            v: 1,
            seal: advert.seal.clone(),
            equipment_reference: None,
            seal_condition: says.condition(),
            assurance: standing.assurance(),
            presence: Presence::InRange,
            rssi_dbm: advert.rssi_dbm,
            reader: String::new(),
            lane: None,
            event_date_time: wall_of(heard.wall),
            says,
        };
        // A seal that arrives tampered with is an alarm; one that arrives open may simply not be in use.
        let mut kinds = kinds_of_change(&SealSays::default(), &state.says);
        if kinds.is_empty() {
            kinds.push((Class::Telemetry, EventType::DeviceStatus));
        }
        let mut watched = Watched {
            recorded: SealSays::default(),
            recorded_at: heard.monotonic,
            heard_at: heard.monotonic,
            repeats: 0,
            doubtful: Doubtful::default(),
            state,
        };
        watched.place(&self.known, reader, heard, standing.assurance());
        watched.record(heard.monotonic);
        self.seals.insert(advert.seal.clone(), watched);
        let registered = self.known.seals.contains_key(&advert.seal);
        let about = About { reason: "first_heard", changed: &[], repeats: 0, assurance: standing.assurance(), registered };
        self.findings(reader, advert, standing, &about, &kinds)
    }

    /// A replayed or behind-the-counter message: recorded as such, and nothing is believed.
    fn on_doubtful(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert, standing: CounterStanding) -> Vec<Finding> {
        let now = heard.monotonic;
        let registered = self.known.seals.contains_key(&advert.seal);
        if !self.seals.contains_key(&advert.seal) {
            // Its counter is known and its state is not: the note was lost or evicted. Begin with an empty one.
            let empty = SealAdvert { reading: segel_drivers::SealReading::default(), ..advert.clone() };
            drop(self.on_first(reader, heard, &empty, standing));
        }
        let Some(watched) = self.seals.get_mut(&advert.seal) else { return Vec::new() };
        let heartbeat = self.thinning.heartbeat;
        let due = |at: Option<&Instant>| at.is_none_or(|at| now.saturating_duration_since(*at) >= heartbeat);
        let doubtful = &mut watched.doubtful;
        let before = doubtful.says.clone();
        doubtful.says.merge(&advert.reading);
        let claimed = doubtful.says.clone();
        let claim: Claim = (claimed.lock, claimed.tamper, claimed.open);
        let reset = due(doubtful.reset_at.as_ref());
        if !reset && !due(doubtful.recorded.get(&claim)) {
            watched.repeats += 1;
            return Vec::new();
        }
        doubtful.recorded.insert(claim, now);
        if reset {
            doubtful.reset_at = Some(now);
        }
        let repeats = std::mem::take(&mut watched.repeats);
        let kind = if reset { EventType::CounterReset } else { EventType::DeviceStatus };
        let alarming = reset || claimed.tamper == Some(true) || claimed.lock == Some(LockClaim::Unlocked);
        let class = if registered && alarming { Class::Alarm } else { Class::Telemetry };
        let changed = claimed.changed_from(&before);
        let body = Body {
            reason: if reset { "counter_went_back" } else { "counter_below_highest" },
            changed: &changed,
            repeats,
            claimed: Some(&claimed),
            ..Body::about(&self.known, reader, advert, standing)
        };
        let finding = Finding::new(class, kind, Subject::seal(&advert.seal), Assurance::Doubtful, &body);
        let finding = finding.on_container(self.known.container(&advert.seal));
        vec![self.with_counter(finding, &advert.seal)]
    }

    pub(super) fn on_refused(&mut self, reader: &ReaderId, heard: Heard, refused: &RefusedAdvert) -> Vec<Finding> {
        let now = heard.monotonic;
        let key = (refused.seal.clone(), refused.why);
        let repeats = match self.refusals.get_mut(&key) {
            Some(known) if now.saturating_duration_since(known.recorded_at) < self.thinning.heartbeat => {
                known.repeats += 1;
                return Vec::new();
            }
            Some(known) => {
                known.recorded_at = now;
                std::mem::take(&mut known.repeats)
            }
            None => {
                if self.refusals.len() >= SEALS_MAX {
                    self.refusals.clear();
                }
                self.refusals.insert(key, Refusals { recorded_at: now, repeats: 0 });
                0
            }
        };
        let class = match refused.why {
            AdvertRefusal::PlainDespiteKey | AdvertRefusal::BadCode => Class::Alarm,
            AdvertRefusal::NoKey | AdvertRefusal::Malformed => Class::Telemetry,
        };
        let body = Body {
            address: Some(refused.address.to_string()),
            rssi_dbm: refused.rssi_dbm,
            refused_because: Some(refused.why),
            raw: Some(hex::encode(&refused.raw)),
            ..Body::bare(&self.known, reader, &refused.seal, "not_believed", repeats)
        };
        let finding = Finding::new(class, EventType::AdvertRefused, Subject::seal(&refused.seal), Assurance::Doubtful, &body);
        vec![finding.on_container(self.known.container(&refused.seal))]
    }

    /// Seals that fell silent.
    pub(super) fn on_tick(&mut self, now: Heard) -> Vec<Finding> {
        let lost_after = self.thinning.lost_after;
        let silent =
            |w: &Watched| w.state.presence == Presence::InRange && now.monotonic.saturating_duration_since(w.heard_at) >= lost_after;
        let lost: Vec<SealId> = self.seals.iter().filter(|(_, w)| silent(w)).map(|(seal, _)| seal.clone()).collect();
        lost.iter().filter_map(|seal| self.on_lost(seal, now)).collect()
    }

    fn on_lost(&mut self, seal: &SealId, now: Heard) -> Option<Finding> {
        let watched = self.seals.get_mut(seal)?;
        watched.state.presence = Presence::NotHeard;
        watched.state.event_date_time = wall_of(now.wall);
        let repeats = watched.record(now.monotonic);
        let reader = watched.state.reader.parse::<ReaderId>().ok()?;
        let state = &watched.state;
        let body = Body { state: Some(state), ..Body::bare(&self.known, &reader, seal, "not_heard", repeats) };
        let note = note_json(seals::NOTE, seal.as_str(), state);
        let finding = Finding::new(Class::Telemetry, EventType::CommsLost, Subject::seal(seal), Assurance::Own, &body);
        Some(finding.on_container(self.known.container(seal)).with_note(note))
    }

    fn findings(
        &mut self,
        reader: &ReaderId,
        advert: &SealAdvert,
        standing: CounterStanding,
        about: &About<'_>,
        kinds: &[(Class, EventType)],
    ) -> Vec<Finding> {
        let Some(watched) = self.seals.get(&advert.seal) else { return Vec::new() };
        let state = watched.state.clone();
        let body = Body {
            reason: about.reason,
            changed: about.changed,
            repeats: about.repeats,
            state: Some(&state),
            ..Body::about(&self.known, reader, advert, standing)
        };
        let finding = |(class, kind): &(Class, EventType)| {
            let class = if about.registered { *class } else { Class::Telemetry };
            let note = note_json(seals::NOTE, advert.seal.as_str(), &state);
            let finding = Finding::new(class, *kind, Subject::seal(&advert.seal), about.assurance, &body);
            finding.on_container(state.equipment_reference.clone()).with_note(note)
        };
        let findings: Vec<_> = kinds.iter().map(finding).collect();
        findings.into_iter().map(|finding| self.with_counter(finding, &advert.seal)).collect()
    }

    /// Keeps the seal's counter in the transaction of its event.
    fn with_counter(&mut self, finding: Finding, seal: &SealId) -> Finding {
        if !self.unkept.remove(seal) {
            return finding;
        }
        match self.counters.get(seal) {
            Some(memory) => finding.with_note(note_json(COUNTER_NOTE, seal.as_str(), memory)),
            None => finding,
        }
    }

    pub(super) fn take_unkept(&mut self) -> Vec<Note> {
        let counters = &self.counters;
        self.unkept.drain().filter_map(|seal| counters.get(&seal).map(|memory| note_json(COUNTER_NOTE, seal.as_str(), memory))).collect()
    }

    pub(super) fn counts(&self) -> SealCounts {
        let in_range = self.seals.values().filter(|w| w.state.presence == Presence::InRange).count();
        SealCounts { in_range, known: self.seals.len() }
    }

    fn make_room(&mut self) {
        if self.seals.len() >= SEALS_MAX
            && let Some(oldest) = self.seals.iter().min_by_key(|(_, w)| w.heard_at).map(|(seal, _)| seal.clone())
        {
            self.seals.remove(&oldest);
        }
    }
}

/// What the events of one advertisement have in common.
struct About<'a> {
    reason: &'static str,
    changed: &'a [&'static str],
    repeats: u64,
    assurance: Assurance,
    registered: bool,
}

impl Watched {
    fn place(&mut self, known: &Known, reader: &ReaderId, heard: Heard, assurance: Assurance) {
        self.state.equipment_reference = known.container(&self.state.seal);
        self.state.seal_condition = self.state.says.condition();
        self.state.assurance = assurance;
        self.state.reader = reader.to_string();
        self.state.lane = known.lane(reader);
        self.state.event_date_time = wall_of(heard.wall);
    }

    fn record(&mut self, now: Instant) -> u64 {
        self.recorded = self.state.says.clone();
        self.recorded_at = now;
        std::mem::take(&mut self.repeats)
    }
}
