//! The journal as the link to customs sees it.

use std::time::Duration;

use crate::support::{entry, open, record, source};
use segel::{
    event::{Class, document::Head},
    forward::upstream::{Ticket, Upstream},
    journal::Journal,
};
use segel_mqtt_bridge::uplink::{Outbox, Parcel};
use tokio::time::timeout;

const SHARE: u8 = 10;
const DEADLINE: Duration = Duration::from_secs(20);

fn upstream(journal: &Journal) -> Upstream {
    Upstream::new(journal.clone(), &source(), SHARE).unwrap()
}

async fn take(outbox: &mut Upstream, count: usize) -> Vec<Parcel<Ticket>> {
    let mut parcels = Vec::new();
    while parcels.len() < count {
        match timeout(DEADLINE, outbox.next()).await.expect("the journal is read in time") {
            Some(parcel) => parcels.push(parcel),
            None => timeout(DEADLINE, outbox.changed()).await.expect("there is more to send"),
        }
    }
    parcels
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_overtakes_a_backlog_and_telemetry_keeps_its_share() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    record(&journal, Class::Telemetry, 2_000).await;
    let mut outbox = upstream(&journal);
    assert!(take(&mut outbox, 50).await.iter().all(|parcel| parcel.ticket.class == Class::Telemetry));
    record(&journal, Class::Alarm, 100).await;
    // The journal says that there is more before the next parcel is asked for.
    timeout(DEADLINE, outbox.changed()).await.unwrap();
    let next = take(&mut outbox, 100).await;
    assert_eq!(next[0].ticket.class, Class::Alarm);
    assert_eq!(next.iter().filter(|parcel| parcel.ticket.class == Class::Telemetry).count(), usize::from(SHARE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_with_the_same_bytes_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    record(&journal, Class::Receipt, 10).await;
    let mut outbox = upstream(&journal);
    let first = take(&mut outbox, 10).await;
    for parcel in first.iter().filter(|parcel| [1, 2, 3, 7].contains(&parcel.ticket.seq.0)) {
        outbox.delivered(parcel.ticket);
    }
    outbox.rewind();
    let again = take(&mut outbox, 7).await;
    let numbers: Vec<_> = again.iter().map(|parcel| parcel.ticket.seq.0).collect();
    assert_eq!(numbers, [4, 5, 6, 7, 8, 9, 10], "everything after the last unbroken acknowledgement");
    assert!(again.iter().zip(&first[3..]).all(|(again, first)| again.payload == first.payload));
    assert!(outbox.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_are_remembered_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    record(&journal, Class::Alarm, 5).await;
    let mut outbox = upstream(&journal);
    for parcel in take(&mut outbox, 3).await {
        outbox.delivered(parcel.ticket);
    }
    drop(outbox);
    journal.close().await.unwrap();
    let journal = open(dir.path());
    let mut outbox = upstream(&journal);
    assert_eq!(take(&mut outbox, 2).await.iter().map(|parcel| parcel.ticket.seq.0).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_wakes_an_idle_line_and_travels_as_it_stands_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut outbox = upstream(&journal);
    assert!(outbox.next().await.is_none());
    let appended = journal.append(entry(Class::Telemetry, 7)).await.unwrap();
    timeout(DEADLINE, outbox.changed()).await.expect("a lone event wakes the line");
    let parcel = take(&mut outbox, 1).await.remove(0);
    assert_eq!(parcel.topic, "segel/1/idsrg/g01/ev/device-status");
    assert_eq!(Head::parse(&parcel.payload).unwrap().id, appended.id);
    let mut arrived = outbox.arrived();
    assert!(!arrived.borrow_and_update().reaches(&journal.heads().borrow()));
    outbox.delivered(parcel.ticket);
    assert!(arrived.borrow_and_update().reaches(&journal.heads().borrow()));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_more_may_be_given_up_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut outbox = upstream(&journal);
    for number in 0..20 {
        assert!(timeout(Duration::from_millis(1), outbox.changed()).await.is_err());
        journal.append(entry(Class::Alarm, number)).await.unwrap();
        // Reading is given up half way each time, too.
        drop(timeout(Duration::ZERO, outbox.next()).await);
        outbox.rewind();
        for parcel in take(&mut outbox, 1).await {
            outbox.delivered(parcel.ticket);
        }
    }
    assert!(outbox.next().await.is_none());
}

/// Writes other bytes into one document of a journal that is open.
fn falsify(dir: &std::path::Path, seq: i64) {
    let tool = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    let changed = tool.execute("UPDATE event SET doc = CAST('{}' AS BLOB) WHERE class = 0 AND seq = ?1", [seq]).unwrap();
    assert_eq!(changed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_what_was_recorded_is_never_sent_and_condemns_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    record(&journal, Class::Alarm, 20).await;
    falsify(dir.path(), 8);
    let mut outbox = upstream(&journal);
    let numbers: Vec<_> = take(&mut outbox, 7).await.iter().map(|parcel| parcel.ticket.seq.0).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "what is good before it goes");
    assert!(timeout(DEADLINE, outbox.next()).await.unwrap().is_none(), "the damaged one does not, nor anything over it");
    let flaw = timeout(DEADLINE, journal.condemned()).await.unwrap();
    assert_eq!(flaw.place, Some((Class::Alarm, segel::event::Seq(8))));
    assert!(flaw.to_string().starts_with("its alarm 8 is damaged: the digest of its document is"), "{flaw}");
    assert!(dir.path().join("journal.condemned").exists(), "the next opening sets it aside");
    // The others go on until the gate ends.
    record(&journal, Class::Receipt, 1).await;
    assert_eq!(take(&mut outbox, 1).await[0].ticket.class, Class::Receipt);
}
