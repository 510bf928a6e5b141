//! What reports amount to: changes are never thinned, repeats are counted, and nobody is believed twice.

use std::time::{Duration, Instant, SystemTime};

use crate::support::THINNING;
use segel::{
    event::{Assurance, Class, EventType},
    ingest::{Finding, Judge, Known, Memory, ReaderPlace},
    seals::{self, Presence, SealState},
};
use segel_drivers::{
    AdvertRefusal, Epc, Heard, LockClaim, MacAddress, Protection, ReaderId, RefusedAdvert, Report, SealAdvert, SealId, SealReading,
    Sighting, Standing, TagRead,
};

/// A gate with one reader, one registered seal, and a clock that goes where it is told.
struct Bench {
    judge: Judge,
    start: Instant,
    at: Duration,
    reader: ReaderId,
    seal: SealId,
}

impl Bench {
    fn new() -> Self {
        Self::remembering(&Memory::default())
    }

    fn remembering(memory: &Memory) -> Self {
        let (reader, seal): (ReaderId, SealId) = ("air".parse().unwrap(), "SGL-1001".parse().unwrap());
        let mut known = Known::default();
        known.readers.insert(reader.clone(), ReaderPlace { driver: "ble", lane: Some("in-1".to_owned()) });
        known.seals.insert(seal.clone(), Some("CSQU3054383".to_owned()));
        known.tags.insert("E28069150000501D63E2784F".parse().unwrap(), seal.clone());
        let start = Instant::now();
        let now = Heard { monotonic: start, wall: SystemTime::now() };
        Self { judge: Judge::new(THINNING, known, memory, now), start, at: Duration::ZERO, reader, seal }
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.at += Duration::from_secs(seconds);
        self
    }

    fn heard(&self) -> Heard {
        Heard { monotonic: self.start + self.at, wall: SystemTime::now() }
    }

    fn hear(&mut self, sighting: Sighting) -> Vec<Finding> {
        let report = Report { reader: self.reader.clone(), heard: self.heard(), sighting };
        self.judge.on_report(&report)
    }

    fn advert(&self, protection: Protection, reading: SealReading) -> Sighting {
        let address = MacAddress([0xA4, 0xC1, 0x38, 0, 0, 1]);
        Sighting::Advert(SealAdvert { seal: self.seal.clone(), address, rssi_dbm: Some(-60), reading, protection, raw: vec![0x40] })
    }

    fn plain(&mut self, reading: SealReading) -> Vec<Finding> {
        let advert = self.advert(Protection::Plain, reading);
        self.hear(advert)
    }

    fn keyed(&mut self, counter: u32, reading: SealReading) -> Vec<Finding> {
        let advert = self.advert(Protection::Keyed { counter }, reading);
        self.hear(advert)
    }

    fn read(&mut self, epc: &str, antenna: u8) -> Vec<Finding> {
        let epc: Epc = epc.parse().unwrap();
        self.hear(Sighting::Tag(TagRead { epc, antenna: Some(antenna), rssi_raw: Some(0x45), raw: vec![1, 2] }))
    }

    fn tick(&mut self) -> Vec<Finding> {
        let now = self.heard();
        self.judge.on_tick(now)
    }
}

fn says(lock: LockClaim, tamper: bool, battery: u8) -> SealReading {
    SealReading { lock: Some(lock), tamper: Some(tamper), battery_percent: Some(battery), ..SealReading::default() }
}

fn locked() -> SealReading {
    says(LockClaim::Locked, false, 90)
}

fn kinds(findings: &[Finding]) -> Vec<(Class, EventType)> {
    findings.iter().map(|f| (f.class, f.kind)).collect()
}

fn state(finding: &Finding) -> SealState {
    let note = finding.notes.iter().find(|n| n.kind == seals::NOTE).expect("the seal's state is kept with its event");
    serde_json::from_slice(note.value.as_ref().unwrap()).unwrap()
}

#[test]
fn a_seal_forced_open_is_one_alarm_at_once_however_recently_it_was_recorded() {
    let mut bench = Bench::new();
    assert_eq!(kinds(&bench.plain(locked())), [(Class::Telemetry, EventType::DeviceStatus)]);
    let findings = bench.plain(says(LockClaim::Unlocked, true, 90));
    assert_eq!(kinds(&findings), [(Class::Alarm, EventType::ForcedOpen)]);
    assert_eq!(findings[0].container.as_deref(), Some("CSQU3054383"));
    assert_eq!(findings[0].assurance, Assurance::Claim);
    assert_eq!(findings[0].body["state"]["sealCondition"], "BROKEN");
    assert_eq!(findings[0].body["driver"], "ble");
}

