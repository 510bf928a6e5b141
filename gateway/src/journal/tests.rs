//! What cannot be seen from outside: a COMMIT that itself fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use uuid::Uuid;

use super::*;
use crate::event::{Assurance, BootId, ClockQuality, Draft, EventType, Stamp, Subject};

fn entry(class: Class) -> Entry {
    let stamp = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, monotonic_ms: 1, boot: BootId(Uuid::nil()), clock: ClockQuality::Untrusted };
    Draft::new(class, EventType::DeviceStatus, Subject::gateway(), stamp, Assurance::Own, &serde_json::json!({})).unwrap().into()
}

#[test]
fn handles_and_readers_go_to_other_threads() {
    fn goes<T: Send + 'static>() {}
    goes::<Journal>();
    goes::<JournalReader>();
    goes::<Ticket>();
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new("idsrg", "g01").unwrap();
    let lock = Lock::take(dir.path()).unwrap();
    let (mut store, _) = open_store(dir.path(), &source, u64::MAX).unwrap();
    let failing = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&failing);
    // A hook that says yes turns COMMIT into an error after everything was inserted.
    store.connection.commit_hook(Some(move || switch.load(Ordering::SeqCst))).unwrap();
    let journal = Journal::start(dir.path(), store, lock, JournalConfig::default()).unwrap();
    let reader = journal.reader().unwrap();
    let mut heads = journal.heads();
    journal.append(entry(Class::Telemetry)).await.unwrap();
    heads.mark_unchanged();

    failing.store(true, Ordering::SeqCst);
    let mut tickets = Vec::new();
    for class in [Class::Telemetry, Class::Telemetry, Class::Receipt, Class::Alarm] {
        tickets.push(journal.submit(entry(class).with(Note::keep("test", "with", "1"))).await.unwrap());
    }
    journal.keep(vec![Note::keep("test", "alone", "1")]).await.unwrap();
    journal.advance(&Outlet::named("uplink"), Class::Telemetry, Seq(1));
    for outcome in join_all(tickets).await {
        assert!(outcome.is_err(), "{outcome:?}");
    }
    assert!(!heads.has_changed().unwrap(), "nobody is told of what is not on disk");
    for class in Class::ALL {
        assert_eq!(reader.after(*class, Seq::NONE, 10, 10_000).unwrap().len(), usize::from(*class == Class::Telemetry));
    }

    failing.store(false, Ordering::SeqCst);
    for (class, seq) in [(Class::Telemetry, 2), (Class::Receipt, 1), (Class::Alarm, 1)] {
        assert_eq!(journal.append(entry(class)).await.unwrap().seq, Seq(seq), "numbers go on from what is on disk");
    }
    journal.close().await.unwrap();
    assert_eq!(reader.note("test", "with").unwrap(), None, "a note shares the fate of its event");
    assert!(reader.note("test", "alone").unwrap().is_some(), "a note alone is written as soon as it can be");
    assert_eq!(reader.cursor(&Outlet::named("uplink"), Class::Telemetry).unwrap(), Seq(1));
    assert!(reader.verify(|_| {}).unwrap().is_good());
}

/// A journal whose database may not grow beyond so many pages, which SQLite reports as a full disk.
fn open_small(dir: &Path, pages: u64, reserve_bytes: u64) -> Journal {
    let source = Source::new("idsrg", "g01").unwrap();
    let lock = Lock::take(dir).unwrap();
    let (store, _) = open_store(dir, &source, u64::MAX).unwrap();
    store.connection.execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
    Journal::start(dir, store, lock, JournalConfig { reserve_bytes, ..JournalConfig::default() }).unwrap()
}

#[tokio::test]
async fn on_a_full_disk_the_reserve_is_let_go_telemetry_is_refused_and_nothing_is_acknowledged_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_small(dir.path(), 30, 1 << 20);
    assert!(matches!(journal.standing().borrow().reserve, Reserve::Held { .. }));
    let mut acknowledged = 0;
    let fault = loop {
        match journal.append(entry(Class::Telemetry)).await {
            Ok(_) => acknowledged += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, JournalError::NoRoom), "{fault:?}");
    let standing = journal.standing().borrow().clone();
    assert_eq!(standing.room, Room::Scarce);
    assert!(matches!(standing.reserve, Reserve::Spent { .. }), "{standing:?}");
    assert!(!dir.path().join(reserve::FILE).exists(), "its room is for alarms now");
    assert_eq!(standing.refused, [0, 0, 1]);
    let mut alarms = 0;
    let fault = loop {
        match journal.append(entry(Class::Alarm)).await {
            Ok(_) => alarms += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, JournalError::DiskFull(_)), "{fault:?}");
    let refusal = journal.standing().borrow().vouches_for_a_receipt().unwrap_err().to_string();
    assert!(refusal.contains("could not prove an opening"), "{refusal}");
    let reader = journal.reader().unwrap();
    assert_eq!(reader.after(Class::Telemetry, Seq::NONE, 100_000, usize::MAX).unwrap().len(), acknowledged);
    assert_eq!(reader.after(Class::Alarm, Seq::NONE, 100_000, usize::MAX).unwrap().len(), alarms);
    journal.close().await.unwrap_or_default();

    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    assert_eq!(journal.append(entry(Class::Alarm)).await.unwrap().seq, Seq(alarms as u64 + 1));
    assert!(journal.reader().unwrap().verify(|_| {}).unwrap().is_good());
}

