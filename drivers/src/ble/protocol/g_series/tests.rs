use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::{
    super::tt::bench::{AnyInput, Played, Travel, any_inputs, cases, feed, play},
    *,
};
use crate::{
    MacAddress, Rejection, SealWord,
    ble::protocol::{Effect, Input, Said, Step},
    codec::g_series::{self as codec, QUERY, SET, Sealing, Way},
    sim::{
        SimLock,
        lock::g_series::{GLock, Trouble},
    },
};

const START: Duration = Duration::from_millis(1_784_111_400_900);

fn at(since_1970: Duration) -> Moment {
    Moment { wall: SystemTime::UNIX_EPOCH + since_1970, random: [1, 2, 3, 4].repeat(8).try_into().unwrap() }
}

fn key() -> SealKey {
    "000102030405060708090a0b0c0d0e0f".parse().unwrap()
}

fn seal() -> KnownSeal {
    let mut seal = KnownSeal::new("IMZ-4711".parse().unwrap(), ProtocolName::GSeries);
    seal.credentials.key = Some(key());
    seal
}

fn with(troubles: &[Trouble]) -> GLock {
    let mut lock = GLock::new(MacAddress([0xDC, 0x0D, 0, 0, 0, 1]), "4711", key());
    troubles.iter().for_each(|trouble| lock.trouble(*trouble));
    lock
}

fn run_at(wall: Duration, action: Action, lock: &mut GLock) -> Played {
    play(&mut *GSeries.exchange(action, &seal(), &at(wall)).unwrap(), lock, Travel::Whole)
}

fn run(action: Action, lock: &mut GLock) -> Played {
    run_at(START, action, lock)
}

#[test]
fn it_locks_reads_and_unlocks_within_the_same_seconds_and_each_serial_is_above_the_last() {
    let mut lock = with(&[]);
    let mut wall = START;
    for (action, sealed) in [(Action::Lock, true), (Action::ReadState, true), (Action::Unlock, false), (Action::ReadState, false)] {
        let played = run_at(wall, action, &mut lock);
        wall += played.silence + Duration::from_millis(5);
        match played.said() {
            Said::Did => assert_eq!((played.moves(), played.written.len()), (1, 1)),
            Said::Status(status) => {
                let claim = if sealed { LockClaim::Locked } else { LockClaim::Unlocked };
                assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(claim), Some(64)));
                assert_eq!((status.security, status.did_ours, played.moves()), (Security::Weak, None, 0));
                assert!(status.complaints.is_empty());
            }
            other => panic!("{action}: {other:?}"),
        }
        assert_eq!(lock.is_sealed(), sealed);
    }
    assert_eq!((lock.openings(), lock.closings()), (1, 1));
}

/// Derived, not captured. Frozen: do not change this test.
#[test]
fn the_derived_frames_go_out_a_second_after_the_exchange_began() {
    let frames = [
        (Action::Unlock, "f11fffee03100010cf7d35fd17b11f9089e9e44442f02919edf22f"),
        (Action::Lock, "f11fffee0310001043829242b697bcb4ac978d2b6c43f8b543f22f"),
    ];
    for (action, expected) in frames {
        let mut exchange = GSeries.exchange(action, &seal(), &at(Duration::from_secs(1_784_111_399))).unwrap();
        assert_eq!(exchange.step(Input::Begin), Step::Listen { within: Duration::from_secs(1) });
        assert_eq!(exchange.step(Input::Silence), Step::Write { bytes: hex::decode(expected).unwrap(), effect: Effect::Moves });
    }
}

#[test]
fn reading_waits_two_seconds_for_what_the_lock_may_still_do() {
    let played = run(Action::ReadState, &mut with(&[]));
    assert_eq!(played.written_after, [Duration::from_secs(2), Duration::from_secs(3)]);
}

