//! The gateway's side against the simulated seal, without a radio.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::super::{Effect, Exchange, Input, Moment, Protocol, Said, Step};
use super::SegelSeal;
use crate::{
    Action, AdvertRefusal, Hindrance, LockClaim, Protection, Rejection, SealEvent, SealStatus, SealWord, Security,
    ble::{AirFrame, KnownSeal, Payload, protocol::ProtocolName},
    codec::{
        bthome::SealKey,
        counter::{Verdict, judge},
        segel_v1::{Bolt, Hello, Marks, Offer, PENDING, REQUEST_LEN, SERVICE, Trouble, att, kind},
    },
    sim::{
        SimLock,
        lock::segel_v1::{Mood, PowerCut, SegelLock},
    },
};

const LOG: u32 = 0x5EA1_C0DE;

fn key() -> SealKey {
    "2b7e151628aed2a6abf7158809cf4f3c".parse().unwrap()
}

fn seal() -> SegelLock {
    SegelLock::new("C0:FF:EE:00:10:03".parse().unwrap(), "SGL-1003", key(), LOG)
}

fn known(key: Option<SealKey>) -> KnownSeal {
    let mut known = KnownSeal::new("SGL-1003".parse().unwrap(), ProtocolName::Segel);
    known.credentials.key = key;
    known
}

/// A moment whose random bytes differ from those of every other.
fn moment(nth: u8) -> Moment {
    Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_732_375_008), random: [nth; 32] }
}

fn begin(action: Action, nth: u8) -> Box<dyn Exchange> {
    SegelSeal.exchange(action, &known(Some(key())), &moment(nth)).unwrap()
}

/// How a session goes on after entries were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Written,
    WrittenAndHurry,
    Full,
}

type Change = Box<dyn FnMut(&mut Vec<u8>)>;

/// A connection between an exchange and a seal, and somebody on it who may change what passes.
struct Line<'a> {
    seal: &'a mut SegelLock,
    disk: Disk,
    /// Changes each notification and each value read.
    change: Change,
    moving: usize,
    confirming: usize,
    stored: Vec<SealEvent>,
    heard: Vec<Vec<u8>>,
    att_error: Option<u8>,
    rereads: usize,
    silences: usize,
}

impl<'a> Line<'a> {
    fn new(seal: &'a mut SegelLock) -> Self {
        seal.connected();
        Self {
            seal,
            disk: Disk::Written,
            change: Box::new(|_| {}),
            moving: 0,
            confirming: 0,
            stored: Vec::new(),
            heard: Vec::new(),
            att_error: None,
            rereads: 0,
            silences: 0,
        }
    }

    fn run(&mut self, exchange: &mut dyn Exchange) -> Said {
        let mut step = exchange.step(Input::Begin);
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        for _ in 0..10_000 {
            step = match step {
                Step::Write { bytes, effect } => {
                    assert_eq!(bytes.len(), REQUEST_LEN, "every request fits the smallest MTU");
                    self.moving += usize::from(effect == Effect::Moves);
                    self.confirming += usize::from(effect == Effect::Confirms);
                    waiting.extend(self.seal.written(&bytes));
                    if let Some(error) = self.seal.att_error() {
                        self.att_error = Some(error);
                        return Said::Nothing;
                    }
                    exchange.step(Input::Written)
                }
                Step::Listen { .. } if waiting.is_empty() => {
                    self.silences += 1;
                    exchange.step(Input::Silence)
                }
                Step::Listen { .. } => {
                    let mut bytes = waiting.remove(0);
                    (self.change)(&mut bytes);
                    self.heard.push(bytes.clone());
                    exchange.step(Input::Notified(&bytes))
                }
                Step::Reread => {
                    self.rereads += 1;
                    let mut bytes = self.seal.value();
                    (self.change)(&mut bytes);
                    exchange.step(Input::Reread(&bytes))
                }
                Step::Store { events, log } => {
                    assert_eq!(log, LOG);
                    let numbers: Vec<_> = events.iter().filter_map(|event| event.number).collect();
                    let held = self.seal.held();
                    assert!(numbers.iter().all(|number| held.contains(number)), "deleted before it was confirmed");
                    self.stored.extend(events);
                    exchange.step(match self.disk {
                        Disk::Written => Input::OnDisk,
                        Disk::WrittenAndHurry => Input::OnDiskAndHurry,
                        Disk::Full => Input::NotOnDisk,
                    })
                }
                Step::Tell { .. } => panic!("this protocol tells nothing by itself"),
                Step::End(said) => return said,
            };
        }
        panic!("it does not end");
    }
}

fn run(seal: &mut SegelLock, action: Action, nth: u8) -> Said {
    Line::new(seal).run(&mut *begin(action, nth))
}

fn read(seal: &mut SegelLock) -> SealStatus {
    let Said::Status(status) = run(seal, Action::ReadState, 99) else { panic!() };
    status
}

fn flip(bytes: &mut [u8], bit: usize) {
    let at = (bit / 8) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
}

