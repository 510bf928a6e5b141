//! A file that is there whole or not at all, with its SHA-256 beside it.
//!
//! ```text
//!   NAME.part ── written, fsynced ──► renamed to NAME ──► NAME.sha256 written the same way
//! ```
//!
//! What must hold: under NAME there is never half of what was to be written; NAME.sha256 never speaks of an older NAME
//! (it is removed before that is replaced); what was broken off leaves nothing behind, unless the program is killed, and
//! then only NAME.part, which the next one writes over.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes gathered before they are written.
const GATHERED: usize = 256 * 1024;
/// What the unfinished file's name ends with.
const PART: &str = ".part";
/// What the name of the sum ends with.
const SUM: &str = ".sha256";

/// What is to be done with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced when the new one is whole.
    Replace,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutFileError {
    /// It is there already.
    #[error("{0} is there already: give another name, or --force to replace it")]
    Exists(PathBuf),
    /// It is a directory, a device or a pipe.
    #[error("{0} is no regular file: give the name of a file, or - for standard output")]
    NoFile(PathBuf),
    /// It ends in no name.
    #[error("{0} names no file: give a name that does not end in / or ..")]
    NoName(PathBuf),
    /// Somebody writes it now.
    #[error("{0} is being written by another export: wait for that one, or give another name")]
    InUse(PathBuf),
    /// The system refuses.
    #[error("{path} cannot be written: {remedy}", remedy = remedy(.source))]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a person can do about it.
fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => "the disk is full, so give --out on another one or free space",
        Kind::FileTooLarge => "files may not become that large here (`ulimit -f`, or the file system), so give --out elsewhere",
        Kind::NotFound => "make its directory first",
        Kind::PermissionDenied => "write where you may, or run this as another user",
        Kind::ReadOnlyFilesystem => "give --out on a file system that can be written",
        _ => "look for disk errors with `dmesg`, or give --out on another disk",
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct OutFile {
    path: PathBuf,
    part: PathBuf,
    sum: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    finished: bool,
}

impl OutFile {
    /// Begins `path`.
    pub(super) fn create(path: &Path, existing: Existing) -> Result<Self, OutFileError> {
        let (part, sum) = (beside(path, PART)?, beside(path, SUM)?);
        for taken in [path, &sum] {
            match fs::metadata(taken) {
                Ok(meta) if !meta.is_file() => return Err(OutFileError::NoFile(taken.to_owned())),
                Ok(_) if existing == Existing::Keep => return Err(OutFileError::Exists(taken.to_owned())),
                _ => {}
            }
        }
        let cannot = |source| OutFileError::Write { path: part.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&part).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OutFileError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(cannot(source)),
        }
        file.set_len(0).map_err(cannot)?;
        let out = BufWriter::with_capacity(GATHERED, file);
        Ok(Self { path: path.to_owned(), part, sum, out, hash: Sha256::new(), finished: false })
    }

    /// Takes a document and a line end.
    pub(super) fn line(&mut self, document: &[u8]) -> Result<(), OutFileError> {
        for bytes in [document, b"\n"] {
            self.out.write_all(bytes).map_err(|source| OutFileError::Write { path: self.part.clone(), source })?;
            self.hash.update(bytes);
        }
        Ok(())
    }

    /// Puts the whole under its name, durably, and its sum beside it. Returns the sum as hex digits.
    pub(super) fn finish(mut self) -> Result<String, OutFileError> {
        let cannot = |path: &Path| {
            let path = path.to_owned();
            move |source| OutFileError::Write { path, source }
        };
        self.out.flush().and_then(|()| self.out.get_ref().sync_all()).map_err(cannot(&self.part))?;
        match fs::remove_file(&self.sum) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(&self.sum)(error)),
            _ => {}
        }
        fs::rename(&self.part, &self.path).and_then(|()| sync_directory(&self.path)).map_err(cannot(&self.path))?;
        self.finished = true;
        let digest = hex::encode(self.hash.finalize_reset());
        self.write_sum(&digest).map_err(cannot(&self.sum))?;
        Ok(digest)
    }

    fn write_sum(&self, digest: &str) -> io::Result<()> {
        let mut part = self.sum.clone().into_os_string();
        part.push(PART);
        let name = self.path.file_name().map(std::ffi::OsStr::as_bytes).unwrap_or_default();
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(&sum_line(digest, name))?;
            file.sync_all()
        });
        let written = written.and_then(|()| fs::rename(&part, &self.sum)).and_then(|()| sync_directory(&self.sum));
        if written.is_err() {
            // The first error is the one to be told.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_file(&self.part)
        {
            super::say(&format!("{} was left unfinished and cannot be removed: {error}: remove it by hand", self.part.display()));
        }
    }
}

