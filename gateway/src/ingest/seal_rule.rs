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

use std::{collections::HashMap, sync::Arc, time::Instant};

use segel_drivers::{AdvertRefusal, Heard, LockClaim, ReaderId, RefusedAdvert, SealAdvert, SealId, SealReading, codec::counter::Verdict};

use super::{
    Finding,
    counters::Counters,
    finding::note_json,
    judge::{Known, SealCounts, Thinning},
    memory::Memory,
    seal_body::{Body, CounterStanding},
    seal_change::{kinds_of_change, steps},
    telling::Tellings,
    watched::{Claim, Watched},
};
use crate::{
    clock::wall_of,
    event::{Assurance, Class, EventType, Subject},
    seals::{self, Presence, SEALS_MAX, SealSays, SealState},
};

#[derive(Debug)]
pub(super) struct SealRule {
    pub(super) thinning: Thinning,
    pub(super) known: Arc<Known>,
    pub(super) seals: HashMap<SealId, Watched>,
    counters: Counters,
    pub(super) tellings: Tellings,
    refusals: HashMap<(SealId, AdvertRefusal), Refusals>,
}

#[derive(Debug)]
struct Refusals {
    recorded_at: Instant,
    repeats: u64,
}

impl SealRule {
    pub(super) fn new(thinning: Thinning, known: Arc<Known>, memory: &Memory, now: Heard) -> Self {
        let watched = |state: &SealState| Watched::new(state.clone(), now.monotonic);
        let registered = memory.seals.iter().filter(|state| known.seals.contains_key(&state.seal));
        Self {
            thinning,
            seals: registered.take(SEALS_MAX).map(|state| (state.seal.clone(), watched(state))).collect(),
            counters: Counters::new(memory.counters.clone()),
            tellings: Tellings::new(memory.told.clone()),
            known,
            refusals: HashMap::new(),
        }
    }

    pub(super) fn on_advert(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert) -> Vec<Finding> {
        let standing = self.counters.stand(&advert.seal, advert.protection, heard.monotonic);
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
        watched.heard_at = now;
        watched.state.says.merge(&advert.reading);
        watched.doubtful.says = SealSays::default();
        watched.state.rssi_dbm = advert.rssi_dbm;
        // Against what is on record, not against the last message: what was held back below is not forgotten.
        let changed = watched.state.says.changed_from(&watched.recorded);
        let kinds = kinds_of_change(&watched.recorded, &watched.state.says);
        if !changed.is_empty() && assurance == Assurance::Claim && !watched.may_speak(now, self.thinning.heartbeat) {
            watched.repeats += 1;
            return Vec::new();
        }
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
        let first = First { seal: &advert.seal, rssi_dbm: advert.rssi_dbm, assurance: standing.assurance(), presence: Presence::InRange };
        self.begin(reader, heard, &first, &advert.reading);
        let mut says = SealSays::default();
        says.merge(&advert.reading);
        // A seal that arrives tampered with is an alarm; one that arrives open may simply not be in use.
        let mut kinds = kinds_of_change(&SealSays::default(), &says);
        if kinds.is_empty() {
            kinds.push((Class::Telemetry, EventType::DeviceStatus));
        }
        let registered = self.known.seals.contains_key(&advert.seal);
        let about = About { reason: "first_heard", changed: &[], repeats: 0, assurance: standing.assurance(), registered };
        self.findings(reader, advert, standing, &about, &kinds)
    }

    /// Begins to watch a seal.
    pub(super) fn begin(&mut self, reader: &ReaderId, heard: Heard, first: &First<'_>, reading: &SealReading) {
        self.make_room();
        let mut says = SealSays::default();
        says.merge(reading);
        let state = SealState {
            v: 1,
            seal: first.seal.clone(),
            equipment_reference: None,
            complaints: Vec::new(),
            stored_events: None,
            evidence: None,
            contradicts_evidence: Vec::new(),
            seal_condition: says.condition(),
            assurance: first.assurance,
            presence: first.presence,
            rssi_dbm: first.rssi_dbm,
            reader: String::new(),
            lane: None,
            event_date_time: wall_of(heard.wall),
            says,
        };
        let mut watched = Watched::new(state, heard.monotonic);
        watched.place(&self.known, reader, heard, first.assurance);
        watched.record(heard.monotonic);
        self.seals.insert(first.seal.clone(), watched);
    }

