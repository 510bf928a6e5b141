//! What happens when, drawn from the seed before anything begins: pure.
//!
//! ```text
//!   round 1                          round 2
//!   |-- faults on every track --|rest|-- faults on every track --|rest| ...
//! ```
//!
//! Tracks run side by side, so that faults meet at random. A round ends in a rest without faults, in which the gate must
//! become well and in which an alarm's way to customs is timed. Every kind of fault comes at least once in each round.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

/// Length of a round.
const ROUND: Duration = Duration::from_secs(60);
/// The part of a round, in percent, in which faults begin.
const BUSY_PERCENT: u32 = 55;
/// Longest outage, in milliseconds, but for a long one.
const OUTAGE_MS: u64 = 6_000;
/// One round in so many has an outage of the line of [`LONG`].
const LONG_ROUNDS: u64 = 6;
/// Long enough for more telemetry than the quota holds.
const LONG: Duration = Duration::from_secs(40);

/// Where faults of one kind come one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Line,
    Customs,
    Gate,
    Reader,
    Disk,
    Beside,
    Monitors,
    Traffic,
}

/// One thing done to the gate or what is around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Act {
    LineCut,
    LineSwallows,
    LineSlow,
    LineSnaps,
    LineCutInAPacket,
    LineLongCut,
    CustomsRestarts,
    CustomsForgetsSessions,
    CustomsHangsUpAmidEvents,
    CustomsSleeps,
    CustomsWithholdsAcks,
    CustomsShufflesAcks,
    CustomsRefuses,
    GateKilled,
    GateKilledOpening,
    GateRestarted,
    ReaderUnplugged,
    ReaderSilent,
    ReaderGarbles,
    ReaderForgetsMode,
    ReaderAntenna,
    AirFlooded,
    DiskNearlyFull,
    DiskFull,
    Verify,
    Tail,
    Stats,
    Export,
    Archive,
    MonitorPublishes,
    MonitorDeaf,
    MonitorGarbage,
    MonitorCrowd,
    Burst,
    ForcedOpen,
}

/// All acts with their track, the name in the report, and how often they come in a round.
pub(super) const ACTS: &[(Act, Track, &str, usize)] = &[
    (Act::LineCut, Track::Line, "line cut", 1),
    (Act::LineSwallows, Track::Line, "line swallows", 1),
    (Act::LineSlow, Track::Line, "line slow", 1),
    (Act::LineSnaps, Track::Line, "line snaps", 1),
    (Act::LineCutInAPacket, Track::Line, "line cut in a packet", 2),
    (Act::CustomsRestarts, Track::Customs, "customs' broker restarts", 1),
    (Act::CustomsForgetsSessions, Track::Customs, "customs' broker forgets sessions", 1),
    (Act::CustomsHangsUpAmidEvents, Track::Customs, "customs' broker hangs up amid events", 1),
    (Act::CustomsSleeps, Track::Customs, "customs' broker reads nothing", 1),
    (Act::CustomsWithholdsAcks, Track::Customs, "customs' broker withholds acks", 1),
    (Act::CustomsShufflesAcks, Track::Customs, "customs' broker shuffles acks", 1),
    (Act::CustomsRefuses, Track::Customs, "customs' broker refuses", 1),
    (Act::GateKilled, Track::Gate, "kill -9", 2),
    (Act::GateKilledOpening, Track::Gate, "kill -9 while opening", 1),
    (Act::GateRestarted, Track::Gate, "restart in order", 1),
    (Act::ReaderUnplugged, Track::Reader, "reader unplugged", 1),
    (Act::ReaderSilent, Track::Reader, "reader silent", 1),
    (Act::ReaderGarbles, Track::Reader, "garbage on the serial line", 2),
    (Act::ReaderForgetsMode, Track::Reader, "reader forgets its mode", 1),
    (Act::ReaderAntenna, Track::Reader, "antenna fails", 1),
    (Act::AirFlooded, Track::Monitors, "garbage and forgeries on the air", 1),
    (Act::DiskNearlyFull, Track::Disk, "disk nearly full", 1),
    (Act::DiskFull, Track::Disk, "disk full", 1),
    (Act::Verify, Track::Beside, "journal verify", 1),
    (Act::Tail, Track::Beside, "journal tail --follow", 1),
    (Act::Stats, Track::Beside, "journal stats", 1),
    (Act::Export, Track::Beside, "journal export", 1),
    (Act::Archive, Track::Beside, "journal archive", 1),
    (Act::MonitorPublishes, Track::Monitors, "monitor publishes", 1),
    (Act::MonitorDeaf, Track::Monitors, "monitor reads nothing", 1),
    (Act::MonitorGarbage, Track::Monitors, "monitor sends garbage", 1),
    (Act::MonitorCrowd, Track::Monitors, "crowd of monitors", 1),
    (Act::Burst, Track::Traffic, "burst of tags", 3),
    (Act::ForcedOpen, Track::Traffic, "seals forced open", 24),
];

