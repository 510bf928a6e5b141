//! The disk with what goes wrong on it: every request passes here first.

use std::{collections::BTreeMap, ffi::OsString};

use fuser::Errno;

use super::{
    Counts, Trigger,
    disk::{Disk, Ino},
    fault::Fault,
    image::Image,
};

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To read bytes.
    Read,
    /// To look for, open or list something.
    Find,
    /// To write bytes or set a length.
    Write,
    /// To make bytes or names durable.
    Sync,
    /// To change a name.
    Name,
}

/// Everything the serving thread and the test share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) disk: Disk,
    pub(super) faults: Vec<Fault>,
    pub(super) counts: Counts,
    trigger: Option<Trigger>,
    dark: bool,
    /// Directories being listed, as they were when they were opened.
    pub(super) listings: BTreeMap<u64, Vec<(Ino, OsString)>>,
    pub(super) next_listing: u64,
}

impl State {
    pub(super) fn of(image: &Image) -> Self {
        let disk = Disk::of(image);
        Self { disk, faults: Vec::new(), counts: Counts::default(), trigger: None, dark: false, listings: BTreeMap::new(), next_listing: 1 }
    }

    pub(super) fn arm(&mut self, trigger: Trigger) {
        self.trigger = Some(trigger);
    }

    pub(super) fn is_dark(&self) -> bool {
        self.dark
    }

    pub(super) fn go_dark(&mut self) {
        self.dark = true;
    }

    /// Whether a request about something with these names is served.
    pub(super) fn may(&mut self, wish: Wish, names: &[OsString]) -> Result<(), Errno> {
        if self.dark {
            return Err(Errno::EIO);
        }
        let changes = matches!(wish, Wish::Write | Wish::Sync | Wish::Name);
        if changes {
            self.counts.changes += 1;
            if self.is_the_moment(names) {
                self.dark = true;
                return Err(Errno::EIO);
            }
        }
        let failing = self.faults.iter().find_map(|fault| match fault {
            // A sync changes nothing: a read-only file system has nothing to sync and says so kindly.
            Fault::ReadOnly => (changes && wish != Wish::Sync).then_some(Errno::EROFS),
            Fault::Write(of) => (wish == Wish::Write && of.hold(names)).then_some(Errno::EIO),
            Fault::Sync(of) => (wish == Wish::Sync && of.hold(names)).then_some(Errno::EIO),
            Fault::Read(of) => (wish == Wish::Read && of.hold(names)).then_some(Errno::EIO),
            Fault::Open(of) => (matches!(wish, Wish::Find | Wish::Name) && of.hold(names)).then_some(Errno::EIO),
            Fault::Full { .. } => None,
        });
        match failing {
            Some(errno) => Err(self.failed(errno)),
            None => Ok(()),
        }
    }

    /// Whether there is space for so many bytes more.
    pub(super) fn may_take(&mut self, bytes: u64) -> Result<(), Errno> {
        let full = self.faults.iter().find_map(|fault| if let Fault::Full { bytes } = fault { Some(*bytes) } else { None });
        match full {
            Some(limit) if bytes > 0 && self.disk.used() + bytes > limit => Err(self.failed(Errno::ENOSPC)),
            _ => Ok(()),
        }
    }

    fn failed(&mut self, errno: Errno) -> Errno {
        self.counts.failed += 1;
        errno
    }

    fn is_the_moment(&mut self, names: &[OsString]) -> bool {
        let Some(trigger) = &mut self.trigger else { return false };
        if !trigger.names.hold(names) {
            return false;
        }
        trigger.after = trigger.after.saturating_sub(1);
        trigger.after == 0
    }
}
