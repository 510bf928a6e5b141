mod unasked;

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::{
    bench::{AnyInput, Played, Travel, any_inputs, cases, feed, play},
    *,
};
use crate::{
    Credentials, LockClaim, MacAddress, Memory, Rejection, SealKey, SealWord,
    ble::protocol::{Effect, Input, Said, Step},
    codec::tt::{self, Alarm, Message, Report, Source, codes, state::State},
    sim::{
        SimLock,
        lock::tt::{Trouble, TtLock},
    },
};

const NUMBER: &str = "83181001";

fn moment() -> Moment {
    Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_111_400), random: [5; 32] }
}

fn seal(password: &str) -> KnownSeal {
    let mut seal = KnownSeal::new("TT-83181001".parse().unwrap(), ProtocolName::TtElock);
    seal.credentials = Credentials { password: Some(password.parse().unwrap()), ..Credentials::default() };
    seal
}

fn lock() -> TtLock {
    TtLock::new(MacAddress([2, 0, 0, 0, 0, 1]), NUMBER.parse().unwrap(), *b"739164")
}

fn run(action: Action, lock: &mut TtLock) -> Played {
    play(&mut *Tt.exchange(action, &seal("739164"), &moment()).unwrap(), lock, Travel::Whole)
}

fn with(troubles: &[Trouble]) -> TtLock {
    let mut lock = lock();
    troubles.iter().for_each(|trouble| lock.trouble(*trouble));
    lock
}

fn sealed_with(troubles: &[Trouble]) -> TtLock {
    with(troubles).sealed()
}

#[test]
fn it_locks_says_so_and_unlocks_and_says_so_each_with_one_write() {
    let mut lock = lock();
    for (action, sealed) in [(Action::Lock, true), (Action::Unlock, false)] {
        let played = run(action, &mut lock);
        assert_eq!((played.said(), played.moves(), played.written.len()), (&Said::Did, 1, 1));
        assert_eq!(lock.is_sealed(), sealed);
        assert!(played.told.is_empty(), "what we did is no news: {:?}", played.told);
    }
    assert_eq!((lock.openings(), lock.closings()), (1, 1));
}

/// Derived, not captured. Frozen: do not change this test.
#[test]
fn the_derived_unlock_frame_goes_out() {
    let mut exchange = Tt.exchange(Action::Unlock, &seal("112233"), &moment()).unwrap();
    let Step::Write { bytes, effect } = exchange.step(Input::Begin) else { panic!("it writes first") };
    assert_eq!((hex::encode(bytes), effect), ("011137207e03e93131323233331a070f0a1e00af".to_owned(), Effect::Moves));
}

#[test]
fn its_state_is_read_with_battery_and_its_own_time_and_nothing_can_move() {
    let mut lock = lock().sealed();
    let played = run(Action::ReadState, &mut lock);
    let Said::Status(status) = played.said() else { panic!("{:?}", played.said) };
    assert_eq!((status.reading.lock, status.reading.battery_percent), (Some(LockClaim::Locked), Some(87)));
    assert_eq!(status.reading.device_time, Some(1_784_111_400));
    assert_eq!((status.security, status.did_ours, played.moves()), (Security::Weak, None, 0));
    assert_eq!(status.raw[0], 0x62);
    assert!(status.complaints.is_empty());
}

#[test]
fn alarms_are_in_the_state_that_is_read() {
    use SealWord::{CoverOpened, EmergencyOpened, ForcedOpen, ShackleCut};
    let words = [
        (Trouble::RodCut, ShackleCut),
        (Trouble::ForcedOpen, ForcedOpen),
        (Trouble::ShellOpen, CoverOpened),
        (Trouble::Emergency, EmergencyOpened),
    ];
    for (trouble, word) in words {
        let played = run(Action::ReadState, &mut with(&[trouble]));
        let Said::Status(status) = played.said() else { panic!("{:?}", played.said) };
        assert_eq!((status.complaints.as_slice(), status.reading.tamper), ([word].as_slice(), Some(true)));
    }
}

#[test]
fn its_clock_is_set_without_a_password() {
    let mut lock = lock();
    let mut seal = seal("739164");
    seal.credentials.password = None;
    let played = play(&mut *Tt.exchange(Action::SetTime, &seal, &moment()).unwrap(), &mut lock, Travel::Whole);
    assert_eq!((played.said(), played.moves(), played.written[0].1), (&Said::TimeSet, 0, Effect::Harmless));
    assert_eq!(lock.time().unwrap().unix(), 1_784_111_400);
}

