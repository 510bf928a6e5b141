//! Long work on somebody's behalf: when it must stop, how gently it goes, and what it tells meanwhile.
//!
//! The same lines go over the local API, one JSON object each, and to whoever does the work in the same process.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ArchiveError;
use crate::event::{Class, Digest, Seq};

/// Lines on their way to a listener. One that reads slower misses lines of progress and nothing else.
pub const LINES: usize = 64;
/// The keeper rests this long after each page of at most a quarter of a megabyte, which is read and written in a few
/// milliseconds: an alarm's commit meets an idle disk more often than not, and 50,000 events still take seconds only.
pub const GENTLE: Duration = Duration::from_millis(10);
/// Somebody waits for it: still a breath between pages.
pub const PROMPT: Duration = Duration::from_millis(1);

/// One line of what is going on; the last one is `Archived`, `Compacted` or `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// It goes on, without anything new.
    Waiting,
    /// Documents are being written and read back.
    Sealing {
        /// Their class.
        class: Class,
        /// Documents sealed so far, in this class.
        done: u64,
        /// As many at most, in this class; fewer if the rest is too young.
        at_most: u64,
    },
    /// A segment is sealed, and its events are on their way out of the database.
    Segment(Put),
    /// Rows are being deleted and pages given back.
    Compacting {
        /// Rows still to be deleted.
        to_trim: u64,
        /// Pages of the database still to be given back.
        free_pages: u64,
    },
    /// Archiving has ended.
    Archived(Round),
    /// Compacting has ended.
    Compacted(Compacted),
    /// It has ended with a fault.
    Failed {
        /// The fault in one word, as [`ArchiveError::code`].
        code: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// One segment put away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Put {
    /// Class of its documents; the word `class` is the receipt's own.
    pub archived_class: Class,
    /// The first number.
    pub first: Seq,
    /// The last number.
    pub last: Seq,
    /// How many documents.
    pub count: u64,
    /// Length of its file in bytes.
    pub bytes: u64,
    /// Digest of the last document.
    pub digest: Digest,
    /// SHA-256 of its file.
    pub sha256: Digest,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// Its name without ending.
    pub name: String,
    /// The folder it is in.
    pub folder: String,
}

/// What one round of archiving did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Segments put away.
    pub segments: u64,
    /// Documents in them.
    pub documents: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Whether it was stopped before everything due was put away.
    pub stopped: bool,
}

impl Round {
    pub(super) fn add(&mut self, put: &Put) {
        self.segments += 1;
        self.documents += put.count;
        self.bytes += put.bytes;
    }
}

/// What compacting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Rows deleted.
    pub trimmed: u64,
    /// Bytes the files of the database and its log took before.
    pub bytes_before: u64,
    /// Bytes they take now. What was given back last leaves the file with the next checkpoint, some megabytes later.
    pub bytes: u64,
    /// Whether it was stopped before everything was given back.
    pub stopped: bool,
}

/// The fault as a last line.
#[must_use]
pub fn failed(fault: &ArchiveError) -> Line {
    let mut what = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(inner) = cause {
        what = format!("{what}: {inner}");
        cause = inner.source();
    }
    Line::Failed { code: fault.code().to_owned(), what }
}

/// Long work on somebody's behalf.
#[derive(Debug, Clone)]
pub struct Errand {
    stop: CancellationToken,
    pause: Duration,
    listener: Option<mpsc::Sender<Line>>,
    breaths: Arc<AtomicU64>,
}

impl Errand {
    /// Work for the gate itself: gentle, and nobody listens.
    #[must_use]
    pub fn gentle(stop: CancellationToken) -> Self {
        Self { stop, pause: GENTLE, listener: None, breaths: Arc::default() }
    }

    /// Work somebody waits for. It stops when told to, and when the listener is gone.
    #[must_use]
    pub fn prompt(stop: CancellationToken, listener: mpsc::Sender<Line>) -> Self {
        Self { stop, pause: PROMPT, listener: Some(listener), breaths: Arc::default() }
    }

    /// Whether nobody wants it any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.listener.as_ref().is_some_and(mpsc::Sender::is_closed)
    }

    /// How often it has rested between two pages: as long as this grows, the disk answers.
    #[must_use]
    pub fn breaths(&self) -> u64 {
        self.breaths.load(Ordering::Relaxed)
    }

    /// Resolves when nobody wants it any more.
    pub(super) async fn over(&self) {
        match &self.listener {
            Some(listener) => tokio::select! {
                () = self.stop.cancelled() => {}
                () = listener.closed() => {}
            },
            None => self.stop.cancelled().await,
        }
    }

    /// Between two pages, on a thread that may block: rests, and says whether to go on.
    pub(super) fn breathe(&self) -> ControlFlow<()> {
        if self.is_over() {
            return ControlFlow::Break(());
        }
        self.breaths.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.pause);
        ControlFlow::Continue(())
    }

    /// Tells a line that may be missed.
    pub(super) fn tell(&self, line: Line) {
        if let Some(listener) = &self.listener {
            // A listener that reads slower sees the next one.
            let _ = listener.try_send(line);
        }
    }

    /// Tells a line that must not be missed, unless nobody listens any more.
    pub(super) async fn say(&self, line: Line) {
        if let Some(listener) = &self.listener {
            tokio::select! {
                // Nobody is left to whom it matters.
                sent = listener.send(line) => drop(sent),
                () = self.stop.cancelled() => {}
            }
        }
    }
}
