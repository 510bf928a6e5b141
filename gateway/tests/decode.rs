//! `segel decode` as somebody types it: the real program on every vector, its output, its exit codes.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use proptest::prelude::*;

const BTHOME_KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
const BTHOME_ADDRESS: &str = "54:48:E6:8F:80:A5";
const NOKE_KEY: &str = "3a60432a5c01211f291e0f4e0c132825";

fn segel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
    command.arg("decode").env_remove("SEGEL_DECODE_KEY").env_remove("SEGEL_DECODE_PASSWORD").stdin(Stdio::null());
    command
}

fn decode(words: &str) -> Output {
    segel().args(words.split_whitespace()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn all(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].concat().into_iter().map(char::from).collect()
}

/// Runs each line and compares everything printed with `tests/decode_snapshots/NAME`; with `UPDATE_SNAPSHOTS` set it is
/// written instead.
fn snapshot(name: &str, lines: &[&str]) {
    let mut text = String::new();
    for words in lines {
        let output = decode(words);
        let printed = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
        let _ = write!(text, "$ segel decode {words}\n{printed}(exit code {})\n\n", code(&output));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decode_snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(expected == text, "{} differs (UPDATE_SNAPSHOTS=1 rewrites it), first in {differs:?}", path.display());
}

#[test]
fn every_bthome_vector_is_told_as_expected() {
    snapshot(
        "bthome.txt",
        &[
            "bthome 40 04 138a01",
            "bthome 40 00 2e 01 64 1e 01 2e 34 45 1601",
            "bthome 40 00 09 01 5d 02 5d09 03 b718",
            "bthome 42 b2188d38c1a4 04 138a01",
            "bthome 42 b2188d38c1a4 04 138a01 --address A4:C1:38:8D:18:B3",
            "bthome 41 a47266c95f73 00112233 78237214 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 41 e445f3c9962b 33221100 6c7c4519 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 41 ba0db07aeef6 ffffffff 21fd4600 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 41 ba0db07aeef6 00 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 44 00 09 01 5d 1f 00 2b 01",
            "bthome 45 0217c863f67628ee 01000000 c539fcd0 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 45 0217c863f67628ee 01000000 c539fcd0 --key 231d39c1d7cc1ab1aee224cd096db932",
            "bthome 45 0217c863f67628ee 01000000 c539fcd0",
            "bthome 45 0217c863f67628ee 01000000 c539fcd1 --key 231d39c1d7cc1ab1aee224cd096db932 --address 54:48:E6:8F:80:A5",
            "bthome 44 00 09 1f 00 --key 231d39c1d7cc1ab1aee224cd096db932",
            "bthome 40 1f 02 2b 01",
            "bthome 40 01 5d 02 5d",
            "bthome 40 01 5d ef 2b 01",
            "bthome 20 1f 00",
        ],
    );
}

#[test]
fn every_nokelock_vector_is_told_as_expected() {
    snapshot(
        "nokelock.txt",
        &[
            "nokelock cafb4ac988966a676339fe490705b1f9",
            "nokelock c617c84ed677219809a9fb9c88d8a1b6 --key 3a60432a5c01211f291e0f4e0c132825",
            "nokelock f8f935ebc1047f46a12a7b740693114d",
            "nokelock f8f935ebc1047f46a12a7b740693114d --password 000000",
            "nokelock f8f935ebc1047f46a12a7b740693114d --password 739164",
            "nokelock 05020100000000000000000000000000",
            "nokelock 050f0101000000000000000000000000",
            "nokelock 0202015d000000000000000000000000",
            "nokelock 05080100000000000000000000000000",
            "nokelock cafb4ac988966a676339fe490705b1f9 --key 00112233445566778899aabbccddeeff",
            "nokelock 00112233445566778899aabbccddeeff",
            "nokelock cafb4ac988966a676339fe490705b1",
        ],
    );
}

#[test]
fn every_eseal_vector_is_told_as_expected() {
    snapshot(
        "eseal.txt",
        &[
            "eseal ffffffff7221a002001600002af9abababab000cb73818eeed757e7b38394ea3",
            "eseal ffffffff4052a00200042b952f02",
            &format!("eseal {}", eseal_state(2)),
            &format!(
                "eseal {}",
                eseal_stored(b"MSKU3874652\r\nPT Samudra\r\nkopi\r\nTanjung Priok\r\nRotterdam\r\nEver Given\r\n123W\r\n60\r\n04A1B2C3")
            ),
            &format!("eseal {}", eseal_stored(&[1, 2, 3])),
            "eseal ffffffff7221a002001600002af9abababab000cb73818eeed757e7b38394ea4",
            "eseal ffffffff7221a002001600002af9abababab000cb73818eeed757e7b38394ea3 --key 87654321",
            "eseal ffffffff7221a002001600002af9abababab000cb738",
            "eseal ffffffff7222a002001600002af9abababab000cb73818eeed757e7b38394ea3",
            "eseal fffffffe4052a00200042b952f02",
            "eseal ffffffff40",
        ],
    );
}

fn eseal_state(safe: u8) -> String {
    let content = [&[0, 0, 0x2A, 0xF9, 0, 60, 30, 1, 1, 1, safe, 1][..], &[0; 9]].concat();
    hex::encode(segel_drivers::codec::eseal::sealed_frame(11_001, 0xABAB_ABAB, 0, 0x1F00, &content))
}

fn eseal_stored(bytes: &[u8]) -> String {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let content = [&[0, 0, 0x2A, 0xF9][..], &length, bytes].concat();
    hex::encode(segel_drivers::codec::eseal::sealed_frame(11_001, 0xABAB_ABAB, 0, 0x1FD1, &content))
}

#[test]
fn every_eddystone_and_uhf_vector_is_told_as_expected() {
    snapshot(
        "eddystone.txt",
        &[
            "eddystone 20 00 1388 1500 00000001 00000001",
            "eddystone 00ee00112233445566778899aabbccddeeff0000",
            "eddystone 20 01 1388",
            "eddystone 10ee02",
        ],
    );
    snapshot(
        "uhf.txt",
        &[
            "uhf 13000103010c0000000000000000000003133f39",
            "uhf 20000103020c0000000000000000000003130c0000000000000000000003149ac9",
            "uhf 1100210000160c034e001e0a01000000e651",
            "uhf 1500010301010c0000000000000000000003136bb1a5",
            "uhf 1500010301010c0000000000000000000003136bb1a6",
            "uhf 040001db4b",
            "uhf 040021d96a",
            "uhf 13000103010c00",
        ],
    );
}

#[test]
fn every_tt_and_g_vector_is_told_as_expected() {
    use segel_drivers::codec::g_series::{QUERY, SET, Way, plain, short};
    use segel_drivers::codec::tt;
    let answer = |data: &str| hex::encode(tt::write(&hex::decode(data).unwrap(), None));
    let key = "000102030405060708090a0b0c0d0e0f";
    let sealed = hex::encode(tt::write(&hex::decode("62207e03e9574000031a070f0a1e00").unwrap(), Some(&key.parse().unwrap())));
    snapshot(
        "tt.txt",
        &[
            "tt 01 11 37 207e03e9 313132323333 1a070f0a1e00 af",
            "tt 01 11 37 207e03e9 313132323333 1a070f0a1e00 af --password 112233",
            &format!("tt {}", answer("62207e03e9574000031a070f0a1e00")),
            &format!("tt {}", answer("93207e03e9574000031a070f0a1e00")),
            &format!("tt {}", answer("01207e03e95740001a070f0a1e00")),
            &format!("tt {}", answer("04207e03e95771001a070f0a1e00")),
            &format!("tt {}", answer("20")),
            &format!("tt {}", answer("77207e03e9")),
            &format!("tt {sealed} --key {key}"),
            &format!("tt {sealed}"),
            &format!("tt {} --key {key}", answer("62207e03e9574000031a070f0a1e00")),
            "tt 01 11 37 207e03e9 313132323333 1a070f0a1e00 ae",
            "tt 01 11 37 207e03e9",
            "tt 0101200b2233",
            "tt 02 01",
        ],
    );
    let from = |command, content: &[u8]| hex::encode(plain(Way::FromLock, command, content));
    snapshot(
        "g.txt",
        &[
            &format!("g f11fffee03100010cf7d35fd17b11f9089e9e44442f02919edf22f --key {key}"),
            &format!("g f11fffee0310001043829242b697bcb4ac978d2b6c43f8b543f22f --key {key}"),
            "g f11fffee03100010cf7d35fd17b11f9089e9e44442f02919edf22f",
            "g f11fffee03100010cf7d35fd17b11f9089e9e44442f02919eef22f",
            "g f11fffee03100010cf7d35fd17b11f90",
            &format!("g {}", hex::encode(plain(Way::ToLock, QUERY, &[0x30]))),
            &format!("g {}", hex::encode(plain(Way::ToLock, SET, &[1, 0x26, 6, b'7', b'3', b'9', b'1', b'6', b'4']))),
            &format!("g {}", from(SET, &[0])),
            &format!("g {}", from(SET, &[1, 0x24, 17])),
            &format!("g {}", from(QUERY, &[2, 0x30, 1, 0x31, 0x94, 1, 93])),
            &format!("g {}", from(QUERY, &[4])),
            &format!("g {}", hex::encode(short(2))),
            "g 00 11",
        ],
    );
}

/// The examples of the protocol's document, frame upon frame.
#[test]
fn every_segel_vector_is_told_as_expected() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../drivers/tests/vectors/segel-v1.json");
    let document: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let vectors = document["vectors"].as_array().unwrap();
    let hex = |name: &str| vectors.iter().find(|vector| vector["name"] == name).map(|vector| vector["hex"].as_str().unwrap());
    let with = format!("--number SGL-1003 --key {}", hex("key").unwrap());
    let mut lines = vec![
        format!("segel {} {with}", hex("advert").unwrap()),
        format!("segel {}", hex("advert").unwrap()),
        format!("segel {} --number SGL-1004 --key {}", hex("advert").unwrap(), hex("key").unwrap()),
    ];
    for example in ["read", "unlock", "lock", "set time", "drain", "confirm"] {
        let frames = ["HELLO", "CHALLENGE", "COMMAND", "RESULT"].iter().filter_map(|frame| hex(&format!("{example}: {frame}")));
        lines.push(format!("segel {} {with}", frames.collect::<Vec<_>>().join(" ")));
    }
    let (hello, challenge) = (hex("read: HELLO").unwrap(), hex("read: CHALLENGE").unwrap());
    lines.extend([
        format!("segel {hello}"),
        format!("segel {hello} {challenge}"),
        format!("segel {hello} {challenge} --number SGL-1004 --key {}", hex("key").unwrap()),
        format!("segel {challenge} {with}"),
        format!("segel {}", &challenge[..60]),
        "segel 800300".to_owned(),
        "segel 0102".to_owned(),
    ]);
    snapshot("segel.txt", &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_program_gets_one_document_for_each() {
    snapshot(
        "json.txt",
        &[
            "bthome 44 00 09 01 5d 1f 00 2b 01 --json",
            "bthome 40 01 5d 02 5d --json",
            "tt 01 11 37 207e03e9 313132323333 1a070f0a1e00 af --json",
            "g f11fffee03100010cf7d35fd17b11f9089e9e44442f02919edf22f --key 000102030405060708090a0b0c0d0e0f --json",
            "nokelock f8f935ebc1047f46a12a7b740693114d --json",
            "eseal ffffffff7221a002001600002af9abababab000cb73818eeed757e7b38394ea3 --json",
            "segel 51c501040000c68929e1 --number SGL-1003 --key 2b7e151628aed2a6abf7158809cf4f3c --json",
            "eddystone 20 00 1388 1500 00000001 00000001 --json",
            "uhf 13000103010c0000000000000000000003133f39 --json",
        ],
    );
    for words in ["bthome 44 1f 00 --json", "bthome 20 --json"] {
        let document: serde_json::Value = serde_json::from_slice(&decode(words).stdout).unwrap();
        assert_eq!(document["good"], words.contains("44"), "{document}");
    }
}

#[test]
fn a_wrong_command_line_names_the_thing_and_the_remedy() {
    snapshot(
        "usage.txt",
        &[
            "nokelok 00",
            "zigbee 00",
            "bthome",
            "bthome 44 0g",
            "bthome 440",
            "bthome :",
            "bthome -",
            "bthome 44 --key 231d39",
            "eseal 44 --key 231d39",
            "bthome 44 --address 54:48",
            "bthome 44 --password 12345678901234567",
            "bthome --file /nowhere/capture.hex",
        ],
    );
    assert_eq!(code(&decode(&format!("bthome {}", "00".repeat(1_025)))), 2);
}

#[test]
fn hex_comes_from_a_file_or_standard_input_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.hex");
    fs::write(&file, "# a seal at the gate\n44:00:09 01:5d # battery\n1f:00:2b:01\n").unwrap();
    let typed = decode("bthome 44 00 09 01 5d 1f 00 2b 01");
    let read = segel().args(["bthome", "--file"]).arg(&file).output().unwrap();
    assert_eq!(all(&read), all(&typed));
    let mut child = segel().args(["bthome", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(all(&child.wait_with_output().unwrap()), all(&typed));
}

#[test]
fn a_key_comes_from_a_file_or_the_environment_too_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, format!("{BTHOME_KEY}\n")).unwrap();
    let frame = ["bthome", "450217c863f67628ee01000000c539fcd0", "--address", BTHOME_ADDRESS];
    let typed = segel().args(frame).args(["--key", BTHOME_KEY]).output().unwrap();
    assert_eq!(code(&typed), 0);
    let read = segel().args(frame).arg("--key-file").arg(&file).output().unwrap();
    let told = segel().args(frame).env("SEGEL_DECODE_KEY", BTHOME_KEY).output().unwrap();
    assert_eq!((all(&read), all(&told)), (all(&typed), all(&typed)));
    let wrong = segel().args(frame).args(["--key", &format!("{BTHOME_KEY}00")]).output().unwrap();
    let twice = segel().args(frame).args(["--key", BTHOME_KEY, "--key-file", "x"]).output().unwrap();
    assert_eq!((code(&wrong), code(&twice)), (2, 2));
    for output in [typed, wrong, twice] {
        let text = all(&output);
        assert!(!text.contains(&BTHOME_KEY[..8]), "{text}");
    }
}

#[test]
fn a_password_is_never_shown() {
    use segel_drivers::codec::nokelock::{Command, Token};
    let command = Command::Unlock { password: *b"739164", token: Token([1, 2, 3, 4]), filler: [0; 3] };
    let frame = hex::encode(command.frame(&NOKE_KEY.parse().unwrap()));
    let g = hex::encode(segel_drivers::codec::g_series::plain(
        segel_drivers::codec::g_series::Way::ToLock,
        segel_drivers::codec::g_series::SET,
        b"\x01\x26\x06739164",
    ));
    let tt = hex::encode(segel_drivers::codec::tt::write(b"\x37\x20\x7e\x03\xe9739164\x1a\x07\x0f\x0a\x1e\x00", None));
    let frames = [format!("nokelock {frame}"), format!("g {g}"), format!("tt {tt}")];
    let more = ["", "--json", "--password 739164", "--password 739165", "--password 739164739164739164"];
    for (frame, more) in frames.iter().flat_map(|frame| more.map(|more| (frame, more))) {
        let text = all(&decode(&format!("{frame} {more}")));
        assert!(!text.contains("739164") && !text.contains("37 33 39") && !text.contains("373339"), "{text}");
    }
    let by_environment = segel().args(["nokelock", &frame]).env("SEGEL_DECODE_PASSWORD", "739164").output().unwrap();
    assert!(all(&by_environment).contains("password, the one given"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_frame_makes_it_panic(
        which in 0usize..8,
        begin in 0usize..8,
        noise in prop::collection::vec(any::<u8>(), 1..80),
    ) {
        let protocol = ["bthome", "tt", "g", "nokelock", "eseal", "segel", "eddystone", "uhf"][which];
        let begin: &[u8] = [
            &[][..],
            &[0x44],
            &[0xFF, 0xFF, 0xFF, 0xFF],
            &[0x42],
            &[0x20, 0],
            &[0x01, 0x11],
            &[0xF1, 0x1F, 0xFF, 0xEE],
            &[0x01, 0x01, 0x01, 0x00],
        ][begin];
        for form in ["", "--json"] {
            let output = decode(&format!("{protocol} {} {form}", hex::encode([begin, &noise].concat())));
            prop_assert!([0, 1].contains(&code(&output)), "{}", all(&output));
            prop_assert!(output.stderr.is_empty(), "{}", all(&output));
        }
    }
}
