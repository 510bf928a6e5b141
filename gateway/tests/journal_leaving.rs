//! When events leave for the archive, to the last of them, and somebody looks at that moment.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use journal_support::*;
use segel::event::{Class, Digest, Seq};
use segel::journal::Beginning;

#[tokio::test]
async fn numbers_and_the_chain_go_on_when_every_event_of_a_class_went_to_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..30 {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    let last = all(&reader, Class::Alarm).last().unwrap().doc.clone();
    journal.put_away(segment(&reader, Class::Alarm, 1, 30), entry(Class::Receipt, 99)).await.unwrap();
    journal.hurry_upkeep().await.unwrap();
    soon(journal.standing().wait_for(|standing| !standing.upkeep.hurried)).await.unwrap();
    assert_eq!(all(&reader, Class::Alarm).len(), 1, "the last one stays: numbers and chain go on from it");
    journal.close().await.unwrap();

    let (journal, opening) = open(dir.path());
    assert_eq!((opening.beginning, opening.heads.of(Class::Alarm)), (Beginning::Resumed, Seq(30)));
    assert_eq!(journal.append(entry(Class::Alarm, 30)).await.unwrap().seq, Seq(31), "no number is given twice");
    let reader = journal.reader().unwrap();
    let next = String::from_utf8(all(&reader, Class::Alarm).last().unwrap().doc.clone()).unwrap();
    assert!(next.contains(&Digest::of(&last).to_string()), "it names the last archived one as the one before it");
    let totals = reader.totals().unwrap()[Class::Alarm as usize];
    assert_eq!((totals.recorded, totals.held + totals.archived, totals.dropped), (31, 31, 0));
    assert_verifies(&reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_verifies_while_events_leave_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..40 {
        journal.append_all((0..100).map(|m| entry(Class::Receipt, n * 100 + m)).collect()).await.unwrap();
    }
    let reader = journal.reader().unwrap();
    for part in 0..8 {
        let (first, last) = (part * 500 + 1, (part + 1) * 500);
        let segment = segment(&reader, Class::Receipt, first, last);
        journal.put_away(segment, entry(Class::Alarm, part)).await.unwrap();
        // Rows leave in steps from this moment on, without anybody asking.
        assert_verifies(&reader);
    }
    journal.close().await.unwrap();
}
