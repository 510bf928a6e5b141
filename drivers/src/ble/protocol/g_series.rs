//! G-Series (IMZ / Bander V11), a container lock. The format is in [`crate::codec::g_series`].
//!
//! ```text
//!   lock, unlock   listen 1 s ─► 0310 (24 = 01 or 00) ─► short answer, or answer, or both: the long one counts
//!   read           listen 2 s ─► 0312 (30) ─► its state ─► listen 1 s ─► 0312 (94) ─► its battery, or no battery
//! ```
//!
//! What must hold: a command goes out once; an answer is only used when it answers our command and its checks fit; what
//! came in the clear is believed when it is a refusal and never when it is a success or a state; so a short answer that
//! says done, three bytes without a check, ends the exchange as if none had come, and reading the state decides.
//!
//! The serial of a command is the wall time, in whole seconds, and the lock takes none twice and none that goes back.
//! Nothing is kept for that: every command waits a second of silence and bears the time this exchange was made plus
//! what it waited, so it is never ahead of the clock and always above the last, also that of another exchange or of
//! this program before a restart. When the clock went back, the lock answers 04: [`crate::Rejection::Stale`], until the
//! clock is past the last serial again. A gate whose clock ran ahead once can lock itself out for as long; nothing
//! here can set that right. Reading begins with two seconds because locks move in spite of results 01 and 17, and need
//! that long to show it; what comes meanwhile is late and is dropped.

mod exchange;

use std::time::Duration;

use super::{Exchange, Moment, Ports, Protocol, ProtocolName, Rating, WriteAck};
use crate::{
    Action, Hindrance, LockClaim, Password, SealKey, Security,
    ble::KnownSeal,
    codec::{
        calendar::SealTime,
        g_series::{NOTIFY, SERVICE, WRITE},
    },
};

use exchange::{GExchange, Goal};

/// Longest piece written at once, in bytes: what fits into the smallest connection there is. The maker's kit does the same.
const PIECE: usize = 20;
/// What makes one serial higher than the last.
const BEFORE_COMMAND: Duration = Duration::from_secs(1);
/// How long a lock may take to show that it moved.
const BEFORE_READING: Duration = Duration::from_secs(2);

/// G-Series (IMZ / Bander V11).
#[derive(Debug, Clone, Copy)]
pub struct GSeries;

impl Protocol for GSeries {
    fn name(&self) -> ProtocolName {
        ProtocolName::GSeries
    }

    fn rating(&self, _: &KnownSeal) -> Rating {
        Rating {
            security: Security::Weak,
            reason: "its commands are encrypted with AES-128, block by block, and must bear a rising serial, but the lock asks no question of its own: a command held back can be delivered late, and its answers can be old ones or need no key at all",
        }
    }

    fn actions(&self) -> &'static [Action] {
        &[Action::ReadState, Action::Lock, Action::Unlock]
    }

    fn ports(&self) -> Ports {
        Ports::Fixed { service: SERVICE, write: WRITE, notify: NOTIFY, ack: WriteAck::Acknowledged, piece: PIECE }
    }

    fn exchange(&self, action: Action, seal: &KnownSeal, now: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        let (goal, wait) = match action {
            Action::ReadState => (Goal::Read, BEFORE_READING),
            Action::Lock => (Goal::Set(LockClaim::Locked), BEFORE_COMMAND),
            Action::Unlock => (Goal::Set(LockClaim::Unlocked), BEFORE_COMMAND),
            Action::DrainLog | Action::SetTime => return Err(Hindrance::CannotDo { protocol: self.name(), action }),
        };
        let key = seal.credentials.key.clone().ok_or(Hindrance::NoCredential { what: "key" })?;
        let factory = is_factory(&key) || seal.credentials.password.as_ref().is_some_and(Password::is_factory);
        if action == Action::Lock && factory {
            return Err(Hindrance::FactoryPassword);
        }
        Ok(Box::new(GExchange::new(goal, key, SealTime::of(now.wall), now.random, wait)))
    }
}

/// All bytes alike: nobody's own key.
fn is_factory(key: &SealKey) -> bool {
    key.bytes().iter().all(|byte| *byte == key.bytes()[0])
}

#[cfg(test)]
mod tests;
