//! How old an event is, and how sure that is: pure.
//!
//! ```text
//!   same boot                    monotonic   exact, whatever the wall clock did
//!   other boot, both times good  wall        what two kept clocks say
//!   other boot, both plausible   unchecked   what two battery clocks say: perhaps wrong
//!   otherwise                    at least    this boot is at least as old: only that is known
//! ```
//!
//! What must hold: never negative, never a thousand years.

use serde::{Deserialize, Serialize};

use crate::event::{ClockQuality, Stamp};

/// Nothing waits longer at a gate than a container in a yard; what is older by the wall clock is a wrong clock.
const AGE_MAX_S: u64 = 5 * 365 * 86_400;

/// How an age is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeBasis {
    /// By the monotonic clock of this boot.
    Monotonic,
    /// By wall times that were both kept by a time server.
    Wall,
    /// By wall times of which one was never checked: perhaps wrong.
    Unchecked,
    /// The wall times are of no use; it is from an earlier boot or run, so at least so old.
    AtLeast,
}

impl AgeBasis {
    /// Whether the age can be relied on.
    #[must_use]
    pub const fn is_certain(self) -> bool {
        matches!(self, Self::Monotonic | Self::Wall)
    }
}

/// An age in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Seconds, never negative.
    pub seconds: u64,
    /// How it is known.
    pub basis: AgeBasis,
}

/// The age of something stamped `then`, as of `now`; `floor_s` is how long ago anything of another boot was at least.
#[must_use]
pub(super) fn age(then: &Stamp, now: &Stamp, floor_s: u64) -> Age {
    if then.boot == now.boot {
        let seconds = now.monotonic_ms.saturating_sub(then.monotonic_ms) / 1_000;
        return Age { seconds, basis: AgeBasis::Monotonic };
    }
    let at_least = Age { seconds: floor_s, basis: AgeBasis::AtLeast };
    if then.clock == ClockQuality::Untrusted || now.clock == ClockQuality::Untrusted {
        return at_least;
    }
    let between = now.wall.as_second() - then.wall.as_second();
    let Some(seconds) = u64::try_from(between).ok().filter(|seconds| (floor_s..=AGE_MAX_S.max(floor_s)).contains(seconds)) else {
        return at_least;
    };
    let kept = |clock| matches!(clock, ClockQuality::Ntp | ClockQuality::Holdover);
    let basis = if kept(then.clock) && kept(now.clock) { AgeBasis::Wall } else { AgeBasis::Unchecked };
    Age { seconds, basis }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::event::BootId;

    fn stamp(boot: u128, wall_s: i64, mono_s: u64, clock: ClockQuality) -> Stamp {
        let wall = Timestamp::from_second(wall_s).unwrap();
        Stamp { wall, monotonic_ms: mono_s * 1_000, boot: BootId(uuid::Uuid::from_u128(boot)), clock }
    }

    #[test]
    fn within_a_boot_the_age_is_exact_whatever_the_wall_clock_says() {
        let then = stamp(1, 0, 100, ClockQuality::Untrusted);
        let now = stamp(1, 1_795_000_000, 160, ClockQuality::Ntp);
        assert_eq!(age(&then, &now, 160), Age { seconds: 60, basis: AgeBasis::Monotonic });
    }

    #[test]
    fn over_a_boot_two_kept_clocks_are_believed_and_a_battery_clock_is_flagged() {
        let then = |clock| stamp(1, 1_795_000_000, 9_000, clock);
        let now = |clock| stamp(2, 1_795_003_600, 600, clock);
        assert_eq!(age(&then(ClockQuality::Ntp), &now(ClockQuality::Holdover), 600), Age { seconds: 3_600, basis: AgeBasis::Wall });
        let unchecked = Age { seconds: 3_600, basis: AgeBasis::Unchecked };
        assert_eq!(age(&then(ClockQuality::Rtc), &now(ClockQuality::Ntp), 600), unchecked);
        assert!(!unchecked.basis.is_certain());
    }

    #[test]
    fn an_alarm_from_1970_is_not_half_a_century_old() {
        let then = stamp(1, 30, 30, ClockQuality::Untrusted);
        let now = stamp(2, 1_795_000_000, 600, ClockQuality::Ntp);
        assert_eq!(age(&then, &now, 600), Age { seconds: 600, basis: AgeBasis::AtLeast });
    }

    #[test]
    fn an_alarm_from_the_future_is_at_least_as_old_as_this_boot() {
        let then = stamp(1, 1_900_000_000, 30, ClockQuality::Rtc);
        assert_eq!(age(&then, &stamp(2, 1_795_000_000, 600, ClockQuality::Rtc), 600).basis, AgeBasis::AtLeast);
        assert_eq!(age(&then, &stamp(2, 1_900_000_060, 600, ClockQuality::Rtc), 600).seconds, 600, "it cannot be younger than this boot");
    }

    proptest! {
        #[test]
        fn no_age_is_a_thousand_years(
            boots in (0_u128..2, 0_u128..2), walls in (0_i64..200_000_000_000, 0_i64..200_000_000_000),
            monos in (0_u64..100_000_000, 0_u64..100_000_000), clocks in (0_usize..4, 0_usize..4),
        ) {
            let then = stamp(boots.0, walls.0, monos.0, ClockQuality::ALL[clocks.0]);
            let now = stamp(boots.1, walls.1, monos.1, ClockQuality::ALL[clocks.1]);
            prop_assert!(age(&then, &now, monos.1).seconds <= AGE_MAX_S);
        }
    }
}
