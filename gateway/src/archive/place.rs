//! Where the archive is, and whether it can be used now.
//!
//! What must hold: a directory somebody named is never created, so that a disk that is not mounted is noticed instead
//! of filling the disk below it; only our own directory beside the journal is.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::ArchiveError;
use crate::event::{JournalId, Source};

/// The directory's name beside the journal, where nothing else is configured.
const OWN: &str = "archive";

/// Whether the archive's disk may be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Medium {
    /// It is there whenever the computer runs.
    #[default]
    Fixed,
    /// It may be missing; without it the directory lies on the journal's own file system.
    Removable,
}

/// The archive directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    dir: PathBuf,
    state_dir: PathBuf,
    medium: Medium,
    named: bool,
}

impl Place {
    /// The archive of the journal in `state_dir`: in `named`, or beside the journal.
    #[must_use]
    pub fn new(state_dir: &Path, named: Option<&Path>, medium: Medium) -> Self {
        let dir = named.map_or_else(|| state_dir.join(OWN), Path::to_owned);
        Self { dir, state_dir: state_dir.to_owned(), medium, named: named.is_some() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it can be used now. Our own directory is created.
    ///
    /// # Errors
    /// When it is missing, no directory, or not on a disk of its own though it should be.
    pub fn check(&self) -> Result<(), ArchiveError> {
        if !self.named {
            make(&self.dir)?;
        }
        let found = match fs::metadata(&self.dir) {
            Ok(found) => found,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Err(ArchiveError::Missing { dir: self.dir.clone() }),
            Err(fault) => return Err(ArchiveError::of(&self.dir, fault)),
        };
        if !found.is_dir() {
            return Err(ArchiveError::NotADirectory { path: self.dir.clone() });
        }
        if self.medium == Medium::Removable {
            let state = fs::metadata(&self.state_dir).map_err(|fault| ArchiveError::of(&self.state_dir, fault))?;
            if state.dev() == found.dev() {
                return Err(ArchiveError::NotApart { dir: self.dir.clone() });
            }
        }
        Ok(())
    }

    /// The folder of this journal's segments, checked and made.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when the folder cannot be made.
    pub fn folder(&self, source: &Source, journal: JournalId) -> Result<PathBuf, ArchiveError> {
        self.check()?;
        let gate = self.dir.join(format!("{}-{}", source.site(), source.gate()));
        make(&gate)?;
        let folder = gate.join(journal.to_string());
        make(&folder)?;
        Ok(folder)
    }
}

/// Makes a directory whose parent is there, durably; well if it is there already.
fn make(dir: &Path) -> Result<(), ArchiveError> {
    match fs::create_dir(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), sync),
        // Whoever made it may have died before it was durable.
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => dir.parent().map_or(Ok(()), sync),
        Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => Err(ArchiveError::NotADirectory { path: dir.to_owned() }),
        // A disk pulled between the check and now.
        Err(fault) => Err(ArchiveError::of(dir, fault)),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), ArchiveError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|fault| ArchiveError::of(dir, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_somebody_named_is_never_created() {
        let state = tempfile::tempdir().unwrap();
        let named = state.path().join("mnt");
        let place = Place::new(state.path(), Some(&named), Medium::Fixed);
        assert!(matches!(place.check(), Err(ArchiveError::Missing { .. })));
        assert!(!named.exists());
        fs::create_dir(&named).unwrap();
        place.check().unwrap();
    }

    #[test]
    fn our_own_directory_is_created_beside_the_journal() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::new(state.path(), None, Medium::Fixed);
        place.check().unwrap();
        assert_eq!(place.dir(), state.path().join("archive"));
        assert!(place.dir().is_dir());
    }

    #[test]
    fn a_removable_disk_that_is_not_mounted_is_noticed() {
        let state = tempfile::tempdir().unwrap();
        let mountpoint = state.path().join("usb");
        fs::create_dir(&mountpoint).unwrap();
        let place = Place::new(state.path(), Some(&mountpoint), Medium::Removable);
        let said = place.check().unwrap_err();
        assert!(matches!(said, ArchiveError::NotApart { .. }), "{said}");
        assert!(said.to_string().contains("mount that disk"), "{said}");
        // Another file system that every Linux has, read only as the mountpoint of this check.
        Place::new(state.path(), Some(Path::new("/proc")), Medium::Removable).check().unwrap();
    }

    #[test]
    fn something_else_in_the_way_is_named() {
        let state = tempfile::tempdir().unwrap();
        let source = Source::new("idsrg", "g01").unwrap();
        let place = Place::new(state.path(), None, Medium::Fixed);
        place.check().unwrap();
        fs::write(place.dir().join("idsrg-g01"), "a file").unwrap();
        let said = place.folder(&source, JournalId(uuid::Uuid::nil())).unwrap_err();
        assert!(matches!(&said, ArchiveError::NotADirectory { path } if path.ends_with("idsrg-g01")), "{said}");
        fs::remove_dir_all(place.dir()).unwrap();
        fs::write(place.dir(), "a file").unwrap();
        assert!(matches!(place.check(), Err(ArchiveError::NotADirectory { .. })));
    }
}
