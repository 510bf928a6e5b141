//! Seals that speak the segel open seal protocol v1 (`docs/seal-protocol.md`; frames in [`crate::codec::segel_v1`]).
//!
//! ```text
//!   HELLO ─► CHALLENGE (checked, state) ─► it stands so already, or COMMAND ─► RESULT (checked)
//! ```
//!
//! What must hold: nothing that moves the seal is written before the seal has proven that it has its key; a code that
//! does not fit is a wrong credential and never passed over; stored events are confirmed only when they are on disk.

mod exchange;
#[cfg(test)]
mod tests;

use uuid::Uuid;

use super::{Advertised, Exchange, Moment, Ports, Protocol, ProtocolName, Rating, WriteAck};
use crate::{
    Action, AdvertRefusal, Hindrance, Security,
    ble::{AirFrame, KnownSeal, Payload},
    codec::{
        bthome::SealKey,
        segel_v1::{ANSWER, AdvertFault, REQUEST, REQUEST_LEN, SERVICE, att, read_advert},
    },
};

/// The segel open seal protocol v1.
#[derive(Debug, Clone, Copy)]
pub struct SegelSeal;

/// The number that goes into every derived key: the seal's printed identity, or what was registered instead.
fn number(seal: &KnownSeal) -> &str {
    seal.credentials.device_number.as_deref().unwrap_or_else(|| seal.seal.as_str())
}

/// The key it left the factory with protects nothing.
fn is_factory(key: &SealKey) -> bool {
    key.bytes() == &[0; 16]
}

/// What an answer that fits the key is worth.
fn security_of(key: &SealKey) -> Security {
    if is_factory(key) { Security::ClaimOnly } else { Security::Authenticated }
}

impl Protocol for SegelSeal {
    fn name(&self) -> ProtocolName {
        ProtocolName::Segel
    }

    fn rating(&self, seal: &KnownSeal) -> Rating {
        match &seal.credentials.key {
            Some(key) if !is_factory(key) => Rating {
                security: security_of(key),
                reason: "each command and each answer is bound to a fresh challenge and checked with a key of this seal alone; a recording is worthless",
            },
            Some(key) => Rating { security: security_of(key), reason: "its key is still the factory's, all zero, and known to everybody" },
            None => Rating { security: Security::ClaimOnly, reason: "there is no key for it here, so nothing it says can be checked" },
        }
    }

    fn actions(&self) -> &'static [Action] {
        &[Action::ReadState, Action::Unlock, Action::Lock, Action::DrainLog, Action::SetTime]
    }

    fn ports(&self) -> Ports {
        Ports::Fixed { service: SERVICE, write: REQUEST, notify: ANSWER, ack: WriteAck::Acknowledged, piece: REQUEST_LEN }
    }

    fn says_later(&self, att: u8) -> bool {
        matches!(att, att::WAIT | att::BUSY)
    }

    fn service_data(&self) -> Option<Uuid> {
        Some(SERVICE)
    }

    fn advert(&self, seal: &KnownSeal, frame: &AirFrame) -> Option<Result<Advertised, AdvertRefusal>> {
        let Payload::ServiceData { uuid, bytes } = &frame.payload else { return None };
        if *uuid != SERVICE {
            return None;
        }
        // a code made with a key everybody knows proves nothing
        let key = seal.credentials.key.as_ref().filter(|key| !is_factory(key));
        let read = read_advert(key, number(seal), bytes);
        Some(read.map(|advert| Advertised { reading: advert.reading, protection: advert.protection }).map_err(|fault| match fault {
            AdvertFault::BadCode => AdvertRefusal::BadCode,
            AdvertFault::Malformed => AdvertRefusal::Malformed,
        }))
    }

    fn exchange(&self, action: Action, seal: &KnownSeal, now: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        let key = seal.credentials.key.clone().ok_or(Hindrance::NoCredential { what: "key" })?;
        if is_factory(&key) && action == Action::Lock {
            return Err(Hindrance::FactoryPassword);
        }
        Ok(Box::new(exchange::Talk::new(action, key, number(seal), now)))
    }
}
