//! The archive against a real journal: what is sealed, what an interruption leaves, what a verification names.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{
    due::Limits,
    errand::{Errand, LINES, Line, Round},
    seal::Sealing,
    *,
};
use crate::{
    clock::Clock,
    event::{Assurance, BootId, Class, ClockQuality, Digest, Draft, EventType, Seq, Source, Stamp, Subject, chain::ChainCheck},
    forward::UPLINK,
    journal::{Entry, Journal, JournalConfig, JournalReader},
};

const DAY: u64 = 86_400;
const MONTH: Duration = Duration::from_secs(30 * DAY);
/// Small segments, so that a few events make several.
const SMALL: Limits = Limits { events: 10, bytes: 1 << 20 };

fn source() -> Source {
    Source::new("idsrg", "g01").unwrap()
}

struct Bench {
    dir: TempDir,
    journal: Journal,
}

impl Bench {
    fn new() -> Self {
        Self::with(JournalConfig::default())
    }

    fn with(config: JournalConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), config, source()).unwrap().0;
        Self { dir, journal }
    }

    /// Records events of this age, whose clock was worth this.
    async fn record(&self, class: Class, count: u64, age: Duration, clock: ClockQuality) {
        let kind = match class {
            Class::Alarm => EventType::ForcedOpen,
            Class::Receipt => EventType::Sealed,
            Class::Telemetry => EventType::DeviceStatus,
        };
        let wall = Timestamp::now() - age;
        let entries = (0..count).map(|n| {
            let stamp = Stamp { wall, monotonic_ms: n, boot: BootId(uuid::Uuid::nil()), clock };
            let subject: Subject = format!("seal/JT-{}", n % 7).parse().unwrap();
            Entry::new(Draft::new(class, kind, subject, stamp, Assurance::Claim, &serde_json::json!({ "n": n })).unwrap())
        });
        let entries: Vec<_> = entries.collect();
        for some in entries.chunks(100) {
            self.journal.append_all(some.to_vec()).await.unwrap();
        }
    }

    /// Old events of a class, the last of them young, so that all but it may go.
    async fn old(&self, class: Class, count: u64) {
        self.record(class, count, 2 * MONTH, ClockQuality::Ntp).await;
        self.record(class, 1, Duration::ZERO, ClockQuality::Ntp).await;
    }

    fn place(&self) -> Place {
        Place::new(self.dir.path(), None, Medium::Fixed)
    }

    fn archivist(&self) -> Archivist {
        self.archivist_with(Clock::new(Duration::from_secs(DAY), None), Counting::Nobody)
    }

    fn archivist_with(&self, clock: Clock, counting: Counting) -> Archivist {
        Archivist::new(self.journal.clone(), clock, source(), self.place(), counting).with_limits(SMALL)
    }

    async fn round(&self, older: Older) -> Result<Round, ArchiveError> {
        self.archivist().round(older, &Errand::gentle(CancellationToken::new())).await
    }

    fn reader(&self) -> JournalReader {
        self.journal.reader().unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.place().folder(&source(), self.reader().journal()).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(self.folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        files
    }

    fn order(&self, class: Class, last: u64) -> Order {
        let now = Clock::new(Duration::from_secs(DAY), None).now();
        let (front, prev, previous_manifest) = (Seq::NONE, Digest::ZERO, Digest::ZERO);
        Order { source: source(), class, front, prev, last: Seq(last), previous_manifest, now }
    }

    fn verify(&self) -> ShelfReport {
        verify(self.place().dir(), &mut |_| ControlFlow::Continue(())).unwrap()
    }

    fn said(&self) -> Vec<(String, String)> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        self.verify().faults.iter().map(|fault| (name(&fault.path), fault.what.clone())).collect()
    }

    /// Checks what somebody finds who has the archive and the database and nothing else: one chain, nothing missing,
    /// and as many different events as were ever recorded.
    fn assert_one_chain(&self) {
        let mut check = ChainCheck::new();
        let shelf = verify_into(self.place().dir(), &mut check, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(shelf.is_good(), "{shelf:#?}");
        let reader = self.reader();
        for class in Class::ALL {
            reader.each(*class, |record| drop(check.feed(&record.doc))).unwrap();
        }
        let found = check.finish();
        assert!(found.is_whole(), "{found:#?}");
        for total in reader.totals().unwrap() {
            assert_eq!(total.recorded, total.held + total.archived + total.dropped, "{total:?}");
            if total.recorded > 0 {
                let chain = found.chains.iter().find(|chain| chain.class == total.class).unwrap();
                assert_eq!((chain.count + total.dropped, chain.last.0), (total.recorded, total.recorded), "{chain:#?}");
            }
        }
    }
}

