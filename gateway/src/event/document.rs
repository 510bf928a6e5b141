//! The document: one event as CloudEvents 1.0 structured JSON, on one line, in a fixed order of members.
//!
//! ```text
//! {"specversion":"1.0","id":UUID,"source":"/idsrg/g01","type":"id.segel.FORCED_OPEN.v1","subject":"seal/JT-1",
//!  "time":"2026-11-21T07:08:09.123Z","datacontenttype":"application/json","class":"alarm","seq":"17","prev":HEX64,
//!  "journal":UUID,"boot":UUID,"mono":"86400123","clock":"ntp","assurance":"evidence","container":"CSQU3054383","data":{...}}
//! ```
//!
//! `seq` and `mono` are decimal digits in a text: a CloudEvents integer ends at 2^31 - 1, which milliseconds since boot
//! pass after 25 days. `prev` is the SHA-256 of the class's previous document in the same journal, 64 zeros for the
//! first. `container` is absent when none is known. The digest of a document is the SHA-256 of exactly these bytes,
//! without a line end, so that `sha256sum` alone checks a chain.
//!
//! What must hold: these bytes never change for a given event. The test beside this file freezes them.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Assurance, BootId, Class, ClockQuality, Digest, Draft, EventType, JournalId, Seq, Source, Subject};

/// What stands before the word in `type`: reverse domain of the vocabulary.
pub const TYPE_PREFIX: &str = "id.segel.";
/// What stands after the word in `type`: version of the meaning of `data`.
pub const TYPE_VERSION: &str = ".v1";
/// Longest document that is read, in bytes; far above the longest that is written.
pub const DOCUMENT_MAX: usize = 64 * 1024;

/// The document of `draft` as number `seq` of its class in `journal`, after the document with the digest `prev`.
#[must_use]
pub fn write(draft: &Draft, source: &Source, journal: JournalId, seq: Seq, prev: &Digest) -> Vec<u8> {
    let _ = (draft, source, journal, seq, prev);
    Vec::new()
}

/// A document that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than [`DOCUMENT_MAX`].
    #[error("a document of {0} bytes is none of ours: at most {DOCUMENT_MAX} are read")]
    TooLong(usize),
    /// Not JSON, or members are missing, doubled or of the wrong type.
    #[error("this is no event document of a gateway: check that whole lines were saved, one document per line")]
    Json(#[from] serde_json::Error),
    /// A member says something it cannot say.
    #[error("the member `{member}` of the document cannot be `{value}`: the document was changed or is of another make")]
    Member {
        /// Which member.
        member: &'static str,
        /// What it says, shortened.
        value: String,
    },
}

/// A document taken apart, borrowed from its bytes. Strict about everything the chain rests on; members it does not
/// know are passed over, so that a later version may add some.
#[derive(Debug, Clone)]
pub struct Head<'a> {
    /// Identity of the event.
    pub id: Uuid,
    /// The gate it comes from.
    pub source: Source,
    /// The word of its type, without prefix and version; perhaps one this version does not know.
    pub word: Cow<'a, str>,
    /// Whom it concerns.
    pub subject: Subject,
    /// Wall time.
    pub time: jiff::Timestamp,
    /// Its class.
    pub class: Class,
    /// Its number in the class, from 1.
    pub seq: Seq,
    /// Digest of the document before it.
    pub prev: Digest,
    /// The journal it is numbered in.
    pub journal: JournalId,
    /// The boot its monotonic time counts from.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub monotonic_ms: u64,
    /// What the wall clock was worth.
    pub clock: ClockQuality,
    /// How far it can be believed.
    pub assurance: Assurance,
    /// The container concerned.
    pub container: Option<Cow<'a, str>>,
    /// The body.
    pub data: &'a RawValue,
}

impl<'a> Head<'a> {
    /// Takes a document apart.
    ///
    /// # Errors
    /// When it is no event document of version 1.
    pub fn parse(document: &'a [u8]) -> Result<Self, DocumentError> {
        Err(DocumentError::TooLong(document.len()))
    }

    /// The kind of event, when this version knows the word.
    #[must_use]
    pub fn kind(&self) -> Option<EventType> {
        self.word.parse().ok()
    }
}