#[test]
fn it_is_read_locked_and_unlocked_and_says_so() {
    let mut seal = seal();
    assert_eq!(read(&mut seal).reading.lock, Some(LockClaim::Unlocked));
    assert_eq!(run(&mut seal, Action::Lock, 1), Said::Did);
    assert!(matches!(run(&mut seal, Action::Lock, 2), Said::Already(Some(_))));
    let status = read(&mut seal);
    assert_eq!(status.reading.lock, Some(LockClaim::Locked));
    assert_eq!((status.security, status.stored, status.reading.battery_percent), (Security::Authenticated, Some(1), Some(87)));
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::Unlock, 3)), Said::Did);
    assert_eq!(line.moving, 1);
    assert_eq!((seal.openings(), seal.closings()), (1, 1));
}

#[test]
fn a_seal_that_stands_so_already_is_not_written_to() {
    let mut seal = seal();
    let mut line = Line::new(&mut seal);
    assert!(matches!(line.run(&mut *begin(Action::Unlock, 1)), Said::Already(Some(_))));
    assert_eq!(line.moving, 0);
    assert_eq!(seal.writes().len(), 1, "a HELLO and nothing more");
}

#[test]
fn a_replayed_exchange_does_not_open_the_seal() {
    let mut seal = seal().locked();
    assert_eq!(run(&mut seal, Action::Unlock, 1), Said::Did);
    let recorded = seal.writes().to_vec();
    assert_eq!(recorded.len(), 2);
    assert_eq!(run(&mut seal, Action::Lock, 2), Said::Did);
    let everything = [seal.writes().to_vec(), recorded].concat();
    for power in [false, true] {
        if power {
            seal.lose_power();
        }
        seal.connected();
        for write in &everything {
            // as fast as it can be played, and slowly enough for a seal that makes one wait
            let _ = seal.written(write);
            seal.pass(Duration::from_secs(2));
            let _ = seal.written(write);
            seal.pass(Duration::from_secs(2));
        }
        // the exact exchange, once more, in one breath
        seal.connected();
        for write in &everything {
            let _ = seal.written(write);
        }
        assert_eq!((seal.bolt(), seal.openings()), (Bolt::Locked, 1));
    }
    assert!(read(&mut seal).complaints.contains(&SealWord::WrongPassword), "and it says that somebody tried");
}

#[test]
fn a_command_is_taken_once_for_ten_seconds_and_on_its_own_connection() {
    let command_for = |seal: &mut SegelLock, nth: u8| {
        let mut exchange = begin(Action::Unlock, nth);
        let Step::Write { bytes, .. } = exchange.step(Input::Begin) else { panic!() };
        let challenge = seal.written(&bytes).remove(0);
        let Step::Write { bytes: command, effect: Effect::Moves } = exchange.step(Input::Notified(&challenge)) else { panic!() };
        (bytes, command)
    };
    let refused = |seal: &mut SegelLock, command: &[u8], error: u8| {
        assert!(seal.written(command).is_empty());
        assert_eq!((seal.att_error(), seal.openings()), (Some(error), 0));
    };
    let mut late = seal().locked();
    let (_, command) = command_for(&mut late, 1);
    late.pass(Duration::from_secs(11));
    refused(&mut late, &command, att::NO_CHALLENGE);
    let mut other_connection = seal().locked();
    let (_, command) = command_for(&mut other_connection, 2);
    other_connection.connected();
    refused(&mut other_connection, &command, att::NO_CHALLENGE);
    let mut same_hello_again = seal().locked();
    let (hello, command) = command_for(&mut same_hello_again, 3);
    assert_eq!(same_hello_again.written(&hello).len(), 1);
    refused(&mut same_hello_again, &command, att::WRONG_CODE);
    refused(&mut same_hello_again, &hello, att::WAIT);
    let mut without_power = seal().locked();
    let (_, command) = command_for(&mut without_power, 4);
    without_power.lose_power();
    refused(&mut without_power, &command, att::NO_CHALLENGE);
    let mut twice = seal().locked();
    let (_, command) = command_for(&mut twice, 5);
    assert_eq!(twice.written(&command).len(), 1);
    assert!(twice.written(&command).is_empty());
    assert_eq!((twice.att_error(), twice.openings()), (Some(att::NO_CHALLENGE), 1));
}

/// The seal's nonce differs even when the gateway's is the same and the power goes between.
#[test]
fn a_challenge_is_never_the_same_twice() {
    let mut seal = seal();
    let hello = Hello::new([7; 16]).write();
    let mut seen = std::collections::HashSet::new();
    for nth in 0..300 {
        if nth % 3 == 0 {
            seal.lose_power();
        }
        assert!(seen.insert(seal.written(&hello).remove(0)[4..20].to_vec()));
    }
}

