//! TOTARGET TT-Series BLE-ELOCK A7, a container lock with a rod. The format is in [`crate::codec::tt`].
//!
//! ```text
//!   ── 12, 31, 37 or 20 ──►
//!   ◄── 01 heartbeat ────      told, and answered with 01 (at any moment, also in the middle of a command)
//!   ◄── 03, 04, 05 alarm ─      told
//!   ◄── 62, 8x, 9x, 20 ───      the answer, or what it tells when somebody works its keyboard: told
//! ```
//!
//! What must hold: the command goes out once; what is told as an alarm in an answer is told before the answer is given;
//! a frame whose check does not fit, an answer of another lock and an answer in the clear despite a key end the exchange
//! without anything of them being used.
//!
//! An answer bears no mark of the command it answers: a late one to an earlier command of the same kind cannot be told
//! from ours. So the characteristic is never read again for an answer that did not come (it may still hold the last
//! one); the session reads the state instead.

mod exchange;

use super::{Exchange, Moment, Ports, Protocol, ProtocolName, Rating, device_number};
use crate::{
    Action, Hindrance, Security,
    ble::KnownSeal,
    codec::{
        calendar::SealTime,
        tt::{Access, Command, LockId, PASSWORD_LEN},
    },
};

use exchange::TtExchange;

/// Longest piece written at once, in bytes: what fits into the smallest connection there is. The maker's kit does the same.
const PIECE: usize = 20;

/// TOTARGET TT-Series BLE-ELOCK A7.
#[derive(Debug, Clone, Copy)]
pub struct Tt;

impl Protocol for Tt {
    fn name(&self) -> ProtocolName {
        ProtocolName::TtElock
    }

    fn rating(&self, seal: &KnownSeal) -> Rating {
        let reason = match seal.credentials.key {
            Some(_) => {
                "its password and the time of the command are encrypted block by block without a challenge: a recorded command can be played again, and its answers prove nothing"
            }
            None => {
                "its password crosses the air in the clear beside a time: whoever listens once can open it, and anybody can answer in its name"
            }
        };
        Rating { security: Security::Weak, reason }
    }

    fn actions(&self) -> &'static [Action] {
        &[Action::ReadState, Action::Lock, Action::Unlock, Action::SetTime]
    }

    fn ports(&self) -> Ports {
        Ports::AnyPair { piece: PIECE }
    }

    fn exchange(&self, action: Action, seal: &KnownSeal, now: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        let at = SealTime::of(now.wall);
        let lock = lock_id(seal)?;
        let command = match action {
            Action::ReadState => Command::State(access(seal, lock, at)?),
            Action::Lock => {
                if seal.credentials.password.as_ref().is_some_and(crate::Password::is_factory) {
                    return Err(Hindrance::FactoryPassword);
                }
                Command::Lock(access(seal, lock, at)?)
            }
            Action::Unlock => Command::Unlock(access(seal, lock, at)?),
            Action::SetTime => Command::SetTime(at),
            Action::DrainLog => return Err(Hindrance::CannotDo { protocol: self.name(), action }),
        };
        Ok(Box::new(TtExchange::new(action, &command, lock, seal.credentials.key.clone(), at)))
    }
}

fn lock_id(seal: &KnownSeal) -> Result<LockId, Hindrance> {
    let wrong = |_| Hindrance::WrongCredential { what: "device number", detail: "a TT lock has 8 digits".to_owned() };
    device_number(seal).parse().map_err(wrong)
}

fn access(seal: &KnownSeal, lock: LockId, at: SealTime) -> Result<Access, Hindrance> {
    let password = seal.credentials.password.as_ref().ok_or(Hindrance::NoCredential { what: "password" })?;
    let digits = <[u8; PASSWORD_LEN]>::try_from(password.as_bytes()).ok().filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let wrong = || Hindrance::WrongCredential { what: "password", detail: "a TT lock has 6 digits".to_owned() };
    Ok(Access { lock, password: digits.ok_or_else(wrong)?, at })
}

#[cfg(test)]
pub(super) mod bench;
#[cfg(test)]
mod tests;
