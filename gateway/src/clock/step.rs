//! Whether the wall clock stepped: wall time against time since boot, from one look to the next.
//!
//! What must hold: a step is told once, with its size and the time before and after it, whether it happened while this
//! process ran or between two runs of one boot; a slew, a sleep of the machine and a busy processor are no steps. Time
//! since boot counts the sleep too, so the two clocks stay together through it; and because they cannot be read at one
//! moment, a look that took long is taken again.
//!
//! Two steps within one look are one, with the size of both: nobody saw the time between them.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::wall_of;
use crate::event::BootId;

/// Wall and monotonic time may drift apart this much between two looks before it is called a step: NTP slews at
/// most 0.5 ms a second, so a second in a look of a few seconds is no slew.
pub const STEP_THRESHOLD: Duration = Duration::from_secs(1);
/// How much of the time between two looks a slew can make: NTP's 500 millionths.
const SLEW_PART: u32 = 2_000;
/// A look whose three readings lie further apart than this is taken again ...
const TOGETHER: Duration = Duration::from_millis(20);
/// ... at most so often: then the machine is that busy, and the threshold has room for it.
const LOOKS_MAX: usize = 8;

/// All clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// The clock of durations: stands still while the machine sleeps.
    pub instant: Instant,
    /// Since the machine booted, sleep included.
    pub since_boot: Duration,
    /// What people call the time.
    pub wall: SystemTime,
}

impl Reading {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..LOOKS_MAX {
            let before = since_boot();
            let (instant, wall) = (Instant::now(), SystemTime::now());
            let took = since_boot().saturating_sub(before);
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, Self { instant, since_boot: before + took / 2, wall }));
            }
            if took <= TOGETHER {
                break;
            }
        }
        best.map_or_else(|| Self { instant: Instant::now(), since_boot: since_boot(), wall: SystemTime::now() }, |(_, reading)| reading)
    }
}

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// One step of the wall clock. This is also the body of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// By how many milliseconds; positive: forwards.
    pub step_ms: i64,
    /// What the time would have been without it.
    pub before: Timestamp,
    /// What it is.
    pub after: Timestamp,
    /// Whether it happened while this process ran.
    pub seen: Seen,
}

/// When a step happened, as far as this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// Within the last look.
    Running,
    /// While no gateway ran, or in the moment before the last one was killed.
    BetweenRuns,
}

/// Where wall time stood against time since boot, kept so that the next run of the same boot can compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The boot it is of.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub since_boot_ms: u64,
    /// Wall time then, in milliseconds since 1970.
    pub wall_ms: i64,
}

/// Watches wall time against time since boot and tells of steps.
#[derive(Debug)]
pub struct StepWatch {
    boot: BootId,
    last: Reading,
}

impl StepWatch {
    /// Starts watching at `now`; the step since the mark of an earlier run of this boot, if there was one.
    #[must_use]
    pub fn resume(boot: BootId, mark: Option<Mark>, now: Reading) -> (Self, Option<Step>) {
        let step = mark.filter(|mark| mark.boot == boot).and_then(|mark| {
            let since_boot = signed(now.since_boot) - i64::try_from(mark.since_boot_ms).unwrap_or(i64::MAX);
            let elapsed = Duration::from_millis(u64::try_from(since_boot).ok()?);
            step(mark.wall_ms.saturating_add(since_boot), now, elapsed, Seen::BetweenRuns)
        });
        (Self { boot, last: now }, step)
    }

    /// The step since the last look, if there was one.
    pub fn look(&mut self, now: Reading) -> Option<Step> {
        let last = std::mem::replace(&mut self.last, now);
        let elapsed = now.since_boot.saturating_sub(last.since_boot);
        step(millis(last.wall).saturating_add(signed(elapsed)), now, elapsed, Seen::Running)
    }

    /// Time since boot at the last look.
    #[must_use]
    pub const fn since_boot(&self) -> Duration {
        self.last.since_boot
    }

    /// Where the clocks stood at the last look.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let since_boot_ms = u64::try_from(self.last.since_boot.as_millis()).unwrap_or(u64::MAX);
        Mark { boot: self.boot, since_boot_ms, wall_ms: millis(self.last.wall) }
    }
}

