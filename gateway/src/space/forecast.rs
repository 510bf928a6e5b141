//! When a disk will run out, from how its free space moved: pure, time comes with every sample.
//!
//! ```text
//!   samples ─┬─► medians of 5 minutes, the last 6 h ──┬─► slope by medians of pairs ─┐ both must fall,
//!            │         older ─► lows per hour, 8 days │   low of 1st / 2nd half ─────┤ the gentler one counts
//!            │                                        └─► below every older low? ────┘
//!            └─► the last 10 minutes as they are ──► the same two, only if it is over within the hour
//! ```
//!
//! What must hold: never a number that is none, never a negative time; a log that grows and is rotated gives no alarm
//! once it is known, a steady leak always does. A short dip (a temporary file) moves the lows and not the median slope;
//! a rotation moves the slope and not the lows; only what moves both is a trend. What was lower before and came back is
//! taken to come back again, until it goes lower than ever.
//!
//! It does not know why space goes, and it forgets everything at a restart: a leak is then noticed after three hours, a
//! sudden fill after five minutes, and the fixed limits of [`super::levels`] hold from the first look.

use std::{collections::VecDeque, time::Duration};

/// Samples within this time become one: their median, so that a temporary file of two minutes is nothing.
const BUCKET: Duration = Duration::from_secs(300);
/// The window for leaks: long enough to hold two turns of what is rotated every three hours.
const WINDOW: Duration = Duration::from_secs(6 * 3600);
/// Before the window spans this, a tooth of an hourly rotation and a leak look the same.
const WINDOW_MIN: Duration = Duration::from_secs(3 * 3600);
/// The window for a sudden fill ...
const SUDDEN: Duration = Duration::from_secs(600);
/// ... which must span at least this, so that one copied file is no trend ...
const SUDDEN_MIN: Duration = Duration::from_secs(300);
/// ... of samples at least this far apart ...
const SUDDEN_STEP: Duration = Duration::from_secs(15);
/// ... and counts only when it is over within this: what is slower is for the long window to judge.
const SUDDEN_AHEAD: Duration = Duration::from_secs(3600);
/// Lows of so many hours before the window are remembered: a week and a day sees what is cleaned weekly.
const HOURS: usize = 192;
const HOUR: Duration = Duration::from_secs(3600);
/// A window's low counts as lower than ever from this part of what the window lost: rotations are not exact.
const LOWER_PART: f64 = 0.25;
/// Samples kept of one bucket; at a look every five seconds there are sixty.
const BUCKET_MAX: usize = 128;
/// What lies further ahead is not worth a word: ten years.
const AHEAD_MAX_S: f64 = 10.0 * 365.0 * 86_400.0;

/// Free space or free inodes at one moment.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Seconds since some fixed moment.
    at: f64,
    free: f64,
}

/// The forecast of one quantity: free bytes, or free inodes.
#[derive(Debug, Default)]
pub struct Forecast {
    last: Option<Duration>,
    bucket: Vec<u64>,
    /// Number of the bucket being filled.
    filling: u64,
    medians: VecDeque<Point>,
    recent: VecDeque<Point>,
    /// Hour and low, before the window.
    lows: VecDeque<(u64, f64)>,
}

impl Forecast {
    /// One more sample, `at` by a monotonic clock; one that is not later than the last is ignored.
    pub fn take(&mut self, at: Duration, free: u64) {
        if self.last.is_some_and(|last| at <= last) {
            return;
        }
        self.last = Some(at);
        let point = Point { at: at.as_secs_f64(), free: wide(free) };
        if self.recent.back().is_none_or(|last| point.at - last.at >= SUDDEN_STEP.as_secs_f64()) {
            self.recent.push_back(point);
        }
        while self.recent.front().is_some_and(|first| point.at - first.at > SUDDEN.as_secs_f64()) {
            self.recent.pop_front();
        }
        let number = at.as_secs() / BUCKET.as_secs();
        if number != self.filling {
            self.close_bucket();
            self.filling = number;
        }
        if self.bucket.len() < BUCKET_MAX {
            self.bucket.push(free);
        }
    }

    /// How long until this little is left, if it is going there at all; zero when it is there already and falling.
    #[must_use]
    pub fn until(&self, left: u64) -> Option<Duration> {
        [self.leak(wide(left)), self.sudden(wide(left))].into_iter().flatten().min()
    }

