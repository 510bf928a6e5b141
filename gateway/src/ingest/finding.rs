//! What a report turned out to mean: an event before it has a time and a number.

use serde::Serialize;

use crate::{
    event::{Assurance, Class, Draft, DraftError, EventType, Stamp, Subject},
    journal::{Entry, Note},
};

/// One event to be recorded, with the notes that belong to its transaction.
#[derive(Debug, Clone)]
pub struct Finding {
    /// How urgent, and whether it may ever be dropped.
    pub class: Class,
    /// What happened.
    pub kind: EventType,
    /// To whom.
    pub subject: Subject,
    /// The container the register puts that seal on.
    pub container: Option<String>,
    /// How far it can be believed.
    pub assurance: Assurance,
    /// The particulars.
    pub body: serde_json::Value,
    /// Last known states that change with it.
    pub notes: Vec<Note>,
}

impl Finding {
    /// A finding without container or notes.
    ///
    /// # Panics
    /// Never for the bodies of this crate: they are structs with text keys.
    #[must_use]
    pub fn new(class: Class, kind: EventType, subject: Subject, assurance: Assurance, body: &impl Serialize) -> Self {
        let body = serde_json::to_value(body).expect("bodies are structs and maps with text keys, which always serialise");
        Self { class, kind, subject, container: None, assurance, body, notes: Vec::new() }
    }

    /// The same, about something on this container.
    #[must_use]
    pub fn on_container(mut self, container: Option<String>) -> Self {
        self.container = container;
        self
    }

    /// The same, with a note to be kept in its transaction.
    #[must_use]
    pub fn with_note(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }

    /// The entry for the journal, stamped.
    ///
    /// # Errors
    /// When the particulars are larger than an event may be.
    pub fn stamped(self, stamp: Stamp) -> Result<Entry, DraftError> {
        let mut draft = Draft::new(self.class, self.kind, self.subject, stamp, self.assurance, &self.body)?;
        if let Some(container) = self.container {
            draft = draft.with_container(container)?;
        }
        Ok(Entry { notes: self.notes, ..Entry::new(draft) })
    }
}

/// A note whose value is JSON.
pub(crate) fn note_json(kind: &'static str, key: &str, value: &impl Serialize) -> Note {
    let value = serde_json::to_vec(value).expect("notes are structs and maps with text keys, which always serialise");
    Note::keep(kind, key, value)
}