fn step(expected_ms: i64, now: Reading, elapsed: Duration, seen: Seen) -> Option<Step> {
    let step_ms = millis(now.wall).saturating_sub(expected_ms);
    let before = Timestamp::from_millisecond(expected_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let slewed = STEP_THRESHOLD + elapsed / SLEW_PART;
    (step_ms.saturating_abs() >= signed(slewed)).then_some(Step { step_ms, before, after: wall_of(now.wall), seen })
}

fn millis(wall: SystemTime) -> i64 {
    wall_of(wall).as_millisecond()
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOOT: BootId = BootId(uuid::Uuid::from_u128(1));

    fn reading(wall_s: i64, since_boot_s: u64) -> Reading {
        let wall = Timestamp::from_second(wall_s).unwrap().into();
        Reading { instant: Instant::now(), since_boot: Duration::from_secs(since_boot_s), wall }
    }

    fn watch(from: Reading) -> StepWatch {
        StepWatch::resume(BOOT, None, from).0
    }

    #[test]
    fn a_step_is_told_once_with_its_size_and_both_times_and_a_slew_is_not() {
        let mut watch = watch(reading(1_000_000, 100));
        assert_eq!(watch.look(reading(1_000_010, 110)), None);
        let forward = watch.look(reading(1_000_311, 111)).unwrap();
        assert_eq!((forward.step_ms, forward.seen), (300_000, Seen::Running));
        assert_eq!((forward.before.as_second(), forward.after.as_second()), (1_000_011, 1_000_311));
        assert_eq!(watch.look(reading(1_000_312, 112)), None);
        let back = watch.look(reading(312, 113)).unwrap();
        assert_eq!((back.step_ms, back.before.as_second(), back.after.as_second()), (-1_000_001_000, 1_000_313, 312));
        // A minute of slewing at NTP's most: 30 ms.
        let slewed = Reading { wall: reading(372, 173).wall + Duration::from_millis(30), ..reading(372, 173) };
        assert_eq!(watch.look(slewed), None);
    }

    #[test]
    fn a_clock_from_1970_is_set_in_one_step_of_its_whole_size() {
        let mut watch = watch(reading(12, 10));
        let step = watch.look(reading(1_795_000_013, 11)).unwrap();
        assert_eq!((step.step_ms, step.before.as_second()), (1_795_000_000_000, 13));
    }

    #[test]
    fn a_night_asleep_is_no_step() {
        let mut watch = watch(reading(1_000_000, 100));
        // Both clocks went on through the sleep; the instant did not, and does not matter.
        assert_eq!(watch.look(reading(1_028_800, 28_900)), None);
    }

    #[test]
    fn a_step_between_two_runs_of_one_boot_is_told_by_the_second_and_only_once() {
        let first = watch(reading(1_000_000, 100));
        let (second, step) = StepWatch::resume(BOOT, Some(first.mark()), reading(996_500, 200));
        let step = step.unwrap();
        assert_eq!((step.step_ms, step.seen), (-3_600_000, Seen::BetweenRuns));
        assert_eq!(StepWatch::resume(BOOT, Some(second.mark()), reading(996_600, 300)).1, None);
    }

    #[test]
    fn a_mark_of_another_boot_says_nothing_and_days_of_slewing_are_no_step() {
        let mark = watch(reading(1_000_000, 100)).mark();
        let other = BootId(uuid::Uuid::from_u128(2));
        assert_eq!(StepWatch::resume(other, Some(mark), reading(5, 10)).1, None);
        assert_eq!(StepWatch::resume(BOOT, Some(mark), reading(1_086_440, 86_500)).1, None, "40 s in a day are a slew");
        assert!(StepWatch::resume(BOOT, Some(mark), reading(1_086_500, 86_500)).1.is_some(), "100 s are not");
    }

    #[test]
    fn all_clocks_of_this_machine_are_read_together() {
        let (first, second) = (Reading::now(), Reading::now());
        assert!(second.since_boot >= first.since_boot && second.instant >= first.instant);
        assert_eq!(watch(first).look(second), None);
    }

    proptest! {
        #[test]
        fn every_step_is_told_with_its_size_and_nothing_else_is(
            looks in proptest::collection::vec((1_u64..5, prop_oneof![Just(0), 2_i64..2_000_000, -2_000_000_i64..-1]), 1..60),
        ) {
            let (mut wall, mut since_boot) = (1_000_000_000, 100);
            let mut watch = watch(reading(wall, since_boot));
            for (elapsed, by) in looks {
                since_boot += elapsed;
                wall += i64::try_from(elapsed).unwrap() + by;
                let step = watch.look(reading(wall, since_boot));
                prop_assert_eq!(step.map(|step| step.step_ms), (by != 0).then_some(by * 1_000));
            }
        }
    }
}