#[test]
fn an_answer_of_another_seal_or_another_command_is_refused() {
    let mut ours = seal().locked();
    let mut other = SegelLock::new("C0:FF:EE:00:10:04".parse().unwrap(), "SGL-1004", key(), LOG).locked();
    let mut exchange = begin(Action::Unlock, 1);
    let Step::Write { bytes, .. } = exchange.step(Input::Begin) else { panic!() };
    // the same key by mistake, and yet another seal
    let said = exchange.step(Input::Notified(&other.written(&bytes).remove(0)));
    assert_eq!(said, Step::Reread);
    let Step::End(Said::Cannot(Hindrance::WrongCredential { what: "key", .. })) = exchange.step(Input::Reread(&other.value())) else {
        panic!()
    };
    // an answer recorded earlier, to another command
    let mut earlier = Line::new(&mut ours);
    assert_eq!(earlier.run(&mut *begin(Action::Unlock, 2)), Said::Did);
    let recorded = earlier.heard.clone();
    assert_eq!(run(&mut ours, Action::Lock, 3), Said::Did);
    let mut line = Line::new(&mut ours);
    line.change = Box::new(move |bytes| {
        if bytes[0] == kind::RESULT {
            bytes.clone_from(&recorded[1]);
        }
    });
    let said = line.run(&mut *begin(Action::Unlock, 4));
    assert!(matches!(said, Said::Cannot(Hindrance::Unintelligible(_))), "{said:?}");
}

#[test]
fn an_unlock_answer_that_is_played_back_to_the_gateway_is_refused() {
    let mut seal = seal().locked();
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::Unlock, 1)), Said::Did);
    let recorded = line.heard.clone();
    let mut exchange = begin(Action::Unlock, 2);
    exchange.step(Input::Begin);
    exchange.step(Input::Written);
    assert_eq!(exchange.step(Input::Notified(&recorded[0])), Step::Reread);
    let ended = exchange.step(Input::Reread(&recorded[0]));
    assert!(matches!(ended, Step::End(Said::Cannot(Hindrance::WrongCredential { .. }))), "{ended:?}");
    let mut exchange = begin(Action::Unlock, 3);
    exchange.step(Input::Begin);
    let ended = exchange.step(Input::Notified(&recorded[1]));
    assert!(matches!(ended, Step::Listen { .. }), "an answer before the challenge says nothing: {ended:?}");
}

#[test]
fn any_bit_changed_on_its_way_to_the_gateway_is_noticed() {
    for answer in [kind::CHALLENGE, kind::RESULT] {
        for bit in 0..8 * 59 {
            let mut seal = seal().locked();
            let mut line = Line::new(&mut seal);
            line.change = Box::new(move |bytes| {
                if bytes[0] == answer {
                    flip(bytes, bit);
                }
            });
            let said = line.run(&mut *begin(Action::Unlock, 1));
            assert!(!matches!(said, Said::Did | Said::Already(_) | Said::Status(_)), "{answer:#x} bit {bit}: {said:?}");
            let opened = u32::from(answer == kind::RESULT);
            assert_eq!(seal.openings(), opened, "{answer:#x} bit {bit}");
        }
    }
}

#[test]
fn any_bit_changed_on_its_way_to_the_seal_opens_nothing() {
    for bit in 0..8 * REQUEST_LEN {
        let mut seal = seal().locked();
        let mut exchange = begin(Action::Unlock, 1);
        let Step::Write { mut bytes, .. } = exchange.step(Input::Begin) else { panic!() };
        let mut changed = bytes.clone();
        flip(&mut changed, bit);
        if let Some(challenge) = seal.written(&changed).pop() {
            let step = exchange.step(Input::Notified(&challenge));
            assert_eq!(step, Step::Reread, "HELLO bit {bit}");
            let step = exchange.step(Input::Reread(&seal.value()));
            assert!(matches!(step, Step::End(Said::Cannot(_))), "HELLO bit {bit}: {step:?}");
        }
        exchange = begin(Action::Unlock, 2);
        let Step::Write { bytes: hello, .. } = exchange.step(Input::Begin) else { panic!() };
        bytes = seal.written(&hello).remove(0);
        let Step::Write { bytes: mut command, .. } = exchange.step(Input::Notified(&bytes)) else { panic!() };
        flip(&mut command, bit);
        assert!(seal.written(&command).is_empty(), "COMMAND bit {bit}");
        assert!(seal.att_error().is_some() && seal.openings() == 0, "COMMAND bit {bit}");
    }
}

#[test]
fn a_wrong_key_is_said_and_a_missing_one() {
    let mut seal = seal().locked();
    let mut exchange = SegelSeal.exchange(Action::Unlock, &known(Some(SealKey::new([9; 16]))), &moment(1)).unwrap();
    let said = Line::new(&mut seal).run(&mut *exchange);
    assert!(matches!(said, Said::Cannot(Hindrance::WrongCredential { what: "key", .. })), "{said:?}");
    assert_eq!(seal.openings(), 0);
    let none = SegelSeal.exchange(Action::ReadState, &known(None), &moment(1)).err();
    assert_eq!(none, Some(Hindrance::NoCredential { what: "key" }));
    assert_eq!(SegelSeal.rating(&known(None)).security, Security::ClaimOnly);
    assert_eq!(SegelSeal.rating(&known(Some(SealKey::new([0; 16])))).security, Security::ClaimOnly);
    assert_eq!(SegelSeal.rating(&known(Some(key()))).security, Security::Authenticated);
}

