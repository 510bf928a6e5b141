//! Whatever is given as a configuration: an answer, in bounded time and memory, and never a panic.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod config_bench;

use std::{fs, os::unix::fs::PermissionsExt};

use config_bench::{Folder, MINIMAL};
use proptest::prelude::*;
use segel::config::{Config, FAULTS_MAX, Faults, LoadArgs};

fn refused(args: &LoadArgs) -> Faults {
    let faults = Config::load(args).unwrap_err();
    assert!(!faults.faults.is_empty() && faults.faults.len() <= FAULTS_MAX);
    faults
}

/// The one fault of a main file that cannot be read.
fn only(args: &LoadArgs) -> String {
    let faults = refused(args);
    assert_eq!(faults.faults.len(), 1, "{faults}");
    assert!(faults.to_string().contains(args.file.to_str().unwrap()), "{faults}");
    faults.faults[0].problem().to_owned()
}

#[test]
fn a_file_that_is_too_big_is_named_and_not_read() {
    let folder = Folder::with("");
    // Sparse: a gigabyte that takes no room.
    fs::File::create(folder.path("segel.toml")).unwrap().set_len(1 << 30).unwrap();
    assert!(only(&folder.args()).contains("1073741824 bytes"));
}

#[test]
fn what_is_no_readable_text_file_gets_a_clear_fault() {
    let folder = Folder::with("");
    assert!(only(&LoadArgs::of_file(folder.path("nothing.toml"))).contains("not there"));
    fs::create_dir(folder.path("folder.toml")).unwrap();
    assert!(only(&LoadArgs::of_file(folder.path("folder.toml"))).contains("directory"));
    assert!(only(&LoadArgs::of_file("/dev/zero")).contains("no regular file"));
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("pipe.toml"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert!(only(&LoadArgs::of_file(folder.path("pipe.toml"))).contains("no regular file"), "a pipe nobody writes to must not block");
    folder.write("latin.toml", b"[gate]\nsite = \"\xff\"\n");
    assert!(only(&LoadArgs::of_file(folder.path("latin.toml"))).contains("line 2"));
}

#[test]
fn a_file_without_the_right_to_read_it_says_so() {
    let folder = Folder::with(MINIMAL);
    let path = folder.path("segel.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        // The superuser may read everything; nothing can be shown here.
        return;
    }
    assert!(only(&folder.args()).contains("may not be read"));
}

#[test]
fn a_drop_in_folder_that_is_a_file_and_a_drop_in_that_is_a_folder_are_faults() {
    let folder = Folder::with(MINIMAL);
    folder.write("segel.d", "");
    assert!(refused(&folder.args()).to_string().contains("segel.d"));
    fs::remove_file(folder.path("segel.d")).unwrap();
    fs::create_dir_all(folder.path("segel.d/10.toml")).unwrap();
    assert!(refused(&folder.args()).to_string().contains("directory"));
}

#[test]
fn ten_thousand_faults_are_counted_and_the_first_are_shown() {
    for line in ["= 1\n", "[gate\n", "x = 1979-13-01\n", "[[a]]\n", "\"\"\"\n"] {
        let folder = Folder::with(&line.repeat(10_000));
        refused(&folder.args());
    }
    let mut text = MINIMAL.to_owned();
    for number in 0..10_000 {
        text += &format!("nothing{number} = 1\n");
    }
    let faults = refused(&Folder::with(&text).args());
    assert_eq!(faults.faults.len() + faults.more, 10_000);
    assert!(faults.to_string().ends_with("the configuration has 10000 faults; the first 200 are shown"));
}

#[test]
fn a_long_register_of_garbage_gets_an_answer_and_its_first_faults() {
    let folder = Folder::with(&MINIMAL.replace("[uplink]", "seals_file = \"seals.toml\"\n[uplink]"));
    folder.write("seals.toml", "= \n".repeat(2_500_000));
    let faults = refused(&folder.args());
    assert!(faults.faults.len() > 1 && faults.faults[0].position().line == Some(1), "{faults}");
}

#[test]
fn a_register_that_is_named_and_not_there_is_a_fault() {
    let folder = Folder::with(&MINIMAL.replace("[uplink]", "seals_file = \"seals.toml\"\n[uplink]"));
    let faults = refused(&folder.args());
    assert_eq!((faults.faults.len(), faults.faults[0].dotted_key()), (1, Some("gate.seals_file")), "{faults}");
}

#[test]
fn lines_that_end_as_on_windows_are_read_and_pointed_at() {
    let folder = Folder::with(&(MINIMAL.to_owned() + "window = 1.5\n").replace('\n', "\r\n"));
    let faults = refused(&folder.args());
    assert_eq!((faults.faults.len(), faults.faults[0].position().line), (1, Some(6)), "{faults}");
}

#[test]
fn deep_nesting_and_endless_lines_are_refused() {
    for text in [
        format!("a = {}", "[".repeat(500_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[gate]\nsite = \"{}\"", "a".repeat(900_000)),
    ] {
        let faults = refused(&Folder::with(&text).args());
        assert!(faults.to_string().len() < 20_000);
    }
}

/// Pieces that make nearly good configurations.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "[gate]\n",
            "[uplink]\n",
            "[broker.users]\n",
            "[readers.a]\n",
            "[[seal]]\n",
            "[",
            "]",
            "\"",
            "'''",
            "\"\"\"",
            "\n",
            "\r\n",
            "=",
            ".",
            "{",
            "}",
            ",",
            "site = \"idsrg\"\n",
            "id = 1\n",
            "kind = \"ble\"\n",
            "window = 1e3\n",
            "window = 0x10\n",
            "url = \"mqtts://a@b\"\n",
            "monitor = \"x\"\n",
            "port = []\n",
            "key = \"00\"\n",
            "users = {a = 1}\n",
            "id = \"JT-1\"\n",
            "\u{feff}",
            "\u{e9}",
            "\u{1f512}",
            "\0",
            "\t",
            "#",
            "1979-05-27",
            "inf",
            "nan",
            "-0",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_whatever_makes_loading_or_rendering_panic(main in prop::collection::vec(piece(), 0..24), seals in prop::collection::vec(piece(), 0..24), value in any::<String>()) {
        let folder = Folder::with(&(MINIMAL.to_owned() + "\n" + &main.concat()));
        folder.write("segel.d/10.toml", main.concat());
        folder.write("segel.d/20.toml", "[gate]\nseals_file = \"seals.toml\"\n");
        folder.write("seals.toml", seals.concat());
        let value = value.replace('\0', "");
        let args = folder.args().with_variable("SEGEL_UPLINK__URL", &value).with_variable(&format!("SEGEL_{value}"), &value);
        if let Err(faults) = Config::load(&args) {
            prop_assert!(faults.to_string().contains("fault"));
            prop_assert!(serde_json::to_string(&faults).is_ok());
        }
    }

    #[test]
    fn no_bytes_whatever_make_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = Folder::with(MINIMAL);
        folder.write("segel.d/10.toml", &bytes);
        if let Err(faults) = Config::load(&folder.args()) {
            prop_assert!(!faults.to_string().is_empty());
        }
    }

    #[test]
    fn a_key_of_a_seal_is_never_shown_wherever_it_stands(before in prop::collection::vec(piece(), 0..6), form in 0..8usize, after in prop::collection::vec(piece(), 0..6)) {
        let secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        let line = ["key = \"S\"", "key \"S\"", "key = S", "kye = \"S\"", "key = \"\"\"\nS\"\"\"", "id = \"JT-1\" key = \"S\"", "\"key\" = \"S", "seal = [{key = \"S\"}]"][form].replace('S', secret);
        let folder = Folder::with(&MINIMAL.replace("[uplink]", "seals_file = \"seals.toml\"\n[uplink]"));
        folder.write("seals.toml", format!("[[seal]]\n{}\n{line}\n{}", before.concat(), after.concat()));
        if let Err(faults) = Config::load(&folder.args()) {
            prop_assert!(!faults.to_string().contains(&secret[..8]), "{}", faults);
            prop_assert!(!serde_json::to_string(&faults).unwrap().contains(&secret[..8]));
        }
    }

    #[test]
    fn a_password_in_the_configuration_is_never_shown_wherever_it_stands(before in prop::collection::vec(piece(), 0..6), form in 0..10usize, after in prop::collection::vec(piece(), 0..6)) {
        let secret = "Tr0ub4dor-and-3";
        let line = [
            "[broker.users]\nmonitor = \"S\"", "[broker.users]\nmonitor \"S\"", "[broker.users]\nmonitor = \"\"\"\nS\"\"\"", "[broker.users]\n[x = \"S\"", "[broker]\nusers = {a = \"S\"}",
            "broker.users.monitor = 'S'", "[uplink]\npassword = \"S\"", "[uplink]\nPassWord \"S\"", "[uplink]\nurl = \"mqtts://gate:S@host\"", "[uplink]\npassword_file = \"S\"",
        ][form].replace('S', secret);
        let folder = Folder::with(MINIMAL);
        folder.write("segel.d/10.toml", format!("{}\n{line}\n{}", before.concat(), after.concat()));
        let args = folder.args().with_variable("SEGEL_UPLINK__PASSWORD", secret).with_variable("SEGEL_BROKER__USERS__A", secret);
        let faults = Config::load(&args).unwrap_err();
        prop_assert!(!faults.to_string().contains("Tr0ub4"), "{}", faults);
        prop_assert!(!serde_json::to_string(&faults).unwrap().contains("Tr0ub4"));
    }
}