#[test]
fn every_refusal_is_named_and_every_alarm_in_it_is_told_first() {
    use Rejection::{InAlarm, LowVoltage, NotSealed, ShackleOut};
    use SealWord::{CoverOpened, EmergencyOpened, ForcedOpen, LowBattery, ShackleCut};
    let overtime = Rejection::Other { code: 0x99, meaning: "overtime" };
    let cases: [(Action, TtLock, Rejection, &[SealWord]); 12] = [
        (Action::Lock, with(&[Trouble::RodOut]), ShackleOut, &[]),
        (Action::Lock, with(&[Trouble::LowVoltage]), LowVoltage, &[LowBattery]),
        (Action::Lock, with(&[Trouble::ShellOpen]), InAlarm, &[CoverOpened]),
        (Action::Lock, with(&[Trouble::RodCut]), InAlarm, &[ShackleCut]),
        (Action::Lock, with(&[Trouble::ForcedOpen]), InAlarm, &[ForcedOpen]),
        (Action::Unlock, sealed_with(&[Trouble::ShellOpen]), InAlarm, &[ForcedOpen, CoverOpened]),
        (Action::Unlock, sealed_with(&[Trouble::Emergency]), InAlarm, &[EmergencyOpened]),
        (Action::Unlock, sealed_with(&[Trouble::ForcedOpen]), InAlarm, &[ForcedOpen]),
        (Action::Unlock, sealed_with(&[Trouble::NotSealed]), NotSealed, &[]),
        (Action::Unlock, sealed_with(&[Trouble::RodCut]), InAlarm, &[ShackleCut]),
        (Action::Unlock, sealed_with(&[Trouble::RodCut, Trouble::ShellOpen]), InAlarm, &[ShackleCut, CoverOpened]),
        (Action::Unlock, sealed_with(&[Trouble::MotorStuck]), overtime, &[]),
    ];
    for (action, mut lock, cause, words) in cases {
        let played = run(action, &mut lock);
        let said = if cause == overtime { Said::Doubtful(cause) } else { Said::Refused(cause) };
        assert_eq!((played.said(), played.words().as_slice()), (&said, words), "{action}: {lock:?}");
        assert_eq!((lock.openings(), lock.closings(), played.moves()), (0, 0, 1));
    }
}

#[test]
fn a_wrong_password_refuses_every_action_that_needs_one() {
    for action in [Action::ReadState, Action::Lock, Action::Unlock] {
        let mut lock = lock().sealed();
        let played = play(&mut *Tt.exchange(action, &seal("739165"), &moment()).unwrap(), &mut lock, Travel::Whole);
        assert_eq!((played.said(), lock.is_sealed()), (&Said::Refused(Rejection::WrongPassword), true), "{action}");
    }
}

#[test]
fn what_stands_so_already_is_said_with_its_state() {
    let cases = [
        (Action::Lock, lock().sealed(), LockClaim::Locked),
        (Action::Unlock, lock(), LockClaim::Unlocked),
        (Action::Unlock, sealed_with(&[Trouble::RodOut]), LockClaim::Unlocked),
    ];
    for (action, mut lock, stands) in cases {
        let played = run(action, &mut lock);
        let Said::Already(Some(status)) = played.said() else { panic!("{:?}", played.said) };
        assert_eq!((status.reading.lock, lock.openings() + lock.closings()), (Some(stands), 0));
    }
}

#[test]
fn with_a_key_it_speaks_encrypted_and_a_wrong_key_or_none_is_said() {
    let key = SealKey::new([9; 16]);
    let keyed = |key: Option<SealKey>| {
        let mut seal = seal("739164");
        seal.credentials.key = key;
        seal
    };
    let locked =
        |seal: &KnownSeal, lock: &mut TtLock| play(&mut *Tt.exchange(Action::Lock, seal, &moment()).unwrap(), lock, Travel::Cut(20));
    let mut lock = with(&[Trouble::HeartbeatFirst]).with_key(key.clone());
    let played = locked(&keyed(Some(key.clone())), &mut lock);
    assert_eq!((played.said(), lock.heartbeats_answered()), (&Said::Did, 1));
    assert!(lock.all_written().flatten().copied().collect::<Vec<_>>().windows(6).all(|bytes| bytes != b"739164"));
    let answer = |said: &Played| said.said.clone();
    let mut begun = Tt.exchange(Action::Lock, &keyed(Some(key)), &moment()).unwrap();
    let _ = begun.step(Input::Begin);
    let plain = begun.step(Input::Notified(&frame(0x80, Source::Bluetooth)));
    assert!(matches!(plain, Step::End(Said::Cannot(Hindrance::WrongCredential { what: "key", .. }))), "a downgrade: {plain:?}");
    let mut begun = Tt.exchange(Action::Lock, &keyed(None), &moment()).unwrap();
    let _ = begun.step(Input::Begin);
    let encrypted = tt::write(&[0x80, 0x20, 0x7E, 3, 0xE9, 1, 0x40], Some(&SealKey::new([9; 16])));
    assert_eq!(begun.step(Input::Notified(&encrypted)), Step::End(Said::Cannot(Hindrance::NoCredential { what: "key" })));
    let wrong = locked(&keyed(Some(SealKey::new([8; 16]))), &mut lock);
    assert_eq!(answer(&wrong), Some(Said::Nothing), "the lock does not understand it");
}

