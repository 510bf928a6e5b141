//! The hall where requests wait for an adapter.
//!
//! ```text
//!   ask ─► waiting ──(an adapter hears the seal; no session with it; the most urgent first)──► Turn ─► answered
//!             ▲  └─ deadline: NotHeard, NoConnection or Deadline                                 │
//!             └──────────── dropped unanswered before anything moved (the adapter failed) ◄──────┘
//! ```
//!
//! What must hold: a request occupies no adapter while it waits; of the adapters that heard a seal within
//! [`SessionLimits::heard_within`] and serve, the one that heard it best takes the request, and no other; a seal has one
//! session at a time, whichever adapter; what waits is bounded; the lock is never held across a wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use super::{Asked, Hearing, Request, SessionLimits, Ticket};
use crate::{Ended, Hindrance, MacAddress, Outcome, Priority, Progress, ReaderId, Spent, ble::protocol::Protocol};

/// How often the hall is looked at while requests wait: hearings grow old without a word.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A request that waits, from the session's side.
pub(super) struct Waiting {
    number: u64,
    pub(super) request: Request,
    pub(super) protocol: &'static dyn Protocol,
    pub(super) ticket: Arc<Ticket>,
    progress: watch::Sender<Progress>,
    end: oneshot::Sender<Ended>,
    pub(super) asked: Instant,
    pub(super) deadline: Instant,
    /// What was spent on it before it was put back, and how its last attempt failed.
    pub(super) spent: Spent,
    pub(super) last: Option<String>,
}

impl Waiting {
    fn priority(&self) -> Priority {
        self.request.action.priority()
    }

    fn order(&self) -> (Priority, u64) {
        (self.priority(), self.number)
    }

    /// How long it has waited, without what a session spent on it.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.asked).saturating_sub(self.spent.connecting + self.spent.talking)
    }

    fn tell(&self, now: Progress) {
        self.progress.send_if_modified(|told| {
            let news = *told != now;
            *told = now;
            news
        });
    }

    fn answer(self, outcome: Outcome) {
        // nobody waits any more: then the ticket was called off, or what was done is in the reports
        let _ = self.end.send(Ended { outcome, spent: self.spent });
    }
}

/// One adapter.
struct Place {
    reader: ReaderId,
    heard: HashMap<MacAddress, Hearing>,
    serving: bool,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Inside {
    places: Vec<Place>,
    waiting: Vec<Waiting>,
    /// Seals in a session, and until when that is believed: an adapter that hangs gives nothing back.
    busy: HashMap<MacAddress, (u64, Instant)>,
    numbers: u64,
}

/// The hall.
pub(super) struct Hall {
    limits: SessionLimits,
    inside: Mutex<Inside>,
}

impl std::fmt::Debug for Hall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inside = self.inside();
        f.debug_struct("Hall").field("desks", &inside.places.len()).field("waiting", &inside.waiting.len()).finish_non_exhaustive()
    }
}

impl Hall {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self { limits, inside: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of an adapter; set up when it is new.
    pub(super) fn place(&self, reader: &ReaderId) -> usize {
        let mut inside = self.inside();
        if let Some(at) = inside.places.iter().position(|place| place.reader == *reader) {
            return at;
        }
        inside.places.push(Place { reader: reader.clone(), heard: HashMap::new(), serving: false, news: Arc::default() });
        inside.places.len() - 1
    }

    pub(super) fn readers(&self) -> Vec<ReaderId> {
        self.inside().places.iter().map(|place| place.reader.clone()).collect()
    }

    pub(super) fn heard(&self, at: usize, address: MacAddress, rssi_dbm: Option<i16>, when: std::time::Instant) {
        let mut inside = self.inside();
        let Some(place) = inside.places.get_mut(at) else { return };
        let before = place.heard.get(&address).and_then(|hearing| hearing.rssi_dbm);
        place.heard.insert(address, Hearing { at: when, rssi_dbm: rssi_dbm.or(before) });
        if inside.waiting.iter().any(|waiting| waiting.request.address == address) {
            inside.look(&self.limits, Instant::now());
        }
    }

    /// What was heard does not count any more.
    pub(super) fn forget(&self, at: usize, address: MacAddress) {
        if let Some(place) = self.inside().places.get_mut(at) {
            place.heard.remove(&address);
        }
    }

    pub(super) fn hearing(&self, at: usize, address: MacAddress) -> Option<Hearing> {
        self.inside().places.get(at)?.heard.get(&address).copied()
    }

