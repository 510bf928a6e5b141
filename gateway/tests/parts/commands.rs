//! Commands from customs: on disk before they are acknowledged, answered once.

use std::time::Duration;

use crate::support::{entry, hold, open, open_with, until};
use bytes::Bytes;
use segel::{
    clock::Clock,
    commands::{Commands, Voucher},
    event::{Class, Seq},
    journal::{Journal, JournalConfig},
};
use segel_mqtt_bridge::uplink::{Delivery, Inbox};

fn inbox(journal: &Journal) -> Commands {
    Commands::new(journal.clone(), Clock::new(Duration::from_secs(60), None)).unwrap()
}

fn delivery(payload: &[u8]) -> Delivery {
    let topic = "segel/1/idsrg/g01/cmd/unlock".to_owned();
    Delivery { topic, payload: Bytes::copy_from_slice(payload), length: payload.len(), retained: false, duplicate: false }
}

/// Type and code of every receipt on disk.
fn receipts(journal: &Journal) -> Vec<(String, String)> {
    let records = journal.reader().unwrap().after(Class::Receipt, Seq::NONE, 100, 1 << 20).unwrap();
    let code = |doc: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(doc).unwrap();
        document["data"]["code"].as_str().unwrap_or("-").to_owned()
    };
    records.into_iter().map(|record| (record.kind, code(&record.doc))).collect()
}

fn refused(code: &str) -> [(String, String); 2] {
    [("COMMAND_RECEIVED".to_owned(), "-".to_owned()), ("COMMAND_REFUSED".to_owned(), code.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_on_disk_with_its_refusal_when_the_inbox_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    inbox(&journal).receive(delivery(br#"{"v":1,"id":"01JD8Z","grant":"eyJ"}"#)).await.unwrap();
    assert_eq!(receipts(&journal), refused("not_supported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_again_is_answered_once_even_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let command = br#"{"id":"01JD8Z"}"#;
    let commands = inbox(&journal);
    let (first, second) = tokio::join!(commands.receive(delivery(command)), commands.receive(delivery(command)));
    assert!(first.is_ok() && second.is_ok());
    drop(commands);
    journal.close().await.unwrap();
    let journal = open(dir.path());
    inbox(&journal).receive(delivery(command)).await.unwrap();
    assert_eq!(receipts(&journal), refused("not_supported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_command_is_refused_as_malformed_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(65));
    let bad: [&[u8]; 6] = [b"", b"unlock!", b"[1]", br#"{"id":7}"#, br#"{"id":"a/b c"}"#, long.as_bytes()];
    for payload in bad {
        commands.receive(delivery(payload)).await.unwrap();
    }
    let receipts = receipts(&journal);
    assert_eq!(receipts.len(), 2 * bad.len());
    assert!(receipts.chunks(2).all(|pair| pair == refused("malformed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waited_on_the_broker_is_refused_as_retained() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    inbox(&journal).receive(Delivery { retained: true, ..delivery(br#"{"id":"01JD8Z"}"#) }).await.unwrap();
    assert_eq!(receipts(&journal), refused("retained"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_kept_is_not_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    journal.close().await.unwrap();
    assert!(commands.receive(delivery(br#"{"id":"01JD8Z"}"#)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_however_hostile_blocks_the_ones_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    // Control characters take six bytes each in an event, and a topic may be as long as MQTT allows.
    commands.receive(delivery(&[1; 4_096])).await.unwrap();
    let far = Delivery { topic: format!("segel/1/idsrg/g01/cmd/{}", "x".repeat(60_000)), ..delivery(b"far") };
    commands.receive(far).await.unwrap();
    let cut = Delivery { length: 5_000_000, ..delivery(&[b'{'; 60_000]) };
    commands.receive(cut).await.unwrap();
    commands.receive(delivery(br#"{"id":"next"}"#)).await.unwrap();
    let codes: Vec<_> = receipts(&journal).into_iter().map(|(_, code)| code).filter(|code| code != "-").collect();
    assert_eq!(codes, ["malformed", "malformed", "too_long", "not_supported"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_command_sent_anew_is_answered_anew() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    let command = delivery(br#"{"id":"01JD8Z"}"#);
    for _ in 0..2 {
        commands.receive(Delivery { retained: true, ..command.clone() }).await.unwrap();
    }
    for _ in 0..2 {
        commands.receive(command.clone()).await.unwrap();
    }
    assert_eq!(receipts(&journal), [refused("retained"), refused("not_supported")].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_by_somebody_else_never_swallows_a_command() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    commands.receive(delivery(br#"{"id":"01JD8Z"}"#)).await.unwrap();
    for _ in 0..2 {
        commands.receive(delivery(br#"{"id":"01JD8Z","grant":"real"}"#)).await.unwrap();
    }
    assert_eq!(receipts(&journal), [refused("not_supported"), refused("id_reused")].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_receipt_can_be_promised_a_command_is_refused_with_the_reason_and_that_stands() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_with(dir.path(), JournalConfig { alarm_quota_bytes: 100, ..JournalConfig::default() });
    let commands = inbox(&journal);
    journal.append(entry(Class::Alarm, 1)).await.unwrap();
    assert!(Voucher::ask(&journal.standing().borrow()).is_err());
    commands.receive(delivery(br#"{"id":"01JD8Z"}"#)).await.unwrap();
    assert_eq!(receipts(&journal), refused("no_room_for_receipt"));
    let refusal = journal.reader().unwrap().after(Class::Receipt, Seq(1), 1, 1).unwrap().remove(0);
    assert!(String::from_utf8(refusal.doc).unwrap().contains("holds more alarm events than its quota"));
    drop(commands);
    journal.close().await.unwrap();

    // There is room again, and the broker did not hear the acknowledgement: one command has one answer.
    let journal = open(dir.path());
    let commands = inbox(&journal);
    commands.receive(Delivery { duplicate: true, ..delivery(br#"{"id":"01JD8Z"}"#) }).await.unwrap();
    commands.receive(delivery(br#"{"id":"01JD90"}"#)).await.unwrap();
    assert_eq!(receipts(&journal), [refused("no_room_for_receipt"), refused("not_supported")].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_refusal_cannot_be_kept_is_not_acknowledged_and_has_one_answer_later() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let commands = inbox(&journal);
    let held = hold(dir.path());
    assert!(journal.append(entry(Class::Alarm, 1)).await.is_err());
    for _ in 0..3 {
        assert!(commands.receive(delivery(br#"{"id":"01JD8Z"}"#)).await.is_err());
    }
    assert_eq!(receipts(&journal), []);
    drop(held);
    let standing = journal.standing();
    until(|| standing.borrow().refusing.is_none()).await;
    commands.receive(Delivery { duplicate: true, ..delivery(br#"{"id":"01JD8Z"}"#) }).await.unwrap();
    assert_eq!(receipts(&journal), refused("not_supported"));
}