#[test]
fn without_what_it_needs_nothing_begins() {
    let begin = |action, seal: &KnownSeal| Tt.exchange(action, seal, &moment()).err();
    let factory = seal("888888");
    assert_eq!(begin(Action::Lock, &factory), Some(Hindrance::FactoryPassword));
    assert_eq!(begin(Action::Unlock, &factory), None, "it must be possible to open it");
    assert_eq!(begin(Action::ReadState, &factory), None);
    let mut none = seal("739164");
    none.credentials.password = None;
    for action in [Action::Lock, Action::Unlock, Action::ReadState] {
        assert_eq!(begin(action, &none), Some(Hindrance::NoCredential { what: "password" }));
    }
    for password in ["73916", "7391641", "a39164"] {
        let why = begin(Action::Unlock, &seal(password)).unwrap();
        assert!(matches!(why, Hindrance::WrongCredential { what: "password", .. }) && !format!("{why:?} {why}").contains(password));
    }
    let mut other = seal("739164");
    other.credentials.device_number = Some("1234".to_owned());
    assert!(matches!(begin(Action::Unlock, &other), Some(Hindrance::WrongCredential { what: "device number", .. })));
    assert!(matches!(begin(Action::DrainLog, &seal("739164")), Some(Hindrance::CannotDo { .. })));
}

#[test]
fn a_lock_that_talks_without_end_is_not_heard_out() {
    let mut exchange = Tt.exchange(Action::Lock, &seal("739164"), &moment()).unwrap();
    let heartbeat = tt::write(&Message::Heartbeat(report(None)).write(), None);
    let mut step = exchange.step(Input::Begin);
    for _ in 0..1000 {
        step = match step {
            Step::Listen { .. } => exchange.step(Input::Notified(&heartbeat)),
            Step::Tell { .. } => exchange.step(Input::Told),
            Step::Write { .. } => exchange.step(Input::Written),
            step => return assert!(matches!(step, Step::End(Said::Cannot(_))), "{step:?}"),
        };
    }
    panic!("it never ended");
}

fn report(source: Option<Source>) -> Report {
    Report { lock: NUMBER.parse().unwrap(), battery: 50, state: State::Unsealed, source, time: Some(SealTime::of(moment().wall)) }
}

fn frame(code: u8, source: Source) -> Vec<u8> {
    tt::write(&Message::Answer(*codes::meaning(code).unwrap(), report(Some(source))).write(), None)
}

fn inputs() -> impl Strategy<Value = Vec<AnyInput>> {
    let sources = [Source::Itself, Source::Bluetooth, Source::Unknown(0)];
    let answers = codes::CODES.iter().flat_map(|code| sources.map(|source| frame(code.code, source)));
    let news = [Message::Heartbeat(report(None)), Message::Alarm(Alarm::RodCut, report(None)), Message::TimeSet];
    any_inputs(answers.chain(news.map(|message| tt::write(&message.write(), None))).collect())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn reading_and_setting_the_time_never_move_and_whatever_comes_it_ends(inputs in inputs(), set_time in any::<bool>()) {
        let action = if set_time { Action::SetTime } else { Action::ReadState };
        let (moves, over) = feed(&mut *Tt.exchange(action, &seal("739164"), &moment()).unwrap(), &inputs);
        prop_assert_eq!(moves, 0);
        prop_assert!(over || inputs.len() < 200);
    }

    #[test]
    fn what_moves_is_written_exactly_once_whatever_comes(inputs in inputs(), unlock in any::<bool>()) {
        let action = if unlock { Action::Unlock } else { Action::Lock };
        let (moves, over) = feed(&mut *Tt.exchange(action, &seal("739164"), &moment()).unwrap(), &inputs);
        prop_assert_eq!(moves, 1);
        prop_assert!(over || inputs.len() < 200);
    }
}
