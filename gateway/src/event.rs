//! What happened at the gate, in words that customs and a DCSA reader know.
//!
//! ```text
//!   Draft  (what happened, to whom, when, how sure)        made by ingest, gate, journey ...
//!     │ journal gives it a number in its class and the digest of the document before it
//!     ▼
//!   document  (CloudEvents JSON, written once)              on disk, on the wire, in the dossier: the same bytes
//!     │
//!     ▼
//!   chain     (whoever holds the documents checks them)     at customs, with or without this program
//! ```
//!
//! What must hold: an event is put into bytes once, when it is recorded; its body is put into bytes even earlier, when
//! the draft is made, so that nothing between the radio and the disk can change what was seen. A word on the wire never
//! changes its meaning; a new meaning gets a new word.
//!
//! Not here: where events are kept ([`crate::journal`]) and how they travel.

pub mod chain;
pub mod document;
pub mod gap;
mod identity;
mod stamp;
mod vocabulary;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use identity::{Digest, IdentityError, JournalId, SUBJECT_MAX, Seq, Source, Subject};
pub use stamp::{BootId, ClockQuality, Stamp};
pub use vocabulary::{Assurance, Class, EventType, UnknownWord};

/// Largest body of an event in bytes of JSON. A seal report with all its fields takes some 600; sixteen times that and
/// more leaves room for a bad day, and keeps the whole document far below the packet limit of any broker.
pub const BODY_MAX: usize = 16 * 1024;
/// Longest container number a draft may carry, in bytes: ISO 6346 has 11; misread and foreign numbers are kept as read.
pub const CONTAINER_MAX: usize = 32;

/// A draft that cannot become an event.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The body is not something JSON can express.
    #[error("the body of a {kind} event cannot be written as JSON: give map keys that are text and numbers that are finite")]
    Body {
        /// What kind of event it was to be.
        kind: EventType,
        /// What the serialiser said.
        #[source]
        source: serde_json::Error,
    },
    /// The body is a number, a text or a list.
    #[error("the body of a {kind} event is no JSON object: wrap it in a struct with named fields")]
    NotAnObject {
        /// What kind of event it was to be.
        kind: EventType,
    },
    /// The body is beyond [`BODY_MAX`].
    #[error("the body of a {kind} event has {length} bytes and {BODY_MAX} are allowed: refer to large things by their digest")]
    TooLarge {
        /// What kind of event it was to be.
        kind: EventType,
        /// Length of the body in bytes.
        length: usize,
    },
    /// The container number is beyond [`CONTAINER_MAX`].
    #[error("a container number of {length} bytes is none: at most {CONTAINER_MAX} are kept")]
    Container {
        /// Length of the number in bytes.
        length: usize,
    },
}

/// An event before it has a number: everything but `seq` and `prev`.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Identity of the event (UUID version 7): a repeated delivery carries the same one.
    pub id: Uuid,
    /// Which queue it belongs to.
    pub class: Class,
    /// What happened.
    pub kind: EventType,
    /// To whom or what.
    pub subject: Subject,
    /// The container concerned, as read or assigned; never corrected.
    container: Option<String>,
    /// When, and how good that time is.
    pub stamp: Stamp,
    /// How far it can be believed.
    pub assurance: Assurance,
    body: Box<RawValue>,
}

impl Draft {
    /// A new event with a fresh identity; `body` becomes the member `data` and is put into bytes now.
    ///
    /// # Errors
    /// When the body is no JSON object or longer than [`BODY_MAX`].
    pub fn new<B: Serialize + ?Sized>(
        class: Class,
        kind: EventType,
        subject: Subject,
        stamp: Stamp,
        assurance: Assurance,
        body: &B,
    ) -> Result<Self, DraftError> {
        let mut text = serde_json::to_string(body).map_err(|source| DraftError::Body { kind, source })?;
        if text.contains(['\n', '\r']) {
            // Only a body that was JSON text already can hold line ends, and then only between its members:
            // inside a JSON text they are always written as \n. One document stays one line.
            text = text.replace(['\n', '\r'], " ");
        }
        if !text.starts_with('{') {
            return Err(DraftError::NotAnObject { kind });
        }
        if text.len() > BODY_MAX {
            return Err(DraftError::TooLarge { kind, length: text.len() });
        }
        let body = RawValue::from_string(text).map_err(|source| DraftError::Body { kind, source })?;
        Ok(Self { id: Uuid::now_v7(), class, kind, subject, container: None, stamp, assurance, body })
    }

    /// The same draft with the container it concerns.
    ///
    /// # Errors
    /// When the number is longer than [`CONTAINER_MAX`].
    pub fn with_container(mut self, container: impl Into<String>) -> Result<Self, DraftError> {
        let container = container.into();
        if container.len() > CONTAINER_MAX {
            return Err(DraftError::Container { length: container.len() });
        }
        self.container = Some(container);
        Ok(self)
    }

    /// The container concerned, if one is known.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The body as the JSON object it will be in the document.
    #[must_use]
    pub fn body(&self) -> &RawValue {
        &self.body
    }
}
