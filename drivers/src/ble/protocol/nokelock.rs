//! NokeLock / Oklok padlocks. The frames are in [`crate::codec::nokelock`].
//!
//! ```text
//!   read     token ─► status ─► battery ─► its state
//!   unlock   token ─► status ─► (open already?) ─► unlock ─► opened | refused | nothing
//! ```
//!
//! Where the register has no key, the keys whole models share are tried in turn: the request for a token moves nothing.
//!
//! What must hold: an answer that is not of the kind that was asked for changes nothing; the characteristic is never
//! reread, because an answer bears no mark of its connection and an old "opened" would be taken for a new one.
//!
//! There is no command to close: the shackle is pressed in by hand, and the lock reports it. So nothing is armed here,
//! and a factory password is said in the rating and does not keep a lock from being opened.

use std::time::Duration;

use super::{Effect, Exchange, Input, Moment, Ports, Protocol, ProtocolName, Rating, Said, Stage, Step, WriteAck};
use crate::{
    Action, Hindrance, LockClaim, Memory, Rejection, SealEvent, SealKey, SealReading, SealStatus, SealWord, Security,
    ble::{KnownSeal, air::uuid16},
    codec::nokelock::{self, Answer, Command, MODEL_KEYS, PASSWORD_LEN, Shackle, Token},
};

/// How long the lock has for an answer: a connection interval and its own work are far below a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long it has to open: its motor turns for about a second.
const OPENS_WITHIN: Duration = Duration::from_secs(5);
/// How often a question that moves nothing is asked before its silence is believed.
const ASKED_AT_MOST: u8 = 2;
/// How many notifications one exchange listens to: four answers, each doubled, and reports between them.
const HEARD_AT_MOST: u8 = 32;
/// The longest piece written at once: an ATT packet of the smallest size; a frame is shorter.
const PIECE: usize = 20;

/// NokeLock / Oklok.
#[derive(Debug, Clone, Copy)]
pub struct NokeLock;

impl Protocol for NokeLock {
    fn name(&self) -> ProtocolName {
        ProtocolName::NokeLock
    }

    fn rating(&self, seal: &KnownSeal) -> Rating {
        let own_key = seal.credentials.key.as_ref().is_some_and(|key| nokelock::model_of(key).is_none());
        let factory = seal.credentials.password.as_ref().is_some_and(crate::Password::is_factory);
        let reason = match (own_key, factory) {
            (false, false) => {
                "it opens with a key its whole model shares, and the maker's server gave away the keys of all locks (PenTestPartners, 2019): anybody can compute an unlock"
            }
            (false, true) => {
                "it opens with a key its whole model shares and a factory password: anybody with the maker's app can open it; it has no command to arm, so nothing refuses it"
            }
            (true, false) => {
                "its key is its own, but the maker's server gave away the keys of all locks (PenTestPartners, 2019), its answers bear no proof, and blocks are encrypted one by one"
            }
            (true, true) => {
                "it has a factory password, and the maker's server gave away the keys of all locks (PenTestPartners, 2019); it has no command to arm, so nothing refuses it"
            }
        };
        Rating { security: Security::Weak, reason }
    }

    fn actions(&self) -> &'static [Action] {
        &[Action::ReadState, Action::Unlock]
    }

    fn ports(&self) -> Ports {
        Ports::Fixed {
            service: uuid16(nokelock::SERVICE),
            write: uuid16(nokelock::WRITE),
            notify: uuid16(nokelock::NOTIFY),
            ack: WriteAck::Acknowledged,
            piece: PIECE,
        }
    }

    fn exchange(&self, action: Action, seal: &KnownSeal, now: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        let password = match action {
            Action::ReadState => None,
            Action::Unlock => Some(password(seal)?),
            Action::Lock | Action::DrainLog | Action::SetTime => return Err(Hindrance::CannotDo { protocol: self.name(), action }),
        };
        let keys = match &seal.credentials.key {
            Some(key) => vec![key.clone()],
            None => MODEL_KEYS.iter().map(|(_, key)| SealKey::new(*key)).collect(),
        };
        let registered = seal.credentials.key.is_some();
        Ok(Box::new(Talk { password, keys, registered, random: now.random, ..Talk::default() }))
    }
}

fn password(seal: &KnownSeal) -> Result<[u8; PASSWORD_LEN], Hindrance> {
    let password = seal.credentials.password.as_ref().ok_or(Hindrance::NoCredential { what: "password" })?;
    let wrong = |_| Hindrance::WrongCredential { what: "password", detail: format!("this lock's has {PASSWORD_LEN} characters") };
    password.as_bytes().try_into().map_err(wrong)
}

/// What was asked last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Token,
    Status,
    Battery,
    Unlock,
}

/// One connection's talk.
#[derive(Default)]
struct Talk {
    /// To open with; `None` when its state is read.
    password: Option<[u8; PASSWORD_LEN]>,
    /// The keys to try.
    keys: Vec<SealKey>,
    /// Whether the one key is the register's.
    registered: bool,
    random: [u8; 32],
    /// Which key is in use.
    key: usize,
    token: Option<Token>,
    asked: Asked,
    /// How often this was asked.
    times: u8,
    heard: u8,
    /// Something came that is nothing under any key.
    noise: bool,
    shackle: Option<Shackle>,
    battery: Option<u8>,
    /// The blocks the state was read from, in clear.
    raw: Vec<u8>,
}

