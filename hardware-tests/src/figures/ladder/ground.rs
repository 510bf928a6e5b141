//! The journals all parts share: one with as many events as asked for, one with ten, and the gate both belong to.
//!
//! A gate was open on each for a moment before it was filled, so that it holds what a gate's journal holds: a seal whose
//! lock it knows, and the notes without which a start would rebuild everything. A small journal is copied for each part;
//! a large one is used by all, those that change it most last.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use segel::{event::Class, forward::UPLINK, journal::JournalReader};
use segel_drivers::LockClaim;
use segel_hardware_tests::rig::{Rig, RigConfig};

use super::{
    super::{
        Plan,
        events::{self, Events, Filled},
        room,
        size::Size,
    },
    gate::Gate,
};

/// Events in the other journal.
const FEW: usize = 10;
/// No telemetry is dropped, whatever is in the journal.
const QUOTA: &str = "[journal]\ntelemetry_quota_mib = 1048576\n";
/// A gate hears a seal within this.
const HEARD: Duration = Duration::from_secs(20);

/// Where the parts of one size work.
pub(super) struct Ground<'a> {
    pub(super) plan: &'a Plan,
    pub(super) size: Size,
    /// The gate of both journals and the seal in front of it; nobody listens where it looks for customs.
    pub(super) rig: Rig,
    /// Where customs' broker is to be when it is back.
    pub(super) port: u16,
    dir: PathBuf,
    filled: Filled,
    document_bytes: f64,
    database_bytes: u64,
}

impl<'a> Ground<'a> {
    /// Fills both journals.
    pub(super) async fn prepare(plan: &'a Plan, size: Size) -> anyhow::Result<Self> {
        let dir = plan.dir.path().join(size.0.to_string());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let customs = Some((Ipv4Addr::LOCALHOST, port).into());
        let mut rig = Rig::build(&plan.program, &RigConfig { customs, seals: 1, more: QUOTA.to_owned() })?;
        let mut filled = None;
        for (name, events) in [("few", FEW), ("full", size.0)] {
            let dir = dir.join(name);
            begin(plan, &mut rig, &dir).await?;
            filled = Some(events::fill_with(&dir, events, Events::of_a_port()).await?);
        }
        let filled = filled.context("both were filled")?;
        let reader = JournalReader::open(&filled.dir)?;
        let (accounts, sizes) = (reader.accounts(&UPLINK)?, reader.sizes()?);
        let (documents, bytes) = accounts.iter().fold((0, 0), |sum, account| (sum.0 + account.recorded, sum.1 + account.bytes));
        Ok(Self {
            plan,
            size,
            rig,
            port,
            dir,
            filled,
            document_bytes: bytes as f64 / documents as f64,
            database_bytes: sizes.database + sizes.log,
        })
    }

    /// How it was filled.
    pub(super) fn filled(&self) -> &Filled {
        &self.filled
    }

    /// Bytes of a document in it, on the average.
    pub(super) fn document_bytes(&self) -> f64 {
        self.document_bytes
    }

    /// Bytes of the database and its log, once it was filled.
    pub(super) fn database_bytes(&self) -> u64 {
        self.database_bytes
    }

    /// The full journal for this part: a copy where it is small.
    pub(super) fn journal(&self, part: &str) -> anyhow::Result<PathBuf> {
        if room::is_copied(self.size) { self.copy("full", part) } else { Ok(self.filled.dir.clone()) }
    }

    /// A copy of the one with ten events for this part.
    pub(super) fn few(&self, part: &str) -> anyhow::Result<PathBuf> {
        self.copy("few", part)
    }

    /// A place of this part's own.
    pub(super) fn scratch(&self, part: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(format!("{part}-scratch"));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// One copy of each journal is kept at a time.
    fn copy(&self, which: &str, part: &str) -> anyhow::Result<PathBuf> {
        let to = self.dir.join(format!("{which}-copy-{part}"));
        for old in fs::read_dir(&self.dir)? {
            let old = old?.path();
            if old.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{which}-copy-"))) {
                fs::remove_dir_all(old)?;
            }
        }
        copy(&self.dir.join(which), &to)?;
        // What was just copied must not be written back while something is timed.
        rustix::fs::sync();
        Ok(to)
    }

    /// Makes this the journal of the gate, which must not be running.
    pub(super) fn point_the_gate_at(&self, journal: &Path) -> anyhow::Result<()> {
        point(&self.rig, journal)
    }

    /// Removes everything.
    pub(super) fn clear(self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }
}

/// Everything a gate keeps there.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn point(rig: &Rig, journal: &Path) -> anyhow::Result<()> {
    let link = rig.state_dir();
    match fs::remove_file(&link) {
        Err(fault) if fault.kind() != std::io::ErrorKind::NotFound => return Err(fault.into()),
        _ => {}
    }
    Ok(symlink(journal, link)?)
}

/// A gate begins this journal and hears its seal, which is locked.
async fn begin(plan: &Plan, rig: &mut Rig, dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    point(rig, dir)?;
    let gate = Gate::spawn(&plan.program, rig)?;
    gate.told_ready().await?;
    let reader = JournalReader::open(dir)?;
    gate.seal_says(rig, &reader, (LockClaim::Locked, false), Class::Telemetry, "DEVICE_STATUS", HEARD).await?;
    gate.stop().await
}
