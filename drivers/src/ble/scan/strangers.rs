//! How much time devices that are not registered may cost.
//!
//! A new device's first advertisement has to be asked for, and while it is, nothing else is looked at. A car park full of
//! telephones that change their addresses must not keep an alarm waiting: in each second only so much is spent on them.
//! What is not asked for is heard with the next advertisement.

use std::time::{Duration, Instant};

/// In each second so much may go into asking about strangers: BlueZ answers in a millisecond, so that is a hundred of them.
const EACH_SECOND: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// What is left of the present second.
#[derive(Debug)]
pub(super) struct Allowance {
    since: Instant,
    spent: Duration,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, spent: Duration::ZERO }
    }

    /// How long the next stranger may be asked about; `None` when this second's time is spent.
    pub(super) fn left(&mut self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.since) >= SECOND {
            *self = Self::new(now);
        }
        EACH_SECOND.checked_sub(self.spent).filter(|left| !left.is_zero())
    }

    /// One was asked about from then till now.
    pub(super) fn spend(&mut self, from: Instant, now: Instant) {
        self.spent += now.saturating_duration_since(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cost_a_quarter_of_each_second_at_most_however_many_and_however_slow() {
        for slow in [1, 20, 249, 2000].map(Duration::from_millis) {
            let mut now = Instant::now();
            let begin = now;
            let mut allowance = Allowance::new(now);
            let (mut asked, mut spent) = (0, Duration::ZERO);
            while now - begin < 10 * SECOND {
                match allowance.left(now) {
                    Some(left) => {
                        let took = slow.min(left);
                        allowance.spend(now, now + took);
                        (asked, spent, now) = (asked + 1, spent + took, now + took);
                    }
                    None => now += Duration::from_millis(1),
                }
            }
            assert!(asked >= 10, "some are asked about in each second");
            assert!(spent <= 10 * EACH_SECOND, "{spent:?} for answers that take {slow:?}");
        }
    }
}
