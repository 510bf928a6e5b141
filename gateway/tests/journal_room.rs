//! What the journal does when room runs out and when events leave for the archive: counts that add up, chains that hold.

#![allow(clippy::unwrap_used, reason = "tests")]

mod journal_support;

use journal_support::*;
use segel::event::chain::ChainCheck;
use segel::event::{Class, Digest, Seq};
use segel::journal::{Entry, Journal, JournalConfig, JournalError, JournalReader, Misfit, Note, Outlet, Reserve, Room, Segment};

const UPLINK: Outlet = Outlet::named("uplink");

fn receipt() -> Entry {
    entry(Class::Receipt, 1_000_000)
}

fn assert_adds_up(reader: &JournalReader) {
    for totals in reader.totals().unwrap() {
        assert_eq!(totals.recorded, totals.held + totals.archived + totals.dropped, "{totals:?}");
    }
    for account in reader.accounts(&UPLINK).unwrap().iter() {
        assert_eq!(account.recorded, account.delivered + account.pending + account.dropped, "{account:?}");
    }
}

async fn trimmed(journal: &Journal) {
    journal.hurry_upkeep().await.unwrap();
    let mut standing = journal.standing();
    soon(standing.wait_for(|standing| !standing.upkeep.hurried)).await.unwrap();
}

#[tokio::test]
async fn scarce_room_refuses_telemetry_counts_it_and_keeps_its_notes_while_alarms_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.append(entry(Class::Telemetry, 1)).await.unwrap();
    journal.tell_room(Room::Scarce);
    soon(journal.standing().wait_for(|standing| standing.room == Room::Scarce)).await.unwrap();
    for n in 2..5 {
        let refused = journal.append(entry(Class::Telemetry, n).with(Note::keep("seal", "A", n.to_string()))).await;
        assert!(matches!(refused, Err(JournalError::NoRoom)), "{refused:?}");
    }
    let mixed = journal.append_all(vec![entry(Class::Telemetry, 5), entry(Class::Alarm, 6)]).await.unwrap();
    assert_eq!((mixed[0].seq, mixed[1].seq), (Seq(2), Seq(1)), "what belongs to an alarm is recorded with it");
    assert_eq!(journal.standing().borrow().refused, [0, 0, 3]);
    assert!(journal.standing().borrow().vouches_for_a_receipt().is_ok(), "there is room for receipts");

    journal.tell_room(Room::Plenty);
    soon(journal.standing().wait_for(|standing| standing.room == Room::Plenty)).await.unwrap();
    assert_eq!(journal.append(entry(Class::Telemetry, 7)).await.unwrap().seq, Seq(3), "refused events take no numbers");
    journal.close().await.unwrap();

    let (journal, _) = open(dir.path());
    let reader = journal.reader().unwrap();
    assert_eq!(reader.note("seal", "A").unwrap().as_deref(), Some(&b"4"[..]));
    assert_eq!(reader.totals().unwrap()[Class::Telemetry as usize].refused, 3, "the count survives");
    assert_eq!(journal.standing().borrow().refused, [0, 0, 3]);
    assert_adds_up(&reader);
    assert_verifies(&reader);
}

#[tokio::test]
async fn what_is_put_away_leaves_in_steps_and_everything_still_adds_up_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..300 {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    let archived: Vec<_> = all(&reader, Class::Alarm).into_iter().take(200).collect();
    journal.advance(&UPLINK, Class::Alarm, Seq(250));
    let recorded = journal.put_away(segment(&reader, Class::Alarm, 1, 120), receipt()).await.unwrap();
    assert_eq!((recorded.class, recorded.seq), (Class::Receipt, Seq(1)), "the record says so itself");
    journal.put_away(segment(&reader, Class::Alarm, 121, 200), receipt()).await.unwrap();
    trimmed(&journal).await;

    let front = reader.front(Class::Alarm).unwrap();
    assert_eq!((front.last, front.archived, front.dropped), (Seq(200), 200, 0));
    assert_eq!(front.digest, Digest::of(&archived[199].doc));
    assert_eq!(reader.segments(Class::Alarm).unwrap().len(), 2);
    let account = *reader.accounts(&UPLINK).unwrap().of(Class::Alarm);
    assert_eq!((account.delivered, account.pending, account.dropped), (250, 50, 0), "what was delivered stays delivered");
    assert_eq!(journal.append(entry(Class::Alarm, 300)).await.unwrap().seq, Seq(301));
    assert_adds_up(&reader);
    assert_verifies(&reader);

    let mut check = ChainCheck::new();
    for record in archived.iter().chain(&all(&reader, Class::Alarm)) {
        check.feed(&record.doc).unwrap();
    }
    assert!(check.finish().is_whole(), "archive and journal together are one chain");
    let mut check = ChainCheck::new().starting_after(Class::Alarm, front.last, Digest::of(b"another"));
    for record in all(&reader, Class::Alarm) {
        check.feed(&record.doc).unwrap();
    }
    assert!(!check.finish().is_whole(), "a front that does not fit is seen");

    journal.close().await.unwrap();
    let (_journal, opening) = open(dir.path());
    assert_eq!(opening.heads.of(Class::Alarm), Seq(301));
}

