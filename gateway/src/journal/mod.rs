//! The one durable thing: every event in its order, the cursors of the outlets, and small facts that belong to events.
//!
//! ```text
//!   append ──► bounded channel ──► writer (own thread) ── one transaction per group ──► journal.db (SQLite, WAL, FULL)
//!     ▲                              │        │                                             │
//!     └── Recorded, after COMMIT ────┘        └──► heads (watch) ──► forward ──► reader ◄───┘  (own read-only connection)
//! ```
//!
//! What must hold: nothing is acknowledged before it is on disk; numbers have no holes and are never given twice within
//! one [`JournalId`]; an event's notes and the event are there together or not at all; alarms
//! and receipts are never dropped, dropped telemetry leaves a `GAP` in its chain; opening costs the same whatever is in
//! it; a damaged journal is set aside, never deleted, and never stops the start.
//!
//! Not here: what is worth recording, and who receives it. Cursors are hints, their loss costs duplicates.

mod accounts;
mod aside;
mod entry;
mod error;
mod front;
mod legacy;
mod lock;
mod mark;
mod opening;
mod pending;
mod proving;
mod quota;
mod reader;
mod reserve;
mod room;
mod salvage;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;
mod walk;
mod writer;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use accounts::{Account, Accounts, Sizes, Totals};
pub use entry::{Entry, Haste, Heads, NOTE_MAX, NOTES_MAX, NotAnOutlet, Note, Outlet, Record, Recorded};
pub use error::JournalError;
pub use front::{Front, Misfit, Segment};
pub use legacy::{LEGACY_NOTE, Legacy};
pub(crate) use mark::{LATER as MARK_LATER, SOON as MARK_SOON};
pub use proving::{Flaw, Proving, Step, Structure};
pub use reader::{JournalReader, RecordedNote};
pub use room::{JournalStanding, NoReceipt, Reserve, Room, UpkeepStanding};
pub use salvage::{CARRIED, OldNote, Plan, Salvage, Saved, Stretch, Unopened};
pub use verify::{Fault, Progress, Verified};
pub use walk::{Extent, Filter, Glance, Moment, Passed, Place, Reached, Walk};

use self::lock::Lock;
use self::mark::Keeper;
use self::opening::{Refusal, opened};
use self::pending::Pending;
use self::store::Store;
use self::writer::{Answer, Message, Shown, Writer};
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
    /// Bytes of alarm documents held before no receipt is vouched for any more; none is ever dropped.
    pub alarm_quota_bytes: u64,
    /// The same for receipts.
    pub receipt_quota_bytes: u64,
    /// Size of the file that keeps room for alarms and receipts on a full disk, in bytes; 0 keeps none.
    pub reserve_bytes: u64,
}

impl Default for JournalConfig {
    /// 50 ms and 64 events: one flush for a burst, and less than a person notices. 512 MiB of telemetry is a million
    /// events of 500 bytes: two weeks without customs' system at nearly one a second. No reserve: it is for a gate, whose
    /// configuration sets one.
    fn default() -> Self {
        Self {
            group_wait: Duration::from_millis(50),
            group_events: 64,
            telemetry_quota_bytes: 512 * 1024 * 1024,
            alarm_quota_bytes: 1024 * 1024 * 1024,
            receipt_quota_bytes: 1024 * 1024 * 1024,
            reserve_bytes: 0,
        }
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

/// Messages in line before whoever appends waits for room: some tenths of a second of a bad burst.
pub(crate) const LINE: usize = 512;
/// Most events one call records in one transaction.
pub const TOGETHER_MAX: usize = 256;

/// Handle to the journal; copies write to the same one.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
    line: mpsc::Sender<Message>,
    pending: Arc<Pending>,
    heads: watch::Receiver<Heads>,
    condemned: Arc<watch::Sender<Option<Flaw>>>,
    standing: watch::Receiver<JournalStanding>,
    room: Arc<watch::Sender<Room>>,
}

impl Journal {
    /// Opens the journal in `dir`, or begins one there. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When the directory cannot be written, another process has it open, or it belongs to another gate or a later version.
    #[expect(clippy::needless_pass_by_value, reason = "whoever opens the journal hands it the identity it will write")]
    pub fn open(dir: &Path, config: JournalConfig, source: Source) -> Result<(Self, Opening), JournalError> {
        let (lock, (store, opening)) = reserve::with_room(dir, || {
            aside::make(dir)?;
            let lock = Lock::take(dir)?;
            Ok((lock, open_store(dir, &source, config.telemetry_quota_bytes)?))
        })?;
        let journal = Self::start(dir, store, lock, config)?;
        Ok((journal, opening))
    }

