use std::collections::HashMap;

use proptest::prelude::*;

use super::{keys::session_key, *};
use crate::{SealWord, codec::bthome::SealKey};

const VECTORS: &str = include_str!("../../../tests/vectors/segel-v1.json");
const DOCUMENT: &str = include_str!("../../../../docs/seal-protocol.md");

/// The file is JSON with one member to a line.
fn vectors() -> HashMap<String, Vec<u8>> {
    let mut vectors = HashMap::new();
    let mut name = "";
    for line in VECTORS.lines() {
        match line.trim().trim_end_matches(',').split('"').collect::<Vec<_>>()[..] {
            ["", "name", ": ", found, ""] => name = found,
            ["", "hex", ": ", digits, ""] => {
                let before = vectors.insert(name.to_owned(), hex::decode(digits).unwrap());
                assert_eq!(before, None, "{name} stands twice");
            }
            _ => {}
        }
    }
    assert_eq!(vectors.len(), VECTORS.matches("\"hex\"").count());
    vectors
}

fn key(vectors: &HashMap<String, Vec<u8>>) -> SealKey {
    SealKey::new(piece(&vectors["key"], 0))
}

const NUMBER: &str = "SGL-1003";

/// Seals in the field speak these bytes; do not change this test.
#[test]
fn every_exchange_of_the_document_is_made_and_read_alike_from_both_ends() {
    let vectors = vectors();
    let key = key(&vectors);
    assert_eq!(vectors["number"], NUMBER.as_bytes());
    for name in ["read", "unlock", "lock", "set time", "drain", "confirm"] {
        let of = |part: &str| vectors[&format!("{name}: {part}")].clone();
        let (gateway, seal) = (piece::<16>(&of("NG"), 0), piece::<16>(&of("NS"), 0));
        assert_eq!(session_key(&key, NUMBER, &gateway, &seal).to_vec(), of("session key"), "{name}");
        let hello = Hello::new(gateway);
        assert_eq!(hello.write().to_vec(), of("HELLO"), "{name}");
        let status = Status::read(&of("status in CHALLENGE")).unwrap();
        assert_eq!(status.write().to_vec(), of("status in CHALLENGE"), "{name}");
        let offer = Offer::new(&key, NUMBER, &Hello::read(&of("HELLO")).unwrap(), seal, &status);
        assert_eq!(offer.frame.to_vec(), of("CHALLENGE"), "{name}");
        let challenged = hello.open(&key, NUMBER, &of("CHALLENGE")).unwrap();
        assert_eq!(challenged.status, status, "{name}");
        if name == "read" {
            continue;
        }
        let command = Command::read(&of("command")).unwrap();
        let commanded = challenged.command(&command);
        assert_eq!(commanded.frame.to_vec(), of("COMMAND"), "{name}");
        assert_eq!(offer.open(&of("COMMAND")).unwrap().to_vec(), of("command"), "{name}");
        let answer = commanded.open(&of("RESULT")).unwrap();
        assert_eq!(offer.answer(&commanded.frame, &answer), of("RESULT"), "{name}");
        assert_eq!(answer.status.write().to_vec(), of("result")[2..33], "{name}");
    }
}

/// Do not change this test.
#[test]
fn the_examples_say_what_the_document_says_of_them() {
    let vectors = vectors();
    let key = key(&vectors);
    let unlock = Command::read(&vectors["unlock: command"]).unwrap();
    assert_eq!(unlock, Command::Unlock(Reference([0xC0, 0xFF, 0xEE, 1, 2, 3, 4, 5])));
    let status = |name: &str| Status::read(&vectors[name]).unwrap();
    let locked = status("unlock: status in CHALLENGE");
    assert_eq!((locked.bolt, locked.battery_percent, locked.temperature_centi_c), (Bolt::Locked, Some(87), Some(2150)));
    let low = status("lock: status in CHALLENGE");
    assert_eq!((low.bolt, low.temperature_centi_c), (Bolt::Unlocked, Some(-1250)));
    assert_eq!(low.complaints(), [SealWord::LowBattery]);
    let entries: Vec<_> = vectors["drain: result"][33..].chunks(ENTRY_LEN).map(|entry| Entry::read(entry).unwrap()).collect();
    let words: Vec<_> = entries.iter().map(|entry| (entry.number, entry.what.word())).collect();
    assert_eq!(words, [(40, SealWord::LogLost), (41, SealWord::ShackleCut), (42, SealWord::Unsealed)]);
    assert_eq!(entries[0].lost(), Some(39));
    assert_eq!(entries[2].detail, [0xC0, 0xFF, 0xEE, 1, 2, 3, 4, 5]);
    assert_eq!(advert_key(&key, NUMBER).bytes()[..], vectors["advert key"]);
    assert_eq!(nonce_key(&key, NUMBER).bytes()[..], vectors["nonce key"]);
    assert_eq!(seal_nonce(&nonce_key(&key, NUMBER), 7, 3, [1, 2, 3, 4, 5, 6, 7, 8])[..], vectors["nonce NS"]);
    assert_eq!(write_advert(&key, NUMBER, &Status { battery_percent: Some(89), ..locked }, 1025)[..], vectors["advert"]);
    let heard = read_advert(Some(&key), NUMBER, &vectors["advert"]).unwrap();
    assert_eq!(heard.protection, crate::Protection::Keyed { counter: 1025 });
    assert_eq!(heard.reading.battery_percent, Some(85));
    let packet = &vectors["ADV_IND"];
    assert_eq!((packet.len(), &packet[21..]), (31, &vectors["advert"][..]));
    assert_eq!(packet[5..21].iter().rev().copied().collect::<Vec<_>>(), SERVICE.as_bytes());
    assert_eq!(vectors["SCAN_RSP"][2..18], packet[5..21]);
}

