//! What seals say over a connection: evidence and claims, their logs, and what is confirmed to them.

use std::time::Duration;

use crate::support::{THINNING, hold, open, until};
use segel::{
    clock::Clock,
    event::{Assurance, Class, EventType, Seq},
    ingest::{Finding, Ingest, IngestStanding, Judge, Known, Memory, Promise, Recalled, TOLD_NOTE},
    journal::{Journal, JournalError, Note, Room},
    seals::{self, SealCondition, SealState},
};
use segel_drivers::{
    Action, AdvertRefusal, Confirm, Confirmed, Heard, LockClaim, MacAddress, Memory as Told, NotConfirmed, Protection, Report, SealAdvert,
    SealEvent, SealId, SealRead, SealReading, SealStatus, SealTold, SealWord, Security, Sighting,
    ble::{AirFrame, KnownSeal, Register, interpret},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

const ADDRESS: MacAddress = MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, 0xA5]);
const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";

fn seal() -> SealId {
    "SGL-1001".parse().unwrap()
}

fn known() -> Known {
    let mut known = Known::default();
    known.seals.insert(seal(), Some("CSQU3054383".to_owned()));
    known
}

fn judge(memory: &Memory) -> Judge {
    Judge::new(THINNING, known(), memory, Heard::now())
}

fn report(sighting: Sighting) -> Report {
    Report { reader: "ble".parse().unwrap(), heard: Heard::now(), sighting }
}

fn says(lock: LockClaim, tamper: bool) -> SealReading {
    SealReading { lock: Some(lock), tamper: Some(tamper), battery_percent: Some(80), ..SealReading::default() }
}

fn read(security: Security, reading: SealReading, complaints: &[SealWord]) -> Sighting {
    let status = SealStatus { reading, complaints: complaints.to_vec(), security, did_ours: None, stored: Some(3), raw: vec![1, 2, 3] };
    Sighting::Read(SealRead { seal: seal(), address: ADDRESS, rssi_dbm: Some(-48), during: Action::ReadState, status })
}

fn claim(reading: SealReading, protection: Protection) -> Sighting {
    Sighting::Advert(SealAdvert { seal: seal(), address: ADDRESS, rssi_dbm: Some(-60), reading, protection, raw: vec![0x40] })
}

fn event(word: SealWord, number: u32) -> SealEvent {
    SealEvent { word, number: Some(number), device_time: Some(1_700_000_000 + u64::from(number)), raw: vec![0xA0, number.to_le_bytes()[0]] }
}

fn told(memory: Told, events: Vec<SealEvent>, confirm: Option<Confirm>) -> SealTold {
    SealTold { seal: seal(), address: ADDRESS, events, memory, security: Security::Authenticated, confirm }
}

fn stored(numbers: std::ops::RangeInclusive<u32>) -> Vec<SealEvent> {
    numbers.map(|number| event(SealWord::ShackleCut, number)).collect()
}

fn kinds(findings: &[Finding]) -> Vec<(Class, EventType)> {
    findings.iter().map(|f| (f.class, f.kind)).collect()
}

fn state(finding: &Finding) -> SealState {
    let note = finding.notes.iter().find(|n| n.kind == seals::NOTE).expect("the seal's state is kept with its event");
    serde_json::from_slice(note.value.as_ref().unwrap()).unwrap()
}

#[test]
fn only_a_seal_that_proved_itself_gives_evidence() {
    for (security, assurance) in
        [(Security::Authenticated, Assurance::Evidence), (Security::Weak, Assurance::Claim), (Security::ClaimOnly, Assurance::Claim)]
    {
        let findings = judge(&Memory::default()).on_report(&report(read(security, says(LockClaim::Locked, false), &[])));
        let class = if assurance == Assurance::Evidence { Class::Receipt } else { Class::Telemetry };
        assert_eq!(kinds(&findings), [(class, EventType::DeviceStatus)], "a reading that changes nothing is on record too");
        assert_eq!(findings[0].assurance, assurance);
        assert_eq!(findings[0].body["reason"], "read");
        assert_eq!(findings[0].body["raw"], "010203");
        assert_eq!((state(&findings[0]).assurance, state(&findings[0]).stored_events), (assurance, Some(3)));
        assert_eq!(state(&findings[0]).evidence.is_some(), assurance == Assurance::Evidence);
    }
}

