use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::rehearsal::{Rehearsed, begin, play, run};
use super::*;
use crate::sim::{
    SimLock,
    lock::{Trick, nokelock::SimNokeLock},
};

const OWN_KEY: [u8; 16] = [0x42; 16];

fn lock() -> SimNokeLock {
    SimNokeLock::new("54:48:E6:8F:80:A5".parse().unwrap(), SealKey::new(OWN_KEY), *b"739164")
}

fn seal(key: Option<[u8; 16]>, password: Option<&str>) -> KnownSeal {
    let mut seal = KnownSeal::new("NOKE-1".parse().unwrap(), ProtocolName::NokeLock);
    seal.credentials.key = key.map(SealKey::new);
    seal.credentials.password = password.map(|password| password.parse().unwrap());
    seal
}

fn known() -> KnownSeal {
    seal(Some(OWN_KEY), Some("739164"))
}

fn unlock(lock: &mut SimNokeLock) -> Rehearsed {
    play(&NokeLock, Action::Unlock, &known(), lock)
}

fn read(lock: &mut SimNokeLock) -> Rehearsed {
    play(&NokeLock, Action::ReadState, &known(), lock)
}

#[test]
fn a_lock_opens_once_and_says_so() {
    let mut lock = lock();
    let done = unlock(&mut lock);
    assert_eq!((done.said, done.moves, lock.openings()), (Said::Did, 1, 1));
    assert!(lock.is_open());
    let again = unlock(&mut lock);
    assert!(matches!(again.said, Said::Already(Some(_))), "{again:?}");
    assert_eq!((again.moves, lock.openings()), (0, 1));
}

#[test]
fn reading_a_lock_moves_nothing_and_tells_shackle_and_battery() {
    let mut lock = lock();
    let done = read(&mut lock);
    let Said::Status(status) = done.said else { panic!("{:?}", done.said) };
    assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(LockClaim::Locked), Some(93)));
    assert_eq!((status.security, status.did_ours), (Security::Weak, None));
    assert_eq!(hex::encode(status.raw), "050f0101000000000000000000000000".to_owned() + "0202015d000000000000000000000000");
    assert_eq!((done.moves, lock.openings(), lock.closings()), (0, 0, 0));
}

#[test]
fn a_lock_that_cannot_measure_its_battery_has_none() {
    let mut lock = lock();
    lock.battery = None;
    let Said::Status(status) = read(&mut lock).said else { panic!() };
    assert_eq!(status.reading.battery_percent, None);
}

#[test]
fn the_keys_of_models_are_tried_when_none_is_registered_and_the_registers_alone_when_one_is() {
    for (name, key) in MODEL_KEYS {
        let mut lock = lock();
        lock.key = SealKey::new(key);
        let done = play(&NokeLock, Action::Unlock, &seal(None, Some("739164")), &mut lock);
        assert_eq!((done.said, done.moves, lock.openings()), (Said::Did, 1, 1), "{name}");
        let done = unlock(&mut lock);
        assert_eq!((done.said, done.moves), (Said::Nothing, 0), "{name}: the register's key is another");
    }
}

#[test]
fn a_lock_with_another_key_is_never_told_to_open() {
    let mut lock = lock();
    lock.key = SealKey::new([0x43; 16]);
    let done = unlock(&mut lock);
    assert_eq!((done.said, done.moves, lock.openings()), (Said::Nothing, 0, 0));
    // One that answers all the same answers noise.
    let noise = Answer::Opened.frame(&lock.key).to_vec();
    let mut exchange = begin(&NokeLock, Action::Unlock, &known()).unwrap();
    let done = run(exchange.as_mut(), |_, air| air.push_back(noise.clone()), &mut VecDeque::new());
    assert!(matches!(done.said, Said::Cannot(Hindrance::WrongCredential { what: "key", .. })), "{done:?}");
    assert_eq!(done.moves, 0);
}

#[test]
fn a_wrong_password_or_a_stuck_motor_is_a_refusal() {
    let mut lock = lock();
    lock.password = *b"000001";
    let done = unlock(&mut lock);
    assert!(matches!(done.said, Said::Refused(Rejection::Other { code: 1, .. })), "{done:?}");
    assert_eq!((done.moves, lock.openings()), (1, 0));
    let mut stuck = self::lock();
    stuck.trick = Trick::Refuses;
    assert!(matches!(unlock(&mut stuck).said, Said::Refused(_)));
}

#[test]
fn a_silent_lock_is_asked_a_few_times_and_never_told_to_open() {
    let mut lock = lock();
    lock.trick = Trick::Silent;
    let done = unlock(&mut lock);
    assert_eq!((done.said, done.moves), (Said::Nothing, 0));
    assert_eq!(done.harmless, usize::from(ASKED_AT_MOST));
    let done = play(&NokeLock, Action::ReadState, &seal(None, None), &mut lock);
    assert_eq!((done.said, done.harmless), (Said::Nothing, usize::from(ASKED_AT_MOST) * MODEL_KEYS.len()));
}

#[test]
fn an_answer_lost_or_damaged_after_the_unlock_is_no_answer_and_nothing_is_sent_twice() {
    for trick in [Trick::SilentWhenMoved, Trick::CorruptWhenMoved] {
        let mut lock = lock();
        lock.trick = trick;
        let done = unlock(&mut lock);
        assert_eq!((done.said, done.moves, lock.openings()), (Said::Nothing, 1, 1), "{trick:?}");
    }
}

#[test]
fn damaged_answers_are_never_used() {
    let mut lock = lock();
    lock.trick = Trick::Corrupt;
    for done in [unlock(&mut lock), read(&mut lock)] {
        assert!(matches!(done.said, Said::Cannot(Hindrance::WrongCredential { .. })), "{done:?}");
        assert_eq!(done.moves, 0);
    }
}

