//! How many events a journal is to hold, as a person writes it: `10k`, `1m`, `2500`.

use std::{fmt, str::FromStr};

use super::sample::thousands;

/// Fewer say nothing: the parts take more samples than that.
const LEAST: usize = 1_000;
/// More than a gate records in many months, and more than the disks this is run on hold.
const MOST: usize = 50_000_000;
/// What the command runs when no sizes are named ...
const USUAL: [usize; 3] = [10_000, 1_000_000, 10_000_000];
/// ... and what it runs then with `--quick`.
const QUICK: [usize; 2] = [2_000, 20_000];

/// A number of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) usize);

/// A text that names no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SizeError {
    #[error("`{0}` is no number of events: write digits, with `k` for thousands or `m` for millions behind them, as in 10k,1m,10m")]
    NotANumber(String),
    #[error("`{0}` is outside {least} to {most} events: name a size between them", least = thousands(LEAST as f64), most = thousands(MOST as f64))]
    Outside(String),
}

/// Several sizes with commas between them, the smallest first and each once; empty for the usual ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes(Vec<Size>);

impl Sizes {
    /// What is to be run; `usual` sizes when none were named.
    pub(super) fn or_usual(&self, quick: bool) -> Vec<Size> {
        let usual: &[usize] = if quick { &QUICK } else { &USUAL };
        if self.0.is_empty() { usual.iter().copied().map(Size).collect() } else { self.0.clone() }
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || SizeError::NotANumber(text.chars().take(60).collect());
        let (digits, times) = match text.as_bytes().last() {
            Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
            Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
            _ => (text, 1),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        // So many digits that they do not fit are too many events, not a slip of the pen.
        let number = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(times));
        let within = number.filter(|number| (LEAST..=MOST).contains(number));
        within.map(Self).ok_or_else(|| SizeError::Outside(text.chars().take(60).collect()))
    }
}

impl FromStr for Sizes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut sizes = text.split(',').map(|size| size.trim().parse()).collect::<Result<Vec<Size>, _>>()?;
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Self(sizes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&thousands(self.0 as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Result<Vec<usize>, String> {
        let sizes: Sizes = text.parse().map_err(|error: SizeError| error.to_string())?;
        Ok(sizes.or_usual(false).into_iter().map(|size| size.0).collect())
    }

    #[test]
    fn sizes_are_read_as_people_write_them_smallest_first_and_once() {
        assert_eq!(sizes("10m,10k, 1M,10000").unwrap(), [10_000, 1_000_000, 10_000_000]);
        assert_eq!(sizes("2500").unwrap(), [2_500]);
    }

    #[test]
    fn no_sizes_are_the_usual_ones_and_quick_ones_are_small() {
        assert_eq!(sizes("").unwrap(), USUAL);
        assert_eq!(Sizes(Vec::new()).or_usual(true), QUICK.map(Size));
    }

    #[test]
    fn what_is_no_number_is_named_with_the_remedy() {
        for wrong in ["many", "10x", "k", "-5", "1.5m", "10k,,1m", "10k;1m", "ten", "1 m", "µ"] {
            let error = sizes(wrong).unwrap_err();
            assert!(error.contains("is no number of events") && error.contains("10k,1m,10m"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_too_small_or_too_large_is_told_the_bounds() {
        for wrong in ["999", "0", "51m", "99999999999999999999999", "18446744073709551615k"] {
            let error = sizes(wrong).unwrap_err();
            assert!(error.contains(wrong) && error.contains("1,000 to 50,000,000 events"), "{wrong}: {error}");
        }
    }
}
