//! One request, served: connect, talk, read back, judge, disconnect.
//!
//! ```text
//!   ┌► connect n/m ─► talk ─(nothing moved)─► answered, or again while attempts and time last, or put back
//!   └────────────────  │ (moved: never again)
//!                      ▼
//!          read back, on the same connection if it lives, else on new ones ─► judge ─► answered ─► disconnect
//! ```
//!
//! What must hold: whatever ends it, the seal is disconnected before the next session begins; it ends at once when it is
//! called off, and nothing ends it between the write and its judgement but its own bounds.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{
    Desk, Request, SessionLimits, Ticket,
    hall::Turn,
    judge::{Answer, Back, Evidenced, Fate, judge, settled},
    talk::{Role, Talk, Talked},
};
use crate::{
    Action, Ear, Evidence, Hindrance, Outcome, Progress, Rejection, SealStatus, Security, Spent,
    ble::{
        link::{Air, Link, LinkFault},
        protocol::{Exchange, Input, Moment, Protocol, Said},
    },
};

/// Before a state is read again: a motor takes a second or two, and some seals say no and open within two seconds.
const SETTLE: Duration = Duration::from_secs(2);
/// Before it is connected to again for reading back: a seal that was lost needs a moment to be heard again.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Times a state is read at most until it agrees: three cover six seconds of motor.
const READS_MAX: u32 = 3;
/// Before a seal that said "later" is written to again; what its protocol says, where one does.
const LATER: Duration = Duration::from_secs(1);

/// What is left of the adapter after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    /// It works.
    Works,
    /// It does not; how that showed.
    Fails(String),
    /// The gate is stopping.
    Stopping,
}

/// How a request ended here.
enum End {
    With(Outcome),
    /// Nothing was moved, and another adapter or this one, made anew, may still serve it.
    Back(Option<String>),
}

/// What to do after a talk that moved nothing.
enum Then {
    End(End),
    Again(String),
    /// Again on the same connection: the seal asked for a moment, with this ATT error.
    Later(u8),
}

struct Visit<'a, A: Air> {
    desk: &'a Desk,
    air: &'a mut A,
    ear: &'a Ear,
    turn: &'a Turn,
    request: &'a Request,
    ticket: &'a Ticket,
    protocol: &'static dyn Protocol,
    deadline: Instant,
    limits: SessionLimits,
    link: Option<A::Link>,
    /// A connection or an attempt at one may be left in the air.
    dangling: bool,
    /// Nothing was said on the connection yet.
    fresh: bool,
    /// Before this no connection is made: sooner after a disconnect the kernel refuses it.
    free: &'a mut Instant,
    spent: Spent,
    /// The ATT error with which the seal asked for a moment last.
    later: Option<u8>,
    /// Why the last exchange was told to stop.
    stopped: Option<Hindrance>,
    /// The wall time the last exchange was built with.
    wall: Option<SystemTime>,
    left: Left,
}

/// Serves one request to its end.
pub(super) async fn visit<A: Air>(desk: &Desk, air: &mut A, ear: &Ear, mut turn: Turn, free: &mut Instant) -> Left {
    let Some(waiting) = turn.waiting() else { return Left::Works };
    let (request, ticket, protocol) = (waiting.request.clone(), std::sync::Arc::clone(&waiting.ticket), waiting.protocol);
    let mut spent = waiting.spent;
    spent.waiting = waiting.waited(Instant::now());
    let mut visit = Visit {
        desk,
        air,
        ear,
        turn: &turn,
        request: &request,
        ticket: &ticket,
        protocol,
        deadline: waiting.deadline,
        limits: *desk.limits(),
        link: None,
        dangling: false,
        fresh: false,
        free,
        spent,
        later: None,
        stopped: None,
        wall: None,
        left: Left::Works,
    };
    let end = tokio::select! {
        biased;
        end = visit.run() => end,
        () = ticket.called_off() => End::With(ticket.cut_short(Hindrance::CalledOff)),
    };
    let (link, dangling, left) = (visit.link.take(), visit.dangling, visit.left.clone());
    let spent = visit.spent;
    drop(visit);
    if link.is_some() && left == Left::Works {
        // connected to until now, so it is there, although nobody heard it meanwhile
        desk.heard(request.address, None, Instant::now().into_std());
    }
    match end {
        End::With(outcome) => {
            tracing::info!(seal = %request.seal.seal, action = %request.action, outcome = outcome.as_str(), adapter = %desk.reader(), "session ended");
            turn.answer(outcome, spent);
        }
        End::Back(last) => turn.note(spent, last),
    }
    // whoever asked does not wait for this, the next session does
    hang_up(air, link, dangling, desk.limits()).await;
    *free = Instant::now() + desk.limits().pause;
    drop(turn);
    left
}

