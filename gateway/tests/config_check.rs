//! What `segel check` prints, against expected text.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod config_bench;

use std::{fs, os::unix::fs::PermissionsExt};

use config_bench::{Folder, MINIMAL, matches_snapshot};
use segel::cli::{check::Form, exit::Exit};

const SECRETS: [&str; 6] =
    ["hunter2", "s3cr3t", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "00112233445566778899aabbccddeeff", "c2VjcmV0c2FsdA", "deadbeefdeadbeef"];

/// A folder with a fault of every kind, in every source.
fn everything_wrong() -> Folder {
    let folder = Folder::with(
        r#"[gate]
site = "IDSRG"
office_code = 60100
time_zone = "Asia/Jakata"
seals_file = "seals.toml"

[journal]
group_events = 64.5
group_wait_ms = "50"

[readers.gate-in-1]
kind = "uhf-reader"
prot = "/dev/ttyUSB0"
port = "/dev/serial/by-id/a"
dialect = 288
baud = 57601
lane = "in-1"

[readers.gate-in-2]
kind = "uhf-reader"
port = "/dev/serial/by-id/a"
lane = "in-2"
adapter = "hci1"

[readers.Yard]
kind = "ble"

[readers.yard]
lane = "in-1"

[uplinq]
window = 5

[broker]
listen = "0.0.0.0:1883"
tls_cert_file = "/etc/segel/broker.pem"

[broker.users]
monitor = "hunter2"

[uplink]
url = "mqtt://skp.example.id"
password = "s3cr3t"
window = 88.9
keep_alive_s = 99999999999999999999
backoff_first_ms = 5000
backoff_cap_s = 2
level = "info"
username = true
"#,
    );
    folder.write(
        "segel.d/10-site.toml",
        "[gate]\ntps_code = \"koja\"\nid = \"g01\n[log]\nlevel = loud\nformat = \"xml\"\n[clock\nholdover_h = 5\n",
    );
    folder.write(
        "segel.d/20-more.toml",
        "[log]\nlevel = \"info\"\nlevel = \"warn\"\n[thinning]\nheartbeat = 60\nlost_after_s = 0\nreopen = 1\n[uplink]\nurl = \"mqtts://gate:s3cr3t@host\"\n",
    );
    folder.write("segel.d/30-latin.toml", b"[log]\n# caf\xe9\n");
    folder.write("segel.d/ignored.toml.dpkg-dist", "garbage [");
    folder.write("segel.d/.hidden.toml", "garbage [");
    let seals = folder.write(
        "seals.toml",
        r#"[[seal]]
id = "JT-8000620011"
address = "A4:C1:38:0B:52:01"
key = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
epc = "E28011700000020D4C4E0A11"
container = "CSQU3054384"

[[seal]]
id = "JT-8000620011"
address = "a4:c1:38:0b:52:01"
kye = "00112233445566778899aabbccddeeff"
epc = "e28011700000020d4c4e0a11"

[[seal]]
id = "jt-1"
key = "deadbeefdeadbeef"

[[seal]]
address = "A4:C1:38:0B:52"
container = "CSQU 3054383"
key "00112233445566778899aabbccddeeff"
"#,
    );
    fs::set_permissions(&seals, fs::Permissions::from_mode(0o644)).unwrap();
    folder
}

