//! Writing one segment: documents, manifest, and both read back before anybody relies on them.
//!
//! ```text
//!   documents.jsonl.part ──sync, rename, sync dir──► documents.jsonl ┐
//!   manifest.json.part   ──sync, rename, sync dir──► manifest.json   ┴─► read back from the disk, compared ─► Sealed
//! ```
//!
//! What must hold: memory is bounded whatever the segment's size; every document is checked against the chain on its
//! way out, so that nothing damaged is sealed as good; what carries a final name is whole. After a crash or a stop
//! anywhere, what is left is a `.part` or files no journal knows of: both are written anew.
//!
//! A finished file in the way with other bytes (an interrupted run's, with another extent) is kept as `.leftover`.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    ArchiveError, FORM, Manifest, PROGRAM,
    lines::{self, Compared},
    manifest::{Kind, SegmentName},
    place,
};
use crate::{
    event::{
        Class, Digest, Seq, Source, Stamp,
        document::{self, Head},
    },
    journal::{JournalReader, Record},
};

/// Documents read from the journal at a time ...
pub(super) const PAGE: usize = 256;
/// ... and bytes of them: with as much again on its way to the file, what sealing costs in memory.
pub(super) const PAGE_BYTES: usize = 256 * 1024;
/// What is written is made durable in steps of this size: a journal on the same disk would otherwise wait for all of it.
const SYNC_EVERY: u64 = 1 << 20;
/// A file that is not finished.
pub(super) const PART: &str = "part";
/// A finished file of an interrupted run that another one replaced.
pub(super) const LEFTOVER: &str = "leftover";

/// Which documents make the segment, and what it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The gate.
    pub source: Source,
    /// The class.
    pub class: Class,
    /// The last number that is in no segment yet and gone from the journal, or none; the segment begins after it.
    pub front: Seq,
    /// Its digest.
    pub prev: Digest,
    /// The last number of the segment.
    pub last: Seq,
    /// SHA-256 of the manifest before this one in the class; zeros for the first.
    pub previous_manifest: Digest,
    /// Now.
    pub now: Stamp,
}

/// How far sealing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many documents more are written.
    Written(u64),
    /// So many documents more are read back and are what was written.
    ReadBack(u64),
}

/// A segment that is durable and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What is in it.
    pub manifest: Manifest,
    /// SHA-256 of its manifest's file.
    pub manifest_digest: Digest,
    /// Where its files are.
    pub folder: PathBuf,
    /// Bytes of its documents without line ends, as the journal counts them.
    pub document_bytes: u64,
}

/// Writes the segment into `folder`. Blocks for as long as that takes: for `spawn_blocking`. `watch` is called between
/// pages; when it breaks, nothing but a `.part` or unrecorded files is left.
///
/// # Errors
/// [`ArchiveError`], with what to do; a full disk has its `.part` removed.
pub fn seal(
    reader: &JournalReader,
    folder: &Path,
    order: &Order,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Sealed, ArchiveError> {
    let sealing = Sealing::new(reader, folder, order);
    let written = sealing.as_before(sealing.write_documents(watch)?);
    sealing.name_documents(&written)?;
    sealing.write_manifest(&written)?;
    sealing.name_manifest()?;
    sealing.read_back(&written, watch)?;
    Ok(Sealed {
        manifest_digest: Digest::of(&written.manifest.write()),
        document_bytes: written.manifest.bytes - written.manifest.count,
        manifest: written.manifest,
        folder: folder.to_owned(),
    })
}

/// One segment on its way, a step at a time.
pub(super) struct Sealing<'a> {
    reader: &'a JournalReader,
    folder: &'a Path,
    order: &'a Order,
    name: SegmentName,
}

/// The documents are in their `.part`.
pub(super) struct Written {
    pub(super) manifest: Manifest,
}

impl<'a> Sealing<'a> {
    pub(super) fn new(reader: &'a JournalReader, folder: &'a Path, order: &'a Order) -> Self {
        let name = SegmentName { class: order.class, first: order.front.next(), last: order.last };
        Self { reader, folder, order, name }
    }

    fn documents(&self) -> PathBuf {
        self.folder.join(self.name.documents())
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join(self.name.manifest())
    }

