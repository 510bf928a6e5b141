//! One action with a G-Series lock.

use std::time::Duration;

use super::BEFORE_COMMAND;
use crate::{
    Hindrance, LockClaim, Rejection, SealKey, SealReading, SealStatus, SealWord, Security,
    ble::protocol::{Effect, Exchange, Input, Said, Step},
    codec::{
        calendar::SealTime,
        g_series::{
            ByWhom, Decoder, Frame, GFault, PARAM_BATTERY, PARAM_LOCK, Param, QUERY, QueryAnswer, SET, Sealing, Unit, Verdict, Way,
            decoder, may_have_moved, query, query_answer, sealed, set_answer, set_sealed, verdict,
        },
    },
};

/// How long an answer may take: a motor needs seconds, and the maker's kit waits as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// How long the long answer may take behind the short one, and that about the battery, which not all may give.
const MORE_WITHIN: Duration = Duration::from_secs(1);
/// Inputs of one exchange at most. A lock that talks without end is not heard out.
const INPUTS_MAX: u16 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Read,
    Set(LockClaim),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Silence, for the serial to rise; then the next command.
    Quiet(Duration),
    /// The answer to a command.
    Answer,
    /// The long answer; the short one had this result.
    Long(u8),
}

pub(super) struct GExchange {
    goal: Goal,
    key: SealKey,
    /// The serial of a command written now.
    serial: SealTime,
    random: [u8; 32],
    commands: usize,
    decoder: Decoder,
    waiting: Waiting,
    /// Its state, while the battery is asked for.
    state: Option<SealStatus>,
    inputs_left: u16,
    over: bool,
}

impl GExchange {
    pub(super) fn new(goal: Goal, key: SealKey, now: SealTime, random: [u8; 32], wait: Duration) -> Self {
        Self {
            goal,
            key,
            serial: now,
            random,
            commands: 0,
            decoder: decoder(Way::FromLock),
            waiting: Waiting::Quiet(wait),
            state: None,
            inputs_left: INPUTS_MAX,
            over: false,
        }
    }

    fn command(&self) -> u16 {
        if self.goal == Goal::Read { QUERY } else { SET }
    }

    fn listen(&self) -> Step {
        let within = match self.waiting {
            Waiting::Quiet(wait) => wait,
            Waiting::Answer if self.state.is_none() => ANSWER_WITHIN,
            Waiting::Answer | Waiting::Long(_) => MORE_WITHIN,
        };
        Step::Listen { within }
    }

    fn write(&mut self, waited: Duration) -> Step {
        self.serial = self.serial.later(waited);
        self.waiting = Waiting::Answer;
        self.decoder = decoder(Way::FromLock);
        let (content, effect) = match self.goal {
            Goal::Set(to) => (set_sealed(to), Effect::Moves),
            Goal::Read if self.state.is_none() => (query(PARAM_LOCK), Effect::Harmless),
            Goal::Read => (query(PARAM_BATTERY), Effect::Harmless),
        };
        let at = 4 * self.commands;
        self.commands += 1;
        let random = self.random[at..].first_chunk().copied().expect("two commands at most need 8 of 32 bytes");
        let sealing = Sealing { key: &self.key, serial: self.serial, random };
        Step::Write { bytes: sealed(Way::ToLock, self.command(), &content, &sealing), effect }
    }

    fn on_notified(&mut self, bytes: &[u8]) -> Step {
        if matches!(self.waiting, Waiting::Quiet(_)) {
            // It answers nothing of ours.
            return self.listen();
        }
        self.decoder.push(bytes);
        self.go_on()
    }

    fn go_on(&mut self) -> Step {
        let mut damaged = None;
        while let Some(unit) = self.decoder.next() {
            let said = match unit {
                Ok(Unit::Short(result)) => self.on_short(result),
                Ok(Unit::Frame(frame)) if frame.command == self.command() => self.on_frame(&frame),
                // Something of its own, or a late answer to another command.
                Ok(Unit::Frame(_)) => None,
                Err(fault) => {
                    damaged = damaged.or(Some(fault));
                    None
                }
            };
            if let Some(step) = said {
                return step;
            }
        }
        match damaged {
            Some(fault) => self.cannot(fault),
            None => self.listen(),
        }
    }

    fn on_short(&mut self, result: u8) -> Option<Step> {
        // Behind it comes a value, or the long answer to the command.
        if self.goal != Goal::Read || result != 0 {
            self.waiting = Waiting::Long(result);
        }
        None
    }

