//! The manifest of a segment: what is in the file beside it, by digest. One JSON object, members always in this order.
//!
//! ```text
//! { "v": 1, "source": "/idsrg/g01", "journal": UUID, "class": "alarm", "first": 1, "last": 500, "count": 500,
//!   "bytes": 260500, "prev": HEX64, "digest": HEX64, "sha256": HEX64, "previous_manifest": HEX64,
//!   "earliest": TIME, "latest": TIME, "sealed_at": TIME, "sealed_at_clock": "ntp", "program": "segel 0.1.0" }
//! ```
//!
//! `bytes` and `sha256` are those of the whole file, line ends included. `prev` is the digest of the document before
//! the first (64 zeros before number 1), `digest` that of the last. `previous_manifest` is the SHA-256 of the manifest
//! file of the segment before it in this class (64 zeros for the first), so that a signature of the newest manifest
//! vouches for every document of the class before it.
//!
//! What must hold: a manifest written once never changes, because signatures rest on its bytes. Unknown members are
//! passed over, so that a later version may add some; another `v` is refused.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::event::{Class, ClockQuality, Digest, JournalId, Seq, Source};

/// The version of this form.
pub const FORM: u32 = 1;
/// Longest manifest that is read, in bytes; one that is written has less than a kilobyte.
pub const MANIFEST_MAX: u64 = 16 * 1024;
/// Which program writes manifests.
pub const PROGRAM: &str = concat!("segel ", env!("CARGO_PKG_VERSION"));
/// What a segment's documents are in.
const DOCUMENTS: &str = ".jsonl";
/// What its manifest is in.
const MANIFEST: &str = ".manifest.json";

/// What is in one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form, [`FORM`].
    pub v: u32,
    /// The gate the documents come from.
    #[serde(serialize_with = "as_text", deserialize_with = "source")]
    pub source: Source,
    /// The journal they are numbered in.
    pub journal: JournalId,
    /// Their class.
    pub class: Class,
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
    /// How many documents.
    pub count: u64,
    /// Length of the file in bytes, line ends included.
    pub bytes: u64,
    /// Digest of the document before the first.
    pub prev: Digest,
    /// Digest of the last document.
    pub digest: Digest,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// SHA-256 of the manifest file before this one in the class; zeros for the first.
    pub previous_manifest: Digest,
    /// The earliest wall time of a document.
    #[serde(serialize_with = "milliseconds")]
    pub earliest: Timestamp,
    /// The latest wall time of a document.
    #[serde(serialize_with = "milliseconds")]
    pub latest: Timestamp,
    /// When it was sealed, by the gate's clock.
    #[serde(serialize_with = "milliseconds")]
    pub sealed_at: Timestamp,
    /// What that clock was worth.
    pub sealed_at_clock: ClockQuality,
    /// The program that wrote it.
    pub program: String,
}

/// A text that is no manifest this version can use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON, or members are missing or of the wrong type.
    #[error("it is no manifest of a segment: restore it from a copy of the archive ({0})")]
    Json(#[from] serde_json::Error),
    /// Longer than [`MANIFEST_MAX`].
    #[error("it has {0} bytes and a manifest has at most {MANIFEST_MAX}: restore it from a copy of the archive")]
    TooLong(u64),
    /// Of another form.
    #[error("it is of form {0} and this version reads form {FORM}: use a newer version of this program")]
    Form(u64),
    /// Members contradict each other.
    #[error("it contradicts itself ({0}): restore it from a copy of the archive")]
    Contradiction(&'static str),
}

/// Read before everything else, because another form may have other members.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

impl Manifest {
    /// The bytes of the manifest file.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("texts and numbers always become JSON");
        text.push(b'\n');
        text
    }

    /// Reads a manifest file.
    ///
    /// # Errors
    /// When it is too long, no JSON, of another form, or contradicts itself.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.len() as u64 > MANIFEST_MAX {
            return Err(ManifestError::TooLong(text.len() as u64));
        }
        let Version { v } = serde_json::from_slice(text)?;
        if v != u64::from(FORM) {
            return Err(ManifestError::Form(v));
        }
        let manifest: Self = serde_json::from_slice(text)?;
        let wrong = if manifest.first == Seq::NONE || manifest.last < manifest.first {
            Some("first and last")
        } else if manifest.count != manifest.last.0 - manifest.first.0 + 1 {
            Some("count")
        } else if manifest.bytes < manifest.count {
            Some("bytes")
        } else if manifest.earliest > manifest.latest {
            Some("earliest and latest")
        } else if manifest.first == Seq(1) && manifest.prev != Digest::ZERO {
            Some("prev")
        } else {
            None
        };
        wrong.map_or(Ok(manifest), |what| Err(ManifestError::Contradiction(what)))
    }

    /// The name of the segment it describes.
    #[must_use]
    pub fn name(&self) -> SegmentName {
        SegmentName { class: self.class, first: self.first, last: self.last }
    }
}

fn as_text<S: Serializer>(source: &Source, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(source)
}

fn source<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Source, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

/// As in the documents: UTC, whole milliseconds.
fn milliseconds<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.3}"))
}

/// The name of a segment: its class and its first and last number, with zeros so that names sort as numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// The class.
    pub class: Class,
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
}

impl SegmentName {
    /// The file of the documents.
    #[must_use]
    pub fn documents(&self) -> String {
        format!("{self}{DOCUMENTS}")
    }

    /// The file of the manifest.
    #[must_use]
    pub fn manifest(&self) -> String {
        format!("{self}{MANIFEST}")
    }

