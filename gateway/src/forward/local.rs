//! From the journal to the monitors at the gate.
//!
//! Every event goes out as it stands on disk. Where a seal or a reader stands after it goes out as retained state, and
//! as flat numbers for a time series. Retained state lives in the broker's memory only, so it is published again from
//! the journal's notes at every start.
//!
//! Monitors are shown what happens, not what happened: after a long stall the oldest are skipped and the skipping is
//! logged. Customs gets them all the same, from the journal.

use std::{collections::BTreeSet, sync::Arc};

use segel_mqtt_bridge::{
    broker::{Broker, Keep},
    topic::{self, Place},
};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{event_topic, place};
use crate::{
    event::{Class, Seq, Source, Subject},
    ingest::{READER_NOTE, ReaderState},
    journal::{Heads, Journal, JournalError, JournalReader},
    seals::{self, SealState},
};

/// Events shown in one go.
const BATCH: usize = 128;
/// Bytes of events shown in one go.
const BATCH_BYTES: usize = 256 * 1024;
/// Monitors that are this many events behind are shown the newest instead.
pub(crate) const BACKLOG_MAX: u64 = 2_000;

/// The task that shows the journal to the monitors.
#[derive(Debug)]
pub struct Local {
    reader: JournalReader,
    heads: watch::Receiver<Heads>,
    broker: Arc<Broker>,
    place: Place,
    shown: [Seq; Class::ALL.len()],
}

impl Local {
    /// Begins with what is recorded from now on.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(journal: &Journal, broker: Arc<Broker>, source: &Source) -> Result<Self, JournalError> {
        let heads = journal.heads();
        let shown = std::array::from_fn(|index| heads.borrow().of(Class::ALL[index]));
        Ok(Self { reader: journal.reader()?, heads, broker, place: place(source), shown })
    }

    /// Shows what is recorded until told to stop, then what was recorded until then.
    pub async fn run(mut self, stop: CancellationToken) {
        self = blocking(self, Self::show_retained).await;
        loop {
            self = blocking(self, Self::show_new).await;
            tokio::select! {
                changed = self.heads.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
        }
        blocking(self, Self::show_new).await;
    }

    fn show_retained(&mut self) {
        for kind in [seals::NOTE, READER_NOTE] {
            match self.reader.notes(kind) {
                Ok(notes) => notes.iter().for_each(|note| self.show_state(kind, &note.value)),
                Err(fault) => tracing::error!(%fault, "retained state cannot be read back"),
            }
        }
    }

    fn show_new(&mut self) {
        let heads = *self.heads.borrow_and_update();
        let (mut touched, mut skipped) = (BTreeSet::new(), false);
        for (index, class) in Class::ALL.iter().enumerate() {
            let head = heads.of(*class);
            let behind = head.0.saturating_sub(self.shown[index].0);
            if behind > BACKLOG_MAX {
                tracing::warn!(class = class.as_str(), skipped = behind, "monitors were shown too little for too long; showing the newest");
                self.shown[index] = head;
                skipped = true;
            }
            while self.shown[index] < head {
                match self.show_some(*class, self.shown[index], head, &mut touched) {
                    Ok(shown) => self.shown[index] = shown,
                    Err(fault) => {
                        tracing::error!(%fault, "events cannot be read for the monitors");
                        self.shown[index] = head;
                        skipped = true;
                    }
                }
            }
        }
        if skipped {
            self.show_retained();
        }
        touched.iter().for_each(|subject| self.show_subject(subject));
    }

    /// Shows the next events of a class; the number up to which it is now shown.
    fn show_some(&self, class: Class, after: Seq, head: Seq, touched: &mut BTreeSet<Subject>) -> Result<Seq, JournalError> {
        let records = self.reader.after(class, after, BATCH, BATCH_BYTES)?;
        let last = records.last().map_or(head, |record| record.seq);
        for record in records {
            self.broker.publish(&event_topic(&self.place, &record.kind), &record.doc, Keep::Passing);
            touched.insert(record.subject);
        }
        Ok(last)
    }

    /// Shows where a seal or reader stands after everything that is on disk. The note says it: events of different
    /// classes are shown class by class, so the last one shown need not be the last that happened.
    fn show_subject(&self, subject: &Subject) {
        let (kind, key) = match subject.as_str().split_once('/') {
            Some(("seal", key)) => (seals::NOTE, key),
            Some(("reader", key)) => (READER_NOTE, key),
            _ => return,
        };
        match self.reader.note(kind, key) {
            Ok(Some(value)) => self.show_state(kind, &value),
            Ok(None) => {}
            Err(fault) => tracing::error!(%fault, subject = subject.as_str(), "a state cannot be read for the monitors"),
        }
    }

    fn show_state(&self, kind: &str, value: &[u8]) {
        if kind == READER_NOTE {
            if let Ok(state) = serde_json::from_slice::<ReaderState>(value) {
                self.show_json(topic::Class::State, &format!("reader-{}", state.reader), &state, Keep::Retained);
            }
        } else if let Ok(state) = serde_json::from_slice::<SealState>(value) {
            self.show_seal(&state);
        }
    }

    fn show_seal(&self, state: &SealState) {
        let key = format!("seal-{}", state.seal.as_str().to_ascii_lowercase());
        self.show_json(topic::Class::State, &key, state, Keep::Retained);
        self.show_json(topic::Class::Telemetry, &key, &SealNumbers::of(state), Keep::Passing);
    }

    fn show_json(&self, class: topic::Class, key: &str, value: &impl Serialize, keep: Keep) {
        let topic = self.place.topic(class, key);
        match topic.map_err(|fault| fault.to_string()).and_then(|topic| Ok((topic, serde_json::to_vec(value).map_err(|e| e.to_string())?)))
        {
            Ok((topic, payload)) => self.broker.publish(&topic, &payload, keep),
            Err(fault) => tracing::error!(key, fault, "a state could not be shown"),
        }
    }
}

/// Runs a step that reads from disk where it may block, and gives the task back.
async fn blocking(mut local: Local, step: fn(&mut Local)) -> Local {
    let done = tokio::task::spawn_blocking(move || {
        step(&mut local);
        local
    });
    done.await.expect("the steps read, parse and publish, and none of that panics")
}

/// A seal as flat numbers, for Telegraf and Grafana.
#[derive(Serialize)]
struct SealNumbers {
    t: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tampered: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery_pct: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voltage_mv: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_c: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rssi_dbm: Option<i16>,
}

impl SealNumbers {
    fn of(state: &SealState) -> Self {
        Self {
            t: state.event_date_time.as_second(),
            locked: state.says.lock.map(|lock| u8::from(lock == segel_drivers::LockClaim::Locked)),
            tampered: state.says.tamper.map(u8::from),
            battery_pct: state.says.battery_percent,
            voltage_mv: state.says.voltage_mv,
            temp_c: state.says.temperature_c,
            rssi_dbm: state.rssi_dbm,
        }
    }
}
