//! What opens a seal: its key, its password, its own number. They can be used and compared, never printed.

use std::{fmt, str::FromStr};

use zeroize::ZeroizeOnDrop;

use crate::SealKey;

/// Longest password any protocol here has, in bytes.
pub const PASSWORD_MAX: usize = 16;
/// Longest number a seal calls itself by, in characters.
pub const DEVICE_NUMBER_MAX: usize = 20;

/// Passwords seals leave the factory with, by the makers' manuals and by what everybody tries first: all digits alike,
/// and the runs below.
const FACTORY_RUNS: [&str; 6] = ["123456", "654321", "012345", "112233", "123123", "12345678"];

/// The password of a seal.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Password(Vec<u8>);

impl Password {
    /// Its bytes, to be written to a seal and nowhere else.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is one that seals leave the factory with, or that anybody tries first.
    #[must_use]
    pub fn is_factory(&self) -> bool {
        let alike = self.0.first().is_some_and(|first| self.0.iter().all(|byte| byte == first));
        alike || FACTORY_RUNS.iter().any(|run| run.as_bytes() == self.0)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(not shown)")
    }
}

/// Text that is no password. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a seal's password: write 1 to {PASSWORD_MAX} letters or digits")]
pub struct NoPasswordError;

impl FromStr for Password {
    type Err = NoPasswordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = !text.is_empty() && text.len() <= PASSWORD_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if good { Ok(Self(text.as_bytes().to_vec())) } else { Err(NoPasswordError) }
    }
}

/// What the gate has for one seal. What a protocol needs and is not here is a [`crate::Hindrance::NoCredential`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Its 128-bit key.
    pub key: Option<SealKey>,
    /// Its password.
    pub password: Option<Password>,
    /// The number it calls itself by in its own frames, where that is not the number part of its [`crate::SealId`].
    pub device_number: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factory_passwords_are_known_and_others_are_not() {
        let factory = |text: &str| text.parse::<Password>().unwrap().is_factory();
        for text in ["888888", "000000", "111111", "123456", "00000000", "112233"] {
            assert!(factory(text), "{text}");
        }
        for text in ["888887", "739164", "a1b2c3"] {
            assert!(!factory(text), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", Credentials { password: Some("739164".parse().unwrap()), ..Credentials::default() });
        assert!(!shown.contains("739164") && !shown.contains("55, 51"), "{shown}");
    }
}