#[tokio::test]
async fn a_segment_that_does_not_fit_is_refused_and_nothing_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..20 {
        journal.append(entry(Class::Receipt, n)).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    let good = segment(&reader, Class::Receipt, 1, 10);
    let bad = [
        Segment { first: Seq(2), count: 9, ..good.clone() },
        Segment { last: Seq(99), count: 99, ..good.clone() },
        Segment { count: 9, ..good.clone() },
        Segment { digest: Digest::ZERO, ..good.clone() },
        Segment { bytes: good.bytes + 1, ..good.clone() },
    ];
    for segment in bad {
        let outcome = journal.put_away(segment.clone(), receipt()).await;
        assert!(matches!(outcome, Err(JournalError::Misfit { .. })), "{segment:?}: {outcome:?}");
    }
    assert_eq!(all(&reader, Class::Receipt).len(), 20);
    journal.put_away(good.clone(), receipt()).await.unwrap();
    let again = journal.put_away(good, receipt()).await;
    assert!(matches!(again, Err(JournalError::Misfit { why: Misfit::Begins { expected: Seq(11), .. }, .. })), "{again:?}");
    trimmed(&journal).await;
    assert_eq!(all(&reader, Class::Receipt).len(), 11);
    assert_verifies(&reader);
}

#[tokio::test]
async fn drops_around_an_archived_stretch_leave_gaps_that_account_for_just_the_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let config = JournalConfig { telemetry_quota_bytes: 20_000, ..JournalConfig::default() };
    let (journal, _) = open_with(dir.path(), config);
    let reader = journal.reader().unwrap();
    let mut received = ChainCheck::new();
    let mut at = Seq::NONE;
    let mut n = 0;
    for round in 0..6 {
        for _ in 0..80 {
            n += 1;
            journal.append(entry(Class::Telemetry, n).at_once()).await.unwrap();
        }
        if round % 2 == 0 {
            // Customs takes everything there is, and the half of it goes to the archive.
            for record in reader.after(Class::Telemetry, at, 1_000, usize::MAX).unwrap() {
                received.feed(&record.doc).unwrap();
                at = record.seq;
            }
            journal.advance(&UPLINK, Class::Telemetry, at);
            let front = reader.front(Class::Telemetry).unwrap().last;
            let last = front.0 + (at.0 - front.0) / 2;
            journal.put_away(segment(&reader, Class::Telemetry, front.0 + 1, last), receipt()).await.unwrap();
            trimmed(&journal).await;
        }
        assert_adds_up(&reader);
        assert_verifies(&reader);
    }
    for record in reader.after(Class::Telemetry, at, 1_000, usize::MAX).unwrap() {
        received.feed(&record.doc).unwrap();
    }
    let report = received.finish();
    assert!(report.is_whole(), "{report:#?}");
    let front = reader.front(Class::Telemetry).unwrap();
    assert!(front.archived > 0 && front.dropped > 0, "both happened: {front:?}");
}

#[tokio::test]
async fn alarms_beyond_their_quota_are_kept_and_no_receipt_is_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { alarm_quota_bytes: 5_000, ..JournalConfig::default() });
    let mut n = 0;
    while journal.standing().borrow().vouches_for_a_receipt().is_ok() {
        n += 1;
        assert!(n < 100, "five thousand bytes are full long before");
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    let why = journal.standing().borrow().vouches_for_a_receipt().unwrap_err().to_string();
    assert!(why.contains("alarm") && why.contains("archive"), "{why}");
    assert_eq!(journal.append(entry(Class::Alarm, n + 1)).await.unwrap().seq, Seq(n + 1), "none is dropped");
    let reader = journal.reader().unwrap();
    let last = reader.totals().unwrap()[Class::Alarm as usize].recorded;
    journal.put_away(segment(&reader, Class::Alarm, 1, last), receipt()).await.unwrap();
    trimmed(&journal).await;
    assert!(journal.standing().borrow().vouches_for_a_receipt().is_ok(), "the archive made room");
}

#[tokio::test]
async fn a_reserve_is_kept_beside_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { reserve_bytes: 1 << 20, ..JournalConfig::default() });
    assert_eq!(journal.standing().borrow().reserve, Reserve::Held { bytes: 1 << 20 });
    assert!(dir.path().join("journal.reserve").exists());
}

#[tokio::test]
async fn the_file_shrinks_when_what_was_archived_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..40 {
        journal.append_all((0..100).map(|m| draft(Class::Receipt, n * 100 + m, 600).into()).collect()).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    let before = reader.sizes().unwrap();
    let last = journal.heads().borrow().of(Class::Receipt).0;
    journal.put_away(segment(&reader, Class::Receipt, 1, last), receipt()).await.unwrap();
    journal.hurry_upkeep().await.unwrap();
    let mut standing = journal.standing();
    let standing = soon(standing.wait_for(|standing| !standing.upkeep.hurried)).await.unwrap().upkeep;
    assert_eq!((standing.to_trim, standing.free_pages), (0, 0));
    journal.close().await.unwrap();
    let after = std::fs::metadata(dir.path().join("journal.db")).unwrap().len();
    assert!(after * 10 < before.database + before.log, "{after} bytes are left of {before:?}");
    assert_verifies(&JournalReader::open(dir.path()).unwrap());
}
