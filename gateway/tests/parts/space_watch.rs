//! The watch on the disk, with a journal that fails and comes back.

use std::time::Duration;

use crate::support::{entry, hold, open, until};
use segel::{
    clock::Clock,
    event::{Class, EventType, document::Head},
    journal::{Filter, Journal, Room},
    space::{Limits, SpaceStanding, SpaceWatch, levels::Level},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

fn start(
    dir: &std::path::Path,
    journal: &Journal,
    limits: Limits,
    stop: &CancellationToken,
) -> (watch::Receiver<SpaceStanding>, JoinSet<()>) {
    let clock = Clock::new(Duration::from_secs(60), None);
    let (space, view, recording) = SpaceWatch::new(dir.to_owned(), journal, clock, limits).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(space.run(stop.clone()));
    tasks.spawn(recording);
    (view, tasks)
}

fn bodies(journal: &Journal, kind: EventType) -> Vec<(Class, serde_json::Value)> {
    let found = journal.reader().unwrap().tail(&Filter { kind: Some(kind), ..Filter::default() }, 100).unwrap();
    found.iter().map(|record| (record.class, serde_json::from_str(Head::parse(&record.doc).unwrap().data.get()).unwrap())).collect()
}

const ROOMY: Limits = Limits { warn_bytes: 1, scarce_bytes: 1, warn_ahead: Duration::from_secs(1) };

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_below_the_limit_is_scarce_at_the_first_look_and_an_alarm_says_what_that_means() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let stop = CancellationToken::new();
    // No disk of this world has so much.
    let limits = Limits { warn_bytes: u64::MAX / 2, scarce_bytes: u64::MAX / 2, warn_ahead: Duration::from_secs(1) };
    let (view, mut tasks) = start(dir.path(), &journal, limits, &stop);
    until(|| view.borrow().level == Level::Scarce && journal.standing().borrow().room == Room::Scarce).await;
    assert!(journal.append(entry(Class::Telemetry, 1)).await.is_err());
    until(|| bodies(&journal, EventType::StorageScarce).len() == 1).await;
    let (class, body) = bodies(&journal, EventType::StorageScarce).remove(0);
    assert_eq!(class, Class::Alarm);
    assert!(body["freeBytes"].as_u64().unwrap() > 0 && body["means"].as_str().unwrap().contains("telemetry is refused"), "{body}");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_journal_shows_at_once_and_is_one_alarm_when_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let stop = CancellationToken::new();
    let (view, mut tasks) = start(dir.path(), &journal, ROOMY, &stop);
    let held = hold(dir.path());
    assert!(journal.append(entry(Class::Alarm, 1)).await.is_err());
    until(|| view.borrow().refusing.is_some()).await;
    assert!(view.borrow().refusing.as_ref().unwrap().reason.contains("another program holds"), "{:?}", view.borrow().refusing);
    assert_eq!(bodies(&journal, EventType::JournalRefused), []);
    drop(held);
    until(|| bodies(&journal, EventType::JournalRefused).len() == 1).await;
    let (class, body) = bodies(&journal, EventType::JournalRefused).remove(0);
    assert_eq!(class, Class::Alarm);
    assert!(body["reason"].as_str().unwrap().contains("another program holds") && body["from"].as_str() < body["until"].as_str(), "{body}");
    assert_eq!(view.borrow().refusing, None);
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    assert_eq!(bodies(&journal, EventType::StorageLow), []);
}