#[test]
fn a_seal_on_its_factory_key_is_read_and_not_locked() {
    let factory = SealKey::new([0; 16]);
    let mut seal = SegelLock::new("C0:FF:EE:00:10:03".parse().unwrap(), "SGL-1003", factory.clone(), LOG);
    let locking = SegelSeal.exchange(Action::Lock, &known(Some(factory.clone())), &moment(1)).err();
    assert_eq!(locking, Some(Hindrance::FactoryPassword));
    let mut exchange = SegelSeal.exchange(Action::ReadState, &known(Some(factory.clone())), &moment(2)).unwrap();
    let Said::Status(status) = Line::new(&mut seal).run(&mut *exchange) else { panic!() };
    assert_eq!(status.security, Security::ClaimOnly, "everybody can make what everybody can check");
    assert!(seal.status().marks.has(Marks::FACTORY_KEY));
    // a gateway that asks all the same
    let hello = Hello::new([5; 16]);
    let challenge = seal.written(&hello.write()).remove(0);
    let reference = crate::codec::segel_v1::Reference([1; 8]);
    let challenged = hello.open(&factory, "SGL-1003", &challenge).unwrap();
    let commanded = challenged.command(&crate::codec::segel_v1::Command::Lock(reference));
    let answer = commanded.open(&seal.written(&commanded.frame)[0]).unwrap();
    assert_eq!(answer.outcome, crate::codec::segel_v1::Outcome::FACTORY_KEY);
    assert_eq!((seal.closings(), seal.bolt()), (0, Bolt::Unlocked));
}

#[test]
fn no_state_a_seal_says_is_worth_more_than_its_rating() {
    for (key, expected) in [(key(), Security::Authenticated), (SealKey::new([0; 16]), Security::ClaimOnly)] {
        let known = known(Some(key.clone()));
        assert_eq!(SegelSeal.rating(&known).security, expected);
        let mut seal = SegelLock::new("C0:FF:EE:00:10:03".parse().unwrap(), "SGL-1003", key, LOG);
        let exchange = |action| SegelSeal.exchange(action, &known, &moment(7)).unwrap();
        let Said::Status(status) = Line::new(&mut seal).run(&mut *exchange(Action::ReadState)) else { panic!() };
        assert_eq!(status.security, expected);
        let mut unlock = exchange(Action::Unlock);
        let Said::Already(Some(status)) = Line::new(&mut seal).run(&mut *unlock) else { panic!() };
        assert_eq!(status.security, expected);
        assert_eq!(unlock.before().map(|before| before.security), Some(expected));
        let mut back = unlock.read_back(&moment(8)).unwrap();
        let Said::Status(status) = Line::new(&mut seal).run(&mut *back) else { panic!() };
        assert_eq!((status.security, status.did_ours), (expected, Some(false)), "reading back as well");
        let protected = matches!(SegelSeal.advert(&known, &heard(&mut seal)).unwrap().unwrap().protection, Protection::Keyed { .. });
        assert_eq!(protected, expected == Security::Authenticated, "and what it advertises");
    }
}

#[test]
fn what_it_refuses_it_says_and_nothing_moves() {
    let mut low = seal().locked();
    low.set_battery(4);
    assert_eq!(run(&mut low, Action::Unlock, 1), Said::Refused(Rejection::LowVoltage));
    assert!(read(&mut low).complaints.contains(&SealWord::LowBattery));
    let mut open = seal();
    open.take_shackle_out();
    assert_eq!(run(&mut open, Action::Lock, 1), Said::Refused(Rejection::ShackleOut));
    let mut cut = seal();
    cut.happens(SealWord::ShackleCut);
    assert_eq!(run(&mut cut, Action::Lock, 1), Said::Refused(Rejection::InAlarm));
    for seal in [&low, &open, &cut] {
        assert_eq!((seal.openings(), seal.closings()), (0, 0));
    }
    let mut stuck = seal().locked();
    stuck.set_mood(Mood::Stuck);
    assert!(matches!(run(&mut stuck, Action::Unlock, 1), Said::Refused(Rejection::Other { code: 4, .. })));
    let status = read(&mut stuck);
    assert_eq!((status.reading.lock, status.reading.problem), (None, Some(true)));
}

