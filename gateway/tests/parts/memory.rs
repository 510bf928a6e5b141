//! Last known states and counters, back after a restart.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::support::{THINNING, open};
use segel::{
    clock::Clock,
    ingest::{COUNTER_NOTE, Judge, Known, Memory, Recalled},
    journal::{Journal, Note},
    seals::{self, SealState},
};
use segel_drivers::{Heard, LockClaim, MacAddress, Protection, Report, SealAdvert, SealId, SealReading, Sighting};

fn seal(number: u8) -> SealId {
    format!("SGL-{number}").parse().unwrap()
}

/// Judges and records a few messages of three seals.
async fn live(journal: &Journal) {
    let mut known = Known::default();
    known.seals.extend((1..=3).map(|number| (seal(number), None)));
    let now = Heard { monotonic: std::time::Instant::now(), wall: SystemTime::now() };
    let mut judge = Judge::new(THINNING, known, &Memory::default(), now);
    let clock = Clock::new(Duration::from_secs(60), None);
    for (counter, number, lock) in [
        (1, 1, LockClaim::Locked),
        (1, 2, LockClaim::Locked),
        (2, 1, LockClaim::Unlocked),
        (9, 3, LockClaim::Locked),
        (3, 1, LockClaim::Locked),
    ] {
        let heard = Heard::now();
        let reading = SealReading { lock: Some(lock), battery_percent: Some(80), ..SealReading::default() };
        let advert = SealAdvert {
            seal: seal(number),
            address: MacAddress([number; 6]),
            rssi_dbm: Some(-50),
            reading,
            protection: Protection::Keyed { counter },
            raw: Vec::new(),
        };
        let report = Report { reader: "air".parse().unwrap(), heard, sighting: Sighting::Advert(advert) };
        for finding in judge.on_report(&report) {
            journal.append(finding.stamped(clock.stamp(heard)).unwrap()).await.unwrap();
        }
    }
}

fn by_seal(memory: &Memory) -> BTreeMap<String, SealState> {
    memory.seals.iter().map(|state| (state.seal.to_string(), state.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_projection_is_rebuilt_from_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    // A fresh journal is rebuilt from nothing, which leaves the note that says which form the others have.
    let Recalled::Rebuilt(_, form) = Memory::recall(&journal.reader().unwrap()).unwrap() else { panic!("a fresh journal has no notes") };
    journal.keep(form).await.unwrap();
    live(&journal).await;
    let Recalled::Kept(kept) = Memory::recall(&journal.reader().unwrap()).unwrap() else { panic!("the notes are of this form") };
    assert_eq!(kept.seals.len(), 3);
    assert_eq!(by_seal(&kept)["SGL-1"].says.lock, Some(LockClaim::Locked));
    assert_eq!(kept.counters[&seal(1)].high, 3);

    let mut lost: Vec<_> = (1..=3).map(|n| Note::forget(seals::NOTE, seal(n).to_string())).collect();
    lost.extend((1..=3).map(|n| Note::forget(COUNTER_NOTE, seal(n).to_string())));
    lost.push(Note::forget("projection", "seals"));
    journal.keep(lost).await.unwrap();
    journal.close().await.unwrap();

    let journal = open(dir.path());
    let Recalled::Rebuilt(rebuilt, notes) = Memory::recall(&journal.reader().unwrap()).unwrap() else { panic!("the notes are gone") };
    assert_eq!(by_seal(&rebuilt), by_seal(&kept));
    assert_eq!(rebuilt.counters, kept.counters);
    journal.keep(notes).await.unwrap();
    journal.close().await.unwrap();
    let journal = open(dir.path());
    let Recalled::Kept(again) = Memory::recall(&journal.reader().unwrap()).unwrap() else { panic!("the notes are back") };
    assert_eq!(by_seal(&again), by_seal(&kept));
}
