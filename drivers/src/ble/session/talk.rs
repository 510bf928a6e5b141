//! One exchange carried out over one connection.
//!
//! What must hold: a step that moves the seal is handed to the connection only after [`Ticket::take_the_write`] said yes,
//! in the same breath, and so once in the life of a request, whatever the exchange asks for; every wait ends; an
//! exchange that panics or loops ends as a fault of its protocol; what is stored by the seal is confirmed to it only
//! after the gate has said that it is on disk.
//!
//! What the seal said before the write is not thrown away at the write: it may be an alarm. Where an exchange takes such
//! a thing for its answer, reading back finds it out: what is left over is heard out before the state is asked for.
//!
//! [`Ticket::take_the_write`]: super::Ticket::take_the_write

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{Desk, Request, Ticket, hall::Turn};
use crate::{
    Action, Confirm, Ear, Hindrance, Memory, Progress, SealEvent, SealRead, SealStatus, SealTold, Security, Sighting,
    ble::{
        link::{Link, LinkFault},
        protocol::{Effect, Exchange, Input, Said, Stage, Step},
    },
};

/// Steps without anything stored: some hundred notifications that mean nothing, or an exchange that loops.
const STEPS_MAX: u32 = 1000;
/// Of the time after the write, the part its answer may take: the rest is for reading back.
const ANSWER_PART: u32 = 3;

/// Silence after which nothing left over is on its way any more: some connection intervals and D-Bus.
const QUIET: Duration = Duration::from_millis(300);
/// Left-over notifications at most: a seal that never falls silent cannot be read on this connection.
const LEFT_OVER_MAX: u32 = 64;
/// Steps for one of them at most; it holds a few frames.
const LEFT_OVER_STEPS_MAX: u32 = 16;

/// What an exchange is carried out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// For what was asked.
    Asked,
    /// To see what became of it.
    ReadBack,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Talked {
    /// By itself.
    Said(Said),
    /// The connection failed.
    Broken(LinkFault),
    /// Its time was over.
    Late,
    /// It was called off before the write.
    CalledOff,
    /// The gate is stopping.
    Stopping,
    /// The protocol broke its contract.
    Fault(&'static str),
}

/// What is handed to the exchange next.
enum Came {
    Begin,
    Written,
    Notified(Vec<u8>),
    Reread(Vec<u8>),
    Silence,
    Told,
    OnDisk,
    NotOnDisk,
    OnDiskAndHurry,
}

impl Came {
    fn input(&self) -> Input<'_> {
        match self {
            Self::Begin => Input::Begin,
            Self::Written => Input::Written,
            Self::Notified(bytes) => Input::Notified(bytes),
            Self::Reread(bytes) => Input::Reread(bytes),
            Self::Silence => Input::Silence,
            Self::Told => Input::Told,
            Self::OnDisk => Input::OnDisk,
            Self::NotOnDisk => Input::NotOnDisk,
            Self::OnDiskAndHurry => Input::OnDiskAndHurry,
        }
    }
}

/// One exchange on its way.
pub(super) struct Talk<'a> {
    pub(super) desk: &'a Desk,
    pub(super) ear: &'a Ear,
    pub(super) turn: &'a Turn,
    pub(super) request: &'a Request,
    pub(super) ticket: &'a Ticket,
    pub(super) security: Security,
    pub(super) role: Role,
    /// By when it must be over; after the write another bound takes its place.
    pub(super) until: Instant,
    /// When the write was claimed.
    pub(super) moved: Option<Instant>,
    /// Why the gate told the exchange to stop.
    pub(super) stopped: Option<Hindrance>,
    /// Stored events that are on disk and not confirmed yet.
    on_disk: u32,
}

impl<'a> Talk<'a> {
    pub(super) fn new(desk: &'a Desk, ear: &'a Ear, turn: &'a Turn, on: (&'a Request, &'a Ticket, Security), until: Instant) -> Self {
        let (request, ticket, security) = on;
        Self { desk, ear, turn, request, ticket, security, role: Role::Asked, until, moved: None, stopped: None, on_disk: 0 }
    }

