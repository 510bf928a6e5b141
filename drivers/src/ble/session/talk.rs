//! One exchange carried out over one connection.
//!
//! What must hold: a step that moves the seal is handed to the connection only after [`Ticket::take_the_write`] said yes,
//! in the same breath, and so once in the life of a request, whatever the exchange asks for; every wait ends; an
//! exchange that panics or loops ends as a fault of its protocol; what is stored by the seal is confirmed to it only
//! after the gate has said that it is on disk.
//!
//! What the seal said before the write is not thrown away at the write: it may be an alarm. Where an exchange takes such
//! a thing for its answer, reading back finds it out.
//!
//! [`Ticket::take_the_write`]: super::Ticket::take_the_write

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{Desk, Request, Ticket, hall::Turn};
use crate::{
    Action, Confirm, Ear, Memory, Progress, SealEvent, SealRead, SealStatus, SealTold, Security, Sighting,
    ble::{
        link::{Link, LinkFault},
        protocol::{Effect, Exchange, Input, Said, Stage, Step},
    },
};

/// Steps without anything stored: some hundred notifications that mean nothing, or an exchange that loops.
const STEPS_MAX: u32 = 1000;
/// Of the time after the write, the part its answer may take: the rest is for reading back.
const ANSWER_PART: u32 = 3;

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
    /// Stored events that were confirmed to the seal.
    pub(super) confirmed: u32,
    /// Stored events that are on disk and not confirmed yet.
    on_disk: u32,
}

impl<'a> Talk<'a> {
    pub(super) fn new(desk: &'a Desk, ear: &'a Ear, turn: &'a Turn, on: (&'a Request, &'a Ticket, Security), until: Instant) -> Self {
        let (request, ticket, security) = on;
        Self { desk, ear, turn, request, ticket, security, role: Role::Asked, until, moved: None, confirmed: 0, on_disk: 0 }
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
                Step::Write { bytes, effect } => self.on_write(link, &bytes, effect).await,
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
                Progress::Draining { events: self.confirmed + self.on_disk }
            }
            (Role::Asked, Stage::Talking) => Progress::Reading,
        };
        self.turn.tell(progress);
    }

    async fn on_write<L: Link>(&mut self, link: &mut L, bytes: &[u8], effect: Effect) -> Result<Came, Talked> {
        if effect == Effect::Moves {
            self.claim()?;
        }
        self.call("a write", link.write(bytes)).await.map_err(Talked::Broken)?;
        if effect == Effect::Confirms {
            self.confirmed += std::mem::take(&mut self.on_disk);
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
        let until = self.until.min(Instant::now() + within);
        match timeout_at(until, link.notified()).await {
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
        if !timeout(self.desk.limits().store, stored).await.unwrap_or(Ok(false))? {
            return Ok(Came::NotOnDisk);
        }
        self.on_disk = count;
        self.tell(Stage::Talking);
        let hurry = self.desk.is_wanted_for_more_than(self.request.action.priority());
        Ok(if hurry { Came::OnDiskAndHurry } else { Came::OnDisk })
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

    /// Passes it on; a gate that is busy for too long has lost it, and is told so.
    async fn hear(&self, sighting: Sighting) -> Result<(), Talked> {
        let heard = match timeout(self.desk.limits().store, self.ear.hear(sighting.clone())).await {
            Ok(heard) => heard,
            Err(_) => self.ear.try_hear(sighting),
        };
        heard.map_err(|_| Talked::Stopping)
    }
}
