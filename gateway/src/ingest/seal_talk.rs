//! What a seal says over a connection: its state, and what happened to it.
//!
//! What must hold: only what was said in a session in which the seal proved itself is evidence; everything else, however
//! it was come by, is a claim. A complaint is an event once, when it begins. What a seal hands over out of its log is never
//! telemetry, because the seal deletes it once it is confirmed; it is marked as history and changes no state.

use segel_drivers::{Heard, Memory as Told, ReaderId, SealEvent, SealId, SealRead, SealReading, SealTold, SealWord, Security};
use serde::Serialize;

use super::{
    Finding,
    finding::note_json,
    seal_body::Body,
    seal_change::{Proof, kind_of_word, kinds_of_change, kinds_of_complaints},
    seal_rule::{First, SealRule},
    telling::{Course, EntryStanding, LIVE_SAME, Promise, TOLD_MAX, Telling},
};
use crate::{
    clock::wall_of,
    event::{Assurance, Class, EventType, Subject},
    seals::{self, Presence, Proven, SealSays, SealState},
};

/// How far what was said over a session can be believed.
fn assurance(security: Security) -> Assurance {
    match security {
        Security::Authenticated => Assurance::Evidence,
        Security::Weak | Security::ClaimOnly => Assurance::Claim,
    }
}

/// The particulars of something a seal told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldBody<'a> {
    seal: &'a SealId,
    reason: &'static str,
    word: SealWord,
    memory: &'static str,
    stored: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_before: Option<u32>,
    #[serde(skip_serializing_if = "is_false")]
    numbers_went_back: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<u64>,
    security: Security,
    driver: &'static str,
    reader: &'a ReaderId,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a SealState>,
    raw: String,
}

impl SealRule {
    pub(super) fn on_read(&mut self, reader: &ReaderId, heard: Heard, read: &SealRead) -> Vec<Finding> {
        let (status, now) = (&read.status, heard.monotonic);
        let assurance = assurance(status.security);
        let registered = self.known.seals.contains_key(&read.seal);
        let first = !self.seals.contains_key(&read.seal);
        if first {
            let first = First { seal: &read.seal, rssi_dbm: read.rssi_dbm, assurance, presence: Presence::InRange };
            self.begin(reader, heard, &first, &SealReading::default());
        }
        let Some(watched) = self.seals.get_mut(&read.seal) else { return Vec::new() };
        let returned = watched.state.presence == Presence::NotHeard;
        watched.heard_at = now;
        watched.doubtful.says = SealSays::default();
        let state = &mut watched.state;
        state.presence = Presence::InRange;
        state.says.merge(&status.reading);
        state.rssi_dbm = read.rssi_dbm.or(state.rssi_dbm);
        state.stored_events = status.stored.or(state.stored_events);
        let had = std::mem::replace(&mut state.complaints, sorted(&status.complaints));
        let proof = (assurance == Assurance::Evidence).then(|| {
            let says = &state.says;
            // What it did not say now it did not prove now; what it said before is not taken for proven.
            let reading = &status.reading;
            let proven = Proven {
                lock: reading.lock.and(says.lock),
                tamper: reading.tamper.and(says.tamper),
                open: reading.open.and(says.open),
                complaints: state.complaints.clone(),
                event_date_time: wall_of(heard.wall),
            };
            let proof = Proof::of(state.evidence.as_ref(), &proven, &watched.recorded, says);
            state.evidence = Some(proven);
            proof
        });
        let mut changed = watched.state.says.changed_from(&watched.recorded);
        let (mut kinds, class, reason) = match proof {
            Some(Proof { kinds, refutes, class }) => (kinds, class, if refutes { "evidence_differs" } else { "read" }),
            None => (kinds_of_change(&watched.recorded, &watched.state.says), Class::Telemetry, "read"),
        };
        for kind in kinds_of_complaints(&had, &watched.state.complaints, &watched.recorded, &kinds) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for word in watched.state.complaints.iter().filter(|word| !had.contains(word)) {
            watched.complained_at.insert(*word as u8, now);
        }
        if had.iter().any(|word| !watched.state.complaints.contains(word)) {
            self.tellings.complaint_over(&read.seal);
        }
        if had != watched.state.complaints {
            changed.push("complaints");
        }
        watched.place(&self.known, reader, heard, assurance);
        let repeats = watched.record(now);
        let returns = returned && !first;
        // New evidence is never carried by something that may be dropped.
        if kinds.is_empty() && (!returns || class == Class::Receipt) {
            kinds.push((class, EventType::DeviceStatus));
        }
        if returns {
            kinds.insert(0, (Class::Telemetry, EventType::CommsRestored));
        }
        let state = watched.state.clone();
        let body = Body { reason, changed: &changed, repeats, state: Some(&state), ..Body::read(&self.known, reader, read) };
        let finding = |(class, kind): &(Class, EventType)| {
            let class = if registered { *class } else { Class::Telemetry };
            let finding = Finding::new(class, *kind, Subject::seal(&read.seal), assurance, &body);
            let finding = finding.on_container(state.equipment_reference.clone());
            if registered { finding.with_note(note_json(seals::NOTE, read.seal.as_str(), &state)) } else { finding }
        };
        kinds.iter().map(finding).collect()
    }