    pub(super) fn serving(&self, at: usize, serving: bool) {
        let mut inside = self.inside();
        if let Some(place) = inside.places.get_mut(at) {
            place.serving = serving;
        }
        inside.look(&self.limits, Instant::now());
    }

    pub(super) fn ask(hall: &Arc<Self>, protocol: &'static dyn Protocol, request: Request) -> Result<Asked, Hindrance> {
        let now = Instant::now();
        let mut inside = hall.inside();
        inside.look(&hall.limits, now);
        // what is less urgent does not keep it out: so at most three times as many wait
        let urgency = request.action.priority();
        let before = inside.waiting.iter().filter(|waiting| waiting.priority() <= urgency).count();
        if before >= hall.limits.queue * inside.places.len().max(1) {
            return Err(Hindrance::QueueFull(before));
        }
        let ticket = Arc::new(Ticket::default());
        let (progress, seen) = watch::channel(Progress::Waking);
        let (end, ended) = oneshot::channel();
        let (within, deadline) = (request.within, now + request.within);
        inside.numbers += 1;
        let number = inside.numbers;
        let waiting = Waiting {
            number,
            request,
            protocol,
            ticket: Arc::clone(&ticket),
            progress,
            end,
            asked: now,
            deadline,
            spent: Spent::default(),
            last: None,
        };
        inside.waiting.push(waiting);
        inside.look(&hall.limits, now);
        drop(inside);
        Ok(Asked { hall: Arc::clone(hall), ticket, progress: seen, end: ended, deadline, within })
    }

    /// Lets go what was called off, answers what is too late, and tells the others where they are.
    pub(super) fn look(&self) {
        self.inside().look(&self.limits, Instant::now());
    }

    pub(super) async fn next(hall: &Arc<Self>, at: usize) -> Turn {
        loop {
            let news = {
                let mut inside = hall.inside();
                if let Some(waiting) = inside.take(&hall.limits, at, Instant::now()) {
                    let (address, number) = (waiting.request.address, waiting.number);
                    return Turn { hall: Arc::clone(hall), address, number, waiting: Some(waiting) };
                }
                inside.places.get(at).map(|place| Arc::clone(&place.news))
            };
            match news {
                // a wake-up between the look above and this wait is kept by `notify_one`
                Some(news) => drop(tokio::time::timeout(LOOK_EVERY, news.notified()).await),
                None => std::future::pending().await,
            }
        }
    }

    /// Whether somebody more urgent waits for the seal of this session, which while it is connected nobody hears, or for
    /// this adapter and could be taken by it now.
    pub(super) fn wants_more(&self, at: usize, own: MacAddress, priority: Priority) -> bool {
        let now = Instant::now();
        let inside = self.inside();
        let urgent = |waiting: &&Waiting| waiting.priority() < priority && !waiting.ticket.is_called_off() && waiting.deadline > now;
        let wants = |waiting: &Waiting| waiting.request.address == own || inside.is_for(&self.limits, at, waiting, now);
        inside.waiting.iter().filter(urgent).any(wants)
    }
}

impl Inside {
    /// Which adapter heard the seal best; of those that serve, or of all.
    fn best(&self, limits: &SessionLimits, address: MacAddress, now: Instant, serving: bool) -> Option<usize> {
        let heard = self.places.iter().enumerate().filter(|(_, place)| place.serving || !serving).filter_map(|(at, place)| {
            let hearing = place.heard.get(&address)?;
            let fresh = now.into_std().saturating_duration_since(hearing.at) <= limits.heard_within;
            fresh.then_some((hearing.rssi_dbm.unwrap_or(i16::MIN), hearing.at, at))
        });
        heard.max().map(|(.., at)| at)
    }

    /// Whether this adapter may take the request now.
    fn is_for(&self, limits: &SessionLimits, at: usize, waiting: &Waiting, now: Instant) -> bool {
        let address = waiting.request.address;
        !self.busy.contains_key(&address) && self.best(limits, address, now, true) == Some(at)
    }

    fn take(&mut self, limits: &SessionLimits, at: usize, now: Instant) -> Option<Waiting> {
        self.look_quietly(limits, now);
        let mine = |waiting: &&Waiting| self.is_for(limits, at, waiting, now);
        let number = self.waiting.iter().filter(mine).min_by_key(|waiting| waiting.order())?.number;
        let place = self.waiting.iter().position(|waiting| waiting.number == number)?;
        let next = self.waiting.remove(place);
        let until = next.deadline.max(now) + limits.grace() + limits.after_the_write();
        self.busy.insert(next.request.address, (number, until));
        self.tell(limits, now);
        Some(next)
    }

