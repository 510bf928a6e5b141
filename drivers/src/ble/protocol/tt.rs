//! TOTARGET TT-Series BLE-ELOCK A7.

use super::{Exchange, Moment, Ports, Protocol, ProtocolName, Rating};
use crate::{Action, Hindrance, Security, ble::KnownSeal};

/// TOTARGET TT-Series BLE-ELOCK A7.
#[derive(Debug, Clone, Copy)]
pub struct Tt;

impl Protocol for Tt {
    fn name(&self) -> ProtocolName {
        ProtocolName::TtElock
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
