//! What of the seals' own logs is on record: so that nothing a seal tells is recorded twice, and nothing is confirmed to
//! it, and deleted there, that is not on disk here.
//!
//! ```text
//!   told ─► on disk already ─────────► no event; confirmed at once
//!       ├─► on its way to disk ──────► no event; not confirmed, the seal will tell it again
//!       └─► new ─► event + note ─────► confirmed when, and only when, the whole unit is on disk
//! ```
//!
//! An entry is recognised by everything it says: log, number, device time, word and bytes. Whatever differs is another
//! entry, because a second event costs little and a lost one may be an alarm. An entry with neither a number nor a time is
//! never recognised; a live word without a number is for an hour only, because a seal whose clock stands still says the same
//! of another alarm months later, and nothing of it is kept. The last [`MARKS_MAX`] of each seal are remembered, in a note in the transaction of their events; a
//! seal repeats at most what was not confirmed, which is a few dozen.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use segel_drivers::{Confirm, Memory as Told, SealEvent, SealId, SealWord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Finding, finding::note_json};
use crate::journal::Note;

/// The kind of note what a seal has told is kept under.
pub const TOLD_NOTE: &str = "told";
/// Entries remembered of each seal; a seal hands over at most a few dozen before it waits to be confirmed.
const MARKS_MAX: usize = 256;
/// Entries taken of one report; what a session hands over at once is far less. Of more the rest is left, unconfirmed.
pub(super) const TOLD_MAX: usize = 128;

/// For so long the same live word without a number is the same happening: longer than a connection, shorter than a shift.
pub(super) const LIVE_SAME: Duration = Duration::from_secs(3_600);

/// By what an entry of a seal's log is recognised: half of its digest, in hex.
pub(super) type Mark = String;

/// Entries of one seal that are told of together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldMarks {
    seal: SealId,
    last: Option<(u32, u32)>,
    course: Course,
    marks: Vec<Mark>,
    /// Live words without a number; never in a note.
    live: Vec<Mark>,
}

/// How the numbers of a log went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Upwards, perhaps with a gap.
    On,
    /// Back, in the same log: what was the last number is the last no more.
    Back,
}

impl Course {
    /// As an event says it.
    pub(super) fn of(numbers_went_back: bool) -> Self {
        if numbers_went_back { Self::Back } else { Self::On }
    }
}

/// What a seal told amounts to.
#[derive(Debug)]
pub struct Telling {
    /// Its events.
    pub findings: Vec<Finding>,
    /// What is on record once they are on disk.
    pub marks: ToldMarks,
    /// What may be promised to the seal.
    pub promise: Promise,
}

/// What may be promised to a seal that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// All of it is on disk already.
    Now,
    /// When its unit is on disk.
    WhenOnDisk,
    /// Nothing: it is to tell it again.
    Not,
}

impl Telling {
    /// The promise to be kept with the unit, if that is the one.
    pub(super) fn with_unit(&self, confirm: Option<&Confirm>) -> Option<Confirm> {
        confirm.filter(|_| self.promise == Promise::WhenOnDisk).cloned()
    }
}

/// What is remembered of one seal's log, as kept under [`TOLD_NOTE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToldMemory {
    /// The last log and number on record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    last: Option<(u32, u32)>,
    /// The last entries, the oldest first.
    marks: VecDeque<Mark>,
}

impl ToldMemory {
    fn take(&mut self, last: Option<(u32, u32)>, course: Course, marks: impl IntoIterator<Item = Mark>) {
        self.last = match course {
            Course::On => further(self.last, last),
            Course::Back => last,
        };
        self.marks.extend(marks);
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// Takes over an event of this seal, as it is rebuilt from the journal.
    pub(super) fn take_event(&mut self, memory: Told, event: &SealEvent, course: Course) {
        self.take(place(memory, event), course, mark(memory, event).filter(|_| !is_fleeting(memory, event)));
    }
}

/// What is on disk and on its way there, of all seals; only registered seals have sessions, so there are no more than the
/// register has.
#[derive(Debug, Default)]
pub(super) struct Tellings {
    on_disk: HashMap<SealId, ToldMemory>,
    on_the_way: HashMap<SealId, HashSet<Mark>>,
    /// When live words without a number were told last; at most [`MARKS_MAX`] of a seal.
    live: HashMap<SealId, HashMap<Mark, Instant>>,
    /// Seals of which two reports were on their way at once. The note of the later one knows nothing of the earlier, which
    /// may still fail; so it is written again when both are on disk.
    written_by_halves: HashSet<SealId>,
}

/// How one entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryStanding {
    /// It is on record, or told of a moment before in the same report.
    Covered,
    /// It will be, if nothing goes wrong.
    OnTheWay,
    /// It is new; so many numbers of its log before it were never told.
    New {
        /// Numbers skipped.
        missed_before: u32,
        /// Whether its number is beyond the last one.
        course: Course,
    },
}

impl Tellings {
    pub(super) fn new(on_disk: HashMap<SealId, ToldMemory>) -> Self {
        Self { on_disk, ..Self::default() }
    }

