//! Who is who: seals, readers, tags and radio addresses, each a type of its own.
//!
//! A seal's number is written as `MAKER-NUMBER`, at most 35 characters, the length EDIFACT gives a seal
//! (`SEL`, data element 9308, an..35). DCSA allows 15 and TPS Online 30; whoever exports to those checks there.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest seal identity, in characters (EDIFACT D.20A, 9308).
pub const SEAL_ID_MAX: usize = 35;
/// Longest reader identity, in characters.
pub const READER_ID_MAX: usize = 32;
/// Longest EPC a Gen2 tag can report, in bytes (31 words).
pub const EPC_MAX: usize = 62;

/// A text that is no identity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a seal identity.
    #[error(
        "`{0}` is no seal number: write MAKER-NUMBER in capitals, digits and dashes, at most {SEAL_ID_MAX} characters, e.g. JT-8000620011"
    )]
    Seal(String),
    /// Not a reader identity.
    #[error("`{0}` is no reader name: write lower-case letters, digits and dashes, at most {READER_ID_MAX} characters, e.g. gate-in-1")]
    Reader(String),
    /// Not a radio address.
    #[error("`{0}` is no Bluetooth address: write six pairs of hex digits, e.g. A4:C1:38:0B:52:01")]
    Address(String),
    /// Not an EPC.
    #[error("`{0}` is no EPC: write whole bytes as hex digits, at most {EPC_MAX} bytes")]
    Epc(String),
}

/// A seal: maker and number, e.g. `JT-8000620011`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealId(String);

impl SealId {
    /// The whole identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of a seal nobody registered, from the address it advertises with: `BLE-A4C1380B5201`.
    #[must_use]
    pub fn unregistered(address: MacAddress) -> Self {
        let [a, b, c, d, e, f] = address.0;
        Self(format!("BLE-{a:02X}{b:02X}{c:02X}{d:02X}{e:02X}{f:02X}"))
    }
}

impl FromStr for SealId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || IdentityError::Seal(text.to_owned());
        let (maker, number) = text.split_once('-').ok_or_else(fault)?;
        let good = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
        if text.len() > SEAL_ID_MAX || maker.contains('-') || !good(maker) || !good(number) {
            return Err(fault());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A reader or radio of this gate: the key of its table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReaderId(String);

impl ReaderId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReaderId {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if text.is_empty() || text.len() > READER_ID_MAX || text.starts_with('-') || !good {
            return Err(IdentityError::Reader(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A Bluetooth device address, in the order people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl FromStr for MacAddress {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || IdentityError::Address(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(fault)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| fault())?;
        }
        if parts.next().is_some() {
            return Err(fault());
        }
        Ok(Self(bytes))
    }
}

/// What a tag calls itself, uninterpreted; at most [`EPC_MAX`] bytes, possibly none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epc(Vec<u8>);

impl Epc {
    /// An EPC from the bytes a reader sent.
    ///
    /// # Errors
    /// [`IdentityError::Epc`] when there are more than [`EPC_MAX`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.len() > EPC_MAX {
            return Err(IdentityError::Epc(hex::encode_upper(bytes)));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes as the reader sent them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Epc {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).map_err(|_| IdentityError::Epc(text.to_owned()))?;
        Self::new(&bytes)
    }
}

impl fmt::Display for SealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ReaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Display for Epc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(&self.0))
    }
}

macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = IdentityError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}
text_form!(SealId, ReaderId, MacAddress, Epc);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_number_has_a_maker_and_at_most_35_characters() {
        assert!("JT-8000620011".parse::<SealId>().is_ok());
        for bad in ["", "JT", "-1", "JT-", "jt-1", "JT 1-2", &format!("JT-{}", "9".repeat(33))] {
            assert!(bad.parse::<SealId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_six_pairs_of_hex_digits_and_nothing_more() {
        assert_eq!("a4:c1:38:0b:52:01".parse::<MacAddress>().unwrap().to_string(), "A4:C1:38:0B:52:01");
        for bad in ["", "A4", "A4:C1:38:0B:52", "A4:C1:38:0B:52:01:02", "A4:C1:38:0B:52:+1", "A4:C1:38:0B:52:0"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unregistered_seal_is_named_by_its_address() {
        let address = "A4:C1:38:0B:52:01".parse().unwrap();
        assert_eq!(SealId::unregistered(address).as_str(), "BLE-A4C1380B5201");
        assert!(SealId::unregistered(address).as_str().parse::<SealId>().is_ok());
    }
}
