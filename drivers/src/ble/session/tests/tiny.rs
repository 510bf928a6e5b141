//! A protocol and a seal of a few bytes, for the sessions' own tests, and an air in which everything can go wrong.
//!
//! ```text
//!   ?  ─► c<n>          a fresh number            s  ─► s<L|U><n>    its state, and the number it did last
//!   u<n>, l<n> ─► y|n   moves, if n is fresh      d  ─► p<k>|e       a stored entry, or none;  k ─► (deletes it)
//! ```

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};

use crate::{
    Action, Hindrance, LockClaim, MacAddress, Memory, Rejection, SealEvent, SealReading, SealStatus, SealWord, Security,
    ble::{
        KnownSeal,
        link::{Air, Link, LinkFault},
        protocol::{Effect, Exchange, Input, Moment, Ports, Protocol, ProtocolName, Rating, Said, Stage, Step},
    },
};

const ANSWER: Duration = Duration::from_secs(3);

/// The ATT error with which the seal asks for a moment.
pub(super) const LATER: u8 = 0x85;

/// The protocol; whether its states say whose command was last.
pub(super) struct Tiny {
    tells_whose: bool,
}

pub(super) static TINY: Tiny = Tiny { tells_whose: true };
/// Says nothing of whose command was last.
pub(super) static DUMB: Tiny = Tiny { tells_whose: false };

impl Protocol for Tiny {
    fn name(&self) -> ProtocolName {
        ProtocolName::Segel
    }
    fn rating(&self, _: &KnownSeal) -> Rating {
        let security = if self.tells_whose { Security::Authenticated } else { Security::Weak };
        Rating { security, reason: "it exists in tests alone" }
    }
    fn actions(&self) -> &'static [Action] {
        &[Action::Unlock, Action::Lock, Action::ReadState, Action::DrainLog, Action::SetTime]
    }
    fn ports(&self) -> Ports {
        Ports::AnyPair { piece: 20 }
    }
    fn says_later(&self, att: u8) -> bool {
        att == LATER
    }
    fn exchange(&self, action: Action, seal: &KnownSeal, _: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        if seal.credentials.password.is_none() {
            return Err(Hindrance::NoCredential { what: "password" });
        }
        Ok(Box::new(TinyTalk { action, whose: None, tells_whose: self.tells_whose, state: State::New, rereads: 0, confirmed: 0 }))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Challenged,
    Sent,
    Asked,
    Piece,
    Stored,
    Last,
}

struct TinyTalk {
    action: Action,
    whose: Option<u8>,
    tells_whose: bool,
    state: State,
    rereads: u8,
    confirmed: u32,
}

impl TinyTalk {
    fn write(&mut self, state: State, bytes: &[u8], effect: Effect) -> Step {
        self.state = state;
        Step::Write { bytes: bytes.to_vec(), effect }
    }
}

impl Exchange for TinyTalk {
    fn step(&mut self, input: Input<'_>) -> Step {
        let bytes = match input {
            Input::Begin => {
                return match self.action {
                    Action::Unlock | Action::Lock => self.write(State::Challenged, b"?", Effect::Harmless),
                    Action::DrainLog => self.write(State::Piece, b"d", Effect::Harmless),
                    Action::SetTime => self.write(State::Sent, b"t", Effect::Harmless),
                    Action::ReadState => self.write(State::Asked, b"s", Effect::Harmless),
                };
            }
            Input::Written if self.state == State::Stored => {
                self.confirmed += 1;
                return self.write(State::Piece, b"d", Effect::Harmless);
            }
            Input::Written if self.state == State::Last => return Step::End(Said::Drained(self.confirmed + 1)),
            Input::Written => return Step::Listen { within: ANSWER },
            Input::Silence if self.rereads == 0 => {
                self.rereads = 1;
                return Step::Reread;
            }
            Input::OnDisk => return self.write(State::Stored, b"k", Effect::Confirms),
            Input::OnDiskAndHurry => {
                return self.write(State::Last, b"k", Effect::Confirms);
            }
            Input::Told => return Step::Listen { within: ANSWER },
            Input::Silence | Input::NotOnDisk => return Step::End(Said::Nothing),
            Input::Notified(bytes) | Input::Reread(bytes) => bytes,
        };
        match (self.state, bytes) {
            (State::Challenged, [b'c', number]) => {
                let word = if self.action == Action::Unlock { b'u' } else { b'l' };
                self.whose = Some(*number);
                self.write(State::Sent, &[word, *number], Effect::Moves)
            }
            (State::Sent, b"y") => Step::End(if self.action == Action::SetTime { Said::TimeSet } else { Said::Did }),
            (State::Sent, b"n") => Step::End(Said::Refused(Rejection::LowVoltage)),
            (State::Asked, [b's', lock, number]) => {
                let lock = Some(if *lock == b'L' { LockClaim::Locked } else { LockClaim::Unlocked });
                let did_ours = self.whose.filter(|_| self.tells_whose).map(|ours| ours == *number);
                let reading = SealReading { lock, ..SealReading::default() };
                Step::End(Said::Status(SealStatus {
                    reading,
                    complaints: vec![],
                    security: Security::Authenticated,
                    did_ours,
                    stored: None,
                    raw: bytes.to_vec(),
                }))
            }
            (_, b"a") => {
                let event = SealEvent { word: SealWord::ForcedOpen, number: None, device_time: None, raw: bytes.to_vec() };
                Step::Tell { events: vec![event], memory: Memory::Live }
            }
            (State::Piece, [b'p', number]) => {
                let event = SealEvent { word: SealWord::Sealed, number: Some(u32::from(*number)), device_time: None, raw: bytes.to_vec() };
                Step::Store { events: vec![event], log: 1 }
            }
            (State::Piece, b"e") => Step::End(Said::Drained(self.confirmed)),
            // a duplicate, or late
            _ if self.rereads == 0 || matches!(input, Input::Notified(_)) => Step::Listen { within: ANSWER },
            _ => Step::End(Said::Nothing),
        }
    }