    pub(super) fn write_documents(&self, watch: &mut dyn FnMut(Step) -> ControlFlow<()>) -> Result<Written, ArchiveError> {
        let mut part = Part::create(&self.documents())?;
        let mut chain = Chain::new(self.reader, self.order);
        while chain.seq < self.order.last {
            let mut records = self.reader.after(self.order.class, chain.seq, PAGE, PAGE_BYTES)?;
            records.retain(|record| record.seq <= self.order.last);
            if records.is_empty() {
                return Err(chain.moved_on());
            }
            for record in &records {
                chain.check(record)?;
                part.write(&record.doc)?;
            }
            if watch(Step::Written(records.len() as u64)).is_break() {
                return Err(ArchiveError::Stopped);
            }
        }
        let (bytes, sha256) = part.finish()?;
        let (earliest, latest) = chain.span.unwrap_or((self.order.now.wall, self.order.now.wall));
        Ok(Written {
            manifest: Manifest {
                v: FORM,
                source: self.order.source.clone(),
                journal: self.reader.journal(),
                class: self.order.class,
                first: self.name.first,
                last: self.name.last,
                count: self.name.last.0 - self.order.front.0,
                bytes,
                prev: self.order.prev,
                digest: chain.digest,
                sha256,
                previous_manifest: self.order.previous_manifest,
                earliest,
                latest,
                sealed_at: document::truncated(self.order.now.wall),
                sealed_at_clock: self.order.now.clock,
                program: PROGRAM.to_owned(),
            },
        })
    }

    /// A finished manifest of the same documents stays as it is, byte for byte: it may be signed already (a database that
    /// was restored from a copy meets such).
    pub(super) fn as_before(&self, written: Written) -> Written {
        let found = fs::read(self.manifest()).ok().and_then(|text| Manifest::parse(&text).ok().filter(|found| found.write() == text));
        let now = &written.manifest;
        let same = found.filter(|found| {
            let sealed =
                Manifest { sealed_at: now.sealed_at, sealed_at_clock: now.sealed_at_clock, program: now.program.clone(), ..found.clone() };
            sealed == *now
        });
        same.map_or(written, |manifest| Written { manifest })
    }

    pub(super) fn name_documents(&self, written: &Written) -> Result<(), ArchiveError> {
        self.clear_the_way(written)?;
        publish(&self.documents())
    }

    pub(super) fn write_manifest(&self, written: &Written) -> Result<(), ArchiveError> {
        let mut part = Part::create(&self.manifest())?;
        part.put(&written.manifest.write())?;
        part.finish().map(drop)
    }

    pub(super) fn name_manifest(&self) -> Result<(), ArchiveError> {
        publish(&self.manifest())
    }

    pub(super) fn read_back(&self, written: &Written, watch: &mut dyn FnMut(Step) -> ControlFlow<()>) -> Result<(), ArchiveError> {
        let path = self.manifest();
        let text = fs::read(&path).map_err(|fault| ArchiveError::of(&path, fault))?;
        if text != written.manifest.write() {
            return Err(ArchiveError::Altered { path, what: "the manifest has other bytes".to_owned() });
        }
        let path = self.documents();
        let compared = lines::compare(&path, &written.manifest, |_| {}, &mut |done| watch(Step::ReadBack(done)));
        match compared.map_err(|fault| ArchiveError::of(&path, fault))? {
            None => Err(ArchiveError::Stopped),
            Some(Compared { differences, .. }) => match differences.into_iter().next() {
                None => Ok(()),
                Some(what) => Err(ArchiveError::Altered { path, what }),
            },
        }
    }

    /// Keeps aside finished files of interrupted runs that hold some of the same numbers, unless they are the very file
    /// about to be written. No journal knows of them, or their numbers would not be here any more.
    fn clear_the_way(&self, written: &Written) -> Result<(), ArchiveError> {
        let fault = |fault| ArchiveError::of(self.folder, fault);
        let mut aside = Vec::new();
        for entry in fs::read_dir(self.folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let Some((name, kind)) = entry.file_name().to_str().and_then(SegmentName::of_file) else { continue };
            let overlaps = name.class == self.name.class && name.last >= self.name.first && name.first <= self.name.last;
            if !overlaps || (name == self.name && kind == Kind::Manifest) {
                continue;
            }
            let same =
                name == self.name && is_same(&entry.path(), &written.manifest).map_err(|fault| ArchiveError::of(&entry.path(), fault))?;
            if !same {
                aside.push(entry.path());
            }
        }
        for path in aside {
            let to = free_name(&path);
            tracing::warn!(from = %path.display(), to = %to.display(), "a file of an interrupted archive run is kept aside; the segment is written anew");
            fs::rename(&path, &to).map_err(|fault| ArchiveError::of(&path, fault))?;
        }
        Ok(())
    }
}