    /// Begins to look at what a seal tells.
    pub(super) fn begin(&mut self, seal: &SealId, now: Instant) -> ToldMarks {
        if let Some(live) = self.live.get_mut(seal) {
            live.retain(|_, told| now.saturating_duration_since(*told) < LIVE_SAME);
        }
        let last = self.on_disk.get(seal).and_then(|memory| memory.last);
        ToldMarks { seal: seal.clone(), last, course: Course::On, marks: Vec::new(), live: Vec::new() }
    }

    /// How the next entry stands; a new one is noted as told of in `marks`.
    pub(super) fn stand(&self, marks: &mut ToldMarks, memory: Told, event: &SealEvent) -> EntryStanding {
        let (mark, place) = (mark(memory, event), place(memory, event));
        if let Some(known) = mark.as_ref().and_then(|mark| self.known(marks, mark)) {
            if let (Some((log, last)), Some((same, number))) = (marks.last, place)
                && log == same
            {
                marks.last = Some((log, last.max(number)));
            }
            return known;
        }
        let (missed_before, course) = match (marks.last, place) {
            (Some((log, last)), Some((same, number))) if log == same => match number.checked_sub(last) {
                None | Some(0) => (0, Course::Back),
                Some(further) => (further - 1, Course::On),
            },
            _ => (0, Course::On),
        };
        marks.last = place.or(marks.last);
        if course == Course::Back {
            marks.course = course;
        }
        if is_fleeting(memory, event) {
            marks.live.extend(mark);
        } else {
            marks.marks.extend(mark);
        }
        EntryStanding::New { missed_before, course }
    }

    /// How an entry with this mark stands, if it is known.
    fn known(&self, marks: &ToldMarks, mark: &Mark) -> Option<EntryStanding> {
        let seal = &marks.seal;
        if self.on_the_way.get(seal).is_some_and(|known| known.contains(mark)) {
            return Some(EntryStanding::OnTheWay);
        }
        let covered = marks.marks.contains(mark)
            || marks.live.contains(mark)
            || self.on_disk.get(seal).is_some_and(|known| known.marks.contains(mark))
            || self.live.get(seal).is_some_and(|known| known.contains_key(mark));
        covered.then_some(EntryStanding::Covered)
    }

    /// What this seal complained of is over: the same live word is another happening from now on.
    pub(super) fn complaint_over(&mut self, seal: &SealId) {
        self.live.remove(seal);
    }

    /// The note of what is on disk with these.
    pub(super) fn note(&self, marks: &ToldMarks) -> Note {
        let mut memory = self.on_disk.get(&marks.seal).cloned().unwrap_or_default();
        memory.take(marks.last, marks.course, marks.marks.iter().cloned());
        note_json(TOLD_NOTE, marks.seal.as_str(), &memory)
    }

    /// They are on their way.
    pub(super) fn sent(&mut self, marks: &ToldMarks, now: Instant) {
        if !marks.marks.is_empty() && self.on_the_way.contains_key(&marks.seal) {
            self.written_by_halves.insert(marks.seal.clone());
        }
        let all = marks.marks.iter().chain(&marks.live);
        if all.clone().next().is_some() {
            self.on_the_way.entry(marks.seal.clone()).or_default().extend(all.cloned());
        }
        for mark in &marks.live {
            let live = self.live.entry(marks.seal.clone()).or_default();
            if live.len() >= MARKS_MAX
                && let Some(oldest) = live.iter().min_by_key(|(_, told)| **told).map(|(mark, _)| mark.clone())
            {
                live.remove(&oldest);
            }
            live.insert(mark.clone(), now);
        }
    }

    /// The notes that were written by halves, of seals of which nothing is on its way any more.
    pub(super) fn take_unkept(&mut self) -> Vec<Note> {
        let Self { on_disk, on_the_way, written_by_halves, .. } = self;
        let settled: Vec<SealId> = written_by_halves.iter().filter(|seal| !on_the_way.contains_key(*seal)).cloned().collect();
        written_by_halves.retain(|seal| !settled.contains(seal));
        let note = |seal: &SealId| Some(note_json(TOLD_NOTE, seal.as_str(), on_disk.get(seal)?));
        settled.iter().filter_map(note).collect()
    }

    /// They are on disk.
    pub(super) fn on_disk(&mut self, marks: &ToldMarks) {
        self.settled(marks);
        if !marks.marks.is_empty() {
            self.on_disk.entry(marks.seal.clone()).or_default().take(marks.last, marks.course, marks.marks.iter().cloned());
        }
    }

    /// They are not, and will not be.
    pub(super) fn refused(&mut self, marks: &ToldMarks) {
        self.settled(marks);
        if let Some(live) = self.live.get_mut(&marks.seal) {
            live.retain(|mark, _| !marks.live.contains(mark));
        }
    }

    fn settled(&mut self, marks: &ToldMarks) {
        let Some(known) = self.on_the_way.get_mut(&marks.seal) else { return };
        known.retain(|mark| !marks.marks.contains(mark) && !marks.live.contains(mark));
        if known.is_empty() {
            self.on_the_way.remove(&marks.seal);
        }
    }
}

