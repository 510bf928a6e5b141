//! Exchanges with simulated seals without a radio: what a session would carry out, step by step and at once.

use std::{collections::VecDeque, time::SystemTime};

use super::{Effect, Exchange, Input, Moment, Ports, Protocol, Said, Step};
use crate::{Action, Hindrance, SealEvent, ble::KnownSeal, sim::SimLock};

/// More steps than any exchange may take.
const STEPS_MAX: usize = 2_000;

/// What came of it.
#[derive(Debug)]
pub(super) struct Rehearsed {
    pub(super) said: Said,
    /// Writes that can move the seal.
    pub(super) moves: usize,
    /// All other writes.
    pub(super) harmless: usize,
    pub(super) told: Vec<SealEvent>,
    /// What was written, each frame whole.
    pub(super) written: Vec<Vec<u8>>,
}

pub(super) fn moment() -> Moment {
    let mut random = [0; 32];
    for (at, byte) in random.iter_mut().enumerate() {
        *byte = u8::try_from(at).unwrap().wrapping_mul(37);
    }
    Moment { wall: SystemTime::UNIX_EPOCH, random }
}

pub(super) fn begin(protocol: &dyn Protocol, action: Action, seal: &KnownSeal) -> Result<Box<dyn Exchange>, Hindrance> {
    protocol.exchange(action, seal, &moment())
}

/// Plays an action with a seal to its end.
pub(super) fn play(protocol: &dyn Protocol, action: Action, seal: &KnownSeal, lock: &mut dyn SimLock) -> Rehearsed {
    let mut exchange = begin(protocol, action, seal).unwrap();
    lock.connected();
    let Ports::Fixed { piece, .. } = protocol.ports() else { panic!("fixed ports") };
    let mut air = VecDeque::new();
    run(exchange.as_mut(), |bytes, air| bytes.chunks(piece).for_each(|piece| air.extend(lock.written(piece))), &mut air)
}

/// Plays an exchange against whatever answers `write`.
pub(super) fn run(
    exchange: &mut dyn Exchange,
    mut write: impl FnMut(&[u8], &mut VecDeque<Vec<u8>>),
    air: &mut VecDeque<Vec<u8>>,
) -> Rehearsed {
    let mut done = Rehearsed { said: Said::Nothing, moves: 0, harmless: 0, told: Vec::new(), written: Vec::new() };
    let mut step = exchange.step(Input::Begin);
    for _ in 0..STEPS_MAX {
        step = match step {
            Step::Write { bytes, effect } => {
                match effect {
                    Effect::Moves => done.moves += 1,
                    Effect::Harmless | Effect::Confirms => done.harmless += 1,
                }
                write(&bytes, air);
                done.written.push(bytes);
                exchange.step(Input::Written)
            }
            Step::Listen { .. } => match air.pop_front() {
                Some(bytes) => exchange.step(Input::Notified(&bytes)),
                None => exchange.step(Input::Silence),
            },
            Step::Reread => panic!("these protocols never reread: an old answer would be taken for a new one"),
            Step::Tell { events, .. } => {
                done.told.extend(events);
                exchange.step(Input::Told)
            }
            Step::Store { .. } => panic!("these seals keep no log"),
            Step::End(said) => {
                done.said = said;
                return done;
            }
        };
    }
    panic!("it never ends");
}
