//! The thin shell between the kernel and the disk: each request is checked, done in memory, and answered.

use std::{
    ffi::{OsStr, OsString},
    sync::Arc,
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::{
    Shared,
    disk::{Disk, Ino, Node, PAGE},
    fault::Fault,
    state::{State, Wish},
};

/// How long the kernel may believe what it was told of names and sizes. Only it changes them.
const BELIEVED: Duration = Duration::from_secs(1);
/// The unit of space that is told, in bytes: [`PAGE`].
const BLOCK: u32 = 4096;
/// Longest name, as on ext4.
const NAME_MAX: u32 = 255;
/// Space of a disk that is not full: 1 GiB.
const SPACE: u64 = 1 << 30;
/// Files it has room for.
const FILES: u64 = 1 << 16;
/// The part of a mode that is permissions.
const PERMISSIONS: u32 = 0o7777;
/// `fallocate` that leaves the length as it is.
const KEEP_SIZE: i32 = 1;

/// Serves one mount.
#[derive(Debug)]
pub(super) struct Server {
    shared: Arc<Shared>,
    mounted: SystemTime,
    owner: (u32, u32),
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self { shared, mounted: SystemTime::now(), owner }
    }

    /// Does one request, and tells whoever waits for it that the power went.
    fn act<T>(&self, request: impl FnOnce(&mut State) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.shared.lock();
        let outcome = request(&mut state);
        if state.is_dark() {
            self.shared.went_dark.notify_all();
        }
        outcome
    }

    fn attributes(&self, disk: &Disk, ino: Ino) -> Result<FileAttr, Errno> {
        let (kind, size, space, perm, nlink) = match disk.nodes.get(&ino).ok_or(Errno::ENOENT)? {
            Node::File(file) => (FileType::RegularFile, file.now.len() as u64, file.space(), file.mode, file.links),
            Node::Directory(directory) => (FileType::Directory, PAGE as u64, PAGE as u64, directory.mode, 2),
        };
        let time = self.mounted;
        let (uid, gid) = self.owner;
        let (ino, blocks) = (INodeNo(ino), space / 512);
        let (atime, mtime, ctime, crtime) = (time, time, time, time);
        Ok(FileAttr { ino, size, blocks, atime, mtime, ctime, crtime, kind, perm, nlink, uid, gid, rdev: 0, blksize: BLOCK, flags: 0 })
    }

    /// Makes something new under a name nobody has.
    fn make(&self, parent: INodeNo, name: &OsStr, new: impl FnOnce(&mut Disk) -> Ino) -> Result<FileAttr, Errno> {
        self.act(|state| {
            state.may(Wish::Name, &[name.to_owned()])?;
            state.may_take(1)?;
            state.disk.directory(parent.0).ok_or(Errno::ENOTDIR)?;
            if state.disk.lookup(parent.0, name).is_some() {
                return Err(Errno::EEXIST);
            }
            let ino = new(&mut state.disk);
            self.attributes(&state.disk, ino)
        })
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, right: impl FnOnce(&Node) -> Result<(), Errno>) -> Result<(), Errno> {
        self.act(|state| {
            state.may(Wish::Name, &[name.to_owned()])?;
            let ino = state.disk.lookup(parent.0, name).ok_or(Errno::ENOENT)?;
            right(state.disk.nodes.get(&ino).ok_or(Errno::ENOENT)?)?;
            state.disk.unlink(parent.0, name);
            Ok(())
        })
    }

    fn set_length(state: &mut State, ino: Ino, length: u64) -> Result<(), Errno> {
        let names = state.disk.names_of(ino);
        state.may(Wish::Write, &names)?;
        state.disk.set_length(ino, whole(length)?);
        Ok(())
    }
}

fn whole(number: u64) -> Result<usize, Errno> {
    usize::try_from(number).map_err(|_| Errno::EFBIG)
}