async fn trimmed(journal: &Journal) {
    journal.hurry_upkeep().await.unwrap();
    let mut standing = journal.standing();
    tokio::time::timeout(Duration::from_secs(30), standing.wait_for(|now| !now.upkeep.hurried)).await.unwrap().unwrap();
}

#[tokio::test]
async fn segments_and_database_together_are_one_unbroken_chain() {
    let bench = Bench::new();
    for class in Class::ALL {
        bench.old(*class, 35).await;
    }
    let round = bench.round(Older::Than(MONTH)).await.unwrap();
    assert_eq!((round.segments, round.documents, round.stopped), (12, 105, false));
    bench.assert_one_chain();
    trimmed(&bench.journal).await;
    bench.assert_one_chain();
    let totals = bench.reader().totals().unwrap();
    assert_eq!(totals.iter().map(|total| total.archived).collect::<Vec<_>>(), [35, 35, 35]);
    let shelf = bench.verify();
    let alarms = &shelf.journals[0].classes[0];
    assert_eq!((alarms.segments, alarms.documents, alarms.first, alarms.last), (4, 35, Seq(1), Seq(35)));
    // The receipts that say so carry what is on the shelf.
    let receipts = bench.reader().after(Class::Receipt, Seq(36), 100, usize::MAX).unwrap();
    assert_eq!(receipts.iter().filter(|record| record.kind == "ARCHIVED").count(), 12);
    let text = String::from_utf8(receipts[3].doc.clone()).unwrap();
    assert!(text.contains(&format!("\"manifest\":\"{}\"", alarms.manifest)), "{text}");
    // What the archive's own receipts cause is bounded by a later round.
    assert_eq!(bench.round(Older::Than(MONTH)).await.unwrap(), Round::default());
}

#[tokio::test]
async fn a_segment_is_what_its_manifest_says_and_its_documents_are_those_of_the_journal() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 10).await;
    let records = bench.reader().after(Class::Alarm, Seq::NONE, 10, usize::MAX).unwrap();
    bench.round(Older::Than(MONTH)).await.unwrap();
    assert_eq!(bench.files(), ["alarm-000000000001-000000000010.jsonl", "alarm-000000000001-000000000010.manifest.json"]);
    let text = fs::read(bench.folder().join("alarm-000000000001-000000000010.jsonl")).unwrap();
    let expected: Vec<u8> = records.iter().flat_map(|record| [&record.doc[..], b"\n"].concat()).collect();
    assert_eq!(text, expected);
    let manifest = fs::read(bench.folder().join("alarm-000000000001-000000000010.manifest.json")).unwrap();
    let segment = &bench.reader().segments(Class::Alarm).unwrap()[0];
    assert_eq!(segment.manifest, Digest::of(&manifest));
    let manifest = Manifest::parse(&manifest).unwrap();
    assert_eq!((manifest.count, manifest.bytes, manifest.sha256), (10, text.len() as u64, Digest::of(&text)));
    assert_eq!((manifest.prev, manifest.digest), (Digest::ZERO, Digest::of(&records[9].doc)));
    assert_eq!((manifest.earliest, manifest.latest), (records[0].wall, records[9].wall));
}