#[test]
fn every_refusal_is_named() {
    let other = |code, meaning| Rejection::Other { code, meaning };
    let one = other(1, "failed; it may have moved all the same");
    let cases = [
        (Action::Lock, with(&[Trouble::LowVoltage]), other(6, "other error"), 0),
        (Action::Lock, with(&[Trouble::LowVoltage, Trouble::OnlyShort]), one, 0),
        (Action::Lock, with(&[Trouble::ShackleOut]), Rejection::ShackleOut, 0),
        (Action::Unlock, with(&[Trouble::MovesDespiteOne]).sealed(), one, 1),
        (Action::Unlock, with(&[Trouble::MovesDespiteOne, Trouble::OnlyShort]).sealed(), one, 1),
        (Action::Unlock, with(&[Trouble::MovesDespiteSeventeen]).sealed(), other(17, "error; it may have moved all the same"), 1),
    ];
    for (action, mut lock, cause, openings) in cases {
        let played = run(action, &mut lock);
        let doubtful = cause == one || matches!(cause, Rejection::Other { code: 17, .. });
        let said = if doubtful { Said::Doubtful(cause) } else { Said::Refused(cause) };
        assert_eq!((played.said(), played.moves(), lock.openings()), (&said, 1, openings), "{lock:?}");
        lock.heal();
        let read = run_at(START + played.silence, Action::ReadState, &mut lock);
        let Said::Status(status) = read.said() else { panic!("{:?}", read.said) };
        assert_eq!(status.reading.lock, Some(LockClaim::Unlocked), "reading it tells what became of it");
    }
}

#[test]
fn done_is_what_it_says_and_reading_it_tells_the_truth() {
    let mut lock = with(&[Trouble::MotorStuck]).sealed();
    let played = run(Action::Unlock, &mut lock);
    assert_eq!((played.said(), lock.openings()), (&Said::Did, 0));
    let Some(Said::Status(status)) = run_at(START + played.silence, Action::ReadState, &mut lock).said else { panic!("a state") };
    assert_eq!(status.reading.lock, Some(LockClaim::Locked));
}

#[test]
fn a_clock_that_went_back_is_refused_as_stale_and_nothing_moves() {
    let mut lock = with(&[]);
    assert_eq!(run(Action::Lock, &mut lock).said(), &Said::Did);
    let played = run_at(START - Duration::from_secs(60), Action::Unlock, &mut lock);
    assert_eq!((played.said(), lock.openings()), (&Said::Refused(Rejection::Stale), 0));
    let read = run_at(START - Duration::from_secs(60), Action::ReadState, &mut lock);
    assert_eq!(read.said(), &Said::Refused(Rejection::Stale));
}

#[test]
fn a_lock_with_another_key_refuses_and_a_key_that_does_not_fit_its_answer_is_said() {
    let mut lock = GLock::new(MacAddress([0xDC, 0x0D, 0, 0, 0, 1]), "4711", SealKey::new([3; 16]));
    let played = run(Action::Lock, &mut lock);
    assert!(matches!(played.said(), Said::Cannot(Hindrance::WrongCredential { what: "key", .. })), "{:?}", played.said);
    assert!(!lock.is_sealed());
}

#[test]
fn short_and_long_answers_in_any_company_are_understood() {
    use Trouble::{AnswersTwice, NewsFirst, OnlyLong, OnlyShort};
    for troubles in [&[][..], &[NewsFirst], &[AnswersTwice], &[OnlyLong], &[OnlyShort], &[NewsFirst, AnswersTwice, OnlyLong]] {
        for travel in [Travel::Whole, Travel::Cut(5), Travel::Cut(20), Travel::Joined, Travel::Early] {
            let mut lock = with(troubles);
            let play = |action, wall, lock: &mut GLock| play(&mut *GSeries.exchange(action, &seal(), &at(wall)).unwrap(), lock, travel);
            let locked = play(Action::Lock, START, &mut lock);
            // a short success has no key and no check: reading the state decides
            let expected = if troubles.contains(&OnlyShort) { Said::Nothing } else { Said::Did };
            assert_eq!((locked.said(), locked.moves(), lock.closings()), (&expected, 1, 1), "{troubles:?} {travel:?}");
            let read = play(Action::ReadState, START + locked.silence, &mut lock);
            if troubles.contains(&OnlyShort) {
                assert_eq!(read.said(), &Said::Nothing, "a question needs a long answer");
            } else {
                let Said::Status(status) = read.said() else { panic!("{troubles:?} {travel:?}: {:?}", read.said) };
                assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(LockClaim::Locked), Some(64)));
            }
        }
    }
}