#[test]
fn the_document_prints_every_vector_and_every_vector_stands_in_the_document() {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let examples = DOCUMENT.split("## 11. Worked examples").nth(1).unwrap().split("## 12.").next().unwrap();
    let printed = squeeze(examples);
    let vectors = vectors();
    for (name, bytes) in &vectors {
        assert!(printed.contains(&squeeze(&format!("{name}{}", hex::encode(bytes)))), "{name} is not in the document");
    }
    let blocks: String = examples.split("```").skip(1).step_by(2).map(|block| squeeze(block.trim_start_matches("text"))).collect();
    let wanted: usize = vectors.iter().map(|(name, bytes)| squeeze(name).len() + 2 * bytes.len()).sum();
    assert_eq!(blocks.len(), wanted, "the document prints something that no test holds");
    for uuid in [SERVICE, REQUEST, ANSWER] {
        assert!(DOCUMENT.contains(&uuid.to_string()), "{uuid}");
    }
}

#[test]
fn any_bit_changed_in_any_message_is_noticed() {
    let vectors = vectors();
    let key = key(&vectors);
    let hello = Hello::read(&vectors["drain: HELLO"]).unwrap();
    let challenged = hello.open(&key, NUMBER, &vectors["drain: CHALLENGE"]).unwrap();
    let offer = Offer::new(&key, NUMBER, &hello, piece(&vectors["drain: NS"], 0), &challenged.status);
    let commanded = challenged.command(&Command::read(&vectors["drain: command"]).unwrap());
    let changed = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..8 * REQUEST_LEN {
        // a changed HELLO gets a challenge that the gateway does not take, or none
        if let Ok(other) = Hello::read(&changed(&hello.write(), bit)) {
            let other = Offer::new(&key, NUMBER, &other, piece(&vectors["drain: NS"], 0), &Status::read(&[0; STATUS_LEN]).unwrap());
            assert!(hello.open(&key, NUMBER, &other.frame).is_err(), "HELLO bit {bit}");
        }
        assert!(offer.open(&changed(&commanded.frame, bit)).is_err(), "COMMAND bit {bit}");
    }
    for bit in 0..8 * CHALLENGE_LEN {
        assert!(hello.open(&key, NUMBER, &changed(&offer.frame, bit)).is_err(), "CHALLENGE bit {bit}");
    }
    let result = &vectors["drain: RESULT"];
    assert!(commanded.open(result).is_ok());
    for bit in 0..8 * result.len() {
        assert!(commanded.open(&changed(result, bit)).is_err(), "RESULT bit {bit}");
    }
    let advert = &vectors["advert"];
    for bit in 0..8 * advert.len() {
        assert!(read_advert(Some(&key), NUMBER, &changed(advert, bit)).is_err(), "advertisement bit {bit}");
    }
}

#[test]
fn another_key_and_another_number_open_nothing() {
    let vectors = vectors();
    let hello = Hello::read(&vectors["read: HELLO"]).unwrap();
    let frame = &vectors["read: CHALLENGE"];
    assert_eq!(hello.open(&SealKey::new([9; 16]), NUMBER, frame).unwrap_err(), Fault::WrongCode);
    assert_eq!(hello.open(&key(&vectors), "SGL-1004", frame).unwrap_err(), Fault::WrongCode);
    assert_eq!(read_advert(Some(&key(&vectors)), "SGL-1004", &vectors["advert"]), Err(AdvertFault::BadCode));
    assert!(read_advert(None, NUMBER, &vectors["advert"]).is_ok_and(|advert| advert.protection == crate::Protection::Plain));
}

#[test]
fn commands_with_anything_where_zero_should_be_are_none() {
    let good = [&[2][..], &[7; 8], &[0; 2]].concat();
    assert!(Command::read(&good).is_some());
    for bad in [[&[2][..], &[7; 8], &[0, 1]].concat(), vec![2; 12], [&[2][..], &[0; 10]].concat(), [&[9][..], &[7; 10]].concat()] {
        assert_eq!(Command::read(&bad), None, "{bad:?}");
    }
    let time = |seconds: u32| Command::read(&Command::SetTime(seconds).write());
    assert_eq!(time(1_577_836_799), None);
    assert_eq!(time(1_577_836_800), Some(Command::SetTime(1_577_836_800)));
}

