//! The one durable thing: every event in its order, the cursors of the outlets, and small facts that belong to events.
//!
//! ```text
//!   append ──► bounded channel ──► writer (own thread) ── one transaction per group ──► journal.db (SQLite, WAL, FULL)
//!     ▲                              │        │                                             │
//!     └── Recorded, after COMMIT ────┘        └──► heads (watch) ──► forward ──► reader ◄───┘  (own read-only connection)
//! ```
//!
//! What must hold: nothing is acknowledged before it is on disk; numbers have no holes and are never given twice within
//! one [`JournalId`](crate::event::JournalId); an event's notes and the event are there together or not at all; alarms
//! and receipts are never dropped, dropped telemetry leaves a `GAP` in its chain; opening costs the same whatever is in
//! it; a damaged journal is set aside, never deleted, and never stops the start.
//!
//! Not here: what is worth recording, and who receives it. Cursors are hints, their loss costs duplicates.

mod accounts;
mod entry;
mod error;
mod reader;
mod verify;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;

pub use accounts::{Account, Accounts};
pub use entry::{Entry, Haste, Heads, NOTE_MAX, NotAnOutlet, Note, Outlet, Record, Recorded};
pub use error::JournalError;
pub use reader::{Filter, JournalReader, RecordedNote};
pub use verify::{Fault, Progress, Verified};

use crate::event::{Class, JournalId, Seq, Source};

/// How the journal groups and bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Longest a telemetry event waits for others before it is committed.
    pub group_wait: Duration,
    /// As many telemetry events waiting are committed at once.
    pub group_events: usize,
    /// Bytes of telemetry documents held before the oldest are dropped.
    pub telemetry_quota_bytes: u64,
}

impl Default for JournalConfig {
    /// 50 ms and 64 events: one flush for a burst, and less than a person notices. 512 MiB of telemetry is a million
    /// events of 500 bytes: two weeks without customs' system at nearly one a second.
    fn default() -> Self {
        Self { group_wait: Duration::from_millis(50), group_events: 64, telemetry_quota_bytes: 512 * 1024 * 1024 }
    }
}

/// What was found when the journal was opened.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The journal now written.
    pub journal: JournalId,
    /// Whether it begins now or goes on.
    pub beginning: Beginning,
    /// The last numbers on disk.
    pub heads: Heads,
    /// Steps of the database machine the opening took: the same however much is in the journal.
    pub steps: u64,
}

/// How the journal begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// It was there and goes on.
    Resumed,
    /// There was none.
    Fresh,
    /// A damaged one was set aside and a new one begun: record `JOURNAL_SET_ASIDE`.
    SetAside {
        /// Where the damaged one is now.
        to: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
}

/// Handle to the journal; copies write to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
    heads: watch::Receiver<Heads>,
}

impl Journal {
    /// Opens the journal in `dir`, or begins one there. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When the directory cannot be written, another process has it open, or it belongs to another gate or a later version.
    pub fn open(dir: &Path, config: JournalConfig, source: Source) -> Result<(Self, Opening), JournalError> {
        let _ = (config, source);
        Err(JournalError::Missing { dir: dir.to_owned() })
    }

    /// Records one event; done when it is on disk.
    ///
    /// # Errors
    /// When it was not recorded; the error says what to do. It may be tried again.
    pub async fn append(&self, entry: Entry) -> Result<Recorded, JournalError> {
        self.submit(entry).await?.await
    }

    /// Records all of these in one transaction, in this order; at once if one of them is to be committed at once.
    ///
    /// # Errors
    /// When none of them was recorded.
    pub async fn append_all(&self, entries: Vec<Entry>) -> Result<Vec<Recorded>, JournalError> {
        let _ = entries;
        Err(JournalError::Closed)
    }

    /// Puts one event in line, waiting only for room in the line; the [`Ticket`] resolves when it is on disk. Events
    /// submitted by one task are recorded in their order.
    ///
    /// # Errors
    /// When the journal is closed or a note is too large.
    pub async fn submit(&self, entry: Entry) -> Result<Ticket, JournalError> {
        let _ = entry;
        Err(JournalError::Closed)
    }

    /// Keeps notes without an event: with the next commit, or within a second. Waits only for room in the line.
    ///
    /// # Errors
    /// When the journal is closed or a note is too large.
    pub async fn keep(&self, notes: Vec<Note>) -> Result<(), JournalError> {
        let _ = notes;
        Err(JournalError::Closed)
    }

    /// Moves the cursor of an outlet forward to `seq`: written with the next commit, or within a second. Never waits,
    /// never fails; a number below the cursor is ignored, one beyond the last recorded counts as the last.
    pub fn advance(&self, outlet: &Outlet, class: Class, seq: Seq) {
        let _ = (outlet, class, seq);
    }

    /// The last committed numbers, level-triggered: whoever looks late still sees the latest.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    /// A reader with a connection of its own, for `spawn_blocking`.
    ///
    /// # Errors
    /// When the database cannot be opened a second time.
    pub fn reader(&self) -> Result<JournalReader, JournalError> {
        JournalReader::open(&self.dir)
    }

    /// Writes what is in line, gives the log back to the database file and ends the writer. Later calls say closed.
    ///
    /// # Errors
    /// When the last commit failed.
    pub async fn close(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

/// Resolves when the event is on disk, or is certain not to be recorded.
#[derive(Debug)]
#[must_use = "the event is not on disk before this resolves"]
pub struct Ticket {}

impl Future for Ticket {
    type Output = Result<Recorded, JournalError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(JournalError::Closed))
    }
}
