//! Which events are due for the archive: pure, from their numbers, times and clocks.
//!
//! ```text
//!   front │ 1 2 3 4 5 6 7 8 9 ...
//!           o o ? ? o o n            o old by a clock that was worth something   ? its clock was worth nothing
//!           └─── due ─┘              n too young: here it ends, whatever follows
//! ```
//!
//! What must hold: nothing above what every outlet that counts has confirmed; nothing younger than the age asked for.
//! An event whose own clock was not to be trusted, or whose time lies in our future, says nothing about its age: it is
//! due only when an event after it is, for the numbers say which came first. A segment is bounded in events and bytes.

use std::{ops::ControlFlow, time::Duration};

use jiff::Timestamp;

use crate::event::{ClockQuality, Seq};

/// How large a segment becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most documents in one.
    pub events: u64,
    /// Most bytes of documents in one; a single document beyond it makes one alone.
    pub bytes: u64,
}

impl Default for Limits {
    /// 50,000 events make 200 files of ten million, and their receipt one in 50,000. 32 MiB are copied to any medium in
    /// seconds, and opened by any tool of today and of ten years from now.
    fn default() -> Self {
        Self { events: 50_000, bytes: 32 << 20 }
    }
}

/// An event past its retention by this much is sealed though its segment is not full: a day's segment of a quiet class
/// is small, and a year has 365 of them.
pub const PATIENCE: Duration = Duration::from_secs(86_400);

/// What age is old enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Any.
    Any,
    /// Wall time not after `horizon`; `now` is our own trusted time.
    Before {
        /// The youngest time that is due.
        horizon: Timestamp,
        /// Now; a time after it cannot be right.
        now: Timestamp,
    },
}

/// One event, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub seq: Seq,
    /// Its wall time.
    pub wall: Timestamp,
    /// What that was worth.
    pub clock: ClockQuality,
    /// Length of its document in bytes, with the line end it gets in the file.
    pub bytes: u64,
}

/// What is known of one event's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Due,
    Young,
    Unknown,
}

impl Age {
    fn of(self, seen: &Seen) -> Standing {
        match self {
            Self::Any => Standing::Due,
            Self::Before { now, .. } if seen.clock == ClockQuality::Untrusted || seen.wall > now => Standing::Unknown,
            Self::Before { horizon, .. } if seen.wall <= horizon => Standing::Due,
            Self::Before { .. } => Standing::Young,
        }
    }
}

/// Whether a segment that begins with this event may be sealed at all, before anything else is looked at.
#[must_use]
pub fn may_begin(age: Age, first: &Seen) -> bool {
    age.of(first) != Standing::Young
}

/// The events that make the next segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The last number.
    pub last: Seq,
    /// The wall time of the first of them that is known to be due; none when any age is.
    pub oldest: Option<Timestamp>,
    /// Whether no more fits.
    pub full: bool,
}

impl Extent {
    /// Whether it is worth a file now: full, or waiting longer than [`PATIENCE`].
    #[must_use]
    pub fn is_ripe(&self, age: Age) -> bool {
        let overdue = |horizon: Timestamp, oldest: Timestamp| {
            horizon.as_second().saturating_sub(oldest.as_second()) >= i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX)
        };
        match age {
            Age::Any => true,
            Age::Before { horizon, .. } => self.full || self.oldest.is_some_and(|oldest| overdue(horizon, oldest)),
        }
    }
}

/// Looks at events in order, from the front on, until it knows the next segment.
#[derive(Debug)]
pub struct Survey {
    age: Age,
    confirmed: Seq,
    limits: Limits,
    /// The last that fits, and what all up to it weigh.
    fitting: (Seq, u64, u64),
    full: bool,
    certain: Seq,
    oldest: Option<Timestamp>,
}

impl Survey {
    /// A survey of what comes after `front`, confirmed up to `confirmed`.
    #[must_use]
    pub fn new(front: Seq, confirmed: Seq, age: Age, limits: Limits) -> Self {
        Self { age, confirmed, limits, fitting: (front, 0, 0), full: false, certain: front, oldest: None }
    }

