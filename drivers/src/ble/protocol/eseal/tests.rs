use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::rehearsal::{Rehearsed, begin, play, run};
use super::*;
use crate::{
    SealKey,
    codec::eseal::{kind, sealed_frame},
    sim::{
        SimLock,
        lock::{Trick, eseal::SimEseal},
    },
};

fn sim(safe: Safe) -> SimEseal {
    let mut seal = SimEseal::new("54:48:E6:8F:80:A5".parse().unwrap(), 11_001);
    seal.stand(safe);
    seal.stored = b"MSKU3874652\r\nPT Samudra\r\nkopi\r\nTanjung Priok\r\nRotterdam\r\nEver Given\r\n123W\r\n60\r\n04A1B2C3".to_vec();
    seal
}

fn known() -> KnownSeal {
    KnownSeal::new("ESEAL-11001".parse().unwrap(), ProtocolName::EsealBd)
}

fn act(action: Action, sim: &mut SimEseal) -> Rehearsed {
    play(&EsealBd, action, &known(), sim)
}

fn words(done: &Rehearsed) -> Vec<SealWord> {
    done.told.iter().map(|event| event.word).collect()
}

fn status(done: Rehearsed) -> SealStatus {
    let Said::Status(status) = done.said else { panic!("{:?}", done.said) };
    status
}

#[test]
fn a_sealed_one_is_unsealed_once_and_an_unsealed_one_is_left_alone() {
    let mut sim = sim(Safe::Sealed);
    let done = act(Action::Unlock, &mut sim);
    assert_eq!((done.said, done.moves, sim.openings()), (Said::Did, 1, 1));
    let again = act(Action::Unlock, &mut sim);
    assert!(matches!(again.said, Said::Already(Some(_))), "{again:?}");
    assert_eq!((again.moves, sim.openings()), (0, 1));
}

#[test]
fn an_unsealed_one_is_sealed_once_and_a_sealed_one_is_left_alone() {
    let mut sim = sim(Safe::Unsealed);
    let done = act(Action::Lock, &mut sim);
    assert_eq!((done.said, done.moves, sim.closings()), (Said::Did, 1, 1));
    assert_eq!(sim.state().safe, Safe::Sealed);
    let again = act(Action::Lock, &mut sim);
    assert!(matches!(again.said, Said::Already(Some(_))), "{again:?}");
    assert_eq!((again.moves, sim.closings()), (0, 1));
}

#[test]
fn a_state_is_read_with_what_is_stored_and_nothing_moves() {
    let mut sim = sim(Safe::Sealed);
    let done = act(Action::ReadState, &mut sim);
    assert_eq!(done.moves, 0);
    let status = status(done);
    assert_eq!((status.reading.lock, status.reading.open, status.reading.tamper), (Some(LockClaim::Locked), Some(false), Some(false)));
    assert_eq!((status.security, status.complaints), (Security::Weak, vec![]));
    assert!(status.raw.ends_with(&sim.stored), "the stored bytes are the evidence");
    assert_eq!((sim.openings(), sim.closings()), (0, 0));
}

#[test]
fn a_forced_one_complains_and_says_open() {
    let mut sim = sim(Safe::Sealed);
    sim.pull_rod();
    let status = status(act(Action::ReadState, &mut sim));
    assert_eq!((status.reading.lock, status.reading.open, status.reading.tamper), (Some(LockClaim::Unlocked), Some(true), Some(true)));
    assert_eq!(status.complaints, [SealWord::ForcedOpen]);
}

#[test]
fn unsealing_a_forced_one_tells_it_first_and_sealing_it_is_refused() {
    let mut sim = sim(Safe::ForcedOpen);
    let refused = act(Action::Lock, &mut sim);
    assert_eq!((&refused.said, refused.moves), (&Said::Refused(Rejection::InAlarm), 0), "sealing would make it forget");
    let done = act(Action::Unlock, &mut sim);
    assert_eq!(words(&done), [SealWord::ForcedOpen]);
    assert_eq!((done.said, done.moves, sim.state().safe), (Said::Did, 1, Safe::Unsealed));
}

#[test]
fn one_without_its_rod_is_not_sealed() {
    let mut sim = sim(Safe::Unsealed);
    sim.pull_rod();
    let done = act(Action::Lock, &mut sim);
    assert_eq!((done.said, done.moves), (Said::Refused(Rejection::ShackleOut), 0));
}

#[test]
fn a_seal_that_does_not_turn_is_a_refusal() {
    let mut sim = sim(Safe::Sealed);
    sim.trick = Trick::Refuses;
    let done = act(Action::Unlock, &mut sim);
    assert!(matches!(done.said, Said::Refused(Rejection::Other { code: 1, .. })), "{done:?}");
    assert_eq!((done.moves, sim.openings()), (1, 0));
}

#[test]
fn a_silent_seal_is_asked_a_few_times_and_never_told_to_turn() {
    let mut sim = sim(Safe::Sealed);
    sim.trick = Trick::Silent;
    let done = act(Action::Unlock, &mut sim);
    assert_eq!((done.said, done.moves, done.harmless), (Said::Nothing, 0, usize::from(ASKED_AT_MOST)));
}

#[test]
fn an_answer_lost_or_damaged_after_the_unsealing_is_no_answer_and_nothing_is_sent_twice() {
    for trick in [Trick::SilentWhenMoved, Trick::CorruptWhenMoved] {
        let mut sim = sim(Safe::Sealed);
        sim.trick = trick;
        let done = act(Action::Unlock, &mut sim);
        assert_eq!((done.said, done.moves, sim.openings()), (Said::Nothing, 1, 1), "{trick:?}");
    }
}

