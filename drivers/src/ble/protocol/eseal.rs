//! ESealBD container seals. The frames are in [`crate::codec::eseal`].
//!
//! ```text
//!   read     query ─► state ─► read what is stored ─► its state
//!   unlock   query ─► (unsealed already?) ─► (forced: told first) ─► unseal ─► state: unsealed | nothing
//!   lock     query ─► (sealed already? forced, rod out: refused) ─► seal ─► state: sealed | nothing
//! ```
//!
//! What must hold: an answer of another seal, or one whose checks do not fit, is as if it had not come. An answer that
//! stands as before is no refusal until the seal is silent: it may be the answer to the query, heard twice. Unsealing
//! makes the seal forget that it was forced, so that is told before anything is sent.
//!
//! The state is a claim under a keystream everybody can compute, so the rating is weak whatever the key. Commands carry
//! the `rn` the published firmware expects; whether there is firmware that takes another is not known. The radio
//! module has a command line of its own (`FFB1`) on which the app answers heartbeats: it is left alone, and whether a
//! module hangs up for that is not known either.

use std::time::Duration;

use super::{Effect, Exchange, Input, Moment, Ports, Protocol, ProtocolName, Rating, Said, Step, WriteAck, device_number};
use crate::{
    Action, Hindrance, LockClaim, Memory, Rejection, SealEvent, SealReading, SealStatus, SealWord, Security,
    ble::{KnownSeal, air::uuid16},
    codec::eseal::{self, Answer, EsealFault, FIRMWARE_RN, Inbox, Order, PUBLISHED_KEY, Rod, STORED_MAX, Safe, State, Turn},
};

/// How long the seal has for an answer: it answers before it does anything slow, in pieces of 20 bytes.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How often a question that changes nothing is asked before its silence is believed.
const ASKED_AT_MOST: u8 = 2;
/// How many notifications one exchange listens to: 15 pieces for each of four answers at the longest, and as many doubled.
const HEARD_AT_MOST: u8 = 128;
/// The longest piece written at once: what an ATT packet of the smallest size carries, as the maker's app does it.
const PIECE: usize = 20;

/// ESealBD.
#[derive(Debug, Clone, Copy)]
pub struct EsealBd;

impl Protocol for EsealBd {
    fn name(&self) -> ProtocolName {
        ProtocolName::EsealBd
    }

    fn rating(&self, seal: &KnownSeal) -> Rating {
        let reason = if seal.credentials.key.is_some() {
            "the number its keystream begins with is fixed in its firmware, so the stream never changes: whoever records an unsealing can play it again"
        } else {
            "number and key of its keystream are fixed in the maker's published app and firmware: anybody can compute an unsealing, or play a recorded one again"
        };
        Rating { security: Security::Weak, reason }
    }

    fn actions(&self) -> &'static [Action] {
        &[Action::ReadState, Action::Unlock, Action::Lock]
    }

    fn ports(&self) -> Ports {
        let line = uuid16(eseal::DATA_LINE);
        Ports::Fixed { service: uuid16(eseal::SERVICE), write: line, notify: line, ack: WriteAck::Acknowledged, piece: PIECE }
    }

    fn exchange(&self, action: Action, seal: &KnownSeal, _: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        let turn = match action {
            Action::ReadState => None,
            Action::Unlock => Some(Turn::Unseal),
            Action::Lock => Some(Turn::Seal),
            Action::DrainLog | Action::SetTime => return Err(Hindrance::CannotDo { protocol: self.name(), action }),
        };
        Ok(Box::new(Talk {
            id: number(seal)?,
            key: key(seal)?,
            turn,
            asked: Asked::Query,
            times: 0,
            heard: 0,
            inbox: Inbox::default(),
            fault: None,
            state: None,
            after: None,
            raw: Vec::new(),
        }))
    }
}