    /// Carries the exchange out to its end.
    pub(super) async fn carry<L: Link>(&mut self, link: &mut L, exchange: &mut dyn Exchange) -> Talked {
        let mut came = Came::Begin;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps > STEPS_MAX {
                return Talked::Fault("the exchange did not come to an end");
            }
            if self.ticket.is_called_off() {
                return Talked::CalledOff;
            }
            if Instant::now() >= self.until {
                return Talked::Late;
            }
            let Ok((step, stage)) = catch_unwind(AssertUnwindSafe(|| (exchange.step(came.input()), exchange.stage()))) else {
                return Talked::Fault("a fault in segel's code for its protocol; please report it");
            };
            self.tell(stage);
            let next = match step {
                Step::Write { bytes, effect } => self.on_write(link, &bytes, (effect, stage)).await,
                Step::Listen { within } => self.on_listen(link, within).await,
                Step::Reread => self.call("a read", link.reread()).await.map(Came::Reread).map_err(Talked::Broken),
                Step::Tell { events, memory } => self.on_tell(events, memory).await,
                Step::Store { events, log } => {
                    steps = if events.is_empty() { steps } else { 0 };
                    self.on_store(events, log).await
                }
                Step::End(said) => return self.on_end(said).await,
            };
            came = match next {
                Ok(came) => came,
                Err(talked) => return talked,
            };
        }
    }

    fn tell(&self, stage: Stage) {
        let progress = match (self.role, stage) {
            (Role::ReadBack, _) => Progress::ReadingBack,
            (Role::Asked, _) if self.moved.is_some() => Progress::Writing,
            (Role::Asked, Stage::Authenticating) => Progress::Authenticating,
            (Role::Asked, Stage::Talking) if self.request.action == Action::DrainLog => {
                Progress::Draining { events: self.ticket.confirmed() + self.on_disk }
            }
            (Role::Asked, Stage::Talking) => Progress::Reading,
        };
        self.turn.tell(progress);
    }

    async fn on_write<L: Link>(&mut self, link: &mut L, bytes: &[u8], can: (Effect, Stage)) -> Result<Came, Talked> {
        let (effect, stage) = can;
        if effect == Effect::Moves {
            self.claim()?;
        }
        let sets = self.request.action == Action::SetTime && stage == Stage::Talking;
        let before = sets && self.ticket.sets(true);
        let written = self.call("a write", link.write(bytes)).await;
        if sets && matches!(written, Err(LinkFault::Att(code)) if code != 0x0E) {
            // it says that it did not take it
            let _ = self.ticket.sets(before);
        }
        written.map_err(Talked::Broken)?;
        if effect == Effect::Confirms {
            self.ticket.confirms(std::mem::take(&mut self.on_disk));
        }
        Ok(Came::Written)
    }

    /// Claims the one write that moves the seal. Between this and handing it over there is no wait.
    fn claim(&mut self) -> Result<(), Talked> {
        if self.role == Role::ReadBack || !self.request.action.moves() {
            return Err(Talked::Fault("the protocol would move the seal although it was only asked"));
        }
        if self.moved.is_some() {
            return Err(Talked::Fault("the protocol would move the seal a second time"));
        }
        if self.desk.is_stopped() {
            return Err(Talked::Broken(LinkFault::Adapter("its thread was told to stop".to_owned())));
        }
        if !self.ticket.take_the_write() {
            return Err(Talked::CalledOff);
        }
        let now = Instant::now();
        self.moved = Some(now);
        self.until = now + self.desk.limits().read_back / ANSWER_PART;
        self.turn.tell(Progress::Writing);
        Ok(())
    }

    async fn on_listen<L: Link>(&mut self, link: &mut L, within: Duration) -> Result<Came, Talked> {
        match timeout_at(self.at_most(within), link.notified()).await {
            Ok(Ok(bytes)) => Ok(Came::Notified(bytes)),
            Ok(Err(fault)) => Err(Talked::Broken(fault)),
            Err(_) => Ok(Came::Silence),
        }
    }

    async fn call<T>(&self, what: &'static str, call: impl Future<Output = Result<T, LinkFault>>) -> Result<T, LinkFault> {
        let until = Instant::now() + self.desk.limits().call;
        // a write that was claimed may not be cut short by the deadline of what came before it
        timeout_at(until, call).await.unwrap_or(Err(LinkFault::Late { what }))
    }

    async fn on_tell(&self, events: Vec<SealEvent>, memory: Memory) -> Result<Came, Talked> {
        if !events.is_empty() {
            self.hear(self.told(events, memory, None)).await?;
        }
        Ok(Came::Told)
    }

    async fn on_store(&mut self, events: Vec<SealEvent>, log: u32) -> Result<Came, Talked> {
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let (confirm, confirmed) = Confirm::new();
        let told = self.told(events, Memory::Stored { log }, Some(confirm));
        let stored = async {
            self.ear.hear(told).await.map_err(|_| Talked::Stopping)?;
            Ok(confirmed.wait().await.is_ok())
        };
        match timeout_at(self.at_most(self.desk.limits().store), stored).await {
            Ok(Ok(true)) => {}
            Ok(Err(talked)) => return Err(talked),
            // it keeps what it was not told to delete
            Err(_) if Instant::now() >= self.until => return Err(Talked::Late),
            Ok(Ok(false)) | Err(_) => {
                self.stopped = Some(Hindrance::NotStored);
                return Ok(Came::NotOnDisk);
            }
        }
        self.on_disk = count;
        self.tell(Stage::Talking);
        if !self.desk.is_wanted_for_more_than(self.request.address, self.request.action.priority()) {
            return Ok(Came::OnDisk);
        }
        self.stopped = Some(Hindrance::Overtaken);
        Ok(Came::OnDiskAndHurry)
    }

    fn at_most(&self, within: Duration) -> Instant {
        self.until.min(Instant::now() + within)
    }

    fn told(&self, events: Vec<SealEvent>, memory: Memory, confirm: Option<Confirm>) -> Sighting {
        let (seal, address) = (self.request.seal.seal.clone(), self.request.address);
        Sighting::Told(SealTold { seal, address, events, memory, security: self.security, confirm })
    }

    async fn on_end(&self, said: Said) -> Talked {
        let status = match &said {
            Said::Status(status) | Said::Already(Some(status)) => Some(status.clone()),
            _ => None,
        };
        match status {
            Some(status) => match self.hear(self.read(status)).await {
                Ok(()) => Talked::Said(said),
                // after the write what it said still counts
                Err(_) if self.ticket.has_moved() => Talked::Said(said),
                Err(talked) => talked,
            },
            None => Talked::Said(said),
        }
    }

    fn read(&self, status: SealStatus) -> Sighting {
        let (seal, address) = (self.request.seal.seal.clone(), self.request.address);
        let rssi_dbm = self.desk.hearing(address).and_then(|hearing| hearing.rssi_dbm);
        Sighting::Read(SealRead { seal, address, rssi_dbm, during: self.request.action, status })
    }

    /// Takes out of the connection what the seal said before it is asked how it stands, so that nothing old or doubled is
    /// taken for the answer. What it told by itself is passed on; `deaf` makes exchanges to understand that, and nothing
    /// that they would write is written.
    pub(super) async fn hear_out<L: Link>(
        &mut self,
        link: &mut L,
        mut deaf: impl FnMut() -> Option<Box<dyn Exchange>>,
    ) -> Result<(), Talked> {
        let mut exchange = None;
        for _ in 0..LEFT_OVER_MAX {
            let bytes = match timeout_at(self.at_most(QUIET), link.notified()).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(fault)) => return Err(Talked::Broken(fault)),
                Err(_) => return Ok(()),
            };
            let Some(mut listening) = exchange.take().or_else(&mut deaf) else { continue };
            if self.hear_left_over(listening.as_mut(), bytes).await? {
                exchange = Some(listening);
            }
        }
        Err(Talked::Said(Said::Nothing))
    }

    /// Whether the exchange goes on listening.
    async fn hear_left_over(&mut self, exchange: &mut dyn Exchange, bytes: Vec<u8>) -> Result<bool, Talked> {
        let mut came = Came::Notified(bytes);
        for _ in 0..LEFT_OVER_STEPS_MAX {
            let Ok(step) = catch_unwind(AssertUnwindSafe(|| exchange.step(came.input()))) else { return Ok(false) };
            came = match step {
                Step::Tell { events, memory } => self.on_tell(events, memory).await?,
                Step::Write { .. } => Came::Written,
                Step::Listen { .. } => return Ok(true),
                Step::Reread | Step::Store { .. } | Step::End(_) => return Ok(false),
            };
        }
        Ok(false)
    }

    /// Passes it on; a gate that is busy for too long has lost it, and is told so.
    async fn hear(&self, sighting: Sighting) -> Result<(), Talked> {
        let heard = match timeout_at(self.at_most(self.desk.limits().store), self.ear.hear(sighting.clone())).await {
            Ok(heard) => heard,
            Err(_) => self.ear.try_hear(sighting),
        };
        heard.map_err(|_| Talked::Stopping)
    }
}
