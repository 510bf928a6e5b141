//! The task between the radios and the journal, while the journal has no room or cannot be written.

use std::time::Duration;

use crate::support::{THINNING, hold, open, until};
use segel::{
    clock::{Clock, Mark},
    event::{Class, EventType, Seq, document::Head},
    ingest::{CLOCK_NOTE, Ingest, IngestStanding, Judge, Known, Memory},
    journal::{Filter, Journal, JournalError, Room},
};
use segel_drivers::{Heard, Report, Sighting, Standing, TagRead};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

struct Bench {
    journal: Journal,
    reports: mpsc::Sender<Report>,
    standing: watch::Receiver<IngestStanding>,
    task: JoinHandle<Result<(), JournalError>>,
    clock: Clock,
}

fn bench(dir: &std::path::Path, mark: impl FnOnce(&Clock) -> Option<Mark>) -> Bench {
    let journal = open(dir);
    let (reports, reported) = mpsc::channel(16);
    let clock = Clock::new(Duration::from_secs(60), None);
    let judge = Judge::new(THINNING, Known::default(), &Memory::default(), Heard::now());
    let (ingest, standing) = Ingest::new(reported, judge, clock.clone(), journal.clone(), mark(&clock));
    let task = tokio::spawn(ingest.run());
    Bench { journal, reports, standing, task, clock }
}

impl Bench {
    async fn say(&self, sighting: Sighting) {
        let report = Report { reader: "in-1".parse().unwrap(), heard: Heard::now(), sighting };
        tokio::time::timeout(Duration::from_secs(20), self.reports.send(report)).await.expect("the radios never wait").unwrap();
    }

    async fn tag(&self, number: u32) {
        let epc = format!("E280{number:08X}").parse().unwrap();
        self.say(Sighting::Tag(TagRead { epc, antenna: None, rssi_raw: None, raw: Vec::new() })).await;
    }

    fn unrecorded(&self) -> (u64, u64) {
        self.standing.borrow().unrecorded.get("in-1").map_or((0, 0), |lost| (lost.refused_events, lost.shed_reports))
    }

    fn recorded(&self, kind: EventType) -> usize {
        self.journal.reader().unwrap().tail(&Filter { kind: Some(kind), ..Filter::default() }, 100_000).unwrap().len()
    }

    async fn end(self) -> Journal {
        drop(self.reports);
        self.task.await.unwrap().unwrap();
        self.journal
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_without_room_is_counted_under_its_reader_and_left_while_alarms_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), |_| None);
    bench.journal.tell_room(Room::Scarce);
    let standing = bench.journal.standing();
    until(|| standing.borrow().room == Room::Scarce).await;
    for number in 0..20 {
        bench.tag(number).await;
    }
    bench.say(Sighting::Standing(Standing::Down { reason: "gone".to_owned() })).await;
    until(|| bench.unrecorded() == (20, 0)).await;
    until(|| bench.recorded(EventType::CommsLost) == 1).await;
    assert_eq!(bench.recorded(EventType::TagSeen), 0);
    assert_eq!(bench.standing.borrow().journal_refuses, None);
    bench.journal.tell_room(Room::Plenty);
    until(|| standing.borrow().room == Room::Plenty).await;
    bench.tag(99).await;
    until(|| bench.recorded(EventType::TagSeen) == 1).await;
    let journal = bench.end().await;
    assert_eq!(journal.standing().borrow().refused[Class::Telemetry as usize], 20, "both counts agree");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_wait_in_bounded_shelter_while_the_journal_cannot_be_written_and_what_leaves_is_counted() {
    const TAGS: u32 = 6_000;
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(dir.path(), |_| None);
    until(|| bench.standing.borrow().seals.known == 0 && bench.journal.heads().borrow().of(Class::Alarm) == Seq::NONE).await;
    let held = hold(dir.path());
    bench.say(Sighting::Standing(Standing::Down { reason: "gone".to_owned() })).await;
    until(|| bench.standing.borrow().journal_refuses.is_some()).await;
    for number in 0..TAGS {
        bench.tag(number).await;
    }
    bench.say(Sighting::Standing(Standing::Up { detail: "back".to_owned() })).await;
    until(|| bench.standing.borrow().sheltered == 4_096).await;
    let (_, shed) = bench.unrecorded();
    drop(held);
    until(|| bench.recorded(EventType::CommsRestored) == 1).await;
    let (refused, still) = bench.unrecorded();
    assert_eq!((refused, still), (0, shed), "once there is a place nothing leaves");
    assert!(shed > 1_000, "{shed}");
    assert_eq!(bench.standing.borrow().journal_refuses, None);
    until(|| bench.recorded(EventType::TagSeen) as u64 + shed == u64::from(TAGS)).await;
    let journal = bench.end().await;
    let alarms = journal.reader().unwrap().after(Class::Alarm, Seq::NONE, 10, 1 << 20).unwrap();
    let kinds: Vec<_> = alarms.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds, ["COMMS_LOST", "COMMS_RESTORED"], "in the order heard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_stepped_between_two_runs_is_an_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let earlier = |clock: &Clock| {
        let now = clock.now();
        Some(Mark { boot: clock.boot(), since_boot_ms: now.monotonic_ms - 5_000, wall_ms: now.wall.as_millisecond() + 3_595_000 })
    };
    let first = bench(dir.path(), earlier);
    until(|| first.recorded(EventType::ClockStepped) == 1).await;
    let mark =
        |journal: &Journal| serde_json::from_slice::<Mark>(&journal.reader().unwrap().note(CLOCK_NOTE.0, CLOCK_NOTE.1).unwrap().unwrap());
    let kept = mark(&first.journal).unwrap();
    assert_eq!(kept.boot, first.clock.boot());
    let journal = first.end().await;
    journal.close().await.unwrap();

    let second = bench(dir.path(), |_| Some(kept));
    let looked = second.standing.borrow().ticked;
    until(|| second.standing.borrow().ticked > looked + Duration::from_secs(1)).await;
    assert_eq!(second.recorded(EventType::ClockStepped), 1, "the same step is not found again");
    let record = second.journal.reader().unwrap().after(Class::Alarm, Seq::NONE, 1, 1).unwrap().remove(0);
    let head = Head::parse(&record.doc).unwrap();
    let body: serde_json::Value = serde_json::from_str(head.data.get()).unwrap();
    assert_eq!(body["seen"], "between_runs", "{body}");
    let step = body["stepMs"].as_i64().unwrap();
    assert!((-3_600_500..=-3_599_500).contains(&step), "{body}");
    second.end().await;
}
