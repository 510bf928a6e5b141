//! Documents somebody received: a text with one per line, as files and subscribers' tools have it.
//!
//! A line is the document alone, or a topic, a blank and the document, as `mosquitto_sub -v` or `-F '%t %p'` write it.
//! With a topic, messages that are no events (states, measurements) are passed over and counted. Memory is that of one
//! line, whatever is fed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;

use super::apart::{Step, Tell};
use crate::event::chain::{ChainCheck, ChainReport};
use crate::event::document;

/// Lines that could not be read and are named; the others are counted.
const SAID_MAX: usize = 10;
/// Longest topic before a document: six levels, with room.
const TOPIC_MAX: usize = 512;
/// How far is told after so many lines.
const TELL_EVERY: u64 = 1_000;

/// What is to be read, and how long it is if that is known.
pub(super) struct Input {
    from: Box<dyn io::Read + Send>,
    length: u64,
    name: String,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Read {
    /// The chains.
    pub(super) report: ChainReport,
    /// The first lines that could not be read, and why.
    pub(super) unreadable: Vec<(u64, String)>,
    /// Messages of topics that carry no events.
    pub(super) passed_over: u64,
}

/// A file as it is spoken of.
pub(super) fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

impl Input {
    /// The file, or standard input for `-`.
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        if file == Path::new("-") {
            return Ok(Self { from: Box::new(io::stdin()), length: 0, name: name(file) });
        }
        let cannot = || format!("{} cannot be read: give a file with one document per line", file.display());
        let opened = File::open(file).with_context(cannot)?;
        let meta = opened.metadata().with_context(cannot)?;
        if meta.is_dir() {
            anyhow::bail!("{} is a directory: give a file with one document per line", file.display());
        }
        Ok(Self { from: Box::new(opened), length: meta.len(), name: name(file) })
    }

    /// Feeds all of it.
    pub(super) fn feed(self, check: ChainCheck, tell: Tell<'_>) -> anyhow::Result<Read> {
        let length = self.length;
        let mut step = |done: u64| tell(Step { done, total: length.max(done) });
        feed_lines(check, self.from, &mut step).with_context(|| format!("{} cannot be read to its end", self.name))
    }
}

/// Feeds a text of documents, one per line; `tell` is told the bytes read.
fn feed_lines(mut check: ChainCheck, input: impl io::Read, tell: &mut dyn FnMut(u64)) -> io::Result<Read> {
    // One byte more than the longest line, so that a longer one is seen to be longer.
    const LINE_MAX: usize = document::DOCUMENT_MAX + TOPIC_MAX;
    let mut unreadable = Vec::new();
    let mut passed_over = 0;
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    let mut number = 0;
    let mut bytes = 0;
    loop {
        line.clear();
        let taken = input.by_ref().take(LINE_MAX as u64 + 2).read_until(b'\n', &mut line)?;
        if taken == 0 {
            return Ok(Read { report: check.finish(), unreadable, passed_over });
        }
        number += 1;
        bytes += taken as u64;
        if number % TELL_EVERY == 0 {
            tell(bytes);
        }
        let whole = line.ends_with(b"\n") || taken <= LINE_MAX;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match document_of(text) {
            Line::Document(document) => {
                if let Err(error) = check.feed(document)
                    && unreadable.len() < SAID_MAX
                {
                    unreadable.push((number, error.to_string()));
                }
            }
            Line::Other => passed_over += 1,
            Line::Empty => {}
        }
        if !whole {
            bytes += skip_line(&mut input)?;
        }
    }
}

/// What is on a line.
enum Line<'a> {
    Document(&'a [u8]),
    /// A message of a topic that carries no events.
    Other,
    Empty,
}

fn document_of(text: &[u8]) -> Line<'_> {
    if text.is_empty() {
        return Line::Empty;
    }
    // Topics of a gate have no blanks and a document begins with a brace: the first blank ends the topic, if there is one.
    let Some(blank) = text.iter().take(TOPIC_MAX).position(|byte| *byte == b' ').filter(|_| !text.starts_with(b"{")) else {
        return Line::Document(text);
    };
    let (topic, payload) = (&text[..blank], &text[blank + 1..]);
    let levels: Vec<_> = topic.split(|byte| *byte == b'/').collect();
    match levels[..] {
        [b"segel", _, _, _, b"ev", _] => Line::Document(payload),
        [b"segel", _, _, _, _, _] => Line::Other,
        _ => Line::Document(text),
    }
}

/// Passes over the rest of a line without keeping it; says how long that was.
fn skip_line(input: &mut impl io::BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let (length, found) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        skipped += length as u64;
        if found {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Read {
        feed_lines(ChainCheck::new(), text, &mut |_| {}).unwrap()
    }

    #[test]
    fn a_line_too_long_is_one_unreadable_document_and_the_next_line_is_read() {
        let mut text = vec![b'x'; document::DOCUMENT_MAX * 3];
        text.extend_from_slice(b"\n\nnonsense\n");
        let read = read(&text);
        assert_eq!((read.report.unreadable, read.unreadable.len()), (2, 2));
        assert_eq!(read.unreadable[1].0, 3);
    }

    #[test]
    fn a_message_of_another_topic_is_passed_over_and_a_foreign_line_is_not() {
        let read = read(
            b"segel/1/idsrg/g01/state/gateway {\"v\":1}\nsegel/1/idsrg/g01/tlm/seal-1 \nother/topic {}\nsegel/1/idsrg/g01/ev/gap {}\n",
        );
        assert_eq!((read.passed_over, read.report.unreadable), (2, 2));
        assert_eq!(read.unreadable.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 4]);
    }
}
