//! The gate as a process of its own, and its journal damaged, restored from a backup, or damaged under its hands: what
//! was still to be delivered arrives all the same, once, and what customs receives is never something that was not recorded.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

use segel::{
    clock::Clock,
    event::{Assurance, Class, Digest, Draft, EventType, Seq, Source, Subject, document::Head},
    forward::UPLINK,
    journal::{Entry, Journal, JournalConfig, JournalReader, Note},
};
use segel_hardware_tests::{
    ledger::{events, is_event},
    rig::{PATIENCE, Rig, RigConfig},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Line, Received, Weather};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Undelivered events of an outage: some thirty pieces to carry.
const OUTAGE: u64 = 2_000;

type Outcome = anyhow::Result<()>;

/// Customs behind a line, and a gate on it.
async fn gate_on_a_line() -> anyhow::Result<(CustomsBroker, Line, Rig)> {
    let customs = CustomsBroker::start().await?;
    let line = Line::to(customs.address()).await?;
    let rig = Rig::build(PROGRAM, &RigConfig { customs: Some(line.address()), seals: 2, more: String::new() })?;
    Ok((customs, line, rig))
}

/// The `n`th event of an outage, as an earlier run of the gate recorded it.
fn entry(clock: &Clock, n: u64) -> anyhow::Result<Entry> {
    let class = if n.is_multiple_of(4) { Class::Receipt } else { Class::Alarm };
    let kind = if class == Class::Alarm { EventType::ForcedOpen } else { EventType::CommandReceived };
    // Some do not fit into the body of another event, and some have signs that JSON writes otherwise.
    let text = if n % 97 == 5 { "x".repeat(15_900) } else { "\"quoted\" \\ \u{1F512}\n".repeat(3) };
    let subject: Subject = format!("seal/OUT-{}", n % 9).parse()?;
    let body = serde_json::json!({ "n": n, "text": text });
    Ok(Entry::new(Draft::new(class, kind, subject, clock.now(), Assurance::Claim, &body)?.with_container("CSQU3054383")?))
}

/// What an outage leaves in the journal of a gate that is stopped; the last of it is telemetry.
async fn outage(state: &Path, count: u64) -> Outcome {
    let clock = Clock::new(Duration::from_secs(1), None);
    let (journal, _) = Journal::open(state, JournalConfig::default(), Source::new("idsrg", "g01")?)?;
    for some in (0..count).collect::<Vec<_>>().chunks(100) {
        journal.append_all(some.iter().map(|n| entry(&clock, *n)).collect::<Result<_, _>>()?).await?;
    }
    let draft =
        Draft::new(Class::Telemetry, EventType::Breadcrumb, Subject::gateway(), clock.now(), Assurance::Own, &serde_json::json!({}))?;
    journal.append(Entry::new(draft).with(Note::keep("of-the-old", "one", "kept"))).await?;
    Ok(journal.close().await?)
}

/// Undelivered alarms and receipts: identity of the event, and its document.
fn undelivered(state: &Path) -> anyhow::Result<HashMap<String, Vec<u8>>> {
    let reader = JournalReader::open(state)?;
    let mut events = HashMap::new();
    for class in [Class::Alarm, Class::Receipt] {
        let cursor = reader.cursor(&UPLINK, class)?;
        reader.each(class, |record| {
            if record.seq > cursor {
                events.insert(record.id.to_string(), record.doc.clone());
            }
        })?;
    }
    Ok(events)
}

/// Writes something else into one document.
fn falsify(state: &Path, class: Class, seq: Seq) -> Outcome {
    let tool = rusqlite::Connection::open(state.join("journal.db"))?;
    let query = "UPDATE event SET doc = CAST(replace(CAST(doc AS TEXT), '\"subject\":\"', '\"subject\":\"FALSE') AS BLOB) WHERE class = ?1 AND seq = ?2";
    anyhow::ensure!(tool.execute(query, (class as i64, seq.0.cast_signed()))? == 1);
    Ok(())
}

fn carried_so_far(state: &Path) -> usize {
    let count = |reader: JournalReader| {
        let mut count = 0;
        for class in [Class::Alarm, Class::Receipt] {
            reader.each(class, |record| count += usize::from(record.kind == "CARRIED_OVER")).ok()?;
        }
        Some(count)
    };
    JournalReader::open(state).ok().and_then(count).unwrap_or(0)
}