    /// Looks at the next event; breaks when it has seen enough.
    pub fn look(&mut self, seen: &Seen) -> ControlFlow<()> {
        if seen.seq > self.confirmed {
            return ControlFlow::Break(());
        }
        match self.age.of(seen) {
            Standing::Young => return ControlFlow::Break(()),
            Standing::Unknown => {}
            Standing::Due => {
                self.certain = seen.seq;
                self.oldest.get_or_insert(seen.wall);
            }
        }
        let (_, count, bytes) = self.fitting;
        if !self.full && (count == 0 || (count < self.limits.events && bytes + seen.bytes <= self.limits.bytes)) {
            self.fitting = (seen.seq, count + 1, bytes + seen.bytes);
            self.full = count + 1 == self.limits.events;
        } else {
            self.full = true;
        }
        if self.full && self.certain >= self.fitting.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The next segment, if anything is due.
    #[must_use]
    pub fn extent(&self, front: Seq) -> Option<Extent> {
        let last = self.certain.min(self.fitting.0);
        (last > front).then_some(Extent { last, oldest: self.oldest, full: self.full && last == self.fitting.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Older than thirty days.
    fn month() -> Age {
        Age::Before { horizon: time(NOW - 30 * DAY), now: time(NOW) }
    }

    fn seen(seq: u64, age_days: i64, clock: ClockQuality) -> Seen {
        Seen { seq: Seq(seq), wall: time(NOW - age_days * DAY), clock, bytes: 100 }
    }

    /// Ages in days, from number 1; `?` are those whose clock was worth nothing.
    fn survey(events: &[(i64, bool)], confirmed: u64, age: Age, limits: Limits) -> Option<Extent> {
        let mut survey = Survey::new(Seq::NONE, Seq(confirmed), age, limits);
        for (at, (days, trusted)) in events.iter().enumerate() {
            let clock = if *trusted { ClockQuality::Rtc } else { ClockQuality::Untrusted };
            if survey.look(&seen(at as u64 + 1, *days, clock)).is_break() {
                break;
            }
        }
        survey.extent(Seq::NONE)
    }

    fn last(events: &[(i64, bool)], confirmed: u64) -> Option<u64> {
        survey(events, confirmed, month(), Limits::default()).map(|extent| extent.last.0)
    }

    #[test]
    fn nothing_above_the_cursor_and_nothing_younger_than_the_retention_is_due() {
        let events = [(40, true), (35, true), (31, true), (29, true), (50, true)];
        assert_eq!(last(&events, 5), Some(3), "an old time after a young one is not believed");
        assert_eq!(last(&events, 2), Some(2));
        assert_eq!(last(&events, 0), None);
        assert_eq!(last(&[(29, true), (50, true)], 2), None);
        assert_eq!(last(&[], 9), None);
        assert!(!may_begin(month(), &seen(1, 29, ClockQuality::Ntp)));
    }

    #[test]
    fn an_event_without_a_trusted_time_is_as_old_as_one_after_it() {
        assert_eq!(last(&[(20_000, false), (20_000, false), (29, true)], 3), None, "1970 is no age");
        assert_eq!(last(&[(20_000, false), (20_000, false), (31, true)], 3), Some(3));
        assert_eq!(last(&[(31, true), (20_000, false), (29, true)], 3), Some(1));
        assert_eq!(last(&[(-400, true), (31, true)], 2), Some(2), "a time in our future was wrong, the next says how old it is");
        assert_eq!(last(&[(-400, true), (29, true)], 2), None);
    }

    #[test]
    fn a_segment_is_bounded_in_events_and_bytes() {
        let old = [(40, true); 10];
        let cut = |events, bytes| survey(&old, 10, month(), Limits { events, bytes }).unwrap();
        assert_eq!(cut(4, 10_000), Extent { last: Seq(4), oldest: Some(time(NOW - 40 * DAY)), full: true });
        assert_eq!((cut(100, 350).last, cut(100, 350).full), (Seq(3), true));
        assert_eq!((cut(100, 50).last, cut(100, 50).full), (Seq(1), true), "one document larger than a segment makes one");
        assert_eq!((cut(100, 10_000).last, cut(100, 10_000).full), (Seq(10), false));
        // The look goes on through what has no age until it is known to be due.
        let mut unknown = [(20_000, false); 10];
        unknown[9] = (31, true);
        let found = survey(&unknown, 10, month(), Limits { events: 4, bytes: 10_000 }).unwrap();
        assert_eq!((found.last, found.full), (Seq(4), true));
    }

    #[test]
    fn a_segment_waits_until_it_is_full_or_a_day_late() {
        let ripe = |days, full| Extent { last: Seq(9), oldest: Some(time(NOW - days * DAY)), full }.is_ripe(month());
        assert!(ripe(30, true));
        assert!(!ripe(30, false));
        assert!(ripe(31, false));
        assert!(Extent { last: Seq(9), oldest: None, full: false }.is_ripe(Age::Any));
    }

    #[test]
    fn any_age_still_stops_at_the_cursor() {
        let young = [(0, true), (0, false), (-5, true)];
        let found = |confirmed| survey(&young, confirmed, Age::Any, Limits::default()).map(|extent| extent.last.0);
        assert_eq!((found(3), found(1), found(0)), (Some(3), Some(1), None));
    }
}
