use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::{
    codes::{CODES, Verdict, meaning},
    state::{Flags, State},
    *,
};
use crate::{Action, LockClaim, Rejection, SealKey, SealWord, codec::calendar::SealTime};

/// The maker gives no whole frame; this one was derived from the layout. Frozen: do not change this test.
#[test]
fn the_derived_unlock_frame_is_written_and_read() {
    let access = Access { lock: "83181001".parse().unwrap(), password: *b"112233", at: noon() };
    let command = Command::Unlock(access);
    let frame = write(&command.write(), None);
    assert_eq!(hex::encode(&frame), "011137207e03e93131323233331a070f0a1e00af");
    let mut decoder = decoder();
    decoder.push(&frame);
    let data = decoder.next().unwrap().unwrap().open(None).unwrap();
    assert_eq!(Command::read(&data), Ok(command));
}

/// The maker's own example. Frozen: do not change this test.
#[test]
fn the_makers_lock_number_is_two_halves_of_four_digits() {
    let id: LockId = "83181001".parse().unwrap();
    assert_eq!((id.to_bytes(), id.to_string()), ([0x20, 0x7E, 0x03, 0xE9], "83181001".to_owned()));
    assert_eq!("00010002".parse::<LockId>().unwrap().to_string(), "00010002");
    for wrong in ["8318100", "831810011", "8318100a", "", "８318"] {
        assert_eq!(wrong.parse::<LockId>(), Err(NoLockIdError), "{wrong}");
    }
}

/// Check value of CRC-8/MAXIM, derived. Frozen: do not change this test.
#[test]
fn the_check_is_crc_8_maxim() {
    assert_eq!(crc::Crc::<u8>::new(&crc::CRC_8_MAXIM_DOW).checksum(b"123456789"), 0xA1);
}

#[test]
fn every_code_has_its_meaning() {
    use Rejection::{InAlarm, LowVoltage, NotSealed, ShackleOut, WrongPassword};
    use Verdict::{Already, Done, Refused};
    let expected = [
        (0x62, Action::ReadState, Done, None),
        (0x80, Action::Lock, Done, Some(SealWord::Sealed)),
        (0x81, Action::Lock, Already, None),
        (0x82, Action::Lock, Refused(ShackleOut), None),
        (0x83, Action::Lock, Refused(LowVoltage), Some(SealWord::LowBattery)),
        (0x84, Action::Lock, Refused(InAlarm), Some(SealWord::CoverOpened)),
        (0x86, Action::Lock, Refused(InAlarm), Some(SealWord::ShackleCut)),
        (0x87, Action::Lock, Refused(InAlarm), Some(SealWord::ForcedOpen)),
        (0x90, Action::Unlock, Done, Some(SealWord::Unsealed)),
        (0x91, Action::Unlock, Already, None),
        (0x92, Action::Unlock, Already, None),
        (0x93, Action::Unlock, Refused(WrongPassword), Some(SealWord::WrongPassword)),
        (0x94, Action::Unlock, Refused(InAlarm), Some(SealWord::ForcedOpen)),
        (0x95, Action::Unlock, Refused(InAlarm), Some(SealWord::EmergencyOpened)),
        (0x96, Action::Unlock, Refused(InAlarm), Some(SealWord::ForcedOpen)),
        (0x97, Action::Unlock, Refused(NotSealed), None),
        (0x98, Action::Unlock, Refused(InAlarm), Some(SealWord::ShackleCut)),
        (0x99, Action::Unlock, Refused(Rejection::Other { code: 0x99, meaning: "overtime" }), None),
    ];
    assert_eq!(expected.len(), CODES.len());
    for (code, answers, verdict, word) in expected {
        let row = meaning(code).unwrap();
        assert_eq!((row.answers, row.verdict, row.word), (answers, verdict, word), "{code:#04x}");
    }
    assert_eq!(meaning(0x85), None, "the maker left it out");
}

