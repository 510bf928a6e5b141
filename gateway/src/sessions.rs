//! What somebody at this gate asks of a seal: on disk before anything is sent to it, and what became of it after.
//!
//! ```text
//!   Order ─► known seal? ─► receipt vouched for? ─► ACTION_INTENDED on disk ─► Desks::ask ─► ... ─► ACTION_ENDED on disk
//!              read: no intent; the reading itself is its event              └─► progress, line by line
//!   a start that finds an intent without an end: ACTION_ENDED, outcome unknown
//! ```
//!
//! What must hold:
//!
//! - Nothing is asked of a seal that could move it, delete its log or set its clock before the intent, with who asked, is
//!   on disk; and nothing is when the journal cannot promise the receipt of what became of it.
//! - Every intent gets exactly one end. One that a crash left without gets it at the next start; the note that remembers
//!   it stands and falls in the transactions of both events.
//! - An [`Errand`] has no unlock: that goes by a permit and by nothing else.
//! - Whoever asked and goes away calls it off, as long as the seal was not written to; after that it goes on.

pub mod line;
pub mod list;

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use segel_drivers::{
    Action, Ended, Hindrance, MacAddress, Outcome, Progress, SealId, Spent,
    ble::{
        KnownSeal,
        session::{Desks, Hearing, Request, Ticket},
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::line::{End, Line};
use crate::{
    clock::Clock,
    commands::Voucher,
    config::Config,
    event::{Assurance, Class, Draft, EventType, Subject},
    ingest::{RETRY_CAP, RETRY_FIRST, note_json},
    journal::{Entry, Journal, JournalError, JournalReader, NoReceipt, Note},
};

/// The kind of note an intent without an end is kept under.
pub const NOTE: &str = "action";
/// Least and most time an order may be given, and what it has when nobody says.
pub const WITHIN: (Duration, Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120), Duration::from_secs(600));
/// Orders under way at once; a gate has a handful of people.
pub(crate) const ORDERS_MAX: usize = 64;
/// Lines that wait for whoever reads them; progress beyond it is left out, the end waits a moment.
const LINES: usize = 64;
/// How long the last line waits for a reader who does not read.
const LAST_LINE: Duration = Duration::from_secs(5);

/// What may be asked of a seal here. There is no word for an unlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// Say what state it is in.
    Read,
    /// Close it.
    Lock,
    /// Hand over its log.
    Drain,
    /// Set its clock to ours.
    SetTime,
}

/// A word for no errand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoErrand {
    /// It is the one that needs a permit.
    #[error("a seal is only opened on a permit of customs, and this command has no way to express one")]
    Unlock,
    /// It is nothing.
    #[error("`{0}` is nothing a seal can be asked here: one of read, lock, drain, set-time")]
    Unknown(String),
}

impl Errand {
    /// Every errand.
    pub const ALL: [Self; 4] = [Self::Read, Self::Lock, Self::Drain, Self::SetTime];

    /// What the drivers call it.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Self::Read => Action::ReadState,
            Self::Lock => Action::Lock,
            Self::Drain => Action::DrainLog,
            Self::SetTime => Action::SetTime,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.action().as_str()
    }

    /// Whether it changes anything at the seal, so that it is on record before.
    fn changes(self) -> bool {
        self != Self::Read
    }
}

impl FromStr for Errand {
    type Err = NoErrand;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|errand| errand.as_str() == word);
        found.ok_or_else(|| {
            if word == Action::Unlock.as_str() { NoErrand::Unlock } else { NoErrand::Unknown(word.chars().take(40).collect()) }
        })
    }
}

/// Who asked, as the system says it of the other end of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// The number of the user; absent when the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The number of the process, where the system says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Of which seal.
    pub seal: SealId,
    /// What.
    pub errand: Errand,
    /// By when it must be done or not begun, from now.
    pub within: Duration,
    /// By whom.
    pub who: Who,
}