/// The number the seal knows itself by.
fn number(seal: &KnownSeal) -> Result<u32, Hindrance> {
    let wrong =
        |_| Hindrance::WrongCredential { what: "own number", detail: format!("this seal calls itself by a number from 0 to {}", u32::MAX) };
    device_number(seal).parse().map_err(wrong)
}

/// Its 32-bit key: the last four bytes of a registered one, the others being 0; else the published one.
fn key(seal: &KnownSeal) -> Result<u32, Hindrance> {
    let Some(key) = &seal.credentials.key else { return Ok(PUBLISHED_KEY) };
    eseal::short_key(key).map_err(|wrong| Hindrance::WrongCredential { what: "key", detail: wrong.to_string() })
}

/// What was asked last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Query,
    Stored,
    Turn,
}

/// One connection's talk.
struct Talk {
    id: u32,
    key: u32,
    /// Which way to turn; `None` when its state is read.
    turn: Option<Turn>,
    asked: Asked,
    /// How often this was asked.
    times: u8,
    heard: u8,
    inbox: Inbox,
    /// Why the last frame that said nothing said nothing.
    fault: Option<EsealFault>,
    /// How it stood at first.
    state: Option<State>,
    /// How it stood when it was last heard after the turn was sent.
    after: Option<State>,
    /// The payloads the state was read from, in clear, one after the other.
    raw: Vec<u8>,
}

impl Exchange for Talk {
    fn step(&mut self, input: Input<'_>) -> Step {
        match input {
            Input::Begin => self.ask(Asked::Query),
            Input::Notified(bytes) => self.on_notified(bytes),
            Input::Silence => self.on_silence(),
            Input::Told if self.asked == Asked::Query && self.state.is_some() => self.ask(Asked::Turn),
            Input::Written | Input::Told | Input::Reread(_) | Input::OnDisk | Input::NotOnDisk | Input::OnDiskAndHurry => LISTEN,
        }
    }
}

const LISTEN: Step = Step::Listen { within: ANSWER_WITHIN };

impl Talk {
    fn ask(&mut self, what: Asked) -> Step {
        self.times = if self.asked == what { self.times + 1 } else { 1 };
        self.asked = what;
        let (order, effect) = match (what, self.turn) {
            (Asked::Turn, Some(turn)) => (Order::Operate(turn), Effect::Moves),
            (Asked::Stored, _) => (Order::ReadStored { most: STORED_MAX }, Effect::Harmless),
            (Asked::Query | Asked::Turn, _) => (Order::Query, Effect::Harmless),
        };
        Step::Write { bytes: order.frame(self.id, FIRMWARE_RN, self.key), effect }
    }

    fn on_notified(&mut self, piece: &[u8]) -> Step {
        self.heard = self.heard.saturating_add(1);
        if self.heard > HEARD_AT_MOST {
            return Step::End(self.end());
        }
        self.inbox.push(piece);
        while let Some(frame) = self.inbox.whole() {
            let opened = match eseal::open(&frame, self.key) {
                Ok(opened) => opened,
                Err(fault) => {
                    self.fault = Some(fault);
                    continue;
                }
            };
            match opened.answer(self.id) {
                Ok(answer) => {
                    if let Some(step) = self.on_answer(&answer, &opened.payload) {
                        return step;
                    }
                }
                Err(fault) => self.fault = Some(fault),
            }
        }
        LISTEN
    }

    /// `None` for what was not asked for now.
    fn on_answer(&mut self, answer: &Answer, payload: &[u8]) -> Option<Step> {
        match (self.asked, answer) {
            (Asked::Query, Answer::State(state)) if self.state.is_none() => {
                self.state = Some(*state);
                self.raw.extend(payload);
                Some(self.on_state(*state))
            }
            (Asked::Stored, Answer::Stored(_)) => {
                self.raw.extend(payload);
                Some(Step::End(self.end()))
            }
            (Asked::Turn, Answer::State(state)) => {
                self.after = Some(*state);
                self.turn.filter(|turn| stands(*turn, state)).map(|_| Step::End(Said::Did))
            }
            (Asked::Stored, Answer::Error(_)) => Some(Step::End(self.end())),
            (Asked::Query | Asked::Turn, Answer::Error(code)) => {
                Some(Step::End(Said::Refused(Rejection::Other { code: *code, meaning: "the seal answers with an error" })))
            }
            _ => None,
        }
    }

