//! What goes into the journal and what comes back: entries, notes, outlets, heads, records.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use super::JournalError;
use crate::event::{Class, Digest, Draft, Seq, Subject};

/// Largest value of a note in bytes: a projection of one seal or journey, not a place for documents.
pub const NOTE_MAX: usize = 64 * 1024;
/// Most notes of one entry or call.
pub const NOTES_MAX: usize = 256;
/// Longest name of an outlet, in characters.
const OUTLET_MAX: usize = 32;

/// A small fact kept beside the events, in the same transaction: last state of a seal, a reserved permit, a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about; one word per module that keeps notes.
    pub kind: &'static str,
    /// Which one of that kind.
    pub key: String,
    /// The fact, at most [`NOTE_MAX`] bytes; none deletes it.
    pub value: Option<Vec<u8>>,
}

impl Note {
    /// Keeps `value` under `kind` and `key`, in place of what was there.
    #[must_use]
    pub fn keep(kind: &'static str, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { kind, key: key.into(), value: Some(value.into()) }
    }

    /// Deletes what is kept under `kind` and `key`.
    #[must_use]
    pub fn forget(kind: &'static str, key: impl Into<String>) -> Self {
        Self { kind, key: key.into(), value: None }
    }
}

/// Whether notes are within their bounds.
pub(super) fn check(notes: &[Note]) -> Result<(), JournalError> {
    if notes.len() > NOTES_MAX {
        return Err(JournalError::TooMany { count: notes.len(), limit: NOTES_MAX });
    }
    for note in notes {
        let length = note.key.len() + note.value.as_ref().map_or(0, Vec::len);
        if length > NOTE_MAX {
            return Err(JournalError::NoteTooLarge { kind: note.kind, key: note.key.chars().take(60).collect(), length, limit: NOTE_MAX });
        }
    }
    Ok(())
}

/// How soon an entry is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Haste {
    /// Alarms and receipts at once, telemetry with its group.
    #[default]
    ByClass,
    /// At once, whatever its class.
    AtOnce,
}

/// One event to be recorded, with the notes that become true with it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub draft: Draft,
    /// Kept or deleted in the same transaction, in this order.
    pub notes: Vec<Note>,
    /// How soon.
    pub haste: Haste,
}

impl From<Draft> for Entry {
    fn from(draft: Draft) -> Self {
        Self { draft, notes: Vec::new(), haste: Haste::ByClass }
    }
}

impl Entry {
    /// An entry without notes, committed as its class asks.
    #[must_use]
    pub fn new(draft: Draft) -> Self {
        draft.into()
    }

    /// The same entry with one more note.
    #[must_use]
    pub fn with(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }

    /// The same entry, to be committed at once.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.haste = Haste::AtOnce;
        self
    }
}

/// Proof that an event is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Its class.
    pub class: Class,
    /// Its number in the class.
    pub seq: Seq,
    /// Its identity, as in the draft.
    pub id: Uuid,
    /// SHA-256 of its document.
    pub digest: Digest,
}

/// A place events are delivered to: the local broker, the uplink. Lower-case letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outlet(Cow<'static, str>);

/// A text that is no name of an outlet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of an outlet: write lower-case letters, digits and dashes, at most {OUTLET_MAX} characters")]
pub struct NotAnOutlet(String);

impl Outlet {
    /// An outlet with a name known when this is compiled.
    ///
    /// # Panics
    /// When the name has other than lower-case letters, digits and dashes; in a `const` that is an error of compilation.
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        assert!(good_outlet(name), "lower-case letters, digits and dashes");
        Self(Cow::Borrowed(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn good_outlet(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !(bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit() || bytes[at] == b'-') {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty() && bytes.len() <= OUTLET_MAX
}

impl fmt::Display for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Outlet {
    type Err = NotAnOutlet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if good_outlet(text) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(NotAnOutlet(text.chars().take(60).collect())) }
    }
}

/// The last committed number of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    pub(super) by_class: [Seq; Class::ALL.len()],
}

impl Heads {
    /// The last committed number of this class; [`Seq::NONE`] before the first.
    #[must_use]
    pub const fn of(&self, class: Class) -> Seq {
        self.by_class[class as usize]
    }
}

/// One event as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its class.
    pub class: Class,
    /// Its number in the class.
    pub seq: Seq,
    /// Its identity.
    pub id: Uuid,
    /// Its word; perhaps one only a later version knows.
    pub kind: String,
    /// Whom it concerns.
    pub subject: Subject,
    /// Wall time, in milliseconds.
    pub wall: Timestamp,
    /// The document, byte for byte as customs receive it.
    pub doc: Vec<u8>,
}