#[test]
fn every_state_has_its_meaning() {
    use LockClaim::{Locked, Unlocked};
    use SealWord::{Abnormal, CoverOpened, EmergencyOpened, ForcedOpen, LocallySealed, ShackleCut};
    let expected: [(u8, _, _, _, &[SealWord]); 17] = [
        (0x10, Some(Unlocked), Some(false), Some(true), &[]),
        (0x20, None, None, None, &[]),
        (0x30, None, None, None, &[]),
        (0x40, Some(Locked), Some(false), None, &[]),
        (0x50, Some(Locked), Some(false), None, &[LocallySealed]),
        (0x60, Some(Unlocked), Some(false), None, &[]),
        (0x70, None, Some(true), None, &[Abnormal]),
        (0x71, None, Some(true), None, &[ShackleCut]),
        (0x72, None, Some(true), Some(true), &[ForcedOpen]),
        (0x74, None, Some(true), None, &[CoverOpened]),
        (0x78, None, Some(true), Some(true), &[EmergencyOpened]),
        (0x7F, None, Some(true), Some(true), &[ShackleCut, ForcedOpen, CoverOpened, EmergencyOpened]),
        (0x80, None, None, None, &[Abnormal]),
        (0x90, None, None, None, &[Abnormal]),
        (0xA0, None, None, None, &[Abnormal]),
        (0x00, None, None, None, &[Abnormal]),
        (0xF3, None, None, None, &[Abnormal]),
    ];
    for (byte, lock, tamper, open, complaints) in expected {
        let state = State::from_byte(byte);
        let reading = state.reading();
        assert_eq!((reading.lock, reading.tamper, reading.open), (lock, tamper, open), "{byte:#04x}");
        assert_eq!(state.complaints(), complaints, "{byte:#04x}");
        assert_eq!(state.to_byte(), byte);
    }
}

#[test]
fn an_alarm_says_what_its_code_and_its_status_say_and_nothing_twice() {
    use SealWord::{CoverOpened, ForcedOpen, ShackleCut};
    let alarm = |flags| State::Alarm(Flags::new(flags));
    assert_eq!(Alarm::Broken.words(State::Sealed), [ForcedOpen]);
    assert_eq!(Alarm::Broken.words(alarm(0)), [ForcedOpen]);
    assert_eq!(Alarm::Broken.words(alarm(Flags::SHELL)), [CoverOpened]);
    assert_eq!(Alarm::RodCut.words(alarm(Flags::ROD_CUT | Flags::SHELL)), [ShackleCut, CoverOpened]);
    assert_eq!(Alarm::RodCut.words(alarm(0)), [ShackleCut]);
    assert_eq!(Alarm::Opened.words(State::Unknown(0)), [ForcedOpen]);
}

#[test]
fn reports_are_read_as_far_as_they_go_and_never_without_their_lock() {
    let report = Report {
        lock: "83181001".parse().unwrap(),
        battery: 87,
        state: State::Sealed,
        source: Some(Source::Bluetooth),
        time: Some(noon()),
    };
    let data = Message::Answer(*meaning(0x62).unwrap(), report).write();
    assert_eq!(hex::encode(&data), "62207e03e9574000031a070f0a1e00");
    assert_eq!(Message::read(&data), Ok(Message::Answer(*meaning(0x62).unwrap(), report)));
    let short = Report { source: None, time: None, ..report };
    assert_eq!(Message::read(&data[..7]), Ok(Message::Answer(*meaning(0x62).unwrap(), short)));
    assert_eq!(Message::read(&data[..6]), Err(TtFault::TooShort { code: 0x62, len: 6 }));
    assert_eq!(Message::read(&[]), Err(TtFault::TooShort { code: 0, len: 0 }));
    assert_eq!(Message::read(&[0x85, 0, 0, 0, 0, 0, 0]), Err(TtFault::UnknownCode(0x85)));
    let heartbeat = Message::Heartbeat(Report { source: None, ..report });
    assert_eq!((heartbeat.write().len(), Message::read(&heartbeat.write())), (14, Ok(heartbeat)));
}

#[test]
fn with_a_key_nothing_in_the_clear_is_believed_and_a_wrong_key_shows() {
    let key = SealKey::new([9; 16]);
    let frame = |bytes: &[u8]| {
        let mut decoder = decoder();
        decoder.push(bytes);
        decoder.next().unwrap().unwrap()
    };
    let (plain, encrypted) = (frame(&write(&[0x20], None)), frame(&write(&[0x20], Some(&key))));
    assert_eq!((plain.kind(), encrypted.kind()), (Kind::Plain, Kind::Encrypted));
    assert_eq!(encrypted.open(Some(&key)), Ok(vec![0x20]));
    assert_eq!(plain.open(Some(&key)), Err(TtFault::PlainDespiteKey));
    assert_eq!(encrypted.open(None), Err(TtFault::NoKey));
    assert_eq!(encrypted.open(Some(&SealKey::new([8; 16]))), Err(TtFault::WrongKey));
}

