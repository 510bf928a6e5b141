use proptest::prelude::*;

use super::*;

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.replace(' ', "")).unwrap()
}

/// Derived from the sources, never captured; do not change this test.
#[test]
fn the_derived_sealing_of_11001_is_made_byte_for_byte() {
    let frame = Order::Operate(Turn::Seal).frame(11_001, FIRMWARE_RN, PUBLISHED_KEY);
    assert_eq!(hex::encode(&frame), "ffffffff7221a002001600002af9abababab000cb73818eeed757e7b38394ea3");
    let opened = open(&frame, PUBLISHED_KEY).unwrap();
    assert_eq!(hex::encode(&opened.payload), "8ba72f0c000600002af90100");
    assert_eq!(opened.envelope, Some((11_001, FIRMWARE_RN)));
    assert_eq!(opened.order(11_001), Some(Order::Operate(Turn::Seal)));
}

/// Derived from the sources, never captured; do not change this test.
#[test]
fn the_derived_get_id_is_made_byte_for_byte() {
    let frame = Order::GetId.frame(0, 0, 0);
    assert_eq!(hex::encode(&frame), "ffffffff4052a00200042b952f02");
    let opened = open(&frame, PUBLISHED_KEY).unwrap();
    assert_eq!((opened.envelope, opened.kind, opened.content.len()), (None, kind::GET_ID, 0));
}

/// Derived from the sources, never captured; do not change this test.
#[test]
fn the_check_is_the_ccitt_one_that_begins_with_ones() {
    assert_eq!(CHECK.checksum(b"123456789"), 0x29B1);
}

fn state(safe: Safe) -> State {
    State { period_s: 60, window_s: 30, channel: 1, via: 1, power: 1, safe, rod: Rod::In, limits: [0, 1, 2, 3, 4, 5, 6, 7, 8] }
}

#[test]
fn a_state_says_sealed_unsealed_or_forced_open() {
    for (code, safe) in [(0, Safe::Unsealed), (1, Safe::Sealed), (2, Safe::ForcedOpen), (7, Safe::Unnamed(7))] {
        let content = state(safe).content(11_001);
        assert_eq!((content.len(), content[10]), (State::LEN, code));
        let frame = sealed_frame(11_001, FIRMWARE_RN, 0, kind::STATE, &content);
        assert_eq!(open(&frame, 0).unwrap().answer(11_001), Ok(Answer::State(state(safe))));
    }
}

#[test]
fn another_seals_answer_is_not_this_ones() {
    let frame = sealed_frame(11_001, FIRMWARE_RN, 0, kind::STATE, &state(Safe::Unsealed).content(11_001));
    assert_eq!(open(&frame, 0).unwrap().answer(11_002), Err(EsealFault::OtherSeal(11_001)));
    let inside = sealed_frame(11_002, FIRMWARE_RN, 0, kind::STATE, &state(Safe::Unsealed).content(11_001));
    assert_eq!(open(&inside, 0).unwrap().answer(11_002), Err(EsealFault::OtherSeal(11_001)));
}

#[test]
fn a_changed_byte_anywhere_makes_a_frame_worthless() {
    let good = sealed_frame(11_001, FIRMWARE_RN, 0, kind::STATE, &state(Safe::Sealed).content(11_001));
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        assert!(open(&changed, 0).and_then(|opened| opened.answer(11_001)).is_err(), "byte {at}");
        assert!(open(&good[..at], 0).is_err(), "cut at {at}");
    }
    assert_eq!(open(&good, 1), Err(EsealFault::PayloadCheck), "another key");
    assert_eq!(open(&[0xFF; FRAME_MAX + 1], 0), Err(EsealFault::TooLong));
    assert_eq!(open(&bytes("ff ff ff fe 40 52 a0 02 00 04 2b 95 2f 02"), 0), Err(EsealFault::Lead));
    assert!(matches!(
        open(&bytes("ff ff ff ff 40 53 a0 02 00 04 2b 95 2f 02"), 0),
        Err(EsealFault::HeadCheck { says: 0x4053, is: 0x4052 })
    ));
}

#[test]
fn what_is_stored_comes_out_as_it_is() {
    let text = b"MSKU3874652\r\nPT Samudra";
    let content = [&11_001u32.to_be_bytes()[..], &[0, 23], text].concat();
    let frame = sealed_frame(11_001, FIRMWARE_RN, 0, kind::STORED, &content);
    assert_eq!(open(&frame, 0).unwrap().answer(11_001), Ok(Answer::Stored(text.to_vec())));
    let short = sealed_frame(11_001, FIRMWARE_RN, 0, kind::STORED, &content[..20]);
    assert!(matches!(open(&short, 0).unwrap().answer(11_001), Err(EsealFault::Content { .. })));
}

#[test]
fn a_number_and_an_error_are_read() {
    let id = clear_frame(kind::ID, &11_001u32.to_be_bytes());
    assert_eq!(id.len(), 20, "the app knows this answer by its length");
    assert_eq!(open(&id, 0).unwrap().answer(5), Ok(Answer::Id(11_001)));
    let error = sealed_frame(5, FIRMWARE_RN, 0, kind::ERROR, &[0, 0, 0, 5, 3]);
    assert_eq!(open(&error, 0).unwrap().answer(5), Ok(Answer::Error(3)));
}

proptest! {
    #[test]
    fn no_bytes_panic(noise in prop::collection::vec(any::<u8>(), 0..400), key: u32, id: u32) {
        if let Ok(opened) = open(&noise, key) {
            let _ = (opened.answer(id), opened.order(id));
        }
    }

    #[test]
    fn no_content_under_good_checks_panics(content in prop::collection::vec(any::<u8>(), 0..300), kinds: u16, known in 0usize..6, id: u32, clear: bool) {
        let kind = [kind::STATE, kind::STORED, kind::ERROR, kind::ID, kind::OPERATION, kinds][known];
        let frame = if clear { clear_frame(kind, &content) } else { sealed_frame(id, FIRMWARE_RN, 0, kind, &content) };
        if let Ok(opened) = open(&frame, 0) {
            let _ = (opened.answer(id), opened.order(id));
        }
    }

    #[test]
    fn what_is_written_is_read(id: u32, rn: u32, key: u32, most: u16) {
        for order in [Order::Query, Order::Operate(Turn::Seal), Order::Operate(Turn::Unseal), Order::ReadStored { most }, Order::GetId] {
            let opened = open(&order.frame(id, rn, key), key).unwrap();
            prop_assert_eq!(opened.order(id), Some(order));
        }
    }

    #[test]
    fn a_state_is_read_as_written(id: u32, rn: u32, key: u32, code: u8, period_s: u16, rest: (u8, u8, u8, u8), limits: [u8; 9], rod: bool) {
        let (window_s, channel, via, power) = rest;
        let rod = if rod { Rod::In } else { Rod::Out };
        let state = State { period_s, window_s, channel, via, power, safe: Safe::new(code), rod, limits };
        let frame = sealed_frame(id, rn, key, kind::STATE, &state.content(id));
        prop_assert_eq!(open(&frame, key).unwrap().answer(id), Ok(Answer::State(state)));
    }
}