#[test]
fn a_power_loss_between_doing_and_answering_is_settled_by_reading_back() {
    let settled = [
        (PowerCut::BeforeTheMove, Some(false), Bolt::Locked, 0),
        (PowerCut::InTheMove, Some(false), Bolt::Between, 0),
        (PowerCut::AfterTheMove, Some(true), Bolt::Unlocked, 1),
        (PowerCut::BeforeTheAnswer, Some(true), Bolt::Unlocked, 1),
    ];
    for (cut, did_ours, bolt, openings) in settled {
        let mut seal = seal().locked();
        seal.set_mood(Mood::LosesPower(cut));
        let mut exchange = begin(Action::Unlock, 1);
        let mut line = Line::new(&mut seal);
        assert_eq!(line.run(&mut *exchange), Said::Nothing, "{cut:?}");
        assert_eq!(line.moving, 1);
        assert_eq!(exchange.before().and_then(|before| before.reading.lock), Some(LockClaim::Locked));
        let mut back = exchange.read_back(&moment(2)).unwrap();
        let mut line = Line::new(&mut seal);
        let Said::Status(status) = line.run(&mut *back) else { panic!() };
        assert_eq!(line.moving, 0, "reading back moves nothing");
        assert_eq!((status.did_ours, seal.bolt(), seal.openings()), (did_ours, bolt, openings), "{cut:?}");
        let words: Vec<_> = {
            let mut line = Line::new(&mut seal);
            assert!(matches!(line.run(&mut *begin(Action::DrainLog, 3)), Said::Drained(_)));
            line.stored.iter().map(|event| event.word).collect()
        };
        assert_eq!(words.iter().filter(|word| **word == SealWord::Unsealed).count(), openings as usize, "{cut:?} {words:?}");
        assert!(words.contains(&SealWord::Restarted));
    }
}

#[test]
fn reading_back_says_nothing_of_ours_when_somebody_else_came_between() {
    let mut seal = seal().locked();
    let mut exchange = begin(Action::Unlock, 1);
    let mut line = Line::new(&mut seal);
    line.change = Box::new(|bytes| {
        if bytes[0] == kind::RESULT {
            bytes.truncate(3);
        }
    });
    assert!(!matches!(line.run(&mut *exchange), Said::Did));
    let back = |seal: &mut SegelLock, exchange: &dyn Exchange, nth| {
        let Said::Status(status) = Line::new(seal).run(&mut *exchange.read_back(&moment(nth)).unwrap()) else { panic!() };
        status.did_ours
    };
    assert_eq!(back(&mut seal, &*exchange, 2), Some(true));
    assert_eq!(run(&mut seal, Action::Lock, 3), Said::Did);
    assert_eq!(back(&mut seal, &*exchange, 4), None);
    // one that never got as far as a challenge sent nothing
    let silent = begin(Action::Unlock, 5);
    assert_eq!(back(&mut seal, &*silent, 6), Some(false));
    assert_eq!(read(&mut seal).did_ours, None, "an ordinary reading knows of no command");
}

#[test]
fn an_answer_that_was_cut_or_lost_is_read() {
    let mut seal = seal().locked();
    seal.notify_at_most(20);
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::Unlock, 1)), Said::Did);
    assert_eq!((line.rereads, line.silences), (2, 0), "it is read at once");
    seal.notify_at_most(usize::MAX);
    seal.set_mood(Mood::NotificationsLost);
    assert_eq!(run(&mut seal, Action::Lock, 2), Said::Did);
    assert_eq!((seal.openings(), seal.closings()), (1, 1));
}

#[test]
fn a_silent_seal_is_said_to_have_said_nothing() {
    for action in [Action::Unlock, Action::ReadState, Action::DrainLog, Action::SetTime] {
        let mut seal = seal().locked();
        seal.set_mood(Mood::Silent);
        assert_eq!(run(&mut seal, action, 1), Said::Nothing);
    }
}

#[test]
fn a_seal_that_is_still_working_is_waited_for_and_takes_nothing_else() {
    let mut seal = seal().locked();
    seal.set_mood(Mood::Slow);
    let mut exchange = begin(Action::Unlock, 1);
    let Step::Write { bytes, .. } = exchange.step(Input::Begin) else { panic!() };
    let challenge = seal.written(&bytes).remove(0);
    let Step::Write { bytes: command, .. } = exchange.step(Input::Notified(&challenge)) else { panic!() };
    assert!(seal.written(&command).is_empty());
    assert!(matches!(exchange.step(Input::Written), Step::Listen { within } if within >= Duration::from_secs(15)));
    // its challenge told once more is not taken for an answer
    assert!(matches!(exchange.step(Input::Notified(&challenge)), Step::Listen { within } if within >= Duration::from_secs(15)));
    assert_eq!(exchange.step(Input::Silence), Step::Reread);
    assert_eq!(seal.value(), PENDING);
    assert!(matches!(exchange.step(Input::Reread(&PENDING)), Step::Listen { .. }));
    assert!(seal.written(&bytes).is_empty());
    assert_eq!(seal.att_error(), Some(att::BUSY));
    let result = seal.finish().remove(0);
    assert_eq!(exchange.step(Input::Notified(&result)), Step::End(Said::Did));
}