async fn hang_up<A: Air>(air: &mut A, link: Option<A::Link>, dangling: bool, limits: &SessionLimits) {
    let ended = match link {
        Some(link) => timeout(limits.disconnect, link.close()).await,
        None if dangling => timeout(limits.disconnect, air.hang_up()).await,
        None => return,
    };
    if ended.is_err() {
        tracing::debug!("a disconnect took too long; it goes on by itself");
    }
}

impl<A: Air> Visit<'_, A> {
    async fn run(&mut self) -> End {
        let mut last = self.turn.waiting().and_then(|waiting| waiting.last.clone());
        loop {
            let stands = self.link.is_some();
            if (!stands && self.spent.attempts >= self.limits.attempts) || Instant::now() >= self.deadline {
                return End::With(self.gives_up(last));
            }
            if last.is_some() && self.desk.is_wanted_for_more_than(self.request.address, self.request.action.priority()) {
                return End::Back(last);
            }
            let connected = if stands {
                Ok(())
            } else {
                let of = self.limits.attempts;
                self.turn.tell(Progress::Connecting { attempt: self.spent.attempts + 1, of });
                self.connect(self.deadline).await
            };
            let then = match connected {
                Ok(()) => match self.ask().await {
                    Ok(then) => then,
                    Err(outcome) => return End::With(outcome),
                },
                Err(fault) => self.after_fault(&fault),
            };
            match then {
                Then::End(end) => return end,
                Then::Again(why) => {
                    self.later = None;
                    tracing::debug!(seal = %self.request.seal.seal, attempt = self.spent.attempts, %why, "session tried again");
                    last = Some(why);
                    self.hang_up().await;
                }
                Then::Later(code) => {
                    last = Some(LinkFault::Att(code).to_string());
                    self.later = Some(code);
                    sleep_until(self.deadline.min(Instant::now() + LATER)).await;
                }
            }
        }
    }

    /// Connects once.
    async fn connect(&mut self, until: Instant) -> Result<(), LinkFault> {
        self.hang_up().await;
        self.spent.attempts = self.spent.attempts.saturating_add(1);
        sleep_until((*self.free).min(until)).await;
        let begun = Instant::now();
        self.dangling = true;
        let connecting = self.air.connect(self.request.address, self.protocol.ports());
        let connected = timeout_at(until.min(begun + self.limits.connect), connecting).await;
        self.spent.connecting += begun.elapsed();
        match connected.unwrap_or(Err(LinkFault::Late { what: "connecting" })) {
            Ok(link) => {
                self.link = Some(link);
                self.dangling = false;
                self.fresh = true;
                Ok(())
            }
            Err(fault) => {
                self.hang_up().await;
                // one that failed at once is not tried again at once
                *self.free = (*self.free).max(Instant::now() + self.limits.pause);
                Err(fault)
            }
        }
    }

    async fn hang_up(&mut self) {
        let link = self.link.take();
        if link.is_none() && !self.dangling {
            return;
        }
        // until it is over: dropped in the middle of it, it has to be done once more
        self.dangling = true;
        hang_up(self.air, link, true, &self.limits).await;
        self.dangling = false;
        *self.free = Instant::now() + self.limits.pause;
    }

    /// The exchange that was asked for, on the connection that stands; what became of it once it has moved anything.
    async fn ask(&mut self) -> Result<Then, Outcome> {
        let built = self.moment().and_then(|now| self.protocol.exchange(self.request.action, &self.request.seal, &now));
        let mut exchange = match built {
            Ok(exchange) => exchange,
            Err(why) => return Ok(Then::End(End::With(Outcome::NotAttempted { why }))),
        };
        let begun = Instant::now();
        let (talked, moved) = self.talk(exchange.as_mut(), Role::Asked, self.deadline).await;
        let then = match moved {
            Some(moved) => Err(self.after_the_write(talked, exchange.as_mut(), moved).await),
            None => {
                let remaining = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| exchange.remaining())).ok().flatten();
                Ok(self.after_talk(talked, remaining))
            }
        };
        self.spent.talking += begun.elapsed();
        then
    }

    async fn talk(&mut self, exchange: &mut dyn Exchange, role: Role, until: Instant) -> (Talked, Option<Instant>) {
        let security = self.protocol.rating(&self.request.seal).security;
        let Some(link) = &mut self.link else { return (Talked::Broken(LinkFault::Lost("there is none".to_owned())), None) };
        let used = !std::mem::replace(&mut self.fresh, false);
        let mut talk = Talk::new(self.desk, self.ear, self.turn, (self.request, self.ticket, security), until);
        talk.role = role;
        // where an answer is not bound to its question, an old one looks like it
        let left_over = if used && role == Role::ReadBack && security != Security::Authenticated {
            talk.hear_out(link, || deaf(self.protocol, self.request)).await
        } else {
            Ok(())
        };
        let talked = match left_over {
            Ok(()) => talk.carry(link, exchange).await,
            Err(talked) => talked,
        };
        self.stopped = talk.stopped.take();
        if let Talked::Broken(LinkFault::Adapter(why)) = &talked {
            self.left = Left::Fails(why.clone());
        }
        if talked == Talked::Stopping {
            self.left = Left::Stopping;
        }
        (talked, talk.moved)
    }

    /// The moment an exchange is built for. Some seals number their commands by the second and refuse a number they
    /// know, so two exchanges with a seal are never built for the same one.
    fn moment(&mut self) -> Result<Moment, Hindrance> {
        let now = SystemTime::now();
        let wall = self.wall.map_or(now, |last| now.max(last + Duration::from_secs(1)));
        self.wall = Some(wall);
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| Hindrance::NoAdapter(format!("the operating system gives no random bytes ({error})")))?;
        Ok(Moment { wall, random })
    }

    fn after_fault(&mut self, fault: &LinkFault) -> Then {
        match fault {
            LinkFault::Adapter(why) => {
                self.left = Left::Fails(why.clone());
                Then::End(End::Back(Some(fault.to_string())))
            }
            // no attempt: nothing was tried; it waits, without this adapter, until it is heard
            LinkFault::Forgotten => {
                self.spent.attempts = self.spent.attempts.saturating_sub(1);
                self.desk.forget(self.request.address);
                Then::End(End::Back(self.turn.waiting().and_then(|waiting| waiting.last.clone())))
            }
            LinkFault::NoPorts(_) => self.ends(Outcome::NotAttempted { why: Hindrance::Unintelligible(fault.to_string()) }),
            // the link was lost while the write was outstanding
            LinkFault::Connect(_) | LinkFault::Lost(_) | LinkFault::Late { .. } | LinkFault::Att(0x0E) => Then::Again(fault.to_string()),
            LinkFault::Att(code) if self.protocol.says_later(*code) => Then::Later(*code),
            // nothing that moves was written, so it refused nothing that was asked
            LinkFault::Att(code @ 0x80..=0x9F) => self.ends(Outcome::NotAttempted { why: Hindrance::Refused(*code) }),
            LinkFault::Att(_) => self.ends(Outcome::NotAttempted { why: Hindrance::Unintelligible(fault.to_string()) }),
        }
    }

    fn ends(&self, outcome: Outcome) -> Then {
        Then::End(End::With(match outcome {
            Outcome::NotAttempted { why } => self.ticket.cut_short(why),
            Outcome::Rejected { cause, .. } if self.ticket.confirmed() > 0 => {
                self.ticket.cut_short(Hindrance::Unintelligible(format!("in the middle of its log it refuses ({cause})")))
            }
            outcome => outcome,
        }))
    }

    /// A drain that came to an end of its own, or was told to.
    fn drained(&self, said: u32, remaining: Option<u32>) -> Outcome {
        let drained = self.ticket.confirmed().max(said);
        // overtaken at its very end it is not interrupted
        match self.stopped.clone().filter(|why| *why != Hindrance::Overtaken || remaining != Some(0)) {
            Some(why) if drained == 0 => Outcome::NotAttempted { why },
            interrupted => Outcome::Done { evidence: Evidence::Reported, status: None, drained, remaining, interrupted },
        }
    }

    /// What follows from a talk in which nothing that moves was written.
    fn after_talk(&mut self, talked: Talked, remaining: Option<u32>) -> Then {
        let said = match talked {
            Talked::Said(said) => said,
            Talked::Broken(fault) => return self.after_fault(&fault),
            Talked::Late => return Then::Again("the time given was over while the seal was talking".to_owned()),
            Talked::CalledOff => return self.ends(Outcome::NotAttempted { why: Hindrance::CalledOff }),
            Talked::Stopping => return self.ends(Outcome::NotAttempted { why: Hindrance::Stopping }),
            Talked::Fault(what) => {
                tracing::error!(seal = %self.request.seal.seal, what, "session ended by a fault of its protocol");
                return self.ends(Outcome::NotAttempted { why: Hindrance::Unintelligible(what.to_owned()) });
            }
        };
        self.ends(match (self.request.action, said) {
            (Action::ReadState, Said::Status(status)) => done(Some(status)),
            (Action::SetTime, Said::TimeSet | Said::Did) => done(None),
            (Action::DrainLog, Said::Drained(confirmed)) => self.drained(confirmed, remaining),
            // a disk that fails does not get better by asking the seal again
            (Action::DrainLog, _) if self.stopped == Some(Hindrance::NotStored) => self.drained(0, remaining),
            (_, Said::Already(Some(status))) => Outcome::Already { status },
            (_, Said::Already(None)) => Outcome::Rejected { cause: Rejection::StoodSo, read_back: None },
            (_, Said::Refused(cause) | Said::Doubtful(cause)) => Outcome::Rejected { cause, read_back: None },
            (_, Said::Cannot(why)) => Outcome::NotAttempted { why },
            (_, Said::Nothing) => return Then::Again("the seal did not answer".to_owned()),
            (action, _) => {
                let why = format!("the exchange ended as none does for `{action}`, and nothing was sent that moves the seal");
                Outcome::NotAttempted { why: Hindrance::Unintelligible(why) }
            }
        })
    }

    /// Out of attempts or time, with nothing moved.
    fn gives_up(&self, last: Option<String>) -> Outcome {
        let why = match last {
            _ if self.ticket.confirmed() > 0 && Instant::now() >= self.deadline => Hindrance::Deadline(self.request.within),
            Some(_) if self.later.is_some() => Hindrance::Refused(self.later.unwrap_or_default()),
            Some(last) => Hindrance::NoConnection { attempts: self.spent.attempts, last },
            None => Hindrance::Deadline(self.request.within),
        };
        self.ticket.cut_short(why)
    }

    /// The write was claimed: what became of it is found out by reading, and never by writing again.
    async fn after_the_write(&mut self, talked: Talked, asked: &mut dyn Exchange, moved: Instant) -> Outcome {
        self.turn.tell(Progress::ReadingBack);
        let (answer, lives) = match &talked {
            Talked::Said(said) => (Answer::of(said), true),
            Talked::Broken(fault) => (Answer::of_fault(fault), matches!(fault, LinkFault::Att(0x80..=0x9F))),
            Talked::Late => (Answer::None("the seal did not answer the command in time".to_owned()), true),
            Talked::CalledOff | Talked::Stopping => (Answer::None("the gate is stopping".to_owned()), true),
            Talked::Fault(what) => {
                tracing::error!(seal = %self.request.seal.seal, what, "session ended by a fault of its protocol, after the command was sent");
                (Answer::None(format!("after the command was sent: {what}")), true)
            }
        };
        let mut fate = Fate::Lives;
        if !lives {
            self.hang_up().await;
            fate = Fate::Gone;
        }
        let back = self.reads_back(&answer, asked, moved + self.limits.read_back, &mut fate).await;
        let before = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| asked.before().cloned())).ok().flatten();
        judge(Evidenced { action: self.request.action, answer, before, back, fate })
    }

    async fn reads_back(&mut self, answer: &Answer, asked: &mut dyn Exchange, until: Instant, fate: &mut Fate) -> Back {
        if !self.protocol.actions().contains(&Action::ReadState) {
            return Err("its protocol cannot be asked for its state".to_owned());
        }
        let refused = matches!(answer, Answer::No(_));
        let slowly = refused || matches!(answer, Answer::Doubtful(_));
        let mut attempts = 0;
        let mut back = Err("there was no time left to read it".to_owned());
        for round in 0..if refused { 1 } else { READS_MAX } {
            if slowly || round > 0 {
                sleep_until(until.min(Instant::now() + SETTLE)).await;
            }
            match self.read_once(asked, until, &mut attempts, fate).await {
                Ok(status) if settled(self.request.action, answer, &status) => return Ok(status),
                Ok(status) => back = Ok(status),
                Err(why) => return back.or(Err(why)),
            }
        }
        back
    }

    /// Reads the state, on the connection that stands or on new ones.
    async fn read_once(&mut self, asked: &mut dyn Exchange, until: Instant, attempts: &mut u8, fate: &mut Fate) -> Back {
        let mut last = "there was no time left to read it".to_owned();
        while Instant::now() < until && self.left == Left::Works {
            if self.link.is_none() {
                *fate = Fate::Gone;
                if *attempts >= self.limits.attempts {
                    return Err(format!("no connection after {attempts} attempts ({last})"));
                }
                *attempts += 1;
                if let Err(fault) = self.connect(until).await {
                    last = fault.to_string();
                    match fault {
                        // it is begun anew now, and not when the air has been silent for long
                        LinkFault::Adapter(why) => {
                            self.left = Left::Fails(why);
                            return Err(last);
                        }
                        LinkFault::NoPorts(_) => return Err(last),
                        _ => {}
                    }
                    sleep_until(until.min(Instant::now() + READ_AGAIN)).await;
                    continue;
                }
            }
            let now = self.moment().map_err(|why| why.to_string())?;
            let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| asked.read_back(&now))).ok().flatten();
            let built = built.map_or_else(|| self.protocol.exchange(Action::ReadState, &self.request.seal, &now), Ok);
            let mut reading = built.map_err(|why| why.to_string())?;
            last = match self.talk(reading.as_mut(), Role::ReadBack, until).await.0 {
                Talked::Said(Said::Status(status) | Said::Already(Some(status))) => return Ok(status),
                Talked::Said(Said::Nothing) => "the seal did not answer".to_owned(),
                Talked::Broken(LinkFault::Att(code)) if self.protocol.says_later(code) => {
                    last = LinkFault::Att(code).to_string();
                    sleep_until(until.min(Instant::now() + LATER)).await;
                    continue;
                }
                Talked::Broken(fault) => fault.to_string(),
                Talked::Said(said) => return Err(refusal(&said)),
                Talked::Fault(what) => return Err(what.to_owned()),
                Talked::Late => "the time was over".to_owned(),
                Talked::CalledOff | Talked::Stopping => return Err("the gate is stopping".to_owned()),
            };
            self.hang_up().await;
            *fate = Fate::Gone;
        }
        Err(last)
    }
}

fn refusal(said: &Said) -> String {
    match said {
        Said::Refused(cause) => format!("the seal refused ({cause})"),
        Said::Cannot(why) => why.to_string(),
        _ => "the seal answered something else".to_owned(),
    }
}

fn done(status: Option<SealStatus>) -> Outcome {
    Outcome::Done { evidence: Evidence::Reported, status, drained: 0, remaining: None, interrupted: None }
}

/// An exchange that understands what a seal tells by itself. Nothing of it is ever written.
fn deaf(protocol: &dyn Protocol, request: &Request) -> Option<Box<dyn Exchange>> {
    let build = || {
        let now = Moment { wall: SystemTime::now(), random: [0; 32] };
        let mut exchange = protocol.exchange(Action::ReadState, &request.seal, &now).ok()?;
        let _ = exchange.step(Input::Begin);
        Some(exchange)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)).ok().flatten()
}
