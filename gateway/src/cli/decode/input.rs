//! What is typed: hex as people copy it, keys and passwords that are not shown again.

use std::{fs::File, io::Read as _, path::Path};

use segel_drivers::SealKey;

/// Longest text that is read, in bytes: the longest frame with a comment around it.
pub(super) const TEXT_MAX: u64 = 64 * 1_024;
/// Longest frame, in bytes: well above the longest of any protocol here.
pub(super) const FRAME_MAX: usize = 1_024;
/// How much of what was typed is repeated in a fault, in characters.
const SHOWN_MAX: usize = 12;

/// Why what was typed cannot be read. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// Nothing was given.
    #[error("no bytes: write the frame in hex after the protocol, or - to read it from standard input")]
    Empty,
    /// Something that is no hex digit.
    #[error("`{shown}` at character {at} is not hex: write digits 0-9 and a-f; spaces, colons, commas, dashes and 0x are passed over")]
    NotHex {
        /// What.
        shown: String,
        /// Where, counted from 1.
        at: usize,
    },
    /// Half a byte.
    #[error("{0} hex digits make no whole bytes: one is missing or one too many")]
    Odd(usize),
    /// More than any frame.
    #[error("{0} bytes: no frame has more than {FRAME_MAX}; give one frame at a time")]
    TooLong(usize),
    /// More text than is read.
    #[error("{0} holds more than {TEXT_MAX} bytes: give one frame at a time")]
    TooMuch(String),
    /// A file or standard input.
    #[error("cannot read {name}: {cause}")]
    Unread {
        /// Which.
        name: String,
        /// Why.
        cause: String,
    },
    /// No key.
    #[error("the key is not one: write {0} hex digits (it is not repeated here)")]
    Key(&'static str),
    /// No password.
    #[error("the password is not one: a seal's has 1 to 16 letters and digits (it is not repeated here)")]
    Password,
}

/// Something typed that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Takes a secret from the command line. It never fails, so the text is never repeated in a fault of the command line.
#[expect(clippy::unnecessary_wraps, reason = "what a parser of the command line returns")]
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// The text of a file.
pub(super) fn file(path: &Path) -> Result<String, InputFault> {
    let name = path.display().to_string();
    let unread = |cause: std::io::Error| InputFault::Unread { name: name.clone(), cause: cause.to_string() };
    let mut text = String::new();
    File::open(path).map_err(unread)?.take(TEXT_MAX + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > TEXT_MAX {
        return Err(InputFault::TooMuch(name));
    }
    Ok(text)
}

/// Lines without what follows a `#`.
pub(super) fn uncommented(text: &str) -> String {
    text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The bytes hex text stands for.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, InputFault> {
    if text.len() as u64 > TEXT_MAX {
        return Err(InputFault::TooMuch("what was given".to_owned()));
    }
    let digits = digits(text)?;
    match digits.len() {
        0 => Err(InputFault::Empty),
        odd if odd % 2 == 1 => Err(InputFault::Odd(odd)),
        even if even / 2 > FRAME_MAX => Err(InputFault::TooLong(even / 2)),
        _ => Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()),
    }
}

/// The digits, one each, without what people write between them.
fn digits(text: &str) -> Result<Vec<u8>, InputFault> {
    let mut digits = Vec::new();
    let mut rest = text.char_indices().enumerate().peekable();
    while let Some((at, (byte_at, letter))) = rest.next() {
        match letter.to_digit(16) {
            // 0x is no digit where a number begins
            Some(0) if matches!(rest.peek(), Some((_, (_, 'x' | 'X')))) => {
                rest.next();
            }
            Some(digit) => digits.push(u8::try_from(digit).expect("a hex digit")),
            None if letter.is_whitespace() || matches!(letter, ':' | ',' | '-' | '_' | ';') => {}
            None => {
                let shown = text[byte_at..].split_whitespace().next().unwrap_or_default().chars().take(SHOWN_MAX).collect();
                return Err(InputFault::NotHex { shown, at: at + 1 });
            }
        }
    }
    Ok(digits)
}

/// Whether a key of 4 bytes is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShortKey {
    /// It is; zeros are put before it.
    Allowed,
    /// It is not.
    No,
}

/// A key; nothing of what is wrong with it is repeated.
pub(super) fn key(secret: &Secret, short: ShortKey) -> Result<SealKey, InputFault> {
    let wanted = InputFault::Key(if short == ShortKey::Allowed { "8 or 32" } else { "32" });
    let mut key = bytes(secret.text()).map_err(|_| wanted.clone())?;
    if short == ShortKey::Allowed && key.len() == 4 {
        key.splice(..0, [0; 12]);
    }
    <[u8; 16]>::try_from(key).map(SealKey::new).map_err(|_| wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hex_is_read_as_people_copy_it() {
        for text in ["440009", "44 00 09", "44:00:09", "0x44 0x00 0x09", "0X440009", "44-00-09\n", "44,00,09", "  44\t00\r\n09"] {
            assert_eq!(bytes(text), Ok(vec![0x44, 0, 9]), "{text:?}");
        }
        assert_eq!(bytes("00 0x00"), Ok(vec![0, 0]), "a zero is a zero");
        assert_eq!(uncommented("44 00 # the seal at the gate\n09\n# 55"), "44 00 \n09\n");
    }

    #[test]
    fn what_is_no_hex_is_named_with_its_place_and_what_to_do() {
        assert_eq!(bytes(""), Err(InputFault::Empty));
        assert_eq!(bytes(" : "), Err(InputFault::Empty));
        assert_eq!(bytes("440"), Err(InputFault::Odd(3)));
        assert_eq!(bytes("44 0g9"), Err(InputFault::NotHex { shown: "g9".into(), at: 5 }));
        assert_eq!(bytes("4é"), Err(InputFault::NotHex { shown: "é".into(), at: 2 }));
        assert_eq!(bytes(&"00".repeat(FRAME_MAX + 1)), Err(InputFault::TooLong(FRAME_MAX + 1)));
        assert!(bytes(&"00".repeat(FRAME_MAX)).is_ok());
        assert!(matches!(bytes(&" ".repeat(70_000)), Err(InputFault::TooMuch(_))));
    }

    #[test]
    fn a_wrong_key_is_not_repeated() {
        for text in ["231d39c1", "231d39c1d7cc1ab1aee224cd096db9zz", "", "231d39c1d7cc1ab1aee224cd096db93200"] {
            let fault = key(&Secret::new(text.into()), ShortKey::No).unwrap_err().to_string();
            assert!(!fault.contains("231d") && fault.contains("32 hex digits"), "{fault}");
        }
        assert!(key(&Secret::new("231d39c1".into()), ShortKey::Allowed).is_ok());
        assert_eq!(format!("{:?}", Secret::new("231d".into())), "Secret(not shown)");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = bytes(&text);
            let _ = bytes(&uncommented(&text));
        }

        #[test]
        fn what_hex_is_written_from_is_read(frame in prop::collection::vec(any::<u8>(), 1..64)) {
            prop_assert_eq!(bytes(&hex::encode(&frame)), Ok(frame));
        }
    }
}
