//! The seals a gate knows: the second file, named by `gate.seals_file`.
//!
//! A seal may be known by its radio address, by the tag on it, by both or by neither. With a key its advertisements
//! are authenticated; the key makes the file secret.

use segel_drivers::{Epc, MacAddress, SealId, SealKey};

use crate::container::ContainerNumber;

/// One seal of the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredSeal {
    /// Maker and number.
    pub id: SealId,
    /// The address it advertises with, if it has a radio.
    pub address: Option<MacAddress>,
    /// Its key, if it protects what it advertises.
    pub key: Option<SealKey>,
    /// The tag on it, if it has one.
    pub epc: Option<Epc>,
    /// The container it is registered for; flagged, never corrected, when the check digit is wrong.
    pub container: Option<ContainerNumber>,
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
