//! Where requests wait: one desk per adapter, in order of urgency.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot, watch};

use super::Ticket;
use crate::{Action, Ended, Hindrance, MacAddress, Outcome, Priority, Progress, ReaderId, Spent, ble::KnownSeal};

/// How sessions are bounded. Every field is configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A seal heard within this is there. Some adapters tell of a standing seal only every 11 s.
    pub heard_within: Duration,
    /// One attempt to connect and find the characteristics.
    pub connect: Duration,
    /// Attempts to connect at most, as long as nothing was written.
    pub attempts: u8,
    /// Between a disconnect and the next connect: sooner, the kernel refuses (20 ms at least, better 250).
    pub pause: Duration,
    /// One write or one read.
    pub call: Duration,
    /// A disconnect. BlueZ itself takes 2.0 to 2.8 s.
    pub disconnect: Duration,
    /// After the write: as long may be spent on finding out whether the seal moved, beyond the request's own deadline.
    pub read_back: Duration,
    /// Requests that wait for one adapter at most.
    pub queue: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            heard_within: Duration::from_secs(15),
            connect: Duration::from_secs(20),
            attempts: 4,
            pause: Duration::from_millis(250),
            call: Duration::from_secs(5),
            disconnect: Duration::from_secs(5),
            read_back: Duration::from_secs(60),
            queue: 32,
        }
    }
}

/// What is asked of one seal.
#[derive(Debug, Clone)]
pub struct Request {
    /// The seal's address.
    pub address: MacAddress,
    /// What is known of it.
    pub seal: KnownSeal,
    /// What it is to do.
    pub action: Action,
    /// By when it must be done or not begun, from now. Reading back may take longer ([`SessionLimits::read_back`]).
    pub within: Duration,
}

/// When and how strongly each registered seal was last heard by one adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// When.
    pub at: Instant,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
}

/// A request on its way; dropping it calls the request off, as long as nothing that moves the seal was written.
#[derive(Debug)]
pub struct Asked {
    ticket: Arc<Ticket>,
    progress: watch::Receiver<Progress>,
    end: oneshot::Receiver<Ended>,
    /// When the asker stops waiting, whatever the adapter's thread does.
    give_up: tokio::time::Instant,
    within: Duration,
}

impl Asked {
    /// Where it is; changes are seen by waiting on it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Waits for its end. There always is one: from an adapter that hung or died it is what the ticket says.
    pub async fn ended(mut self) -> Ended {
        let why = match tokio::time::timeout_at(self.give_up, &mut self.end).await {
            Ok(Ok(ended)) => return ended,
            Ok(Err(_)) => "the adapter's session ended without an answer",
            Err(_) => "the adapter's session did not end in time",
        };
        let outcome = if self.ticket.call_off() {
            let why = if self.give_up <= tokio::time::Instant::now() {
                Hindrance::Deadline(self.within)
            } else {
                Hindrance::NoAdapter(why.to_owned())
            };
            Outcome::NotAttempted { why }
        } else {
            Outcome::Unknown { why: why.to_owned(), read_back: None }
        };
        Ended { outcome, spent: Spent::default() }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // false means that the write was claimed; the session goes on to its end by itself
        let _ = self.ticket.call_off();
    }
}

/// A request in the queue, from the session's side.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) end: oneshot::Sender<Ended>,
    /// When it was asked.
    pub(crate) asked: Instant,
    /// By when it must be done or not begun.
    pub(crate) deadline: Instant,
}

/// Where the requests for one adapter wait. Clones are the same desk; it outlives the adapter's rebuilds.
#[derive(Debug, Clone)]
pub struct Desk {
    reader: ReaderId,
    limits: SessionLimits,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<VecDeque<Waiting>>,
    heard: Mutex<HashMap<MacAddress, Hearing>>,
    news: Notify,
}

impl Desk {
    /// The desk of one adapter.
    #[must_use]
    pub fn new(reader: ReaderId, limits: SessionLimits) -> Self {
        Self { reader, limits, shared: Arc::default() }
    }