#[test]
fn a_claim_that_contradicts_evidence_says_so_and_does_not_make_a_broken_seal_whole() {
    let mut judge = judge(&Memory::default());
    judge.on_report(&report(read(Security::Authenticated, says(LockClaim::Unlocked, true), &[])));
    let findings = judge.on_report(&report(claim(says(LockClaim::Locked, false), Protection::Plain)));
    assert_eq!(kinds(&findings), [(Class::Receipt, EventType::Sealed)]);
    assert_eq!(findings[0].assurance, Assurance::Claim);
    let claimed = state(&findings[0]);
    assert_eq!(claimed.contradicts_evidence, ["lock", "tamper"]);
    assert_eq!(claimed.evidence.as_ref().unwrap().lock, Some(LockClaim::Unlocked), "the evidence stands beside it");
    assert_eq!(claimed.seal_condition, SealCondition::Broken, "the worse of the two");
    let weak = judge.on_report(&report(read(Security::Weak, says(LockClaim::Locked, false), &[])));
    assert_eq!(state(&weak[0]).contradicts_evidence, ["lock", "tamper"], "a weak protocol overwrites no evidence either");
    let again = judge.on_report(&report(read(Security::Authenticated, says(LockClaim::Locked, false), &[])));
    assert_eq!(state(&again[0]).contradicts_evidence, Vec::<String>::new());
    assert_eq!(state(&again[0]).seal_condition, SealCondition::RightCondition);
    // And the other way round: a claimed opening is an alarm at once, whatever evidence said before.
    let opened = judge.on_report(&report(claim(says(LockClaim::Unlocked, false), Protection::Plain)));
    assert_eq!(kinds(&opened), [(Class::Alarm, EventType::Unsealed)]);
    assert_eq!(state(&opened[0]).contradicts_evidence, ["lock"]);
}

fn evidence(reading: SealReading, complaints: &[SealWord]) -> Report {
    report(read(Security::Authenticated, reading, complaints))
}

#[test]
fn a_claimed_forced_opening_that_is_proved_is_an_alarm_with_evidence() {
    let broken = || says(LockClaim::Unlocked, true);
    let mut judge = judge(&Memory::default());
    judge.on_report(&evidence(says(LockClaim::Locked, false), &[]));
    let claimed = judge.on_report(&report(claim(broken(), Protection::Plain)));
    assert_eq!((kinds(&claimed), claimed[0].assurance), (vec![(Class::Alarm, EventType::ForcedOpen)], Assurance::Claim));
    let proved = judge.on_report(&evidence(broken(), &[]));
    assert_eq!((kinds(&proved), proved[0].assurance), (vec![(Class::Alarm, EventType::ForcedOpen)], Assurance::Evidence));
    assert_eq!(proved[0].body["reason"], "read", "the claim was true");
    assert_eq!(state(&proved[0]).contradicts_evidence, Vec::<String>::new());
    let again = judge.on_report(&evidence(broken(), &[]));
    assert_eq!(kinds(&again), [(Class::Telemetry, EventType::DeviceStatus)], "proved once");
    // A claimed complaint that is proved, too.
    let cut = [SealWord::ShackleCut];
    judge.on_report(&report(read(Security::ClaimOnly, broken(), &cut)));
    assert_eq!(kinds(&judge.on_report(&evidence(broken(), &cut))), [(Class::Alarm, EventType::ShackleCut)]);
}

#[test]
fn evidence_that_refutes_a_claim_is_a_receipt_that_says_so_and_no_sealing() {
    for proved_before in [true, false] {
        let mut judge = judge(&Memory::default());
        if proved_before {
            judge.on_report(&evidence(says(LockClaim::Locked, false), &[]));
        }
        judge.on_report(&report(claim(says(LockClaim::Unlocked, false), Protection::Plain)));
        let read = judge.on_report(&evidence(says(LockClaim::Locked, false), &[]));
        assert_eq!((kinds(&read), read[0].assurance), (vec![(Class::Receipt, EventType::DeviceStatus)], Assurance::Evidence));
        assert_eq!(read[0].body["reason"], "evidence_differs");
    }
    // A sealing between two readings is one, also when a claim told it first; one against a claim of it may be an opening.
    let mut judge = judge(&Memory::default());
    judge.on_report(&evidence(says(LockClaim::Unlocked, false), &[]));
    judge.on_report(&report(claim(says(LockClaim::Locked, false), Protection::Plain)));
    let opened = judge.on_report(&evidence(says(LockClaim::Unlocked, false), &[]));
    assert_eq!((kinds(&opened), &opened[0].body["reason"]), (vec![(Class::Alarm, EventType::Unsealed)], &"evidence_differs".into()));
    judge.on_report(&report(claim(says(LockClaim::Locked, false), Protection::Plain)));
    assert_eq!(kinds(&judge.on_report(&evidence(says(LockClaim::Locked, false), &[]))), [(Class::Receipt, EventType::Sealed)]);
}

