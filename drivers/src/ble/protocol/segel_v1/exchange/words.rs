//! What a seal says, in the words all protocols share.

use super::super::super::Said;
use crate::{
    Hindrance, Rejection, SealStatus, Security,
    codec::segel_v1::{Last, Outcome, Reference, Status},
};

/// The command of an earlier exchange, and what the seal had done last before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) reference: Reference,
    pub(super) before: Option<Last>,
}

/// Whether the seal did what was sent. It answered a new challenge, so what it has not done it will not do any more;
/// when somebody else's command came between, nothing is known.
pub(super) fn did(sent: &Sent, last: &Last) -> Option<bool> {
    if last.action != 0 && last.reference == sent.reference {
        return Some(Outcome(last.result) == Outcome::DONE);
    }
    match sent.before {
        Some(before) if before != *last => None,
        // without a challenge nothing was sent
        _ => Some(false),
    }
}

/// The state, worth what the key is worth that it was checked with.
pub(super) fn status(status: &Status, security: Security) -> SealStatus {
    SealStatus {
        reading: status.reading(),
        complaints: status.complaints(),
        security,
        did_ours: None,
        stored: Some(u32::from(status.stored)),
        raw: status.write().to_vec(),
    }
}

pub(super) fn refused(outcome: Outcome) -> Said {
    let other = |meaning| Rejection::Other { code: outcome.0, meaning };
    Said::Refused(match outcome {
        Outcome::BATTERY_LOW => Rejection::LowVoltage,
        Outcome::SHACKLE_OUT => Rejection::ShackleOut,
        Outcome::IN_ALARM => Rejection::InAlarm,
        Outcome::FACTORY_KEY => return Said::Cannot(Hindrance::FactoryPassword),
        Outcome::STUCK => other("its motor is stuck"),
        Outcome::BAD_BODY => other("it makes no sense of the command, or takes no such time"),
        _ => other("the protocol has no such outcome here"),
    })
}
