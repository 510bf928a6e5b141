//! How much room there is, in words that have consequences: pure.
//!
//! ```text
//!   Plenty ⇄ Low      an alarm before it happens; everything is still recorded
//!     ⇅   ⇄  Scarce   telemetry is refused and counted; alarms and receipts are recorded
//!   any  ─► Failed    the file system is read-only or does not answer: nothing can be recorded
//! ```
//!
//! What must hold: each change is told once, and a value that trembles around a limit makes no second one: the way back
//! needs a quarter more than the way in, and a forecast must have stayed good for some minutes. When the writer met a
//! full disk although enough seemed free (a quota, blocks kept for root), that counts as scarce until it writes again,
//! and each time it happens anew the level stays for longer. Scarce ends only when the writer takes telemetry again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::Room;

/// The way back from a limit needs this part more than the limit.
const BACK_PART: u64 = 4;
/// A forecast is good again from half as much again.
const AHEAD_BACK: (u32, u32) = (3, 2);
/// ... and when nothing was wrong for so long: two turns of the sudden window's half.
const CALM: Duration = Duration::from_secs(300);
/// When the writer met a full disk by itself the level stays at least this long after it writes again, ...
const HOLD_FIRST: Duration = Duration::from_secs(30);
/// ... twice as long when it happens again within this, up to this.
const HOLD_CAP: Duration = Duration::from_secs(600);
/// Inodes: the journal needs three and the reserve one; below this nobody else can make files either.
pub const INODES_LOW: u64 = 1_024;

/// Where the levels begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Free bytes below which space is low.
    pub warn_bytes: u64,
    /// Free bytes below which telemetry is refused.
    pub scarce_bytes: u64,
    /// Space is low when telemetry would be refused sooner than this.
    pub warn_ahead: Duration,
}

/// What the file system said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It answered.
    Answer {
        /// Bytes the daemon's user may still take.
        free_bytes: u64,
        /// Inodes it may still take; none where the file system has no such limit.
        free_inodes: Option<u64>,
        /// How long until telemetry will be refused, or inodes are gone, by the forecast.
        ahead: Option<Duration>,
    },
    /// It is mounted read-only.
    ReadOnly,
    /// It does not answer, or with an error.
    Silent,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Enough.
    Plenty,
    /// Enough now, and not for long.
    Low,
    /// Telemetry is refused.
    Scarce,
    /// Nothing can be recorded.
    Failed,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Plenty => "plenty",
            Self::Low => "low",
            Self::Scarce => "scarce",
            Self::Failed => "failed",
        })
    }
}

/// Why it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nothing is wrong.
    Well,
    /// Free bytes are below the limit.
    Bytes,
    /// Free inodes are below the limit.
    Inodes,
    /// The forecast says it will be full soon.
    Forecast,
    /// A write met a full disk although enough seemed free: a quota, or blocks kept for root.
    MetFull,
    /// The file system is read-only.
    ReadOnly,
    /// The file system does not answer.
    Silent,
}

/// One change of level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Level,
    /// What it is now.
    pub to: Level,
    /// Why.
    pub why: Why,
}

/// The levels of one file system.
#[derive(Debug)]
pub struct Levels {
    limits: Limits,
    level: Level,
    why: Why,
    /// Since when nothing has been wrong, while the level is still low.
    calm: Option<Duration>,
    met_full: Option<MetFull>,
    asks: Room,
}

/// The writer met a full disk by itself.
#[derive(Debug, Clone, Copy)]
struct MetFull {
    until: Duration,
    hold: Duration,
}