#[test]
fn first_evidence_is_a_receipt_and_an_alarm_for_what_is_alarming_in_itself() {
    for lock in [LockClaim::Locked, LockClaim::Unlocked] {
        let first = judge(&Memory::default()).on_report(&evidence(says(lock, false), &[]));
        assert_eq!(kinds(&first), [(Class::Receipt, EventType::DeviceStatus)]);
    }
    let mut judge = judge(&Memory::default());
    judge.on_report(&report(claim(says(LockClaim::Unlocked, true), Protection::Plain)));
    assert_eq!(kinds(&judge.on_report(&evidence(says(LockClaim::Unlocked, true), &[]))), [(Class::Alarm, EventType::Tampered)]);
    // New evidence is not carried by the return of the seal alone, which may be dropped.
    let gone = Heard { monotonic: std::time::Instant::now() + Duration::from_secs(600), ..Heard::now() };
    judge.on_tick(gone);
    let back = judge.on_report(&evidence(says(LockClaim::Locked, true), &[]));
    assert_eq!(kinds(&back), [(Class::Telemetry, EventType::CommsRestored), (Class::Receipt, EventType::Sealed)]);
    judge.on_tick(gone);
    let back = judge.on_report(&evidence(SealReading { open: Some(false), ..says(LockClaim::Locked, true) }, &[]));
    assert_eq!(kinds(&back), [(Class::Telemetry, EventType::CommsRestored), (Class::Receipt, EventType::DeviceStatus)]);
}

#[test]
fn a_complaint_is_an_alarm_once_when_it_begins_across_restarts_too() {
    let mut first = judge(&Memory::default());
    let cut = [SealWord::WrongPassword, SealWord::ShackleCut, SealWord::LowBattery];
    let low = SealReading { battery_low: Some(true), ..says(LockClaim::Locked, false) };
    let findings = first.on_report(&report(read(Security::Authenticated, low.clone(), &cut)));
    let alarms = [EventType::LowBattery, EventType::ShackleCut, EventType::WrongPassword].map(|kind| (Class::Alarm, kind));
    let told = kinds(&findings);
    assert!(told.len() == 3 && alarms.iter().all(|alarm| told.contains(alarm)), "each once: {told:?}");
    assert_eq!(state(&findings[0]).seal_condition, SealCondition::Broken);
    let memory = Memory { seals: vec![state(&findings[0])], ..Memory::default() };
    for judge in [&mut first, &mut judge(&memory)] {
        let again = judge.on_report(&report(read(Security::Authenticated, low.clone(), &cut)));
        assert_eq!(kinds(&again), [(Class::Telemetry, EventType::DeviceStatus)]);
        let gone = judge.on_report(&report(read(Security::Authenticated, low.clone(), &[])));
        let receipt = vec![(Class::Receipt, EventType::DeviceStatus)];
        assert_eq!((kinds(&gone), gone[0].body["changed"].clone()), (receipt, serde_json::json!(["complaints"])));
    }
}

#[test]
fn what_comes_out_of_a_log_is_history_with_its_own_time_beside_ours_and_never_telemetry() {
    let words = [SealWord::Sealed, SealWord::ForcedOpen, SealWord::Heartbeat, SealWord::LogLost];
    let events = words.iter().zip(4..).map(|(word, number)| event(*word, number)).collect();
    let mut judge = judge(&Memory::default());
    let telling = judge.on_told(&"ble".parse().unwrap(), Heard::now(), &told(Told::Stored { log: 2 }, events, None));
    let expected = [
        (Class::Receipt, EventType::Sealed),
        (Class::Alarm, EventType::ForcedOpen),
        (Class::Receipt, EventType::DeviceStatus),
        (Class::Alarm, EventType::LogLost),
    ];
    assert_eq!(kinds(&telling.findings), expected);
    let body = &telling.findings[1].body;
    assert_eq!(
        (&body["stored"], &body["memory"], &body["logId"], &body["logNumber"]),
        (&true.into(), &"stored".into(), &2.into(), &5.into())
    );
    assert_eq!((&body["deviceTime"], &body["raw"]), (&1_700_000_005_u64.into(), &"a005".into()));
    assert!(telling.findings.iter().all(|finding| finding.body.get("state").is_none()), "history changes no state");
}