#[test]
fn setting_the_time_sets_it_and_keeps_the_old_one_in_the_log() {
    let mut seal = seal();
    assert_eq!(read(&mut seal).reading.device_time, None);
    assert_eq!(run(&mut seal, Action::SetTime, 1), Said::TimeSet);
    // reading takes a connection, and that a second
    assert_eq!(read(&mut seal).reading.device_time, Some(1_732_375_009));
    let mut exchange =
        SegelSeal.exchange(Action::SetTime, &known(Some(key())), &Moment { wall: SystemTime::UNIX_EPOCH, random: [8; 32] }).unwrap();
    let said = Line::new(&mut seal).run(&mut *exchange);
    assert!(matches!(said, Said::Refused(Rejection::Other { code: 7, .. })), "{said:?}");
    seal.lose_power();
    assert_eq!(read(&mut seal).reading.device_time, None, "a clock that lost its power is not believed");
}

fn with_entries(count: u32) -> SegelLock {
    let mut seal = seal();
    for _ in 0..count {
        seal.happens(SealWord::Heartbeat);
    }
    seal
}

fn numbers(events: &[SealEvent]) -> Vec<u32> {
    events.iter().filter_map(|event| event.number).collect()
}

#[test]
fn stored_events_are_kept_until_confirmed() {
    let mut seal = with_entries(25);
    let mut line = Line::new(&mut seal);
    line.disk = Disk::Full;
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 1)), Said::Drained(0));
    assert_eq!((numbers(&line.stored), line.confirming), ((1..=10).collect(), 0));
    assert_eq!(seal.held().len(), 25, "nothing is deleted that is not on disk");
    let mut line = Line::new(&mut seal);
    line.disk = Disk::WrittenAndHurry;
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 2)), Said::Drained(10));
    assert_eq!((numbers(&line.stored), line.confirming), ((1..=10).collect(), 1), "one piece, confirmed, and no more");
    assert_eq!(seal.held(), (11..=25).collect::<Vec<_>>());
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 3)), Said::Drained(15));
    assert_eq!(numbers(&line.stored), (11..=25).collect::<Vec<_>>());
    assert_eq!((line.moving, seal.held().len()), (0, 0));
    assert_eq!(run(&mut seal, Action::DrainLog, 4), Said::Drained(0));
}

#[test]
fn a_confirmation_whose_answer_is_lost_costs_nothing() {
    let mut seal = with_entries(4);
    let mut line = Line::new(&mut seal);
    let mut results = 0;
    line.change = Box::new(move |bytes| {
        results += u32::from(bytes[0] == kind::RESULT);
        if results > 1 {
            *bytes = PENDING.to_vec();
        }
    });
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 1)), Said::Nothing);
    assert_eq!(numbers(&line.stored), [1, 2, 3, 4]);
    seal.happens(SealWord::ForcedOpen);
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 2)), Said::Drained(1));
    assert_eq!(numbers(&line.stored), [5]);
    assert_eq!(line.stored[0].word, SealWord::ForcedOpen);
}

#[test]
fn a_seal_that_lost_its_power_in_a_drain_deletes_nothing_it_did_not_hand_over() {
    let mut seal = with_entries(4);
    let mut exchange = begin(Action::DrainLog, 1);
    let mut step = exchange.step(Input::Begin);
    loop {
        step = match step {
            Step::Write { bytes, .. } => exchange.step(Input::Notified(&seal.written(&bytes)[0])),
            Step::Store { .. } => {
                seal.lose_power();
                exchange.step(Input::OnDisk)
            }
            Step::End(said) => {
                assert!(matches!(said, Said::Cannot(Hindrance::Unintelligible(_))), "{said:?}");
                break;
            }
            step => panic!("{step:?}"),
        };
    }
    assert_eq!(seal.held().len(), 5, "four, and that it started anew");
}

#[test]
fn a_log_that_overflowed_says_how_many_it_lost() {
    let mut seal = with_entries(0);
    seal.set_room(5);
    for _ in 0..12 {
        seal.happens(SealWord::Heartbeat);
    }
    assert!(read(&mut seal).complaints.contains(&SealWord::LogLost));
    let mut line = Line::new(&mut seal);
    assert_eq!(line.run(&mut *begin(Action::DrainLog, 1)), Said::Drained(6));
    assert_eq!(numbers(&line.stored), [7, 8, 9, 10, 11, 12]);
    assert_eq!(line.stored[0].word, SealWord::LogLost);
    assert_eq!(line.stored[0].raw[12..16], [7, 0, 0, 0], "1 to 7 are lost");
    assert!(!read(&mut seal).complaints.contains(&SealWord::LogLost));
}

/// Entries that are overwritten between handing over and confirming were handed over, and are not lost.
#[test]
fn an_overflow_in_the_middle_of_a_drain_loses_no_count() {
    let mut seal = with_entries(12);
    seal.set_room(12);
    let mut exchange = begin(Action::DrainLog, 1);
    let mut step = exchange.step(Input::Begin);
    let mut stored = Vec::new();
    loop {
        step = match step {
            Step::Write { bytes, .. } => exchange.step(Input::Notified(&seal.written(&bytes)[0])),
            Step::Store { events, .. } => {
                if stored.is_empty() {
                    // 1 to 10 were handed over; 1 to 11 are overwritten
                    (0..11).for_each(|_| seal.happens(SealWord::Heartbeat));
                }
                stored.extend(events);
                exchange.step(Input::OnDisk)
            }
            Step::End(said) => {
                assert!(matches!(said, Said::Drained(_)), "{said:?}");
                break;
            }
            step => panic!("{step:?}"),
        };
    }
    assert_eq!(numbers(&stored), (1..=23).collect::<Vec<_>>());
    let lost: Vec<_> = stored.iter().filter(|event| event.word == SealWord::LogLost).map(|event| &event.raw[12..16]).collect();
    assert_eq!(lost, [[1, 0, 0, 0]], "11 alone is lost: 1 to 10 were handed over");
}

