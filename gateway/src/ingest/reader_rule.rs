//! The gate's own ears: which reader works, since when, and what it complains of.
//!
//! Both coming and going are events in the alarm class, so that they stay in order and are never dropped: whoever
//! reads the record must be able to tell an empty road from a deaf reader. Another reason for being down (a reader that
//! hung up is next one that is not there) is no second going: it is told as a state, and `since` stays. Coming up for
//! the first time after a start is no alarm but a fact of the record: from here on this reader was listening.

use std::{collections::BTreeMap, sync::Arc};

use segel_drivers::{Heard, ReaderId, Standing, Trouble};
use serde::{Deserialize, Serialize};

use super::{Finding, finding::note_json, judge::Known};
use crate::{
    clock::wall_of,
    event::{Assurance, Class, EventType, Subject},
};

/// The kind of note a reader's state is kept under.
pub const READER_NOTE: &str = "reader";

/// What the gate last knew of one reader. This is also the payload of its retained state topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReaderState {
    /// Version of this form.
    pub v: u8,
    /// The reader.
    pub reader: String,
    /// What drives it.
    pub driver: String,
    /// The lane it watches.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<String>,
    /// `up` or `down`.
    pub status: ReaderStatus,
    /// What it says it is, or why it is down and what to look at.
    pub detail: String,
    /// Since when, by this gate's clock.
    pub since: jiff::Timestamp,
}

/// Whether a reader works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderStatus {
    /// It answers.
    Up,
    /// It does not.
    Down,
}

#[derive(Debug)]
pub(super) struct ReaderRule {
    known: Arc<Known>,
    states: BTreeMap<String, ReaderState>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TroubleBody<'a> {
    reader: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<String>,
    driver: &'static str,
    trouble: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    antenna: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

impl ReaderRule {
    pub(super) fn new(known: Arc<Known>) -> Self {
        Self { known, states: BTreeMap::new() }
    }

    pub(super) fn on_standing(&mut self, reader: &ReaderId, heard: Heard, standing: &Standing) -> Vec<Finding> {
        let (kind, status, detail) = match standing {
            Standing::Up { detail } => (EventType::CommsRestored, ReaderStatus::Up, detail),
            Standing::Down { reason } => (EventType::CommsLost, ReaderStatus::Down, reason),
        };
        let as_before = self.states.get(reader.as_str()).filter(|before| before.status == status);
        let since = as_before.map_or_else(|| wall_of(heard.wall), |before| before.since);
        let (class, kind) = match (as_before, self.states.contains_key(reader.as_str()), status) {
            (Some(_), ..) => (Class::Telemetry, EventType::DeviceStatus),
            (None, false, ReaderStatus::Up) => (Class::Receipt, kind),
            (None, ..) => (Class::Alarm, kind),
        };
        let state = ReaderState {
            v: 1,
            reader: reader.to_string(),
            driver: self.known.driver(reader).to_owned(),
            lane: self.known.lane(reader),
            status,
            detail: detail.clone(),
            since,
        };
        self.states.insert(state.reader.clone(), state.clone());
        let note = note_json(READER_NOTE, reader.as_str(), &state);
        vec![Finding::new(class, kind, Subject::reader(reader), Assurance::Own, &state).with_note(note)]
    }

    pub(super) fn states(&self) -> BTreeMap<String, ReaderState> {
        self.states.clone()
    }

    pub(super) fn on_trouble(&mut self, reader: &ReaderId, trouble: &Trouble) -> Vec<Finding> {
        let (name, antenna, status, meaning, lost) = match trouble {
            Trouble::Antenna { antenna, status } => ("antenna", *antenna, Some(*status), None, None),
            Trouble::ReaderError { status, meaning } => ("reader_error", None, Some(*status), Some(*meaning), None),
            Trouble::Overrun { lost } => ("overrun", None, None, None, Some(*lost)),
        };
        let body = TroubleBody {
            reader: reader.as_str(),
            lane: self.known.lane(reader),
            driver: self.known.driver(reader),
            trouble: name,
            antenna,
            status,
            meaning,
            lost,
        };
        vec![Finding::new(Class::Alarm, EventType::ReaderTrouble, Subject::reader(reader), Assurance::Own, &body)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_antenna_is_an_alarm_that_names_it_where_it_is_known() {
        let mut rule = ReaderRule::new(Arc::new(Known::default()));
        for antenna in [Some(3), None] {
            let findings = rule.on_trouble(&"gate-in-1".parse().unwrap(), &Trouble::Antenna { antenna, status: 0xF8 });
            assert_eq!((findings.len(), findings[0].class), (1, Class::Alarm));
            let body = &findings[0].body;
            assert_eq!((&body["trouble"], &body["status"]), (&"antenna".into(), &0xF8.into()));
            assert_eq!(body.get("antenna").cloned(), antenna.map(Into::into));
        }
    }
}
