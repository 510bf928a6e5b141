//! Seals that are forced open, one at a time each, and what became of every single alarm.
//!
//! ```text
//!   locked ──bolt cutter──► forced ──the journal has FORCED_OPEN──► closed again ──the journal has SEALED──► locked
//! ```
//!
//! A seal says what it is several times a second, whether or not anybody listens, as real ones do. So every time one is
//! forced open there must be one alarm, and never a second: however often the gate was killed, full or cut off meanwhile.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use segel::journal::{Filter, JournalReader, Place, Record};
use segel_drivers::{LockClaim, sim::EmulatedAir};
use segel_hardware_tests::rig::Seal;
use tokio::time::sleep;

use super::{books::Books, diary::Diary, plan::Act};

/// How often the journal is looked at and each seal may speak.
const TICK: Duration = Duration::from_millis(50);
/// A seal speaks every so many ticks.
const SPEAKS_EVERY: usize = 5;
/// A seal stays open this long after its alarm was recorded.
const OPEN_FOR: Duration = Duration::from_millis(400);
/// An alarm is recorded within a fraction of this when the gate is calm.
const RECORDED_WITHIN: Duration = Duration::from_secs(15);
/// Records read at a time.
const PAGE: usize = 512;

/// One time a seal was forced open, and the alarm that came of it.
#[derive(Debug)]
pub(super) struct Alarm {
    subject: String,
    id: String,
    made: Instant,
    calm: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Locked, and nothing of it is recorded yet.
    Fresh,
    Locked,
    Forced {
        at: Instant,
        calm: Option<u64>,
    },
    Open {
        until: Instant,
    },
    /// Locked again; that is not recorded yet.
    Closing,
}

/// The seals and what happens to them.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    seals: &'a mut [Seal],
    states: Vec<State>,
    air: &'a EmulatedAir,
    state_dir: PathBuf,
    journal: Option<(JournalReader, Place)>,
    diary: &'a Diary,
    tick: usize,
    complained: bool,
    /// Every alarm so far.
    pub(super) alarms: Vec<Alarm>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(seals: &'a mut [Seal], air: &'a EmulatedAir, state_dir: &Path, diary: &'a Diary) -> Self {
        let states = vec![State::Fresh; seals.len()];
        let state_dir = state_dir.to_owned();
        Self { seals, states, air, state_dir, journal: None, diary, tick: 0, complained: false, alarms: Vec::new() }
    }

    /// Forces seals open at these times; returns when the last was.
    pub(super) async fn run(&mut self, begin: tokio::time::Instant, steps: impl Iterator<Item = super::plan::Step>) {
        for step in steps {
            while begin.elapsed() < step.at {
                self.tick();
                sleep(TICK).await;
            }
            self.force_one_open(step.seed);
        }
    }

    /// Goes on until every alarm that was made is recorded and every seal is locked again.
    pub(super) async fn finish(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.states.iter().all(|state| matches!(state, State::Locked)) {
            if Instant::now() > deadline {
                return self.diary.breaks(format!("seals are not where they should be in the journal: {:?}", self.states));
            }
            self.tick();
            sleep(TICK).await;
        }
    }

    fn force_one_open(&mut self, seed: u64) {
        let locked: Vec<_> = (0..self.seals.len()).filter(|at| matches!(self.states[*at], State::Locked)).collect();
        if locked.is_empty() {
            return self.diary.count("seals that could not be forced open: all were open", 1);
        }
        let at = locked[usize::try_from(seed % locked.len() as u64).unwrap_or(0)];
        self.diary.did(Act::ForcedOpen);
        self.seals[at].force_open();
        self.states[at] = State::Forced { at: Instant::now(), calm: self.diary.calm() };
        self.speak(at);
    }

    fn speak(&mut self, at: usize) {
        let frame = self.seals[at].frame();
        if let Err(fault) = self.air.send(&frame) {
            self.diary.breaks(format!("a frame is too long for the air: {fault}"));
        }
    }

    fn tick(&mut self) {
        self.tick += 1;
        for at in 0..self.seals.len() {
            if (self.tick + at).is_multiple_of(SPEAKS_EVERY) {
                self.speak(at);
            }
            match self.states[at] {
                State::Open { until } if Instant::now() > until => {
                    self.seals[at].reading.lock = Some(LockClaim::Locked);
                    self.seals[at].reading.tamper = Some(false);
                    self.states[at] = State::Closing;
                }
                State::Forced { at: made, calm: Some(period) }
                    if made.elapsed() > RECORDED_WITHIN && self.diary.calm() == Some(period) && !self.complained =>
                {
                    self.complained = true;
                    self.diary.breaks(format!("{} was forced open {:?} ago and no alarm is recorded", self.seals[at].id, made.elapsed()));
                }
                _ => {}
            }
        }
        self.read();
    }

    /// What is new in the journal, whoever wrote it and whether or not it lives.
    fn read(&mut self) {
        if self.journal.is_none() {
            self.journal = JournalReader::open(&self.state_dir).ok().map(|reader| (reader, Place::default()));
        }
        let Some((reader, place)) = &mut self.journal else { return };
        let Ok(records) = reader.since(&Filter::default(), place, PAGE) else {
            return self.diary.count("looks into the journal that failed", 1);
        };
        for record in records {
            self.on_record(&record);
        }
    }

    fn on_record(&mut self, record: &Record) {
        let Some(at) = self.seals.iter().position(|seal| record.subject.as_str() == subject(seal)) else { return };
        self.states[at] = match (self.states[at], record.kind.as_str()) {
            (State::Forced { at: made, calm }, "FORCED_OPEN") => {
                let subject = record.subject.as_str().to_owned();
                self.alarms.push(Alarm { subject, id: record.id.to_string(), made, calm });
                State::Open { until: Instant::now() + OPEN_FOR }
            }
            (state, "FORCED_OPEN") => {
                self.diary.breaks(format!("{} {}: an alarm nobody made, while {state:?}", record.subject.as_str(), record.seq));
                state
            }
            (State::Closing, "SEALED") | (State::Fresh, "DEVICE_STATUS") => State::Locked,
            (state, _) => state,
        };
    }
}

fn subject(seal: &Seal) -> String {
    format!("seal/{}", seal.id)
}

/// How alarms reached customs.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) made: usize,
    /// The times, sorted, of those made and arrived within one calm period.
    pub(super) calm: Vec<Duration>,
    /// The worst of all, outages and deaths of the gate included.
    pub(super) worst: Duration,
}

/// Every alarm must be at customs, and none that nobody made.
pub(super) fn settle(alarms: &[Alarm], books: &Books, diary: &Diary) -> Ways {
    let mut ways = Ways { made: alarms.len(), ..Ways::default() };
    for alarm in alarms {
        let Some(entry) = books.get(&alarm.id) else {
            diary.breaks(format!("the alarm {} of {} was recorded and never came to customs", alarm.id, alarm.subject));
            continue;
        };
        let took = entry.came.saturating_duration_since(alarm.made);
        ways.worst = ways.worst.max(took);
        if alarm.calm.is_some() && alarm.calm == entry.calm {
            ways.calm.push(took);
        }
    }
    ways.calm.sort();
    let mut subjects: Vec<_> = alarms.iter().map(|alarm| alarm.subject.as_str()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    for subject in subjects {
        let made = alarms.iter().filter(|alarm| alarm.subject == subject).count();
        let came = books.about("FORCED_OPEN", subject);
        if made != came {
            diary.breaks(format!("{subject} was forced open {made} times and customs has {came} alarms"));
        }
    }
    ways
}