/// Why an order is not taken. Nothing was sent, and nothing is on record.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody knows this seal.
    #[error("{0} is not in the register of seals; add it to the file named by gate.seals_file and restart the gate")]
    UnknownSeal(SealId),
    /// The time is out of range.
    #[error("the time for it must be from {} to {} seconds", WITHIN.0.as_secs(), WITHIN.2.as_secs())]
    Within,
    /// What becomes of it could not be kept.
    #[error("{0}; so nothing was sent to the seal")]
    NoReceipt(#[from] NoReceipt),
    /// That it is intended could not be kept.
    #[error("that it is intended could not be recorded, so nothing was sent to the seal: {0}")]
    NotKept(#[from] JournalError),
    /// Too many are under way.
    #[error("{ORDERS_MAX} orders are under way; ask again in a moment")]
    Busy,
    /// The gate is stopping.
    #[error("the gate is stopping")]
    Stopping,
}

/// A request on its way to a seal.
pub struct Going {
    /// Where it is.
    pub progress: watch::Receiver<Progress>,
    /// The word that calls it off.
    pub ticket: Arc<Ticket>,
    /// Its end.
    pub ended: Pin<Box<dyn Future<Output = Ended> + Send>>,
}

/// Where requests are asked for.
pub trait Counter: Send + Sync + 'static {
    /// Whether it can be asked for at all.
    ///
    /// # Errors
    /// What stands in the way.
    fn may_ask(&self, seal: &KnownSeal, action: Action) -> Result<(), Hindrance>;

    /// Asks for it.
    ///
    /// # Errors
    /// What stands in the way; nothing was sent.
    fn ask(&self, request: Request) -> Result<Going, Hindrance>;

    /// The last time the seal was heard, and by which adapter.
    fn hearing(&self, address: MacAddress) -> Option<(String, Hearing)>;
}

impl Counter for Desks {
    fn may_ask(&self, seal: &KnownSeal, action: Action) -> Result<(), Hindrance> {
        Self::may_ask(self, seal, action)
    }

    fn ask(&self, request: Request) -> Result<Going, Hindrance> {
        let asked = Self::ask(self, request)?;
        Ok(Going { progress: asked.progress(), ticket: asked.ticket(), ended: Box::pin(asked.ended()) })
    }

    fn hearing(&self, address: MacAddress) -> Option<(String, Hearing)> {
        Self::hearing(self, address).map(|(reader, hearing)| (reader.to_string(), hearing))
    }
}

/// A seal of the register.
#[derive(Debug, Clone)]
struct Seat {
    known: KnownSeal,
    address: Option<MacAddress>,
    container: Option<String>,
}

/// Every order, from its asking to its end.
pub struct Sessions {
    counter: Box<dyn Counter>,
    seals: HashMap<SealId, Seat>,
    journal: Journal,
    clock: Clock,
    orders: TaskTracker,
    stop: CancellationToken,
    under_way: Mutex<HashMap<String, mpsc::Sender<oneshot::Sender<CallOff>>>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("seals", &self.seals.len()).field("orders", &self.orders.len()).finish_non_exhaustive()
    }
}

/// What became of calling something off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOff {
    /// It will not be done.
    CalledOff,
    /// The seal was written to already: it goes on, and what becomes of it will be on record.
    GoesOn,
    /// There is nothing of that name under way.
    NotUnderWay,
}

/// The body of `ACTION_INTENDED`, and what its note remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intent {
    command_id: String,
    seal: SealId,
    action: Errand,
    within_s: u64,
    asked_by: Who,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

/// The body of `ACTION_ENDED`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ending<'a> {
    command_id: &'a str,
    seal: &'a SealId,
    action: Errand,
    asked_by: Who,
    #[serde(flatten)]
    end: &'a End,
}

impl Sessions {
    /// Orders for the seals of this configuration, by way of this counter.
    #[must_use]
    pub fn new(counter: impl Counter, config: &Config, journal: Journal, clock: Clock) -> Arc<Self> {
        let seat = |seal: &crate::config::RegisteredSeal| Seat {
            known: seal.known(),
            address: seal.address,
            container: seal.container.as_ref().map(ToString::to_string),
        };
        Arc::new(Self {
            counter: Box::new(counter),
            seals: config.seals.iter().map(|seal| (seal.id.clone(), seat(seal))).collect(),
            journal,
            clock,
            orders: TaskTracker::new(),
            stop: CancellationToken::new(),
            under_way: Mutex::default(),
        })
    }

