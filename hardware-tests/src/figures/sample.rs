//! Many measurements of one thing, and how they read.

use std::time::Duration;

/// Durations, in the order they were taken.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Duration>);

impl Samples {
    pub(super) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The smallest that at least this many of a hundred do not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1)) - 1;
        sorted.get(place).copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The longest.
    pub(super) fn longest(&self) -> Duration {
        self.percentile(100)
    }

    /// How many took longer than this.
    pub(super) fn over(&self, bound: Duration) -> usize {
        self.0.iter().filter(|took| **took > bound).count()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// The middle one of these; of an even number the upper.
pub(super) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many a second.
pub(super) fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// As milliseconds.
pub(super) fn ms(took: Duration) -> String {
    format!("{:.3} ms", took.as_secs_f64() * 1e3)
}

/// As so many a second, with thousands set apart.
pub(super) fn per_second(rate: f64) -> String {
    format!("{} /s", thousands(rate))
}

/// A whole number with thousands set apart.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