/// Answers an empty reply.
fn answer(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn answer_entry(reply: ReplyEntry, outcome: Result<FileAttr, Errno>) {
    match outcome {
        Ok(attributes) => reply.entry(&BELIEVED, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.act(|state| {
            state.may(Wish::Find, &[name.to_owned()])?;
            let ino = state.disk.lookup(parent.0, name).ok_or(Errno::ENOENT)?;
            self.attributes(&state.disk, ino)
        });
        answer_entry(reply, found);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.act(|state| {
            state.may(Wish::Find, &[])?;
            self.attributes(&state.disk, ino.0)
        }) {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let outcome = self.act(|state| {
            if let Some(size) = size {
                Self::set_length(state, ino.0, size)?;
            }
            if let Some(mode) = mode {
                state.may(Wish::Name, &[])?;
                match state.disk.nodes.get_mut(&ino.0) {
                    Some(Node::File(file)) => file.mode = permissions(mode),
                    Some(Node::Directory(directory)) => directory.mode = permissions(mode),
                    None => return Err(Errno::ENOENT),
                }
            }
            state.may(Wish::Find, &[])?;
            self.attributes(&state.disk, ino.0)
        });
        match outcome {
            Ok(attributes) => reply.attr(&BELIEVED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        answer_entry(reply, self.make(parent, name, |disk| disk.make_directory(parent.0, name, permissions(mode & !umask))));
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let is_file = |node: &Node| if matches!(node, Node::File(_)) { Ok(()) } else { Err(Errno::EISDIR) };
        answer(reply, self.remove(parent, name, is_file));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let is_empty = |node: &Node| match node {
            Node::Directory(directory) if directory.now.is_empty() => Ok(()),
            Node::Directory(_) => Err(Errno::ENOTEMPTY),
            Node::File(_) => Err(Errno::ENOTDIR),
        };
        answer(reply, self.remove(parent, name, is_empty));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let outcome = self.act(|state| {
            state.may(Wish::Name, &[name.to_owned(), new_name.to_owned()])?;
            state.disk.lookup(parent.0, name).ok_or(Errno::ENOENT)?;
            state.disk.directory(to.0).ok_or(Errno::ENOTDIR)?;
            let there = state.disk.lookup(to.0, new_name);
            if there.is_some() && flags.contains(RenameFlags::RENAME_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            if flags.contains(RenameFlags::RENAME_EXCHANGE) {
                return Err(Errno::EINVAL);
            }
            if there.and_then(|ino| state.disk.directory(ino)).is_some_and(|directory| !directory.now.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
            state.disk.rename((parent.0, name), (to.0, new_name));
            Ok(())
        });
        answer(reply, outcome);
    }

    fn link(&self, _request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.make(parent, name, |disk| {
            disk.link(parent.0, name, ino.0);
            ino.0
        });
        answer_entry(reply, linked);
    }

    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let outcome = self.act(|state| {
            let names = state.disk.names_of(ino.0);
            state.may(Wish::Find, &names)?;
            state.disk.file_mut(ino.0).ok_or(Errno::ENOENT)?.opened += 1;
            Ok(())
        });
        match outcome {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(&self, _request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _flags: i32, reply: ReplyCreate) {
        let created = self.make(parent, name, |disk| {
            let ino = disk.create(parent.0, name, permissions(mode & !umask));
            disk.file_mut(ino).expect("it was just made").opened += 1;
            ino
        });
        match created {
            Ok(attributes) => reply.created(&BELIEVED, &attributes, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(file) = self.shared.lock().disk.file_mut(ino.0) {
            file.opened = file.opened.saturating_sub(1);
        }
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let outcome = self.act(|state| {
            let names = state.disk.names_of(ino.0);
            state.may(Wish::Read, &names)?;
            let file = state.disk.file(ino.0).ok_or(Errno::ENOENT)?;
            let from = whole(offset)?.min(file.now.len());
            let to = (from + size as usize).min(file.now.len());
            Ok(file.now[from..to].to_vec())
        });
        match outcome {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let outcome = self.act(|state| {
            let names = state.disk.names_of(ino.0);
            state.may(Wish::Write, &names)?;
            let (offset, more) = (whole(offset)?, state.disk.would_take(ino.0, whole(offset)?, bytes.len()));
            state.may_take(more)?;
            state.disk.write(ino.0, offset, bytes);
            state.counts.writes += 1;
            state.counts.written += bytes.len() as u64;
            u32::try_from(bytes.len()).map_err(|_| Errno::EFBIG)
        });
        match outcome {
            Ok(size) => reply.written(size),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let outcome = self.act(|state| {
            let names = state.disk.names_of(ino.0);
            let answer = state.may(Wish::Sync, &names);
            if answer.is_ok() {
                state.disk.sync(ino.0);
                state.counts.syncs += 1;
            } else if !state.is_dark() {
                state.disk.fail_sync(ino.0);
            }
            answer
        });
        answer(reply, outcome);
    }

    fn fsyncdir(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let outcome = self.act(|state| {
            state.may(Wish::Sync, &[])?;
            state.disk.sync_directory(ino.0);
            state.counts.directory_syncs += 1;
            Ok(())
        });
        answer(reply, outcome);
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let outcome = self.act(|state| {
            state.may(Wish::Find, &[])?;
            let directory = state.disk.directory(ino.0).ok_or(Errno::ENOTDIR)?;
            let mut all = vec![(ino.0, OsString::from(".")), (directory.parent, OsString::from(".."))];
            all.extend(directory.now.iter().map(|(name, ino)| (*ino, name.clone())));
            let handle = state.next_listing;
            state.next_listing += 1;
            state.listings.insert(handle, all);
            Ok(handle)
        });
        match outcome {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listing = self.act(|state| {
            state.may(Wish::Find, &[])?;
            let all = state.listings.get(&fh.0).cloned().ok_or(Errno::EBADF)?;
            Ok(all.into_iter().map(|(ino, name)| (ino, state.disk.directory(ino).is_some(), name)).collect::<Vec<_>>())
        });
        match listing {
            Ok(all) => {
                for (at, (ino, is_directory, name)) in (1..).zip(all).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
                    let kind = if is_directory { FileType::Directory } else { FileType::RegularFile };
                    if reply.add(INodeNo(ino), at, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.shared.lock().listings.remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let state = self.shared.lock();
        if state.is_dark() {
            return reply.error(Errno::EIO);
        }
        let space = state.faults.iter().find_map(|fault| if let Fault::Full { bytes } = fault { Some(*bytes) } else { None });
        let (space, used) = (space.unwrap_or(SPACE), state.disk.used());
        let (blocks, free) = (space.max(used) / PAGE as u64, space.saturating_sub(used) / PAGE as u64);
        let files = state.disk.nodes.len() as u64;
        reply.statfs(blocks, free, free, FILES, FILES.saturating_sub(files), BLOCK, NAME_MAX, BLOCK);
    }

    fn fallocate(&self, _request: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, length: u64, mode: i32, reply: ReplyEmpty) {
        let outcome = self.act(|state| {
            if mode & !KEEP_SIZE != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            let names = state.disk.names_of(ino.0);
            state.may(Wish::Write, &names)?;
            let (offset, length) = (whole(offset)?, whole(length)?);
            let more = state.disk.would_take(ino.0, offset, length);
            state.may_take(more)?;
            let now = state.disk.file(ino.0).ok_or(Errno::ENOENT)?.now.len();
            if mode & KEEP_SIZE == 0 && now < offset + length {
                state.disk.set_length(ino.0, offset + length);
            }
            state.disk.reserve(ino.0, offset, length);
            Ok(())
        });
        answer(reply, outcome);
    }
}

fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & PERMISSIONS).expect("twelve bits are less than sixteen")
}