/// A seal of the right key that hands over what it should not.
fn with_forged_entries(entries: &[u32], stored: u16) -> Said {
    with_forged_log(LOG, entries, stored)
}

/// The same, in the name of this log in its result.
fn with_forged_log(log: u32, entries: &[u32], stored: u16) -> Said {
    use crate::codec::segel_v1::{Answer, Entry, Outcome, What};
    let honest = seal();
    let mut status = honest.status();
    (status.oldest, status.stored) = (entries.first().copied().unwrap_or(1), stored);
    let mut exchange = begin(Action::DrainLog, 1);
    let Step::Write { bytes, .. } = exchange.step(Input::Begin) else { panic!() };
    let offer = Offer::new(&key(), "SGL-1003", &Hello::read(&bytes).unwrap(), [4; 16], &status);
    let Step::Write { bytes, .. } = exchange.step(Input::Notified(&offer.frame)) else { panic!() };
    status.log = log;
    let entry = |number: &u32| Entry { number: *number, time: 0, clock_set: false, what: What(17), battery: 1, detail: [0; 8] };
    let answer = Answer { outcome: Outcome::DONE, status, entries: entries.iter().map(entry).collect() };
    match exchange.step(Input::Notified(&offer.answer(bytes.first_chunk().unwrap(), &answer))) {
        Step::End(said) => said,
        Step::Store { .. } => Said::Did,
        step => panic!("{step:?}"),
    }
}

#[test]
fn entries_of_another_log_than_the_one_drained_are_not_stored() {
    assert_eq!(with_forged_log(LOG, &[1, 2], 2), Said::Did);
    assert!(matches!(with_forged_log(LOG + 1, &[1, 2], 2), Said::Cannot(Hindrance::Unintelligible(_))));
}

#[test]
fn a_gap_or_a_repetition_in_the_numbers_is_said() {
    assert_eq!(with_forged_entries(&[3, 4, 5], 3), Said::Did);
    for bad in [&[3, 5][..], &[3, 3], &[3, 4, 6], &[4, 3], &[0, 1], &[u32::MAX, 0]] {
        let said = with_forged_entries(bad, 3);
        assert!(matches!(said, Said::Cannot(Hindrance::Unintelligible(_))), "{bad:?}: {said:?}");
    }
    let said = with_forged_entries(&[], 3);
    assert!(matches!(said, Said::Cannot(Hindrance::Unintelligible(_))), "{said:?}");
}

#[test]
fn a_flood_of_wrong_codes_pushes_nothing_out_of_the_log_and_keeps_nobody_out() {
    let mut seal = seal().locked();
    seal.happens(SealWord::ShackleCut);
    for nth in 0..500u32 {
        let _ = seal.written(&Hello::new([u8::try_from(nth % 251).unwrap(); 16]).write());
        let _ = seal.written(&[kind::COMMAND; REQUEST_LEN]);
        seal.pass(Duration::from_secs(1));
    }
    assert_eq!(seal.held().len(), 2, "the cut, and one of all the wrong codes");
    assert!(seal.status().trouble.has(Trouble::WRONG_CODE));
    assert_eq!(run(&mut seal, Action::Unlock, 1), Said::Did);
}