#[test]
fn a_seal_opened_without_a_permit_is_an_alarm_and_closing_it_is_on_record() {
    let mut bench = Bench::new();
    bench.plain(locked());
    assert_eq!(kinds(&bench.plain(says(LockClaim::Unlocked, false, 90))), [(Class::Alarm, EventType::Unsealed)]);
    assert_eq!(kinds(&bench.plain(locked())), [(Class::Receipt, EventType::Sealed)]);
}

#[test]
fn repeats_are_counted_and_told_at_the_heartbeat() {
    let mut bench = Bench::new();
    bench.plain(locked());
    for _ in 0..59 {
        assert!(bench.after(1).plain(locked()).is_empty());
    }
    let findings = bench.after(1).plain(locked());
    assert_eq!(kinds(&findings), [(Class::Telemetry, EventType::DeviceStatus)]);
    assert_eq!(findings[0].body["reason"], "heartbeat");
    assert_eq!(findings[0].body["repeats"], 59);
}

#[test]
fn a_step_of_charge_or_warmth_is_recorded_and_a_smaller_one_is_not() {
    let mut bench = Bench::new();
    bench.plain(locked());
    assert!(bench.plain(says(LockClaim::Locked, false, 86)).is_empty());
    assert_eq!(bench.plain(says(LockClaim::Locked, false, 85))[0].body["reason"], "step");
    let warm = |centi| SealReading { temperature_centi_c: Some(centi), ..locked() };
    assert_eq!(bench.plain(warm(3_000)).len(), 1);
    assert!(bench.plain(warm(3_199)).is_empty());
    assert_eq!(bench.plain(warm(3_200)).len(), 1);
}

#[test]
fn low_battery_is_one_alarm_when_it_becomes_low() {
    let mut bench = Bench::new();
    bench.plain(locked());
    assert_eq!(kinds(&bench.plain(says(LockClaim::Locked, false, 15))), [(Class::Alarm, EventType::LowBattery)]);
    assert!(bench.plain(says(LockClaim::Locked, false, 14)).is_empty());
}

#[test]
fn a_seal_that_arrives_tampered_with_is_an_alarm_on_first_hearing() {
    let mut bench = Bench::new();
    assert_eq!(kinds(&bench.plain(says(LockClaim::Unlocked, true, 90))), [(Class::Alarm, EventType::Tampered)]);
}

#[test]
fn a_seal_nobody_registered_raises_no_alarm() {
    let mut bench = Bench::new();
    bench.seal = "BLE-A4C138000001".parse().unwrap();
    bench.plain(locked());
    assert_eq!(kinds(&bench.plain(says(LockClaim::Unlocked, true, 90))), [(Class::Telemetry, EventType::ForcedOpen)]);
}

#[test]
fn a_seal_that_falls_silent_is_lost_once_and_its_return_is_told() {
    let mut bench = Bench::new();
    bench.plain(locked());
    assert!(bench.after(119).tick().is_empty());
    let lost = bench.after(1).tick();
    assert_eq!(kinds(&lost), [(Class::Telemetry, EventType::CommsLost)]);
    assert_eq!(state(&lost[0]).presence, Presence::NotHeard);
    assert!(bench.after(500).tick().is_empty());
    let back = bench.plain(locked());
    assert_eq!(kinds(&back), [(Class::Telemetry, EventType::CommsRestored)]);
    assert_eq!(state(&back[0]).presence, Presence::InRange);
}

#[test]
fn a_seal_that_comes_back_open_is_told_as_both() {
    let mut bench = Bench::new();
    bench.plain(locked());
    bench.after(130).tick();
    let back = bench.plain(says(LockClaim::Unlocked, true, 90));
    assert_eq!(kinds(&back), [(Class::Telemetry, EventType::CommsRestored), (Class::Alarm, EventType::ForcedOpen)]);
}

#[test]
fn a_change_across_a_restart_is_still_a_change() {
    let mut bench = Bench::new();
    let first = bench.plain(locked());
    let memory = Memory { seals: vec![state(&first[0])], ..Memory::default() };
    let mut restarted = Bench::remembering(&memory);
    assert_eq!(kinds(&restarted.plain(says(LockClaim::Unlocked, true, 90))), [(Class::Alarm, EventType::ForcedOpen)]);
}

#[test]
fn a_first_keyed_message_is_a_claim_and_the_next_one_is_keyed() {
    let mut bench = Bench::new();
    assert_eq!(bench.keyed(7, locked())[0].assurance, Assurance::Claim);
    assert_eq!(bench.keyed(8, says(LockClaim::Locked, false, 80))[0].assurance, Assurance::Keyed);
}