#[tokio::test]
async fn a_commit_that_was_reported_failed_and_is_on_disk_is_answered_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new("idsrg", "g01").unwrap();
    let _lock = Lock::take(dir.path()).unwrap();
    let (mut store, _) = open_store(dir.path(), &source, u64::MAX).unwrap();
    let work = [store::Work::Append(vec![entry(Class::Alarm), entry(Class::Alarm)])];
    let before = store.chains().to_owned();
    let first = store.commit(&work, &store::Along::default()).unwrap();
    // As if the answer of that commit had been an error: memory knows nothing of it.
    store.believe(before);
    let again = store.commit(&work, &store::Along::default()).unwrap();
    assert_eq!(first, again, "the same numbers for the same events");
    let more = store.commit(&[store::Work::Append(vec![entry(Class::Alarm)])], &store::Along::default()).unwrap();
    assert_eq!(more[0][0].seq, Seq(3));
}

#[tokio::test]
async fn acknowledged_events_that_are_gone_are_damage_and_no_number_is_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new("idsrg", "g01").unwrap();
    let _lock = Lock::take(dir.path()).unwrap();
    let (mut store, _) = open_store(dir.path(), &source, u64::MAX).unwrap();
    let work = [store::Work::Append(vec![entry(Class::Alarm), entry(Class::Alarm)])];
    store.commit(&work, &store::Along::default()).unwrap();
    store.connection.execute("DELETE FROM event WHERE seq = 2", []).unwrap();
    store.believe(store.chains().to_owned());
    let fault = store.commit(&work, &store::Along::default()).unwrap_err();
    assert!(fault.is_damage(), "{fault:?}");
    assert!(fault.to_string().contains("number 2"), "{fault}");
}

#[tokio::test]
async fn a_database_that_another_program_holds_locked_refuses_and_goes_on_when_it_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    journal.append(entry(Class::Alarm)).await.unwrap();
    let other = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let fault = journal.append(entry(Class::Alarm)).await.unwrap_err();
    assert!(matches!(fault, JournalError::Busy(_)), "{fault:?}");
    assert!(journal.standing().borrow().vouches_for_a_receipt().is_err());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(journal.append(entry(Class::Alarm)).await.unwrap().seq, Seq(2));
    assert!(journal.standing().borrow().vouches_for_a_receipt().is_ok());
}

#[tokio::test]
async fn that_it_can_be_written_again_is_found_out_without_anything_to_record() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    let other = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    journal.append(entry(Class::Alarm)).await.unwrap_err();
    other.execute_batch("COMMIT").unwrap();
    let mut standing = journal.standing();
    let well = tokio::time::timeout(Duration::from_secs(30), standing.wait_for(|standing| standing.refusing.is_none())).await;
    assert!(well.is_ok(), "nobody appended, and it is known all the same");
}

#[tokio::test]
async fn a_commit_that_meets_damage_of_its_connection_alone_is_made_over_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new("idsrg", "g01").unwrap();
    let lock = Lock::take(dir.path()).unwrap();
    let (mut store, _) = open_store(dir.path(), &source, u64::MAX).unwrap();
    store.commit(&[store::Work::Append(vec![entry(Class::Alarm)])], &store::Along::default()).unwrap();
    // What this one connection reads is not what is on disk.
    let other = "CREATE TEMP TABLE event (class, seq, digest, octets); INSERT INTO temp.event VALUES (0, 'rot', x'00', 1)";
    store.connection.execute_batch(other).unwrap();
    store.believe(store.chains().to_owned());
    let journal = Journal::start(dir.path(), store, lock, JournalConfig::default()).unwrap();
    assert_eq!(journal.append(entry(Class::Alarm)).await.unwrap().seq, Seq(2));
    assert!(journal.reader().unwrap().verify(|_| {}).unwrap().is_good());
}

#[tokio::test]
async fn a_first_fault_condemns_the_journal_only_when_it_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    let fault = JournalError::Damaged(Arc::new(rusqlite::Error::InvalidQuery));
    assert!(!journal.look_again_at(&fault));
    assert!(!aside::is_marked(dir.path()));
    let other = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    other.execute("UPDATE meta SET value = 'rot' WHERE key = 'journal'", []).unwrap();
    assert!(journal.look_again_at(&fault));
    assert!(aside::is_marked(dir.path()));
}

#[tokio::test]
async fn a_log_that_somebody_still_reads_is_not_called_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    journal.append(entry(Class::Alarm)).await.unwrap();
    let reader = journal.reader().unwrap();
    reader.connection.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    journal.append(entry(Class::Alarm)).await.unwrap();
    journal.close().await.unwrap();
    let mark = || std::fs::read_to_string(dir.path().join(mark::FILE)).unwrap();
    assert!(!aside::is_log_empty(dir.path()) && mark().contains("state open"), "{}", mark());
    drop(reader);
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    journal.close().await.unwrap();
    assert!(mark().contains("state settled"), "{}", mark());
}

#[tokio::test]
async fn a_writer_that_hangs_in_a_commit_does_not_come_round() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
    let within = Duration::from_millis(200);
    tokio::time::timeout(Duration::from_secs(30), journal.comes_round()).await.unwrap().unwrap();
    let other = rusqlite::Connection::open(dir.path().join(schema::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let alarm = journal.submit(entry(Class::Alarm)).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while tokio::time::timeout(within, journal.comes_round()).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the commit waits for the lock, and the writer with it");
    }
    other.execute_batch("COMMIT").unwrap();
    tokio::time::timeout(Duration::from_secs(30), journal.comes_round()).await.unwrap().unwrap();
    let _ = alarm.await;
}
