//! The whole gate as a process of its own: what it does when something in front of it, behind it or in it goes wrong.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use segel::{daemon::Daemon, event::Class, status::Status};
use segel_hardware_tests::{
    ledger::{Ledger, events, is_event},
    rig::{PATIENCE, Rig, RigConfig, pending, recorded},
};
use segel_mqtt_bridge::sim::{CustomsBroker, Line, Monitor, Received, Weather};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");

type Outcome = anyhow::Result<()>;

/// Customs, and a gate with so many seals that reports to it.
async fn gate_at_customs(seals: u16, more: &str) -> anyhow::Result<(CustomsBroker, Rig)> {
    let customs = CustomsBroker::start().await?;
    let rig = Rig::build(PROGRAM, &RigConfig { customs: Some(customs.address()), seals, more: more.to_owned() })?;
    Ok((customs, rig))
}

/// Events of this kind about this subject.
fn about(received: &[Received], kind: &str, subject: &str) -> Vec<Value> {
    events(received, kind).into_iter().filter(|event| event["subject"] == subject).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gate_reports_in_with_no_radios() -> Outcome {
    let customs = CustomsBroker::start().await?;
    let dir = tempfile::tempdir()?;
    let place = dir.path().display();
    let text = format!(
        "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nstate_dir = \"{place}/state\"\nruntime_dir = \"{place}/run\"\n\
         [broker]\nlisten = \"127.0.0.1:0\"\n[uplink]\nurl = \"mqtt://{}\"\n[log]\nformat = \"text\"\n",
        customs.address()
    );
    let mut gate = Daemon::new(PROGRAM, dir.path());
    fs::write(gate.config(), text)?;
    gate.start().await?;
    customs.until(PATIENCE, |seen| events(seen, "gateway-started").len() == 1).await?;
    let started = &events(&customs.received(), "gateway-started")[0];
    assert_eq!(started["data"]["readers"], serde_json::json!([]), "{started}");
    let ready = |m: &Received| m.topic == "segel/1/idsrg/g01/state/gateway" && String::from_utf8_lossy(&m.payload).contains("ready");
    customs.until(PATIENCE, |seen| seen.iter().any(ready)).await?;
    gate.until(PATIENCE, |status| pending(status) == 0).await?;
    let asked = Command::new(PROGRAM).args(["status", "--json", "--config"]).arg(gate.config()).output()?;
    let told: Status = serde_json::from_slice(&asked.stdout)?;
    assert!(asked.status.success() && told.readers.is_empty() && recorded(&told, Class::Receipt) == 1, "{told:?}");
    assert_eq!(gate.stop().await?.code(), Some(0));
    Ledger::of(&customs.received())?.balance(&dir.path().join("state"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unplugged_reader_is_an_alarm_once_and_its_return_too() -> Outcome {
    let (customs, mut rig) = gate_at_customs(0, "[reopen]\nfirst_ms = 20\ncap_s = 1").await?;
    rig.open().await?;
    let seen = |kind: &'static str| move |seen: &[Received]| about(seen, kind, "reader/gate-in").len();
    customs.until(PATIENCE, |all| seen("comms-restored")(all) == 1).await?;
    assert_eq!(seen("comms-lost")(&customs.received()), 0);

    rig.reader.unplug().await?;
    customs.until(PATIENCE, |all| seen("comms-lost")(all) == 1).await?;
    let lost = &about(&customs.received(), "comms-lost", "reader/gate-in")[0];
    assert_eq!((&lost["class"], &lost["data"]["status"]), (&"alarm".into(), &"down".into()), "{lost}");
    // That the port is gone too is told as a state; that it is tried in vain again and again is not told at all, so
    // there is nothing to wait for: some five attempts fall into this time.
    customs.until(PATIENCE, |all| seen("device-status")(all) == 1).await?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    rig.reader.replug().await?;
    customs.until(PATIENCE, |all| seen("comms-restored")(all) == 2).await?;
    rig.tag_passes(1).await?;
    customs.until(PATIENCE, |all| events(all, "tag-seen").len() == 1).await?;
    rig.close().await?;

    let received = customs.received();
    let told = ["comms-lost", "comms-restored", "device-status"].map(|kind| seen(kind)(&received));
    assert_eq!(told, [1, 2, 1], "{}", rig.log()?);
    assert_eq!(about(&received, "comms-lost", "reader/air").len(), 0, "the other reader has nothing to do with it");
    Ledger::of(&received)?.balance(&rig.state_dir())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn normal_operation_logs_no_warnings() -> Outcome {
    let (customs, mut rig) = gate_at_customs(5, "").await?;
    rig.open().await?;
    let monitor = rig.monitor().await?;
    for round in 0..40 {
        for seal in 0..rig.seals.len() {
            if round % 10 == 9 {
                rig.seals[seal].turn();
            }
            rig.advertise(seal)?;
        }
        rig.tag_passes(round).await?;
        rig.tag_passes(round / 2).await?;
        if round == 20 {
            drop(rig.monitor().await?);
        }
    }
    // 40 tags; each seal heard once, opened twice and closed twice
    let done = |seen: &[Received]| events(seen, "tag-seen").len() >= 40 && events(seen, "sealed").len() == 10;
    monitor.until(PATIENCE, done).await?;
    customs.until(PATIENCE, done).await?;
    rig.drain().await?;
    rig.close().await?;
    let log = rig.log()?;
    let loud: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR") || line.contains("panic")).collect();
    assert!(loud.iter().all(|line| line.contains("simulat")), "{loud:#?}");
    assert!(log.lines().count() < 40, "quiet when well:\n{log}");
    assert!(!log.contains('\u{1b}'), "colours in a file");
    Ledger::of(&customs.received())?.balance(&rig.state_dir())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gate_on_the_same_journal_is_refused_with_its_holders_pid() -> Outcome {
    let (_customs, mut rig) = gate_at_customs(0, "").await?;
    rig.open().await?;
    let second = Command::new(PROGRAM).args(["run", "--config"]).arg(rig.gate.config()).output()?;
    let words = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(21), "{words}");
    assert!(words.contains(&format!("pid {}", rig.gate.pid().unwrap())), "{words}");
    // The first one is none the worse for it.
    rig.gate.status().await?;
    rig.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_does_not_keep_the_gate_shut() -> Outcome {
    let (customs, mut rig) = gate_at_customs(0, "").await?;
    let somebody = TcpListener::bind("127.0.0.1:0")?;
    let address = somebody.local_addr()?;
    rig.configure(&format!("[broker]\nlisten = \"{address}\"\n"))?;
    rig.gate.start().await?;
    rig.tag_passes(1).await?;
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 1).await?;
    assert!(rig.gate.status().await?.broker.is_none());
    let port = address.port().to_string();
    let said = |log: &str| log.lines().filter(|line| line.contains("ERROR") && line.contains(&port)).count();
    assert_eq!(said(&rig.log()?), 1, "it is said once: {}", rig.log()?);
    drop(somebody);
    rig.gate.until(PATIENCE, |status| status.broker.as_ref().is_some_and(|broker| broker.listen == address)).await?;
    let monitor = Monitor::watch(address, "segel/#");
    monitor.until(PATIENCE, |seen| seen.iter().any(|m| m.topic.ends_with("/state/reader-gate-in"))).await?;
    rig.tag_passes(2).await?;
    monitor.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 1).await?;
    assert_eq!(said(&rig.log()?), 1);
    rig.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_and_exits_with_zero() -> Outcome {
    let (customs, mut rig) = gate_at_customs(3, "").await?;
    rig.open().await?;
    for number in 0..60 {
        rig.tag_passes(number).await?;
        rig.advertise(number as usize % 3)?;
    }
    // While the last of these are still on their way through the gate.
    rig.close().await?;
    let received = customs.received();
    assert_eq!(events(&received, "gateway-stopped").len(), 1);
    let state = received.iter().rfind(|m| m.topic.ends_with("/state/gateway")).map(|m| String::from_utf8_lossy(&m.payload).into_owned());
    assert!(state.as_ref().is_some_and(|state| state.contains("disconnected")), "{state:?}");
    assert_eq!((customs.disconnects(), customs.wills().len()), (1, 0), "it said goodbye");
    assert!(!rig.state_dir().join("journal.db-wal").exists(), "the journal was closed");
    Ledger::of(&received)?.balance(&rig.state_dir())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarm_overtakes_the_backlog_after_an_outage() -> Outcome {
    let customs = CustomsBroker::start().await?;
    let line = Line::to(customs.address()).await?;
    let mut rig = Rig::build(PROGRAM, &RigConfig { customs: Some(line.address()), seals: 1, more: String::new() })?;
    rig.open().await?;
    rig.advertise(0)?;
    customs.until(PATIENCE, |seen| !events(seen, "device-status").is_empty()).await?;
    rig.drain().await?;
    line.set(Weather::Cut);
    rig.gate.until(PATIENCE, |status| status.uplink.as_ref().is_some_and(|link| link.phase == "down")).await?;
    let mark = customs.received().len();
    for number in 0..500 {
        rig.tag_passes(number).await?;
        if number % 50 == 49 {
            rig.gate.until(PATIENCE, |status| recorded(status, Class::Telemetry) > u64::from(number)).await?;
        }
    }
    rig.seals[0].force_open();
    rig.advertise(0)?;
    let alarm_waits = |status: &Status| status.oldest_undelivered_alarm_s.is_some();
    let waiting = rig.gate.until(PATIENCE, alarm_waits).await?;
    assert!(pending(&waiting) > 500, "{waiting:?}");
    line.set(Weather::Fair);
    rig.drain().await?;
    let received = customs.received();
    let after: Vec<_> = received[mark..].iter().filter(|m| is_event(&m.topic)).map(|m| m.topic.as_str()).collect();
    assert!(after.len() > 500);
    assert_eq!(after[0], "segel/1/idsrg/g01/ev/forced-open", "{:?}", &after[..3]);
    rig.close().await?;
    Ledger::of(&customs.received())?.balance(&rig.state_dir())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_every_cursor_costs_only_duplicates_at_customs() -> Outcome {
    let (customs, mut rig) = gate_at_customs(2, "").await?;
    rig.open().await?;
    for number in 0..100 {
        rig.tag_passes(number).await?;
    }
    for seal in 0..2 {
        rig.advertise(seal)?;
        rig.seals[seal].turn();
        rig.advertise(seal)?;
    }
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 100 && events(seen, "unsealed").len() == 2).await?;
    rig.close().await?;
    let before = customs.received().iter().filter(|m| is_event(&m.topic)).count();
    let lost = rusqlite::Connection::open(rig.state_dir().join("journal.db"))?.execute("DELETE FROM cursor", [])?;
    assert_eq!(lost, 3, "one cursor for each class");

    rig.open().await?;
    rig.drain().await?;
    rig.close().await?;
    let ledger = Ledger::of(&customs.received())?;
    assert_eq!(ledger.repeats, before as u64, "all that was there came once more, and nothing else twice");
    let count = ledger.balance(&rig.state_dir())?;
    // the second start, the two readers' return and the second stop
    assert_eq!(count, before + 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seal_forced_open_while_the_gate_was_down_is_an_alarm_at_the_next_hearing() -> Outcome {
    let (customs, mut rig) = gate_at_customs(2, "").await?;
    rig.open().await?;
    for seal in 0..2 {
        rig.advertise(seal)?;
    }
    customs.until(PATIENCE, |seen| events(seen, "device-status").len() == 2).await?;
    rig.close().await?;
    rig.seals[0].force_open();
    for seal in [0, 1, 0, 1] {
        rig.advertise(seal)?;
    }
    rig.open().await?;
    for seal in [0, 1] {
        rig.advertise(seal)?;
    }
    customs.until(PATIENCE, |seen| !events(seen, "forced-open").is_empty()).await?;
    rig.close().await?;
    let received = customs.received();
    let forced = events(&received, "forced-open");
    assert_eq!(forced.len(), 1);
    assert_eq!((&forced[0]["subject"], &forced[0]["class"]), (&"seal/SGL-10000".into(), &"alarm".into()));
    assert_eq!(events(&received, "unsealed").len() + events(&received, "tampered").len(), 0);
    Ledger::of(&received)?.balance(&rig.state_dir())?;
    Ok(())
}

#[test]
fn bad_configuration_exits_with_twenty_and_names_every_fault() -> Outcome {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("segel.toml");
    let text = format!(
        "[gate]\nsite = \"IDSRG!\"\nid = \"g01\"\nstate_dir = \"{place}/state\"\nruntime_dir = \"{place}/run\"\n\
         [readers.gate-in]\nkind = \"uhf-reader\"\nport = \"/dev/null\"\nbuad = 57600\n\
         [thinning]\nheartbeat_s = \"often\"\n[uplink]\nurl = \"http://customs.example\"\nwindow = 0\n",
        place = dir.path().display()
    );
    fs::write(&config, text)?;
    for verb in ["run", "check"] {
        let refused = Command::new(PROGRAM).args([verb, "--config"]).arg(&config).output()?;
        let words = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert_eq!(refused.status.code(), Some(20), "{words}");
        for fault in ["gate.site", "readers.gate-in.buad", "readers.gate-in.lane", "thinning.heartbeat_s", "uplink.url", "uplink.window"] {
            assert!(words.contains(fault), "segel {verb} does not name {fault}:\n{words}");
        }
    }
    assert_nothing_was_made(dir.path());
    Ok(())
}

/// A gate that may not start leaves nothing behind.
fn assert_nothing_was_made(dir: &Path) {
    assert!(!dir.join("state").exists() && !dir.join("run").exists());
}

/// Whoever received the messages has no gate, no journal and no configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn received_documents_are_verified_where_there_is_no_gate() -> Outcome {
    let (customs, mut rig) = gate_at_customs(2, "").await?;
    rig.open().await?;
    for number in 0..5 {
        rig.tag_passes(number).await?;
    }
    rig.drain().await?;
    rig.close().await?;
    let mut lines: Vec<String> =
        customs.received().iter().filter(|m| is_event(&m.topic)).map(|m| String::from_utf8_lossy(&m.payload).into_owned()).collect();
    let elsewhere = tempfile::tempdir()?;
    let verify = |lines: &[String]| -> anyhow::Result<Option<i32>> {
        let file = elsewhere.path().join("received.jsonl");
        fs::write(&file, lines.join("\n"))?;
        let mut command = Command::new(PROGRAM);
        command.current_dir(&elsewhere).env_clear().args(["journal", "verify", "--received"]).arg(&file);
        Ok(command.output()?.status.code())
    };
    // In any order, and some twice.
    lines.reverse();
    lines.push(lines[0].clone());
    assert_eq!(verify(&lines)?, Some(0));
    lines.pop();
    // The first of them, for the last one is vouched for only by the next.
    let tag = lines.iter().rposition(|line| line.contains("TAG_SEEN")).expect("tags passed");
    lines[tag] = lines[tag].replace("\"presence\"", "\"evidence\"");
    assert_eq!(verify(&lines)?, Some(1), "a changed word breaks the chain");
    Ok(())
}