    /// Every order that an earlier run left without an end gets one. To be done before anything is asked.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn settle(&self) -> Result<usize, JournalError> {
        let reader = self.journal.reader()?;
        let left = tokio::task::spawn_blocking(move || reader.notes(NOTE)).await.expect("reading rows does not panic")?;
        let count = left.len();
        for note in left {
            let forget = Note::forget(NOTE, note.key.clone());
            let Ok(intent) = serde_json::from_slice::<Intent>(&note.value) else {
                tracing::error!(command = note.key, "an intended action cannot be read back; look for its ACTION_INTENDED");
                self.journal.keep(vec![forget]).await?;
                continue;
            };
            let why = "the gate ended before it knew what became of it; look at the seal".to_owned();
            let end = End::of(&Ended { outcome: Outcome::Unknown { why, read_back: None }, spent: Spent::default() });
            self.journal.append(self.ended(&intent, &end).with(forget)).await?;
            tracing::warn!(command = intent.command_id, seal = %intent.seal, "what became of an action is not known");
        }
        Ok(count)
    }

    /// Takes an order; its lines come until its end.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was sent to the seal.
    pub async fn begin(self: &Arc<Self>, order: Order) -> Result<mpsc::Receiver<Line>, Refusal> {
        if self.stop.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let Some(seat) = self.seals.get(&order.seal) else { return Err(Refusal::UnknownSeal(order.seal)) };
        if order.within < WITHIN.0 || order.within > WITHIN.2 {
            return Err(Refusal::Within);
        }
        if self.orders.len() >= ORDERS_MAX {
            return Err(Refusal::Busy);
        }
        let (sender, lines) = mpsc::channel(LINES);
        let intent = Intent {
            command_id: uuid::Uuid::now_v7().to_string(),
            seal: order.seal.clone(),
            action: order.errand,
            within_s: order.within.as_secs(),
            asked_by: order.who,
            protocol: seat.known.protocol.to_string(),
            address: seat.address.map(|address| address.to_string()),
            container: seat.container.clone(),
        };
        let accepted = Line::Accepted { command: intent.command_id.clone(), seal: order.seal.clone(), action: order.errand };
        let _ = sender.try_send(accepted);
        let action = order.errand.action();
        let at_once = seat.address.ok_or(Hindrance::NoAddress).and_then(|address| {
            self.counter.may_ask(&seat.known, action)?;
            Ok(Request { address, seal: seat.known.clone(), action, within: order.within })
        });
        let request = match at_once {
            Ok(request) => request,
            Err(why) => {
                let ended = Ended { outcome: Outcome::NotAttempted { why }, spent: Spent::default() };
                let _ = sender.try_send(Line::Ended(End::of(&ended)));
                return Ok(lines);
            }
        };
        let voucher = if order.errand.changes() { Some(self.intend(&intent).await?) } else { None };
        let sessions = Arc::clone(self);
        self.orders.spawn(async move {
            // Held as long as its receipt may still have to be kept.
            let _held = voucher;
            sessions.perform(intent, request, sender).await;
        });
        Ok(lines)
    }

    /// The intent is on disk, and the receipt of what becomes of it is promised.
    async fn intend(&self, intent: &Intent) -> Result<Voucher, Refusal> {
        let voucher = Voucher::ask(&self.journal.standing().borrow())?;
        let draft =
            Draft::new(Class::Receipt, EventType::ActionIntended, Subject::seal(&intent.seal), self.clock.now(), Assurance::Own, intent);
        let entry = Entry::new(on_container(draft.expect("names and numbers are a small object"), intent));
        self.journal.append(entry.with(note_json(NOTE, &intent.command_id, intent))).await?;
        tracing::info!(command = intent.command_id, seal = %intent.seal, action = intent.action.as_str(), "an action is intended");
        Ok(voucher)
    }

    async fn perform(&self, intent: Intent, request: Request, lines: mpsc::Sender<Line>) {
        let ended = match self.counter.ask(request) {
            Ok(going) => self.follow(&intent.command_id, going, &lines).await,
            Err(why) => Ended { outcome: Outcome::NotAttempted { why }, spent: Spent::default() },
        };
        let mut end = End::of(&ended);
        if intent.action.changes() {
            let entry = self.ended(&intent, &end).with(Note::forget(NOTE, intent.command_id.clone()));
            end.recorded = Some(true);
            if let Err(fault) = self.journal.append(entry.clone()).await {
                tracing::error!(command = intent.command_id, %fault, "what became of an action is not on record yet");
                end.recorded = Some(false);
                let _ = timeout(LAST_LINE, lines.send(Line::Ended(end))).await;
                self.insist(entry).await;
                return;
            }
            tracing::info!(command = intent.command_id, seal = %intent.seal, outcome = end.outcome.as_str(), "an action has ended");
        }
        // Whoever went away reads it in the journal.
        let _ = timeout(LAST_LINE, lines.send(Line::Ended(end))).await;
    }

    /// Follows a request to its end, tells where it is, and calls it off when that is wanted.
    async fn follow(&self, command: &str, going: Going, lines: &mpsc::Sender<Line>) -> Ended {
        let Going { mut progress, ticket, mut ended } = going;
        let (off, mut asked_off) = mpsc::channel(1);
        let _entered = UnderWay::enter(self, command, off);
        let (mut told, mut listened, mut moving) = (None, Listening::Yes, Moving::Unknown);
        loop {
            let now = *progress.borrow_and_update();
            if told.replace(now) != Some(now) {
                // Whoever reads slowly misses a step, never the end.
                let _ = lines.try_send(Line::Progress(now));
            }
            let wanted = tokio::select! {
                biased;
                ended = &mut ended => return ended,
                Ok(()) = progress.changed() => continue,
                Some(answer) = asked_off.recv() => Some(answer),
                () = lines.closed(), if listened == Listening::Yes => { listened = Listening::No; None }
                () = self.stop.cancelled(), if moving == Moving::Unknown => { moving = Moving::Asked; None }
            };
            let off = ticket.call_off();
            if let Some(answer) = wanted {
                let _ = answer.send(if off { CallOff::CalledOff } else { CallOff::GoesOn });
            }
            // Before a connection stands there is nothing to wait for; later the session ends by itself, and knows more.
            if off && matches!(now, Progress::Queued { .. } | Progress::Waking | Progress::Connecting { .. }) {
                let why = if self.stop.is_cancelled() { Hindrance::Stopping } else { Hindrance::CalledOff };
                return Ended { outcome: Outcome::NotAttempted { why }, spent: Spent::default() };
            }
        }
    }

    /// The journal promised to keep it: tried again until it does, or is gone.
    async fn insist(&self, entry: Entry) {
        let mut pause = RETRY_FIRST;
        loop {
            sleep(pause).await;
            match self.journal.append(entry.clone()).await {
                Ok(_) => return,
                // The note of the intent stands: the next start says it.
                Err(fault) if fault.is_damage() || matches!(fault, JournalError::Closed) => return,
                Err(_) => pause = (pause * 2).min(RETRY_CAP),
            }
        }
    }

    fn ended(&self, intent: &Intent, end: &End) -> Entry {
        let body = Ending { command_id: &intent.command_id, seal: &intent.seal, action: intent.action, asked_by: intent.asked_by, end };
        let draft =
            Draft::new(Class::Receipt, EventType::ActionEnded, Subject::seal(&intent.seal), self.clock.now(), Assurance::Own, &body);
        Entry::new(on_container(draft.expect("an outcome is a small object"), intent))
    }

    /// Calls an order off, as long as its seal was not written to.
    pub async fn call_off(&self, command: &str) -> CallOff {
        let Some(off) = self.under_way().get(command).cloned() else { return CallOff::NotUnderWay };
        let (answer, answered) = oneshot::channel();
        if off.send(answer).await.is_err() {
            return CallOff::NotUnderWay;
        }
        answered.await.unwrap_or(CallOff::NotUnderWay)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<oneshot::Sender<CallOff>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no order any more, calls off what can be, and waits for the ends of the rest.
    pub async fn close(&self) {
        self.stop.cancel();
        self.orders.close();
        self.orders.wait().await;
    }

    /// What is known of every registered seal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn list(&self, reader: &JournalReader) -> Result<Vec<list::SealLine>, JournalError> {
        list::lines(self, reader)
    }
}

/// An intent's draft with its container; a number that is too long for an event was refused by the register.
fn on_container(draft: Draft, intent: &Intent) -> Draft {
    match &intent.container {
        Some(container) => draft.clone().with_container(container.clone()).unwrap_or(draft),
        None => draft,
    }
}

/// Whether somebody still reads the lines.
#[derive(PartialEq)]
enum Listening {
    Yes,
    No,
}

/// Whether the stop of the gate has called it off.
#[derive(PartialEq)]
enum Moving {
    Unknown,
    Asked,
}

/// An order that can be called off by its name, until this is dropped.
struct UnderWay<'a>(&'a Sessions, String);

impl<'a> UnderWay<'a> {
    fn enter(sessions: &'a Sessions, command: &str, off: mpsc::Sender<oneshot::Sender<CallOff>>) -> Self {
        sessions.under_way().insert(command.to_owned(), off);
        Self(sessions, command.to_owned())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way().remove(&self.1);
    }
}

#[cfg(test)]
mod tests;