#[test]
fn every_fault_is_reported_at_once_with_file_line_key_value_and_remedy() {
    let folder = everything_wrong();
    let args = folder
        .args()
        .with_variable("SEGEL_UPLINK__WINDO", "5")
        .with_variable("SEGEL_UPLINK_URL", "mqtts://user:s3cr3t@host")
        .with_variable("SEGEL_UPLINK__CONNECT_TIMEOUT_S", "soon")
        .with_variable("SEGEL_UPLINK__CLIENT_ID", "")
        .with_variable("SEGEL_UPLINK__PASSWORD_FILE", "hunter2")
        .with_variable("SEGEL_BROKER__USERS__AUDIT", "hunter2")
        .with_variable("SEGEL_NONSENSE", "s3cr3t");
    let (text, exit) = folder.check(&args, Form::Text);
    assert_eq!(exit, Exit::Configuration);
    for secret in SECRETS {
        assert!(!text.contains(secret), "a secret is shown:\n{text}");
    }
    matches_snapshot("every_fault.txt", &text);

    let (json, exit) = folder.check(&args, Form::Json);
    assert_eq!(exit, Exit::Configuration);
    for secret in SECRETS {
        assert!(!json.contains(secret), "a secret is shown:\n{json}");
    }
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let faults = document["faults"].as_array().unwrap();
    assert_eq!(text.matches("error: ").count(), faults.len(), "both forms say the same");
    for fault in faults {
        assert!(fault["file"].is_string() || fault["environment"].is_string(), "no place: {fault}");
        assert!(!fault["problem"].as_str().unwrap().is_empty() && !fault["remedy"].as_str().unwrap().is_empty(), "{fault}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_reported_with_both_places() {
    let folder = Folder::with(
        r#"[gate]
site = "idsrg"

[reopen]
first_ms = 5000
cap_s = 1

[readers.a]
kind = "ble"
lane = "in-1"

[readers.b]
kind = "ble"
lane = "in-2"
port = "/dev/ttyS0"

[readers.c]
kind = "uhf-reader"
port = "/dev/ttyUSB0"
poll_interval_ms = 100
lane = "in-3"

[readers.d]
kind = "simulated-air"
lane = "in-4"

[readers.e]
lane = "in-5"

[broker]
listen = "0.0.0.0:1883"
tls_key_file = "/nowhere/key.pem"

[uplink]
url = "mqtt://127.0.0.1:1883"
cert_file = "/nowhere/uplink.pem"
password_file = "/nowhere/password"

[journal]
archive_removable = true
"#,
    );
    let (text, exit) = folder.check(&folder.args(), Form::Text);
    assert_eq!(exit, Exit::Configuration);
    matches_snapshot("contradictions.txt", &text);
}

#[test]
fn a_good_configuration_shows_every_limit_in_force_with_its_origin_and_reason() {
    let folder = Folder::with(MINIMAL);
    folder.write(
        "segel.d/10.toml",
        "[readers.in-1]\nkind = \"simulated-air\"\nsocket = \"/run/segel/air\"\nlane = \"in-1\"\n[uplink]\nwindow = 20\n",
    );
    let args = folder.args().with_variable("SEGEL_THINNING__HEARTBEAT_S", "30");
    let (text, exit) = folder.check(&args, Form::Text);
    assert_eq!(exit, Exit::Good, "{text}");
    matches_snapshot("good.txt", &text);
    let (json, exit) = folder.check(&args, Form::Json);
    assert_eq!(exit, Exit::Good);
    matches_snapshot("good.json", &json);
}

#[test]
fn keys_of_seals_in_a_file_everybody_may_read_are_refused_and_in_a_private_one_accepted() {
    let folder = Folder::with(&MINIMAL.replace("[uplink]", "seals_file = \"seals.toml\"\n[uplink]"));
    let seals = folder
        .write("seals.toml", "[[seal]]\nid = \"JT-1\"\naddress = \"A4:C1:38:0B:52:01\"\nkey = \"0f1e2d3c4b5a69788796a5b4c3d2e1f0\"\n");
    for (mode, good) in [(0o600, true), (0o640, true), (0o660, false), (0o644, false), (0o602, false)] {
        fs::set_permissions(&seals, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = segel::config::Config::load(&folder.args());
        assert_eq!(loaded.is_ok(), good, "{mode:o}: {loaded:?}");
        assert!(!format!("{loaded:?}").contains("0f1e2d3c"), "Debug shows a key");
    }
}

#[test]
fn waits_that_make_connections_to_seals_useless_are_refused_or_warned_of() {
    let said = |sessions: &str| {
        let folder = Folder::with(&format!("{MINIMAL}\n[sessions]\n{sessions}\n"));
        folder.check(&folder.args(), Form::Text)
    };
    for refused in ["read_back_s = 14", "heard_within_s = 4"] {
        assert_eq!(said(refused).1, Exit::Configuration, "{refused}");
    }
    for (sessions, warning) in [
        ("heard_within_s = 11", "they tell of it only every 11 s"),
        ("connect_timeout_s = 61", "an order has 120 s"),
        ("call_timeout_s = 21", "they do not fit into 60 s"),
        ("read_back_s = 15\ncall_timeout_s = 6", "they do not fit into 15 s"),
    ] {
        let (text, exit) = said(sessions);
        assert!(exit == Exit::Good && text.contains(warning), "{sessions}:\n{text}");
    }
    let (text, _) = said("heard_within_s = 12\nconnect_timeout_s = 60\ncall_timeout_s = 20\nread_back_s = 60");
    assert!(!text.contains("sessions.heard_within_s`") && !text.contains("do not fit") && !text.contains("an order has"), "{text}");
}
