//! The task that watches the disk of the state directory: asks, judges, tells, records.

use std::{io, path::PathBuf, time::Duration};

use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use super::levels::Limits;
use super::{
    disk::{Access, Disk},
    forecast::Forecast,
    levels::{Change, Level, Levels, Seen, Why},
    notices::Notices,
    refusal::{Outage, Refusal},
    timely::Timely,
};
use crate::{
    clock::{Clock, Reading},
    event::{Assurance, Class, Draft, EventType, Stamp, Subject},
    journal::{Entry, Journal, JournalStanding, Room},
};

/// How often the file system is asked.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// How long it may take to answer; what is slower is broken: an alarm could not be written either.
pub(crate) const ANSWER: Duration = Duration::from_secs(4);
/// The journal's writer must come round within this: a commit on a slow card takes tenths of a second, one that waits
/// for a foreign lock two seconds, and that a few times on end.
pub(crate) const COMMIT_WITHIN: Duration = Duration::from_secs(10);

/// How the disk is, at one moment.
#[derive(Debug, Clone)]
pub struct SpaceStanding {
    /// How much room there is.
    pub level: Level,
    /// Why.
    pub why: Why,
    /// What the file system last said; none before it has answered.
    pub disk: Option<Disk>,
    /// How long until telemetry will be refused, by the forecast.
    pub scarce_in: Option<Duration>,
    /// How long until nothing is left, by the forecast.
    pub full_in: Option<Duration>,
    /// Why the journal cannot be written, and since when, while it cannot.
    pub refusing: Option<Refusing>,
}

/// That the journal cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusing {
    /// Why, and what to do.
    pub reason: String,
    /// Since when, by the wall clock.
    pub since: jiff::Timestamp,
}

/// The particulars of a change of level.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    level: Level,
    because: Why,
    before: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_inodes: Option<u64>,
    /// Telemetry is refused below so many bytes ...
    scarce_below_bytes: u64,
    /// ... which the forecast expects in so many hours, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    scarce_in_h: Option<u64>,
    /// ... and nothing will be left in so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    full_in_h: Option<u64>,
    means: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    over: Option<Over>,
}

/// What was lost until it was over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Over {
    from: jiff::Timestamp,
    until: jiff::Timestamp,
    for_ms: u64,
    refused_telemetry: u64,
}

/// Since when it has not been plenty.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    from: Stamp,
    refused_before: u64,
}

/// The task.
#[derive(Debug)]
pub struct SpaceWatch {
    dir: PathBuf,
    journal: Journal,
    journal_view: watch::Receiver<JournalStanding>,
    clock: Clock,
    disk: Option<Timely<io::Result<Disk>>>,
    limits: Limits,
    levels: Levels,
    bytes: Forecast,
    inodes: Forecast,
    refusal: Refusal,
    trouble: Option<Trouble>,
    /// Telemetry refused until the last look.
    refused: u64,
    notices: Notices,
    standing: watch::Sender<SpaceStanding>,
}

impl SpaceWatch {
    /// A watch on the file system of this directory, what it shows, and the task that records what it finds (it ends by
    /// itself when the watch has ended).
    ///
    /// # Errors
    /// When there is no thread to ask the file system on.
    pub fn new(
        dir: PathBuf,
        journal: &Journal,
        clock: Clock,
        limits: Limits,
    ) -> io::Result<(Self, watch::Receiver<SpaceStanding>, impl Future<Output = ()> + Send + 'static)> {
        let asked = dir.clone();
        let disk = Timely::new("space", move || Disk::look(&asked))?;
        let first = SpaceStanding { level: Level::Plenty, why: Why::Well, disk: None, scarce_in: None, full_in: None, refusing: None };
        let (standing, view) = watch::channel(first);
        let (notices, recording) = Notices::new(journal.clone());
        let journal_view = journal.standing();
        let refused = refused(&journal_view.borrow());
        let watch = Self {
            dir,
            journal: journal.clone(),
            journal_view,
            clock,
            disk: Some(disk),
            limits,
            levels: Levels::new(limits),
            bytes: Forecast::default(),
            inodes: Forecast::default(),
            refusal: Refusal::default(),
            trouble: None,
            refused,
            notices,
            standing,
        };
        Ok((watch, view, recording))
    }