#[test]
fn a_damaged_answer_is_an_error_and_nothing_of_it_is_used() {
    for action in [Action::Lock, Action::ReadState] {
        for only in [Trouble::OnlyLong, Trouble::CorruptNext] {
            for travel in [Travel::Whole, Travel::Cut(6), Travel::Early] {
                let mut lock = with(&[Trouble::CorruptNext, only]);
                let played = play(&mut *GSeries.exchange(action, &seal(), &at(START)).unwrap(), &mut lock, travel);
                assert!(matches!(played.said(), Said::Cannot(Hindrance::Unintelligible(_))), "{travel:?}: {:?}", played.said);
            }
        }
    }
}

#[test]
fn in_the_clear_a_refusal_is_believed_and_a_success_is_not() {
    let played = run(Action::Lock, &mut with(&[Trouble::InTheClear]));
    assert!(matches!(played.said(), Said::Cannot(Hindrance::WrongCredential { what: "key", .. })), "{:?}", played.said);
    let played = run(Action::ReadState, &mut with(&[Trouble::InTheClear]));
    assert!(matches!(played.said(), Said::Cannot(Hindrance::WrongCredential { what: "key", .. })), "{:?}", played.said);
    let played = run(Action::Lock, &mut with(&[Trouble::InTheClear, Trouble::LowVoltage]));
    assert_eq!(played.said(), &Said::Refused(Rejection::Other { code: 6, meaning: "other error" }));
}

#[test]
fn a_state_without_a_battery_is_a_state_and_one_nobody_knows_is_a_complaint() {
    let read = |troubles: &[Trouble]| match run(Action::ReadState, &mut with(troubles)).said {
        Some(Said::Status(status)) => status,
        other => panic!("{other:?}"),
    };
    let status = read(&[Trouble::NoBattery]);
    assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(LockClaim::Unlocked), None));
    let status = read(&[Trouble::OddState]);
    assert_eq!((status.reading.lock, status.complaints.as_slice()), (None, [SealWord::Abnormal].as_slice()));
    assert_eq!(status.reading.battery_percent, Some(64));
}

#[test]
fn silence_is_nothing_and_nothing_is_written_again() {
    let mut lock = with(&[Trouble::Silent]);
    let played = run(Action::Lock, &mut lock);
    assert_eq!((played.said(), played.written.len(), lock.closings()), (&Said::Nothing, 1, 1), "it did it all the same");
    assert_eq!(run(Action::ReadState, &mut with(&[Trouble::Silent])).said(), &Said::Nothing);
}

#[test]
fn a_late_answer_that_comes_before_the_question_is_not_its_answer() {
    let mut exchange = GSeries.exchange(Action::ReadState, &seal(), &at(START)).unwrap();
    let _ = exchange.step(Input::Begin);
    let late = answer(QUERY, &[1, 0x30, 1, 0x31]);
    assert!(matches!(exchange.step(Input::Notified(&late)), Step::Listen { .. }));
    assert!(matches!(exchange.step(Input::Silence), Step::Write { effect: Effect::Harmless, .. }));
    assert!(matches!(exchange.step(Input::Notified(&answer(SET, &[0]))), Step::Listen { .. }), "nor is that to another command");
    assert!(matches!(exchange.step(Input::Silence), Step::End(Said::Nothing)));
}