    fn on_state(&mut self, state: State) -> Step {
        match self.turn {
            None => self.ask(Asked::Stored),
            Some(turn) if stands(turn, &state) => Step::End(Said::Already(self.status())),
            Some(Turn::Seal) if state.safe == Safe::ForcedOpen => Step::End(Said::Refused(Rejection::InAlarm)),
            Some(Turn::Seal) if state.rod == Rod::Out => Step::End(Said::Refused(Rejection::ShackleOut)),
            Some(Turn::Unseal) if state.safe == Safe::ForcedOpen => {
                let event = SealEvent { word: SealWord::ForcedOpen, number: None, device_time: None, raw: self.raw.clone() };
                Step::Tell { events: vec![event], memory: Memory::Live }
            }
            Some(_) => self.ask(Asked::Turn),
        }
    }

    fn on_silence(&mut self) -> Step {
        match self.asked {
            Asked::Query if self.state.is_none() && self.times < ASKED_AT_MOST => {
                self.inbox.clear();
                self.ask(Asked::Query)
            }
            Asked::Query | Asked::Stored | Asked::Turn => Step::End(self.end()),
        }
    }

    /// How it ended, with what is known.
    fn end(&self) -> Said {
        match (self.turn, self.status(), self.fault) {
            (None, Some(status), _) => Said::Status(status),
            (_, None, Some(EsealFault::PayloadCheck)) => Said::Cannot(Hindrance::WrongCredential {
                what: "key",
                detail: "the checks of the seal's answers do not fit under it".to_owned(),
            }),
            (_, None, Some(fault)) => Said::Cannot(Hindrance::Unintelligible(fault.to_string())),
            _ => self.after.map_or(Said::Nothing, refused),
        }
    }

    fn status(&self) -> Option<SealStatus> {
        let state = self.state?;
        // Sealed with its rod out is what a seal is that has not yet noticed that it was forced: no word for closed.
        let lock = match (state.safe, state.rod) {
            (Safe::Sealed, Rod::In) => Some(LockClaim::Locked),
            (Safe::Sealed, Rod::Out) | (Safe::Unsealed | Safe::ForcedOpen, _) => Some(LockClaim::Unlocked),
            (Safe::Unnamed(_), _) => None,
        };
        let complaints = match (state.safe, state.rod) {
            (Safe::ForcedOpen, _) => vec![SealWord::ForcedOpen],
            (Safe::Unnamed(_), _) | (Safe::Sealed, Rod::Out) => vec![SealWord::Abnormal],
            (Safe::Sealed, Rod::In) | (Safe::Unsealed, _) => Vec::new(),
        };
        let reading =
            SealReading { lock, open: Some(state.rod == Rod::Out), tamper: Some(state.safe == Safe::ForcedOpen), ..SealReading::default() };
        Some(SealStatus { reading, complaints, security: Security::Weak, did_ours: None, stored: None, raw: self.raw.clone() })
    }
}

/// Whether it stands as the turn wants it.
fn stands(turn: Turn, state: &State) -> bool {
    match turn {
        Turn::Seal => state.safe == Safe::Sealed && state.rod == Rod::In,
        Turn::Unseal => state.safe == Safe::Unsealed,
    }
}

/// It was told to turn, answered, and stands otherwise.
fn refused(after: State) -> Said {
    Said::Refused(match (after.safe, after.rod) {
        (Safe::ForcedOpen, _) => Rejection::InAlarm,
        (Safe::Unsealed, Rod::Out) => Rejection::ShackleOut,
        (safe, _) => Rejection::Other { code: safe.code(), meaning: "it answered and stands as before" },
    })
}

#[cfg(test)]
mod tests;
