//! Numbers and names an event carries: its gate, its journal, its place in the chain, and whom it concerns.

use std::{fmt, str::FromStr};

use segel_drivers::{Epc, ReaderId, SealId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Longest subject in bytes: `tag/` and the longest EPC (62 bytes as hex), with a little room.
pub const SUBJECT_MAX: usize = 160;
/// Longest name of a site or gate in a source, in bytes.
const SOURCE_PART_MAX: usize = 32;

/// A text that is no identity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a subject.
    #[error("`{0}` is no subject: write `gateway` or KIND/NAME in printable ASCII without spaces, at most {SUBJECT_MAX} characters")]
    Subject(String),
    /// Not a source.
    #[error("`{0}` is no source: write /SITE/GATE, each in lower-case letters, digits and dashes, at most {SOURCE_PART_MAX} characters")]
    Source(String),
    /// Not a digest.
    #[error("`{0}` is no SHA-256: write 64 lower-case hex digits")]
    Digest(String),
    /// Not a UUID.
    #[error("`{0}` is no UUID: write it as 8-4-4-4-12 hex digits")]
    Uuid(String),
}

/// Position of an event in its class, counted from 1 without holes; 0 stands for "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const NONE: Self = Self(0);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number before this one; of none it is none.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of one document, as its bytes are on disk and on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What the first document of a chain names as its predecessor.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        hex::encode_to_slice(self.0, &mut text).expect("64 digits hold 32 bytes");
        f.pad(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || IdentityError::Digest(text.chars().take(80).collect());
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fault());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| fault())?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// One journal from its creation to its loss. Numbers are unique within it; a new journal starts again at 1 under a
/// new identity, so that no number is ever given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalId(pub Uuid);

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JournalId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self).map_err(|_| IdentityError::Uuid(text.chars().take(60).collect()))
    }
}

impl TryFrom<String> for JournalId {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<JournalId> for String {
    fn from(journal: JournalId) -> Self {
        journal.to_string()
    }
}

/// Whom or what an event concerns: `seal/JT-8000620011`, `reader/gate-in`, `tag/3034...`, `command/...`, `gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// The gateway itself.
    #[must_use]
    pub fn gateway() -> Self {
        Self("gateway".to_owned())
    }

    /// A seal.
    #[must_use]
    pub fn seal(seal: &SealId) -> Self {
        Self(format!("seal/{seal}"))
    }

    /// A reader or radio of this gate.
    #[must_use]
    pub fn reader(reader: &ReaderId) -> Self {
        Self(format!("reader/{reader}"))
    }

    /// A tag.
    #[must_use]
    pub fn tag(epc: &Epc) -> Self {
        Self(format!("tag/{epc}"))
    }

    /// A command, by the identity its issuer gave it.
    ///
    /// # Errors
    /// When that identity is empty, too long or not printable ASCII.
    pub fn command(id: &str) -> Result<Self, IdentityError> {
        format!("command/{id}").parse()
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Subject {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let whole = text == "gateway" || text.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
        if !whole || text.len() > SUBJECT_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdentityError::Subject(text.chars().take(60).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Subject {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// The gate an event comes from, written as the CloudEvents source `/idsrg/g01`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    site: String,
    gate: String,
}

impl Source {
    /// The gate `gate` of the site `site`.
    ///
    /// # Errors
    /// When one of them has other than lower-case letters, digits and dashes, is empty, or is too long.
    pub fn new(site: &str, gate: &str) -> Result<Self, IdentityError> {
        let good = |part: &str| {
            (1..=SOURCE_PART_MAX).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !good(site) || !good(gate) {
            return Err(IdentityError::Source(format!("/{site}/{gate}").chars().take(80).collect()));
        }
        Ok(Self { site: site.to_owned(), gate: gate.to_owned() })
    }

    /// The site, e.g. the UN/LOCODE `idsrg` (Semarang).
    #[must_use]
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The gate at that site, e.g. `g01`.
    #[must_use]
    pub fn gate(&self) -> &str {
        &self.gate
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.site, self.gate)
    }
}

impl FromStr for Source {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix('/').and_then(|rest| rest.split_once('/'));
        let (site, gate) = parts.ok_or_else(|| IdentityError::Source(text.chars().take(80).collect()))?;
        Self::new(site, gate)
    }
}
