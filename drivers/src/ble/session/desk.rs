//! Every adapter's desk: where its session takes requests, and where it notes which seals it hears.

use std::{sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    Asked, Request, SessionLimits,
    hall::{Hall, Turn},
};
use crate::{
    Action, Hindrance, MacAddress, Priority, ReaderId,
    ble::{
        KnownSeal,
        protocol::{Moment, Protocol},
    },
};

/// When and how strongly a registered seal was last heard by one adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hearing {
    /// When.
    pub at: Instant,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
}

/// One adapter's place in the hall. Clones are the same desk; it outlives the adapter's rebuilds.
#[derive(Debug, Clone)]
pub struct Desk {
    hall: Arc<Hall>,
    reader: ReaderId,
    at: usize,
    stop: Option<CancellationToken>,
}

/// The desk is being served until this is dropped.
#[derive(Debug)]
pub(crate) struct Serving(Desk);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.hall.serving(self.0.at, false);
    }
}

impl Desk {
    /// A desk alone, for one adapter without others.
    #[must_use]
    pub fn alone(reader: &ReaderId, limits: SessionLimits) -> Self {
        Desks::new(limits).desk(reader)
    }

    /// The adapter.
    #[must_use]
    pub fn reader(&self) -> &ReaderId {
        &self.reader
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &SessionLimits {
        self.hall.limits()
    }

    /// A registered seal was heard. Only registered ones are noted, so the register bounds the memory.
    pub fn heard(&self, address: MacAddress, rssi_dbm: Option<i16>, at: Instant) {
        self.hall.heard(self.at, address, rssi_dbm, at);
    }

    /// What was heard of a seal does not count any more: it has to be heard again.
    pub(crate) fn forget(&self, address: MacAddress) {
        self.hall.forget(self.at, address);
    }

    /// When this adapter last heard the seal.
    #[must_use]
    pub fn hearing(&self, address: MacAddress) -> Option<Hearing> {
        self.hall.hearing(self.at, address)
    }

    /// Every desk of this hall.
    #[must_use]
    pub fn all(&self) -> Desks {
        Desks { hall: Arc::clone(&self.hall) }
    }

    /// From now on requests may be given to this adapter.
    pub(crate) fn serving(&self) -> Serving {
        self.hall.serving(self.at, true);
        Serving(self.clone())
    }

    /// The most urgent request for this adapter, the oldest among equals. Safe to cancel.
    pub(crate) async fn next(&self) -> Turn {
        Hall::next(&self.hall, self.at).await
    }

    /// Whether somebody more urgent than this waits for this adapter, or for the seal it is in a session with.
    pub(crate) fn is_wanted_for_more_than(&self, own: MacAddress, priority: Priority) -> bool {
        self.hall.wants_more(self.at, own, priority)
    }

    /// The same desk for an adapter's thread that ends when `stop` is cancelled. From then on it writes nothing any more
    /// that moves a seal: a thread that hung and wakes up may find another one in its place.
    pub(crate) fn until(&self, stop: &CancellationToken) -> Self {
        Self { stop: Some(stop.clone()), ..self.clone() }
    }

    /// Whether whoever serves here was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(CancellationToken::is_cancelled)
    }
}

/// Every adapter's desk, and the hall where requests wait for them. Clones are the same desks.
#[derive(Debug, Clone)]
pub struct Desks {
    hall: Arc<Hall>,
}

impl Default for Desks {
    fn default() -> Self {
        Self::new(SessionLimits::default())
    }
}

impl Desks {
    /// A hall without desks.
    #[must_use]
    pub fn new(limits: SessionLimits) -> Self {
        Self { hall: Arc::new(Hall::new(limits)) }
    }

    /// The desk of one adapter; set up when it is new.
    #[must_use]
    pub fn desk(&self, reader: &ReaderId) -> Desk {
        Desk { hall: Arc::clone(&self.hall), reader: reader.clone(), at: self.hall.place(reader), stop: None }
    }

    /// The desks, in the order they were set up.
    #[must_use]
    pub fn all(&self) -> Vec<Desk> {
        let of = |(at, reader)| Desk { hall: Arc::clone(&self.hall), reader, at, stop: None };
        self.hall.readers().into_iter().enumerate().map(of).collect()
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &SessionLimits {
        self.hall.limits()
    }

    /// The last time any adapter heard the seal, and which.
    #[must_use]
    pub fn hearing(&self, address: MacAddress) -> Option<(ReaderId, Hearing)> {
        let heard = self.all().into_iter().filter_map(|desk| Some((desk.hearing(address)?, desk.reader)));
        heard.max_by_key(|(hearing, _)| hearing.at).map(|(hearing, reader)| (reader, hearing))
    }

    /// Whether a session can be asked for at all.
    ///
    /// # Errors
    /// Whatever can be said at once: the protocol cannot do it, a credential is missing, no adapter is configured.
    pub fn may_ask(&self, seal: &KnownSeal, action: Action) -> Result<(), Hindrance> {
        self.may_ask_by(seal.protocol.protocol(), seal, action)
    }

    fn may_ask_by(&self, protocol: &dyn Protocol, seal: &KnownSeal, action: Action) -> Result<(), Hindrance> {
        if !protocol.actions().contains(&action) {
            return Err(Hindrance::CannotDo { protocol: seal.protocol, action });
        }
        if self.hall.readers().is_empty() {
            return Err(Hindrance::NoAdapter("none is configured; add one under [readers]".to_owned()));
        }
        // built to see whether everything it needs is there, and thrown away
        let now = Moment { wall: std::time::SystemTime::now(), random: [0; 32] };
        protocol.exchange(action, seal, &now).map(drop)
    }

    /// Asks for a session. The request waits here until an adapter hears the seal; the one that hears it best takes it,
    /// in order of urgency. There is never more than one session with a seal.
    ///
    /// # Errors
    /// As [`Self::may_ask`], and [`Hindrance::QueueFull`].
    pub fn ask(&self, request: Request) -> Result<Asked, Hindrance> {
        let protocol = request.seal.protocol.protocol();
        self.ask_by(protocol, request)
    }

    /// The same in a protocol that no name stands for.
    pub(super) fn ask_by(&self, protocol: &'static dyn Protocol, request: Request) -> Result<Asked, Hindrance> {
        self.may_ask_by(protocol, &request.seal, request.action)?;
        Hall::ask(&self.hall, protocol, request)
    }
}