#[test]
fn damaged_answers_are_never_used() {
    for action in [Action::Unlock, Action::Lock, Action::ReadState] {
        let mut sim = sim(Safe::Sealed);
        sim.trick = Trick::Corrupt;
        let done = act(action, &mut sim);
        assert!(matches!(done.said, Said::Cannot(_)), "{done:?}");
        assert_eq!((done.moves, sim.openings()), (0, 0));
    }
}

#[test]
fn answers_that_come_twice_are_no_refusal() {
    for (action, safe) in [(Action::Unlock, Safe::Sealed), (Action::Lock, Safe::Unsealed)] {
        let mut sim = sim(safe);
        sim.trick = Trick::AnswersTwice;
        let done = act(action, &mut sim);
        assert_eq!((done.said, done.moves, sim.openings() + sim.closings()), (Said::Did, 1, 1));
    }
}

/// The seal turned, and what was heard after it is the answer to the question before: nobody may call that done.
#[test]
fn a_late_answer_is_not_taken_for_done() {
    let mut sim = sim(Safe::Sealed);
    sim.trick = Trick::Late;
    let done = act(Action::Unlock, &mut sim);
    assert!(done.moves <= 1 && done.said != Said::Did, "{done:?}");
}

#[test]
fn another_key_or_another_number_is_said_and_nothing_turns() {
    let mut other_key = sim(Safe::Sealed);
    other_key.key = 7;
    assert_eq!(act(Action::Unlock, &mut other_key).said, Said::Nothing, "it cannot read us");
    let state = sim(Safe::Unsealed).state();
    for (id, key, word) in [(11_001, 7, "key"), (11_002, 0, "11002")] {
        let answer = sealed_frame(id, FIRMWARE_RN, key, kind::STATE, &state.content(id));
        let mut exchange = begin(&EsealBd, Action::Unlock, &known()).unwrap();
        let done = run(exchange.as_mut(), |_, air| air.push_back(answer.clone()), &mut VecDeque::new());
        let Said::Cannot(why) = done.said else { panic!("{:?}", done.said) };
        assert!(why.to_string().contains(word), "{why}");
        assert_eq!(done.moves, 0);
    }
}

#[test]
fn a_registered_key_is_used_and_one_that_cannot_be_is_said() {
    let mut sim = sim(Safe::Sealed);
    sim.key = 0x8765_4321;
    let mut seal = known();
    seal.credentials.key = Some("00000000000000000000000087654321".parse().unwrap());
    assert_eq!(play(&EsealBd, Action::Unlock, &seal, &mut sim).said, Said::Did);
    seal.credentials.key = Some(SealKey::new([1; 16]));
    assert!(matches!(begin(&EsealBd, Action::Unlock, &seal).err(), Some(Hindrance::WrongCredential { what: "key", .. })));
    let unnamed = KnownSeal::new("ESEAL-A1".parse().unwrap(), ProtocolName::EsealBd);
    assert!(matches!(begin(&EsealBd, Action::Unlock, &unnamed).err(), Some(Hindrance::WrongCredential { what: "own number", .. })));
    for action in [Action::DrainLog, Action::SetTime] {
        assert_eq!(begin(&EsealBd, action, &known()).err(), Some(Hindrance::CannotDo { protocol: ProtocolName::EsealBd, action }));
    }
}

/// The reason for its rating, shown: an unsealing recorded once opens the seal as often as somebody likes.
#[test]
fn a_recorded_unsealing_opens_this_seal_again_which_is_why_it_is_rated_weak() {
    let mut sim = sim(Safe::Sealed);
    let recorded = act(Action::Unlock, &mut sim).written.pop().unwrap();
    sim.stand(Safe::Sealed);
    sim.connected();
    sim.written(&recorded);
    assert_eq!((sim.state().safe, sim.openings()), (Safe::Unsealed, 2));
    assert_eq!(EsealBd.rating(&known()).security, Security::Weak);
}

proptest! {
    /// Noise and whole answers in any order and any pieces: it ends, moves once at most, and reading never.
    #[test]
    fn no_conversation_makes_it_loop_or_move_twice(
        script in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            (0u8..4, any::<bool>()).prop_map(|(code, rod)| {
                let rod = if rod { Rod::In } else { Rod::Out };
                let state = State { safe: Safe::new(code), rod, ..SimEseal::new("00:00:00:00:00:01".parse().unwrap(), 1).state() };
                sealed_frame(11_001, FIRMWARE_RN, 0, kind::STATE, &state.content(11_001))
            }),
            Just(sealed_frame(11_001, FIRMWARE_RN, 0, kind::STORED, &[0, 0, 0x2A, 0xF9, 0, 0])),
            Just(sealed_frame(11_001, FIRMWARE_RN, 0, kind::ERROR, &[0, 0, 0x2A, 0xF9, 3])),
        ], 0..60),
        cut in 1usize..60,
        which in 0usize..3,
    ) {
        let action = [Action::ReadState, Action::Unlock, Action::Lock][which];
        let mut exchange = begin(&EsealBd, action, &known()).unwrap();
        let mut air = script.iter().flat_map(|frame| frame.chunks(cut)).map(<[u8]>::to_vec).collect();
        let done = run(exchange.as_mut(), |_, _| {}, &mut air);
        prop_assert!(done.moves <= usize::from(action.moves()));
        prop_assert!(done.moves == 1 || done.said != Said::Did);
    }
}
