//! What is told of an order, line by line; the last one says how it ended.

use segel_drivers::{Ended, Evidence, Outcome, Progress, SealId, SealStatus, SealWord, Security, Spent};
use serde::{Deserialize, Serialize};

use super::Errand;
use crate::seals::SealSays;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
pub enum Line {
    /// The order is taken, under this name; what changes something is on record under it.
    Accepted {
        /// Its name.
        command: String,
        /// The seal.
        seal: SealId,
        /// What is asked of it.
        action: Errand,
    },
    /// Where it is.
    Progress(Progress),
    /// Nothing new; the gate lives.
    Waiting,
    /// How it ended.
    Ended(End),
}

/// One word for what became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Nothing that moves the seal was sent.
    NotAttempted,
    /// The seal refused.
    Rejected,
    /// It stood so before.
    Already,
    /// Done.
    Done,
    /// Nobody knows.
    Unknown,
}

impl Word {
    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAttempted => "not_attempted",
            Self::Rejected => "rejected",
            Self::Already => "already",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// In one word.
    pub outcome: Word,
    /// How it is known, where it was done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Evidence>,
    /// Why not, or why nothing is known; with what to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// What was read of the seal, in the end or before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub read_back: Option<ReadBack>,
    /// Stored events handed over and confirmed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drained: Option<u32>,
    /// Stored events that still wait at the seal, where it was broken off; why stands in the cause.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remaining: Option<u32>,
    /// Where the time went.
    pub spent: SpentMs,
    /// Whether this is on disk; absent for what changes nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recorded: Option<bool>,
}

/// What was read of a seal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Its state.
    #[serde(flatten)]
    pub says: SealSays,
    /// What it complains of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub complaints: Vec<SealWord>,
    /// How far that can be believed.
    pub security: Security,
    /// Whether it says that this very command is the last it has done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub did_ours: Option<bool>,
    /// Entries in its log that wait.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stored_events: Option<u32>,
}

/// Where the time went, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpentMs {
    /// Waiting for its turn and for the seal to be heard.
    pub waiting_ms: u64,
    /// Connecting, all attempts together.
    pub connecting_ms: u64,
    /// Talking and reading back.
    pub talking_ms: u64,
    /// Connections tried.
    pub attempts: u8,
}

impl From<Spent> for SpentMs {
    fn from(spent: Spent) -> Self {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self { waiting_ms: ms(spent.waiting), connecting_ms: ms(spent.connecting), talking_ms: ms(spent.talking), attempts: spent.attempts }
    }
}

impl From<&SealStatus> for ReadBack {
    fn from(status: &SealStatus) -> Self {
        let mut says = SealSays::default();
        says.merge(&status.reading);
        Self {
            says,
            complaints: status.complaints.clone(),
            security: status.security,
            did_ours: status.did_ours,
            stored_events: status.stored,
        }
    }
}

impl End {
    /// Whether it was done in part: something of it still waits, or it says why it stopped.
    #[must_use]
    pub fn is_in_part(&self) -> bool {
        self.outcome == Word::Done && (self.remaining.is_some_and(|remaining| remaining > 0) || self.cause.is_some())
    }

    /// The end as it is told and recorded.
    #[must_use]
    pub fn of(ended: &Ended) -> Self {
        let mut remaining = None;
        let (outcome, evidence, cause, status, drained) = match &ended.outcome {
            Outcome::NotAttempted { why } => (Word::NotAttempted, None, Some(why.to_string()), None, None),
            Outcome::Rejected { cause, read_back } => (Word::Rejected, None, Some(cause.to_string()), read_back.as_ref(), None),
            Outcome::Already { status } => (Word::Already, None, None, Some(status), None),
            Outcome::Done { evidence, status, drained, remaining: left, interrupted } => {
                remaining = left.filter(|left| *left > 0);
                (Word::Done, Some(*evidence), interrupted.as_ref().map(ToString::to_string), status.as_ref(), Some(*drained))
            }
            Outcome::Unknown { why, read_back } => (Word::Unknown, None, Some(why.clone()), read_back.as_ref(), None),
        };
        Self {
            outcome,
            evidence,
            cause,
            read_back: status.map(ReadBack::from),
            drained: drained.filter(|drained| *drained > 0),
            remaining,
            spent: ended.spent.into(),
            recorded: None,
        }
    }
}