    fn start(dir: &Path, store: Store, lock: Lock, config: JournalConfig) -> Result<Self, JournalError> {
        let place = |source| JournalError::Place { path: dir.to_owned(), source: Arc::new(source) };
        let (line, receiver) = mpsc::channel(LINE);
        let (heads, watching) = watch::channel(store.heads());
        let pending = Arc::new(Pending::default());
        let (room, told) = watch::channel(Room::Plenty);
        let (standing, seen) = watch::channel(JournalStanding::default());
        let mark = Keeper::begin(dir, &store)?;
        let writer = Writer::new(store, (mark, lock), receiver, Arc::clone(&pending), Shown { heads, standing }, told, config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(place)?;
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || runtime.block_on(writer.run())).map_err(place)?;
        let condemned = Arc::new(watch::Sender::new(None));
        Ok(Self { dir: dir.to_owned(), line, pending, heads: watching, condemned, standing: seen, room: Arc::new(room) })
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
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.put_in_line(entries).await?.await.unwrap_or(Err(JournalError::Closed))
    }

    /// Puts one event in line, waiting only for room in the line; the [`Ticket`] resolves when it is on disk. Events
    /// submitted by one task are recorded in their order. A dropped ticket takes nothing back.
    ///
    /// # Errors
    /// When the journal is closed or a note is too large.
    pub async fn submit(&self, entry: Entry) -> Result<Ticket, JournalError> {
        Ok(Ticket { answer: self.put_in_line(vec![entry]).await? })
    }

    /// Puts several events in line as one transaction, waiting only for room in the line; the ticket resolves when they
    /// are on disk. A dropped ticket takes nothing back.
    ///
    /// # Errors
    /// When the journal is closed, a note is too large or there are too many events.
    pub async fn submit_all(&self, entries: Vec<Entry>) -> Result<TogetherTicket, JournalError> {
        Ok(TogetherTicket { answer: self.put_in_line(entries).await? })
    }

    /// Marks the journal as damaged: the next opening sets it aside. For whoever learns it from an error while writing,
    /// where a new opening would look only at the ends of the chains and find nothing.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn condemn(&self) -> Result<(), JournalError> {
        aside::condemn(&self.dir, None)
    }

    /// Marks the journal as damaged for this reason, and tells whoever waits for [`Journal::condemned`]. The first
    /// reason stays.
    pub fn condemn_for(&self, flaw: Flaw) {
        if let Err(fault) = aside::condemn(&self.dir, Some(&flaw.to_string())) {
            tracing::error!(%fault, "the journal could not be marked as damaged; the next start may go on with it");
        }
        self.condemned.send_if_modified(|known| known.is_none() && known.replace(flaw).is_none());
    }

    /// Condemns the journal when this fault of a reader says that it is damaged. For whoever has read it a second time
    /// over a new connection; [`Self::look_again_at`] is for a first fault. Everything else passes by itself or is
    /// somebody's to mend.
    pub fn look_at(&self, fault: &JournalError) {
        if fault.is_damage() {
            self.condemn_as(fault);
        }
    }

    /// The same for a first fault: some of the journal is read over a new connection, and it is condemned only when that
    /// is damaged too, because memory and cables fail as well. Says whether it is condemned. Blocks for a few searches.
    #[must_use = "what is not condemned is to be read again"]
    pub fn look_again_at(&self, fault: &JournalError) -> bool {
        if !fault.is_damage() {
            return false;
        }
        match self.reader().and_then(|reader| reader.glimpse()) {
            Err(again) if again.is_damage() => {
                self.condemn_as(&again);
                true
            }
            Err(_) => false,
            Ok(()) => {
                tracing::warn!(%fault, "the journal could not be read for a moment, and now it can; look at this machine's memory");
                false
            }
        }
    }

