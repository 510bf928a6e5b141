//! What somebody at this gate asks of a seal: on disk before anything is sent to it, and what became of it after.
//!
//! ```text
//!   Order ─► known seal? ─► receipt vouched for? ─► ACTION_INTENDED on disk ─► Desks::ask ─► ... ─► ACTION_ENDED on disk
//!              read: no intent; what is read is reported like             └─► progress, line by line
//!              everything heard, and recorded as that by and by
//!   a start that finds an intent without an end: ACTION_ENDED, outcome unknown
//! ```
//!
//! What must hold:
//!
//! - Nothing is asked of a seal that could move it, delete its log or set its clock before the intent, with who asked, is
//!   on disk; and nothing is when the journal cannot promise the receipt of what became of it.
//! - Every intent gets exactly one end. One that a crash left without gets it at the next start; the note that remembers
//!   it stands and falls in the transactions of both events. From the intent on an order is a task of its own: whoever
//!   asked can go away at any moment.
//! - An [`Errand`] has no unlock: that goes by a permit and by nothing else.
//! - Whoever asked and goes away calls it off, as long as the seal was not written to; after that it goes on. A drain or a
//!   clock that is set ends at its next step, and its end says what had happened by then.

pub mod line;
pub mod list;
mod settle;
mod under_way;

use std::{collections::HashMap, future::Future, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use segel_drivers::{
    Action, Ended, Hindrance, MacAddress, Outcome, Progress, SealId, Spent,
    ble::{
        KnownSeal,
        session::{Desks, Hearing, Request, Ticket},
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::line::{End, Line};
pub(crate) use self::settle::Settler;
use self::under_way::{Entered, UnderWay};
use crate::{
    clock::Clock,
    commands::Voucher,
    config::Config,
    event::{Assurance, Class, Draft, EventType, Subject},
    ingest::{RETRY_CAP, RETRY_FIRST, note_json},
    journal::{Entry, Journal, JournalError, JournalReader, JournalStanding, NoReceipt, Note, Reserve},
};

/// The kind of note an intent without an end is kept under.
pub const NOTE: &str = "action";
/// Least and most time an order may be given, and what it has when nobody says.
pub const WITHIN: (Duration, Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120), Duration::from_secs(600));
/// Orders under way at once; a gate has a handful of people.
pub(crate) const ORDERS_MAX: usize = 64;
/// What an intent and its end take of the log at most, in bytes: two commits of some pages each.
const ENDS_ROOM: u64 = 64 * 1024;
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
    places: Arc<Semaphore>,
    stop: CancellationToken,
    under_way: UnderWay,
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
            places: Arc::new(Semaphore::new(ORDERS_MAX)),
            stop: CancellationToken::new(),
            under_way: UnderWay::default(),
        })
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
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Refusal::Busy)?;
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
        let (entered, wanted) = self.under_way.enter(&intent.command_id);
        let (verdict, taken) = oneshot::channel();
        let sessions = Arc::clone(self);
        // A task of its own: an intent that is being committed gets its end, whoever waits here or not.
        self.orders.spawn(async move {
            let _place = place;
            let voucher = if intent.action.changes() { sessions.intend(&intent).await.map(Some) } else { Ok(None) };
            match voucher {
                Ok(_held) => {
                    // Whoever is gone by now has dropped the lines too.
                    let _ = verdict.send(Ok(()));
                    sessions.perform(intent, request, sender, (entered, wanted)).await;
                }
                Err(refusal) => drop(verdict.send(Err(refusal))),
            }
        });
        taken.await.unwrap_or(Err(Refusal::Stopping)).map(|()| lines)
    }

    /// The intent is on disk, and the receipt of what becomes of it is promised.
    async fn intend(&self, intent: &Intent) -> Result<Voucher, Refusal> {
        let voucher = vouched(&self.journal.standing().borrow())?;
        let draft =
            Draft::new(Class::Receipt, EventType::ActionIntended, Subject::seal(&intent.seal), self.clock.now(), Assurance::Own, intent);
        let entry = Entry::new(on_container(draft.expect("names and numbers are a small object"), intent));
        self.journal.append(entry.with(note_json(NOTE, &intent.command_id, intent))).await?;
        tracing::info!(command = intent.command_id, seal = %intent.seal, action = intent.action.as_str(), "an action is intended");
        Ok(voucher)
    }

    async fn perform(&self, intent: Intent, request: Request, lines: mpsc::Sender<Line>, (_entered, wanted): (Entered, Wanted)) {
        let not_attempted = |why| Ended { outcome: Outcome::NotAttempted { why }, spent: Spent::default() };
        // Whoever went away while it was being recorded called it off.
        let ended = if lines.is_closed() {
            not_attempted(Hindrance::CalledOff)
        } else {
            match self.counter.ask(request) {
                Ok(going) => self.follow(intent.action, going, wanted, &lines).await,
                Err(why) => not_attempted(why),
            }
        };
        let mut end = End::of(&ended);
        if intent.action.changes() {
            let entry = settle::ending(&self.clock, &intent, &end).with(Note::forget(NOTE, intent.command_id.clone()));
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
    async fn follow(&self, errand: Errand, going: Going, mut asked_off: Wanted, lines: &mpsc::Sender<Line>) -> Ended {
        let Going { mut progress, ticket, mut ended } = going;
        let (mut told, mut listened, mut moving) = (None, Listening::Yes, Moving::Unknown);
        let mut effect = Effect::None;
        loop {
            let now = *progress.borrow_and_update();
            effect = effect.after(now);
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
            // Before a connection stands there is nothing to wait for; later the session ends by itself, and knows more. A
            // lock that is called off was never written, whatever was tried before; a drain that waits for its next
            // connection may have had events confirmed in the last one.
            let idle = matches!(now, Progress::Queued { .. } | Progress::Waking | Progress::Connecting { .. });
            if off && idle && (errand == Errand::Lock || effect == Effect::None) {
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
                Err(fault) if is_final(&fault) => return,
                Err(_) => pause = (pause * 2).min(RETRY_CAP),
            }
        }
    }

    /// Calls an order off, as long as its seal was not written to.
    pub async fn call_off(&self, command: &str) -> CallOff {
        self.under_way.call_off(command).await
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

/// Whether the journal will never take anything again in this run.
fn is_final(fault: &JournalError) -> bool {
    fault.is_damage() || matches!(fault, JournalError::Closed | JournalError::Replaced { .. })
}

/// Whoever wants an order called off, and waits for an answer.
type Wanted = mpsc::Receiver<oneshot::Sender<CallOff>>;

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

/// Whether a request may have done something at the seal already, apart from the write that the ticket guards.
#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// No connection ever stood.
    None,
    /// One stood, or may have.
    Possible,
}

impl Effect {
    fn after(self, now: Progress) -> Self {
        match now {
            Progress::Queued { .. } | Progress::Waking | Progress::Connecting { attempt: 0..=1, .. } => self,
            // A later attempt: what came of the one before may not have been seen here.
            Progress::Connecting { .. } => Self::Possible,
            Progress::Authenticating | Progress::Reading | Progress::Writing | Progress::Draining { .. } | Progress::ReadingBack => {
                Self::Possible
            }
        }
    }
}

/// A voucher, if the end of every order that can be under way could be kept: each promises its own, all out of one room.
fn vouched(standing: &JournalStanding) -> Result<Voucher, NoReceipt> {
    match standing.reserve {
        Reserve::Spent { left } if left < ORDERS_MAX as u64 * ENDS_ROOM => Err(NoReceipt::Full { left }),
        _ => Voucher::ask(standing),
    }
}

#[cfg(test)]
mod tests;
