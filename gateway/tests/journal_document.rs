//! The document, byte for byte, and what a receiver can tell from documents alone.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use journal_support::*;
use proptest::prelude::*;
use segel::event::chain::{Break, ChainCheck, Fed, Hole, WINDOW};
use segel::event::document::{self, Head};
use segel::event::gap::{Dropped, Gap};
use segel::event::{
    Assurance, BODY_MAX, BootId, Class, ClockQuality, Digest, Draft, DraftError, EventType, JournalId, Seq, Source, Stamp, Subject,
};
use uuid::Uuid;

const JOURNAL: JournalId = JournalId(Uuid::from_u128(0x0192_0000_0000_4000_8000_0000_0000_0001));

fn numbered(class: Class, n: u64, prev: &Digest) -> Vec<u8> {
    document::write(&draft(class, n, 0), &source(), JOURNAL, Seq(n), prev)
}

/// A chain of `n` documents of one class.
fn chain(class: Class, n: u64) -> Vec<Vec<u8>> {
    let mut prev = Digest::ZERO;
    (1..=n)
        .map(|n| {
            let doc = numbered(class, n, &prev);
            prev = Digest::of(&doc);
            doc
        })
        .collect()
}

fn three_frozen() -> [Vec<u8>; 3] {
    let stamp = Stamp {
        wall: "2026-11-21T07:08:09.1239999Z".parse().unwrap(),
        monotonic_ms: 86_400_123,
        boot: BootId(Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888)),
        clock: ClockQuality::Ntp,
    };
    let body = serde_json::json!({"cause": "rope cut", "battery": 87, "volt": 3.61, "lane": null});
    let subject: Subject = "seal/JT-8000620011".parse().unwrap();
    let mut first = Draft::new(Class::Alarm, EventType::ForcedOpen, subject, stamp, Assurance::Evidence, &body).unwrap();
    first.id = Uuid::from_u128(0x0193_4a5b_6c7d_7e8f_9012_3456_789a_bcde);
    let first = first.with_container("CSQU3054383").unwrap();

    let body = serde_json::json!({"note": "segel rusak – Тест 封条 \"kutip\" \\ \u{1}\n\u{1F512}", "driver": "Pak Sugêng"});
    let stamp = Stamp { wall: "2026-11-21T07:08:10Z".parse().unwrap(), clock: ClockQuality::Untrusted, monotonic_ms: 0, ..stamp };
    let mut second = Draft::new(Class::Alarm, EventType::Tampered, Subject::gateway(), stamp, Assurance::Claim, &body).unwrap();
    second.id = Uuid::from_u128(0x0193_4a5b_6c7d_7e8f_9012_3456_789a_bcdf);
    let second = second.with_container("CSQÜ\"1").unwrap();

    let gap = Gap {
        first: Seq(1),
        last: Seq(512),
        count: 512,
        bytes: 262_144,
        undelivered: 12,
        digest: Digest([0xAB; 32]),
        run: None,
        since_start: Dropped { count: 512, bytes: 262_144 },
    };
    let stamp = Stamp { wall: "1970-01-01T00:00:00.5Z".parse().unwrap(), monotonic_ms: u64::MAX, clock: ClockQuality::Rtc, ..stamp };
    let mut third = Draft::new(Class::Telemetry, EventType::Gap, Subject::gateway(), stamp, Assurance::Own, &gap).unwrap();
    third.id = Uuid::from_u128(0x0193_4a5b_6c7d_7e8f_9012_3456_789a_bce0);

    let one = document::write(&first, &source(), JOURNAL, Seq(1), &Digest::ZERO);
    let two = document::write(&second, &source(), JOURNAL, Seq(2), &Digest::of(&one));
    let three = document::write(&third, &source(), JOURNAL, Seq(4_294_967_297), &Digest([0xCD; 32]));
    [one, two, three]
}

/// Do not change this test. Documents like these are in customs' hands.
#[test]
fn the_bytes_of_a_document_are_frozen() {
    let [one, two, three] = three_frozen().map(|doc| String::from_utf8(doc).unwrap());
    assert_eq!(one, FROZEN_1);
    assert_eq!(two, FROZEN_2);
    assert_eq!(three, FROZEN_3);
}