/// Every carried event, by the identity of the original, each only once however often it was delivered.
fn carried(received: &[Received]) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut by_event = BTreeMap::new();
    let mut deliveries = HashMap::new();
    for document in events(received, "carried-over") {
        let original = document["data"]["event"].as_str().unwrap_or_default().to_owned();
        let id = document["id"].as_str().unwrap_or_default().to_owned();
        let before = deliveries.insert(original.clone(), id.clone());
        anyhow::ensure!(before.as_ref().is_none_or(|before| *before == id), "{original} was carried over twice");
        by_event.insert(original, document);
    }
    Ok(by_event)
}

fn assert_carried(received: &[Received], wanted: &HashMap<String, Vec<u8>>) -> Outcome {
    let carried = carried(received)?;
    anyhow::ensure!(carried.len() == wanted.len(), "{} of {} were carried over", carried.len(), wanted.len());
    let mut whole = 0;
    for (id, bytes) in wanted {
        let document = carried.get(id).ok_or_else(|| anyhow::anyhow!("{id} was not carried over"))?;
        let original = Head::parse(bytes)?;
        let data = &document["data"];
        assert_eq!(data["digest"], Digest::of(bytes).to_string());
        assert_eq!(data["seq"], original.seq.to_string());
        assert_eq!(data["journal"], original.journal.to_string());
        assert_eq!(document["class"], original.class.as_str());
        assert_eq!(document["subject"], original.subject.as_str());
        match data["document"].as_str() {
            Some(text) => {
                assert_eq!(text.as_bytes(), bytes.as_slice(), "the very bytes");
                whole += 1;
            }
            None => assert!(bytes.len() > 15_000 && data["omitted"].is_string(), "{document}"),
        }
    }
    assert!(whole * 10 > wanted.len() * 9, "{whole} of {} whole", wanted.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undelivered_events_of_a_damaged_journal_arrive_once_each_however_often_the_gate_is_killed() -> Outcome {
    let (customs, line, mut rig) = gate_on_a_line().await?;
    rig.open().await?;
    rig.advertise(0)?;
    customs.until(PATIENCE, |seen| !events(seen, "device-status").is_empty()).await?;
    rig.drain().await?;
    line.set(Weather::Cut);
    rig.close().await?;
    let state = rig.state_dir();
    outage(&state, OUTAGE).await?;
    let mut wanted = undelivered(&state)?;
    let old = JournalReader::open(&state)?.journal();
    // The last document is falsified, so that the opening notices, and one in the middle, so that something is lost.
    falsify(
        &state,
        Class::Telemetry,
        JournalReader::open(&state)?.after(Class::Telemetry, Seq::NONE, 1_000, 1 << 20)?.last().unwrap().seq,
    )?;
    let lost = JournalReader::open(&state)?.after(Class::Alarm, Seq(700), 1, 1 << 20)?.remove(0);
    falsify(&state, Class::Alarm, lost.seq)?;
    wanted.remove(&lost.id.to_string());

    let mut midst = 0;
    for life in 0..40 {
        rig.gate.start().await?;
        tokio::time::sleep(Duration::from_millis(20 * (life % 7))).await;
        rig.gate.kill().await?;
        let carried = carried_so_far(&state);
        midst += usize::from(carried > 0 && carried < wanted.len());
        if carried >= wanted.len() {
            break;
        }
    }
    anyhow::ensure!(midst > 0, "no kill came in the midst of carrying over");
    line.set(Weather::Fair);
    rig.open().await?;
    customs.until(PATIENCE, |seen| !events(seen, "carry-over-ended").is_empty()).await?;
    rig.drain().await?;
    rig.close().await?;

    let received = customs.received();
    assert_carried(&received, &wanted)?;
    let ids: HashSet<_> = events(&received, "journal-set-aside").iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "it is said once");
    let aside = &events(&received, "journal-set-aside")[0]["data"];
    assert!(aside["reason"].as_str().is_some_and(|reason| reason.contains("telemetry")), "{aside}");
    assert!(aside["notes"].as_u64() > Some(0) && aside["notesWhole"] == true, "{aside}");
    let ended: HashMap<_, _> = events(&received, "carry-over-ended").into_iter().map(|event| (event["id"].to_string(), event)).collect();
    assert_eq!(ended.len(), 1);
    let ended = &ended.values().next().unwrap()["data"];
    let sum = |what: &str| ended["alarm"][what].as_u64().unwrap() + ended["receipt"][what].as_u64().unwrap();
    assert_eq!((sum("found"), sum("carried"), sum("unreadable")), (wanted.len() as u64 + 1, wanted.len() as u64, 1), "{ended}");
    assert_eq!((&ended["telemetryLeft"], &ended["journal"]), (&1.into(), &old.to_string().into()), "{ended}");
    assert!(!received.iter().any(|m| String::from_utf8_lossy(&m.payload).contains("FALSE")), "customs never saw a false word");
    let reader = JournalReader::open(&state)?;
    assert_eq!(reader.note("of-the-old", "one")?.as_deref(), Some(&b"kept"[..]), "what was known is known");
    assert!(reader.verify(|_| {})?.is_good());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_put_in_its_place_begins_a_new_journal_and_says_so() -> Outcome {
    let (customs, _line, mut rig) = gate_on_a_line().await?;
    rig.open().await?;
    rig.drain().await?;
    rig.close().await?;
    let database = rig.state_dir().join("journal.db");
    let backup = fs::read(&database)?;
    rig.open().await?;
    for number in 0..20 {
        rig.tag_passes(number).await?;
    }
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 20).await?;
    rig.drain().await?;
    rig.close().await?;
    fs::write(&database, backup)?;

    rig.open().await?;
    for number in 100..110 {
        rig.tag_passes(number).await?;
    }
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 30 && !events(seen, "carry-over-ended").is_empty()).await?;
    rig.drain().await?;
    rig.close().await?;
    let received = customs.received();
    let aside = &events(&received, "journal-set-aside")[0]["data"];
    let reason = aside["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("an older copy of this journal was put in its place: it ends at"), "{reason}");
    // No number of any journal stands for two events.
    let mut numbers: HashMap<(String, String, String), String> = HashMap::new();
    for message in received.iter().filter(|m| is_event(&m.topic)) {
        let event: Value = serde_json::from_slice(&message.payload)?;
        let place = (event["journal"].to_string(), event["class"].to_string(), event["seq"].to_string());
        let id = event["id"].to_string();
        assert_eq!(*numbers.entry(place.clone()).or_insert_with(|| id.clone()), id, "{place:?} stands for two events");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_event_met_on_its_way_to_customs_ends_the_gate_and_the_rest_is_carried_over() -> Outcome {
    let (customs, line, mut rig) = gate_on_a_line().await?;
    rig.open().await?;
    rig.drain().await?;
    rig.close().await?;
    let state = rig.state_dir();
    outage(&state, 600).await?;
    let damaged = JournalReader::open(&state)?.after(Class::Alarm, Seq(300), 1, 1 << 20)?.remove(0);
    falsify(&state, Class::Alarm, damaged.seq)?;

    let ended = match rig.gate.start().await {
        Err(fault) => fault,
        Ok(_) => rig.gate.until(PATIENCE, |_| false).await.expect_err("it is never as wanted"),
    };
    let ended = format!("{ended:#}");
    assert!(ended.contains("exit status: 21"), "{ended}\n{}", rig.log()?);
    line.set(Weather::Fair);
    rig.open().await?;
    customs.until(PATIENCE, |seen| !events(seen, "carry-over-ended").is_empty()).await?;
    rig.drain().await?;
    rig.close().await?;

    let received = customs.received();
    let reason = events(&received, "journal-set-aside")[0]["data"]["reason"].to_string();
    assert!(reason.contains(&format!("alarm {} is damaged", damaged.seq)), "{reason}");
    assert!(!received.iter().any(|m| String::from_utf8_lossy(&m.payload).contains("FALSE")), "customs never saw a false word");
    // Every one but the damaged arrived, as itself or carried over.
    let mut seen: HashSet<String> = carried(&received)?.into_keys().collect();
    for kind in ["forced-open", "command-received"] {
        seen.extend(events(&received, kind).iter().filter_map(|event| event["id"].as_str().map(str::to_owned)));
    }
    let aside = fs::read_dir(&state)?.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("journal.damaged")).unwrap();
    let old = JournalReader::open(&aside.path())?;
    let mut missing = Vec::new();
    for class in [Class::Alarm, Class::Receipt] {
        old.each(class, |record| {
            let wanted = matches!(record.kind.as_str(), "FORCED_OPEN" | "COMMAND_RECEIVED") && record.seq != damaged.seq;
            if wanted && !seen.contains(&record.id.to_string()) {
                missing.push((class, record.seq));
            }
        })?;
    }
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}
