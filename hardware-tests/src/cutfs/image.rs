//! The content of a disk: directories and files, by path.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// One thing on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A directory with its permissions.
    Directory(u16),
    /// A file with its permissions and bytes.
    File(u16, Vec<u8>),
}

/// What is on a disk. Paths are relative; a directory comes before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub(super) items: BTreeMap<PathBuf, Item>,
}

impl Image {
    /// What is in a real directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        image.take_in(dir, Path::new(""))?;
        Ok(image)
    }

    fn take_in(&mut self, dir: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            let mode = (entry.metadata()?.permissions().mode() & 0o7777) as u16;
            if kind.is_dir() {
                self.items.insert(path.clone(), Item::Directory(mode));
                self.take_in(&entry.path(), &path)?;
            } else if kind.is_file() {
                self.items.insert(path, Item::File(mode, fs::read(entry.path())?));
            }
        }
        Ok(())
    }

    /// The same with one more file.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        self.items.insert(path.into(), Item::File(0o644, bytes.into()));
        self
    }

    /// Writes it into an empty directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lay(&self, dir: &Path) -> io::Result<()> {
        for (path, item) in &self.items {
            let path = dir.join(path);
            match item {
                Item::Directory(mode) => fs::DirBuilder::new().mode(u32::from(*mode)).create(path)?,
                Item::File(mode, bytes) => {
                    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(u32::from(*mode)).open(path)?;
                    io::Write::write_all(&mut file, bytes)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of one file.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.items.get(Path::new(path)) {
            Some(Item::File(_, bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.items.keys().map(PathBuf::as_path)
    }
}
