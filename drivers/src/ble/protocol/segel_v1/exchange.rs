//! One action with one seal, as a row of exchanges HELLO, CHALLENGE, COMMAND, RESULT.

use std::time::{Duration, SystemTime};

use super::{
    super::{Effect, Exchange, Input, Moment, Said, Stage, Step},
    security_of,
};
use crate::{
    Action, Hindrance, SealStatus, Security,
    codec::{
        bthome::SealKey,
        segel_v1::{self, Answer, Bolt, Challenged, Command, Commanded, Fault, Form, Hello, Last, Marks, Outcome, Reference},
    },
};

mod drain;
mod words;

use drain::Drain;
use words::{Sent, did, refused, status};

/// A seal answers within 1 s what does not move it; the rest is for connection events of a slow link.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// A seal answers within 15 s what moves it.
const MOVED_WITHIN: Duration = Duration::from_secs(16);
/// How often the answer is read when none was notified, or only its beginning.
const READS_MAX: u8 = 3;
/// Notifications that are not due, at most: old ones told twice.
const STRAYS_MAX: u8 = 16;

/// What it is all for.
#[derive(Debug)]
enum Purpose {
    Read { sent: Option<Sent> },
    Move(Action),
    SetTime,
    Drain(Drain),
}

/// What is waited for.
#[derive(Debug)]
enum Awaited {
    Nothing,
    Challenge(Hello),
    Result(Box<Commanded>),
    Disk,
}

/// How an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Notification,
    Read,
}

/// One action with one seal.
#[derive(Debug)]
pub(super) struct Talk {
    key: SealKey,
    /// What is said under this key is worth so much.
    security: Security,
    number: String,
    purpose: Purpose,
    seed: SealKey,
    hellos: u32,
    reference: Reference,
    time: u32,
    awaited: Awaited,
    reads: u8,
    strays: u8,
    before: Option<(Last, SealStatus)>,
}

impl Talk {
    pub(super) fn new(action: Action, key: SealKey, number: &str, now: &Moment) -> Self {
        let purpose = match action {
            Action::ReadState => Purpose::Read { sent: None },
            Action::Unlock | Action::Lock => Purpose::Move(action),
            Action::SetTime => Purpose::SetTime,
            Action::DrainLog => Purpose::Drain(Drain::default()),
        };
        Self::with(purpose, key, number.to_owned(), now)
    }