#[test]
fn every_word_has_its_number() {
    for number in 1..=17 {
        assert_eq!(What::of(What(number).word()), What(number));
    }
    assert_eq!(What(0).word(), SealWord::Abnormal);
    assert_eq!(What(18).word(), SealWord::Abnormal);
}

#[test]
fn no_key_is_shown() {
    let vectors = vectors();
    let hello = Hello::read(&vectors["read: HELLO"]).unwrap();
    let shown = format!("{:?}", hello.open(&key(&vectors), NUMBER, &vectors["read: CHALLENGE"]).unwrap());
    assert!(shown.contains("Session(not shown)"), "{shown}");
}

fn any_status() -> impl Strategy<Value = Status> {
    let bytes = prop::collection::vec(any::<u8>(), STATUS_LEN);
    bytes.prop_filter_map("a bolt without a place", |bytes| Status::read(&bytes).ok())
}

fn any_entry() -> impl Strategy<Value = Entry> {
    prop::collection::vec(any::<u8>(), ENTRY_LEN).prop_map(|bytes| Entry::read(&bytes).unwrap())
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (1u64..).prop_map(|reference| Command::Lock(Reference(reference.to_le_bytes()))),
        (1u64..).prop_map(|reference| Command::Unlock(Reference(reference.to_le_bytes()))),
        (1_577_836_800u32..).prop_map(Command::SetTime),
        any::<(u32, u32, u8)>().prop_map(|(log, confirm, most)| Command::Drain { log, confirm, most }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_alike(
        key: [u8; 16], gateway: [u8; 16], seal: [u8; 16], status in any_status(), command in any_command(),
        outcome: u8, entries in prop::collection::vec(any_entry(), 0..=ENTRIES_MAX), number in "[A-Z]{2,5}-[0-9]{1,28}",
    ) {
        let key = SealKey::new(key);
        prop_assert_eq!(Status::read(&status.write()), Ok(status));
        prop_assert_eq!(Command::read(&command.write()), Some(command));
        let hello = Hello::read(&Hello::new(gateway).write()).unwrap();
        let offer = Offer::new(&key, &number, &hello, seal, &status);
        let challenged = hello.open(&key, &number, &offer.frame).unwrap();
        prop_assert_eq!(challenged.status, status);
        let commanded = challenged.command(&command);
        prop_assert_eq!(Command::read(&offer.open(&commanded.frame).unwrap()), Some(command));
        let answer = Answer { outcome: Outcome(outcome), status, entries };
        let frame = offer.answer(&commanded.frame, &answer);
        prop_assert!(frame.len() <= 244);
        prop_assert_eq!(form(&frame), Form::Whole(kind::RESULT));
        prop_assert_eq!(form(&frame[..20]), Form::Cut(kind::RESULT));
        prop_assert_eq!(commanded.open(&frame), Ok(answer));
    }

    #[test]
    fn an_advertisement_says_what_the_status_says(status in any_status(), counter: u32) {
        let key = SealKey::new([3; 16]);
        let advert = read_advert(Some(&key), NUMBER, &write_advert(&key, NUMBER, &status, counter)).unwrap();
        let full = status.reading();
        prop_assert_eq!(advert.protection, crate::Protection::Keyed { counter });
        prop_assert_eq!(advert.stored, status.stored > 0);
        prop_assert_eq!(
            (advert.reading.lock, advert.reading.tamper, advert.reading.open, advert.reading.battery_low, advert.reading.problem),
            (full.lock, full.tamper, full.open, full.battery_low, full.problem)
        );
        prop_assert_eq!(advert.reading.battery_percent, full.battery_percent.map(|percent| percent / 5 * 5));
    }

    #[test]
    fn no_bytes_panic_and_none_pass(bytes in prop::collection::vec(any::<u8>(), 0..300), first in 0u8..3) {
        let key = SealKey::new([3; 16]);
        let hello = Hello::new([1; 16]);
        let mut bytes = bytes;
        // half of the time a first byte that is looked at further
        if let Some(byte) = bytes.first_mut() { *byte = match first { 0 => *byte, 1 => kind::CHALLENGE, _ => kind::RESULT } }
        let _ = form(&bytes);
        let _ = Hello::read(&bytes);
        let _ = Status::read(&bytes);
        let _ = Entry::read(&bytes);
        let _ = Command::read(&bytes);
        let _ = read_advert(Some(&key), NUMBER, &bytes);
        prop_assert!(hello.open(&key, NUMBER, &bytes).is_err());
        let offer = Offer::new(&key, NUMBER, &hello, [2; 16], &Status::read(&[0; STATUS_LEN]).unwrap());
        prop_assert!(offer.open(&bytes).is_err());
        let commanded = hello.open(&key, NUMBER, &offer.frame).unwrap().command(&Command::SetTime(u32::MAX));
        prop_assert!(commanded.open(&bytes).is_err());
    }
}