    pub(super) fn on_told(&mut self, reader: &ReaderId, heard: Heard, told: &SealTold) -> Telling {
        let registered = self.known.seals.contains_key(&told.seal);
        let mut marks = self.tellings.begin(&told.seal, heard.monotonic);
        let mut findings = Vec::new();
        let (mut all_covered, mut whole) = (true, registered && told.events.len() <= TOLD_MAX);
        for event in told.events.iter().take(TOLD_MAX) {
            match self.tellings.stand(&mut marks, told.memory, event) {
                EntryStanding::Covered => {}
                EntryStanding::OnTheWay => (all_covered, whole) = (false, false),
                EntryStanding::New { missed_before, course } => {
                    all_covered = false;
                    findings.extend(self.told_one(reader, heard, told, event, (missed_before, course)));
                }
            }
        }
        if let Some(last) = findings.last_mut().filter(|_| registered) {
            last.notes.push(self.tellings.note(&marks));
            self.tellings.sent(&marks, heard.monotonic);
        }
        let promise = match (whole, all_covered) {
            (false, _) => Promise::Not,
            (true, true) => Promise::Now,
            (true, false) => Promise::WhenOnDisk,
        };
        Telling { findings, marks, promise }
    }

    /// One entry. A live word that the state says already is no news, unless it has a number or a time that tells it apart,
    /// or was not told for an hour.
    fn told_one(
        &mut self,
        reader: &ReaderId,
        heard: Heard,
        told: &SealTold,
        event: &SealEvent,
        (missed, course): (u32, Course),
    ) -> Option<Finding> {
        let registered = self.known.seals.contains_key(&told.seal);
        let assurance = assurance(told.security);
        let (class, kind) = kind_of_word(event.word);
        let (log_id, stored) = match told.memory {
            Told::Live => (None, false),
            Told::Stored { log } => (Some(log), true),
        };
        let mut state = None;
        if !stored && class == Class::Alarm {
            let (with, news) = self.complains(reader, heard, told, event.word)?;
            if news == News::No && event.number.is_none() && event.device_time.is_none() {
                return None;
            }
            state = Some(with);
        }
        let class = match (registered, stored, class) {
            (false, ..) => Class::Telemetry,
            (true, true, Class::Telemetry) => Class::Receipt,
            (true, ..) => class,
        };
        let body = ToldBody {
            seal: &told.seal,
            reason: "told",
            word: event.word,
            memory: if stored { "stored" } else { "live" },
            stored,
            log_id,
            log_number: event.number,
            missed_before: (missed > 0).then_some(missed),
            numbers_went_back: course == Course::Back,
            device_time: event.device_time,
            security: told.security,
            driver: self.known.driver(reader),
            reader,
            address: told.address.to_string(),
            state: state.as_ref(),
            raw: hex::encode(&event.raw),
        };
        let finding = Finding::new(class, kind, Subject::seal(&told.seal), assurance, &body).on_container(self.known.container(&told.seal));
        Some(match state.filter(|_| registered) {
            Some(state) => finding.with_note(note_json(seals::NOTE, told.seal.as_str(), &state)),
            None => finding,
        })
    }

    /// The seal's state with this complaint, and whether that is news.
    fn complains(&mut self, reader: &ReaderId, heard: Heard, told: &SealTold, word: SealWord) -> Option<(SealState, News)> {
        let assurance = assurance(told.security);
        if !self.seals.contains_key(&told.seal) {
            let first = First { seal: &told.seal, rssi_dbm: None, assurance, presence: Presence::InRange };
            self.begin(reader, heard, &first, &SealReading::default());
        }
        let watched = self.seals.get_mut(&told.seal)?;
        let now = heard.monotonic;
        let lately = watched.complained_at.get(&(word as u8)).is_some_and(|at| now.saturating_duration_since(*at) < LIVE_SAME);
        let mut news = if lately && watched.state.complaints.contains(&word) { News::No } else { News::Yes };
        // What was only claimed is news again when it is proved.
        if assurance == Assurance::Evidence && watched.state.prove_complaint(word, wall_of(heard.wall)) {
            news = News::Yes;
        }
        if news == News::Yes {
            watched.complained_at.insert(word as u8, now);
            watched.state.complaints.push(word);
            watched.state.complaints = sorted(&watched.state.complaints);
        } else {
            watched.repeats += 1;
        }
        watched.heard_at = heard.monotonic;
        watched.place(&self.known, reader, heard, assurance);
        Some((watched.state.clone(), news))
    }
}

/// Whether a complaint was not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Yes,
    No,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_false(is: &bool) -> bool {
    !*is
}

/// Complaints in one order, each once, so that the same ones are equal.
fn sorted(words: &[SealWord]) -> Vec<SealWord> {
    let mut words = words.to_vec();
    words.sort_by_key(|word| *word as u8);
    words.dedup();
    words
}
