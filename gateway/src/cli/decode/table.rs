//! What a frame was taken apart into, and how that is printed.
//!
//! ```text
//!   frame      its bytes from the first on: offset, bytes, meaning
//!   inside     what was decrypted out of it, with offsets of its own
//!   fault      where it stops making sense, and why
//! ```

use std::fmt::Write as _;

use jiff::Timestamp;
use segel_drivers::{Password, SealWord};
use serde::Serialize;

/// Bytes on one line of the table.
const BYTES_PER_LINE: usize = 8;
/// Width of the column of bytes.
const BYTES_WIDTH: usize = BYTES_PER_LINE * 3 - 1;

/// A frame taken apart.
#[derive(Debug, Clone, Default)]
pub(super) struct Dissection {
    /// The parts, the frame itself first.
    pub(super) parts: Vec<Part>,
    /// What the frame says as a whole, in words.
    pub(super) says: Vec<String>,
    /// What is to be known beside it.
    pub(super) notes: Vec<String>,
    /// Why it is wrong.
    pub(super) fault: Option<Fault>,
}

/// Bytes with offsets of their own.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    /// What they are.
    pub(super) part: &'static str,
    /// The bytes, piece by piece.
    pub(super) fields: Vec<Field>,
}

/// Some bytes that belong together.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Field {
    /// Where they begin.
    offset: usize,
    /// How many they are.
    length: usize,
    /// They, in hex; nothing where they are secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// What they mean.
    meaning: String,
}

/// Why a frame is wrong.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fault {
    /// Where in the frame that shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<usize>,
    /// What is wrong.
    pub(super) text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<&'static str>,
}

impl Fault {
    /// A fault that shows nowhere in particular.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { offset: None, text: text.into(), remedy: None }
    }

    /// Where it shows.
    pub(super) fn at(self, offset: usize) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// What to do.
    pub(super) fn remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

/// Takes bytes apart from the front.
#[derive(Debug)]
pub(super) struct Knife<'a> {
    bytes: &'a [u8],
    at: usize,
    part: &'static str,
    fields: Vec<Field>,
}

impl<'a> Knife<'a> {
    /// To take these bytes apart.
    pub(super) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, part, fields: Vec::new() }
    }

    /// Where it is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Cuts off so many bytes, at most what is left; nothing is added where nothing is left.
    pub(super) fn cut(&mut self, length: usize, meaning: impl Into<String>) -> &'a [u8] {
        self.add(length, meaning, Showing::Shown)
    }

    /// Cuts off bytes that are not shown.
    pub(super) fn hide(&mut self, length: usize, meaning: impl Into<String>) -> &'a [u8] {
        self.add(length, meaning, Showing::Hidden)
    }

    /// Cuts off an array, or what is left with the note that it ends there.
    pub(super) fn take<const N: usize>(&mut self, name: &str, meaning: impl FnOnce([u8; N]) -> String) -> Option<[u8; N]> {
        let Some(array) = self.rest().first_chunk::<N>().copied() else {
            self.cut(N, format!("{name}, cut off: {} of {N} bytes", self.rest().len()));
            return None;
        };
        self.cut(N, meaning(array));
        Some(array)
    }

    /// The part, with what is left as one field.
    pub(super) fn end(mut self, meaning: &str) -> Part {
        self.cut(self.rest().len(), meaning);
        Part { part: self.part, fields: self.fields }
    }

    fn add(&mut self, length: usize, meaning: impl Into<String>, showing: Showing) -> &'a [u8] {
        let bytes = &self.rest()[..length.min(self.rest().len())];
        if !bytes.is_empty() {
            let shown = (showing == Showing::Shown).then(|| hex::encode(bytes));
            self.fields.push(Field { offset: self.at, length: bytes.len(), bytes: shown, meaning: meaning.into() });
        }
        self.at += bytes.len();
        bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Showing {
    Shown,
    Hidden,
}