    fn with(purpose: Purpose, key: SealKey, number: String, now: &Moment) -> Self {
        let [seed, rest] = [&now.random[..16], &now.random[16..]].map(|half| <[u8; 16]>::try_from(half).expect("half of 32 bytes"));
        let mut reference = [0; 8];
        reference.copy_from_slice(&rest[..8]);
        // all zero is no reference
        reference[7] |= u8::from(reference == [0; 8]);
        let since = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            security: security_of(&key),
            key,
            number,
            purpose,
            seed: SealKey::new(seed),
            hellos: 0,
            reference: Reference(reference),
            time: u32::try_from(since).unwrap_or(u32::MAX),
            awaited: Awaited::Nothing,
            reads: 0,
            strays: 0,
            before: None,
        }
    }

    /// A new HELLO; its nonce is drawn from the seed, so that each differs from all others.
    fn hello(&mut self) -> Step {
        self.hellos += 1;
        let hello = Hello::new(segel_v1::seal_nonce(&self.seed, self.hellos, 0, [0; 8]));
        let bytes = hello.write().to_vec();
        self.await_now(Awaited::Challenge(hello));
        Step::Write { bytes, effect: Effect::Harmless }
    }

    fn await_now(&mut self, awaited: Awaited) {
        self.awaited = awaited;
        self.reads = 0;
        self.strays = 0;
    }

    fn end(&mut self, said: Said) -> Step {
        self.awaited = Awaited::Nothing;
        Step::End(said)
    }

    fn cannot(&mut self, why: &str) -> Step {
        self.end(Said::Cannot(Hindrance::Unintelligible(why.to_owned())))
    }

    fn within(&self) -> Duration {
        match (&self.awaited, &self.purpose) {
            (Awaited::Result(_), Purpose::Move(_)) => MOVED_WITHIN,
            _ => ANSWER_WITHIN,
        }
    }

    /// Something that is not due was notified.
    fn on_stray(&mut self) -> Step {
        self.strays += 1;
        if self.strays > STRAYS_MAX { self.end(Said::Nothing) } else { Step::Listen { within: self.within() } }
    }

    fn reread(&mut self) -> Step {
        self.reads += 1;
        if self.reads > READS_MAX { self.end(Said::Nothing) } else { Step::Reread }
    }

    /// A notification, or what reading gave. A frame that is not due is an old one told twice: it is passed over. A
    /// notification may be half, or of before; what was read is what the seal says.
    fn on_answer(&mut self, bytes: &[u8], source: Source) -> Step {
        let due = match self.awaited {
            Awaited::Challenge(_) => segel_v1::kind::CHALLENGE,
            Awaited::Result(_) => segel_v1::kind::RESULT,
            Awaited::Nothing | Awaited::Disk => return self.end(Said::Nothing),
        };
        match (segel_v1::form(bytes), source) {
            (Form::Whole(kind), _) if kind == due => self.on_due(bytes, source),
            (Form::Cut(kind), Source::Notification) if kind == due => self.reread(),
            (Form::Whole(_) | Form::Cut(_), Source::Notification) => self.on_stray(),
            (Form::Whole(_), Source::Read) => Step::Listen { within: ANSWER_WITHIN },
            (Form::Cut(_), Source::Read) => self.cannot("its answer is shorter than it says"),
            (Form::Nothing, _) => self.cannot("what it answered is no frame of the segel protocol"),
        }
    }

    fn on_due(&mut self, bytes: &[u8], source: Source) -> Step {
        match std::mem::replace(&mut self.awaited, Awaited::Nothing) {
            Awaited::Challenge(hello) => match hello.open(&self.key, &self.number, bytes) {
                Ok(challenged) => self.on_challenge(challenged),
                Err(Fault::WrongCode) if source == Source::Notification => {
                    self.awaited = Awaited::Challenge(hello);
                    self.reread()
                }
                Err(Fault::WrongCode) => self.end(Said::Cannot(Hindrance::WrongCredential {
                    what: "key",
                    detail: "the seal's answer was made with another key or for another number".to_owned(),
                })),
                Err(fault) => self.cannot(&fault.to_string()),
            },
            Awaited::Result(commanded) => match commanded.open(bytes) {
                Ok(answer) => self.on_result(&answer),
                Err(Fault::WrongCode) if source == Source::Notification => {
                    self.awaited = Awaited::Result(commanded);
                    self.reread()
                }
                Err(fault) => self.cannot(&format!("its answer to the command: {fault}")),
            },
            Awaited::Nothing | Awaited::Disk => self.cannot("it answered when nothing was asked"),
        }
    }

    fn on_challenge(&mut self, challenged: Challenged) -> Step {
        let seen = challenged.status;
        let said = status(&seen, self.security);
        let command = match &mut self.purpose {
            Purpose::Read { sent } => {
                let did_ours = sent.and_then(|sent| did(&sent, &seen.last));
                return self.end(Said::Status(SealStatus { did_ours, ..said }));
            }
            Purpose::Move(action) => {
                let (wanted, command) = match action {
                    Action::Lock => (Bolt::Locked, Command::Lock(self.reference)),
                    _ => (Bolt::Unlocked, Command::Unlock(self.reference)),
                };
                self.before = Some((seen.last, said.clone()));
                if seen.bolt == wanted {
                    return self.end(Said::Already(Some(said)));
                }
                if wanted == Bolt::Locked && seen.marks.has(Marks::FACTORY_KEY) {
                    return self.end(Said::Cannot(Hindrance::FactoryPassword));
                }
                command
            }
            Purpose::SetTime => Command::SetTime(self.time),
            Purpose::Drain(drain) => match drain.next(&seen) {
                Ok(Some(command)) => command,
                Ok(None) => {
                    let confirmed = drain.confirmed;
                    return self.end(Said::Drained(confirmed));
                }
                Err(why) => return self.cannot(why),
            },
        };
        let effect = match command {
            Command::Lock(_) | Command::Unlock(_) => Effect::Moves,
            Command::Drain { confirm: 1.., .. } => Effect::Confirms,
            Command::Drain { .. } | Command::SetTime(_) => Effect::Harmless,
        };
        let commanded = challenged.command(&command);
        let bytes = commanded.frame.to_vec();
        self.await_now(Awaited::Result(Box::new(commanded)));
        Step::Write { bytes, effect }
    }

    fn on_result(&mut self, answer: &Answer) -> Step {
        match &mut self.purpose {
            Purpose::Read { .. } => self.cannot("it answered a command that was not sent"),
            Purpose::SetTime => match answer.outcome {
                Outcome::DONE => self.end(Said::TimeSet),
                outcome => self.end(refused(outcome)),
            },
            Purpose::Move(_) => match answer.outcome {
                Outcome::DONE => self.end(Said::Did),
                Outcome::ALREADY => {
                    let said = status(&answer.status, self.security);
                    self.end(Said::Already(Some(said)))
                }
                outcome => self.end(refused(outcome)),
            },
            Purpose::Drain(drain) => match drain.took(answer) {
                Ok(Some((events, log))) => {
                    self.await_now(Awaited::Disk);
                    Step::Store { events, log }
                }
                Ok(None) => {
                    let confirmed = drain.confirmed;
                    self.end(Said::Drained(confirmed))
                }
                Err(why) => self.cannot(why),
            },
        }
    }

    fn on_silence(&mut self) -> Step {
        match self.awaited {
            Awaited::Challenge(_) | Awaited::Result(_) => self.reread(),
            Awaited::Nothing | Awaited::Disk => self.end(Said::Nothing),
        }
    }

    fn on_disk(&mut self, input: Input<'_>) -> Step {
        let Purpose::Drain(drain) = &mut self.purpose else { return self.cannot("nothing was handed over") };
        match input {
            Input::OnDisk => drain.confirm(),
            Input::OnDiskAndHurry => drain.confirm_and_stop(),
            _ => {
                let confirmed = drain.confirmed;
                return self.end(Said::Drained(confirmed));
            }
        }
        self.hello()
    }
}

