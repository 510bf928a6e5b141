//! The gate and the programs others will put beside it: mosquitto at customs, mosquitto's clients and Paho as monitors.

mod client;

use std::{
    io::Write,
    process::{Command, ExitCode, Stdio},
};

use client::Client;
use libtest_mimic::Arguments;
use segel::event::Class;
use segel_hardware_tests::{
    ledger::{Ledger, events},
    mosquitto::{Mosquitto, Subscriber},
    peers::{Peer, on_runtime, trial},
    rig::{PATIENCE, Rig, RigConfig, recorded},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Where the gate takes commands.
const COMMANDS: &str = "segel/1/idsrg/g01/cmd/unlock";
/// What the log says of a command that is not answered a second time.
const CAME_AGAIN: &str = "a command came again; it has been answered";

fn main() -> ExitCode {
    use Peer::{Cryptography, Mosquitto, MosquittoPub, MosquittoSub, Paho};
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("mosquitto_sub_hears_retained_state_and_live_events", &[MosquittoSub], || {
            on_runtime(mosquitto_sub_hears_retained_state_and_live_events())
        }),
        trial("mosquitto_sub_with_a_password", &[MosquittoSub], || on_runtime(mosquitto_sub_with_a_password())),
        trial("paho_client_subscribes_and_its_publish_reaches_nobody", &[Paho], || {
            on_runtime(paho_client_subscribes_and_its_publish_reaches_nobody())
        }),
        trial("mosquitto_takes_every_event_and_answers_commands", &[Mosquitto, MosquittoPub], || {
            on_runtime(mosquitto_takes_every_event_and_answers_commands())
        }),
        trial("a_seal_built_from_the_document_alone_agrees_with_every_example_of_it", &[Cryptography], || {
            Ok(a_seal_built_from_the_document_alone_agrees_with_every_example_of_it()?)
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Another language, another library, another reader of docs/seal-protocol.md: the same bytes.
fn a_seal_built_from_the_document_alone_agrees_with_every_example_of_it() -> anyhow::Result<()> {
    let python = Peer::Cryptography.find().ok_or_else(|| anyhow::anyhow!(Peer::Cryptography.remedy()))?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/check_seal_protocol_vectors.py");
    let checked = std::process::Command::new(python).arg(script).output()?;
    let said = String::from_utf8_lossy(&checked.stdout);
    anyhow::ensure!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    Ok(())
}

async fn mosquitto_sub_hears_retained_state_and_live_events() -> anyhow::Result<()> {
    let mut rig = Rig::build(PROGRAM, &RigConfig { seals: 1, ..RigConfig::default() })?;
    rig.open().await?;
    rig.advertise(0)?;
    let state = rig.seals[0].state_topic();
    rig.monitor().await?.until(PATIENCE, |seen| seen.iter().any(|m| m.topic == state)).await?;

    let mut late = mosquitto_sub(&rig).await?;
    let kept = late.line(|line| line.starts_with(&format!("1 {state} "))).await?;
    let kept: Value = serde_json::from_str(payload(&kept))?;
    anyhow::ensure!(kept["seal"] == "SGL-10000" && kept["lock"] == "locked", "{kept}");
    late.line(|line| line.starts_with("1 segel/1/idsrg/g01/state/reader-gate-in ")).await?;
    late.line(|line| line.starts_with("1 segel/1/idsrg/g01/state/gateway ")).await?;

    rig.seals[0].turn();
    rig.advertise(0)?;
    let live = late.line(|line| line.starts_with("0 segel/1/idsrg/g01/ev/unsealed ")).await?;
    let live: Value = serde_json::from_str(payload(&live))?;
    anyhow::ensure!(live["subject"] == "seal/SGL-10000" && live["class"] == "alarm", "{live}");
    let opened = late.line(|line| line.starts_with(&format!("0 {state} ")) && line.contains("unlocked")).await?;
    rig.close().await?;
    late.line(|line| line.starts_with("0 segel/1/idsrg/g01/ev/gateway-stopped ")).await?;
    late.line(|line| line.starts_with("0 segel/1/idsrg/g01/state/gateway ") && line.contains("disconnected")).await?;
    drop(late);

    // Retained state lives in memory only; after a restart it can have come from the journal alone: no seal speaks now.
    rig.open().await?;
    let mut later = mosquitto_sub(&rig).await?;
    let again = later.line(|line| line.starts_with(&format!("1 {state} "))).await?;
    anyhow::ensure!(payload(&again) == payload(&opened), "before the restart {opened}, after it {again}");
    rig.close().await
}

/// A line of what `-F '%r %t %p'` prints, from the payload on.
fn payload(line: &str) -> &str {
    line.splitn(3, ' ').nth(2).unwrap_or_default()
}

async fn mosquitto_sub(rig: &Rig) -> anyhow::Result<Client> {
    let port = rig.broker().await?.port().to_string();
    Client::start("mosquitto_sub", &["-h", "127.0.0.1", "-p", &port, "-t", "segel/1/#", "-q", "1", "-F", "%r %t %p"])
}

async fn mosquitto_sub_with_a_password() -> anyhow::Result<()> {
    let mut rig = Rig::build(PROGRAM, &RigConfig::default())?;
    let mut hashing = Command::new(PROGRAM).args(["passwd", "monitor"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    hashing.stdin.take().expect("it is piped").write_all(b"open sesame\n")?;
    let hashed = hashing.wait_with_output()?;
    anyhow::ensure!(hashed.status.success(), "segel passwd: {}", hashed.status);
    rig.configure(&format!("[broker.users]\n{}", String::from_utf8(hashed.stdout)?))?;
    rig.open().await?;
    let port = rig.broker().await?.port().to_string();
    let ask = |who: &[&str]| {
        let mut command = Command::new("mosquitto_sub");
        command.args(["-h", "127.0.0.1", "-p", &port, "-t", "segel/1/idsrg/g01/state/gateway", "-C", "1", "-W", "20"]).args(who);
        command.output()
    };
    let told = ask(&["-u", "monitor", "-P", "open sesame"])?;
    let state: Value = serde_json::from_slice(&told.stdout)?;
    anyhow::ensure!(told.status.success() && state["status"] == "ready", "{told:?}");
    for who in [&["-u", "monitor", "-P", "open barley"][..], &["-u", "nobody", "-P", "open sesame"], &[]] {
        let refused = ask(who)?;
        let words = String::from_utf8_lossy(&refused.stderr);
        anyhow::ensure!(!refused.status.success() && refused.stdout.is_empty(), "{who:?} was told: {refused:?}");
        anyhow::ensure!(words.contains("Connection Refused") || words.contains("Connection error"), "{who:?}: {words}");
        anyhow::ensure!(words.contains("not authorised") || words.contains("bad user name or password"), "{who:?}: {words}");
    }
    let status = rig.gate.status().await?;
    anyhow::ensure!(status.broker.as_ref().is_some_and(|broker| broker.refused == 3), "{status:?}");
    anyhow::ensure!(!rig.log()?.contains("open sesame"), "the password is in the log");
    rig.close().await
}

async fn paho_client_subscribes_and_its_publish_reaches_nobody() -> anyhow::Result<()> {
    let mut rig = Rig::build(PROGRAM, &RigConfig { seals: 1, ..RigConfig::default() })?;
    rig.open().await?;
    let witness = rig.monitor().await?;
    rig.advertise(0)?;
    let state = rig.seals[0].state_topic();
    witness.until(PATIENCE, |seen| seen.iter().any(|m| m.topic == state)).await?;

    let port = rig.broker().await?.port().to_string();
    let python = Peer::Paho.find().ok_or_else(|| anyhow::anyhow!(Peer::Paho.remedy()))?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho_monitor.py");
    let mut paho = Client::start(&python, &[script, "127.0.0.1", &port, "segel/1/#"])?;
    paho.line(|line| line == r#"{"said": "connected", "code": 0}"#).await?;
    paho.line(|line| line == r#"{"said": "subscribed", "granted": [1]}"#).await?;
    let said = |line: &str, what: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["said"] == what);
    let message = |line: &str, topic: &str, retain: bool| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["said"] == "message" && line["topic"] == topic && line["retain"] == retain
    };
    paho.line(|line| message(line, &state, true)).await?;
    rig.seals[0].turn();
    rig.advertise(0)?;
    paho.line(|line| message(line, "segel/1/idsrg/g01/ev/unsealed", false)).await?;

    let forged = "segel/1/idsrg/g01/ev/forged";
    paho.say(&format!("{forged} {{\"lock\":\"unlocked\"}}")).await?;
    paho.line(|line| said(line, "disconnected")).await?;
    rig.gate.until(PATIENCE, |status| status.broker.as_ref().is_some_and(|broker| broker.expelled == 1)).await?;
    // What was published before this event would have been shown before it.
    rig.seals[0].turn();
    rig.advertise(0)?;
    witness.until(PATIENCE, |seen| !events(seen, "sealed").is_empty()).await?;
    anyhow::ensure!(witness.received().iter().all(|m| m.topic != forged), "what a monitor published reached another");
    paho.end().await?;
    rig.close().await
}

async fn mosquitto_takes_every_event_and_answers_commands() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let broker = Mosquitto::start(dir.path())?;
    let customs = Subscriber::to(broker.address(), "segel/#").await?;
    let mut rig = Rig::build(PROGRAM, &RigConfig { customs: Some(broker.address()), seals: 3, ..RigConfig::default() })?;

    // A command somebody left on the broker before this gate was ever there.
    send(&broker, r#"{"id":"cmd-old","seal":"SGL-10000"}"#, &["-r"])?;
    rig.open().await?;
    refused(&customs, "cmd-old", "retained").await?;
    send(&broker, "", &["-r"])?;
    for number in 0..20 {
        rig.tag_passes(number).await?;
    }
    for seal in 0..rig.seals.len() {
        rig.advertise(seal)?;
        rig.seals[seal].turn();
        rig.advertise(seal)?;
    }
    customs.until(PATIENCE, |seen| events(seen, "tag-seen").len() == 20 && events(seen, "unsealed").len() == 3).await?;

    send(&broker, r#"{"id":"cmd-1","seal":"SGL-10001"}"#, &[])?;
    refused(&customs, "cmd-1", "not_supported").await?;
    send(&broker, r#"{"id":"cmd-1","seal":"SGL-10001"}"#, &[])?;
    rig.until_logged(CAME_AGAIN, 1).await?;
    send(&broker, "open it, please", &[])?;
    customs.until(PATIENCE, |seen| refusals(seen, "malformed") >= 1).await?;

    rig.drain().await?;
    rig.close().await?;
    // While the gate is down the broker keeps these for it.
    send(&broker, r#"{"id":"cmd-1","seal":"SGL-10001"}"#, &[])?;
    send(&broker, r#"{"id":"cmd-2","seal":"SGL-10001"}"#, &[])?;
    rig.open().await?;
    rig.until_logged(CAME_AGAIN, 2).await?;
    refused(&customs, "cmd-2", "not_supported").await?;
    let status = rig.drain().await?;
    rig.close().await?;
    customs.until(PATIENCE, |seen| events(seen, "gateway-stopped").len() == 2).await?;

    let received = customs.received();
    for id in ["cmd-old", "cmd-1", "cmd-2"] {
        let of = |kind| events(&received, kind).iter().filter(|event| event["data"]["commandId"] == id).count();
        let counts = (of("command-received"), of("command-refused"));
        anyhow::ensure!(counts == (1, 1), "{id} was recorded {} times and answered {} times", counts.0, counts.1);
    }
    let count = Ledger::of(&received)?.balance(&rig.state_dir())?;
    anyhow::ensure!(recorded(&status, Class::Telemetry) >= 20 && count > 30, "{count} events");
    Ok(())
}

/// Customs sends a command.
fn send(broker: &Mosquitto, command: &str, more: &[&str]) -> anyhow::Result<()> {
    let port = broker.address().port().to_string();
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", COMMANDS]).args(more);
    if command.is_empty() {
        publish.arg("-n")
    } else {
        publish.args(["-m", command])
    };
    let sent = publish.output()?;
    anyhow::ensure!(sent.status.success(), "mosquitto_pub: {sent:?}");
    Ok(())
}

/// Waits for the receipt that says why this command was refused.
async fn refused(customs: &Subscriber, id: &str, code: &str) -> anyhow::Result<()> {
    let receipt =
        |event: &Value| event["data"]["commandId"] == id && event["class"] == "receipt" && event["subject"] == format!("command/{id}");
    let is_there = |code: &str, event: &Value| receipt(event) && event["data"]["code"] == code && event["data"]["status"] == "refused";
    let waited = customs.until(PATIENCE, |seen| events(seen, "command-refused").iter().any(|event| is_there(code, event))).await;
    waited.map_err(|fault| {
        let receipts = events(&customs.received(), "command-refused");
        fault.context(format!("no receipt refuses {id} as {code}; there are {receipts:?}"))
    })
}

fn refusals(seen: &[segel_mqtt_bridge::sim::Received], code: &str) -> usize {
    events(seen, "command-refused").iter().filter(|event| event["data"]["code"] == code).count()
}