/// A name for a leftover that nothing has yet: nothing finished is ever written over.
fn free_name(path: &Path) -> PathBuf {
    let numbered = (2..).map(|number: u32| with(&with(path, &number.to_string()), LEFTOVER));
    let mut names = std::iter::once(with(path, LEFTOVER)).chain(numbered);
    names.find(|name| !name.exists()).expect("there are four thousand million names")
}

/// Whether this file has the bytes the manifest states.
fn is_same(path: &Path, manifest: &Manifest) -> io::Result<bool> {
    if fs::metadata(path)?.len() != manifest.bytes {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hash))?;
    Ok(Digest(hash.finalize().into()) == manifest.sha256)
}

/// What is written here is hashed.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a finished `.part` its name, durably.
fn publish(path: &Path) -> Result<(), ArchiveError> {
    fs::rename(with(path, PART), path).map_err(|fault| ArchiveError::of(path, fault))?;
    path.parent().map_or(Ok(()), place::sync)
}

/// The path with one more word at its end.
fn with(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    PathBuf::from(name)
}

/// The chain on its way out of the journal.
struct Chain<'a> {
    reader: &'a JournalReader,
    order: &'a Order,
    seq: Seq,
    digest: Digest,
    span: Option<(Timestamp, Timestamp)>,
}

impl<'a> Chain<'a> {
    fn new(reader: &'a JournalReader, order: &'a Order) -> Self {
        Self { reader, order, seq: order.front, digest: order.prev, span: None }
    }

    fn check(&mut self, record: &Record) -> Result<(), ArchiveError> {
        let damaged = |what: String| ArchiveError::Damaged { class: self.order.class, seq: record.seq, what };
        if record.seq != self.seq.next() {
            return Err(self.moved_on());
        }
        let head = Head::parse(&record.doc).map_err(|fault| damaged(fault.to_string()))?;
        let agrees = head.class == self.order.class
            && head.seq == record.seq
            && head.id == record.id
            && head.journal == self.reader.journal()
            && head.source == self.order.source;
        if !agrees || record.doc.contains(&b'\n') {
            return Err(damaged("its row and its document disagree".to_owned()));
        }
        if head.prev != self.digest {
            return Err(damaged(format!("it names another document before it: number {} or this one was changed", self.seq)));
        }
        let time = document::truncated(head.time);
        self.span = Some(self.span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
        (self.seq, self.digest) = (record.seq, Digest::of(&record.doc));
        Ok(())
    }

    /// The next document is not there: dropped to make room, as only telemetry is.
    fn moved_on(&self) -> ArchiveError {
        if self.order.class == Class::Telemetry {
            ArchiveError::Overtaken { class: self.order.class, seq: self.seq.next() }
        } else {
            ArchiveError::Damaged { class: self.order.class, seq: self.seq.next(), what: "it is missing".to_owned() }
        }
    }
}

/// A file being written beside its final name.
struct Part {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    hash: Sha256,
    bytes: u64,
    synced: u64,
}

impl Part {
    fn create(path: &Path) -> Result<Self, ArchiveError> {
        let path = with(path, PART);
        // One that is there is an interrupted run's.
        let file = File::create(&path).map_err(|fault| ArchiveError::of(&path, fault))?;
        Ok(Self { file, path, buffer: Vec::with_capacity(PAGE_BYTES), hash: Sha256::new(), bytes: 0, synced: 0 })
    }

    /// One document and its line end.
    fn write(&mut self, document: &[u8]) -> Result<(), ArchiveError> {
        self.put(document)?;
        self.put(b"\n")
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        if self.buffer.len() + bytes.len() > PAGE_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        self.hash.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.file.write_all(&self.buffer).map_err(|fault| self.give_up(fault))?;
        self.buffer.clear();
        if self.bytes - self.synced >= SYNC_EVERY {
            self.synced = self.bytes;
            self.file.sync_data().map_err(|fault| self.give_up(fault))?;
        }
        Ok(())
    }

    /// Its length and SHA-256, once it is durable.
    fn finish(mut self) -> Result<(u64, Digest), ArchiveError> {
        self.flush()?;
        self.file.sync_all().map_err(|fault| self.give_up(fault))?;
        Ok((self.bytes, Digest(self.hash.finalize().into())))
    }

    /// A disk that is full is not left fuller.
    fn give_up(&self, fault: io::Error) -> ArchiveError {
        let error = ArchiveError::of(&self.path, fault);
        if matches!(error, ArchiveError::Full { .. })
            && let Err(fault) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %fault, "an unfinished file could not be removed from the full archive disk");
        }
        error
    }
}
