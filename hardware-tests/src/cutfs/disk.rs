//! Files and directories twice over: as written, and as synced.
//!
//! What must hold: `kept` changes only by a sync; every change since then is remembered in the order it was made, over
//! all files and names together, so that a cut can keep any part of them. Pure: no clock, no chance, no kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::image::{Image, Item};

/// Number of a file or directory.
pub(super) type Ino = u64;
/// The directory everything is in.
pub(super) const ROOT: Ino = 1;
/// Unit of what a disk keeps of a file, in bytes.
pub(super) const PAGE: usize = 4096;
/// Bytes not synced that are remembered of one file. Beyond it the oldest are taken as kept: a kernel writes back as well.
const UNSYNCED_MAX: usize = 64 << 20;

/// One change of a file's bytes.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Its place in the order of all changes.
    pub(super) at: u64,
    pub(super) what: Bytes,
    /// A sync failed over it: no later one makes it durable.
    pub(super) doomed: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Bytes {
    Written(usize, Vec<u8>),
    Length(usize),
}

impl Bytes {
    fn size(&self) -> usize {
        match self {
            Self::Written(_, bytes) => bytes.len(),
            Self::Length(_) => 0,
        }
    }

    /// Makes the change in `file`.
    pub(super) fn make(&self, file: &mut Vec<u8>) {
        match self {
            Self::Written(offset, bytes) => {
                let end = offset + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => file.resize(*length, 0),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) mode: u16,
    pub(super) now: Vec<u8>,
    pub(super) kept: Vec<u8>,
    pub(super) changes: Vec<Change>,
    unsynced: usize,
    /// Pages that take space: those written, and those reserved.
    pages: BTreeSet<usize>,
    /// Names it has now.
    pub(super) links: u32,
    /// How often it is open: a file without a name takes space as long as it is.
    pub(super) opened: u32,
}

#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) mode: u16,
    pub(super) parent: Ino,
    pub(super) now: BTreeMap<OsString, Ino>,
    pub(super) kept: BTreeMap<OsString, Ino>,
}

#[derive(Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

/// One change of names, which is made as a whole.
#[derive(Debug, Clone)]
pub(super) struct NameChange {
    pub(super) at: u64,
    /// Names that are gone.
    pub(super) gone: Vec<(Ino, OsString)>,
    /// A name that is there now, in place of whatever was.
    pub(super) there: Option<(Ino, OsString, Ino)>,
}

impl NameChange {
    fn is_in(&self, directory: Ino) -> bool {
        self.gone.iter().any(|(dir, _)| *dir == directory) || self.there.as_ref().is_some_and(|(dir, ..)| *dir == directory)
    }

    /// Makes the change in `names`.
    pub(super) fn make(&self, names: &mut BTreeMap<Ino, BTreeMap<OsString, Ino>>) {
        for (dir, name) in &self.gone {
            names.entry(*dir).or_default().remove(name);
        }
        if let Some((dir, name, ino)) = &self.there {
            names.entry(*dir).or_default().insert(name.clone(), *ino);
        }
    }
}

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<Ino, Node>,
    pub(super) names: Vec<NameChange>,
    last: Ino,
    clock: u64,
}

impl Disk {
    /// A disk with this on it, all of it synced.
    pub(super) fn of(image: &Image) -> Self {
        let root = Directory { mode: 0o755, parent: ROOT, ..Directory::default() };
        let mut disk = Self { nodes: BTreeMap::from([(ROOT, Node::Directory(root))]), names: Vec::new(), last: ROOT, clock: 0 };
        for (path, item) in &image.items {
            let parent = path.parent().and_then(|parent| disk.find(parent)).expect("a directory comes before what is in it");
            let name = path.file_name().expect("every path in an image ends in a name");
            match item {
                Item::Directory(mode) => {
                    disk.make_directory(parent, name, *mode);
                }
                Item::File(mode, bytes) => {
                    let ino = disk.create(parent, name, *mode);
                    disk.change(ino, Bytes::Written(0, bytes.clone()));
                    disk.sync(ino);
                }
            }
        }
        let all: Vec<_> = disk.nodes.keys().copied().collect();
        all.into_iter().for_each(|ino| disk.sync_directory(ino));
        disk
    }