    /// Condemns the journal because it cannot be read.
    pub(crate) fn condemn_as(&self, fault: &JournalError) {
        let cause = std::error::Error::source(fault).map_or_else(|| fault.to_string(), ToString::to_string);
        self.condemn_for(Flaw { place: None, what: format!("it cannot be read ({cause})") });
    }

    /// Resolves when the journal was found damaged while it was open, with what was found: the gate must end.
    pub async fn condemned(&self) -> Flaw {
        let mut found = self.condemned.subscribe();
        match found.wait_for(Option::is_some).await {
            Ok(flaw) => flaw.clone().expect("it was waited for"),
            // Cannot be: this handle holds the sender.
            Err(_) => std::future::pending().await,
        }
    }

    /// The directory of the journal; what was set aside is in it too.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    async fn put_in_line(&self, entries: Vec<Entry>) -> Result<oneshot::Receiver<Answer>, JournalError> {
        if entries.len() > TOGETHER_MAX {
            return Err(JournalError::TooMany { count: entries.len(), limit: TOGETHER_MAX });
        }
        for entry in &entries {
            entry::check(&entry.notes)?;
        }
        let (answer, receiver) = oneshot::channel();
        self.line.send(Message::Append(entries, answer)).await.map_err(|_| JournalError::Closed)?;
        Ok(receiver)
    }

    /// Keeps notes without an event: with the next commit, or within a second. Waits only for room in the line.
    ///
    /// # Errors
    /// When the journal is closed, or a note is too large or there are too many.
    pub async fn keep(&self, notes: Vec<Note>) -> Result<(), JournalError> {
        entry::check(&notes)?;
        self.line.send(Message::Keep(notes)).await.map_err(|_| JournalError::Closed)
    }

    /// Moves the cursor of an outlet forward to `seq`: written with the next commit, or within a second. Never waits,
    /// never fails; a number below the cursor is ignored, one beyond the last recorded counts as the last.
    pub fn advance(&self, outlet: &Outlet, class: Class, seq: Seq) {
        self.pending.advance(outlet, class, seq);
    }

    /// The last committed numbers, level-triggered: whoever looks late still sees the latest. It closes when the writer
    /// is gone, so whoever watches it also learns that.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    /// How the journal is: room, reserve, what is refused and why, what upkeep has still to do.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<JournalStanding> {
        self.standing.clone()
    }

    /// Tells how much room there is. While it is scarce telemetry is refused.
    pub fn tell_room(&self, room: Room) {
        self.room.send_if_modified(|known| std::mem::replace(known, room) != room);
    }

    /// Records that a stretch of a class is sealed in the archive, with the event that says so, in one transaction. From
    /// then on its rows are deleted in small steps while nobody waits.
    ///
    /// # Errors
    /// [`JournalError::Misfit`] when the segment does not join what went before or is not what the journal holds;
    /// otherwise when it could not be recorded. The rows stay.
    pub async fn put_away(&self, segment: Segment, entry: Entry) -> Result<Recorded, JournalError> {
        entry::check(&entry.notes)?;
        let (answer, receiver) = oneshot::channel();
        self.line.send(Message::PutAway(Box::new((segment, entry)), answer)).await.map_err(|_| JournalError::Closed)?;
        Ticket { answer: receiver }.await
    }

    /// Resolves when the writer has come round to it: not while a commit neither ends nor fails, as on a disk that hangs in
    /// a flush. Whoever asks brings the deadline.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn comes_round(&self) -> Result<(), JournalError> {
        let (answer, heard) = oneshot::channel();
        self.line.send(Message::Ping(answer)).await.map_err(|_| JournalError::Closed)?;
        heard.await.map_err(|_| JournalError::Closed)
    }

    /// Asks for upkeep without pauses until nothing is left to trim or to give back; [`Self::standing`] shows how far it is
    /// and `hurried` there ends with it.
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn hurry_upkeep(&self) -> Result<(), JournalError> {
        let (answer, heard) = oneshot::channel();
        self.line.send(Message::Hurry(answer)).await.map_err(|_| JournalError::Closed)?;
        heard.await.map_err(|_| JournalError::Closed)
    }

    /// A reader with a connection of its own, for `spawn_blocking`.
    ///
    /// # Errors
    /// When the database cannot be opened a second time.
    pub fn reader(&self) -> Result<JournalReader, JournalError> {
        JournalReader::open(&self.dir)
    }

    /// Writes what is in line, gives the log back to the database file and ends the writer; then another may open the
    /// journal. Later calls say closed; a second close is well.
    ///
    /// # Errors
    /// When the last commit failed.
    pub async fn close(&self) -> Result<(), JournalError> {
        let (answer, receiver) = oneshot::channel();
        if self.line.send(Message::Close(answer)).await.is_err() {
            return Ok(());
        }
        receiver.await.unwrap_or(Ok(()))
    }
}

