//! `docs/seals.md` says of every protocol what the code says.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{collections::BTreeSet, fmt::Write as _, path::Path, time::SystemTime};

use segel_drivers::{
    Credentials, Hindrance,
    ble::{
        KnownSeal,
        protocol::{Moment, ProtocolName},
    },
};

const BEGIN: &str = "<!-- from the code: UPDATE_SNAPSHOTS=1 cargo test -p segel --test seals_doc -->\n";
const END: &str = "<!-- to here -->";

/// A seal with what somebody may have given it; none of it is anybody's.
fn seal(name: ProtocolName, key: bool, password: Option<&str>) -> KnownSeal {
    let credentials = Credentials {
        key: key.then(|| "5f3a9c1e7b2d48a6c0e4f1937d5b8a26".parse().unwrap()),
        password: password.map(|word| word.parse().unwrap()),
        // A TT lock has eight digits.
        device_number: Some("80006200".to_owned()),
    };
    KnownSeal { credentials, ..KnownSeal::new("JT-8000620011".parse().unwrap(), name) }
}

/// What a protocol asks for before it talks at all.
fn needs(name: ProtocolName) -> String {
    let now = Moment { wall: SystemTime::now(), random: [0; 32] };
    let mut lacking = BTreeSet::new();
    for (key, password) in [(false, None), (true, None), (false, Some("739164"))] {
        for action in name.protocol().actions() {
            if let Err(Hindrance::NoCredential { what }) = name.protocol().exchange(*action, &seal(name, key, password), &now) {
                lacking.insert(what);
            }
        }
    }
    if lacking.is_empty() { "nothing".to_owned() } else { lacking.into_iter().collect::<Vec<_>>().join(", ") }
}

fn table() -> String {
    let mut text = "| `protocol` | can | needs | rated | because |\n|---|---|---|---|---|\n".to_owned();
    for name in ProtocolName::ALL {
        let can: Vec<_> = name.protocol().actions().iter().map(|action| action.as_str()).collect();
        let can = if can.is_empty() { "be heard".to_owned() } else { can.join(", ") };
        let mut told = BTreeSet::new();
        for (key, password) in [(false, None), (true, None), (true, Some("739164"))] {
            let rating = name.protocol().rating(&seal(*name, key, password));
            if told.insert((rating.security, rating.reason)) {
                let with = match (key, password) {
                    (false, _) => "",
                    (true, None) => " (with a key of its own)",
                    (true, Some(_)) => " (with key and password of its own)",
                };
                let security = rating.security.as_str();
                let _ = writeln!(text, "| `{name}`{with} | {can} | {} | **{security}** | {} |", needs(*name), rating.reason);
            }
        }
    }
    text
}

#[test]
fn the_ratings_in_the_document_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/seals.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the document has the place for the table");
    let (written, after) = rest.split_once(END).expect("and its end");
    let now = table();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{now}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(written, now, "UPDATE_SNAPSHOTS=1 rewrites the table");
}
