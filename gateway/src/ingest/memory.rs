//! What earlier runs knew of seals and their counters, read back at start.
//!
//! Normally from the notes, which stand in the transactions of the events they belong to: a few rows however long the
//! journal is. When the notes are of another form (after an update) or gone, from the events themselves: every event
//! about a seal carries the whole state after it, its counter and the highest counter seen. That is a scan of the whole
//! journal, once, and the result is kept as notes again.

use std::collections::HashMap;

use segel_drivers::{CounterMemory, Memory as Told, SealEvent, SealId, SealWord};
use serde::Deserialize;

use super::{
    COUNTER_NOTE,
    finding::note_json,
    telling::{Course, TOLD_NOTE, ToldMemory},
};
use crate::{
    journal::{Filter, JournalError, JournalReader, Note, Place},
    seals::{self, SealState},
};

/// The kind and key of the note that says which form the others have.
const FORM_NOTE: (&str, &str) = ("projection", "seals");
/// The form of the notes this version writes. A new number makes every gate rebuild them once.
const FORM: u32 = 1;

/// Events read at a time while rebuilding.
const PAGE: usize = 512;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    /// Last known states, as kept under [`crate::seals::NOTE`].
    pub seals: Vec<SealState>,
    /// Message counters, as kept under [`super::COUNTER_NOTE`].
    pub counters: HashMap<SealId, CounterMemory>,
    /// What of the seals' own logs is on record, as kept under [`super::TOLD_NOTE`].
    pub told: HashMap<SealId, ToldMemory>,
}

/// How a memory came back.
#[derive(Debug)]
pub enum Recalled {
    /// From the notes.
    Kept(Memory),
    /// From the events; these notes are to be kept.
    Rebuilt(Memory, Vec<Note>),
}

/// What of an event's particulars a rebuild needs.
#[derive(Deserialize)]
struct Document {
    data: Body,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    seal: Option<SealId>,
    state: Option<SealState>,
    counter: Option<u32>,
    highest_counter: Option<u32>,
    word: Option<SealWord>,
    #[serde(default)]
    stored: bool,
    log_id: Option<u32>,
    log_number: Option<u32>,
    #[serde(default)]
    numbers_went_back: bool,
    device_time: Option<u64>,
    raw: Option<String>,
}

impl Memory {
    /// Reads back what earlier runs knew.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn recall(reader: &JournalReader) -> Result<Recalled, JournalError> {
        let form = reader.note(FORM_NOTE.0, FORM_NOTE.1)?;
        if form.is_some_and(|form| form == FORM.to_string().into_bytes()) {
            return Ok(Recalled::Kept(Self::from_notes(reader)?));
        }
        let memory = Self::from_events(reader)?;
        let notes = memory.notes();
        Ok(Recalled::Rebuilt(memory, notes))
    }

    /// A note that cannot be read is left out and said: a state then costs a repeated alarm and never a missed one; a
    /// counter is worse, so it is an error.
    fn from_notes(reader: &JournalReader) -> Result<Self, JournalError> {
        let mut memory = Self::default();
        for note in reader.notes(seals::NOTE)? {
            match serde_json::from_slice(&note.value) {
                Ok(state) => memory.seals.push(state),
                Err(fault) => tracing::warn!(seal = note.key, %fault, "a seal's last state cannot be read back"),
            }
        }
        for note in reader.notes(COUNTER_NOTE)? {
            match (note.key.parse::<SealId>(), serde_json::from_slice(&note.value)) {
                (Ok(seal), Ok(counter)) => drop(memory.counters.insert(seal, counter)),
                _ => tracing::error!(seal = note.key, "a seal's counter cannot be read back; a replay may pass as its first message"),
            }
        }
        for note in reader.notes(TOLD_NOTE)? {
            match (note.key.parse::<SealId>(), serde_json::from_slice(&note.value)) {
                (Ok(seal), Ok(told)) => drop(memory.told.insert(seal, told)),
                _ => tracing::warn!(seal = note.key, "what a seal has told cannot be read back; what it tells again is recorded again"),
            }
        }
        Ok(memory)
    }

    /// The newest state of each seal, in the order of recording, and the highest counters any event names.
    fn from_events(reader: &JournalReader) -> Result<Self, JournalError> {
        let mut states: HashMap<SealId, SealState> = HashMap::new();
        let mut memory = Self::default();
        let mut place = Place::default();
        loop {
            let records = reader.since(&Filter::default(), &mut place, PAGE)?;
            if records.is_empty() {
                break;
            }
            let about_seals = records.iter().filter(|record| record.subject.as_str().starts_with("seal/"));
            for Document { data } in about_seals.filter_map(|record| serde_json::from_slice(&record.doc).ok()) {
                memory.take_counter(&data);
                memory.take_told(&data);
                states.extend(data.state.map(|state| (state.seal.clone(), state)));
            }
        }
        memory.seals = states.into_values().collect();
        Ok(memory)
    }

    fn take_counter(&mut self, data: &Body) {
        if let (Some(seal), Some(current), Some(high)) = (&data.seal, data.counter, data.highest_counter) {
            let kept = self.counters.entry(seal.clone()).or_insert(CounterMemory { high, current });
            kept.high = kept.high.max(high);
            kept.current = current;
        }
    }

    fn take_told(&mut self, data: &Body) {
        let (Some(seal), Some(word)) = (&data.seal, data.word) else { return };
        let memory = match (data.stored, data.log_id) {
            (true, Some(log)) => Told::Stored { log },
            (true, None) => return,
            (false, _) => Told::Live,
        };
        let Ok(raw) = hex::decode(data.raw.as_deref().unwrap_or_default()) else { return };
        let event = SealEvent { word, number: data.log_number, device_time: data.device_time, raw };
        self.told.entry(seal.clone()).or_default().take_event(memory, &event, Course::of(data.numbers_went_back));
    }

    fn notes(&self) -> Vec<Note> {
        let states = self.seals.iter().map(|state| note_json(seals::NOTE, state.seal.as_str(), state));
        let counters = self.counters.iter().map(|(seal, counter)| note_json(COUNTER_NOTE, seal.as_str(), counter));
        let told = self.told.iter().map(|(seal, told)| note_json(TOLD_NOTE, seal.as_str(), told));
        let form = Note::keep(FORM_NOTE.0, FORM_NOTE.1, FORM.to_string());
        states.chain(counters).chain(told).chain([form]).collect()
    }
}
