//! The timeouts, limits and intervals nobody may set, with their reasons: one table for `segel check`.
//!
//! The values are the constants and defaults of the parts themselves, so that the table cannot say anything else.

use std::time::Duration;

use segel_mqtt_bridge::{broker::Limits, uplink::UplinkConfig};

use crate::{api, archive, clock, config, event, forward, gate, health, ingest, journal, seals, sessions, space};

/// A limit fixed in code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// What is limited.
    pub name: &'static str,
    /// The limit.
    pub value: u64,
    /// Its unit.
    pub unit: &'static str,
    /// Why it is so.
    pub reason: &'static str,
}

fn time(name: &'static str, value: Duration, reason: &'static str) -> Fixed {
    Fixed { name, value: u64::try_from(value.as_millis()).unwrap_or(u64::MAX), unit: "ms", reason }
}

fn count(name: &'static str, value: usize, unit: &'static str, reason: &'static str) -> Fixed {
    Fixed { name, value: value as u64, unit, reason }
}

/// The whole table.
#[must_use]
pub fn fixed() -> Vec<Fixed> {
    let broker = Limits::default();
    let uplink = UplinkConfig::new("customs", 8883, "gate");
    vec![
        Fixed {
            name: "config: main file or drop-in",
            value: config::CONFIG_FILE_MAX_BYTES,
            unit: "bytes",
            reason: "a hundred times what the largest gate needs",
        },
        Fixed {
            name: "config: register of seals",
            value: config::SEALS_FILE_MAX_BYTES,
            unit: "bytes",
            reason: "some fifty thousand seals",
        },
        count("config: drop-ins", config::DROP_INS_MAX, "files", "a person still finds what overrides what"),
        count("config: faults shown", config::FAULTS_MAX, "faults", "a person repairs no more in one go"),
        count("event: particulars", event::BODY_MAX, "bytes", "sixteen times what a seal with all its fields takes"),
        count("journal: entries in line", journal::LINE, "entries", "several group commits; then the radios wait"),
        count("journal: value of a note", journal::NOTE_MAX, "bytes", "the state of one seal takes half a KiB"),
        time("journal: mark after an alarm or receipt", journal::MARK_SOON, "what a lost log could hide after a crash"),
        time("journal: mark after telemetry", journal::MARK_LATER, "replacing the mark costs the flash about as much as an event"),
        count(
            "gate: events carried over together",
            gate::bounds::CARRIED_TOGETHER,
            "events",
            "what happens now waits for no more than that",
        ),
        count("gate: events proved together", gate::bounds::PROVED_TOGETHER, "events", "a short read, so that the log can be given back"),
        time("gate: a look at the journal's structure", gate::bounds::STRUCTURE_WITHIN, "one long read, during which the log grows"),
        count(
            "gate: damaged events told one by one",
            gate::bounds::FINDINGS_TOLD,
            "findings",
            "a broken disk makes thousands; the rest is counted",
        ),
        count("gate: reports in line", gate::REPORTS_MAX, "reports", "a portal reader sends a few hundred a second"),
        time("gate: a part may take to end", gate::PART_DEADLINE, "together the parts end before the supervisor loses patience"),
        time("gate: last post at a stop", gate::LAST_POST, "a good line takes thousands of events in this time; the rest waits on disk"),
        count("ingest: entries on their way to disk", ingest::IN_FLIGHT_MAX, "entries", "four group commits"),
        time("ingest: look around", ingest::TICK, "silence of a seal is a matter of minutes; a moved counter is kept this soon"),
        time("ingest: a refusing journal is tried again, at first", ingest::RETRY_FIRST, "a full disk is not freed in less"),
        time("ingest: a refusing journal is tried again, at least", ingest::RETRY_CAP, "space that is back is used at once"),
        count(
            "ingest: reports that wait while the journal cannot be written",
            ingest::HELD_MAX,
            "reports",
            "a few MB; beyond it tags go first, counted",
        ),
        time("space: the disk is asked every", space::LOOK, "a disk fills in minutes, not seconds"),
        time(
            "space: the journal's writer comes round within",
            space::COMMIT_WITHIN,
            "longer than any commit that ends; beyond it the disk hangs",
        ),
        time("space: the disk may take to answer", space::ANSWER, "an alarm could not be written in time either"),
        count("space: inodes are few below", usize::try_from(space::INODES_LOW).unwrap_or(usize::MAX), "inodes", "the journal needs four"),
        count("seals: states in memory", seals::SEALS_MAX, "seals", "a port's whole stock of seals in sight at once, in a few MB"),
        count("tags: in view at once", ingest::TAGS_MAX, "tags", "a lane shows a handful"),
        time("clock: asked whether it is steered", clock::SYNC_PROBE_INTERVAL, "timedated starts on demand and stays half a minute"),
        time("clock: a step is a step from", clock::STEP_THRESHOLD, "NTP slews at most 0.5 ms a second"),
        time("health: said every", health::INTERVAL, "well under a third of the supervisor's watchdog time"),
        time("health: ingest counts as stuck after", health::INGEST_STUCK, "ten times its usual look around"),
        Fixed {
            name: "config: a file of one seal's key",
            value: config::KEY_FILE_MAX_BYTES,
            unit: "bytes",
            reason: "twenty times what a key and a password take",
        },
        count("config: files in a directory of keys", config::KEY_FILES_MAX, "files", "a port's whole stock of seals"),
        time("seals: an order may be given at most", sessions::WITHIN.2, "a seal that is not woken within ten minutes is not there"),
        count("seals: orders under way at once", sessions::ORDERS_MAX, "orders", "a gate has a handful of people"),
        time("api: an answer takes at most", api::ANSWER_DEADLINE, "it comes from memory and a few rows"),
        Fixed {
            name: "archive: a segment holds at most",
            value: archive::due::Limits::default().events,
            unit: "events",
            reason: "ten million events make 200 files",
        },
        Fixed {
            name: "archive: a segment holds at most",
            value: archive::due::Limits::default().bytes,
            unit: "bytes",
            reason: "any medium takes it in seconds, any tool opens it",
        },
        time("archive: what is due waits for company at most", archive::due::PATIENCE, "a quiet class makes one small file a day"),
        time("archive: a failing one is tried again, at least", gate::keeper::RETRY_CAP, "a disk that is back is taken up within minutes"),
        count("upstream: events read ahead per class", forward::upstream::READ_AHEAD, "events", "a fast line is busy between two reads"),
        count(
            "upstream: bytes read ahead per class",
            forward::upstream::READ_AHEAD_BYTES,
            "bytes",
            "what the line costs in memory, three times",
        ),
        time("uplink: a message waits for its acknowledgement", uplink.ack_timeout, "a broker that answers pings and nothing else is left"),
        Fixed {
            name: "monitors: behind by",
            value: forward::local::BACKLOG_MAX,
            unit: "events",
            reason: "monitors are shown what happens, not what happened",
        },
        time("monitors: time to say CONNECT", broker.connect_deadline, "a slow radio link needs two seconds"),
        time("monitors: may take nothing for", broker.stall, "then it is cut off and comes back to the present"),
        count("monitors: bytes waiting for one", broker.queue_bytes, "bytes", "a slow one is cut off instead of filling memory"),
        count("monitors: retained topics", broker.retained_topics, "topics", "a seal and a reader each take one"),
        count("monitors: retained bytes", broker.retained_bytes, "bytes", "all of them together"),
    ]
}