#[test]
fn a_live_alarm_is_told_once_and_one_with_another_number_is_another() {
    let mut judge = judge(&Memory::default());
    let mut tell = |event: SealEvent| kinds(&judge.on_report(&report(Sighting::Told(told(Told::Live, vec![event], None)))));
    let bare = SealEvent { number: None, device_time: None, ..event(SealWord::ShackleCut, 1) };
    let alarm = [(Class::Alarm, EventType::ShackleCut)];
    assert_eq!(tell(bare.clone()), alarm);
    assert_eq!(tell(bare), []);
    assert_eq!(tell(event(SealWord::ShackleCut, 1)), alarm);
    assert_eq!(tell(event(SealWord::ShackleCut, 1)), []);
    assert_eq!(tell(event(SealWord::ShackleCut, 2)), alarm);
}

#[test]
fn the_same_live_alarm_is_another_after_an_hour_and_after_the_complaint_was_over() {
    let later = |hours: u64| Heard { monotonic: std::time::Instant::now() + Duration::from_secs(3_600 * hours), ..Heard::now() };
    // A lock whose clock stands still, and a seal that says nothing but the word.
    for device_time in [Some(1_700_000_000), None] {
        let word = SealEvent { number: None, device_time, ..event(SealWord::ShackleCut, 1) };
        let mut judge = judge(&Memory::default());
        let tell = |judge: &mut Judge, heard| {
            let telling = judge.on_told(&"ble".parse().unwrap(), heard, &told(Told::Live, vec![word.clone()], None));
            judge.told_on_disk(&telling.marks);
            kinds(&telling.findings)
        };
        let alarm = [(Class::Alarm, EventType::ShackleCut)];
        assert_eq!(tell(&mut judge, later(0)), alarm);
        assert_eq!(tell(&mut judge, later(0)), [], "{device_time:?}: said again");
        judge.on_report(&evidence(says(LockClaim::Locked, false), &[]));
        assert_eq!(tell(&mut judge, later(0)), alarm, "{device_time:?}: it was over, and is another");
        assert_eq!(tell(&mut judge, later(0)), []);
        assert_eq!(tell(&mut judge, later(2)), alarm, "{device_time:?}: nobody says the same for so long");
        assert_eq!(tell(&mut judge, later(2)), []);
    }
}

