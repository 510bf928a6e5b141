//! A segment's file against its manifest, document by document, with bounded memory.
//!
//! What must hold: a file that agrees has exactly the manifest's bytes, and every document in it has the next number,
//! names the digest of the one before it, and is of this gate, journal and class. Whatever does not is named with its line.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::ControlFlow,
    path::Path,
};

use jiff::Timestamp;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest as _, Sha256};

use super::Manifest;
use crate::event::{
    Digest, Seq,
    document::{self, DOCUMENT_MAX, Head},
};

/// How much of a file is read at a time.
const BUFFER: usize = 64 * 1024;
/// Differences of one file that are listed; beyond them it is enough to know that there are more.
pub(super) const LISTED_MAX: usize = 16;
/// After so many documents the watcher is asked whether to go on.
const PIECE: u64 = 256;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// What does not agree; at most [`LISTED_MAX`]. Empty when everything does.
    pub(super) differences: Vec<String>,
    /// Lines read.
    pub(super) documents: u64,
    /// Bytes read.
    pub(super) bytes: u64,
}

impl Compared {
    fn differs(&mut self, what: String) {
        if self.differences.len() < LISTED_MAX {
            self.differences.push(what);
        }
    }

    fn compare<T: PartialEq + std::fmt::Display>(&mut self, what: &str, found: &T, stated: &T) {
        if found != stated {
            self.differs(format!("its {what} is {found}, and the manifest says {stated}"));
        }
    }
}

/// Compares the file with what its manifest says of it. `each` is given every line; `watch` is asked now and then
/// whether to go on and told how many documents are done since it was last asked. Nothing when it said to stop.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn compare(
    path: &Path,
    manifest: &Manifest,
    mut each: impl FnMut(&[u8]),
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<Option<Compared>> {
    let file = File::open(path)?;
    // What was just written would otherwise be compared with the memory it was written from. Best effort: where the
    // system does not forget pages, they are read from memory.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    let mut lines = Lines { input: BufReader::with_capacity(BUFFER, file), hash: Sha256::new(), bytes: 0, line: Vec::new() };
    let mut found = Compared::default();
    let mut before = Link { seq: manifest.first.before(), digest: manifest.prev };
    let mut span: Option<(Timestamp, Timestamp)> = None;
    while let Some(whole) = lines.next()? {
        found.documents += 1;
        let line = &lines.line[..];
        match Head::parse(line) {
            Err(fault) => {
                found.differs(format!("line {}: {fault}", found.documents));
                before = Link { seq: before.seq.next(), digest: Digest::of(line) };
            }
            Ok(head) => {
                let seq = head.seq;
                if let Some(what) = disagrees(&head, manifest, before) {
                    found.differs(format!("line {}, {} {seq}: {what}", found.documents, head.class));
                }
                let time = document::truncated(head.time);
                span = Some(span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
                before = Link { seq, digest: Digest::of(line) };
            }
        }
        if !whole {
            found.differs(format!("line {} is cut off: the file ends within it", found.documents));
        }
        each(line);
        if found.documents % PIECE == 0 && watch(PIECE).is_break() {
            return Ok(None);
        }
    }
    if watch(found.documents % PIECE).is_break() {
        return Ok(None);
    }
    found.bytes = lines.bytes;
    found.compare("number of documents", &found.documents.clone(), &manifest.count);
    found.compare("length in bytes", &lines.bytes, &manifest.bytes);
    found.compare("last document's digest", &before.digest, &manifest.digest);
    found.compare("SHA-256", &Digest(lines.hash.finalize().into()), &manifest.sha256);
    if let Some((earliest, latest)) = span {
        found.compare("earliest time", &earliest, &document::truncated(manifest.earliest));
        found.compare("latest time", &latest, &document::truncated(manifest.latest));
    }
    Ok(Some(found))
}

/// The document before, as far as the chain needs it.
#[derive(Clone, Copy)]
struct Link {
    seq: Seq,
    digest: Digest,
}

/// Why this document cannot stand here; nothing when it can.
fn disagrees(head: &Head<'_>, manifest: &Manifest, before: Link) -> Option<String> {
    if head.source != manifest.source || head.journal != manifest.journal || head.class != manifest.class {
        return Some("it is of another gate, journal or class than the manifest says".to_owned());
    }
    if head.seq != before.seq.next() {
        return Some(format!("it stands where number {} should", before.seq.next()));
    }
    if head.prev != before.digest {
        return Some(format!("it names another document before it: number {} or this one was changed", before.seq));
    }
    None
}

/// A file line by line, hashed as it is read, no line kept longer than a document may be.
struct Lines {
    input: BufReader<File>,
    hash: Sha256,
    bytes: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Reads the next line into `line`, without its end. Whether it had one; nothing at the end of the file.
    fn next(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        // One byte more than the longest document and its end, so that a longer line is seen to be longer.
        let taken = self.input.by_ref().take(DOCUMENT_MAX as u64 + 2).read_until(b'\n', &mut self.line)?;
        if taken == 0 {
            return Ok(None);
        }
        self.hash.update(&self.line);
        self.bytes += taken as u64;
        let mut whole = self.line.last() == Some(&b'\n');
        if whole {
            self.line.pop();
        } else {
            whole = self.skip()?;
        }
        Ok(Some(whole))
    }

    /// Hashes the rest of a line without keeping it; whether it has an end.
    fn skip(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            let (length, found) = buffer.iter().position(|byte| *byte == b'\n').map_or((buffer.len(), false), |at| (at + 1, true));
            self.hash.update(&buffer[..length]);
            self.bytes += length as u64;
            self.input.consume(length);
            if found {
                return Ok(true);
            }
        }
    }
}