#[tokio::test]
async fn an_interruption_after_any_step_loses_nothing_and_the_next_run_completes_it() {
    for steps in 0..6 {
        let bench = Bench::new();
        bench.old(Class::Alarm, 25).await;
        let (folder, order, reader) = (bench.folder(), bench.order(Class::Alarm, 10), bench.reader());
        let sealing = Sealing::new(&reader, &folder, &order);
        if steps == 0 {
            fs::write(folder.join("alarm-000000000001-000000000010.jsonl.part"), "the beginning of so").unwrap();
        } else {
            let written = sealing.write_documents(&mut |_| ControlFlow::Continue(())).unwrap();
            if steps > 1 {
                sealing.name_documents(&written).unwrap();
            }
            if steps > 2 {
                sealing.write_manifest(&written).unwrap();
            }
            if steps > 3 {
                sealing.name_manifest().unwrap();
            }
            if steps > 4 {
                sealing.read_back(&written, &mut |_| ControlFlow::Continue(())).unwrap();
            }
        }
        let left: Vec<_> = bench.files();
        assert!(!left.is_empty());
        bench.round(Older::Than(MONTH)).await.unwrap();
        bench.assert_one_chain();
        let files = bench.files();
        assert!(
            files.len() == 6 && files.iter().all(|file| file.ends_with(".jsonl") || file.ends_with(".manifest.json")),
            "after step {steps}: {files:?}"
        );
        assert!(bench.reader().segments(Class::Alarm).unwrap().len() == 3);
    }
}

#[tokio::test]
async fn a_database_restored_from_a_copy_leaves_sealed_files_and_their_signatures_as_they_are() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 25).await;
    bench.journal.close().await.unwrap();
    // With its mark: the copy alone would be noticed, and set aside.
    let copies = ["journal.db", "journal.mark"].map(|file| (file, fs::read(bench.dir.path().join(file)).unwrap()));
    let journal = Journal::open(bench.dir.path(), JournalConfig::default(), source()).unwrap().0;
    let bench = Bench { journal, ..bench };
    bench.round(Older::Than(MONTH)).await.unwrap();
    let before_files = bench.files();
    let before: Vec<_> = before_files.iter().map(|file| fs::read(bench.folder().join(file)).unwrap()).collect();
    bench.journal.close().await.unwrap();
    for (file, copy) in copies {
        fs::write(bench.dir.path().join(file), copy).unwrap();
    }
    let journal = Journal::open(bench.dir.path(), JournalConfig::default(), source()).unwrap().0;
    let bench = Bench { journal, ..bench };
    assert_eq!(bench.reader().segments(Class::Alarm).unwrap(), []);
    bench.round(Older::Than(MONTH)).await.unwrap();
    assert_eq!(bench.files(), before_files);
    let after: Vec<_> = bench.files().iter().map(|file| fs::read(bench.folder().join(file)).unwrap()).collect();
    assert_eq!(after, before);
    assert_eq!(bench.reader().segments(Class::Alarm).unwrap().len(), 3);
}

#[tokio::test]
async fn what_an_interrupted_run_of_another_extent_left_is_kept_aside() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 12).await;
    let (folder, reader) = (bench.folder(), bench.reader());
    // Longer than anything that is due now: it cannot be taken up, and its bytes are not the new segment's.
    seal(&reader, &folder, &bench.order(Class::Alarm, 13), &mut |_| ControlFlow::Continue(())).unwrap();
    bench.round(Older::Than(MONTH)).await.unwrap();
    bench.assert_one_chain();
    let leftovers = bench.verify().leftovers;
    assert_eq!(leftovers.len(), 2, "{leftovers:?}");
    assert!(leftovers.iter().all(|path| path.to_str().unwrap().ends_with(".leftover") && path.exists()), "{leftovers:?}");
}