    fn on_frame(&mut self, frame: &Frame) -> Option<Step> {
        let opened = match frame.open(Some(&self.key)) {
            Ok(opened) => opened,
            Err(fault) => return Some(self.cannot(fault)),
        };
        let by_key = opened.by == ByWhom::KeyHolder;
        let in_the_clear = || {
            let detail = "the lock answers in the clear".to_owned();
            Some(Step::End(Said::Cannot(Hindrance::WrongCredential { what: "key", detail })))
        };
        match self.goal {
            Goal::Set(_) => match set_answer(&opened.content).map(verdict) {
                Ok(Verdict::Done) if !by_key => in_the_clear(),
                Ok(verdict) => Some(Step::End(self.said(verdict))),
                Err(fault) => Some(self.cannot(fault)),
            },
            Goal::Read => match query_answer(&opened.content) {
                Ok(QueryAnswer::Refused(result)) => Some(self.refused(result)),
                Ok(QueryAnswer::Values(_)) if !by_key => in_the_clear(),
                Ok(QueryAnswer::Values(values)) => self.on_values(&values, opened.content),
                Err(fault) => Some(self.cannot(fault)),
            },
        }
    }

    fn on_values(&mut self, values: &[Param], content: Vec<u8>) -> Option<Step> {
        let value = |param: u8| values.iter().find(|(id, _)| *id == param).and_then(|(_, value)| value.first().copied());
        if self.state.is_none() {
            // Without the state it is the answer to an earlier question.
            let lock = value(PARAM_LOCK)?;
            let mut status = status(lock, content);
            status.reading.battery_percent = value(PARAM_BATTERY).and_then(percent);
            let complete = status.reading.battery_percent.is_some();
            self.state = Some(status);
            if complete {
                return Some(self.give_state());
            }
            self.waiting = Waiting::Quiet(BEFORE_COMMAND);
            return Some(self.listen());
        }
        let battery = value(PARAM_BATTERY)?;
        if let Some(state) = &mut self.state {
            state.reading.battery_percent = percent(battery);
            state.raw.extend(content);
        }
        Some(self.give_state())
    }

    fn give_state(&mut self) -> Step {
        Step::End(self.state.take().map_or(Said::Nothing, Said::Status))
    }

    fn refused(&mut self, result: u8) -> Step {
        // A state without a battery is a state.
        if self.state.is_some() { self.give_state() } else { Step::End(self.said(verdict(result))) }
    }

    fn on_silence(&mut self) -> Step {
        if let Waiting::Quiet(waited) = self.waiting {
            return self.write(waited);
        }
        self.decoder.idle();
        match (self.go_on(), self.waiting) {
            (Step::Listen { .. }, Waiting::Quiet(_)) => self.listen(),
            // three bytes that anybody can send, and nothing checks, are no success
            (Step::Listen { .. }, Waiting::Long(0)) => Step::End(Said::Nothing),
            (Step::Listen { .. }, Waiting::Long(result)) => self.refused(result),
            (Step::Listen { .. }, Waiting::Answer) => self.give_state(),
            (step, _) => step,
        }
    }

    /// A no to a command is doubtful where locks were seen to move in spite of it.
    fn said(&self, verdict: Verdict) -> Said {
        match verdict {
            Verdict::Done => Said::Did,
            Verdict::Refused(cause @ Rejection::Other { code, .. }) if self.goal != Goal::Read && may_have_moved(code) => {
                Said::Doubtful(cause)
            }
            Verdict::Refused(cause) => Said::Refused(cause),
        }
    }

    fn cannot(&mut self, fault: GFault) -> Step {
        let why = match fault {
            GFault::NoKey => Hindrance::NoCredential { what: "key" },
            GFault::WrongKey => Hindrance::WrongCredential { what: "key", detail: "the lock's answer does not decrypt with it".to_owned() },
            GFault::Check | GFault::Garbage | GFault::Cut | GFault::Content(_) => Hindrance::Unintelligible(fault.to_string()),
        };
        Step::End(Said::Cannot(why))
    }
}

impl Exchange for GExchange {
    fn step(&mut self, input: Input<'_>) -> Step {
        if self.over {
            return Step::End(Said::Nothing);
        }
        let step = match (self.inputs_left.checked_sub(1), input) {
            (None, _) => Step::End(Said::Cannot(Hindrance::Unintelligible("it talks without end".to_owned()))),
            (Some(left), input) => {
                self.inputs_left = left;
                match input {
                    Input::Notified(bytes) => self.on_notified(bytes),
                    Input::Silence => self.on_silence(),
                    Input::Begin
                    | Input::Written
                    | Input::Told
                    | Input::Reread(_)
                    | Input::OnDisk
                    | Input::NotOnDisk
                    | Input::OnDiskAndHurry => self.listen(),
                }
            }
        };
        self.over = matches!(step, Step::End(_));
        step
    }
}

fn percent(byte: u8) -> Option<u8> {
    (byte <= 100).then_some(byte)
}

fn status(lock: u8, raw: Vec<u8>) -> SealStatus {
    let claim = match lock {
        0x01 | 0x31 => Some(LockClaim::Locked),
        0x00 | 0x30 => Some(LockClaim::Unlocked),
        _ => None,
    };
    let complaints = if claim.is_none() { vec![SealWord::Abnormal] } else { Vec::new() };
    let reading = SealReading { lock: claim, problem: claim.is_none().then_some(true), ..SealReading::default() };
    SealStatus { reading, complaints, security: Security::Weak, did_ours: None, stored: None, raw }
}