    fn close_bucket(&mut self) {
        self.bucket.sort_unstable();
        let Some(median) = self.bucket.get(self.bucket.len() / 2).copied() else { return };
        self.bucket.clear();
        let at = (wide(self.filling) + 0.5) * BUCKET.as_secs_f64();
        self.medians.push_back(Point { at, free: wide(median) });
        while let Some(first) = self.medians.front().copied().filter(|first| at - first.at > WINDOW.as_secs_f64()) {
            self.medians.pop_front();
            self.remember(first);
        }
    }

    /// What leaves the window stays as the low of its hour.
    fn remember(&mut self, point: Point) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours since a boot are small and positive")]
        let hour = (point.at / HOUR.as_secs_f64()) as u64;
        match self.lows.back_mut() {
            Some((known, low)) if *known == hour => *low = low.min(point.free),
            _ => self.lows.push_back((hour, point.free)),
        }
        if self.lows.len() > HOURS {
            self.lows.pop_front();
        }
    }

    fn leak(&self, left: f64) -> Option<Duration> {
        let points: Vec<_> = self.medians.iter().copied().collect();
        let trend = Trend::of(&points, WINDOW_MIN)?;
        let low = lowest(&points);
        let lost = points.first()?.free - low;
        let before = self.lows.iter().map(|(_, low)| *low).fold(f64::INFINITY, f64::min);
        let lower_than_ever = before.is_infinite() || before - low >= LOWER_PART * lost;
        if lower_than_ever { trend.until(left) } else { None }
    }

    fn sudden(&self, left: f64) -> Option<Duration> {
        let points: Vec<_> = self.recent.iter().copied().collect();
        Trend::of(&points, SUDDEN_MIN)?.until(left).filter(|ahead| *ahead <= SUDDEN_AHEAD)
    }
}

/// A fall that both witnesses saw.
#[derive(Debug, Clone, Copy)]
struct Trend {
    /// From here ...
    from: f64,
    /// ... down by this much a second.
    rate: f64,
}

impl Trend {
    fn of(points: &[Point], span_min: Duration) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let span = last.at - first.at;
        if span < span_min.as_secs_f64() {
            return None;
        }
        let middle = first.at + span / 2.0;
        let halves = points.split_at(points.partition_point(|point| point.at <= middle));
        let lows = (lowest(halves.0), lowest(halves.1));
        let by_lows = (lows.0 - lows.1) / (span / 2.0);
        let by_pairs = -median_slope(points)?;
        let rate = by_lows.min(by_pairs);
        (rate.is_finite() && rate > 0.0).then_some(Self { from: lows.1, rate })
    }

    fn until(self, left: f64) -> Option<Duration> {
        let ahead = ((self.from - left) / self.rate).max(0.0);
        (ahead <= AHEAD_MAX_S).then(|| Duration::from_secs_f64(ahead))
    }
}

/// The median of the slopes between all pairs (Theil and Sen): up to a third of the points may lie anywhere.
fn median_slope(points: &[Point]) -> Option<f64> {
    let pairs = points.iter().enumerate().flat_map(|(index, a)| points[index + 1..].iter().map(move |b| (a, b)));
    let mut slopes: Vec<f64> = pairs.filter(|(a, b)| b.at > a.at).map(|(a, b)| (b.free - a.free) / (b.at - a.at)).collect();
    let middle = slopes.len() / 2;
    (!slopes.is_empty()).then(|| *slopes.select_nth_unstable_by(middle, f64::total_cmp).1)
}