impl Levels {
    /// Levels that begin with plenty, so that the first look tells what is wrong.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, level: Level::Plenty, why: Why::Well, calm: None, met_full: None, asks: Room::Plenty }
    }

    /// The level now.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Why it is so.
    #[must_use]
    pub const fn why(&self) -> Why {
        self.why
    }

    /// What the journal is to be told.
    #[must_use]
    pub const fn asks(&self) -> Room {
        self.asks
    }

    /// What a look at `at` (monotonic) means, while the journal's writer says it has this `room`; a change only when the
    /// level is another.
    pub fn on_look(&mut self, at: Duration, seen: Seen, room: Room) -> Option<Change> {
        let calm = self.calm.take();
        let (to, why) = match seen {
            Seen::ReadOnly => (Level::Failed, Why::ReadOnly),
            Seen::Silent => (Level::Failed, Why::Silent),
            Seen::Answer { free_bytes, free_inodes, ahead } => {
                let judged = self.judge(free_bytes, free_inodes, ahead);
                // A writer that meets a full disk where everybody sees a full disk is no riddle.
                let full = judged.0 != Level::Scarce && self.is_met_full(at, room);
                self.asks = if judged.0 == Level::Scarce { Room::Scarce } else { Room::Plenty };
                match judged {
                    (Level::Low | Level::Plenty, _) if full => (Level::Scarce, Why::MetFull),
                    // It has only now been told, or is still making its reserve anew.
                    (Level::Low | Level::Plenty, _) if self.level == Level::Scarce && room == Room::Scarce => (Level::Scarce, self.why),
                    (Level::Plenty, _) if self.level == Level::Low => self.calmly(at, calm),
                    _ => judged,
                }
            }
        };
        let from = std::mem::replace(&mut self.level, to);
        self.why = why;
        (from != to).then_some(Change { from, to, why })
    }

    /// From low to plenty only after a time without a worry.
    fn calmly(&mut self, at: Duration, since: Option<Duration>) -> (Level, Why) {
        let since = since.unwrap_or(at);
        if at.saturating_sub(since) >= CALM {
            return (Level::Plenty, Why::Well);
        }
        self.calm = Some(since);
        (Level::Low, self.why)
    }

    fn judge(&self, bytes: u64, inodes: Option<u64>, ahead: Option<Duration>) -> (Level, Why) {
        let Limits { warn_bytes, scarce_bytes, warn_ahead } = self.limits;
        let back = |limit: u64| limit.saturating_add(limit.div_ceil(BACK_PART));
        let was_scarce = self.level == Level::Scarce && self.why == Why::Bytes;
        let was_low = matches!(self.level, Level::Low | Level::Scarce);
        if bytes < if was_scarce { back(scarce_bytes) } else { scarce_bytes } {
            return (Level::Scarce, Why::Bytes);
        }
        if bytes < if was_low { back(warn_bytes) } else { warn_bytes } {
            return (Level::Low, Why::Bytes);
        }
        if inodes.is_some_and(|inodes| inodes < if was_low { back(INODES_LOW) } else { INODES_LOW }) {
            return (Level::Low, Why::Inodes);
        }
        let warn_ahead = if was_low { warn_ahead * AHEAD_BACK.0 / AHEAD_BACK.1 } else { warn_ahead };
        if ahead.is_some_and(|ahead| ahead < warn_ahead) {
            return (Level::Low, Why::Forecast);
        }
        (Level::Plenty, Why::Well)
    }

    /// Whether the writer refuses telemetry although it was told that there is room, or did a while ago.
    fn is_met_full(&mut self, at: Duration, room: Room) -> bool {
        let on_its_own = room == Room::Scarce && self.asks == Room::Plenty && (self.level != Level::Scarce || self.why == Why::MetFull);
        if on_its_own {
            let hold = match self.met_full {
                None => HOLD_FIRST,
                Some(before) if at > before.until => (before.hold * 2).min(HOLD_CAP),
                Some(before) => before.hold,
            };
            self.met_full = Some(MetFull { until: at + hold, hold });
            return true;
        }
        let Some(met) = self.met_full else { return false };
        if at.saturating_sub(met.until) > HOLD_CAP {
            self.met_full = None;
        }
        at <= met.until
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits { warn_bytes: 512 * MIB, scarce_bytes: 64 * MIB, warn_ahead: Duration::from_secs(72 * 3600) };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn free(mib: u64) -> Seen {
        Seen::Answer { free_bytes: mib * MIB, free_inodes: Some(100_000), ahead: None }
    }

    fn told(levels: &mut Levels, at: u64, seen: Seen) -> Option<(Level, Why)> {
        levels.on_look(s(at), seen, levels.asks()).map(|change| (change.to, change.why))
    }

    #[test]
    fn each_level_is_told_once_on_the_way_down_and_once_on_the_way_up() {
        let mut levels = Levels::new(LIMITS);
        let steps: Vec<_> =
            [600, 511, 400, 65, 63, 10, 64, 79, 80, 511, 639].iter().zip(0..).map(|(mib, at)| told(&mut levels, at, free(*mib))).collect();
        let low = Some((Level::Low, Why::Bytes));
        let scarce = Some((Level::Scarce, Why::Bytes));
        assert_eq!(steps, [None, low, None, None, scarce, None, None, None, None, low, None]);
        assert_eq!(told(&mut levels, 20, free(640)), None, "not at once");
        assert_eq!(told(&mut levels, 319, free(640)), None);
        assert_eq!(told(&mut levels, 320, free(640)), Some((Level::Plenty, Why::Well)));
    }

    #[test]
    fn space_that_is_back_all_at_once_ends_the_refusal_all_at_once() {
        let mut levels = Levels::new(LIMITS);
        assert_eq!(told(&mut levels, 0, free(1)), Some((Level::Scarce, Why::Bytes)));
        assert_eq!(told(&mut levels, 5, free(10_000)), None, "the writer has not heard of it yet");
        assert_eq!(told(&mut levels, 5, free(10_000)), Some((Level::Plenty, Why::Well)));
    }

    #[test]
    fn a_forecast_and_missing_inodes_are_low() {
        let ahead = |hours: u64| Seen::Answer { free_bytes: 9_000 * MIB, free_inodes: None, ahead: Some(s(hours * 3600)) };
        let mut levels = Levels::new(LIMITS);
        assert_eq!(told(&mut levels, 0, ahead(73)), None);
        assert_eq!(told(&mut levels, 5, ahead(71)), Some((Level::Low, Why::Forecast)));
        assert_eq!(told(&mut levels, 1_000, ahead(100)), None);
        assert_eq!(told(&mut levels, 2_000, ahead(109)), None);
        assert_eq!(told(&mut levels, 2_300, ahead(109)), Some((Level::Plenty, Why::Well)));
        let few = Seen::Answer { free_bytes: 9_000 * MIB, free_inodes: Some(1_000), ahead: None };
        assert_eq!(told(&mut levels, 2_305, few), Some((Level::Low, Why::Inodes)));
    }

    #[test]
    fn a_worry_that_comes_back_within_the_calm_begins_it_again() {
        let mut levels = Levels::new(LIMITS);
        told(&mut levels, 0, free(100));
        assert_eq!(told(&mut levels, 10, free(9_000)), None);
        assert_eq!(told(&mut levels, 200, free(100)), None);
        assert_eq!(told(&mut levels, 400, free(9_000)), None);
        assert_eq!(told(&mut levels, 699, free(9_000)), None);
        assert_eq!(told(&mut levels, 700, free(9_000)), Some((Level::Plenty, Why::Well)));
    }

    #[test]
    fn a_disk_that_is_read_only_or_silent_has_failed_and_comes_back_as_what_it_is() {
        let mut levels = Levels::new(LIMITS);
        assert_eq!(told(&mut levels, 0, Seen::Silent), Some((Level::Failed, Why::Silent)));
        assert_eq!(told(&mut levels, 5, Seen::ReadOnly), None);
        assert_eq!(levels.why(), Why::ReadOnly);
        assert_eq!(told(&mut levels, 10, free(100)), Some((Level::Low, Why::Bytes)));
    }

    #[test]
    fn a_writer_that_meets_a_full_disk_again_and_again_is_told_less_and_less_often() {
        let mut levels = Levels::new(LIMITS);
        let mut scarce = Vec::new();
        for at in (0..1_300).step_by(5) {
            // It meets a full disk, lets telemetry in again ten seconds later, and meets it again after ten.
            let room = if at % 20 < 10 { Room::Scarce } else { Room::Plenty };
            if let Some(change) = levels.on_look(s(at), free(9_000), room) {
                scarce.push((at, change.to, change.why));
            }
            assert_eq!(levels.asks(), Room::Plenty, "that there is room is all that can be told");
        }
        assert_eq!(scarce, [(0, Level::Scarce, Why::MetFull)], "one alarm while it goes on");
        let back: Vec<_> = (1_300..1_400).step_by(5).filter_map(|at| levels.on_look(s(at), free(9_000), Room::Plenty)).collect();
        assert_eq!(back.iter().map(|change| change.to).collect::<Vec<_>>(), [Level::Plenty]);
        assert!(levels.on_look(s(1_500), free(9_000), Room::Scarce).is_some());
        let held = (1_505..3_000).step_by(5).position(|at| levels.on_look(s(at), free(9_000), Room::Plenty).is_some());
        assert!(held.is_some_and(|looks| looks >= 12), "twice as long this time: {held:?}");
    }

    #[test]
    fn a_writer_that_finds_the_disk_full_before_the_watch_does_is_no_riddle() {
        let mut levels = Levels::new(LIMITS);
        let change = levels.on_look(s(0), free(0), Room::Scarce);
        assert_eq!(change, Some(Change { from: Level::Plenty, to: Level::Scarce, why: Why::Bytes }));
        assert_eq!(levels.on_look(s(5), free(9_000), Room::Scarce), None, "it has not taken telemetry again");
        assert!(levels.on_look(s(10), free(9_000), Room::Plenty).is_some(), "and is not held longer than that");
    }

    #[test]
    fn scarce_ends_only_when_the_writer_takes_telemetry_again() {
        let mut levels = Levels::new(LIMITS);
        assert!(levels.on_look(s(0), free(1), Room::Plenty).is_some());
        assert_eq!(levels.asks(), Room::Scarce);
        assert_eq!(levels.on_look(s(5), free(9_000), Room::Scarce), None);
        assert_eq!(levels.asks(), Room::Plenty, "it is told");
        assert_eq!(levels.on_look(s(10), free(9_000), Room::Scarce), None, "it is making its reserve");
        let over = levels.on_look(s(15), free(9_000), Room::Plenty);
        assert_eq!(over, Some(Change { from: Level::Scarce, to: Level::Plenty, why: Why::Well }));
    }

    proptest! {
        #[test]
        fn a_value_that_trembles_around_a_limit_is_told_at_most_once(
            limit in prop_oneof![Just(64_u64), Just(512)], trembles in proptest::collection::vec(-4_i64..4, 2..200),
        ) {
            let mut levels = Levels::new(LIMITS);
            told(&mut levels, 0, free(limit + 4));
            let mut changes = 0;
            for (tremble, at) in trembles.iter().zip(1_u64..) {
                changes += usize::from(told(&mut levels, at * 5, free(limit.saturating_add_signed(*tremble))).is_some());
            }
            prop_assert!(changes <= 1, "{changes} changes");
        }

        #[test]
        fn telemetry_is_never_taken_below_the_limit_and_never_refused_far_above_it(
            looks in proptest::collection::vec(0_u64..2_000, 1..200),
        ) {
            let mut levels = Levels::new(LIMITS);
            for (mib, at) in looks.iter().zip(0..) {
                told(&mut levels, at * 5, free(*mib));
                prop_assert!(*mib >= 64 || levels.asks() == Room::Scarce);
                prop_assert!(*mib < 80 || levels.asks() == Room::Plenty);
                told(&mut levels, at * 5, free(*mib));
                prop_assert_eq!(levels.asks() == Room::Scarce, levels.level() == Level::Scarce);
            }
        }
    }
}
