//! Tags in front of antennas: a read proves presence and nothing more.
//!
//! The first read of a tag at an antenna is recorded at once. While it stays, reads are counted and recorded once
//! per heartbeat; another antenna is a change. A tag that was not read for `tag_repeat` has left: what was counted
//! since is recorded then, so that the counts are complete.

use std::{collections::HashMap, sync::Arc, time::Instant};

use segel_drivers::{Epc, Heard, ReaderId, TagRead};
use serde::Serialize;

use super::{
    Finding,
    judge::{Known, Thinning},
};
use crate::event::{Assurance, Class, EventType, Subject};

/// Tags remembered at once, over all readers; the one read longest ago goes first. A lane shows a handful.
pub(crate) const TAGS_MAX: usize = 8_192;

#[derive(Debug)]
pub(super) struct TagRule {
    thinning: Thinning,
    known: Arc<Known>,
    seen: HashMap<(ReaderId, Epc), InView>,
}

#[derive(Debug)]
struct InView {
    last: TagRead,
    read_at: Instant,
    recorded_at: Instant,
    repeats: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    epc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<&'a str>,
    reader: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<String>,
    driver: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    antenna: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rssi_raw: Option<u8>,
    reason: &'static str,
    repeats: u64,
    raw: String,
}

impl TagRule {
    pub(super) fn new(thinning: Thinning, known: Arc<Known>) -> Self {
        Self { thinning, known, seen: HashMap::new() }
    }

    pub(super) fn on_read(&mut self, reader: &ReaderId, heard: Heard, read: &TagRead) -> Vec<Finding> {
        let now = heard.monotonic;
        let key = (reader.clone(), read.epc.clone());
        let (reason, repeats) = match self.seen.get_mut(&key) {
            Some(view) if now.saturating_duration_since(view.read_at) < self.thinning.tag_repeat => {
                view.read_at = now;
                let moved = view.last.antenna != read.antenna;
                view.last = read.clone();
                if moved {
                    ("antenna", view.record(now))
                } else if now.saturating_duration_since(view.recorded_at) >= self.thinning.heartbeat {
                    ("heartbeat", view.record(now))
                } else {
                    view.repeats += 1;
                    return Vec::new();
                }
            }
            left => {
                let repeats = left.map_or(0, |view| view.repeats);
                self.make_room();
                self.seen.insert(key, InView { last: read.clone(), read_at: now, recorded_at: now, repeats: 0 });
                ("first_read", repeats)
            }
        };
        vec![self.finding(reader, read, reason, repeats)]
    }

    fn finding(&self, reader: &ReaderId, read: &TagRead, reason: &'static str, repeats: u64) -> Finding {
        let seal = self.known.tags.get(&read.epc);
        let body = Body {
            epc: read.epc.to_string(),
            seal: seal.map(segel_drivers::SealId::as_str),
            reader: reader.as_str(),
            lane: self.known.lane(reader),
            driver: self.known.driver(reader),
            antenna: read.antenna,
            rssi_raw: read.rssi_raw,
            reason,
            repeats,
            raw: hex::encode(&read.raw),
        };
        Finding::new(Class::Telemetry, EventType::TagSeen, Subject::tag(&read.epc), Assurance::Presence, &body)
            .on_container(seal.and_then(|seal| self.known.container(seal)))
    }

    /// Tags that have left: what was counted since their last record is recorded, and they are forgotten.
    pub(super) fn on_tick(&mut self, now: Instant) -> Vec<Finding> {
        let gone = self.thinning.tag_repeat;
        let left: Vec<_> = self.seen.extract_if(|_, view| now.saturating_duration_since(view.read_at) >= gone).collect();
        let counted = left.into_iter().filter(|(_, view)| view.repeats > 0);
        counted.map(|((reader, _), view)| self.finding(&reader, &view.last, "left", view.repeats)).collect()
    }

    fn make_room(&mut self) {
        if self.seen.len() >= TAGS_MAX
            && let Some(oldest) = self.seen.iter().min_by_key(|(_, view)| view.read_at).map(|(key, _)| key.clone())
        {
            self.seen.remove(&oldest);
        }
    }
}

impl InView {
    fn record(&mut self, now: Instant) -> u64 {
        self.recorded_at = now;
        std::mem::take(&mut self.repeats)
    }
}