#[test]
fn answers_that_come_twice_or_late_open_it_once() {
    let mut twice = lock();
    twice.trick = Trick::AnswersTwice;
    let done = unlock(&mut twice);
    assert_eq!((done.said, done.moves, twice.openings()), (Said::Did, 1, 1));
    let mut late = lock();
    late.trick = Trick::Late;
    let done = unlock(&mut late);
    assert!(done.moves <= 1 && late.openings() <= 1, "{done:?}");
    assert_ne!(done.said, Said::Did, "its own answer never came");
}

#[test]
fn a_lock_closed_by_hand_is_told_and_the_talk_goes_on() {
    let mut lock = lock();
    let report = lock.close_by_hand();
    let mut exchange = begin(&NokeLock, Action::ReadState, &known()).unwrap();
    lock.connected();
    let done = run(exchange.as_mut(), |bytes, air| air.extend(lock.written(bytes)), &mut report.into());
    assert_eq!(done.told.iter().map(|event| event.word).collect::<Vec<_>>(), [SealWord::LocallySealed]);
    assert!(matches!(done.said, Said::Status(_)), "{done:?}");
}

/// Answers bear no mark of their connection: an "opened" recorded yesterday must not come before its time.
#[test]
fn an_answer_nobody_asked_for_opens_nothing() {
    let opened = Answer::Opened.frame(&SealKey::new(OWN_KEY)).to_vec();
    let mut lock = lock();
    lock.connected();
    lock.trick = Trick::SilentWhenMoved;
    let mut exchange = begin(&NokeLock, Action::Unlock, &known()).unwrap();
    let done = run(exchange.as_mut(), |bytes, air| air.extend(lock.written(bytes)), &mut [opened.clone(), opened].into());
    assert_eq!((done.said, done.moves), (Said::Nothing, 1));
}

#[test]
fn what_is_missing_or_cannot_be_done_is_said_before_anything_is_sent() {
    let why = |action, seal: &KnownSeal| begin(&NokeLock, action, seal).err().unwrap();
    assert_eq!(why(Action::Unlock, &seal(None, None)), Hindrance::NoCredential { what: "password" });
    assert!(matches!(why(Action::Unlock, &seal(None, Some("1234567"))), Hindrance::WrongCredential { what: "password", .. }));
    for action in [Action::Lock, Action::DrainLog, Action::SetTime] {
        assert_eq!(why(action, &known()), Hindrance::CannotDo { protocol: ProtocolName::NokeLock, action });
        assert!(!NokeLock.actions().contains(&action));
    }
    assert!(!why(Action::Unlock, &seal(None, Some("1234567"))).to_string().contains("1234567"));
}

#[test]
fn a_factory_password_and_a_shared_key_are_said_in_the_rating_and_do_not_keep_it_from_opening() {
    let rating = |seal: &KnownSeal| NokeLock.rating(seal);
    assert!(rating(&seal(None, Some("739164"))).reason.contains("whole model"));
    assert!(rating(&seal(Some(MODEL_KEYS[0].1), Some("739164"))).reason.contains("whole model"));
    assert!(rating(&seal(Some(OWN_KEY), Some("000000"))).reason.contains("factory password"));
    assert!(!rating(&known()).reason.contains("whole model") && !rating(&known()).reason.contains("factory"));
    for seal in [known(), seal(None, None), seal(Some(OWN_KEY), Some("000000"))] {
        assert_eq!(rating(&seal).security, Security::Weak);
    }
    let mut lock = lock();
    lock.password = *b"000000";
    let done = play(&NokeLock, Action::Unlock, &seal(Some(OWN_KEY), Some("000000")), &mut lock);
    assert_eq!((done.said, lock.openings()), (Said::Did, 1));
}

#[test]
fn nothing_is_written_to_the_firmware_service() {
    let Ports::Fixed { service, write, notify, piece, .. } = NokeLock.ports() else { panic!() };
    assert_eq!(service.to_string(), "0000fee7-0000-1000-8000-00805f9b34fb");
    assert_eq!(write.to_string(), "000036f5-0000-1000-8000-00805f9b34fb");
    assert_eq!(notify.to_string(), "000036f6-0000-1000-8000-00805f9b34fb");
    assert!(piece >= nokelock::FRAME_LEN, "a block is never cut");
}

proptest! {
    /// Noise, answers under the right key in any order, and silence: it ends, moves once at most, and reading never.
    #[test]
    fn no_conversation_makes_it_loop_or_move_twice(
        script in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            (0usize..7, any::<u8>()).prop_map(|(which, code)| {
                let all = [
                    Answer::Token { token: Token([code; 4]), chip: 1, version: (3, 1) },
                    Answer::Status { shackle: Shackle::Closed, code: 1 },
                    Answer::Status { shackle: Shackle::Open, code: 0 },
                    Answer::Battery { percent: None },
                    Answer::Opened,
                    Answer::NotOpened { code: 1 },
                    Answer::ClosedByHand,
                ];
                all[which].frame(&SealKey::new(OWN_KEY)).to_vec()
            }),
        ], 0..200),
        reading: bool,
    ) {
        let action = if reading { Action::ReadState } else { Action::Unlock };
        let mut exchange = begin(&NokeLock, action, &known()).unwrap();
        let done = run(exchange.as_mut(), |_, _| {}, &mut script.into());
        prop_assert!(done.moves <= usize::from(!reading));
        prop_assert!(reading || done.moves == 1 || done.said != Said::Did);
    }
}