impl Dissection {
    /// For a person.
    pub(super) fn text(&self, protocol: &str, length: usize) -> String {
        let mut out = String::new();
        let bytes = if length == 1 { "1 byte".to_owned() } else { format!("{length} bytes") };
        match &self.fault {
            None => line(&mut out, &format!("{protocol}, {bytes}: good")),
            Some(fault) => {
                let place = fault.offset.map_or_else(String::new, |at| format!(" at offset {at}"));
                line(&mut out, &format!("{protocol}, {bytes}: WRONG{place}: {}", fault.text));
                if let Some(remedy) = fault.remedy {
                    line(&mut out, &format!("  {remedy}"));
                }
            }
        }
        let shown = self.parts.iter().filter(|part| !part.fields.is_empty());
        for (number, part) in shown.enumerate() {
            let until = if self.fault.is_some() && number == 0 { ", as far as read" } else { "" };
            line(&mut out, &format!("\n{}{until}", part.part));
            line(&mut out, &format!("  offset  {:BYTES_WIDTH$}  meaning", "bytes"));
            part.fields.iter().for_each(|field| field.lines(&mut out));
        }
        for (title, sentences) in [("says", &self.says), ("notes", &self.notes)] {
            if !sentences.is_empty() {
                line(&mut out, &format!("\n{title}"));
                sentences.iter().for_each(|sentence| line(&mut out, &format!("  {sentence}")));
            }
        }
        out
    }

    /// For a program.
    pub(super) fn json(&self, protocol: &str, length: usize) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            protocol: &'a str,
            length: usize,
            good: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            fault: Option<&'a Fault>,
            parts: &'a [Part],
            says: &'a [String],
            notes: &'a [String],
        }
        let fault = self.fault.as_ref();
        let document =
            Document { protocol, length, good: fault.is_none(), fault, parts: &self.parts, says: &self.says, notes: &self.notes };
        let mut text = serde_json::to_string_pretty(&document).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }
}

impl Field {
    fn lines(&self, out: &mut String) {
        let digits = match &self.bytes {
            Some(text) => text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect(),
            None => vec!["**".to_owned(); self.length],
        };
        for (number, chunk) in digits.chunks(BYTES_PER_LINE).enumerate() {
            let offset = self.offset + number * BYTES_PER_LINE;
            let meaning = if number == 0 { self.meaning.as_str() } else { "" };
            line(out, &format!("  {offset:<6}  {:BYTES_WIDTH$}  {meaning}", chunk.join(" ")));
        }
    }
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{}", text.trim_end());
}

/// A number of hundredths as a person writes it.
pub(super) fn hundredths(value: i32) -> String {
    decimal(i64::from(value), 2)
}

/// An integer with so many of its digits behind the point.
pub(super) fn decimal(value: i64, places: u32) -> String {
    let scale = 10_i64.pow(places);
    let (whole, part) = (value.abs() / scale, value.abs() % scale);
    let sign = if value < 0 { "-" } else { "" };
    let width = places as usize;
    if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part:0width$}") }
}

/// What is told of a password that stands in a frame.
pub(super) fn password(found: &[u8], given: Option<&Password>) -> String {
    let parsed = std::str::from_utf8(found).ok().and_then(|text| text.parse::<Password>().ok());
    let mut told = match (&parsed, given) {
        (None, _) => return "password, not of letters and digits".to_owned(),
        (Some(parsed), Some(given)) if parsed == given => "password, the one given".to_owned(),
        (Some(_), Some(_)) => "password, NOT the one given".to_owned(),
        (Some(_), None) => "password, not shown".to_owned(),
    };
    if parsed.is_some_and(|parsed| parsed.is_factory()) {
        told.push_str("; one that seals leave the factory with");
    }
    told
}

/// A time as people here write it.
pub(super) fn utc(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{seconds} s since 1970"), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// What happened, as events name it.
pub(super) fn word(word: SealWord) -> String {
    let name = serde_json::to_value(word).ok();
    name.as_ref().and_then(|name| name.as_str()).map_or_else(|| format!("{word:?}"), |name| name.replace('_', " "))
}
