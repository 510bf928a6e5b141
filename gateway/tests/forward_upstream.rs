//! What the uplink is given, and in which order, while the next batch is read behind its back.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod journal_support;

use journal_support::{entry, open, soon, source};
use segel::{
    event::{Class, Seq},
    forward::upstream::{Ticket, Upstream},
    journal::Journal,
};
use segel_mqtt_bridge::uplink::Outbox;

/// Several batches of the read-ahead.
const MANY: u64 = 1_000;
/// Places of a hundred that telemetry keeps.
const SHARE: u8 = 10;

async fn filled(dir: &std::path::Path) -> (Journal, Upstream) {
    let (journal, _) = open(dir);
    for first in (0..MANY).step_by(200) {
        let entries = (first..first + 200).map(|n| entry(Class::Telemetry, n)).collect();
        soon(journal.append_all(entries)).await.unwrap();
    }
    let upstream = Upstream::new(journal.clone(), &source(), SHARE).unwrap();
    (journal, upstream)
}

async fn take(upstream: &mut Upstream, many: u64) -> Vec<Ticket> {
    let mut taken = Vec::new();
    for _ in 0..many {
        taken.push(soon(upstream.next()).await.unwrap().ticket);
    }
    taken
}

fn telemetry(from: u64, to: u64) -> Vec<Ticket> {
    (from..=to).map(|seq| Ticket { class: Class::Telemetry, seq: Seq(seq) }).collect()
}

#[tokio::test]
async fn everything_comes_once_and_in_order_over_many_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut upstream) = filled(dir.path()).await;
    assert_eq!(take(&mut upstream, MANY).await, telemetry(1, MANY));
    assert!(soon(upstream.next()).await.is_none());
    soon(journal.append(entry(Class::Telemetry, MANY).at_once())).await.unwrap();
    soon(upstream.changed()).await;
    assert_eq!(take(&mut upstream, 1).await, telemetry(MANY + 1, MANY + 1));
    assert!(soon(upstream.next()).await.is_none());
}

#[tokio::test]
async fn a_batch_that_was_being_read_when_the_line_was_lost_is_not_sent_out_of_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, mut upstream) = filled(dir.path()).await;
    for lost_after in [1, 255, 256, 257, 600] {
        assert_eq!(take(&mut upstream, lost_after).await, telemetry(1, lost_after));
        upstream.rewind();
    }
    for ticket in take(&mut upstream, 10).await {
        upstream.delivered(ticket);
    }
    upstream.rewind();
    assert_eq!(take(&mut upstream, MANY - 10).await, telemetry(11, MANY));
}

#[tokio::test]
async fn an_alarm_is_the_very_next_though_a_batch_is_in_hand_and_another_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut upstream) = filled(dir.path()).await;
    take(&mut upstream, 3).await;
    soon(journal.append(entry(Class::Alarm, MANY))).await.unwrap();
    assert_eq!(take(&mut upstream, 1).await, [Ticket { class: Class::Alarm, seq: Seq(1) }]);
    assert_eq!(take(&mut upstream, 1).await, telemetry(4, 4));
}