impl Act {
    /// As it stands in the report.
    pub(super) fn name(self) -> &'static str {
        ACTS.iter().find(|(act, ..)| *act == self).map_or("long cut of the line", |(_, _, name, _)| name)
    }
}

/// One act at its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) act: Act,
    /// How long it lasts, where it lasts.
    pub(super) lasts: Duration,
    /// For what the act has to draw itself.
    pub(super) seed: u64,
}

/// Everything that will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) length: Duration,
    steps: Vec<(Track, Step)>,
    /// For traffic that never stops.
    pub(super) traffic: u64,
}

impl Plan {
    /// The plan of so long a run; at least one whole round.
    pub(super) fn draw(seed: u64, length: Duration) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let rounds = (length.as_secs() / ROUND.as_secs()).max(1);
        let mut steps = Vec::new();
        for round in 0..rounds {
            let begin = ROUND * u32::try_from(round).unwrap_or(u32::MAX);
            let mut acts: Vec<_> = ACTS.iter().flat_map(|(act, track, _, times)| std::iter::repeat_n((*track, *act), *times)).collect();
            if round % LONG_ROUNDS == LONG_ROUNDS - 1 {
                acts.retain(|(track, _)| *track != Track::Line);
                acts.push((Track::Line, Act::LineLongCut));
            }
            acts.shuffle(&mut chance);
            for (track, act) in acts {
                let lasts = match act {
                    Act::LineLongCut => LONG,
                    _ => Duration::from_millis(chance.random_range(OUTAGE_MS / 12..OUTAGE_MS)),
                };
                // A seal may be forced open at any time of the round, also in its rest.
                let (from, percent) = match act {
                    Act::LineLongCut => (0, 5),
                    Act::ForcedOpen => (3, 97),
                    _ => (3, BUSY_PERCENT),
                };
                let at = begin + ROUND * chance.random_range(from * 10..percent * 10) / 1_000;
                steps.push((track, Step { at, act, lasts, seed: chance.random() }));
            }
        }
        steps.sort_by_key(|(_, step)| step.at);
        Self { length: length.max(ROUND), steps, traffic: chance.random() }
    }

    /// What is done on one track, in order.
    pub(super) fn on(&self, track: Track) -> impl Iterator<Item = Step> + use<'_> {
        self.steps.iter().filter(move |(of, _)| *of == track).map(|(_, step)| *step)
    }

    /// How often this is done in all.
    pub(super) fn times(&self, act: Act) -> usize {
        self.steps.iter().filter(|(_, step)| step.act == act).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_plan_and_another_another() {
        let minutes = |seed| Plan::draw(seed, Duration::from_secs(300));
        assert_eq!(minutes(7), minutes(7));
        assert_ne!(minutes(7), minutes(8));
    }

    #[test]
    fn every_act_comes_in_the_shortest_run_and_the_long_cut_in_an_hour() {
        let minute = Plan::draw(1, Duration::from_secs(1));
        assert!(ACTS.iter().all(|(act, _, _, times)| minute.times(*act) == *times));
        assert!(Plan::draw(1, Duration::from_secs(3_600)).times(Act::LineLongCut) == 10);
    }
}
