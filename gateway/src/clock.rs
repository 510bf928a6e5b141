//! What time it is here, and how good that is.
//!
//! Every event carries four things: wall time, time since the machine booted, which boot that was, and a quality.
//! Order comes from sequence numbers and durations from the monotonic clock, so a wall clock that steps or starts in
//! 1970 can make a time wrong but never an order, and the quality says so.
//!
//! ```text
//!   ntp        the kernel's clock is being steered now
//!   holdover   it was, less than `holdover_h` ago, since this process began
//!   rtc        it never was since this process began, but the time is plausible
//!   untrusted  before this program was built, or before the newest time in the journal
//! ```
//!
//! Time since boot counts the machine's sleep too; the steps of the wall clock are found in [`StepWatch`], and how old
//! something is in [`Clock::age`].
//!
//! Whether the clock is steered is asked without privileges: timedated's `NTPSynchronized` on the system bus, which is
//! the kernel's own flag and so also true under chrony, and where nobody answers there, how fresh the mark is that
//! systemd-timesyncd leaves. Neither being there is an answer too: `rtc`.

mod age;
mod step;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;
use segel_drivers::Heard;

pub use self::{
    age::{Age, AgeBasis},
    step::{Mark, Reading, STEP_THRESHOLD, Seen, Step, StepWatch},
};
use crate::event::{BootId, ClockQuality, Stamp};

/// systemd-timesyncd touches this file each time it has synchronised, and leaves it when it no longer can.
const TIMESYNCD_FLAG: &str = "/run/systemd/timesync/synchronized";
/// timesyncd asks at least every 2,048 s; a mark older than twice that and some is no sign of steering.
const TIMESYNCD_FRESH: Duration = Duration::from_secs(5_400);
/// How long timedated may take to answer before its answer counts as none.
const TIMEDATED_DEADLINE: Duration = Duration::from_millis(500);
/// How often the question is asked; timedated starts on demand and leaves after 30 s, so not more often.
pub const SYNC_PROBE_INTERVAL: Duration = Duration::from_secs(64);
/// A machine that slept is noticed from this: readings of two clocks lie closer together.
const SLEPT: Duration = Duration::from_millis(50);
/// No event can be older than the program that wrote it: 2026-11-01T00:00:00Z.
const BUILT_AFTER: i64 = 1_793_491_200;
const NEVER: u64 = u64::MAX;

/// The clock of the gate; clones share what is known of it.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: Boot,
    anchor: Anchor,
    holdover: Duration,
    shared: Arc<Shared>,
}

/// Which boot this is, and whether the kernel said so.
#[derive(Debug, Clone, Copy)]
enum Boot {
    /// Other runs of this boot have the same.
    Kernels(BootId),
    /// Made up by this process: an event of an earlier run may be of the same boot.
    Own(BootId),
}

impl Boot {
    const fn id(self) -> BootId {
        match self {
            Self::Kernels(id) | Self::Own(id) => id,
        }
    }
}

/// The two ways of counting time, taken at one moment.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    instant: Instant,
    since_boot: Duration,
}

#[derive(Debug)]
struct Shared {
    /// Milliseconds since boot when the clock was last seen steered.
    synced_ms: AtomicU64,
    /// The newest wall time ever recorded, in milliseconds since 1970.
    high_water_ms: AtomicU64,
    /// How long the machine has slept since this process began.
    slept_ms: AtomicU64,
}

impl Clock {
    /// A clock that has seen nothing yet. `high_water` is the newest wall time in the journal, if there is one.
    #[must_use]
    pub fn new(holdover: Duration, high_water: Option<Timestamp>) -> Self {
        let Reading { instant, since_boot, .. } = Reading::now();
        let high_water = high_water.map_or(0, |t| u64::try_from(t.as_millisecond()).unwrap_or(0));
        Self {
            boot: boot(),
            anchor: Anchor { instant, since_boot },
            holdover,
            shared: Arc::new(Shared {
                synced_ms: AtomicU64::new(NEVER),
                high_water_ms: AtomicU64::new(high_water),
                slept_ms: AtomicU64::new(0),
            }),
        }
    }