    /// Watches until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut journal = self.journal.standing();
        loop {
            let known = of_note(&journal.borrow_and_update());
            tokio::select! {
                _ = tick.tick() => {}
                true = changed(&mut journal, known) => {}
                () = stop.cancelled() => return,
            }
            self.on_look().await;
        }
    }

    async fn on_look(&mut self) {
        let seen = self.ask().await;
        // A disk may answer questions from memory and hang in every flush: then the writer does not come round.
        let hangs = tokio::time::timeout(COMMIT_WITHIN, self.journal.comes_round()).await.is_err();
        let reading = Reading::now();
        let now = self.clock.now();
        let journal = self.journal_view.borrow().clone();
        let disk = seen.as_ref().and_then(|said| said.as_ref().ok()).copied().filter(|_| !hangs);
        if let Some(disk) = disk.filter(|disk| disk.access == Access::Writable) {
            self.bytes.take(reading.since_boot, disk.free_bytes);
            if let Some(inodes) = disk.free_inodes {
                self.inodes.take(reading.since_boot, inodes);
            }
        }
        let access = disk.map(|disk| disk.access);
        if let Some(outage) = self.refusal.on_standing(now, journal.refusing.as_ref(), access) {
            self.on_outage_over(&outage, now);
        }
        let (scarce_in, full_in) = (self.bytes.until(self.limits.scarce_bytes), self.bytes.until(0));
        let seen = match disk {
            Some(Disk { access: Access::ReadOnly, .. }) => Seen::ReadOnly,
            Some(disk) => {
                let ahead = [scarce_in, self.inodes.until(0)].into_iter().flatten().min();
                Seen::Answer { free_bytes: disk.free_bytes, free_inodes: disk.free_inodes, ahead }
            }
            None => Seen::Silent,
        };
        let change = self.levels.on_look(reading.since_boot, seen, journal.room);
        self.journal.tell_room(self.levels.asks());
        let refused = refused(&journal);
        if let Some(change) = change {
            self.on_change(change, disk, (scarce_in, full_in), now, refused);
        }
        if self.levels.level() != Level::Scarce {
            self.refused = refused;
        }
        let going = self.refusal.going().map(|going| Refusing { reason: going.reason.clone(), since: going.from.wall });
        self.standing.send_modify(|standing| {
            let last = disk.or(standing.disk);
            *standing =
                SpaceStanding { level: self.levels.level(), why: self.levels.why(), disk: last, scarce_in, full_in, refusing: going };
        });
    }

    /// What the file system says; none when it does not in time.
    async fn ask(&mut self) -> Option<io::Result<Disk>> {
        let mut disk = self.disk.take()?;
        let asked = tokio::task::spawn_blocking(move || {
            let answer = disk.ask(ANSWER);
            (disk, answer)
        });
        let (disk, answer) = asked.await.ok()?;
        self.disk = Some(disk);
        answer
    }

    fn on_change(&mut self, change: Change, disk: Option<Disk>, ahead: (Option<Duration>, Option<Duration>), now: Stamp, refused: u64) {
        let (class, kind) = match change.to {
            Level::Plenty => (Class::Receipt, EventType::StorageRecovered),
            Level::Low if change.from == Level::Plenty => (Class::Alarm, EventType::StorageLow),
            Level::Low => (Class::Receipt, EventType::StorageRecovered),
            Level::Scarce => (Class::Alarm, EventType::StorageScarce),
            Level::Failed => (Class::Alarm, EventType::StorageFailed),
        };
        let over = if kind == EventType::StorageRecovered {
            let Trouble { from, refused_before } = self.trouble.take().unwrap_or(Trouble { from: now, refused_before: refused });
            let for_ms = now.monotonic_ms.saturating_sub(from.monotonic_ms);
            Some(Over { from: from.wall, until: now.wall, for_ms, refused_telemetry: refused.saturating_sub(refused_before) })
        } else {
            None
        };
        if change.to != Level::Plenty && self.trouble.is_none() {
            // What was refused until now is either told above, or began since the last look.
            let refused_before = if over.is_some() { refused } else { self.refused };
            self.trouble = Some(Trouble { from: now, refused_before });
        }
        let means = means(change);
        let free_bytes = disk.map(|disk| disk.free_bytes);
        match change.to {
            Level::Plenty => tracing::info!(free_bytes, "the journal's disk has enough room again"),
            Level::Low if change.from == Level::Plenty => {
                tracing::warn!(free_bytes, because = ?change.why, dir = %self.dir.display(), "{means}");
            }
            Level::Low => tracing::info!(free_bytes, "{means}"),
            Level::Scarce | Level::Failed => {
                tracing::error!(free_bytes, because = ?change.why, dir = %self.dir.display(), "{means}");
            }
        }
        let hours = |time: Duration| time.as_secs() / 3_600;
        let body = Body {
            level: change.to,
            because: change.why,
            before: change.from,
            free_bytes,
            total_bytes: disk.map(|disk| disk.total_bytes),
            free_inodes: disk.and_then(|disk| disk.free_inodes),
            scarce_below_bytes: self.limits.scarce_bytes,
            scarce_in_h: ahead.0.map(hours),
            full_in_h: ahead.1.map(hours),
            means,
            over,
        };
        self.record(class, kind, now, &body);
    }

    fn on_outage_over(&self, outage: &Outage, now: Stamp) {
        tracing::warn!(for_ms = outage.for_ms, reason = outage.reason, "the journal could not be written and now it can");
        self.record(Class::Alarm, EventType::JournalRefused, now, outage);
    }

    fn record(&self, class: Class, kind: EventType, now: Stamp, body: &impl Serialize) {
        match Draft::new(class, kind, Subject::gateway(), now, Assurance::Own, body) {
            Ok(draft) => self.notices.hand_in(Entry::new(draft)),
            Err(fault) => tracing::error!(%fault, kind = kind.as_str(), "this could not be written down; please report it"),
        }
    }
}

