//! The seals a gate knows: the register named by `gate.seals_file`, with the keys and passwords of `gate.seal_keys`.
//!
//! A seal may be known by its radio address, by the tag on it, by both or by neither. With a key its advertisements
//! are authenticated; a key in the register makes that file secret.

use segel_drivers::{Credentials, Epc, MacAddress, SealId, ble::KnownSeal, ble::protocol::ProtocolName};

use crate::container::ContainerNumber;

/// One seal of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSeal {
    /// Maker and number.
    pub id: SealId,
    /// The address it advertises with, if it has a radio.
    pub address: Option<MacAddress>,
    /// What it speaks.
    pub protocol: ProtocolName,
    /// Its key, password and own number, as far as it has them.
    pub credentials: Credentials,
    /// The tag on it, if it has one.
    pub epc: Option<Epc>,
    /// The container it is registered for; flagged, never corrected, when the check digit is wrong.
    pub container: Option<ContainerNumber>,
}

impl RegisteredSeal {
    /// The seal as the radios know it.
    #[must_use]
    pub fn known(&self) -> KnownSeal {
        KnownSeal { seal: self.id.clone(), protocol: self.protocol, credentials: self.credentials.clone() }
    }

    /// Whether it has a key or a password.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.credentials.key.is_some() || self.credentials.password.is_some()
    }
}

/// The seals a gate knows; no identity, address or EPC occurs twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SealRegister(Vec<RegisteredSeal>);

impl SealRegister {
    pub(super) fn new(seals: Vec<RegisteredSeal>) -> Self {
        Self(seals)
    }

    /// Every seal, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, RegisteredSeal> {
        self.0.iter()
    }

    /// How many seals are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a SealRegister {
    type Item = &'a RegisteredSeal;
    type IntoIter = std::slice::Iter<'a, RegisteredSeal>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