#[tokio::test]
async fn events_above_the_cursor_or_younger_than_the_retention_are_never_sealed() {
    let bench = Bench::new();
    bench.record(Class::Alarm, 20, 2 * MONTH, ClockQuality::Ntp).await;
    bench.record(Class::Alarm, 5, MONTH - Duration::from_secs(60), ClockQuality::Ntp).await;
    let archivist = bench.archivist_with(Clock::new(Duration::from_secs(DAY), None), Counting::Uplink);
    let errand = Errand::gentle(CancellationToken::new());
    for (cursor, last) in [(0, 0), (7, 7), (25, 20)] {
        bench.journal.advance(&UPLINK, Class::Alarm, Seq(cursor));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while bench.reader().cursor(&UPLINK, Class::Alarm).unwrap() < Seq(cursor) {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        archivist.round(Older::Than(MONTH), &errand).await.unwrap();
        let segments = bench.reader().segments(Class::Alarm).unwrap();
        assert_eq!(segments.last().map_or(0, |segment| segment.last.0), last, "cursor at {cursor}");
    }
    archivist.round(Older::All, &errand).await.unwrap();
    let segments = bench.reader().segments(Class::Alarm).unwrap();
    assert_eq!(segments.last().unwrap().last, Seq(24), "the newest of a class stays");
    bench.assert_one_chain();
}

#[tokio::test]
async fn a_clock_that_is_not_to_be_trusted_archives_nothing() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 20).await;
    let ahead = Timestamp::now() + Duration::from_secs(3_600);
    let archivist = bench.archivist_with(Clock::new(Duration::from_secs(DAY), Some(ahead)), Counting::Nobody);
    let errand = Errand::gentle(CancellationToken::new());
    for older in [Older::All, Older::Than(MONTH), Older::Ripe(MONTH)] {
        assert!(matches!(archivist.round(older, &errand).await, Err(ArchiveError::Clock)));
    }
    assert!(bench.reader().segments(Class::Alarm).unwrap().is_empty());
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn events_whose_own_clock_was_worth_nothing_are_as_old_as_those_after_them() {
    let bench = Bench::new();
    bench.record(Class::Alarm, 15, Duration::from_secs(50 * 365 * DAY), ClockQuality::Untrusted).await;
    bench.record(Class::Alarm, 3, Duration::ZERO, ClockQuality::Ntp).await;
    assert_eq!(bench.round(Older::Than(MONTH)).await.unwrap(), Round::default(), "1970 is no age");
    let bench = Bench::new();
    bench.record(Class::Alarm, 15, Duration::from_secs(50 * 365 * DAY), ClockQuality::Untrusted).await;
    bench.old(Class::Alarm, 3).await;
    assert_eq!(bench.round(Older::Than(MONTH)).await.unwrap().documents, 18);
    bench.assert_one_chain();
}

#[tokio::test]
async fn the_gate_by_itself_seals_what_is_full_or_a_day_late() {
    let bench = Bench::new();
    bench.record(Class::Alarm, 13, MONTH + Duration::from_secs(3_600), ClockQuality::Ntp).await;
    bench.record(Class::Receipt, 2, MONTH + Duration::from_secs(DAY + 60), ClockQuality::Ntp).await;
    bench.record(Class::Receipt, 1, Duration::ZERO, ClockQuality::Ntp).await;
    bench.round(Older::Ripe(MONTH)).await.unwrap();
    let last = |class| bench.reader().segments(class).unwrap().last().map(|segment| segment.last);
    assert_eq!(last(Class::Alarm), Some(Seq(10)), "ten are a full segment, three wait for company");
    assert_eq!(last(Class::Receipt), Some(Seq(2)), "these waited a day");
    bench.assert_one_chain();
}

