//! How long to wait before calling customs again.
//!
//! When customs' broker restarts, every gate of a port loses its link in the same second. If they all came back
//! after the same pause they would knock it over again, so the pause is drawn at random ("decorrelated jitter"):
//!
//! ```text
//!   first pause   uniform in floor ..= first
//!   next pause    uniform in floor ..= min(cap, 3 × the pause before)
//! ```
//!
//! The upper *bound* is clamped to the cap, not the drawn value: clamping the value would let gates that have
//! failed for long meet again exactly at the cap. A link that comes up and falls at once is no success, so
//! the pause starts over only after a link that was up for `stable_after`.
//!
//! Pure: no clock, no global randomness; the same random source gives the same pauses.

use std::time::Duration;

use rand::{Rng, RngExt};

/// How fast the pause may grow from one failure to the next.
const GROWTH: u32 = 3;

/// The bounds of the pauses between two attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackoffConfig {
    /// No pause is shorter. Keeps a broker that refuses at once from being asked in a tight loop.
    pub floor: Duration,
    /// Upper bound of the first pause: the window over which the gates of a port spread after they all lost the link together.
    pub first: Duration,
    /// No pause is longer: how late a gate may notice, at worst, that customs is back.
    pub cap: Duration,
}

impl Default for BackoffConfig {
    /// 1 s, 10 s and 2 min: after a common failure no second sees more than a quarter of the gates, and once customs stays
    /// away a gate calls about every half minute.
    fn default() -> Self {
        Self { floor: Duration::from_secs(1), first: Duration::from_secs(10), cap: Duration::from_secs(120) }
    }
}

/// What the next pause depends on.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    stable_after: Duration,
    previous: Option<Duration>,
}

impl Backoff {
    /// Starts over only after a link that was up for at least `stable_after`.
    #[must_use]
    pub fn new(config: BackoffConfig, stable_after: Duration) -> Self {
        Self { config, stable_after, previous: None }
    }

    /// A link was lost after having been up for `up_for`.
    pub fn lost(&mut self, up_for: Duration) {
        if up_for >= self.stable_after {
            self.previous = None;
        }
    }

    /// How long to wait before the next attempt; at least the floor and never more than the cap.
    pub fn pause<R: Rng + ?Sized>(&mut self, random: &mut R) -> Duration {
        let upper = self.previous.map_or(self.config.first, |previous| previous.saturating_mul(GROWTH));
        let upper = upper.min(self.config.cap);
        let floor = self.config.floor.min(upper);
        let pause = random.random_range(floor..=upper);
        self.previous = Some(pause.max(self.config.floor));
        pause
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const STABLE: Duration = Duration::from_secs(60);

    /// The seconds at which each of a thousand gates calls within `span`, if every call fails.
    fn calls_per_second(span: Duration) -> BTreeMap<u64, usize> {
        let mut calls = BTreeMap::new();
        for gate in 0..1_000 {
            let mut random = StdRng::seed_from_u64(gate);
            let mut backoff = Backoff::new(BackoffConfig::default(), STABLE);
            let mut at = Duration::ZERO;
            loop {
                at += backoff.pause(&mut random);
                if at >= span {
                    break;
                }
                *calls.entry(at.as_secs()).or_default() += 1;
            }
        }
        calls
    }

    #[test]
    fn a_thousand_gates_spread_over_the_window() {
        let calls = calls_per_second(Duration::from_secs(600));
        // The first pause is uniform over nine seconds: 111 gates a second, plus those that have already failed once or twice.
        let busiest = calls.values().max().copied().unwrap();
        assert!(busiest <= 250, "{busiest} of 1000 gates call in the same second");
        // Once customs has been away for minutes, the calls are thin and stay spread.
        let late: Vec<usize> = (300..600).map(|second| calls.get(&second).copied().unwrap_or(0)).collect();
        let busiest_late = late.iter().max().copied().unwrap();
        assert!(busiest_late <= 60, "{busiest_late} of 1000 gates meet in one late second");
        assert!(late.iter().filter(|&&count| count == 0).count() < 10, "the calls come in clumps");
    }

    proptest! {
        #[test]
        fn backoff_never_exceeds_its_cap(
            seed: u64, floor in 0u64..5_000, first in 0u64..20_000, cap in 0u64..300_000, stable in proptest::collection::vec(any::<bool>(), 1..200),
        ) {
            let config = BackoffConfig {
                floor: Duration::from_millis(floor), first: Duration::from_millis(first), cap: Duration::from_millis(cap),
            };
            let mut random = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(config.clone(), STABLE);
            for was_stable in stable {
                backoff.lost(if was_stable { STABLE } else { Duration::ZERO });
                let pause = backoff.pause(&mut random);
                prop_assert!(pause <= config.cap, "{pause:?}");
                prop_assert!(pause >= config.floor.min(config.cap).min(config.first), "{pause:?}");
            }
        }
    }

    #[test]
    fn the_same_random_source_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let mut backoff = Backoff::new(BackoffConfig::default(), STABLE);
            (0..50).map(|_| backoff.pause(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }

    #[test]
    fn only_a_stable_link_starts_over() {
        let mut random = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(BackoffConfig::default(), STABLE);
        // Long failure: the pauses reach beyond the first window.
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            longest = longest.max(backoff.pause(&mut random));
        }
        assert!(longest > Duration::from_secs(60));
        while backoff.previous.unwrap() < Duration::from_secs(40) {
            backoff.pause(&mut random);
        }
        let before = backoff.previous;
        backoff.lost(STABLE - Duration::from_millis(1));
        assert_eq!(backoff.previous, before, "a flapping link must not start over");
        backoff.lost(STABLE);
        assert!(backoff.pause(&mut random) <= BackoffConfig::default().first);
    }
}