    /// Which boot of the machine this is.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot.id()
    }

    /// The stamp of something heard.
    #[must_use]
    pub fn stamp(&self, heard: Heard) -> Stamp {
        let monotonic_ms = self.since_boot_ms(heard.monotonic);
        let wall = Timestamp::try_from(heard.wall).unwrap_or(Timestamp::UNIX_EPOCH);
        let clock = self.quality(wall, monotonic_ms);
        Stamp { wall, monotonic_ms, boot: self.boot.id(), clock }
    }

    /// The stamp of now.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.stamp(Heard::now())
    }

    /// The quality of the clock now.
    #[must_use]
    pub fn quality_now(&self) -> ClockQuality {
        self.now().clock
    }

    /// The clock was seen steered at this moment. That outranks what was recorded before: a clock that once ran ahead
    /// must not make the right time look wrong for years.
    pub fn seen_synchronised(&self, at: Heard) {
        self.shared.synced_ms.store(self.since_boot_ms(at.monotonic), Ordering::Relaxed);
        let wall = Timestamp::try_from(at.wall).map_or(0, |wall| u64::try_from(wall.as_millisecond()).unwrap_or(0));
        self.shared.high_water_ms.store(wall, Ordering::Relaxed);
    }

    /// An event with this wall time is on disk: from now on an earlier time is not to be trusted.
    pub fn recorded(&self, stamp: &Stamp) {
        if stamp.clock != ClockQuality::Untrusted {
            let wall = u64::try_from(stamp.wall.as_millisecond()).unwrap_or(0);
            self.shared.high_water_ms.fetch_max(wall, Ordering::Relaxed);
        }
    }

    /// Learns from a look whether the machine slept: the clock of durations stood still meanwhile, and what is stamped
    /// from now on must not lag behind.
    pub fn looked(&self, reading: &Reading) {
        let counted = self.since_boot_ms(reading.instant);
        let slept = millis(reading.since_boot).saturating_sub(counted);
        if slept > millis(SLEPT) {
            self.shared.slept_ms.fetch_add(slept, Ordering::Relaxed);
        }
    }

    /// How old something with this stamp is, as of `now`.
    #[must_use]
    pub fn age(&self, then: &Stamp, now: &Stamp) -> Age {
        let began_ms = match self.boot {
            Boot::Kernels(_) => 0,
            Boot::Own(_) => millis(self.anchor.since_boot),
        };
        age::age(then, now, now.monotonic_ms.saturating_sub(began_ms) / 1_000)
    }

    fn since_boot_ms(&self, instant: Instant) -> u64 {
        let since_boot = match instant.checked_duration_since(self.anchor.instant) {
            Some(later) => self.anchor.since_boot + later,
            None => self.anchor.since_boot.saturating_sub(self.anchor.instant - instant),
        };
        millis(since_boot).saturating_add(self.shared.slept_ms.load(Ordering::Relaxed))
    }

    fn quality(&self, wall: Timestamp, monotonic_ms: u64) -> ClockQuality {
        let high_water = self.shared.high_water_ms.load(Ordering::Relaxed);
        let wall_ms = u64::try_from(wall.as_millisecond()).unwrap_or(0);
        let tolerance = millis(STEP_THRESHOLD);
        if wall.as_second() < BUILT_AFTER || wall_ms.saturating_add(tolerance) < high_water {
            return ClockQuality::Untrusted;
        }
        match self.shared.synced_ms.load(Ordering::Relaxed) {
            NEVER => ClockQuality::Rtc,
            at if monotonic_ms.saturating_sub(at) <= 2 * millis(SYNC_PROBE_INTERVAL) => ClockQuality::Ntp,
            at if monotonic_ms.saturating_sub(at) <= millis(self.holdover) => ClockQuality::Holdover,
            _ => ClockQuality::Rtc,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The kernel's boot id, or one of our own where `/proc` does not show it (a sandbox may hide it).
fn boot() -> Boot {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| text.trim().parse::<uuid::Uuid>().ok())
        .map_or_else(|| Boot::Own(BootId(uuid::Uuid::new_v4())), |id| Boot::Kernels(BootId(id)))
}

/// Whether the kernel's clock is being steered. Blocks up to half a second: not for the runtime's threads.
#[must_use]
pub fn probe_synchronised() -> bool {
    timedated_says_synchronised().unwrap_or_else(|| is_fresh(Path::new(TIMESYNCD_FLAG), SystemTime::now()))
}

/// Whether this file was touched not long ago.
fn is_fresh(file: &Path, now: SystemTime) -> bool {
    let touched = file.metadata().and_then(|file| file.modified()).ok();
    touched.and_then(|touched| now.duration_since(touched).ok()).is_some_and(|age| age <= TIMESYNCD_FRESH)
}

fn timedated_says_synchronised() -> Option<bool> {
    use dbus::blocking::{Connection, stdintf::org_freedesktop_dbus::Properties};
    let bus = Connection::new_system().ok()?;
    bus.with_proxy("org.freedesktop.timedate1", "/org/freedesktop/timedate1", TIMEDATED_DEADLINE)
        .get("org.freedesktop.timedate1", "NTPSynchronized")
        .ok()
}

/// Wall time of a moment, for people.
#[must_use]
pub fn wall_of(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(wall_s: i64, monotonic: Instant) -> Heard {
        Heard { monotonic, wall: Timestamp::from_second(wall_s).unwrap().into() }
    }

    #[test]
    fn a_clock_in_1970_or_behind_the_journal_is_untrusted() {
        let newest = Timestamp::from_second(BUILT_AFTER + 1_000).unwrap();
        let clock = Clock::new(Duration::from_secs(60), Some(newest));
        let now = Instant::now();
        assert_eq!(clock.stamp(heard(0, now)).clock, ClockQuality::Untrusted);
        assert_eq!(clock.stamp(heard(BUILT_AFTER + 990, now)).clock, ClockQuality::Untrusted);
        assert_eq!(clock.stamp(heard(BUILT_AFTER + 1_001, now)).clock, ClockQuality::Rtc);
    }

    #[test]
    fn a_clock_that_was_steered_holds_over_and_then_is_only_an_rtc() {
        let clock = Clock::new(Duration::from_secs(3_600), None);
        let start = Instant::now();
        clock.seen_synchronised(heard(BUILT_AFTER + 5, start));
        let at = |s: u64| clock.stamp(heard(BUILT_AFTER + 5, start + Duration::from_secs(s))).clock;
        assert_eq!(at(100), ClockQuality::Ntp);
        assert_eq!(at(1_000), ClockQuality::Holdover);
        assert_eq!(at(3_700), ClockQuality::Rtc);
    }

    #[test]
    fn a_clock_that_once_ran_ahead_is_trusted_again_once_it_is_steered() {
        let clock = Clock::new(Duration::from_secs(60), Some(Timestamp::from_second(BUILT_AFTER + 1_700_000_000).unwrap()));
        let now = heard(BUILT_AFTER + 100, Instant::now());
        assert_eq!(clock.stamp(now).clock, ClockQuality::Untrusted);
        clock.seen_synchronised(now);
        assert_eq!(clock.stamp(now).clock, ClockQuality::Ntp);
    }

    #[test]
    fn an_old_mark_of_synchronisation_is_no_sign_of_it() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let touched = mark.path().metadata().unwrap().modified().unwrap();
        assert!(is_fresh(mark.path(), touched + Duration::from_secs(2_048)));
        assert!(!is_fresh(mark.path(), touched + Duration::from_secs(86_400)));
        assert!(!is_fresh(Path::new("/nonexistent"), touched));
    }

    #[test]
    fn an_untrusted_time_never_raises_the_mark_that_later_times_are_held_against() {
        let clock = Clock::new(Duration::from_secs(60), Some(Timestamp::from_second(BUILT_AFTER + 100).unwrap()));
        let early = clock.stamp(heard(BUILT_AFTER, Instant::now()));
        clock.recorded(&early);
        assert_eq!(clock.stamp(heard(BUILT_AFTER + 101, Instant::now())).clock, ClockQuality::Rtc);
    }

    #[test]
    fn a_machine_that_slept_counts_the_night_and_never_goes_back() {
        let clock = Clock::new(Duration::from_secs(60), None);
        let awake = Reading::now();
        clock.looked(&awake);
        let before = clock.stamp(Heard { monotonic: awake.instant, wall: awake.wall }).monotonic_ms;
        let woken = Reading { since_boot: awake.since_boot + Duration::from_secs(3_600), ..awake };
        for _ in 0..2 {
            clock.looked(&woken);
        }
        let after = clock.stamp(Heard { monotonic: awake.instant, wall: awake.wall }).monotonic_ms;
        assert!((3_599_900..3_600_100).contains(&(after - before)), "{}", after - before);
        clock.looked(&awake);
        assert!(clock.stamp(Heard { monotonic: awake.instant, wall: awake.wall }).monotonic_ms >= after);
    }
}