#[tokio::test]
async fn a_damaged_document_is_named_and_nothing_is_sealed_with_it() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 20).await;
    bench.journal.close().await.unwrap();
    let hand = rusqlite::Connection::open(bench.dir.path().join("journal.db")).unwrap();
    let changed = "UPDATE event SET doc = CAST(replace(CAST(doc AS TEXT), 'JT-3', 'JT-4') AS BLOB) WHERE class = 0 AND seq = 4";
    assert_eq!(hand.execute(changed, []).unwrap(), 1);
    drop(hand);
    let journal = Journal::open(bench.dir.path(), JournalConfig::default(), source()).unwrap().0;
    let bench = Bench { journal, ..bench };
    let said = bench.round(Older::Than(MONTH)).await.unwrap_err();
    assert!(matches!(said, ArchiveError::Damaged { class: Class::Alarm, seq: Seq(5), .. }), "{said}");
    assert!(said.to_string().contains("segel journal verify"), "{said}");
    assert!(bench.files().iter().all(|file| file.ends_with(".part")), "{:?}", bench.files());
    assert!(bench.reader().segments(Class::Alarm).unwrap().is_empty());
}

#[tokio::test]
async fn a_disk_that_keeps_other_bytes_than_it_was_given_is_noticed_before_anything_is_put_away() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 10).await;
    let (folder, order, reader) = (bench.folder(), bench.order(Class::Alarm, 10), bench.reader());
    let sealing = Sealing::new(&reader, &folder, &order);
    let written = sealing.write_documents(&mut |_| ControlFlow::Continue(())).unwrap();
    let part = folder.join("alarm-000000000001-000000000010.jsonl.part");
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    fs::write(&part, bytes).unwrap();
    sealing.name_documents(&written).unwrap();
    sealing.write_manifest(&written).unwrap();
    sealing.name_manifest().unwrap();
    let said = sealing.read_back(&written, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(said, ArchiveError::Altered { .. }), "{said}");
    // The next run finds the bad file in its way, keeps it for whoever examines the disk, and writes a good one.
    bench.round(Older::Than(MONTH)).await.unwrap();
    bench.assert_one_chain();
    assert_eq!(bench.verify().leftovers.len(), 1);
}

#[tokio::test]
async fn a_stop_leaves_nothing_half_done_and_the_next_round_goes_on() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 60).await;
    let (listener, mut lines) = tokio::sync::mpsc::channel(LINES);
    let stop = CancellationToken::new();
    let (archivist, errand) = (bench.archivist(), Errand::prompt(stop.clone(), listener));
    let working = tokio::spawn(async move { archivist.round(Older::Than(MONTH), &errand).await });
    while !matches!(lines.recv().await.unwrap(), Line::Segment(_)) {}
    stop.cancel();
    let first = working.await.unwrap().unwrap();
    assert!(first.stopped && (1..6).contains(&first.segments), "{first:?}");
    bench.assert_one_chain();
    // A listener that is gone stops it too.
    let (listener, lines) = tokio::sync::mpsc::channel(LINES);
    drop(lines);
    let second = bench.archivist().round(Older::Than(MONTH), &Errand::prompt(CancellationToken::new(), listener)).await.unwrap();
    assert!(second.stopped && second.segments == 0, "{second:?}");
    let third = bench.round(Older::Than(MONTH)).await.unwrap();
    assert_eq!(first.segments + third.segments, 6);
    bench.assert_one_chain();
}

#[tokio::test]
async fn a_segment_that_vanished_from_the_shelf_stops_nothing() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 10).await;
    bench.round(Older::Than(MONTH)).await.unwrap();
    fs::remove_dir_all(bench.folder()).unwrap();
    bench.record(Class::Alarm, 10, 2 * MONTH, ClockQuality::Ntp).await;
    bench.round(Older::All).await.unwrap();
    assert_eq!(bench.reader().segments(Class::Alarm).unwrap().len(), 2);
    let said = bench.said();
    assert!(said.iter().any(|(_, what)| what.contains("a segment before it") && what.contains("is missing")), "{said:?}");
    assert!(said.iter().any(|(_, what)| what.contains("alarm 1 to 10 are")), "{said:?}");
}