    fn stage(&self) -> Stage {
        if self.state == State::Challenged { Stage::Authenticating } else { Stage::Talking }
    }

    fn read_back(&self, _: &Moment) -> Option<Box<dyn Exchange>> {
        let (whose, tells_whose) = (self.whose, self.tells_whose);
        Some(Box::new(TinyTalk { action: Action::ReadState, whose, tells_whose, state: State::New, rereads: 0, confirmed: 0 }))
    }
}

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Nothing.
    Not,
    /// It takes this many milliseconds.
    Slow(u32),
    /// It never returns; a write has not arrived.
    Hangs,
    /// It never returns; a write has arrived.
    HangsAfter,
    /// It fails at once.
    Fails,
    /// It fails after it arrived.
    FailsAfter,
    /// The seal's answer is lost.
    Mute,
    /// Behind the answer come an alarm and a state of before: locked (`L`) or open (`U`).
    AndOld(u8),
    /// The answer comes twice.
    Twice,
    /// The answer comes after this many milliseconds.
    Late(u32),
    /// An ATT error.
    Att(u8),
    /// The adapter is gone.
    NoAdapter,
}

/// What is done over the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Connect,
    Write,
    WriteMoves,
    Reread,
}

type Plan = Box<dyn FnMut(Op) -> Wrong + Send>;

/// The seal and the air before it.
pub(super) struct Seal {
    pub(super) locked: bool,
    pub(super) openings: u32,
    pub(super) closings: u32,
    /// Frames that move, handed to the connection.
    pub(super) moves_handed: u32,
    pub(super) log: VecDeque<u8>,
    pub(super) refuses: bool,
    /// It says no and opens.
    pub(super) lies: bool,
    pub(super) connected: bool,
    pub(super) connects: u32,
    number: u8,
    did: u8,
    value: Vec<u8>,
    notified: VecDeque<Vec<u8>>,
    news: Arc<Notify>,
    pub(super) plan: Plan,
}

pub(super) type Shared = Arc<Mutex<Seal>>;

pub(super) fn seal(plan: impl FnMut(Op) -> Wrong + Send + 'static) -> Shared {
    Arc::new(Mutex::new(Seal {
        locked: true,
        openings: 0,
        closings: 0,
        moves_handed: 0,
        log: VecDeque::new(),
        refuses: false,
        lies: false,
        connected: false,
        connects: 0,
        number: 0,
        did: 0,
        value: vec![],
        notified: VecDeque::new(),
        news: Arc::default(),
        plan: Box::new(plan),
    }))
}

impl Seal {
    fn arrives(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let answer = match bytes {
            b"?" => {
                self.number += 1;
                vec![b'c', self.number]
            }
            [word @ (b'u' | b'l'), number] => {
                let fresh = *number == self.number && self.did != *number;
                if fresh && (!self.refuses || self.lies) {
                    self.did = *number;
                    self.locked = *word == b'l';
                    let count = if self.locked { &mut self.closings } else { &mut self.openings };
                    *count += 1;
                }
                if self.refuses || !fresh { b"n".to_vec() } else { b"y".to_vec() }
            }
            b"s" => vec![b's', if self.locked { b'L' } else { b'U' }, self.did],
            b"d" => self.log.front().map_or_else(|| b"e".to_vec(), |entry| vec![b'p', *entry]),
            b"k" => {
                self.log.pop_front();
                return None;
            }
            _ => b"y".to_vec(),
        };
        self.value.clone_from(&answer);
        Some(answer)
    }

