//! Reads the register of seals: `[[seal]]` tables, each fault with its line, duplicates with both.

use std::{collections::HashMap, fmt::Display, path::Path, str::FromStr, sync::Arc};

use segel_drivers::{Credentials, Epc, MacAddress, SealId, SealKey, ble::protocol::ProtocolName, credentials::DEVICE_NUMBER_MAX};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Findings, Place},
    keys::type_name,
    seals::RegisteredSeal,
    source::{SEALS_FILE_MAX_BYTES, Secrecy, SourceFile},
    suggest::nearest,
    syntax,
};
use crate::container::{ContainerNumber, Iso6346};

/// The keys of a seal.
const KEYS: [&str; 7] = ["id", "address", "protocol", "device_number", "key", "epc", "container"];

/// A seal of the register, and where its number and its key stand.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seal: RegisteredSeal,
    pub(super) place: Place,
    pub(super) key: Option<Place>,
}

/// Reads the register; what is wrong goes to `findings`.
pub(super) fn read(path: &Path, rank: usize, findings: &mut Findings) -> Vec<Entry> {
    match SourceFile::read(path, rank, Secrecy::Seals, SEALS_FILE_MAX_BYTES) {
        Ok(file) => of(&Arc::new(file), findings),
        Err(fault) => {
            findings.fault(fault.key("gate.seals_file"));
            Vec::new()
        }
    }
}

/// The seals of one file; with a key in it it is secret.
fn of(file: &Arc<SourceFile>, findings: &mut Findings) -> Vec<Entry> {
    let trusted = syntax::parse(file, findings);
    let table = trusted.table();
    let mut reading = Reading { file, findings, seen: HashMap::new(), keys: 0 };
    let seals = reading.document(&table);
    let exposures = if reading.keys > 0 { file.exposures() } else { Vec::new() };
    for (problem, remedy) in exposures {
        let place = Place::Whole { path: file.path.clone(), rank: file.rank };
        findings.fault(Fault::new(place, problem, remedy).key("gate.seals_file"));
    }
    seals
}

struct Reading<'a> {
    file: &'a Arc<SourceFile>,
    findings: &'a mut Findings,
    /// What each identity, address and EPC was first used by.
    seen: HashMap<(&'static str, String), Place>,
    /// How many keys were given, good or not.
    keys: usize,
}