#[test]
fn a_replayed_locked_message_never_hides_that_the_seal_is_open() {
    let mut bench = Bench::new();
    bench.keyed(50, locked());
    assert_eq!(kinds(&bench.keyed(60, says(LockClaim::Unlocked, true, 90))), [(Class::Alarm, EventType::ForcedOpen)]);
    let replay = bench.after(5).keyed(50, locked());
    assert_eq!(kinds(&replay), [(Class::Alarm, EventType::CounterReset)]);
    assert_eq!(replay[0].assurance, Assurance::Doubtful);
    assert!(replay[0].body.get("state").is_none(), "a doubtful claim carries no state");
    assert!(bench.after(5).keyed(50, locked()).is_empty(), "the same replay again is counted");
    // The real seal goes on, still open: no SEALED was ever recorded and none is now.
    assert!(bench.keyed(61, says(LockClaim::Unlocked, true, 90)).is_empty());
}

#[test]
fn a_replay_after_a_restart_is_known_by_the_kept_counter_whatever_its_value() {
    let mut bench = Bench::new();
    let first = bench.keyed(99, locked());
    bench.keyed(100, locked());
    let kept = bench.judge.take_unkept();
    assert_eq!(kept.len(), 1, "a counter that moved without an event is offered to be kept");
    let counter = serde_json::from_slice(kept[0].value.as_ref().unwrap()).unwrap();
    let memory = Memory { seals: vec![state(&first[0])], counters: [(bench.seal.clone(), counter)].into(), ..Memory::default() };
    for old in [1, 99] {
        let mut restarted = Bench::remembering(&memory);
        assert_eq!(kinds(&restarted.keyed(old, locked())), [(Class::Alarm, EventType::CounterReset)], "{old}");
    }
}

#[test]
fn a_flood_of_mixed_replays_makes_few_events_and_a_real_tampering_still_shows() {
    let mut bench = Bench::new();
    bench.keyed(1_000, locked());
    let mut events = 0;
    for round in 0..1_000 {
        events += bench.keyed(round % 10, locked()).len();
        events += bench.keyed(10 + round % 10, says(LockClaim::Unlocked, false, 90)).len();
    }
    assert!(events <= 4, "{events} events for 2,000 replays");
    let real = bench.keyed(30, says(LockClaim::Unlocked, true, 90));
    assert_eq!(kinds(&real), [(Class::Alarm, EventType::DeviceStatus)]);
}

#[test]
fn the_same_keyed_message_played_for_ever_does_not_keep_a_seal_in_range() {
    let mut bench = Bench::new();
    bench.keyed(5, locked());
    for _ in 0..13 {
        assert!(bench.after(10).keyed(5, locked()).is_empty());
    }
    assert_eq!(kinds(&bench.tick()), [(Class::Telemetry, EventType::CommsLost)]);
}

#[test]
fn the_same_messages_by_way_of_two_adapters_are_no_replay() {
    let mut bench = Bench::new();
    for counter in 10..=12 {
        bench.keyed(counter, locked());
    }
    for counter in 10..=12 {
        assert!(bench.after(1).keyed(counter, locked()).is_empty(), "{counter} comes late from the other adapter");
    }
    assert_eq!(bench.after(1).keyed(13, says(LockClaim::Locked, false, 70))[0].assurance, Assurance::Keyed);
}

#[test]
fn strangers_never_push_a_registered_seal_out_of_memory_and_leave_no_note() {
    let mut bench = Bench::new();
    let registered = bench.seal.clone();
    bench.plain(locked());
    for stranger in 0..5_000 {
        bench.seal = format!("BLE-{stranger:012X}").parse().unwrap();
        let findings = bench.plain(locked());
        assert!(findings.iter().all(|finding| finding.notes.is_empty() && finding.class == Class::Telemetry));
    }
    bench.seal = registered;
    assert_eq!(kinds(&bench.plain(says(LockClaim::Unlocked, false, 90))), [(Class::Alarm, EventType::Unsealed)]);
}

#[test]
fn a_spoofer_of_a_keyless_seal_fills_no_alarms_and_the_last_state_is_still_told() {
    let mut bench = Bench::new();
    bench.plain(locked());
    let mut events = 0;
    for _ in 0..500 {
        events += bench.plain(says(LockClaim::Unlocked, false, 90)).len();
        events += bench.plain(locked()).len();
    }
    assert!(events <= 30, "{events} events for a thousand made-up changes");
    let left_open = says(LockClaim::Unlocked, true, 90);
    assert!(bench.plain(left_open.clone()).is_empty());
    let told = bench.after(60).plain(left_open);
    assert_eq!(kinds(&told), [(Class::Alarm, EventType::ForcedOpen)], "what was held back is told at the heartbeat");
}

