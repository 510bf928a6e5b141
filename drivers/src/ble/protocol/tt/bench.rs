//! An exchange and a simulated seal, without a radio between them.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use crate::{
    SealEvent, SealWord,
    ble::protocol::{Effect, Exchange, Input, Said, Step},
    sim::SimLock,
};

/// What was seen of an exchange.
#[derive(Debug, Default)]
pub(in crate::ble::protocol) struct Played {
    pub(in crate::ble::protocol) said: Option<Said>,
    pub(in crate::ble::protocol) told: Vec<SealEvent>,
    pub(in crate::ble::protocol) written: Vec<(Vec<u8>, Effect)>,
    /// Waited through to the end, together.
    pub(in crate::ble::protocol) silence: Duration,
    /// How long it had been silent at each write.
    pub(in crate::ble::protocol) written_after: Vec<Duration>,
}

impl Played {
    pub(in crate::ble::protocol) fn words(&self) -> Vec<SealWord> {
        self.told.iter().map(|event| event.word).collect()
    }

    pub(in crate::ble::protocol) fn moves(&self) -> usize {
        self.written.iter().filter(|(_, effect)| *effect == Effect::Moves).count()
    }

    pub(in crate::ble::protocol) fn said(&self) -> &Said {
        self.said.as_ref().expect("it ended")
    }
}

/// How notifications travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ble::protocol) enum Travel {
    /// As the seal sent them, when they are listened for.
    Whole,
    /// In pieces of so many bytes.
    Cut(usize),
    /// All in one.
    Joined,
    /// Before the write they answer is acknowledged, in its place.
    Early,
}

/// Plays an exchange to its end.
pub(in crate::ble::protocol) fn play(exchange: &mut dyn Exchange, seal: &mut dyn SimLock, travel: Travel) -> Played {
    const STEPS_MAX: usize = 1000;
    let (mut played, mut coming) = (Played::default(), VecDeque::new());
    let mut step = exchange.step(Input::Begin);
    for _ in 0..STEPS_MAX {
        step = match step {
            Step::Write { bytes, effect } => {
                let said: Vec<Vec<u8>> = bytes.chunks(20).flat_map(|piece| seal.written(piece)).collect();
                match travel {
                    Travel::Whole | Travel::Early => coming.extend(said),
                    Travel::Cut(len) => coming.extend(said.iter().flat_map(|bytes| bytes.chunks(len).map(<[u8]>::to_vec))),
                    Travel::Joined => coming.extend(Some(said.concat()).filter(|bytes| !bytes.is_empty())),
                }
                played.written.push((bytes, effect));
                played.written_after.push(played.silence);
                match coming.pop_front() {
                    Some(bytes) if travel == Travel::Early => exchange.step(Input::Notified(&bytes)),
                    Some(bytes) => {
                        coming.push_front(bytes);
                        exchange.step(Input::Written)
                    }
                    None => exchange.step(Input::Written),
                }
            }
            Step::Listen { within } => match coming.pop_front() {
                Some(bytes) => exchange.step(Input::Notified(&bytes)),
                None => {
                    played.silence += within;
                    exchange.step(Input::Silence)
                }
            },
            Step::Tell { events, .. } => {
                played.told.extend(events);
                exchange.step(Input::Told)
            }
            Step::Reread => exchange.step(Input::Reread(&seal.value())),
            Step::Store { .. } => exchange.step(Input::NotOnDisk),
            Step::End(said) => {
                played.said = Some(said);
                return played;
            }
        };
    }
    panic!("it did not end within {STEPS_MAX} steps");
}

/// An input of any kind; notifications are any bytes.
#[derive(Debug, Clone)]
pub(in crate::ble::protocol) enum AnyInput {
    Written,
    Notified(Vec<u8>),
    Reread(Vec<u8>),
    Silence,
    Told,
}

impl AnyInput {
    pub(in crate::ble::protocol) fn input(&self) -> Input<'_> {
        match self {
            Self::Written => Input::Written,
            Self::Notified(bytes) => Input::Notified(bytes),
            Self::Reread(bytes) => Input::Reread(bytes),
            Self::Silence => Input::Silence,
            Self::Told => Input::Told,
        }
    }
}

/// Inputs in any order, among them frames that a seal might send.
pub(in crate::ble::protocol) fn any_inputs(frames: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<AnyInput>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let input = prop_oneof![
        1 => Just(AnyInput::Written),
        1 => Just(AnyInput::Silence),
        1 => Just(AnyInput::Told),
        1 => bytes().prop_map(AnyInput::Notified),
        1 => bytes().prop_map(AnyInput::Reread),
        6 => prop::sample::select(frames).prop_map(AnyInput::Notified),
    ];
    prop::collection::vec(input, 0..230)
}

/// Feeds inputs in any order; how many steps could move the seal, and whether it ended.
pub(in crate::ble::protocol) fn feed(exchange: &mut dyn Exchange, inputs: &[AnyInput]) -> (usize, bool) {
    let (mut moves, mut over) = (0, false);
    let begin = [Input::Begin];
    for input in begin.into_iter().chain(inputs.iter().map(AnyInput::input)) {
        match exchange.step(input) {
            Step::Write { effect: Effect::Moves, .. } => moves += 1,
            Step::End(_) => over = true,
            _ => {}
        }
    }
    (moves, over)
}

/// How many cases of a long random test: few in an ordinary run, many in the nightly one.
pub(in crate::ble::protocol) fn cases() -> ProptestConfig {
    let nightly = std::env::var("SEGEL_NIGHTLY").is_ok_and(|wish| wish == "1");
    ProptestConfig::with_cases(if nightly { 4096 } else { 64 })
}