#[test]
fn one_wrong_bit_anywhere_in_a_frame_is_never_read_as_it() {
    let frame = write(&[0x90, 1, 2, 3, 4, 50, 0x60, 0, 3, 26, 7, 15, 10, 30, 0], None);
    for bit in 0..frame.len() * 8 {
        let mut wrong = frame.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let mut decoder = decoder();
        decoder.push(&wrong);
        decoder.idle();
        let read: Vec<_> = std::iter::from_fn(|| decoder.next()).collect();
        assert!(matches!(read.first(), Some(Err(_))), "bit {bit}: {read:?}");
    }
}

#[test]
fn a_command_does_not_show_its_password() {
    let access = Access { lock: "83181001".parse().unwrap(), password: *b"739164", at: noon() };
    assert_eq!(format!("{:?}", Command::Lock(access)), "Lock");
}

fn noon() -> SealTime {
    SealTime::of(SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_111_400))
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..=DATA_MAX)
}

/// Notifications of any bytes, among them many a frame could begin with.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let likely = |byte: u8| if byte >= 0xC0 { [0x01, 0x11][usize::from(byte & 1)] } else { byte };
    let piece = prop::collection::vec(any::<u8>(), 0..300).prop_map(move |bytes| bytes.into_iter().map(likely).collect());
    prop::collection::vec(piece, 0..6)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn frames_survive_any_cuts(frames in prop::collection::vec(data(), 1..6), encrypted in any::<bool>(), cuts in prop::collection::vec(1usize..25, 1..100)) {
        let key = encrypted.then(|| SealKey::new([3; 16]));
        let bytes: Vec<u8> = frames.iter().flat_map(|data| write(data, key.as_ref())).collect();
        let (mut decoder, mut read, mut rest) = (decoder(), Vec::new(), &bytes[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            decoder.push(piece);
            read.extend(std::iter::from_fn(|| decoder.next()));
            rest = behind;
        }
        let read: Vec<_> = read.into_iter().map(|frame| frame.and_then(|frame| frame.open(key.as_ref()))).collect();
        prop_assert_eq!(read, frames.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_behind_garbage_and_a_pause_is_found(garbage in prop::collection::vec(any::<u8>(), 0..300), data in data()) {
        let mut decoder = decoder();
        decoder.push(&garbage);
        decoder.idle();
        while decoder.next().is_some() {}
        prop_assert_eq!(decoder.waiting(), 0);
        decoder.push(&write(&data, None));
        prop_assert_eq!(decoder.next().map(|frame| frame.and_then(|frame| frame.open(None))), Some(Ok(data)));
    }

    #[test]
    fn no_bytes_panic_loop_or_grow(pieces in pieces(), pause in any::<u16>()) {
        let mut decoder = decoder();
        for (i, piece) in pieces.iter().enumerate() {
            decoder.push(piece);
            if pause >> i & 1 == 1 {
                decoder.idle();
            }
            let mut told = 0;
            while let Some(read) = decoder.next() {
                told += 1;
                prop_assert!(told <= 2 * crate::codec::stream::KEPT_MAX);
                if let Ok(data) = read.and_then(|frame| frame.open(None)) {
                    let _ = Message::read(&data);
                    let _ = Command::read(&data);
                }
            }
            prop_assert!(decoder.waiting() <= DATA_MAX + 20);
        }
    }

    #[test]
    fn no_data_panics(data in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = (Message::read(&data), Command::read(&data));
    }

    #[test]
    fn messages_come_back_as_they_were_written(lock in any::<[u8; 4]>(), battery in any::<u8>(), status in any::<u8>(), code in 0usize..CODES.len()) {
        // the low half of a status byte means something in alarms only
        let status = if status >> 4 == 7 { status } else { status & 0xF0 };
        let report = Report { lock: LockId::from_bytes(lock), battery, state: State::from_byte(status), source: Some(Source::Keyboard), time: Some(noon()) };
        let message = Message::Answer(CODES[code], report);
        prop_assert_eq!(Message::read(&message.write()), Ok(message));
        let alarm = Message::Alarm(Alarm::Opened, Report { source: None, ..report });
        prop_assert_eq!(Message::read(&alarm.write()), Ok(alarm));
    }
}

fn cases() -> ProptestConfig {
    let nightly = std::env::var("SEGEL_NIGHTLY").is_ok_and(|wish| wish == "1");
    ProptestConfig::with_cases(if nightly { 4096 } else { 64 })
}