#[test]
fn a_change_that_was_held_back_is_told_when_the_seal_falls_silent() {
    let mut bench = Bench::new();
    bench.plain(locked());
    for _ in 0..50 {
        bench.plain(says(LockClaim::Unlocked, false, 90));
        bench.plain(locked());
    }
    assert!(bench.plain(says(LockClaim::Unlocked, true, 90)).is_empty());
    let lost = bench.after(120).tick();
    assert_eq!(kinds(&lost), [(Class::Alarm, EventType::ForcedOpen), (Class::Telemetry, EventType::CommsLost)]);
}

#[test]
fn a_downgraded_advertisement_is_an_alarm_once_a_heartbeat_with_its_count() {
    let mut bench = Bench::new();
    let refused = |bench: &Bench| {
        let address = MacAddress([0xA4, 0xC1, 0x38, 0, 0, 1]);
        let why = AdvertRefusal::PlainDespiteKey;
        Sighting::Refused(RefusedAdvert { seal: bench.seal.clone(), address, rssi_dbm: None, why, raw: vec![0x40] })
    };
    let first = refused(&bench);
    assert_eq!(kinds(&bench.hear(first.clone())), [(Class::Alarm, EventType::AdvertRefused)]);
    for _ in 0..10 {
        assert!(bench.after(1).hear(first.clone()).is_empty());
    }
    let again = bench.after(50).hear(first);
    assert_eq!(again[0].body["repeats"], 10);
}

#[test]
fn a_tag_is_recorded_when_it_comes_when_it_moves_and_when_it_leaves() {
    let mut bench = Bench::new();
    let epc = "E28069150000501D63E2784F";
    let first = bench.read(epc, 1);
    assert_eq!(kinds(&first), [(Class::Telemetry, EventType::TagSeen)]);
    assert_eq!(first[0].assurance, Assurance::Presence);
    assert_eq!(first[0].body["seal"], "SGL-1001");
    assert_eq!(first[0].container.as_deref(), Some("CSQU3054383"));
    assert!(bench.after(1).read(epc, 1).is_empty());
    assert_eq!(bench.after(1).read(epc, 2)[0].body["reason"], "antenna");
    assert!(bench.after(1).read(epc, 2).is_empty());
    let left = bench.after(10).tick();
    assert_eq!((left[0].body["reason"].as_str(), left[0].body["repeats"].as_u64()), (Some("left"), Some(1)));
    assert_eq!(bench.after(1).read(epc, 2)[0].body["reason"], "first_read");
}

#[test]
fn every_read_of_a_tag_is_accounted_for() {
    let mut bench = Bench::new();
    let (mut reads, mut told) = (0, 0);
    let count = |findings: &[Finding]| -> u64 { findings.iter().map(|f| f.body["repeats"].as_u64().unwrap()).sum() };
    for second in 0..400_u64 {
        let findings = bench.after(1).read("3074257BF7194E4000001A85", if second % 100 < 50 { 1 } else { 2 });
        reads += 1;
        told += count(&findings) + findings.len() as u64;
    }
    let left = bench.after(60).tick();
    told += count(&left);
    assert_eq!(told, reads);
}

#[test]
fn a_reader_that_fails_and_returns_is_told_both_times_in_the_class_that_is_never_dropped() {
    let mut bench = Bench::new();
    let down = bench.hear(Sighting::Standing(Standing::Down { reason: "/dev/x is gone".to_owned() }));
    assert_eq!(kinds(&down), [(Class::Alarm, EventType::CommsLost)]);
    let still = bench.after(5).hear(Sighting::Standing(Standing::Down { reason: "there is no /dev/x".to_owned() }));
    assert_eq!(kinds(&still), [(Class::Telemetry, EventType::DeviceStatus)], "another reason is no second loss");
    assert_eq!((&still[0].body["since"], &still[0].body["detail"]), (&down[0].body["since"], &"there is no /dev/x".into()));
    let up = bench.hear(Sighting::Standing(Standing::Up { detail: "UHFReader288M".to_owned() }));
    assert_eq!(kinds(&up), [(Class::Alarm, EventType::CommsRestored)]);
    assert_eq!(up[0].assurance, Assurance::Own);
}
