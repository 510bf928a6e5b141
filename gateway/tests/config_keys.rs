//! Keys and passwords of seals: read from where they belong, refused where others see them, and never shown.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod config_bench;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use config_bench::{Folder, MINIMAL};
use segel::{
    cli::{check::Form, exit::Exit},
    config::{Config, RegisteredSeal},
};
use segel_drivers::ble::protocol::ProtocolName;

const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER: &str = "00112233445566778899aabbccddeeff";
const PASSWORD: &str = "h7739164q";

fn folder(keys: &str) -> Folder {
    let folder = Folder::with(&MINIMAL.replace("[uplink]", &format!("seals_file = \"seals.toml\"\nseal_keys = \"{keys}\"\n[uplink]")));
    folder.write(
        "seals.toml",
        "[[seal]]\nid = \"JT-1\"\naddress = \"A4:C1:38:0B:52:01\"\nprotocol = \"tt\"\ndevice_number = \"8000620011\"\n\
         [[seal]]\nid = \"JT-2\"\naddress = \"A4:C1:38:0B:52:02\"\n",
    );
    private(&folder, "seals.toml");
    folder
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn private(folder: &Folder, name: &str) {
    mode(&folder.path(name), 0o640);
}

fn secret(folder: &Folder, name: &str, text: &str) {
    folder.write(name, text);
    private(folder, name);
}

/// Both forms of the report, and what a developer prints: none of it shows a secret.
fn checked(folder: &Folder) -> (String, Exit) {
    let (text, exit) = folder.check(&folder.args(), Form::Text);
    let (json, same) = folder.check(&folder.args(), Form::Json);
    assert_eq!(exit, same);
    let debug = format!("{:?}", Config::load(&folder.args()));
    for shown in [&text, &json, &debug] {
        for secret in [KEY, OTHER, PASSWORD, "h773", "0f1e2d", "001122", "deadbeef"] {
            assert!(!shown.contains(secret), "a secret is shown:\n{shown}");
        }
        assert!(!shown.contains("104, 55, 55"), "a password is shown as bytes:\n{shown}");
    }
    (text, exit)
}

fn seals(folder: &Folder) -> Vec<RegisteredSeal> {
    checked(folder);
    Config::load(&folder.args()).unwrap_or_else(|faults| panic!("{faults}")).config.seals.iter().cloned().collect()
}

#[test]
fn a_file_of_keys_gives_each_seal_its_own() {
    let folder = folder("keys.toml");
    secret(&folder, "keys.toml", &format!("[JT-1]\nkey = \"{KEY}\"\npassword = \"{PASSWORD}\"\n[JT-2]\nkey = \"{OTHER}\"\n"));
    let seals = seals(&folder);
    assert_eq!(seals[0].protocol, ProtocolName::TtElock);
    assert_eq!(seals[0].credentials.device_number.as_deref(), Some("8000620011"));
    assert_eq!(seals[0].credentials.key, KEY.parse().ok());
    assert_eq!(seals[0].credentials.password, PASSWORD.parse().ok());
    assert_eq!((seals[1].protocol, &seals[1].credentials.key), (ProtocolName::Bthome, &OTHER.parse().ok()));
    let (text, _) = checked(&folder);
    assert!(text.contains("registered seals 2 (2 with a key or password)"), "{text}");
}

#[test]
fn a_directory_of_keys_has_a_file_per_seal_and_nothing_else_of_it_is_read() {
    let folder = folder("keys");
    secret(&folder, "keys/JT-1.toml", &format!("password = \"{PASSWORD}\"\n"));
    secret(&folder, "keys/real/JT-2", &format!("key = \"{OTHER}\"\n"));
    std::os::unix::fs::symlink("real/JT-2", folder.path("keys/JT-2.toml")).unwrap();
    for other in ["keys/JT-1.toml.bak", "keys/jt-1.toml", "keys/.JT-1.toml.swp", "keys/README"] {
        secret(&folder, other, "deadbeefdeadbeef is no TOML");
    }
    let seals = seals(&folder);
    assert_eq!(seals[0].credentials.password, PASSWORD.parse().ok());
    assert_eq!(seals[1].credentials.key, OTHER.parse().ok(), "a link inside the directory is followed");
    let (text, exit) = checked(&folder);
    assert_eq!(exit, Exit::Good, "{text}");
    for other in ["JT-1.toml.bak", "jt-1.toml", ".JT-1.toml.swp", "README", "keys/real"] {
        assert!(text.contains(other), "{other} is passed over in silence:\n{text}");
    }
}

#[test]
fn a_link_out_of_the_directory_is_not_followed() {
    let folder = folder("keys");
    secret(&folder, "elsewhere/JT-2.toml", &format!("key = \"{OTHER}\"\n"));
    fs::create_dir(folder.path("keys")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/JT-2.toml", folder.path("keys/JT-2.toml")).unwrap();
    assert_eq!(seals(&folder)[1].credentials.key, None);
    let (text, _) = checked(&folder);
    assert!(text.contains("leads out of the directory"), "{text}");
}

#[test]
fn keys_others_may_read_or_change_are_refused() {
    let folder = folder("keys");
    let file = folder.write("keys/JT-1.toml", format!("key = \"{KEY}\"\n"));
    for (bits, good) in [(0o600, true), (0o640, true), (0o660, false), (0o620, false), (0o644, false), (0o602, false)] {
        mode(&file, bits);
        assert_eq!(checked(&folder).1 == Exit::Good, good, "{bits:o}");
    }
    mode(&file, 0o600);
    mode(&folder.path("keys"), 0o770);
    let (text, exit) = checked(&folder);
    assert!(exit == Exit::Configuration && text.contains("its group may put keys"), "{text}");
    mode(&folder.path("keys"), 0o777);
    let (text, exit) = checked(&folder);
    assert!(exit == Exit::Configuration && text.contains("everybody on this computer may put keys"), "{text}");
}

#[test]
fn what_is_wrong_with_keys_is_said_without_the_keys() {
    let folder = folder("keys.toml");
    let wrong = format!(
        "[JT-1]\nkey = \"{KEY}00\"\npassword = \"{PASSWORD}!\"\nkye = \"{OTHER}\"\n\
         [jt-2]\nkey = \"{KEY}\"\n[JT-2]\npassword = {PASSWORD}\nkey = deadbeefdeadbeef\n{OTHER} = 1\n# {KEY}\n[{OTHER}]\n"
    );
    secret(&folder, "keys.toml", &wrong);
    let (text, exit) = checked(&folder);
    assert_eq!(exit, Exit::Configuration);
    for said in ["this is no key of a seal", "this is no password of a seal", "did you mean `key`?", "this is not the key of a seal"] {
        assert!(text.contains(said), "{said}:\n{text}");
    }
}

#[test]
fn a_key_given_twice_is_a_fault_and_one_for_a_seal_nobody_registered_a_warning() {
    let folder = folder("keys.toml");
    secret(&folder, "seals.toml", &format!("[[seal]]\nid = \"JT-1\"\naddress = \"A4:C1:38:0B:52:01\"\nkey = \"{KEY}\"\n"));
    secret(&folder, "keys.toml", &format!("[JT-1]\nkey = \"{OTHER}\"\n"));
    let (text, exit) = checked(&folder);
    assert!(exit == Exit::Configuration && text.contains("the key of JT-1 is given twice") && text.contains("first given here"), "{text}");
    secret(&folder, "keys.toml", &format!("[JT-1]\npassword = \"{PASSWORD}\"\n[JT-9]\nkey = \"{OTHER}\"\n[JT-1000]\n"));
    let (text, exit) = checked(&folder);
    assert_eq!(exit, Exit::Good, "{text}");
    assert!(
        text.contains("JT-9 is not in the register of seals") && text.contains("neither a key nor a password is given for JT-1000"),
        "{text}"
    );
    assert_eq!(seals(&folder)[0].credentials.key, KEY.parse().ok(), "the key of the register stands");
}

#[test]
fn a_password_in_the_register_is_refused_and_not_shown() {
    let folder = folder("keys.toml");
    secret(&folder, "keys.toml", "");
    secret(&folder, "seals.toml", &format!("[[seal]]\nid = \"JT-1\"\npassword = \"{PASSWORD}\"\n"));
    let (text, exit) = checked(&folder);
    assert!(exit == Exit::Configuration && text.contains("a password stands in no register"), "{text}");
}

#[test]
fn an_unknown_protocol_is_a_fault_with_a_suggestion() {
    let folder = folder("keys.toml");
    secret(&folder, "keys.toml", "");
    secret(
        &folder,
        "seals.toml",
        "[[seal]]\nid = \"JT-1\"\nprotocol = \"bthomr\"\n[[seal]]\nid = \"JT-2\"\nprotocol = \"zigbee\"\ndevice_number = \"8000-1\"\n",
    );
    let (text, exit) = checked(&folder);
    assert_eq!(exit, Exit::Configuration);
    assert!(
        text.contains("did you mean \"bthome\"?") && text.contains("\"nokelock\"") && text.contains("no number a seal calls itself by"),
        "{text}"
    );
}

#[test]
fn a_missing_key_is_told_for_every_protocol_that_needs_one_and_stops_nothing() {
    for protocol in ProtocolName::ALL {
        let folder = folder("keys.toml");
        secret(&folder, "keys.toml", "");
        secret(&folder, "seals.toml", &format!("[[seal]]\nid = \"JT-1\"\naddress = \"A4:C1:38:0B:52:01\"\nprotocol = \"{protocol}\"\n"));
        let (text, exit) = checked(&folder);
        assert_eq!(exit, Exit::Good, "{text}");
        let has_none = [ProtocolName::Bthome].contains(protocol);
        let acts = !protocol.protocol().actions().is_empty();
        assert!(!has_none || !text.contains("and has none"), "{text}");
        if *protocol == ProtocolName::Segel && acts {
            assert!(text.contains("a seal of protocol segel needs a key and has none"), "{text}");
        }
    }
}