impl Reading<'_> {
    fn document(&mut self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut seals = Vec::new();
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            let DeValue::Array(all) = value.get_ref() else {
                let near = nearest(word, ["seal"]).is_some();
                let problem = if near { "seals are a list of tables" } else { "there is no such key" };
                self.fault(key.span(), word, problem, "write the header [[seal]] before each seal, and nothing outside");
                continue;
            };
            if word != "seal" {
                self.fault(key.span(), word, "there is no such list", "write the header [[seal]] before each seal");
                continue;
            }
            for one in all.iter() {
                match one.get_ref() {
                    DeValue::Table(fields) => seals.extend(self.seal(fields, one.span())),
                    _ => self.fault(one.span(), "seal", "a seal is a table", "write the header [[seal]] before each seal"),
                }
            }
        }
        seals
    }

    fn fault(&mut self, span: std::ops::Range<usize>, key: &str, problem: &str, remedy: &str) {
        self.findings.fault(Fault::new(Place::text(self.file, span), problem, remedy).key(key).hide_value());
    }

    fn seal(&mut self, fields: &DeTable<'_>, header: std::ops::Range<usize>) -> Option<Entry> {
        for (key, value) in fields {
            let word = key.get_ref().as_ref();
            if KEYS.contains(&word) {
                continue;
            }
            // Its value may be a key under a misspelt name.
            self.keys += usize::from(matches!(value.get_ref(), DeValue::String(text) if text.len() >= 16));
            if word == "password" {
                self.keys += 1;
                self.fault(key.span(), "seal.password", "a password stands in no register", "put it into the file of `gate.seal_keys`");
                continue;
            }
            let remedy = nearest(word, KEYS)
                .map_or_else(|| format!("remove it; a seal has {}", KEYS.join(", ")), |near| format!("did you mean `{near}`?"));
            self.fault(key.span(), &format!("seal.{word}"), "there is no such key", &remedy);
        }
        let id = self.one::<SealId>(fields, "id");
        if !fields.contains_key("id") {
            let remedy = "write id = \"MAKER-NUMBER\", e.g. \"JT-8000620011\"";
            self.findings.fault(Fault::new(Place::text(self.file, header.clone()), "a seal has no `id`", remedy).key("seal.id"));
        }
        let address = self.one::<MacAddress>(fields, "address");
        let epc = self.one::<Epc>(fields, "epc");
        let container = self.container(fields);
        let protocol = self.protocol(fields);
        let device_number = self.device_number(fields);
        let key = self.key(fields, address.is_some());
        let at = |name: &str| fields.get(name).map(|value| Place::text(self.file, value.span()));
        let (place, key_place) = (at("id").unwrap_or_else(|| Place::text(self.file, header)), at("key"));
        let credentials = Credentials { key, password: None, device_number };
        let seal = RegisteredSeal { id: id?, address, protocol: protocol?, credentials, epc, container };
        Some(Entry { seal, place, key: key_place })
    }

    /// The text of a field, with its place.
    fn text<'v>(&mut self, fields: &'v DeTable<'_>, name: &'static str) -> Option<(&'v str, &'v Spanned<DeValue<'v>>)> {
        let value = fields.get(name)?;
        if let DeValue::String(text) = value.get_ref() {
            return Some((text, value));
        }
        let problem = format!("`{name}` is {}, and must be text in quotes", type_name(value.get_ref()));
        self.fault(value.span(), &format!("seal.{name}"), &problem, "put the value in double quotes");
        None
    }

    /// A field that no two seals share.
    fn one<T: FromStr<Err = segel_drivers::IdentityError> + Display>(&mut self, fields: &DeTable<'_>, name: &'static str) -> Option<T> {
        let (text, value) = self.text(fields, name)?;
        let place = Place::text(self.file, value.span());
        let parsed = match text.parse::<T>() {
            Ok(parsed) if !parsed.to_string().is_empty() => parsed,
            other => {
                let (problem, remedy) = form(name);
                drop(other);
                self.findings.fault(Fault::new(place, problem, remedy).key(format!("seal.{name}")).value(text));
                return None;
            }
        };
        let canonical = parsed.to_string();
        if let Some(first) = self.seen.get(&(name, canonical.clone())) {
            let fault = Fault::new(place, format!("two seals have the same `{name}`"), "correct one of them, or remove it");
            self.findings.fault(fault.key(format!("seal.{name}")).value(text).also(first.clone(), "it was first given here"));
        } else {
            self.seen.insert((name, canonical), place);
        }
        Some(parsed)
    }

    fn container(&mut self, fields: &DeTable<'_>) -> Option<ContainerNumber> {
        let (text, value) = self.text(fields, "container")?;
        let place = Place::text(self.file, value.span());
        let Ok(number) = text.parse::<ContainerNumber>() else {
            let (problem, remedy) = form("container");
            self.findings.fault(Fault::new(place, problem, remedy).key("seal.container").value(text));
            return None;
        };
        let warning = match number.iso6346() {
            Iso6346::Good => return Some(number),
            Iso6346::WrongCheckDigit { expected } => format!("the check digit is not the {expected} that ISO 6346 computes"),
            Iso6346::NotIso => "this is no ISO 6346 number".into(),
        };
        let remedy = "compare it with the box and the papers; it is kept and sent as it is written";
        self.findings.warn(Fault::new(place, warning, remedy).key("seal.container").value(text));
        Some(number)
    }

    /// What it speaks; BTHome when nobody says.
    fn protocol(&mut self, fields: &DeTable<'_>) -> Option<ProtocolName> {
        if !fields.contains_key("protocol") {
            return Some(ProtocolName::Bthome);
        }
        let (text, value) = self.text(fields, "protocol")?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let words: Vec<&str> = ProtocolName::ALL.iter().map(|name| name.as_str()).collect();
            let one_of = || format!("write one of {}", words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "));
            let remedy = nearest(text, words.iter().copied()).map_or_else(one_of, |near| format!("did you mean \"{near}\"?"));
            let fault = Fault::new(Place::text(self.file, value.span()), "this is no protocol of a seal", remedy);
            self.findings.fault(fault.key("seal.protocol").value(text));
        }
        parsed
    }

    /// What it calls itself in its own frames.
    fn device_number(&mut self, fields: &DeTable<'_>) -> Option<String> {
        let (text, value) = self.text(fields, "device_number")?;
        let good = !text.is_empty() && text.len() <= DEVICE_NUMBER_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if good {
            return Some(text.to_owned());
        }
        let remedy = format!("write 1 to {DEVICE_NUMBER_MAX} letters and digits, as it is printed on the seal");
        let fault = Fault::new(Place::text(self.file, value.span()), "this is no number a seal calls itself by", remedy);
        self.findings.fault(fault.key("seal.device_number").value(text));
        None
    }

    fn key(&mut self, fields: &DeTable<'_>, has_address: bool) -> Option<SealKey> {
        self.keys += usize::from(fields.contains_key("key"));
        let (text, value) = self.text(fields, "key")?;
        let mut bytes = [0; 16];
        if hex::decode_to_slice(text, &mut bytes).is_err() {
            self.fault(value.span(), "seal.key", "this is no key of a seal", "write the 16 bytes as 32 hex digits");
            return None;
        }
        if !has_address && !fields.contains_key("address") {
            self.fault(value.span(), "seal.key", "a key is given and no address it belongs to", "give `address` too, or remove the key");
        }
        Some(SealKey::new(bytes))
    }
}

/// What is wrong with a field of the wrong form, and what to write.
fn form(name: &str) -> (&'static str, &'static str) {
    match name {
        "id" => {
            ("this is no seal number", "write MAKER-NUMBER in capitals, digits and dashes, at most 35 characters, e.g. \"JT-8000620011\"")
        }
        "address" => ("this is no Bluetooth address", "write six pairs of hex digits, e.g. \"A4:C1:38:0B:52:01\""),
        "epc" => ("this is no EPC", "write 1 to 62 whole bytes as hex digits"),
        _ => ("this is no container number", "write capitals and digits without spaces, e.g. \"CSQU3054383\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_a_register_of_another_user_are_refused() {
        let me = rustix::process::geteuid().as_raw();
        for (owner, mode, good) in [(me, 0o640, true), (0, 0o640, true), (me + 1, 0o640, false), (me, 0o660, false), (me, 0o604, false)] {
            for (key, with) in [("", false), ("key = \"0f1e2d3c4b5a69788796a5b4c3d2e1f0\"\n", true)] {
                let text = format!("[[seal]]\nid = \"JT-1\"\naddress = \"A4:C1:38:0B:52:01\"\n{key}");
                let file = SourceFile { path: "seals.toml".into(), rank: 0, text, mode, owner, secrecy: Secrecy::Seals };
                let mut findings = Findings::default();
                assert_eq!(of(&Arc::new(file), &mut findings).len(), 1);
                assert_eq!(findings.finish(false).is_ok(), good || !with, "owner {owner}, mode {mode:o}, key {with}");
            }
        }
    }
}
