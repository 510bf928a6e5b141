//! From text to a table, with every syntax fault and as much of the table as can be trusted.
//!
//! The parser recovers, but what follows a broken line may land in the wrong table. So a broken line is blanked, a
//! broken header with everything up to the next header, and the rest is parsed again until it is good.

use std::{collections::BTreeSet, sync::Arc};

use toml::de::DeTable;

use super::{
    fault::{Fault, Findings, Place},
    source::SourceFile,
};

/// The most times one file is parsed; each time at least one broken line fewer is left.
const ROUNDS_MAX: usize = 32;

/// The same for a text longer than [`ALL_ERRORS_MAX_BYTES`]: each round takes long, and shows one fault.
const ROUNDS_MAX_LONG: usize = 3;
/// The longest text of which every error is asked for at once; of a longer one the first of each round, because the
/// parser keeps as many errors as there are and a long file of garbage would fill the memory with them.
const ALL_ERRORS_MAX_BYTES: usize = 256 << 10;

/// The part of a file that can be trusted, every position as in the file.
pub(super) struct Trusted {
    text: String,
    /// Whether it is all of the file.
    pub(super) whole: bool,
}

impl Trusted {
    fn nothing() -> Self {
        Self { text: String::new(), whole: false }
    }

    /// The settings in it.
    pub(super) fn table(&self) -> DeTable<'_> {
        DeTable::parse_recoverable(&self.text).0.into_inner()
    }
}

/// Finds what can be trusted of a file and reports its syntax faults.
pub(super) fn parse(file: &Arc<SourceFile>, findings: &mut Findings) -> Trusted {
    let mut text = file.text.clone();
    let mut seen = BTreeSet::new();
    let rounds = if text.len() <= ALL_ERRORS_MAX_BYTES { ROUNDS_MAX } else { ROUNDS_MAX_LONG };
    for round in 0..rounds {
        let errors = errors(&text);
        if errors.is_empty() {
            return Trusted { text, whole: round == 0 };
        }
        let mut broken: Vec<usize> = Vec::new();
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let line = culprit(&text, file, span.start);
            if broken.contains(&line) || !seen.insert(line) {
                continue;
            }
            broken.push(line);
            let problem = format!("this is no TOML: {}", error.message());
            findings.fault(Fault::new(Place::text(file, span), problem, remedy(error.message())));
            if broken.len() > super::fault::FAULTS_MAX {
                return Trusted::nothing();
            }
        }
        if broken.is_empty() {
            break;
        }
        let mut bytes = text.into_bytes();
        for start in broken {
            blank(&mut bytes, file, start);
        }
        text = String::from_utf8(bytes).expect("whole lines were replaced by spaces");
    }
    Trusted::nothing()
}

fn errors(text: &str) -> Vec<toml::de::Error> {
    if text.len() <= ALL_ERRORS_MAX_BYTES {
        return DeTable::parse_recoverable(text).1;
    }
    DeTable::parse(text).err().into_iter().collect()
}

/// The start of the line to blame for an error at `at`: that line, or the last one before it with anything on it.
fn culprit(text: &str, file: &SourceFile, at: usize) -> usize {
    let mut line = file.line(at);
    while line.start > 0 && text[line.clone()].trim().is_empty() {
        line = file.line(line.start - 1);
    }
    line.start
}

/// Blanks one line, and below a broken header everything up to the next one.
fn blank(bytes: &mut [u8], file: &SourceFile, start: usize) {
    let mut line = file.line(start);
    let header = file.text[line.clone()].trim_start().starts_with('[');
    loop {
        bytes[line.clone()].fill(b' ');
        let Some(next) = file.text[line.end..].find('\n').map(|end| line.end + end + 1) else { return };
        line = file.line(next);
        if !header || next >= bytes.len() || file.text[line.clone()].trim_start().starts_with('[') {
            return;
        }
    }
}

fn remedy(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "keep one of the two"
    } else if ["string", "invalid float", "leading zero", "invalid integer", "invalid boolean", "invalid number"]
        .iter()
        .any(|part| message.contains(part))
    {
        "put text in double quotes and close them on the same line; numbers stand without quotes and without a unit, true and false in small letters"
    } else if message.contains("unclosed table") {
        "close the header with `]`, or `]]` where it began with `[[`"
    } else {
        "write `key = value`, one to a line, under a header such as `[gate]`"
    }
}
