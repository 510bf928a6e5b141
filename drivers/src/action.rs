//! What can be asked of a seal over a connection, and what can become of it.
//!
//! ```text
//!   Request ─► queue ─► waking ─► connecting n/m ─► authenticating ─► writing ─► reading back ─► Ended
//!                                  ▲_____ before the write: again _____|   |
//!                                            after the write: never again _|  the seal is read, and what cannot be known is Unknown
//! ```
//!
//! What must hold: an [`Outcome`] says whether anything that moves the seal left this machine. `NotAttempted` and
//! nothing else may be asked again without looking.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{SealStatus, ble::protocol::ProtocolName};

/// What is asked of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Open it. Only ever on a permit.
    Unlock,
    /// Close it.
    Lock,
    /// Say what state it is in.
    ReadState,
    /// Hand over what it has stored, and delete it once it is on disk here.
    DrainLog,
    /// Set its clock to ours.
    SetTime,
}

impl Action {
    /// Whether it makes the seal move, so that it may be sent once at most.
    #[must_use]
    pub fn moves(self) -> bool {
        matches!(self, Self::Unlock | Self::Lock)
    }

    /// Its place in the queue.
    #[must_use]
    pub fn priority(self) -> Priority {
        match self {
            Self::Unlock | Self::Lock => Priority::Moving,
            Self::ReadState | Self::SetTime => Priority::Reading,
            Self::DrainLog => Priority::Draining,
        }
    }

    /// The word for it in commands and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unlock => "unlock",
            Self::Lock => "lock",
            Self::ReadState => "read",
            Self::DrainLog => "drain",
            Self::SetTime => "set-time",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who goes first when several wait for one adapter; the first is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Unlock and lock: somebody stands there.
    Moving,
    /// Reading a state, setting a clock.
    Reading,
    /// Draining a log: it can wait, and is interrupted between two pieces.
    Draining,
}

/// Where a request is, for the person who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stage")]
pub enum Progress {
    /// Others are before it.
    Queued {
        /// How many.
        ahead: usize,
    },
    /// The seal is not heard: wake it.
    Waking,
    /// The adapter connects to it.
    Connecting {
        /// Which attempt, from 1.
        attempt: u8,
        /// Of how many at most.
        of: u8,
    },
    /// Gate and seal prove themselves to each other.
    Authenticating,
    /// Its state is read.
    Reading,
    /// The command is on its way: from here on it may have moved.
    Writing,
    /// Its log comes in.
    Draining {
        /// Stored events received so far.
        events: u32,
    },
    /// Whether it moved is being found out.
    ReadingBack,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { ahead } => write!(f, "queued, {ahead} before it"),
            Self::Waking => f.write_str("waking: the seal is not heard, wake it"),
            Self::Connecting { attempt, of } => write!(f, "connecting {attempt}/{of}"),
            Self::Authenticating => f.write_str("authenticating"),
            Self::Reading => f.write_str("reading"),
            Self::Writing => f.write_str("writing"),
            Self::Draining { events } => write!(f, "draining, {events} events"),
            Self::ReadingBack => f.write_str("reading back"),
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing that moves the seal left this machine: it is safe to ask again.
    NotAttempted {
        /// What stood in the way.
        why: Hindrance,
    },
    /// The seal refused, and nothing read afterwards says otherwise.
    Rejected {
        /// Its reason.
        cause: Rejection,
        /// What was read afterwards.
        read_back: Option<SealStatus>,
    },
    /// It stood as asked before anything was written; nothing was.
    Already {
        /// How it stood.
        status: SealStatus,
    },
    /// Done.
    Done {
        /// How that is known.
        evidence: Evidence,
        /// Its state: what was asked for, or what was read afterwards.
        status: Option<SealStatus>,
        /// Stored events handed over and confirmed.
        drained: u32,
        /// Stored events it still holds, where it said so at the end.
        remaining: Option<u32>,
        /// What ended a drain before the log was empty; what was confirmed until then is done.
        interrupted: Option<Hindrance>,
    },
    /// It was sent and nobody knows what the seal did. Look at the seal.
    Unknown {
        /// Why nothing is known.
        why: String,
        /// What was read afterwards, if anything.
        read_back: Option<SealStatus>,
    },
}

impl Outcome {
    /// Whether something that moves the seal may have left this machine.
    #[must_use]
    pub fn may_have_moved(&self) -> bool {
        match self {
            Self::NotAttempted { .. } | Self::Already { .. } => false,
            Self::Rejected { .. } | Self::Done { .. } | Self::Unknown { .. } => true,
        }
    }

