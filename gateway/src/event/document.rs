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

use serde::Deserialize;
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
    let millisecond = truncated(draft.stamp.wall);
    let text = format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"{prefix}{kind}{version}","subject":{subject},"#,
            r#""time":"{time:.3}","datacontenttype":"application/json","class":"{class}","seq":"{seq}","prev":"{prev}","#,
            r#""journal":"{journal}","boot":"{boot}","mono":"{mono}","clock":"{clock}","assurance":"{assurance}"{container},"#,
            r#""data":{data}}}"#
        ),
        id = draft.id.hyphenated(),
        source = source,
        prefix = TYPE_PREFIX,
        kind = draft.kind,
        version = TYPE_VERSION,
        subject = quoted(draft.subject.as_str()),
        time = millisecond,
        class = draft.class,
        seq = seq,
        prev = prev,
        journal = journal,
        boot = draft.stamp.boot,
        mono = draft.stamp.monotonic_ms,
        clock = draft.stamp.clock,
        assurance = draft.assurance,
        container = draft.container().map(|number| format!(r#","container":{}"#, quoted(number))).unwrap_or_default(),
        data = draft.body().get(),
    );
    text.into_bytes()
}

/// The text as a JSON string with its quotes.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// The wall time as it is written: whole milliseconds, never rounded into the future.
pub(crate) fn truncated(wall: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(wall.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(i64::MAX)).unwrap_or(wall)
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

/// The members as they are in JSON, before any of them is understood.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    datacontenttype: Cow<'a, str>,
    #[serde(borrow)]
    class: Cow<'a, str>,
    #[serde(borrow)]
    seq: Cow<'a, str>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow)]
    journal: Cow<'a, str>,
    #[serde(borrow)]
    boot: Cow<'a, str>,
    #[serde(borrow)]
    mono: Cow<'a, str>,
    #[serde(borrow)]
    clock: Cow<'a, str>,
    #[serde(borrow)]
    assurance: Cow<'a, str>,
    #[serde(borrow, default)]
    container: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn member<T: std::str::FromStr>(member: &'static str, text: &str) -> Result<T, DocumentError> {
    text.parse().map_err(|_| wrong(member, text))
}

fn wrong(member: &'static str, text: &str) -> DocumentError {
    DocumentError::Member { member, value: text.chars().take(80).collect() }
}

/// Decimal digits without sign or leading zeros, as they are written.
fn count(name: &'static str, text: &str) -> Result<u64, DocumentError> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { member(name, text) } else { Err(wrong(name, text)) }
}

impl<'a> Head<'a> {
    /// Takes a document apart.
    ///
    /// # Errors
    /// When it is no event document of version 1.
    pub fn parse(document: &'a [u8]) -> Result<Self, DocumentError> {
        if document.len() > DOCUMENT_MAX {
            return Err(DocumentError::TooLong(document.len()));
        }
        let m: Members<'a> = serde_json::from_slice(document)?;
        if m.specversion != "1.0" {
            return Err(wrong("specversion", &m.specversion));
        }
        if m.datacontenttype != "application/json" {
            return Err(wrong("datacontenttype", &m.datacontenttype));
        }
        if !m.data.get().starts_with('{') {
            return Err(wrong("data", m.data.get()));
        }
        let seq = Seq(count("seq", &m.seq)?);
        if seq == Seq::NONE {
            return Err(wrong("seq", &m.seq));
        }
        Ok(Self {
            id: member("id", &m.id)?,
            source: member("source", &m.source)?,
            word: word(m.r#type)?,
            subject: member("subject", &m.subject)?,
            time: member("time", &m.time)?,
            class: member("class", &m.class)?,
            seq,
            prev: member("prev", &m.prev)?,
            journal: member("journal", &m.journal)?,
            boot: member("boot", &m.boot)?,
            monotonic_ms: count("mono", &m.mono)?,
            clock: member("clock", &m.clock)?,
            assurance: member("assurance", &m.assurance)?,
            container: m.container,
            data: m.data,
        })
    }

    /// The kind of event, when this version knows the word.
    #[must_use]
    pub fn kind(&self) -> Option<EventType> {
        self.word.parse().ok()
    }
}

/// The word inside a `type`.
fn word(text: Cow<'_, str>) -> Result<Cow<'_, str>, DocumentError> {
    let inside = |text: &str| {
        let word = text.strip_prefix(TYPE_PREFIX)?.strip_suffix(TYPE_VERSION)?;
        (!word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
            .then_some(TYPE_PREFIX.len()..TYPE_PREFIX.len() + word.len())
    };
    let range = inside(&text).ok_or_else(|| wrong("type", &text))?;
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) => Cow::Owned(text[range].to_owned()),
    })
}