const FROZEN_1: &str = concat!(
    r#"{"specversion":"1.0","id":"01934a5b-6c7d-7e8f-9012-3456789abcde","source":"/idsrg/g01""#,
    r#","type":"id.segel.FORCED_OPEN.v1","subject":"seal/JT-8000620011","time":"2026-11-21T07:08:09.123Z""#,
    r#","datacontenttype":"application/json","class":"alarm","seq":"1""#,
    r#","prev":"0000000000000000000000000000000000000000000000000000000000000000""#,
    r#","journal":"01920000-0000-4000-8000-000000000001","boot":"11112222-3333-4444-5555-666677778888""#,
    r#","mono":"86400123","clock":"ntp","assurance":"evidence","container":"CSQU3054383","#,
    r#""data":{"battery":87,"cause":"rope cut","lane":null,"volt":3.61}}"#,
);
const FROZEN_2: &str = concat!(
    r#"{"specversion":"1.0","id":"01934a5b-6c7d-7e8f-9012-3456789abcdf","source":"/idsrg/g01""#,
    r#","type":"id.segel.TAMPERED.v1","subject":"gateway","time":"2026-11-21T07:08:10.000Z""#,
    r#","datacontenttype":"application/json","class":"alarm","seq":"2""#,
    r#","prev":"0974a48a7c578ab0cb25d987d7aea510f32ca365ec0eb175d6b1f1975b4aed49""#,
    r#","journal":"01920000-0000-4000-8000-000000000001","boot":"11112222-3333-4444-5555-666677778888","mono":"0""#,
    r#","clock":"untrusted","assurance":"claim","container":"CSQÜ\"1","#,
    r#""data":{"driver":"Pak Sugêng","note":"segel rusak – Тест 封条 \"kutip\" \\ \u0001\n🔒"}}"#,
);
const FROZEN_3: &str = concat!(
    r#"{"specversion":"1.0","id":"01934a5b-6c7d-7e8f-9012-3456789abce0","source":"/idsrg/g01""#,
    r#","type":"id.segel.GAP.v1","subject":"gateway","time":"1970-01-01T00:00:00.500Z""#,
    r#","datacontenttype":"application/json","class":"telemetry","seq":"4294967297""#,
    r#","prev":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd""#,
    r#","journal":"01920000-0000-4000-8000-000000000001","boot":"11112222-3333-4444-5555-666677778888""#,
    r#","mono":"18446744073709551615","clock":"rtc","assurance":"own","#,
    r#""data":{"first":1,"last":512,"count":512,"bytes":262144,"undelivered":12,"digest":"abababababababababababababababababababababababababababababababab","since_start":{"count":512,"bytes":262144}}}"#,
);