fn lowest(points: &[Point]) -> f64 {
    points.iter().map(|point| point.free).fold(f64::INFINITY, f64::min)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a disk are far below what a double holds exactly")]
fn wide(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOOK: u64 = 5;
    const MIB: u64 = 1 << 20;

    /// Feeds `free(second)` for so many hours; what it says at each quarter of an hour.
    fn told(hours: u64, mut free: impl FnMut(u64) -> u64) -> Vec<Option<Duration>> {
        let mut forecast = Forecast::default();
        let mut told = Vec::new();
        for second in (0..hours * 3600).step_by(usize::try_from(LOOK).unwrap()) {
            forecast.take(Duration::from_secs(second), free(second));
            if second % 900 == 0 {
                told.push(forecast.until(0));
            }
        }
        told
    }

    /// A small walk of its own kind of chance, so that a property needs no million inputs.
    fn noise(seed: u64, second: u64, size: u64) -> u64 {
        let mixed = (seed ^ second.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        if size == 0 { 0 } else { (mixed >> 33) % size }
    }

    const ALARM: Duration = Duration::from_secs(72 * 3600);

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_seen_the_answer_is_a_time_or_none(
            samples in proptest::collection::vec((0_u64..40_000, any::<u64>()), 0..400),
            left in any::<u64>(),
        ) {
            let mut forecast = Forecast::default();
            let mut at = 0;
            for (step, free) in samples {
                // Also samples that are no later than the one before.
                at += step.saturating_sub(5);
                forecast.take(Duration::from_secs(at), free);
                if let Some(ahead) = forecast.until(left) {
                    prop_assert!(ahead.as_secs_f64().is_finite() && ahead.as_secs_f64() <= AHEAD_MAX_S);
                }
            }
        }

        #[test]
        fn a_steady_leak_is_foretold_within_a_tenth_after_three_hours(
            full_after_h in 8_u64..70, noise_kib in 0_u64..256, seed in any::<u64>(),
        ) {
            let start = 4_096 * MIB;
            let rate = start / (full_after_h * 3600);
            let told = told(7, |s| (start - s * rate).saturating_sub(noise(seed, s, noise_kib * 1024)));
            // At 3 h 15 min and at the end.
            for quarter in [14_u32, 27] {
                let ahead = told[quarter as usize].expect("a leak is a trend").as_secs_f64();
                let right = (full_after_h * 3600) as f64 - f64::from(quarter) * 900.0;
                prop_assert!((ahead - right).abs() <= right / 10.0 + 1800.0, "{ahead} s instead of {right} s");
            }
        }

        #[test]
        fn a_log_that_is_rotated_within_the_hour_and_half_gives_no_alarm(
            period_min in 20_u64..90, tooth_mib in 1_u64..400, floor_mib in 500_u64..4_000, phase in 0_u64..5_400, seed in any::<u64>(),
        ) {
            let period = period_min * 60;
            let told = told(30, |s| {
                let tooth = tooth_mib * MIB * ((s + phase) % period) / period;
                (floor_mib + tooth_mib) * MIB - tooth + noise(seed, s, MIB / 4)
            });
            // What would be full within the hour at the speed of one tooth is a sudden fill, and may be said.
            prop_assume!(floor_mib * period > tooth_mib * 3600 * 2);
            prop_assert!(told.iter().all(|ahead| ahead.is_none_or(|ahead| ahead > ALARM)), "{told:?}");
        }

        #[test]
        fn a_log_that_is_rotated_once_a_day_gives_no_alarm_after_the_first_day(
            period_h in 4_u64..24, tooth_mib in 50_u64..400, floor_mib in 200_u64..1_000, seed in any::<u64>(),
        ) {
            let period = period_h * 3600;
            let told = told(4 * period_h, |s| {
                let tooth = tooth_mib * MIB * (s % period) / period;
                (floor_mib + tooth_mib) * MIB - tooth + noise(seed, s, MIB / 4)
            });
            prop_assume!(floor_mib * period > tooth_mib * 3600 * 2);
            let known = usize::try_from(2 * period_h * 4).unwrap();
            prop_assert!(told[known..].iter().all(|ahead| ahead.is_none_or(|ahead| ahead > ALARM)), "{:?}", &told[known..]);
        }
    }

    #[test]
    fn a_leak_under_a_rotation_is_still_a_leak() {
        let rate = 4_096 * MIB / (60 * 3600);
        let told = told(12, |s| (4_096 * MIB - s * rate).saturating_sub(100 * MIB * (s % 3600) / 3600));
        let ahead = told.last().copied().flatten().expect("a leak is a trend");
        assert!(ahead < ALARM, "{ahead:?}");
    }

    #[test]
    fn a_sudden_fill_is_foretold_after_five_minutes() {
        let told = told(1, |s| if s < 1_800 { 10_000 * MIB } else { 10_000 * MIB - (s - 1_800) * 4 * MIB });
        assert_eq!(told[2], None);
        let ahead = told[3].expect("at this speed the disk is full in half an hour");
        assert!(ahead < Duration::from_secs(3_600), "{ahead:?}");
    }

    #[test]
    fn a_file_of_half_an_hour_is_no_trend() {
        let told = told(12, |s| if (20_000..21_800).contains(&s) { 300 * MIB } else { 1_000 * MIB });
        assert!(told.iter().all(Option::is_none), "{told:?}");
    }

    #[test]
    fn what_begins_to_leak_after_days_of_rest_is_noticed_within_hours() {
        let rest = 100 * 3600;
        let rate = 2_000 * MIB / (48 * 3600);
        let told = told(108, |s| 2_000 * MIB - s.saturating_sub(rest) * rate);
        assert_eq!(told[400], None);
        assert!(told.last().copied().flatten().is_some_and(|ahead| ahead < ALARM), "{:?}", told.last());
    }
}