    /// One word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotAttempted { .. } => "not_attempted",
            Self::Rejected { .. } => "rejected",
            Self::Already { .. } => "already",
            Self::Done { .. } => "done",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// How it is known that something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The seal says so; its state could not be read afterwards.
    Reported,
    /// It did not answer (or said no), and its state read afterwards says that this very command was done.
    ReadBack,
    /// It says so and its state read afterwards agrees.
    ReportedAndReadBack,
}

/// Why nothing was done. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hindrance {
    /// The seal is not in the register.
    #[error("{0} is not in the register of seals; add it to the file named by gate.seals_file")]
    NotRegistered(String),
    /// It has no radio address in the register.
    #[error("the register has no radio address for this seal; add `address`")]
    NoAddress,
    /// Its protocol has no such action.
    #[error("a seal of protocol {protocol} cannot {action}")]
    CannotDo {
        /// The protocol.
        protocol: ProtocolName,
        /// The action.
        action: Action,
    },
    /// A key or password is missing.
    #[error("there is no {what} for this seal; add it to the seal keys")]
    NoCredential {
        /// What is missing: `key` or `password`.
        what: &'static str,
    },
    /// A key or password is there and does not fit the seal.
    #[error("the {what} of this seal is wrong: {detail}; correct it in the seal keys")]
    WrongCredential {
        /// What is wrong: `key` or `password`.
        what: &'static str,
        /// How that showed; never the secret.
        detail: String,
    },
    /// It has the password it left the factory with: anybody can open it.
    #[error("this seal is still on a factory password, so anybody can open it; change it before it is used")]
    FactoryPassword,
    /// It is not being heard.
    #[error("the seal is not heard by any adapter (last heard: {last}); wake it, or bring it nearer")]
    NotHeard {
        /// How long ago, for people.
        last: String,
    },
    /// No connection could be made.
    #[error("no connection after {attempts} attempts ({last}); bring the seal nearer and ask again")]
    NoConnection {
        /// How many attempts.
        attempts: u8,
        /// How the last one failed.
        last: String,
    },
    /// It answered what nobody can make sense of.
    #[error("the seal's answer makes no sense: {0}; see that `protocol` in the register is right")]
    Unintelligible(String),
    /// The time given for it is over.
    #[error("not done within {0:?}; ask again")]
    Deadline(Duration),
    /// Too many wait for this adapter.
    #[error("{0} requests wait already; ask again in a moment")]
    QueueFull(usize),
    /// No adapter works.
    #[error("no Bluetooth adapter works: {0}")]
    NoAdapter(String),
    /// Nobody waits for it any more.
    #[error("it was called off")]
    CalledOff,
    /// Somebody more urgent wanted the adapter or the seal.
    #[error("somebody more urgent came; ask again for the rest")]
    Overtaken,
    /// What the seal handed over is not on disk here; the seal keeps it.
    #[error("the gate could not write them to disk; see `segel status`")]
    NotStored,
    /// It answered a write that moves nothing with an ATT error of its own; the code.
    #[error(
        "the seal refuses to be written to (ATT error {0:#04x}); ask again in a moment, or see that `protocol` in the register is right"
    )]
    Refused(u8),
    /// The gate is stopping.
    #[error("the gate is stopping")]
    Stopping,
}

/// Why a seal refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Its password is another.
    #[error("wrong password")]
    WrongPassword,
    /// Its battery is too low to move.
    #[error("battery too low to move")]
    LowVoltage,
    /// It is not sealed.
    #[error("it is not sealed")]
    NotSealed,
    /// Its shackle or rope is not in place.
    #[error("its shackle is not in place")]
    ShackleOut,
    /// It stands in alarm.
    #[error("it stands in alarm")]
    InAlarm,
    /// It holds the command for old.
    #[error("it holds the command for an old one: set its time, or see that nobody plays back")]
    Stale,
    /// It stood as asked before, and says that the command moved nothing.
    #[error("it says that it stood so already")]
    StoodSo,
    /// It says, proven, that the command never was its last one: it did not arrive, and cannot any more.
    #[error("the command never reached it")]
    NeverTook,
    /// Something else.
    #[error("{meaning} (code {code:#04x})")]
    Other {
        /// The seal's code.
        code: u8,
        /// What its maker calls it.
        meaning: &'static str,
    },
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What became of it.
    pub outcome: Outcome,
    /// Where the time went.
    pub spent: Spent,
}

/// Where a request's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for its turn and for the seal to be heard.
    pub waiting: Duration,
    /// Connecting, all attempts together.
    pub connecting: Duration,
    /// Talking and reading back.
    pub talking: Duration,
    /// Connections tried.
    pub attempts: u8,
}