impl Exchange for Talk {
    fn step(&mut self, input: Input<'_>) -> Step {
        match input {
            Input::Begin => self.ask(Asked::Token),
            Input::Notified(bytes) => self.on_notified(bytes),
            Input::Silence => self.on_silence(),
            Input::Written | Input::Told | Input::Reread(_) | Input::OnDisk | Input::NotOnDisk | Input::OnDiskAndHurry => self.listen(),
        }
    }

    fn stage(&self) -> Stage {
        if self.token.is_none() { Stage::Authenticating } else { Stage::Talking }
    }
}

impl Talk {
    fn listen(&self) -> Step {
        Step::Listen { within: if self.asked == Asked::Unlock { OPENS_WITHIN } else { ANSWER_WITHIN } }
    }

    fn ask(&mut self, what: Asked) -> Step {
        self.times = if self.asked == what { self.times + 1 } else { 1 };
        self.asked = what;
        let token = self.token.unwrap_or(Token([0; 4]));
        let mut filler = [0; 8];
        filler.copy_from_slice(&self.random[12..20]);
        let command = match (what, self.password) {
            (Asked::Unlock, Some(password)) => {
                Command::Unlock { password, token, filler: [self.random[20], self.random[21], self.random[22]] }
            }
            (Asked::Status, _) => Command::Status { token, filler },
            (Asked::Battery, _) => Command::Battery { token, filler },
            (Asked::Token | Asked::Unlock, _) => {
                let mut random = [0; 12];
                random.copy_from_slice(&self.random[..12]);
                Command::Token { random }
            }
        };
        let effect = if matches!(command, Command::Unlock { .. }) { Effect::Moves } else { Effect::Harmless };
        Step::Write { bytes: command.frame(&self.keys[self.key]).to_vec(), effect }
    }

    fn on_notified(&mut self, bytes: &[u8]) -> Step {
        self.heard = self.heard.saturating_add(1);
        if self.heard > HEARD_AT_MOST {
            return self.give_up();
        }
        let answer = match Answer::read(bytes, &self.keys[self.key]) {
            Ok(answer) => answer,
            Err(_) if self.token.is_none() => match self.under_another_key(bytes) {
                Some(answer) => answer,
                None => return self.on_noise(),
            },
            Err(_) => return self.on_noise(),
        };
        match (self.asked, answer) {
            (Asked::Token, Answer::Token { token, .. }) => {
                self.token = Some(token);
                self.ask(Asked::Status)
            }
            (Asked::Status, Answer::Status { shackle, .. }) => {
                self.shackle = Some(shackle);
                self.raw.extend(answer.plain());
                match (self.password, shackle) {
                    (None, _) => self.ask(Asked::Battery),
                    (Some(_), Shackle::Open) => Step::End(Said::Already(self.status())),
                    (Some(_), Shackle::Closed) => self.ask(Asked::Unlock),
                }
            }
            (Asked::Battery, Answer::Battery { percent }) => {
                self.battery = percent;
                self.raw.extend(answer.plain());
                self.give_up()
            }
            (Asked::Unlock, Answer::Opened) => Step::End(Said::Did),
            (Asked::Unlock, Answer::NotOpened { code }) => {
                Step::End(Said::Refused(Rejection::Other { code, meaning: "it did not open: its password is another, or it cannot move" }))
            }
            (_, Answer::ClosedByHand) => {
                let event = SealEvent { word: SealWord::LocallySealed, number: None, device_time: None, raw: answer.plain().to_vec() };
                Step::Tell { events: vec![event], memory: Memory::Live }
            }
            // Late, doubled, or not asked for.
            _ => self.listen(),
        }
    }

    /// A token under another of the keys: that is the lock's.
    fn under_another_key(&mut self, bytes: &[u8]) -> Option<Answer> {
        let (at, answer) = self.keys.iter().enumerate().find_map(|(at, key)| Some((at, Answer::read(bytes, key).ok()?)))?;
        if matches!(answer, Answer::Token { .. }) {
            self.key = at;
        }
        Some(answer)
    }

    fn on_noise(&mut self) -> Step {
        self.noise = true;
        self.listen()
    }

    fn on_silence(&mut self) -> Step {
        match self.asked {
            Asked::Token if usize::from(self.times) < usize::from(ASKED_AT_MOST) * self.keys.len() => {
                self.key = (self.key + 1) % self.keys.len();
                self.ask(Asked::Token)
            }
            Asked::Status | Asked::Battery if self.times < ASKED_AT_MOST => self.ask(self.asked),
            Asked::Token | Asked::Status | Asked::Battery | Asked::Unlock => self.give_up(),
        }
    }

    /// The end, with what is known.
    fn give_up(&self) -> Step {
        Step::End(match (self.password, self.status()) {
            (None, Some(status)) => Said::Status(status),
            _ if self.noise && self.token.is_none() => {
                let detail = if self.registered {
                    "what the lock answers makes no sense under it"
                } else {
                    "none is registered, and what the lock answers makes no sense under those its models share"
                };
                Said::Cannot(Hindrance::WrongCredential { what: "key", detail: detail.to_owned() })
            }
            _ => Said::Nothing,
        })
    }

    fn status(&self) -> Option<SealStatus> {
        let lock = match self.shackle? {
            Shackle::Closed => LockClaim::Locked,
            Shackle::Open => LockClaim::Unlocked,
        };
        Some(SealStatus {
            reading: SealReading { lock: Some(lock), battery_percent: self.battery, ..SealReading::default() },
            complaints: Vec::new(),
            security: Security::Weak,
            did_ours: None,
            stored: None,
            raw: self.raw.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