    /// Whose file this is: a segment's documents or its manifest. Nothing for any other name.
    pub(super) fn of_file(name: &str) -> Option<(Self, Kind)> {
        let (stem, kind) = match name.strip_suffix(MANIFEST) {
            Some(stem) => (stem, Kind::Manifest),
            None => (name.strip_suffix(DOCUMENTS)?, Kind::Documents),
        };
        Some((stem.parse().ok()?, kind))
    }
}

/// Which of a segment's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Documents,
    Manifest,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:012}-{:012}", self.class, self.first.0, self.last.0)
    }
}

impl FromStr for SegmentName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let class = parts.next().and_then(|word| word.parse().ok()).ok_or(())?;
        let mut number = || parts.next().and_then(|digits| digits.parse().ok()).map(Seq).ok_or(());
        let name = Self { class, first: number()?, last: number()? };
        // Only one spelling is a name.
        if name.to_string() == text && name.first > Seq::NONE && name.last >= name.first { Ok(name) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            v: 1,
            source: Source::new("idsrg", "g01").unwrap(),
            journal: "0198b5b1-0000-7000-8000-000000000001".parse().unwrap(),
            class: Class::Alarm,
            first: Seq(501),
            last: Seq(1_000),
            count: 500,
            bytes: 260_500,
            prev: Digest([1; 32]),
            digest: Digest([2; 32]),
            sha256: Digest([3; 32]),
            previous_manifest: Digest([4; 32]),
            earliest: "2026-11-21T07:08:09.123Z".parse().unwrap(),
            latest: "2026-11-22T07:08:09Z".parse().unwrap(),
            sealed_at: "2027-02-20T00:00:00.0005Z".parse().unwrap(),
            sealed_at_clock: ClockQuality::Ntp,
            program: "segel 0.1.0".to_owned(),
        }
    }

    const FROZEN: &str = r#"{
  "v": 1,
  "source": "/idsrg/g01",
  "journal": "0198b5b1-0000-7000-8000-000000000001",
  "class": "alarm",
  "first": 501,
  "last": 1000,
  "count": 500,
  "bytes": 260500,
  "prev": "0101010101010101010101010101010101010101010101010101010101010101",
  "digest": "0202020202020202020202020202020202020202020202020202020202020202",
  "sha256": "0303030303030303030303030303030303030303030303030303030303030303",
  "previous_manifest": "0404040404040404040404040404040404040404040404040404040404040404",
  "earliest": "2026-11-21T07:08:09.123Z",
  "latest": "2026-11-22T07:08:09.000Z",
  "sealed_at": "2027-02-20T00:00:00.000Z",
  "sealed_at_clock": "ntp",
  "program": "segel 0.1.0"
}
"#;

    /// Do not change this test. Archives with such manifests, and signatures over them, are in the field.
    #[test]
    fn the_manifest_of_form_1_is_frozen() {
        assert_eq!(String::from_utf8(manifest().write()).unwrap(), FROZEN);
        let read = Manifest::parse(FROZEN.as_bytes()).unwrap();
        assert_eq!(read.write(), FROZEN.as_bytes());
        assert_eq!(read.name().documents(), "alarm-000000000501-000000001000.jsonl");
        assert_eq!(read.name().manifest(), "alarm-000000000501-000000001000.manifest.json");
    }

    #[test]
    fn a_later_version_may_add_members_and_another_form_is_refused() {
        let more = FROZEN.replacen("\"v\": 1,", "\"v\": 1, \"signer\": {\"key\": 7},", 1);
        assert_eq!(Manifest::parse(more.as_bytes()).unwrap(), Manifest::parse(FROZEN.as_bytes()).unwrap());
        let other = FROZEN.replacen("\"v\": 1,", "\"v\": 2,", 1);
        assert!(matches!(Manifest::parse(other.as_bytes()), Err(ManifestError::Form(2))));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        for (from, to) in [
            ("\"first\": 501", "\"first\": 0"),
            ("\"first\": 501", "\"first\": 1001"),
            ("\"count\": 500", "\"count\": 499"),
            ("\"bytes\": 260500", "\"bytes\": 3"),
            ("\"latest\": \"2026-11-22", "\"latest\": \"2026-11-20"),
        ] {
            let text = FROZEN.replacen(from, to, 1);
            assert_ne!(text, FROZEN, "{from}");
            assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::Contradiction(_))), "{to}");
        }
        for text in ["", "{}", "[]", "{\"v\":1}", &FROZEN[..FROZEN.len() / 2]] {
            assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::Json(_))), "{text}");
        }
        let long = vec![b' '; usize::try_from(MANIFEST_MAX).unwrap() + 1];
        assert!(matches!(Manifest::parse(&long), Err(ManifestError::TooLong(_))));
    }

    #[test]
    fn a_name_has_one_spelling() {
        let name = SegmentName { class: Class::Telemetry, first: Seq(7), last: Seq(1_234_567_890_123) };
        assert_eq!(name.to_string().parse(), Ok(name));
        let both = ["telemetry-000000000007-1234567890123.jsonl", "telemetry-000000000007-1234567890123.manifest.json"];
        assert_eq!(both.map(SegmentName::of_file), [Some((name, Kind::Documents)), Some((name, Kind::Manifest))]);
        for bad in [
            "alarm-1-2",
            "alarm-000000000002-000000000001",
            "alarm-000000000000-000000000001",
            "news-000000000001-000000000002",
            "alarm-000000000001",
            "alarm-000000000001-000000000002-000000000003",
            "alarm-+00000000001-000000000002",
        ] {
            assert!(bad.parse::<SegmentName>().is_err(), "{bad}");
        }
        assert!(SegmentName::of_file("alarm-000000000001-000000000002.jsonl.part").is_none());
    }
}
