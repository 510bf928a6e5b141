//! What is done to the journal: one operation, and how they are drawn.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use segel::event::Class;
use segel::journal::Room;

/// Outlets there are.
pub const OUTLETS: usize = 2;
/// Bodies of events, in bytes: a few of them fill the quota. Few sizes, so that a failure shrinks soon.
const SIZES: [usize; 4] = [0, 100, 400, 900];
/// Keys of notes: few, so that they meet again.
const KEYS: u8 = 4;

/// An event to be recorded.
#[derive(Clone)]
pub struct Event {
    pub class: Class,
    pub size: usize,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line even where everything else is spread out: a failure should fit a screen.
        write!(f, "{}/{}", self.class, self.size)
    }
}

/// A note to be kept, or forgotten.
pub type Note = (u8, Option<u8>);

/// How far a file may grow while something is recorded.
#[derive(Debug, Clone, Copy)]
pub enum Growth {
    /// Nothing can be written at all.
    None,
    /// So many bytes beyond what the log is long: a commit may break off in its middle.
    Log(u16),
}

#[derive(Debug, Clone)]
pub enum Operation {
    Append {
        event: Event,
        notes: Vec<Note>,
        at_once: bool,
    },
    /// In one transaction.
    Together(Vec<Event>),
    /// Put in line one after the other without waiting: the writer groups them as it likes.
    Burst(Vec<Event>),
    Keep(Note),
    /// An outlet confirms this part (in 256ths) of what it has not confirmed; 255 is more than there is.
    Advance {
        outlet: usize,
        class: Class,
        part: u8,
    },
    /// This part (in 256ths) of what a class holds is put away in the archive; 255 is described wrongly. Hurried: nothing
    /// else is done before its rows are gone.
    PutAway {
        class: Class,
        part: u8,
        hurried: bool,
    },
    /// There is room again, or not.
    Tell(Room),
    /// Recorded while files cannot grow, and perhaps once more when they can.
    Fail {
        growth: Growth,
        events: Vec<Event>,
        retried: bool,
    },
    Reopen,
    /// The files as a crash at this moment leaves them, opened anew.
    Crash,
    /// Everything is read and verified.
    Inspect,
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![4 => Just(Class::Telemetry), 1 => Just(Class::Receipt), 1 => Just(Class::Alarm)]
}

fn event() -> impl Strategy<Value = Event> {
    (class(), proptest::sample::select(&SIZES[..])).prop_map(|(class, size)| Event { class, size })
}

fn note() -> impl Strategy<Value = Note> {
    (0..KEYS, proptest::option::weighted(0.7, any::<u8>()))
}

/// Any operation. The first kinds are the simplest: a failure shrinks towards them.
pub fn any_operation() -> impl Strategy<Value = Operation> {
    let growth = prop_oneof![Just(Growth::None), (0..40_000_u16).prop_map(Growth::Log)];
    prop_oneof![
        6 => (event(), vec(note(), 0..3), any::<bool>())
            .prop_map(|(event, notes, at_once)| Operation::Append { event, notes, at_once }),
        6 => vec(event(), 1..24).prop_map(Operation::Together),
        3 => vec(event(), 1..8).prop_map(Operation::Burst),
        3 => note().prop_map(Operation::Keep),
        6 => (0..OUTLETS, class(), any::<u8>()).prop_map(|(outlet, class, part)| Operation::Advance { outlet, class, part }),
        3 => (class(), any::<u8>(), any::<bool>()).prop_map(|(class, part, hurried)| Operation::PutAway { class, part, hurried }),
        3 => prop_oneof![2 => Just(Room::Plenty), 1 => Just(Room::Scarce)].prop_map(Operation::Tell),
        3 => (growth, vec(event(), 1..8), any::<bool>()).prop_map(|(growth, events, retried)| Operation::Fail { growth, events, retried }),
        1 => Just(Operation::Inspect),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
    ]
}

/// Sequences in which the journal once did what it must not; played first ever after.
pub fn once_found() -> Vec<Vec<Operation>> {
    let event = |class| Event { class, size: 0 };
    let telemetry = Operation::Append { event: event(Class::Telemetry), notes: Vec::new(), at_once: false };
    let receipt = Operation::Append { event: event(Class::Receipt), notes: Vec::new(), at_once: false };
    vec![
        // A class archived to its last event began at number 1 again after the next start.
        vec![telemetry, Operation::PutAway { class: Class::Telemetry, part: 0, hurried: true }],
        // Notes of a failed commit were forgotten when the journal found out by itself that it can be written again.
        vec![
            Operation::Keep((0, Some(1))),
            Operation::Fail { growth: Growth::None, events: vec![event(Class::Receipt)], retried: false },
            Operation::Tell(Room::Scarce),
            receipt,
        ],
    ]
}