#[test]
fn without_what_it_needs_nothing_begins() {
    let begin = |action, seal: &KnownSeal| GSeries.exchange(action, seal, &at(START)).err();
    let mut none = seal();
    none.credentials.key = None;
    for action in [Action::Lock, Action::Unlock, Action::ReadState] {
        assert_eq!(begin(action, &none), Some(Hindrance::NoCredential { what: "key" }));
        assert_eq!(begin(action, &seal()), None);
    }
    let mut factory = seal();
    factory.credentials.password = Some("888888".parse().unwrap());
    let mut blank = seal();
    blank.credentials.key = Some(SealKey::new([0; 16]));
    for seal in [factory, blank] {
        assert_eq!(begin(Action::Lock, &seal), Some(Hindrance::FactoryPassword));
        assert_eq!(begin(Action::Unlock, &seal), None, "it must be possible to open it");
    }
    for action in [Action::SetTime, Action::DrainLog] {
        assert!(matches!(begin(action, &seal()), Some(Hindrance::CannotDo { .. })));
    }
}

#[test]
fn a_lock_that_talks_without_end_is_not_heard_out() {
    for quiet_first in [0, 1] {
        let mut exchange = GSeries.exchange(Action::Lock, &seal(), &at(START)).unwrap();
        let _ = exchange.step(Input::Begin);
        for _ in 0..quiet_first {
            let _ = exchange.step(Input::Silence);
        }
        let news = answer(0x0999, &[1]);
        let last = (0..1000).map(|_| exchange.step(Input::Notified(&news))).find(|step| matches!(step, Step::End(_)));
        assert!(matches!(last, Some(Step::End(Said::Cannot(_)))), "{last:?}");
    }
}

fn answer(command: u16, content: &[u8]) -> Vec<u8> {
    let serial = SealTime::of(at(START).wall);
    codec::sealed(Way::FromLock, command, content, &Sealing { key: &key(), serial, random: [9; 4] })
}

fn inputs() -> impl Strategy<Value = Vec<AnyInput>> {
    let frames = [
        answer(SET, &[0]),
        answer(SET, &[17]),
        answer(QUERY, &[1, 0x30, 1, 0x31]),
        answer(QUERY, &[1, 0x94, 1, 50]),
        answer(0x0999, &[1]),
        codec::plain(Way::FromLock, SET, &[0]),
        codec::short(0),
        codec::short(1),
    ];
    any_inputs(frames.to_vec())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn reading_never_moves_and_whatever_comes_it_ends(inputs in inputs()) {
        let (moves, over) = feed(&mut *GSeries.exchange(Action::ReadState, &seal(), &at(START)).unwrap(), &inputs);
        prop_assert_eq!(moves, 0);
        prop_assert!(over || inputs.len() < 200);
    }

    #[test]
    fn what_moves_is_written_once_at_the_first_silence_and_never_again(inputs in inputs(), unlock in any::<bool>()) {
        let action = if unlock { Action::Unlock } else { Action::Lock };
        let (moves, over) = feed(&mut *GSeries.exchange(action, &seal(), &at(START)).unwrap(), &inputs);
        let silent = inputs.iter().take(199).any(|input| matches!(input, AnyInput::Silence));
        prop_assert_eq!(moves, usize::from(silent));
        prop_assert!(over || inputs.len() < 200);
    }

    #[test]
    fn serials_rise_from_exchange_to_exchange_without_anything_being_kept(
        steps in prop::collection::vec((0u8..3, 0u64..1500), 1..20), start in 0u64..1000, battery in any::<bool>(),
    ) {
        let mut lock = with(if battery { &[] } else { &[Trouble::NoBattery, Trouble::OnlyLong] });
        let mut wall = START + Duration::from_millis(start);
        for (action, pause) in steps {
            let action = [Action::Lock, Action::Unlock, Action::ReadState][usize::from(action)];
            let played = run_at(wall, action, &mut lock);
            prop_assert!(matches!(played.said(), Said::Did | Said::Status(_)), "{:?}", played.said);
            wall += played.silence + Duration::from_millis(pause);
        }
    }
}
