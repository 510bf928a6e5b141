//! Writing: when it is acknowledged, how it is grouped, what a failure leaves.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::time::Duration;

use futures_util::future::join_all;
use journal_support::*;
use segel::event::{Class, Seq};
use segel::journal::{Entry, JournalConfig, JournalError, Note, Outlet};

const HOUR: Duration = Duration::from_secs(3600);
const UPLINK: Outlet = Outlet::named("uplink");

fn never_by_time() -> JournalConfig {
    JournalConfig { group_wait: HOUR, group_events: 1_000, ..JournalConfig::default() }
}

#[tokio::test]
async fn a_lone_event_is_committed_without_waiting_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { group_events: 1_000, ..JournalConfig::default() });
    let recorded = soon(journal.append(entry(Class::Telemetry, 1))).await.unwrap();
    assert_eq!(recorded.seq, Seq(1));
    assert_eq!(all(&journal.reader().unwrap(), Class::Telemetry).len(), 1);
}

#[tokio::test]
async fn alarms_receipts_and_urgent_telemetry_do_not_wait_for_a_group_and_take_along_what_waits() {
    for urgent in [entry(Class::Alarm, 1), entry(Class::Receipt, 1), Entry::new(draft(Class::Telemetry, 1, 10)).at_once()] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open_with(dir.path(), never_by_time());
        let waiting = journal.submit(entry(Class::Telemetry, 0)).await.unwrap();
        soon(journal.append(urgent)).await.unwrap();
        assert_eq!(soon(waiting).await.unwrap().seq, Seq(1));
    }
}

#[tokio::test]
async fn a_full_group_is_committed_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { group_events: 3, ..never_by_time() });
    let mut tickets = Vec::new();
    for n in 0..3 {
        tickets.push(journal.submit(entry(Class::Telemetry, n)).await.unwrap());
    }
    let numbers: Vec<_> = soon(join_all(tickets)).await.into_iter().map(|recorded| recorded.unwrap().seq).collect();
    assert_eq!(numbers, [Seq(1), Seq(2), Seq(3)]);
}

#[tokio::test]
async fn what_is_acknowledged_can_be_read_at_once_and_the_heads_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let reader = journal.reader().unwrap();
    let mut heads = journal.heads();
    for n in 1..=20 {
        let recorded = journal.append(entry(Class::Alarm, n)).await.unwrap();
        let last = reader.after(Class::Alarm, recorded.seq.before(), 10, 1_000_000).unwrap();
        assert_eq!((last.len(), last[0].id), (1, recorded.id));
        soon(heads.wait_for(|heads| heads.of(Class::Alarm) == recorded.seq)).await.unwrap();
    }
    assert_eq!(heads.borrow().of(Class::Telemetry), Seq::NONE);
}

#[tokio::test]
async fn events_and_their_notes_are_there_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let reader = journal.reader().unwrap();
    let first = entry(Class::Receipt, 1).with(Note::keep("permit", "p1", "reserved")).with(Note::keep("seal", "JT-1", "locked"));
    let second = entry(Class::Receipt, 2).with(Note::keep("permit", "p1", "used")).with(Note::forget("seal", "JT-1"));
    let recorded = journal.append_all(vec![first, second]).await.unwrap();
    assert_eq!(recorded.iter().map(|recorded| recorded.seq.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(reader.note("permit", "p1").unwrap().as_deref(), Some(&b"used"[..]));
    assert_eq!(reader.notes("seal").unwrap(), []);

    let large = entry(Class::Receipt, 3).with(Note::keep("permit", "p2", vec![0; segel::journal::NOTE_MAX + 1]));
    assert!(matches!(journal.append(large).await, Err(JournalError::NoteTooLarge { .. })));
    assert_eq!(journal.heads().borrow().of(Class::Receipt), Seq(2));
}

#[tokio::test]
async fn notes_and_cursors_alone_reach_the_disk_without_any_event() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), never_by_time());
    journal.append(entry(Class::Alarm, 1)).await.unwrap();
    journal.append(entry(Class::Alarm, 2)).await.unwrap();
    let reader = journal.reader().unwrap();
    journal.keep(vec![Note::keep("counter", "JT-1", "17")]).await.unwrap();
    until(|| reader.note("counter", "JT-1").unwrap().is_some()).await;
    journal.advance(&UPLINK, Class::Alarm, Seq(99));
    until(|| reader.cursor(&UPLINK, Class::Alarm).unwrap() == Seq(2)).await;
    journal.advance(&UPLINK, Class::Alarm, Seq(1));
    journal.close().await.unwrap();
    assert_eq!(reader.cursor(&UPLINK, Class::Alarm).unwrap(), Seq(2), "a cursor never goes back");
}

