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
