//! Commands from customs: on disk before they are acknowledged, answered once.

use std::time::Duration;

use crate::support::open;
use bytes::Bytes;
use segel::{
    clock::Clock,
    commands::Commands,
    event::{Class, Seq},
    journal::Journal,
};
use segel_mqtt_bridge::uplink::{Delivery, Inbox};

fn inbox(journal: &Journal) -> Commands {
    Commands::new(journal.clone(), Clock::new(Duration::from_secs(60), None)).unwrap()
}

fn delivery(payload: &[u8]) -> Delivery {
    let topic = "segel/1/idsrg/g01/cmd/unlock".to_owned();
    Delivery { topic, payload: Bytes::copy_from_slice(payload), retained: false, duplicate: false }
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