#[tokio::test]
async fn closing_writes_what_waits_and_then_says_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), never_by_time());
    let mut tickets = Vec::new();
    for n in 0..10 {
        tickets.push(journal.submit(entry(Class::Telemetry, n)).await.unwrap());
    }
    journal.advance(&UPLINK, Class::Telemetry, Seq(4));
    soon(journal.close()).await.unwrap();
    for ticket in tickets {
        soon(ticket).await.unwrap();
    }
    assert!(matches!(journal.append(entry(Class::Alarm, 1)).await, Err(JournalError::Closed)));
    journal.close().await.unwrap();
    let (journal, opening) = open(dir.path());
    assert_eq!(opening.heads.of(Class::Telemetry), Seq(10));
    assert_eq!(journal.reader().unwrap().cursor(&UPLINK, Class::Telemetry).unwrap(), Seq(4));
}

#[tokio::test]
async fn while_a_foreign_program_holds_the_database_nobody_is_acknowledged_and_afterwards_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(entry(Class::Telemetry, 0)).await.unwrap();
    let foreign = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut tickets = Vec::new();
    for n in 1..=5 {
        tickets.push(journal.submit(entry(Class::Telemetry, n)).await.unwrap());
    }
    journal.keep(vec![Note::keep("counter", "JT-1", "18")]).await.unwrap();
    for outcome in soon(join_all(tickets)).await {
        assert!(matches!(outcome, Err(JournalError::Busy(_))), "{outcome:?}");
    }
    foreign.execute_batch("ROLLBACK").unwrap();
    drop(foreign);
    assert_eq!(journal.append(entry(Class::Telemetry, 6)).await.unwrap().seq, Seq(2));
    let reader = journal.reader().unwrap();
    until(|| reader.note("counter", "JT-1").unwrap().is_some()).await;
    assert_verifies(&reader);
}

#[tokio::test]
async fn losing_every_cursor_costs_only_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = segel::event::chain::ChainCheck::new();
    let mut delivered = std::collections::HashMap::new();
    for round in 0..3 {
        let (journal, _) = open(dir.path());
        for n in 0..40 {
            journal.append(entry(Class::ALL[n % 3], n as u64)).await.unwrap();
        }
        let reader = journal.reader().unwrap();
        for class in Class::ALL {
            let cursor = reader.cursor(&UPLINK, *class).unwrap();
            assert_eq!(cursor, Seq::NONE, "the cursors were lost");
            for record in all(&reader, *class) {
                check.feed(&record.doc).unwrap();
                *delivered.entry((record.id, record.doc)).or_insert(0) += 1;
                journal.advance(&UPLINK, *class, record.seq);
            }
        }
        journal.close().await.unwrap();
        let lost = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        assert_eq!(lost.execute("DELETE FROM cursor", []).unwrap(), 3, "round {round}");
    }
    let report = check.finish();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(report.chains.iter().map(|chain| chain.count).sum::<u64>(), 120);
    assert_eq!(report.chains.iter().map(|chain| chain.duplicates).sum::<u64>(), 80 + 40);
    assert_eq!(delivered.len(), 120, "a repeated event is the same bytes under the same identity");
}

#[tokio::test]
async fn a_reader_takes_pieces_by_count_and_by_size_and_always_one() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..10 {
        journal.append(draft(Class::Alarm, n, 1_000).into()).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    let count = |limit, bytes| reader.after(Class::Alarm, Seq(2), limit, bytes).unwrap().len();
    assert_eq!((count(3, usize::MAX), count(100, 1), count(100, 4_000), count(100, usize::MAX)), (3, 1, 2, 8));
}