impl Exchange for Talk {
    fn step(&mut self, input: Input<'_>) -> Step {
        match input {
            Input::Begin => self.hello(),
            Input::Written => Step::Listen { within: self.within() },
            Input::Notified(bytes) => self.on_answer(bytes, Source::Notification),
            Input::Reread(bytes) => self.on_answer(bytes, Source::Read),
            Input::Silence => self.on_silence(),
            Input::Told => self.cannot("nothing was told"),
            Input::OnDisk | Input::OnDiskAndHurry | Input::NotOnDisk => self.on_disk(input),
        }
    }

    fn stage(&self) -> Stage {
        match self.awaited {
            Awaited::Challenge(_) if self.hellos <= 1 => Stage::Authenticating,
            _ => Stage::Talking,
        }
    }

    fn before(&self) -> Option<&SealStatus> {
        self.before.as_ref().map(|(_, status)| status)
    }

    fn remaining(&self) -> Option<u32> {
        match &self.purpose {
            Purpose::Drain(drain) => drain.remaining,
            _ => None,
        }
    }

    fn read_back(&self, now: &Moment) -> Option<Box<dyn Exchange>> {
        let Purpose::Move(_) = self.purpose else { return None };
        let sent = Sent { reference: self.reference, before: self.before.as_ref().map(|(last, _)| *last) };
        Some(Box::new(Self::with(Purpose::Read { sent: Some(sent) }, self.key.clone(), self.number.clone(), now)))
    }
}