    fn says(&mut self, answer: Option<Vec<u8>>) {
        self.notified.extend(answer);
        self.news.notify_one();
    }
}

pub(super) struct TinyAir(pub(super) Shared);

pub(super) struct TinyLink(Shared);

impl Air for TinyAir {
    type Link = TinyLink;

    async fn connect(&mut self, _: MacAddress, _: Ports) -> Result<TinyLink, LinkFault> {
        let wrong = {
            let mut seal = self.0.lock().unwrap();
            assert!(!seal.connected, "disconnected before it is connected to again");
            seal.connects += 1;
            // an attempt that is given up leaves half a connection
            seal.connected = true;
            (seal.plan)(Op::Connect)
        };
        match wrong {
            Wrong::Slow(ms) => sleep(Duration::from_millis(u64::from(ms))).await,
            Wrong::Hangs | Wrong::HangsAfter => std::future::pending().await,
            Wrong::Fails | Wrong::FailsAfter | Wrong::Att(_) => return Err(LinkFault::Connect("it does not answer".to_owned())),
            Wrong::NoAdapter => return Err(LinkFault::Adapter("pulled".to_owned())),
            Wrong::Not | Wrong::Mute | Wrong::Twice | Wrong::Late(_) | Wrong::AndOld(_) => {}
        }
        let mut seal = self.0.lock().unwrap();
        seal.notified.clear();
        Ok(TinyLink(Arc::clone(&self.0)))
    }

    async fn hang_up(&mut self) {
        sleep(Duration::from_secs(2)).await;
        self.0.lock().unwrap().connected = false;
    }
}

impl Link for TinyLink {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkFault> {
        let moves = matches!(bytes.first(), Some(b'u' | b'l'));
        let (wrong, shared) = {
            let mut seal = self.0.lock().unwrap();
            seal.moves_handed += u32::from(moves);
            ((seal.plan)(if moves { Op::WriteMoves } else { Op::Write }), Arc::clone(&self.0))
        };
        let lost = || Err(LinkFault::Lost("out of reach".to_owned()));
        match wrong {
            Wrong::Fails => return lost(),
            Wrong::Att(code) => return Err(LinkFault::Att(code)),
            Wrong::NoAdapter => return Err(LinkFault::Adapter("pulled".to_owned())),
            Wrong::Hangs => std::future::pending().await,
            Wrong::Slow(ms) => sleep(Duration::from_millis(u64::from(ms))).await,
            _ => {}
        }
        let answer = shared.lock().unwrap().arrives(bytes);
        match wrong {
            Wrong::FailsAfter => return lost(),
            Wrong::HangsAfter => std::future::pending().await,
            Wrong::Mute => {}
            Wrong::AndOld(lock) => {
                let mut seal = shared.lock().unwrap();
                seal.says(answer);
                seal.says(Some(b"a".to_vec()));
                seal.says(Some(vec![b's', lock, 0]));
            }
            Wrong::Twice => {
                let mut seal = shared.lock().unwrap();
                seal.says(answer.clone());
                seal.says(answer);
            }
            Wrong::Late(ms) => {
                tokio::spawn(async move {
                    sleep(Duration::from_millis(u64::from(ms))).await;
                    shared.lock().unwrap().says(answer);
                });
            }
            _ => shared.lock().unwrap().says(answer),
        }
        Ok(())
    }

    async fn notified(&mut self) -> Result<Vec<u8>, LinkFault> {
        loop {
            let news = {
                let mut seal = self.0.lock().unwrap();
                if let Some(value) = seal.notified.pop_front() {
                    return Ok(value);
                }
                Arc::clone(&seal.news)
            };
            news.notified().await;
        }
    }

    async fn reread(&mut self) -> Result<Vec<u8>, LinkFault> {
        let wrong = (self.0.lock().unwrap().plan)(Op::Reread);
        match wrong {
            Wrong::Fails | Wrong::FailsAfter => Err(LinkFault::Lost("out of reach".to_owned())),
            Wrong::Hangs | Wrong::HangsAfter => std::future::pending().await,
            _ => Ok(self.0.lock().unwrap().value.clone()),
        }
    }

    async fn close(self) {
        sleep(Duration::from_secs(2)).await;
        self.0.lock().unwrap().connected = false;
    }
}

/// What an exchange in tests may be told of memory.
pub(super) const STORED: Memory = Memory::Stored { log: 1 };