    /// The adapter.
    #[must_use]
    pub fn reader(&self) -> &ReaderId {
        &self.reader
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// A registered seal was heard. Only registered ones are noted, so the register bounds the memory.
    pub fn heard(&self, address: MacAddress, rssi_dbm: Option<i16>, at: Instant) {
        let mut heard = lock(&self.shared.heard);
        let before = heard.get(&address).and_then(|hearing| hearing.rssi_dbm);
        heard.insert(address, Hearing { at, rssi_dbm: rssi_dbm.or(before) });
    }

    /// When this adapter last heard the seal.
    #[must_use]
    pub fn hearing(&self, address: MacAddress) -> Option<Hearing> {
        lock(&self.shared.heard).get(&address).copied()
    }

    /// Puts a request into the queue.
    ///
    /// # Errors
    /// [`Hindrance::QueueFull`].
    pub fn ask(&self, request: Request) -> Result<Asked, Hindrance> {
        let mut queue = lock(&self.shared.queue);
        queue.retain(|waiting| !waiting.ticket.is_called_off());
        if queue.len() >= self.limits.queue {
            return Err(Hindrance::QueueFull(queue.len()));
        }
        let ahead = queue.iter().filter(|waiting| waiting.request.action.priority() <= request.action.priority()).count();
        let ticket = Arc::new(Ticket::default());
        let (progress, seen) = watch::channel(Progress::Queued { ahead });
        let (end, ended) = oneshot::channel();
        let asked = Instant::now();
        let within = request.within;
        // The session's own deadlines come first; this one is for a thread that hangs.
        let give_up = tokio::time::Instant::now() + within + self.limits.read_back + 2 * self.limits.disconnect;
        queue.push_back(Waiting { request, ticket: Arc::clone(&ticket), progress, end, asked, deadline: asked + within });
        drop(queue);
        self.shared.news.notify_one();
        Ok(Asked { ticket, progress: seen, end: ended, give_up, within })
    }

    /// The most urgent request, the oldest among equals. Safe to cancel.
    pub(crate) async fn next(&self) -> Waiting {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.shared.news.notified().await;
        }
    }

    fn take(&self) -> Option<Waiting> {
        let mut queue = lock(&self.shared.queue);
        queue.retain(|waiting| !waiting.ticket.is_called_off());
        let at = queue.iter().enumerate().min_by_key(|(at, waiting)| (waiting.request.action.priority(), *at)).map(|(at, _)| at)?;
        let next = queue.remove(at);
        for (ahead, waiting) in queue.iter().enumerate() {
            waiting.progress.send_replace(Progress::Queued { ahead });
        }
        next
    }

    /// Whether somebody more urgent than this waits.
    pub(crate) fn is_wanted_for_more_than(&self, priority: Priority) -> bool {
        lock(&self.shared.queue).iter().any(|waiting| waiting.request.action.priority() < priority && !waiting.ticket.is_called_off())
    }
}

/// Every adapter's desk. Clones are the same desks.
#[derive(Debug, Clone, Default)]
pub struct Desks {
    desks: Arc<Vec<Desk>>,
}

impl FromIterator<Desk> for Desks {
    fn from_iter<T: IntoIterator<Item = Desk>>(desks: T) -> Self {
        Self { desks: Arc::new(desks.into_iter().collect()) }
    }
}

impl Desks {
    /// The desks.
    pub fn iter(&self) -> impl Iterator<Item = &Desk> {
        self.desks.iter()
    }

    /// The last time any adapter heard the seal, and which.
    #[must_use]
    pub fn hearing(&self, address: MacAddress) -> Option<(&ReaderId, Hearing)> {
        let heard = self.desks.iter().filter_map(|desk| Some((desk.reader(), desk.hearing(address)?)));
        heard.max_by_key(|(_, hearing)| hearing.at)
    }

    /// What is known of a seal, as far as a session can be asked for.
    ///
    /// # Errors
    /// Whatever can be said at once: the protocol cannot do it, a credential is missing, no adapter is configured.
    pub fn may_ask(&self, seal: &KnownSeal, action: Action) -> Result<(), Hindrance> {
        let protocol = seal.protocol.protocol();
        if !protocol.actions().contains(&action) {
            return Err(Hindrance::CannotDo { protocol: seal.protocol, action });
        }
        if self.desks.is_empty() {
            return Err(Hindrance::NoAdapter("none is configured; add one under [readers]".to_owned()));
        }
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