#[tokio::test]
async fn telemetry_dropped_between_two_segments_is_accounted_for_by_its_gap() {
    let bench = Bench::with(JournalConfig { telemetry_quota_bytes: 40_000, ..JournalConfig::default() });
    bench.old(Class::Telemetry, 20).await;
    bench.round(Older::Than(MONTH)).await.unwrap();
    trimmed(&bench.journal).await;
    // Far more than fits: the oldest that is not archived is dropped.
    bench.record(Class::Telemetry, 400, 2 * MONTH, ClockQuality::Ntp).await;
    bench.record(Class::Telemetry, 1, Duration::ZERO, ClockQuality::Ntp).await;
    assert!(bench.reader().totals().unwrap()[Class::Telemetry as usize].dropped > 0);
    bench.round(Older::All).await.unwrap();
    bench.assert_one_chain();
}

#[tokio::test]
async fn no_telemetry_is_archived_before_customs_knows_what_was_dropped() {
    let bench = Bench::with(JournalConfig { telemetry_quota_bytes: 40_000, ..JournalConfig::default() });
    bench.record(Class::Telemetry, 400, 2 * MONTH, ClockQuality::Ntp).await;
    let reader = bench.reader();
    let (front, gap) = (reader.front(Class::Telemetry).unwrap().last, reader.last_gap().unwrap());
    assert!(gap > front, "something was dropped, and the statement about it is held");
    let archivist = bench.archivist_with(Clock::new(Duration::from_secs(DAY), None), Counting::Uplink);
    let errand = Errand::gentle(CancellationToken::new());
    for (cursor, sealed) in [(gap.before(), false), (gap, true)] {
        bench.journal.advance(&UPLINK, Class::Telemetry, cursor);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while reader.cursor(&UPLINK, Class::Telemetry).unwrap() < cursor {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        archivist.round(Older::All, &errand).await.unwrap();
        assert_eq!(!reader.segments(Class::Telemetry).unwrap().is_empty(), sealed, "cursor at {cursor} of {gap}");
    }
}

/// Three alarm segments of ten, on a shelf whose files a test may harm.
async fn shelf() -> Bench {
    let bench = Bench::new();
    bench.old(Class::Alarm, 30).await;
    bench.round(Older::Than(MONTH)).await.unwrap();
    assert_eq!(bench.said(), []);
    bench
}

const SECOND: &str = "alarm-000000000011-000000000020";

#[tokio::test]
async fn a_flipped_byte_is_named_with_its_file_and_line_wherever_it_is() {
    let bench = shelf().await;
    let path = bench.folder().join(format!("{SECOND}.jsonl"));
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x01;
        fs::write(&path, &bytes).unwrap();
        let said = bench.said();
        assert!(said.iter().any(|(file, what)| *file == format!("{SECOND}.jsonl") && what.contains("SHA-256")), "byte {at}: {said:?}");
    }
    // Changed with care, so that every document can still be read: the line is told.
    let text = String::from_utf8(good.clone()).unwrap().replacen("\"n\":14", "\"n\":41", 1);
    fs::write(&path, text).unwrap();
    let said = bench.said();
    assert!(
        said.iter().any(|(_, what)| what.contains("line 6, alarm 16") && what.contains("number 15 or this one was changed")),
        "{said:?}"
    );
    fs::write(&path, good).unwrap();
    assert_eq!(bench.said(), []);
}

