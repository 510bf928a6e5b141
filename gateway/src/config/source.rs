//! One configuration file as text, read with a limit, and where in it something stands.
//!
//! A path given by a person may name anything: a directory, a pipe nobody writes to, a disk. Opening never blocks
//! and reading never takes more than the limit.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    ops::Range,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::fault::{Fault, Place};

/// Largest configuration file, in bytes: a hundred times what the largest gate needs, and nothing to a small computer.
pub const CONFIG_FILE_MAX_BYTES: u64 = 1 << 20;
/// Largest register of seals, in bytes: some fifty thousand seals.
pub const SEALS_FILE_MAX_BYTES: u64 = 8 << 20;

/// Permission bits that let a group change a file, or everybody else read, change or run it. A group may read: that is how
/// the user that runs segel reads what belongs to root.
const EXPOSED: u32 = 0o027;
/// Those that let everybody read or change it.
const EVERYBODY: u32 = 0o007;
/// The user who may do everything anyway.
const ROOT: u32 = 0;

/// What may be shown of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// The configuration: everything but passwords, hashes and what looks like one.
    Settings,
    /// The register of seals: nothing but identities.
    Seals,
    /// The keys and passwords of seals: nothing but whose they are.
    Keys,
}

/// One file as it was read.
#[derive(PartialEq, Eq)]
pub(super) struct SourceFile {
    /// As the person named it.
    pub(super) path: PathBuf,
    /// Its place in the order of loading, for sorting faults.
    pub(super) rank: usize,
    /// The whole text.
    pub(super) text: String,
    /// The permission bits.
    pub(super) mode: u32,
    /// The number of the user it belongs to.
    pub(super) owner: u32,
    /// What may be shown of it.
    pub(super) secrecy: Secrecy,
}

/// Never the text: secrets stand in it, and faults that are printed for a developer hold their file.
impl std::fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceFile").field("path", &self.path).field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Why somebody else may change what belongs to `owner`: what is wrong and what to do. Whoever owns a file may change it.
pub(super) fn foreign(path: &Path, owner: u32) -> Option<(String, String)> {
    (owner != ROOT && owner != rustix::process::geteuid().as_raw()).then(|| {
        let problem = format!("this belongs to another user (number {owner}), who may change the keys of seals");
        (problem, format!("chown it to root or to the user that runs segel: {}", path.display()))
    })
}

impl SourceFile {
    /// What lets others read or change the keys in this file, each with what to do.
    pub(super) fn exposures(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        if self.mode & EXPOSED != 0 {
            let whose = if self.mode & EVERYBODY == 0 { "its group may change" } else { "everybody on this computer may read or change" };
            let remedy = format!("chmod 0640 {0} and chgrp it to the group that runs segel", self.path.display());
            all.push((format!("{whose} the keys of seals (mode {:04o})", self.mode), remedy));
        }
        all.extend(foreign(&self.path, self.owner));
        all
    }

    /// Reads a file of at most `limit` bytes.
    pub(super) fn read(path: &Path, rank: usize, secrecy: Secrecy, limit: u64) -> Result<Self, Box<Fault>> {
        Self::open(path, path, OFlags::empty(), rank, secrecy, limit)
    }

    /// The same of a file whose links were followed and found good: `real` is read and no link any more, `path` is named.
    pub(super) fn read_found(path: &Path, real: &Path, rank: usize, secrecy: Secrecy, limit: u64) -> Result<Self, Box<Fault>> {
        Self::open(path, real, OFlags::NOFOLLOW, rank, secrecy, limit)
    }

    fn open(path: &Path, real: &Path, flags: OFlags, rank: usize, secrecy: Secrecy, limit: u64) -> Result<Self, Box<Fault>> {
        let whole = || Place::Whole { path: path.to_owned(), rank };
        let fault = |problem: String, remedy: &str| Box::new(Fault::new(whole(), problem, remedy));
        let unreadable = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound => fault("the file is not there".into(), "create it, or name another one"),
            io::ErrorKind::PermissionDenied => {
                fault("the file may not be read".into(), "give the user that runs segel the right to read it, or run as that user")
            }
            _ => fault(format!("the file cannot be read: {error}"), "repair the file or the disk it is on"),
        };
        let flags = i32::try_from((OFlags::NONBLOCK | flags).bits()).expect("these are low bits");
        let file = OpenOptions::new().read(true).custom_flags(flags).open(real).map_err(|e| unreadable(&e))?;
        let facts = file.metadata().map_err(|e| unreadable(&e))?;
        if facts.is_dir() {
            return Err(fault("this is a directory, not a file".into(), "name the file itself, e.g. /etc/segel/segel.toml"));
        }
        if !facts.is_file() {
            return Err(fault("this is no regular file".into(), "name a text file; devices, pipes and sockets are not read"));
        }
        let too_big = || {
            let size = facts.len().max(limit + 1);
            fault(format!("the file has {size} bytes; at most {limit} are read"), "name the right file; no configuration is that long")
        };
        if facts.len() > limit {
            return Err(too_big());
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        if bytes.len() as u64 > limit {
            return Err(too_big());
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            fault(format!("line {line} is not UTF-8 text"), "save the file as UTF-8")
        })?;
        Ok(Self { path: path.to_owned(), rank, text, mode: facts.mode() & 0o777, owner: facts.uid(), secrecy })
    }

    /// The line number of a position, from 1.
    pub(super) fn line_number(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The bytes of the line a position stands in, without its end.
    pub(super) fn line(&self, at: usize) -> Range<usize> {
        let bytes = self.text.as_bytes();
        let at = at.min(bytes.len());
        let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end);
        if end > start && bytes[end - 1] == b'\r' {
            end -= 1;
        }
        start..end
    }
}