/// The later of two places: the higher number of one log, and the newer of two logs.
fn further(known: Option<(u32, u32)>, new: Option<(u32, u32)>) -> Option<(u32, u32)> {
    match (known, new) {
        (Some((log, known)), Some((same, new))) if log == same => Some((log, known.max(new))),
        (known, new) => new.or(known),
    }
}

fn place(memory: Told, event: &SealEvent) -> Option<(u32, u32)> {
    match memory {
        Told::Stored { log } => event.number.map(|number| (log, number)),
        Told::Live => None,
    }
}

/// Whether an entry is known for [`LIVE_SAME`] only.
fn is_fleeting(memory: Told, event: &SealEvent) -> bool {
    memory == Told::Live && event.number.is_none()
}

fn mark(memory: Told, event: &SealEvent) -> Option<Mark> {
    if event.number.is_none() && event.device_time.is_none() {
        return None;
    }
    let word = |word: SealWord| serde_json::to_vec(&word).expect("a word always becomes JSON");
    let mut digest = Sha256::new();
    digest.update(match memory {
        Told::Live => "live".to_owned(),
        Told::Stored { log } => format!("log {log}"),
    });
    digest.update(format!(" {:?} {:?} ", event.number, event.device_time));
    digest.update(word(event.word));
    digest.update(&event.raw);
    Some(hex::encode(&digest.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u32, raw: u8) -> SealEvent {
        SealEvent { word: SealWord::ShackleCut, number: Some(number), device_time: None, raw: vec![raw] }
    }

    fn fresh(missed_before: u32) -> EntryStanding {
        EntryStanding::New { missed_before, course: Course::On }
    }

    #[test]
    fn what_differs_in_anything_is_another_entry() {
        let all = [
            mark(Told::Stored { log: 1 }, &event(1, 1)),
            mark(Told::Stored { log: 1 }, &event(1, 2)),
            mark(Told::Stored { log: 1 }, &event(2, 1)),
            mark(Told::Stored { log: 2 }, &event(1, 1)),
            mark(Told::Live, &event(1, 1)),
        ];
        let different: HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        let bare = SealEvent { number: None, ..event(1, 1) };
        assert_eq!(mark(Told::Stored { log: 1 }, &bare), None, "nothing tells two such entries apart");
    }

    #[test]
    fn what_was_refused_is_new_again_and_the_memory_is_bounded() {
        let seal: SealId = "SGL-1".parse().unwrap();
        let now = Instant::now();
        let mut tellings = Tellings::default();
        let log = Told::Stored { log: 7 };
        let mut marks = tellings.begin(&seal, now);
        assert_eq!(tellings.stand(&mut marks, log, &event(1, 1)), fresh(0));
        tellings.sent(&marks, now);
        let mut again = tellings.begin(&seal, now);
        assert_eq!(tellings.stand(&mut again, log, &event(1, 1)), EntryStanding::OnTheWay);
        tellings.refused(&marks);
        assert_eq!(tellings.stand(&mut again, log, &event(1, 1)), fresh(0));
        tellings.on_disk(&marks);
        for number in 2..2_000 {
            let mut marks = tellings.begin(&seal, now);
            tellings.stand(&mut marks, log, &event(number, 1));
            tellings.on_disk(&marks);
        }
        assert_eq!(tellings.on_disk[&seal].marks.len(), MARKS_MAX);
        let mut marks = tellings.begin(&seal, now);
        assert_eq!(tellings.stand(&mut marks, log, &event(2_003, 1)), fresh(3));
    }

    #[test]
    fn a_number_that_goes_back_is_said_and_gaps_after_it_are_told_again() {
        let (seal, log, now): (SealId, _, _) = ("SGL-1".parse().unwrap(), Told::Stored { log: 7 }, Instant::now());
        let mut tellings = Tellings::default();
        let tell = |tellings: &mut Tellings, number| {
            let mut marks = tellings.begin(&seal, now);
            let standing = tellings.stand(&mut marks, log, &event(number, 1));
            let kept: ToldMemory = serde_json::from_slice(&tellings.note(&marks).value.unwrap()).unwrap();
            tellings.on_disk(&marks);
            assert_eq!(kept, tellings.on_disk[&seal]);
            standing
        };
        assert_eq!(tell(&mut tellings, 5), fresh(0));
        assert_eq!(tell(&mut tellings, u32::MAX), fresh(u32::MAX - 6));
        assert_eq!(tell(&mut tellings, 6), EntryStanding::New { missed_before: 0, course: Course::Back });
        assert_eq!(tell(&mut tellings, 9), fresh(2), "one number of nonsense hides no later gap");
        assert_eq!(tell(&mut tellings, 6), EntryStanding::Covered);
        assert_eq!(tell(&mut tellings, 11), fresh(1), "what is told again is no step back");
        let mut rebuilt = ToldMemory::default();
        for (number, course) in [(u32::MAX, Course::On), (6, Course::of(true))] {
            rebuilt.take_event(log, &event(number, 1), course);
        }
        assert_eq!(rebuilt.last, Some((7, 6)));
    }
}