fn beside(path: &Path, ending: &str) -> Result<PathBuf, OutFileError> {
    let mut name: OsString = path.file_name().ok_or_else(|| OutFileError::NoName(path.to_owned()))?.to_owned();
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(OutFileError::NoName(path.to_owned()));
    }
    name.push(ending);
    Ok(path.with_file_name(name))
}

/// Makes the name of a file durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// The line `sha256sum -c` reads; it marks names with line ends or backslashes in them by a backslash in front.
fn sum_line(digest: &str, name: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    let mut escaped = Vec::new();
    for byte in name {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            other => escaped.push(*other),
        }
    }
    if escaped != name {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.as_bytes());
    line.extend_from_slice(b"  ");
    line.extend_from_slice(&escaped);
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_with_its_sum_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let mut file = OutFile::create(&path, Existing::Keep).unwrap();
        file.line(b"{}").unwrap();
        assert!(matches!(OutFile::create(&path, Existing::Keep), Err(OutFileError::InUse(_))));
        assert!(!path.exists() && dir.path().join("out.jsonl.part").exists());
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut file = OutFile::create(&path, Existing::Keep).unwrap();
        file.line(b"{}").unwrap();
        let sum = file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n");
        assert_eq!(fs::read_to_string(dir.path().join("out.jsonl.sha256")).unwrap(), format!("{sum}  out.jsonl\n"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        fs::write(&path, "old").unwrap();
        assert!(matches!(OutFile::create(&path, Existing::Keep), Err(OutFileError::Exists(_))));
        drop(OutFile::create(&path, Existing::Replace).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"old", "broken off, the old one is still there");
        OutFile::create(&path, Existing::Replace).unwrap().finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        let other = dir.path().join("other");
        fs::write(dir.path().join("other.sha256"), "of something else").unwrap();
        assert!(matches!(OutFile::create(&other, Existing::Keep), Err(OutFileError::Exists(_))));
    }

    #[test]
    fn what_is_no_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for existing in [Existing::Keep, Existing::Replace] {
            assert!(matches!(OutFile::create(Path::new("/dev/null"), existing), Err(OutFileError::NoFile(_))));
            assert!(matches!(OutFile::create(dir.path(), existing), Err(OutFileError::NoFile(_))));
            for nameless in ["/", "..", "new/"] {
                assert!(matches!(OutFile::create(Path::new(nameless), existing), Err(OutFileError::NoName(_) | OutFileError::NoFile(_))));
            }
            let said = OutFile::create(&dir.path().join("no/such/file"), existing).unwrap_err().to_string();
            assert!(said.contains("make its directory first"), "{said}");
        }
    }

    #[test]
    fn a_full_disk_is_told_with_its_remedy() {
        let said = OutFileError::Write { path: "x".into(), source: io::ErrorKind::StorageFull.into() }.to_string();
        assert!(said.contains("the disk is full, so give --out on another one"), "{said}");
    }

    #[test]
    fn a_name_with_a_line_end_is_written_as_sha256sum_reads_it() {
        assert_eq!(sum_line("ab", b"a\\b\nc"), b"\\ab  a\\\\b\\nc\n");
    }
}