#[test]
fn frames_that_are_none_are_refused_by_the_seal() {
    let mut seal = seal();
    let longer = [Hello::new([1; 16]).write().to_vec(), vec![0]].concat();
    for bad in [&[][..], &[1], &[0; 20], &[0x82; 20], &longer, &[1, 1, 1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(seal.written(bad).is_empty());
        assert_eq!(seal.att_error(), Some(att::NOT_A_FRAME), "{bad:?}");
    }
    let later = Hello { lowest: 2, highest: 3, nonce: [1; 16] };
    assert!(seal.written(&later.write()).is_empty());
    assert_eq!(seal.att_error(), Some(att::VERSION));
    assert!(seal.written(&[kind::COMMAND; 20]).is_empty());
    assert_eq!(seal.att_error(), Some(att::NO_CHALLENGE));
}

fn heard(seal: &mut SegelLock) -> AirFrame {
    AirFrame { address: seal.address(), rssi_dbm: Some(-60), payload: seal.advertise().remove(0) }
}

#[test]
fn the_counter_of_the_advertisement_goes_up_with_each_change_and_never_back() {
    let mut seal = seal();
    let known = known(Some(key()));
    let counter = |frame: &AirFrame| match SegelSeal.advert(&known, frame).unwrap().unwrap().protection {
        Protection::Keyed { counter } => counter,
        Protection::Plain => panic!(),
    };
    let first = heard(&mut seal);
    let mut memory = None;
    let mut verdict = |frame: &AirFrame| {
        let (verdict, after) = judge(memory.as_ref(), counter(frame));
        memory = Some(after);
        verdict
    };
    assert_eq!(verdict(&first), Verdict::First);
    assert_eq!(heard(&mut seal), first, "the same again while nothing changes");
    assert_eq!(run(&mut seal, Action::Lock, 1), Said::Did);
    let locked = heard(&mut seal);
    assert_eq!(verdict(&locked), Verdict::Forward);
    seal.pass(Duration::from_secs(60));
    assert_eq!(verdict(&heard(&mut seal)), Verdict::Forward, "a sign of life");
    seal.lose_power();
    assert_eq!(verdict(&heard(&mut seal)), Verdict::Forward, "not even a power loss sets it back");
    assert!(verdict(&first).is_doubtful(), "a recording");
}

/// A key may be set twice, or come back: what was recorded under it must not fit again.
#[test]
fn neither_nonces_nor_counters_come_again_when_a_key_is_set_again() {
    let mut seal = seal();
    seal.lose_random();
    let nonce = |seal: &mut SegelLock| seal.written(&Hello::new([5; 16]).write())[0][4..20].to_vec();
    let counter = |seal: &mut SegelLock| u32::from_le_bytes(heard(seal).payload.bytes()[2..6].try_into().unwrap());
    let mut seen = vec![nonce(&mut seal)];
    let mut highest = counter(&mut seal);
    seal.happens(SealWord::Heartbeat);
    seal.set_key(key(), LOG + 1);
    assert_eq!(seal.held(), [1], "the key it has changes nothing, not even the log");
    for other in [SealKey::new([9; 16]), key(), SealKey::new([9; 16]), key()] {
        seal.set_key(other, LOG + 1);
        assert!(seal.held().is_empty(), "another key has another log");
        let nonce = nonce(&mut seal);
        assert!(!seen.contains(&nonce), "a nonce came again");
        seen.push(nonce);
        let counter = counter(&mut seal);
        assert!(counter > highest, "{counter} after {highest}");
        highest = counter;
    }
}

#[test]
fn an_advertisement_is_checked_against_the_key_and_named_a_claim_without() {
    let mut seal = seal().locked();
    let frame = heard(&mut seal);
    let said = |key: Option<SealKey>, frame: &AirFrame| SegelSeal.advert(&known(key), frame);
    let advertised = said(Some(key()), &frame).unwrap().unwrap();
    assert_eq!((advertised.reading.lock, advertised.protection), (Some(LockClaim::Locked), Protection::Keyed { counter: 1 }));
    assert_eq!(said(None, &frame).unwrap().unwrap().protection, Protection::Plain);
    assert_eq!(said(Some(SealKey::new([9; 16])), &frame), Some(Err(AdvertRefusal::BadCode)));
    let with = |payload| AirFrame { payload, ..frame.clone() };
    let cut = Payload::ServiceData { uuid: SERVICE, bytes: frame.payload.bytes()[..9].to_vec() };
    assert_eq!(said(Some(key()), &with(cut)), Some(Err(AdvertRefusal::Malformed)));
    assert_eq!(said(Some(key()), &with(Payload::Bare)), None);
    assert_eq!(said(Some(key()), &with(Payload::ServiceData { uuid: uuid::Uuid::nil(), bytes: vec![1] })), None);
}

proptest! {
    /// Whatever is sent to either side, in whatever order, nothing panics, nothing goes on for ever and nothing moves.
    #[test]
    fn noise_moves_nothing_and_ends(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70), 1..60),
        kinds in prop::collection::vec(0usize..5, 60), action in 0usize..5,
    ) {
        let action = SegelSeal.actions()[action];
        let mut exchange = begin(action, 1);
        let mut seal = seal().locked();
        let mut step = exchange.step(Input::Begin);
        for (bytes, kind) in noise.iter().zip(kinds) {
            let _ = seal.written(bytes);
            seal.pass(Duration::from_secs(1));
            let mut framed = bytes.clone();
            if let [first, low, high, ..] = framed.as_mut_slice() {
                (*first, *low, *high) = ([0x81, 0x82, 0x80, 0x01, *first][kind], u8::try_from(bytes.len()).unwrap(), 0);
            }
            if matches!(step, Step::End(_)) {
                break;
            }
            let bad = matches!(step, Step::Write { effect: Effect::Moves, .. } | Step::Store { .. });
            prop_assert!(!bad);
            step = match kind {
                0 | 1 => exchange.step(Input::Notified(&framed)),
                2 => exchange.step(Input::Reread(&framed)),
                3 => exchange.step(Input::Written),
                _ => exchange.step(Input::Silence),
            };
        }
        prop_assert_eq!((seal.openings(), seal.closings(), seal.bolt()), (0, 0, Bolt::Locked));
    }
}
