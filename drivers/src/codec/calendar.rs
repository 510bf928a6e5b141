//! The date and time seals write: six numbers, `YY MM DD hh mm ss`, each a byte or two decimal digits in one.
//!
//! UTC is written and UTC is read; the makers do not say which zone they mean. A seal that was set by somebody's phone
//! may tell local time until its clock is set from here, which is one more reason why a seal's time is never used as ours.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// 2000-01-01 00:00:00 UTC, seconds since 1970: the first moment two digits of a year can say.
const FIRST: u64 = 946_684_800;
/// 2099-12-31 23:59:59 UTC, seconds since 1970: the last.
const LAST: u64 = 4_102_444_799;

/// A second between 2000 and 2099.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealTime(u64);

impl SealTime {
    /// The second of a wall time. A clock outside 2000 to 2099 is a clock nobody set; it gives the nearest end.
    #[must_use]
    pub fn of(wall: SystemTime) -> Self {
        Self(wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs().clamp(FIRST, LAST))
    }

    /// So many whole seconds later, at most the end of 2099.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()).min(LAST))
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix(self) -> u64 {
        self.0
    }

    /// `YY MM DD hh mm ss`, each a byte.
    #[must_use]
    pub fn to_binary(self) -> [u8; 6] {
        let seconds = i64::try_from(self.0).expect("it is below the end of 2099");
        let at = Timestamp::from_second(seconds).expect("it is between 2000 and 2099").to_zoned(TimeZone::UTC);
        [at.year() - 2000, at.month().into(), at.day().into(), at.hour().into(), at.minute().into(), at.second().into()]
            .map(|part: i16| u8::try_from(part).expect("each part has two digits"))
    }

    /// `YY MM DD hh mm ss`, each two decimal digits in a byte.
    #[must_use]
    pub fn to_bcd(self) -> [u8; 6] {
        self.to_binary().map(|part| ((part / 10) << 4) | (part % 10))
    }

    /// Reads six bytes; `None` when they are no date and time.
    #[must_use]
    pub fn from_binary(bytes: [u8; 6]) -> Option<Self> {
        let [year, month, day, hour, minute, second] = bytes.map(|byte| i8::try_from(byte).unwrap_or(i8::MAX));
        let year = (0..=99).contains(&year).then_some(2000 + i16::from(year))?;
        let at = DateTime::new(year, month, day, hour, minute, second, 0).ok()?.to_zoned(TimeZone::UTC).ok()?;
        u64::try_from(at.timestamp().as_second()).ok().map(Self)
    }

    /// Reads six bytes of two decimal digits; `None` when they are no date and time.
    #[must_use]
    pub fn from_bcd(bytes: [u8; 6]) -> Option<Self> {
        let decimal = bytes.iter().all(|byte| byte >> 4 <= 9 && byte & 0xF <= 9);
        decimal.then(|| Self::from_binary(bytes.map(|byte| (byte >> 4) * 10 + (byte & 0xF)))).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_second_is_written_both_ways() {
        let at = SealTime::of(SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_111_400));
        assert_eq!(at.to_binary(), [26, 7, 15, 10, 30, 0]);
        assert_eq!(at.to_bcd(), [0x26, 0x07, 0x15, 0x10, 0x30, 0x00]);
        assert_eq!(at.later(Duration::from_millis(1999)).to_bcd()[5], 1);
    }

    #[test]
    fn a_clock_nobody_set_gives_the_first_second_and_never_panics() {
        assert_eq!(SealTime::of(SystemTime::UNIX_EPOCH).to_binary(), [0, 1, 1, 0, 0, 0]);
        let late = SealTime::of(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40));
        assert_eq!((late.to_binary(), late.later(Duration::MAX)), ([99, 12, 31, 23, 59, 59], late));
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for bytes in [[26, 2, 30, 0, 0, 0], [26, 0, 1, 0, 0, 0], [26, 1, 1, 24, 0, 0], [100, 1, 1, 0, 0, 0], [255; 6]] {
            assert_eq!(SealTime::from_binary(bytes), None, "{bytes:?}");
        }
        assert_eq!(SealTime::from_bcd([0x26, 0x0A, 1, 0, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn every_second_comes_back_as_it_was_written(second in FIRST..=LAST) {
            let at = SealTime(second);
            prop_assert_eq!(SealTime::from_binary(at.to_binary()), Some(at));
            prop_assert_eq!(SealTime::from_bcd(at.to_bcd()), Some(at));
        }

        #[test]
        fn later_seconds_have_greater_numbers(a in FIRST..LAST, by in 1u64..100_000) {
            let (a, b) = (SealTime(a), SealTime(a).later(Duration::from_secs(by)));
            prop_assert!(a == b || a.to_bcd() < b.to_bcd());
        }

        #[test]
        fn any_six_bytes_are_a_time_or_none(bytes in any::<[u8; 6]>()) {
            if let Some(at) = SealTime::from_binary(bytes) {
                prop_assert_eq!(at.to_binary(), bytes);
            }
            let _ = SealTime::from_bcd(bytes);
        }
    }
}
