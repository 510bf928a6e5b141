//! Every registered seal and what is known of it: from the register, from the last state on record and from who hears it
//! now.

use std::{collections::HashMap, time::Instant};

use segel_drivers::{SealId, SealWord, Security};
use serde::{Deserialize, Serialize};

use super::Sessions;
use crate::{
    event::Assurance,
    journal::{JournalError, JournalReader},
    seals::{self, Presence, SealCondition, SealSays, SealState},
};

/// One seal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealLine {
    /// The seal.
    pub seal: SealId,
    /// What it speaks.
    pub protocol: String,
    /// How well that protects.
    pub security: Security,
    /// Why that is said.
    pub reason: String,
    /// How long ago an adapter heard it, in milliseconds; absent when none has since the gate started.
    pub heard_ago_ms: Option<u64>,
    /// Signal strength in dBm, as last heard.
    pub rssi_dbm: Option<i16>,
    /// The adapter that heard it last.
    pub adapter: Option<String>,
    /// Whether it counts as present; absent when it was never heard.
    pub presence: Option<Presence>,
    /// What it said last.
    pub says: SealSays,
    /// What it complains of.
    pub complaints: Vec<SealWord>,
    /// Condition in the words of EDIFACT 4517; absent when it was never heard.
    pub seal_condition: Option<SealCondition>,
    /// How far that can be believed; absent when it was never heard.
    pub assurance: Option<Assurance>,
    /// What of it contradicts what was read as evidence.
    pub contradicts_evidence: Vec<String>,
    /// When its state was last recorded.
    pub event_date_time: Option<jiff::Timestamp>,
    /// The container the register puts it on.
    pub container: Option<String>,
    /// Whether the gate has a key for it.
    pub has_key: bool,
    /// Whether the gate has a password for it.
    pub has_password: bool,
    /// Entries in its log that wait, as it last said.
    pub stored_events: Option<u32>,
}

/// The lines, by seal.
pub(super) fn lines(sessions: &Sessions, reader: &JournalReader) -> Result<Vec<SealLine>, JournalError> {
    let states = reader.notes(seals::NOTE)?;
    let states: HashMap<String, SealState> =
        states.into_iter().filter_map(|note| Some((note.key, serde_json::from_slice(&note.value).ok()?))).collect();
    let mut lines: Vec<_> = sessions.seals.values().map(|seat| line(sessions, seat, states.get(seat.known.seal.as_str()))).collect();
    lines.sort_by(|a, b| a.seal.cmp(&b.seal));
    Ok(lines)
}

fn line(sessions: &Sessions, seat: &super::Seat, state: Option<&SealState>) -> SealLine {
    let known = &seat.known;
    let rating = known.protocol.protocol().rating(known);
    let heard = seat.address.and_then(|address| sessions.counter.hearing(address));
    let ago = heard.as_ref().map(|(_, hearing)| Instant::now().saturating_duration_since(hearing.at));
    SealLine {
        seal: known.seal.clone(),
        protocol: known.protocol.to_string(),
        security: rating.security,
        reason: rating.reason.to_owned(),
        heard_ago_ms: ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        rssi_dbm: heard.as_ref().and_then(|(_, hearing)| hearing.rssi_dbm).or(state.and_then(|state| state.rssi_dbm)),
        adapter: heard.map(|(reader, _)| reader).or_else(|| state.map(|state| state.reader.clone())),
        presence: state.map(|state| state.presence),
        says: state.map(|state| state.says.clone()).unwrap_or_default(),
        complaints: state.map(|state| state.complaints.clone()).unwrap_or_default(),
        seal_condition: state.map(|state| state.seal_condition),
        assurance: state.map(|state| state.assurance),
        contradicts_evidence: state.map(|state| state.contradicts_evidence.clone()).unwrap_or_default(),
        event_date_time: state.map(|state| state.event_date_time),
        container: seat.container.clone(),
        has_key: known.credentials.key.is_some(),
        has_password: known.credentials.password.is_some(),
        stored_events: state.and_then(|state| state.stored_events),
    }
}