    fn find(&self, path: &Path) -> Option<Ino> {
        path.iter().try_fold(ROOT, |at, name| self.lookup(at, name))
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn add(&mut self, node: Node) -> Ino {
        self.last += 1;
        self.nodes.insert(self.last, node);
        self.last
    }

    pub(super) fn file(&self, ino: Ino) -> Option<&File> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> Option<&mut File> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    pub(super) fn directory(&self, ino: Ino) -> Option<&Directory> {
        match self.nodes.get(&ino) {
            Some(Node::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, ino: Ino) -> Option<&mut Directory> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn lookup(&self, parent: Ino, name: &OsStr) -> Option<Ino> {
        self.directory(parent)?.now.get(name).copied()
    }

    /// Every name a file has, for faults that are about some files only.
    pub(super) fn names_of(&self, ino: Ino) -> Vec<OsString> {
        let directories = self.nodes.values().filter_map(|node| if let Node::Directory(directory) = node { Some(directory) } else { None });
        directories.flat_map(|d| d.now.iter().chain(&d.kept)).filter(|(_, there)| **there == ino).map(|(name, _)| name.clone()).collect()
    }

    // ---- names ----

    pub(super) fn create(&mut self, parent: Ino, name: &OsStr, mode: u16) -> Ino {
        let ino = self.add(Node::File(File { mode, ..File::default() }));
        self.link(parent, name, ino);
        ino
    }

    pub(super) fn make_directory(&mut self, parent: Ino, name: &OsStr, mode: u16) -> Ino {
        let ino = self.add(Node::Directory(Directory { mode, parent, ..Directory::default() }));
        self.link(parent, name, ino);
        ino
    }

    pub(super) fn link(&mut self, parent: Ino, name: &OsStr, ino: Ino) {
        self.rename_names(NameChange { at: 0, gone: Vec::new(), there: Some((parent, name.to_owned(), ino)) });
    }

    pub(super) fn unlink(&mut self, parent: Ino, name: &OsStr) {
        self.rename_names(NameChange { at: 0, gone: vec![(parent, name.to_owned())], there: None });
    }

    pub(super) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr)) {
        let Some(ino) = self.lookup(from.0, from.1) else { return };
        let there = Some((to.0, to.1.to_owned(), ino));
        self.rename_names(NameChange { at: 0, gone: vec![(from.0, from.1.to_owned())], there });
        if let Some(directory) = self.directory_mut(ino) {
            directory.parent = to.0;
        }
    }

    fn rename_names(&mut self, mut change: NameChange) {
        change.at = self.tick();
        for (dir, name) in &change.gone {
            let was = self.directory_mut(*dir).and_then(|directory| directory.now.remove(name));
            self.count_link(was, -1);
        }
        if let Some((dir, name, ino)) = &change.there {
            let was = self.directory_mut(*dir).and_then(|directory| directory.now.insert(name.clone(), *ino));
            self.count_link(was, -1);
            self.count_link(Some(*ino), 1);
        }
        self.names.push(change);
    }

    fn count_link(&mut self, ino: Option<Ino>, by: i32) {
        if let Some(file) = ino.and_then(|ino| self.file_mut(ino)) {
            file.links = file.links.saturating_add_signed(by);
        }
    }

    /// Makes the names in a directory durable. A change that concerns two directories is durable with either.
    pub(super) fn sync_directory(&mut self, ino: Ino) {
        if self.directory(ino).is_none() {
            return;
        }
        let mut names = self.kept_names();
        self.names.retain(|change| {
            let synced = change.is_in(ino);
            if synced {
                change.make(&mut names);
            }
            !synced
        });
        for (dir, kept) in names {
            if let Some(directory) = self.directory_mut(dir) {
                directory.kept = kept;
            }
        }
    }

    pub(super) fn kept_names(&self) -> BTreeMap<Ino, BTreeMap<OsString, Ino>> {
        let directories = self.nodes.iter().filter_map(|(ino, node)| match node {
            Node::Directory(directory) => Some((*ino, directory.kept.clone())),
            Node::File(_) => None,
        });
        directories.collect()
    }

    // ---- bytes ----

    pub(super) fn write(&mut self, ino: Ino, offset: usize, bytes: &[u8]) {
        self.change(ino, Bytes::Written(offset, bytes.to_vec()));
    }

    pub(super) fn set_length(&mut self, ino: Ino, length: usize) {
        self.change(ino, Bytes::Length(length));
    }

    /// Takes space for this part of a file without writing there.
    pub(super) fn reserve(&mut self, ino: Ino, offset: usize, length: usize) {
        if let Some(file) = self.file_mut(ino) {
            file.pages.extend(pages(offset, length));
        }
    }

    fn change(&mut self, ino: Ino, what: Bytes) {
        let at = self.tick();
        let Some(file) = self.file_mut(ino) else { return };
        what.make(&mut file.now);
        match &what {
            Bytes::Written(offset, bytes) => file.pages.extend(pages(*offset, bytes.len())),
            Bytes::Length(length) => file.pages.retain(|page| page * PAGE < *length),
        }
        file.unsynced += what.size();
        file.changes.push(Change { at, what, doomed: false });
        while file.unsynced > UNSYNCED_MAX {
            let oldest = file.changes.remove(0);
            file.unsynced -= oldest.what.size();
            if !oldest.doomed {
                oldest.what.make(&mut file.kept);
            }
        }
    }

    /// Makes the bytes of a file durable, all but those a failed sync has given up.
    pub(super) fn sync(&mut self, ino: Ino) {
        let Some(file) = self.file_mut(ino) else { return };
        for change in file.changes.drain(..).filter(|change| !change.doomed) {
            change.what.make(&mut file.kept);
        }
        file.unsynced = 0;
    }

    /// A sync failed: the kernel takes the pages as clean from now on.
    pub(super) fn fail_sync(&mut self, ino: Ino) {
        if let Some(file) = self.file_mut(ino) {
            file.changes.iter_mut().for_each(|change| change.doomed = true);
        }
    }

    // ---- space ----

    /// Bytes of space that all files take.
    pub(super) fn used(&self) -> u64 {
        let files = self.nodes.values().filter_map(|node| if let Node::File(file) = node { Some(file) } else { None });
        files.filter(|file| file.links > 0 || file.opened > 0).map(File::space).sum()
    }

    /// Bytes of space that this change of a file would take in addition.
    pub(super) fn would_take(&self, ino: Ino, offset: usize, length: usize) -> u64 {
        let Some(file) = self.file(ino) else { return 0 };
        pages(offset, length).filter(|page| !file.pages.contains(page)).count() as u64 * PAGE as u64
    }

    /// Everything as it is now.
    pub(super) fn now(&self) -> Image {
        let names = self.nodes.iter().filter_map(|(ino, node)| match node {
            Node::Directory(directory) => Some((*ino, directory.now.clone())),
            Node::File(_) => None,
        });
        self.image(&names.collect(), |file| file.now.clone())
    }

    /// What can be reached from the root over these names.
    pub(super) fn image(&self, names: &BTreeMap<Ino, BTreeMap<OsString, Ino>>, mut bytes: impl FnMut(&File) -> Vec<u8>) -> Image {
        let mut image = Image::default();
        let mut open = vec![(ROOT, PathBuf::new())];
        let mut been = BTreeSet::new();
        while let Some((dir, path)) = open.pop() {
            for (name, ino) in names.get(&dir).into_iter().flatten() {
                let path = path.join(name);
                match self.nodes.get(ino) {
                    // A directory whose old and new name both survived is found once.
                    Some(Node::Directory(directory)) if been.insert(*ino) => {
                        image.items.insert(path.clone(), Item::Directory(directory.mode));
                        open.push((*ino, path));
                    }
                    Some(Node::File(file)) => {
                        image.items.insert(path, Item::File(file.mode, bytes(file)));
                    }
                    _ => {}
                }
            }
        }
        image
    }
}

impl File {
    /// Bytes of space it takes.
    pub(super) fn space(&self) -> u64 {
        self.pages.len() as u64 * PAGE as u64
    }
}

/// The pages that this part of a file touches.
fn pages(offset: usize, length: usize) -> std::ops::Range<usize> {
    if length == 0 { 0..0 } else { offset / PAGE..(offset + length).div_ceil(PAGE) }
}