#[test]
fn two_reports_of_one_seal_that_are_written_together_are_both_remembered() {
    let reader = "ble".parse().unwrap();
    let tell = |judge: &mut Judge, numbers| judge.on_told(&reader, Heard::now(), &told(Told::Stored { log: 1 }, stored(numbers), None));
    let mut first = judge(&Memory::default());
    let (one, two) = (tell(&mut first, 1..=2), tell(&mut first, 3..=4));
    let remembered = |notes: Vec<Note>| {
        let note = notes.into_iter().rev().find(|note| note.kind == TOLD_NOTE)?;
        let told = [(seal(), serde_json::from_slice(&note.value.unwrap()).unwrap())].into_iter().collect();
        Some(tell(&mut judge(&Memory { told, ..Memory::default() }), 1..=4).findings.len())
    };
    assert_eq!(remembered(two.findings.last().unwrap().notes.clone()), Some(2), "the first may still fail");
    first.told_on_disk(&two.marks);
    assert_eq!(remembered(first.take_unkept()), None, "it still may");
    first.told_on_disk(&one.marks);
    assert_eq!(remembered(first.take_unkept()), Some(0));
    assert_eq!(remembered(first.take_unkept()), None, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_that_cannot_be_written_down_has_nothing_confirmed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let gate = bench(dir.path()).await;
    let huge = SealEvent { raw: vec![7; 64 << 10], ..event(SealWord::ShackleCut, 2) };
    for _ in 0..2 {
        let confirmed = gate.tell(vec![event(SealWord::ShackleCut, 1), huge.clone(), event(SealWord::ShackleCut, 3)]).await;
        assert_eq!(confirmed.wait().await, Err(NotConfirmed), "the seal would delete what is nowhere else");
    }
    assert_eq!(gate.tell(vec![huge]).await.wait().await, Err(NotConfirmed));
    gate.tell(vec![event(SealWord::ShackleCut, 1), event(SealWord::ShackleCut, 3)]).await.wait().await.unwrap();
    assert_eq!(gate.on_record(), [1, 3]);
    gate.end().await;
}

/// Frames of a seal with a key, as they are in the air, through the same code as live ones.
#[test]
fn a_recorded_advertisement_is_not_evidence() {
    let register: Register = [(ADDRESS, KnownSeal::bthome(seal(), Some(KEY.parse().unwrap())))].into_iter().collect();
    let later = |seconds| Heard { monotonic: std::time::Instant::now() + Duration::from_secs(seconds), ..Heard::now() };
    let hear = |judge: &mut Judge, frame: &str, register: &Register| {
        let frame = AirFrame::bthome(ADDRESS, Some(-61), hex::decode(frame).unwrap());
        // Played an hour after it was recorded.
        let report = Report { heard: later(3_600), ..report(interpret(&frame, register).expect("it is a seal's")) };
        judge.on_report(&report)
    };
    let recorded = "450217c863f67628ee01000000c539fcd0";
    let mut gate = judge(&Memory::default());
    let frame = AirFrame::bthome(ADDRESS, Some(-61), hex::decode(recorded).unwrap());
    let first = gate.on_report(&report(interpret(&frame, &register).unwrap()));
    assert_eq!(first[0].assurance, Assurance::Claim, "a first counter may be a replay itself");
    // The seal lives on, and is read as evidence to be open and broken.
    gate.on_report(&report(claim(says(LockClaim::Unlocked, true), Protection::Keyed { counter: 40 })));
    let evidence = gate.on_report(&report(read(Security::Authenticated, says(LockClaim::Unlocked, true), &[])));
    let before = state(&evidence[0]);
    let played = hear(&mut gate, recorded, &register);
    assert!(!played.is_empty(), "a replay is on record");
    for finding in &played {
        assert_eq!(finding.assurance, Assurance::Doubtful);
        assert!(finding.notes.iter().all(|note| note.kind != seals::NOTE), "it changes no state");
    }
    let after = gate.on_report(&report(read(Security::Authenticated, says(LockClaim::Unlocked, true), &[])));
    assert_eq!(state(&after[0]).says, before.says, "the state is as it was");
    // The same for a frame whose seal was never heard before: nothing an advertisement says is ever evidence.
    let plain: Register = [(ADDRESS, KnownSeal::bthome(seal(), None))].into_iter().collect();
    let mut fresh = judge(&Memory::default());
    for frame in ["440009015d1f002b01", "440009015d1f002b01", "402b00"] {
        for finding in hear(&mut fresh, frame, &plain) {
            assert_eq!(finding.assurance, Assurance::Claim);
        }
    }
    let refused = hear(&mut gate, "440009015d1f002b01", &register);
    assert_eq!(refused[0].body["refusedBecause"], serde_json::to_value(AdvertRefusal::PlainDespiteKey).unwrap());
    assert_eq!(refused[0].assurance, Assurance::Doubtful);
}

struct Bench {
    journal: Journal,
    reports: mpsc::Sender<Report>,
    standing: watch::Receiver<IngestStanding>,
    task: JoinHandle<Result<(), JournalError>>,
}

async fn bench(dir: &std::path::Path) -> Bench {
    let journal = open(dir);
    let memory = match Memory::recall(&journal.reader().unwrap()).unwrap() {
        Recalled::Kept(memory) => memory,
        Recalled::Rebuilt(memory, notes) => {
            journal.keep(notes).await.unwrap();
            memory
        }
    };
    let (reports, reported) = mpsc::channel(16);
    let clock = Clock::new(Duration::from_secs(60), None);
    let (ingest, standing) = Ingest::new(reported, judge(&memory), clock, journal.clone(), None);
    Bench { journal, reports, standing, task: tokio::spawn(ingest.run()) }
}

impl Bench {
    async fn tell(&self, events: Vec<SealEvent>) -> Confirmed {
        let (confirm, confirmed) = Confirm::new();
        self.reports.send(report(Sighting::Told(told(Told::Stored { log: 1 }, events, Some(confirm))))).await.unwrap();
        confirmed
    }

    /// Every stored event on record, by its number in the seal's log.
    fn on_record(&self) -> Vec<u64> {
        let records = self.journal.reader().unwrap().after(Class::Alarm, Seq::NONE, 1_000, usize::MAX).unwrap();
        let bodies = records.iter().map(|record| serde_json::from_slice::<serde_json::Value>(&record.doc).unwrap());
        bodies.filter_map(|doc| doc["data"]["logNumber"].as_u64()).collect()
    }

    async fn end(self) {
        drop(self.reports);
        self.task.await.unwrap().unwrap();
        self.journal.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_are_confirmed_only_after_they_are_journalled() {
    let dir = tempfile::tempdir().unwrap();
    let gate = bench(dir.path()).await;
    gate.tell(stored(1..=3)).await.wait().await.unwrap();
    assert_eq!(gate.on_record(), [1, 2, 3], "confirmed, so on disk");

    // The disk takes nothing: no confirmation, however long the seal waits ...
    let held = hold(dir.path());
    let waiting = tokio::spawn(gate.tell(stored(4..=6)).await.wait());
    until(|| gate.standing.borrow().journal_refuses.is_some()).await;
    assert!(!waiting.is_finished(), "confirmed and not on disk");
    // ... and a second telling meanwhile is neither recorded twice nor confirmed on the first one's word.
    let second = tokio::spawn(gate.tell(stored(4..=6)).await.wait());
    until(|| gate.standing.borrow().sheltered > 0).await;
    assert!(!waiting.is_finished() && !second.is_finished());
    drop(held);
    waiting.await.unwrap().unwrap();
    assert_eq!(gate.on_record(), [1, 2, 3, 4, 5, 6]);
    second.await.unwrap().unwrap();
    gate.tell(stored(1..=6)).await.wait().await.unwrap();
    gate.end().await;

    // After a restart the seal, which never got its confirmation, tells all again: confirmed, and nothing twice.
    let gate = bench(dir.path()).await;
    gate.tell(stored(2..=8)).await.wait().await.unwrap();
    assert_eq!(gate.on_record(), [1, 2, 3, 4, 5, 6, 7, 8]);
    gate.journal.keep(vec![Note::forget(TOLD_NOTE, seal().to_string()), Note::forget("projection", "seals")]).await.unwrap();
    gate.end().await;

    // The same when the notes are lost and rebuilt from the events.
    let gate = bench(dir.path()).await;
    gate.tell(stored(1..=9)).await.wait().await.unwrap();
    assert_eq!(gate.on_record(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    gate.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_not_confirmed_and_history_finds_room_where_telemetry_finds_none() {
    let dir = tempfile::tempdir().unwrap();
    let gate = bench(dir.path()).await;
    gate.journal.tell_room(Room::Scarce);
    let standing = gate.journal.standing();
    until(|| standing.borrow().room == Room::Scarce).await;
    let heartbeats = (1..=3).map(|number| event(SealWord::Heartbeat, number)).collect();
    gate.tell(heartbeats).await.wait().await.unwrap();
    // A seal that is not registered is not confirmed anything: what it says may be dropped.
    let (confirm, confirmed) = Confirm::new();
    let mut stranger = told(Told::Stored { log: 1 }, stored(1..=2), Some(confirm));
    stranger.seal = "SGL-9".parse().unwrap();
    gate.reports.send(report(Sighting::Told(stranger))).await.unwrap();
    assert_eq!(confirmed.wait().await, Err(NotConfirmed));
    // Nor one that hands over more at once than is taken.
    let confirmed = gate.tell(stored(10..=200)).await;
    assert_eq!(confirmed.wait().await, Err(NotConfirmed));
    until(|| gate.on_record().len() == 128).await;
    gate.end().await;
}

#[test]
fn a_telling_that_is_on_its_way_is_not_promised_on_the_word_of_another() {
    let mut judge = judge(&Memory::default());
    let reader = "ble".parse().unwrap();
    let tell = |judge: &mut Judge, numbers| judge.on_told(&reader, Heard::now(), &told(Told::Stored { log: 1 }, stored(numbers), None));
    let first = tell(&mut judge, 1..=3);
    assert_eq!((first.findings.len(), first.promise), (3, Promise::WhenOnDisk));
    let second = tell(&mut judge, 2..=5);
    assert_eq!((second.findings.len(), second.promise), (2, Promise::Not), "2 and 3 may still be refused");
    judge.told_refused(&first.marks);
    judge.told_on_disk(&second.marks);
    let third = tell(&mut judge, 1..=5);
    assert_eq!((third.findings.len(), third.promise), (3, Promise::WhenOnDisk), "what was refused is new again");
    judge.told_on_disk(&third.marks);
    let all = tell(&mut judge, 1..=5);
    assert_eq!((all.findings.len(), all.promise), (0, Promise::Now));
    let gap = tell(&mut judge, 9..=9);
    assert_eq!(gap.findings[0].body["missedBefore"], 3);
}
