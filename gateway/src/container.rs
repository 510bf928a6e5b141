//! Container numbers (ISO 6346): four letters, six digits, one check digit.
//!
//! A number with a wrong check digit is flagged and kept as it was written. Real papers and real boxes carry wrong
//! ones, and a gate that corrects or drops a number hides the box that went through it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest equipment number accepted, in characters (ISO 6346 has 11; EDIFACT D.20A, 8260, allows an..17).
pub const CONTAINER_MAX: usize = 17;

/// What ISO 6346 says of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iso6346 {
    /// Form and check digit agree with the standard.
    Good,
    /// The form is right and the last digit is not the one the standard computes.
    WrongCheckDigit {
        /// The digit the first ten characters ask for, 0 to 9.
        expected: u8,
    },
    /// Not four letters (the fourth U, J or Z) and seven digits.
    NotIso,
}

/// A container number as somebody wrote it: capitals and digits, 1 to [`CONTAINER_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerNumber(String);

/// A text that cannot be a container number at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no container number: write capitals and digits without spaces, e.g. CSQU3054383")]
pub struct ContainerNumberError(String);

impl ContainerNumber {
    /// The number as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What ISO 6346 says of it.
    #[must_use]
    pub fn iso6346(&self) -> Iso6346 {
        iso6346(&self.0)
    }
}

impl FromStr for ContainerNumber {
    type Err = ContainerNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if text.is_empty() || text.len() > CONTAINER_MAX || !good {
            return Err(ContainerNumberError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContainerNumber {
    type Error = ContainerNumberError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContainerNumber> for String {
    fn from(number: ContainerNumber) -> Self {
        number.0
    }
}

impl fmt::Display for ContainerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a number against ISO 6346: letters count 10 upwards without the multiples of 11, each position weighs
/// twice the one before it, and the sum modulo 11 is the check digit (a remainder of 10 is written 0).
#[must_use]
pub fn iso6346(number: &str) -> Iso6346 {
    let Some((letters, digits)) = number.as_bytes().split_at_checked(4) else { return Iso6346::NotIso };
    let form = digits.len() == 7
        && letters.iter().all(u8::is_ascii_uppercase)
        && matches!(letters[3], b'U' | b'J' | b'Z')
        && digits.iter().all(u8::is_ascii_digit);
    if !form {
        return Iso6346::NotIso;
    }
    let sum: u32 = letters.iter().chain(&digits[..6]).zip(0..).map(|(byte, place)| value(*byte) << place).sum();
    let expected = u8::try_from(sum % 11 % 10).expect("a remainder modulo 10 fits a byte");
    if digits[6] - b'0' == expected { Iso6346::Good } else { Iso6346::WrongCheckDigit { expected } }
}

/// The value of one character: a digit is itself, A is 10, and 11, 22 and 33 belong to no letter.
fn value(byte: u8) -> u32 {
    if byte.is_ascii_digit() {
        return u32::from(byte - b'0');
    }
    let plain = u32::from(byte - b'A') + 10;
    plain + (plain - 1) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_skip_the_multiples_of_eleven() {
        let all: Vec<u32> = (b'A'..=b'Z').map(value).collect();
        assert_eq!(all[..3], [10, 12, 13]);
        assert_eq!((value(b'K'), value(b'L'), value(b'U'), value(b'V'), value(b'Z')), (21, 23, 32, 34, 38));
        assert!(all.iter().all(|value| value % 11 != 0));
    }

    #[test]
    fn numbers_seen_on_boxes_are_good_also_when_the_remainder_is_ten() {
        let good = ["CSQU3054383", "MSKU9070323", "APZU4812090", "HLXU2008419", "MSCU6639870", "MEDU8707688", "TEMU6079348"];
        for number in good.into_iter().chain(["TASU1170000", "TEMU0000080"]) {
            assert_eq!(iso6346(number), Iso6346::Good, "{number}");
        }
    }

    #[test]
    fn a_wrong_check_digit_names_the_right_one_and_corrects_nothing() {
        assert_eq!(iso6346("TCLU4265452"), Iso6346::WrongCheckDigit { expected: 4 });
        assert_eq!(iso6346("OOLU8014563"), Iso6346::WrongCheckDigit { expected: 4 });
        assert_eq!("TCLU4265452".parse::<ContainerNumber>().unwrap().as_str(), "TCLU4265452");
    }

    #[test]
    fn other_forms_are_kept_and_flagged_and_impossible_ones_refused() {
        for number in ["APNR7744962", "CSQU305438", "CSQU30543833", "1SQU3054383", "CSQ", "TRUCK7"] {
            assert_eq!(iso6346(number), Iso6346::NotIso, "{number}");
            assert!(number.parse::<ContainerNumber>().is_ok(), "{number}");
        }
        for bad in ["", "csqu3054383", "CSQU 3054383", "CSQU3054383CSQU305"] {
            assert!(bad.parse::<ContainerNumber>().is_err(), "{bad}");
        }
        assert_eq!(iso6346("\u{e9}\u{e9}\u{e9}"), Iso6346::NotIso);
    }
}
