//! NokeLock / Oklok.

use super::{Exchange, Moment, Ports, Protocol, ProtocolName, Rating};
use crate::{Action, Hindrance, Security, ble::KnownSeal};

/// NokeLock / Oklok.
#[derive(Debug, Clone, Copy)]
pub struct NokeLock;

impl Protocol for NokeLock {
    fn name(&self) -> ProtocolName {
        ProtocolName::NokeLock
    }

    fn rating(&self, _: &KnownSeal) -> Rating {
        Rating { security: Security::ClaimOnly, reason: "nothing of it is read yet but that it is heard" }
    }

    fn actions(&self) -> &'static [Action] {
        &[]
    }

    fn ports(&self) -> Ports {
        Ports::None
    }

    fn exchange(&self, action: Action, _: &KnownSeal, _: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        Err(Hindrance::CannotDo { protocol: self.name(), action })
    }
}
