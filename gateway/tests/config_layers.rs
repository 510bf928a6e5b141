//! What overrides what: defaults, main file, drop-ins by name, environment.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod config_bench;

use std::time::Duration;

use config_bench::{Folder, MINIMAL};
use segel::config::{Config, LoadArgs, Loaded, Origin, ReadMode, Reader};

fn load(args: &LoadArgs) -> Loaded {
    Config::load(args).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn later_layers_win_key_by_key_and_the_origin_says_which() {
    let folder = Folder::with(&(MINIMAL.to_owned() + "window = 11\nkeep_alive_s = 11\nconnect_timeout_s = 11\nbackoff_cap_s = 11\n"));
    // Written out of order, read in the order of their names.
    let second = folder.write("segel.d/20-b.toml", "[uplink]\nwindow = 33\nkeep_alive_s = 33\n");
    let first = folder.write("segel.d/10-a.toml", "[uplink]\nwindow = 22\nkeep_alive_s = 22\nconnect_timeout_s = 22\n");
    let loaded = load(&folder.args().with_variable("SEGEL_UPLINK__WINDOW", "44").with_variable("PATH", "x").with_variable("SEGELX", "y"));
    let uplink = &loaded.config.uplink;
    assert_eq!(uplink.window, 44);
    assert_eq!(uplink.keep_alive, Duration::from_secs(33));
    assert_eq!(uplink.connect_timeout, Duration::from_secs(22));
    assert_eq!(uplink.backoff_cap, Duration::from_secs(11));
    assert_eq!(uplink.stable_after, Duration::from_secs(30));
    let origin = |key: &str| loaded.origins.get(key).unwrap().origin.clone();
    let file = |path: std::path::PathBuf, line| Origin::File { file: path.display().to_string(), line };
    assert_eq!(origin("uplink.window"), Origin::Environment { variable: "SEGEL_UPLINK__WINDOW".into() });
    assert_eq!(origin("uplink.keep_alive_s"), file(second, 3));
    assert_eq!(origin("uplink.connect_timeout_s"), file(first, 4));
    assert_eq!(origin("uplink.backoff_cap_s"), file(folder.path("segel.toml"), 9));
    assert_eq!(origin("uplink.stable_after_s"), Origin::Default);
    for (key, at) in loaded.origins.iter().filter(|(key, _)| key.starts_with("uplink.")) {
        assert!(!at.value.is_empty() && !at.reason.is_empty(), "{key}");
    }
}

#[test]
fn a_drop_in_adds_a_radio_and_changes_one_key_of_another() {
    let folder =
        Folder::with(&(MINIMAL.to_owned() + "[readers.a]\nkind = \"uhf-reader\"\nport = \"/dev/serial/by-id/a\"\nlane = \"in-1\"\n"));
    folder.write("segel.d/10.toml", "[readers.a]\nmode = \"poll\"\n[readers.b]\nkind = \"ble\"\nlane = \"out-1\"\n");
    let loaded = load(&folder.args().with_variable("SEGEL_READERS__A__BAUD", "9600"));
    let readers = &loaded.config.readers;
    let Reader::UhfReader(a) = &readers[&"a".parse().unwrap()] else { panic!("{readers:?}") };
    assert_eq!((a.mode, a.baud, a.lane.as_str(), a.address), (ReadMode::Poll, 9600, "in-1", 255));
    let Reader::Ble(b) = &readers[&"b".parse().unwrap()] else { panic!("{readers:?}") };
    assert_eq!((b.adapter.as_str(), b.lane.as_str()), ("hci0", "out-1"));
}

#[test]
fn the_environment_reaches_radios_with_dashes_and_keeps_text_text() {
    let folder = Folder::with(MINIMAL);
    let args = folder
        .args()
        .with_variable("SEGEL_READERS__GATE_IN_1__KIND", "ble")
        .with_variable("SEGEL_READERS__GATE_IN_1__LANE", "1")
        .with_variable("SEGEL_GATE__OFFICE_CODE", "060100")
        .with_variable("SEGEL_UPLINK__ENABLED", "false")
        .with_variable("SEGEL_BROKER__USERS__MONITOR", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA");
    let config = load(&args).config;
    assert_eq!(config.readers[&"gate-in-1".parse().unwrap()].lane().as_str(), "1");
    assert_eq!(config.gate.office_code.unwrap().as_str(), "060100", "a leading zero is not lost");
    assert!(!config.uplink.enabled);
    assert_eq!(config.broker.users.len(), 1);
}

#[test]
fn a_gate_that_reports_to_nobody_needs_no_url() {
    let folder = Folder::with("[gate]\nsite = \"idsrg\"\nid = \"g01\"\n[uplink]\nenabled = false\n");
    let loaded = load(&folder.args());
    assert_eq!(loaded.config.uplink.url, None);
    assert_eq!(loaded.config.gate.state_dir.to_str(), Some("/var/lib/segel"));
    assert_eq!(loaded.warnings.len(), 1, "only that there is no radio: {:?}", loaded.warnings);
}

#[test]
fn a_number_with_a_fraction_is_refused_and_never_rounded() {
    for (text, variable) in [("88.9", ""), ("88.0", ""), ("\"88\"", ""), ("88", "88.9"), ("88", " 88")] {
        let folder = Folder::with(&(MINIMAL.to_owned() + "window = " + text + "\n"));
        let args = if variable.is_empty() { folder.args() } else { folder.args().with_variable("SEGEL_UPLINK__WINDOW", variable) };
        let faults = Config::load(&args).unwrap_err();
        assert_eq!(faults.faults.len(), 1, "{faults}");
        assert_eq!(faults.faults[0].dotted_key(), Some("uplink.window"));
    }
}