    fn look(&mut self, limits: &SessionLimits, now: Instant) {
        self.look_quietly(limits, now);
        if !self.waiting.is_empty() {
            for place in &self.places {
                place.news.notify_one();
            }
        }
    }

    fn look_quietly(&mut self, limits: &SessionLimits, now: Instant) {
        self.busy.retain(|_, (_, until)| *until > now);
        for at in (0..self.waiting.len()).rev() {
            let called_off = self.waiting[at].ticket.is_called_off();
            // called off here, so that nothing can be written for it any more, and answered
            if called_off || (self.waiting[at].deadline <= now && self.waiting[at].ticket.call_off()) {
                let mut waiting = self.waiting.swap_remove(at);
                waiting.spent.waiting = waiting.waited(now);
                let why = if called_off { Hindrance::CalledOff } else { self.missed(limits, &waiting, now) };
                let outcome = waiting.ticket.cut_short(why);
                waiting.answer(outcome);
            }
        }
        self.tell(limits, now);
    }

    /// Why a request that waited until its deadline was not served.
    fn missed(&self, limits: &SessionLimits, waiting: &Waiting, now: Instant) -> Hindrance {
        let address = waiting.request.address;
        if let Some(last) = &waiting.last {
            return Hindrance::NoConnection { attempts: waiting.spent.attempts, last: last.clone() };
        }
        // one in a session is there, although nobody hears it
        if self.busy.contains_key(&address) || self.best(limits, address, now, false).is_some() {
            return Hindrance::Deadline(waiting.request.within);
        }
        let heard = self.places.iter().filter_map(|place| place.heard.get(&address)).map(|hearing| hearing.at).max();
        let last =
            heard.map_or_else(|| "never".to_owned(), |at| format!("{} s ago", now.into_std().saturating_duration_since(at).as_secs()));
        Hindrance::NotHeard { last }
    }

    /// Tells everybody where they are.
    fn tell(&self, limits: &SessionLimits, now: Instant) {
        let best: Vec<_> = self.waiting.iter().map(|waiting| self.best(limits, waiting.request.address, now, false)).collect();
        for (waiting, at) in self.waiting.iter().zip(&best) {
            let before = |(other, other_at): &(&Waiting, &Option<usize>)| *other_at == at && other.order() < waiting.order();
            waiting.tell(match at {
                Some(_) => Progress::Queued { ahead: self.waiting.iter().zip(&best).filter(before).count() },
                // in a session, the one that has it before it
                None if self.busy.contains_key(&waiting.request.address) => {
                    let same = |(other, _): &(&Waiting, &Option<usize>)| {
                        other.request.address == waiting.request.address && other.order() < waiting.order()
                    };
                    Progress::Queued { ahead: 1 + self.waiting.iter().zip(&best).filter(same).count() }
                }
                None => Progress::Waking,
            });
        }
    }
}

/// A request that an adapter serves. Dropped unanswered while nothing was moved, it waits again; the seal is free for
/// the next session when this is dropped.
pub(crate) struct Turn {
    hall: Arc<Hall>,
    address: MacAddress,
    number: u64,
    /// Until it is answered.
    waiting: Option<Waiting>,
}

impl Turn {
    /// The request; there is none any more once it was answered.
    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    pub(super) fn tell(&self, progress: Progress) {
        if let Some(waiting) = &self.waiting {
            waiting.tell(progress);
        }
    }

    /// Tells what became of it, and where the time went.
    pub(super) fn answer(&mut self, outcome: Outcome, spent: Spent) {
        if let Some(mut waiting) = self.waiting.take() {
            waiting.spent = spent;
            waiting.answer(outcome);
        }
    }

    /// Notes what was spent until it is put back by being dropped.
    pub(super) fn note(&mut self, spent: Spent, last: Option<String>) {
        if let Some(waiting) = &mut self.waiting {
            waiting.spent = spent;
            waiting.last = last;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut inside = self.hall.inside();
        if inside.busy.get(&self.address).is_some_and(|(number, _)| *number == self.number) {
            inside.busy.remove(&self.address);
        }
        // one that a panic ended is not tried again: it would only panic again
        if let Some(waiting) = self.waiting.take().filter(|waiting| !waiting.ticket.has_moved() && !std::thread::panicking()) {
            inside.waiting.push(waiting);
        }
        inside.look(&self.hall.limits, now);
    }
}