/// Opens the store, setting a damaged one aside.
fn open_store(dir: &Path, source: &Source, quota: u64) -> Result<(Store, Opening), JournalError> {
    aside::look(dir)?;
    let damage = if aside::is_marked(dir) {
        String::new()
    } else if aside::is_orphaned(dir) {
        "its log was there without the database".to_owned()
    } else {
        match opened(|| Store::open(dir, source, quota)) {
            Ok((store, fresh, steps)) => return adopt(dir, store, fresh, steps),
            Err(Refusal::Unusable(error)) => return Err(error),
            Err(Refusal::Damaged(reason) | Refusal::Unread(reason)) => reason,
        }
    };
    let aside::Unclaimed { to, reason } = aside::set_aside(dir, jiff::Timestamp::now(), &damage)?;
    tracing::error!(to = %to.display(), reason, "the journal cannot go on: it was set aside whole and a new one begins");
    match Store::open(dir, source, quota) {
        Ok((store, fresh, steps)) => adopt(dir, store, fresh, steps),
        Err(Refusal::Unusable(error)) => Err(error),
        Err(Refusal::Damaged(reason) | Refusal::Unread(reason)) => {
            let source = Arc::new(std::io::Error::other(format!("a new journal is damaged at once: {reason}")));
            Err(JournalError::Place { path: dir.to_owned(), source })
        }
    }
}

/// The opened store takes over what was set aside before it and not adopted yet.
fn adopt(dir: &Path, mut store: Store, fresh: bool, steps: u64) -> Result<(Store, Opening), JournalError> {
    let mut beginning = if fresh { Beginning::Fresh } else { Beginning::Resumed };
    for unclaimed in aside::unclaimed(dir) {
        legacy::adopt(&mut store.connection, &unclaimed)?;
        aside::claimed(dir, &unclaimed)?;
        beginning = Beginning::SetAside { to: unclaimed.to, reason: unclaimed.reason };
    }
    let opening = Opening { journal: store.journal(), beginning, heads: store.heads(), steps };
    Ok((store, opening))
}

/// Resolves when the event is on disk, or is certain not to be recorded.
#[derive(Debug)]
#[must_use = "the event is not on disk before this resolves"]
pub struct Ticket {
    answer: oneshot::Receiver<Answer>,
}

impl Future for Ticket {
    type Output = Result<Recorded, JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            // The writer is gone without an answer: it died, and nothing is known to be on disk.
            let recorded = answer.unwrap_or(Err(JournalError::Closed))?;
            recorded.first().copied().ok_or(JournalError::Closed)
        })
    }
}

/// Resolves when all events of one transaction are on disk, or are certain not to be recorded.
#[derive(Debug)]
#[must_use = "the events are not on disk before this resolves"]
pub struct TogetherTicket {
    answer: oneshot::Receiver<Answer>,
}

impl Future for TogetherTicket {
    type Output = Result<Vec<Recorded>, JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or(Err(JournalError::Closed)))
    }
}