#[tokio::test]
async fn a_truncated_a_missing_and_an_unknown_file_are_named() {
    let bench = shelf().await;
    let (documents, manifest) = (bench.folder().join(format!("{SECOND}.jsonl")), bench.folder().join(format!("{SECOND}.manifest.json")));
    let named = |file: &str, words: &str| {
        let said = bench.said();
        assert!(said.iter().any(|(name, what)| name == file && what.contains(words)), "{file}, {words}: {said:?}");
    };
    let (text, stated) = (fs::read(&documents).unwrap(), fs::read(&manifest).unwrap());
    fs::write(&documents, &text[..text.len() - 100]).unwrap();
    named(&format!("{SECOND}.jsonl"), "is cut off");
    fs::remove_file(&documents).unwrap();
    named(&format!("{SECOND}.jsonl"), "it is missing");
    fs::remove_file(&manifest).unwrap();
    named("alarm-000000000021-000000000030.manifest.json", "a segment with 11 to 20 is missing");
    fs::write(&documents, &text).unwrap();
    named(&format!("{SECOND}.jsonl"), "its manifest is missing");
    fs::write(&manifest, &stated[..stated.len() / 2]).unwrap();
    named(&format!("{SECOND}.manifest.json"), "no manifest");
    fs::write(&manifest, &stated).unwrap();
    fs::write(bench.folder().join("notes.txt"), "from a visitor").unwrap();
    named("notes.txt", "belongs to no segment");
    fs::remove_file(bench.folder().join("notes.txt")).unwrap();
    fs::write(bench.folder().join(format!("{SECOND}.manifest.json.sig")), "a signature").unwrap();
    assert_eq!(bench.said(), []);
    assert_eq!(bench.verify().journals[0].classes[0].signatures, 1);
}

#[tokio::test]
async fn swapped_and_altered_manifests_are_named() {
    let bench = shelf().await;
    let path = |name: &str| bench.folder().join(format!("{name}.manifest.json"));
    let (one, two) = ("alarm-000000000001-000000000010", SECOND);
    let (first, second) = (fs::read(path(one)).unwrap(), fs::read(path(two)).unwrap());
    fs::write(path(one), &second).unwrap();
    fs::write(path(two), &first).unwrap();
    let said = bench.said();
    for name in [one, two] {
        assert!(
            said.iter().any(|(file, what)| *file == format!("{name}.manifest.json") && what.contains("under its own name")),
            "{said:?}"
        );
    }
    fs::write(path(one), &first).unwrap();
    // A manifest made anew is as good as the old one by itself; the one after it knows better.
    let mut forged = Manifest::parse(&second).unwrap();
    forged.program = "somebody else".to_owned();
    fs::write(path(two), forged.write()).unwrap();
    let said = bench.said();
    assert!(said.iter().any(|(file, what)| file.starts_with("alarm-000000000021") && what.contains("one of them was changed")), "{said:?}");
}

#[tokio::test]
async fn a_verification_can_be_stopped_and_says_so() {
    let bench = shelf().await;
    let mut asked = 0;
    let report = verify(bench.place().dir(), &mut |looked| {
        asked += 1;
        assert!(looked.bytes <= looked.total);
        if asked == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let report = report.unwrap();
    assert!(report.stopped && !report.is_good());
    let nowhere = bench.dir.path().join("nowhere");
    assert!(matches!(verify(&nowhere, &mut |_| ControlFlow::Continue(())), Err(ArchiveError::Missing { .. })));
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named_with_a_remedy() {
    let bench = Bench::new();
    bench.old(Class::Alarm, 10).await;
    // Nobody makes folders there, root neither.
    let place = Place::new(bench.dir.path(), Some(Path::new("/sys")), Medium::Fixed);
    let archivist = Archivist::new(bench.journal.clone(), Clock::new(MONTH, None), source(), place, Counting::Nobody);
    let said = archivist.round(Older::Than(MONTH), &Errand::gentle(CancellationToken::new())).await.unwrap_err();
    assert!(matches!(said, ArchiveError::NotWritable { .. }), "{said:?}");
    assert!(said.to_string().contains("/sys/idsrg-g01"), "{said}");
    assert_eq!(bench.reader().segments(Class::Alarm).unwrap(), []);
}