#[test]
fn sha256sum_over_a_document_is_what_the_next_one_names() {
    let [one, two, _] = three_frozen();
    let mut tool = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(&one).unwrap();
    let said = String::from_utf8(tool.wait_with_output().unwrap().stdout).unwrap();
    let named = Head::parse(&two).unwrap().prev.to_string();
    assert_eq!(said.split_whitespace().next().unwrap(), named);
    assert!(String::from_utf8(two).unwrap().contains(&format!(r#""prev":"{named}""#)));
}

#[test]
fn a_document_says_back_what_was_put_in() {
    let [one, two, three] = three_frozen();
    let head = Head::parse(&one).unwrap();
    assert_eq!((head.class, head.seq, head.kind(), head.prev), (Class::Alarm, Seq(1), Some(EventType::ForcedOpen), Digest::ZERO));
    assert_eq!((head.container.as_deref(), head.time.to_string().as_str()), (Some("CSQU3054383"), "2026-11-21T07:08:09.123Z"));
    assert_eq!((head.source, head.journal, head.assurance), (source(), JOURNAL, Assurance::Evidence));
    assert_eq!(Head::parse(&two).unwrap().container.as_deref(), Some("CSQÜ\"1"));
    let head = Head::parse(&three).unwrap();
    assert_eq!((head.seq, head.monotonic_ms, head.container), (Seq(4_294_967_297), u64::MAX, None));
    assert_eq!(serde_json::from_str::<Gap>(head.data.get()).unwrap().last, Seq(512));
}

#[test]
fn a_document_with_a_bent_member_is_not_read() {
    let good = String::from_utf8(three_frozen()[0].clone()).unwrap();
    assert!(Head::parse(good.as_bytes()).is_ok());
    for (from, to) in [
        (r#""specversion":"1.0""#, r#""specversion":"2.0""#),
        (r#""seq":"1""#, r#""seq":"0""#),
        (r#""seq":"1""#, r#""seq":"01""#),
        (r#""seq":"1""#, r#""seq":"+1""#),
        (r#""seq":"1""#, r#""seq":1"#),
        (r#""class":"alarm""#, r#""class":"Alarm""#),
        (r#""class":"alarm","#, ""),
        (r#""class":"alarm""#, r#""class":"alarm","class":"alarm""#),
        (".v1", ".v2"),
        ("id.segel.", "com.other."),
        ("0000000000", "000000000"),
        (r#""data":{"#, r#""data":[{"#),
        ("/idsrg/g01", "idsrg"),
        ("T07:08:09", "T07:08:61"),
        ("}", ""),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(Head::parse(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} as {to}");
    }
    let later = good.replacen("FORCED_OPEN", "MOTOR_FAULT", 1).replacen(r#""data""#, r#""extra":1,"data""#, 1);
    let head = Head::parse(later.as_bytes()).unwrap();
    assert_eq!((head.word.as_ref(), head.kind()), ("MOTOR_FAULT", None), "what a later version says can be checked");
}

#[test]
fn a_draft_is_an_object_of_bounded_size_on_one_line() {
    let new = |body: &dyn Fn() -> serde_json::Value| {
        Draft::new(Class::Alarm, EventType::Sealed, Subject::gateway(), stamp(0), Assurance::Own, &body())
    };
    assert!(matches!(new(&|| serde_json::json!([1])), Err(DraftError::NotAnObject { .. })));
    assert!(matches!(new(&|| serde_json::json!("text")), Err(DraftError::NotAnObject { .. })));
    assert!(matches!(new(&|| serde_json::json!({"a": "x".repeat(BODY_MAX)})), Err(DraftError::TooLarge { .. })));
    let pretty = serde_json::value::RawValue::from_string("{\n  \"a\":\r\n 1.50\n}".to_owned()).unwrap();
    let draft = Draft::new(Class::Alarm, EventType::Sealed, Subject::gateway(), stamp(0), Assurance::Own, &pretty).unwrap();
    assert!(!draft.body().get().contains(['\n', '\r']) && draft.body().get().contains("1.50"));
    assert!(draft.with_container("X".repeat(33)).is_err());
}

#[test]
fn every_word_reads_back_and_a_foreign_one_does_not() {
    for word in EventType::ALL {
        assert_eq!(word.as_str().parse(), Ok(*word));
    }
    assert!("gated_in".parse::<EventType>().is_err());
    assert_eq!(Class::ALL, [Class::Alarm, Class::Receipt, Class::Telemetry], "in order of priority");
    assert!("/idsrg/g01".parse::<Source>().is_ok() && "/IDSRG/g01".parse::<Source>().is_err() && "/a/b/c".parse::<Source>().is_err());
    for bad in ["", "seal/", "/x", "seal/a b", "reader", "tag/\u{e9}"] {
        assert!(bad.parse::<Subject>().is_err(), "{bad}");
    }
}

#[test]
fn a_whole_chain_with_repeats_after_a_reconnection_is_whole() {
    let docs = chain(Class::Alarm, 30);
    let mut check = ChainCheck::new();
    for doc in docs[..20].iter().chain(&docs[12..20]).chain(&docs[20..]) {
        check.feed(doc).unwrap();
    }
    let report = check.finish();
    assert!(report.is_whole());
    let alarm = &report.chains[0];
    assert_eq!((alarm.first, alarm.last, alarm.count, alarm.duplicates, alarm.unchecked), (Seq(1), Seq(30), 30, 8, 0));
}

#[test]
fn a_missing_a_changed_and_a_doubled_document_are_each_found() {
    let docs = chain(Class::Receipt, 10);
    let of = |docs: &[Vec<u8>]| {
        let mut check = ChainCheck::new();
        for doc in docs {
            check.feed(doc).unwrap();
        }
        check.finish().chains.remove(0)
    };
    let mut missing = docs.clone();
    missing.drain(3..5);
    let found = of(&missing);
    assert_eq!((found.holes_unexplained, found.breaks), (vec![Hole { first: Seq(4), last: Seq(5) }], vec![]));

    let mut changed = docs.clone();
    let text = String::from_utf8(changed[4].clone()).unwrap();
    changed[4] = text.replace(r#""n":5"#, r#""n":6"#).into_bytes();
    assert_ne!(changed[4], docs[4]);
    assert!(matches!(of(&changed).breaks[..], [Break::Prev { seq: Seq(6), .. }]));

    let mut doubled = docs.clone();
    doubled.push(changed[4].clone());
    assert!(matches!(of(&doubled).breaks[..], [Break::Conflict { seq: Seq(5), .. }]));

    let late = of(&docs[3..]);
    assert_eq!(late.holes_unexplained, [Hole { first: Seq(1), last: Seq(3) }]);
    let mut check = ChainCheck::new().starting_at(Class::Receipt, Seq(4));
    for doc in &docs[3..] {
        check.feed(doc).unwrap();
    }
    assert!(check.finish().is_whole(), "a late beginning that was stated is no hole");
}

/// A `GAP` as number `seq`, saying that everything up to `last` was dropped.
fn gap(class: Class, seq: u64, prev: &Digest, last: u64, digest: Digest) -> Vec<u8> {
    let body = Gap {
        first: Seq(last),
        last: Seq(last),
        count: 1,
        bytes: 1,
        undelivered: 1,
        digest,
        run: None,
        since_start: Dropped { count: last, bytes: last },
    };
    let draft = Draft::new(class, EventType::Gap, Subject::gateway(), stamp(seq), Assurance::Own, &body).unwrap();
    document::write(&draft, &source(), JOURNAL, Seq(seq), prev)
}

#[test]
fn a_gap_explains_its_hole_and_only_with_the_right_digest_and_only_in_telemetry() {
    for class in [Class::Telemetry, Class::Alarm] {
        let docs = chain(class, 20);
        for (stated, right) in [(Digest::of(&docs[7]), true), (Digest([1; 32]), false)] {
            let mut check = ChainCheck::new();
            for doc in docs[..3].iter().chain(&docs[8..]) {
                check.feed(doc).unwrap();
            }
            check.feed(&gap(class, 21, &Digest::of(&docs[19]), 8, stated)).unwrap();
            let found = check.finish().chains.remove(0);
            let hole = Hole { first: Seq(4), last: Seq(8) };
            if class == Class::Telemetry {
                assert_eq!((found.holes_explained, found.holes_unexplained), (vec![hole], vec![]));
                assert_eq!(found.breaks.len(), usize::from(!right));
            } else {
                assert_eq!((found.holes_explained, found.holes_unexplained), (vec![], vec![hole]));
            }
        }
    }
}

#[test]
fn a_gap_explains_no_more_than_it_says() {
    let docs = chain(Class::Telemetry, 20);
    let mut check = ChainCheck::new();
    for doc in docs[..3].iter().chain(&docs[12..]) {
        check.feed(doc).unwrap();
    }
    check.feed(&gap(Class::Telemetry, 21, &Digest::of(&docs[19]), 8, Digest::of(&docs[7]))).unwrap();
    let found = check.finish().chains.remove(0);
    assert_eq!(found.holes_explained, [Hole { first: Seq(4), last: Seq(8) }]);
    assert_eq!(found.holes_unexplained, [Hole { first: Seq(9), last: Seq(12) }]);
}

#[test]
fn a_very_old_repeat_is_counted_and_not_judged() {
    let docs = chain(Class::Telemetry, WINDOW as u64 + 10);
    let mut check = ChainCheck::new();
    for doc in &docs {
        assert_eq!(check.feed(doc).unwrap(), Fed::New);
    }
    assert_eq!(check.feed(&docs[0]).unwrap(), Fed::Unchecked);
    assert_eq!(check.feed(&docs[20]).unwrap(), Fed::Duplicate);
    assert!(check.feed(b"not a document").is_err());
    let report = check.finish();
    assert_eq!((report.chains[0].unchecked, report.chains[0].duplicates, report.unreadable), (1, 1, 1));
    assert!(report.chains[0].is_whole() && !report.is_whole(), "an unreadable document is not passed over");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any order with any repeats is whole; with some taken out it is whole exactly where nothing is missing.
    #[test]
    fn what_is_missing_is_found_whatever_the_order(
        order in Just((0..40_usize).collect::<Vec<_>>()).prop_shuffle(),
        missing in proptest::collection::btree_set(0..39_usize, 0..5),
        repeats in proptest::collection::vec(0..40_usize, 0..10),
    ) {
        let docs = chain(Class::Alarm, 40);
        let mut check = ChainCheck::new();
        let mut fed = 0_u64;
        for at in order.iter().chain(&repeats).filter(|at| !missing.contains(at)) {
            check.feed(&docs[*at]).unwrap();
            fed += 1;
        }
        let found = check.finish().chains.remove(0);
        let named: std::collections::BTreeSet<usize> = found
            .holes_unexplained
            .iter()
            .flat_map(|hole| hole.first.0..=hole.last.0)
            .map(|seq| usize::try_from(seq).unwrap() - 1)
            .collect();
        prop_assert_eq!(named, missing);
        prop_assert!(found.breaks.is_empty());
        prop_assert_eq!(found.count + found.duplicates, fed);
    }

    #[test]
    fn no_bytes_make_the_check_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..500_usize, with in any::<u8>()) {
        let mut check = ChainCheck::new();
        let _ = check.feed(&bytes);
        let mut doc = chain(Class::Telemetry, 1).remove(0);
        let at = at % doc.len();
        doc[at] = with;
        let _ = check.feed(&doc);
        let _ = check.finish();
    }
}