    /// A replayed or behind-the-counter message: recorded as such, and nothing is believed.
    fn on_doubtful(&mut self, reader: &ReaderId, heard: Heard, advert: &SealAdvert, standing: CounterStanding) -> Vec<Finding> {
        let now = heard.monotonic;
        let registered = self.known.seals.contains_key(&advert.seal);
        if !self.seals.contains_key(&advert.seal) {
            // Its counter is known and its state is not: the note was lost. Nothing it says now is a state either.
            let first =
                First { seal: &advert.seal, rssi_dbm: advert.rssi_dbm, assurance: standing.assurance(), presence: Presence::NotHeard };
            self.begin(reader, heard, &first, &SealReading::default());
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
        lost.iter().flat_map(|seal| self.on_lost(seal, now)).collect()
    }

    /// It is not heard any more; a change that was held back is told now.
    fn on_lost(&mut self, seal: &SealId, now: Heard) -> Vec<Finding> {
        let registered = self.known.seals.contains_key(seal);
        let Some(watched) = self.seals.get_mut(seal) else { return Vec::new() };
        let Ok(reader) = watched.state.reader.parse::<ReaderId>() else { return Vec::new() };
        let changed = watched.state.says.changed_from(&watched.recorded);
        let held_back = kinds_of_change(&watched.recorded, &watched.state.says);
        if !changed.is_empty() {
            // Only what anybody could have made up is ever held back, whatever was said before it.
            watched.state.assurance = Assurance::Claim;
            watched.state.conclude();
        }
        watched.state.presence = Presence::NotHeard;
        watched.state.event_date_time = wall_of(now.wall);
        let repeats = watched.record(now.monotonic);
        let state = &watched.state;
        let body = Body { state: Some(state), changed: &changed, ..Body::bare(&self.known, &reader, seal, "not_heard", repeats) };
        let lost = (Class::Telemetry, EventType::CommsLost, Assurance::Own);
        let kinds = held_back.into_iter().map(|(class, kind)| (class, kind, state.assurance)).chain([lost]);
        let finding = |(class, kind, assurance)| {
            let class = if registered { class } else { Class::Telemetry };
            let finding = Finding::new(class, kind, Subject::seal(seal), assurance, &body).on_container(self.known.container(seal));
            if registered { finding.with_note(note_json(seals::NOTE, seal.as_str(), state)) } else { finding }
        };
        kinds.map(finding).collect()
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
            let finding = Finding::new(class, *kind, Subject::seal(&advert.seal), about.assurance, &body);
            let finding = finding.on_container(state.equipment_reference.clone());
            // A stranger's state is kept nowhere: there is no end of strangers.
            if about.registered { finding.with_note(note_json(seals::NOTE, advert.seal.as_str(), &state)) } else { finding }
        };
        let findings: Vec<_> = kinds.iter().map(finding).collect();
        findings.into_iter().map(|finding| self.with_counter(finding, &advert.seal)).collect()
    }

    /// Keeps the seal's counter in the transaction of its event.
    fn with_counter(&mut self, finding: Finding, seal: &SealId) -> Finding {
        match self.counters.take_note(seal) {
            Some(note) => finding.with_note(note),
            None => finding,
        }
    }

    /// The counters, to be kept when they moved without an event.
    pub(super) fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// What of the seals' logs is on record.
    pub(super) fn tellings(&mut self) -> &mut Tellings {
        &mut self.tellings
    }

    pub(super) fn counts(&self) -> SealCounts {
        let in_range = self.seals.values().filter(|w| w.state.presence == Presence::InRange).count();
        SealCounts { in_range, known: self.seals.len() }
    }

    /// A stranger goes before a seal of the register, and among equals the one not heard for longest.
    fn make_room(&mut self) {
        let rank = |(seal, watched): &(&SealId, &Watched)| (self.known.seals.contains_key(*seal), watched.heard_at);
        if self.seals.len() >= SEALS_MAX
            && let Some(oldest) = self.seals.iter().min_by_key(rank).map(|(seal, _)| seal.clone())
        {
            self.seals.remove(&oldest);
        }
    }
}

/// A seal of which nothing was known.
pub(super) struct First<'a> {
    pub(super) seal: &'a SealId,
    pub(super) rssi_dbm: Option<i16>,
    pub(super) assurance: Assurance,
    pub(super) presence: Presence,
}

/// What the events of one advertisement have in common.
struct About<'a> {
    reason: &'static str,
    changed: &'a [&'static str],
    repeats: u64,
    assurance: Assurance,
    registered: bool,
}