/// What a change of which is looked at without waiting for the next turn.
fn of_note(standing: &JournalStanding) -> (Room, bool) {
    (standing.room, standing.refusing.is_some())
}

/// Resolves when something of note is not as it was known; false when the journal has ended.
async fn changed(journal: &mut watch::Receiver<JournalStanding>, known: (Room, bool)) -> bool {
    journal.wait_for(|standing| of_note(standing) != known).await.is_ok()
}

fn refused(standing: &JournalStanding) -> u64 {
    standing.refused[Class::Telemetry as usize]
}

fn means(change: Change) -> &'static str {
    match (change.to, change.why) {
        (Level::Plenty, _) => "Everything is recorded.",
        (Level::Low, _) if change.from != Level::Plenty => "Everything is recorded again; the disk is still low on space.",
        (Level::Low, Why::Forecast) => {
            "The disk of the journal is filling up; telemetry will be refused when it is. Free space or find what grows."
        }
        (Level::Low, Why::Inodes) => "The disk of the journal is nearly out of inodes: too many small files. Delete some.",
        (Level::Low, _) => "The disk of the journal is low on space; telemetry will be refused when it runs out. Free space.",
        (Level::Scarce, Why::MetFull) => {
            "A write found the disk full although space seemed free (a quota, or blocks kept for root): telemetry is refused and counted; \
             alarms and receipts are recorded."
        }
        (Level::Scarce, _) => {
            "The disk of the journal is nearly full: telemetry is refused and counted; alarms and receipts are recorded. Free space."
        }
        (Level::Failed, Why::ReadOnly) => {
            "The file system of the journal is read-only: nothing is recorded. Look into dmesg, stop the gate, check the file system, mount it \
             for writing, start the gate."
        }
        (Level::Failed, _) => {
            "The file system of the journal does not answer: nothing is recorded. Look into dmesg; the disk may be broken."
        }
    }
}
