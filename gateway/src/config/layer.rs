//! One layer: the settings of one file or of the environment, each checked by itself.
//!
//! What is wrong is reported and left out; what is left is in range and of the right type, so the layers above it
//! need no coercion. Radios (`readers.<name>`) and users (`broker.users.<name>`) are named by the person.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use segel_drivers::ReaderId;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Findings, Place},
    keys::{self, Given, Key, SECTIONS, Scalar, Shape},
    mask,
    names::{NameError, PasswordHash, UserName},
    source::SourceFile,
    suggest::nearest,
};

/// What every variable of ours begins with.
const PREFIX: &str = "SEGEL_";
/// Between the parts of a variable's name.
const SEPARATOR: &str = "__";

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) value: Scalar,
    pub(super) place: Place,
    /// Its value is never shown.
    pub(super) secret: bool,
}

/// The settings of one source, by dotted key, and what else is known of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    pub(super) settings: BTreeMap<String, Setting>,
    /// Where each table begins, by dotted key.
    pub(super) headers: BTreeMap<String, Place>,
    /// Keys that were given and refused; they have their fault.
    pub(super) refused: Vec<String>,
    /// Keys that were probably meant by an unknown one; they are not called missing.
    pub(super) meant: Vec<String>,
}

/// The hash of a user's password, the one value under a name the person chose.
fn hash_shape() -> Shape {
    Shape::Text(|text| text.parse::<PasswordHash>().map(drop))
}

impl Layer {
    /// The settings of a file.
    pub(super) fn of_file(file: &Arc<SourceFile>, table: &DeTable<'_>, findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        let mut walk = Walk { file, findings, layer: &mut layer };
        for (key, value) in table {
            walk.section(key, value);
        }
        layer
    }

    /// The settings of the environment.
    pub(super) fn of_environment(variables: &[(OsString, OsString)], findings: &mut Findings) -> Self {
        let mut layer = Self::default();
        for (name, value) in variables {
            let shown = name.to_string_lossy();
            let Some(rest) = shown.strip_prefix(PREFIX) else { continue };
            let place = Place::Environment { name: shown.chars().flat_map(char::escape_debug).collect() };
            let Some(value) = value.to_str() else {
                findings.fault(Fault::new(place, "the value of a variable is not UTF-8 text", "write it again, or unset the variable"));
                continue;
            };
            match find_variable(rest) {
                Ok((dotted, shape, secret)) => {
                    layer.accept(&dotted, shape, Given::Text(value), secret, place, &format!("{value:?}"), findings);
                }
                Err(Unknown::Key(remedy)) => findings.fault(Fault::new(place, "a variable names no setting", remedy).hide_value()),
                Err(Unknown::Foreign) => {
                    let remedy = "settings are named SEGEL_SECTION__KEY, with two underscores between; unset it if it was meant as one";
                    findings.warn(Fault::new(place, "a variable begins with SEGEL_ and is no setting", remedy).hide_value());
                }
            }
        }
        layer
    }

    #[expect(clippy::too_many_arguments, reason = "one setting has this many facts, and all are at hand at both callers")]
    fn accept(&mut self, dotted: &str, shape: Shape, given: Given<'_>, secret: bool, place: Place, shown: &str, findings: &mut Findings) {
        match shape.accept(given) {
            Ok(value) => {
                self.settings.insert(dotted.to_owned(), Setting { value, place, secret });
            }
            Err(wrong) => {
                self.refused.push(dotted.to_owned());
                let fault = Fault::new(place, format!("`{dotted}` {wrong}"), shape.remedy()).key(dotted);
                // A password written where its file should be named is a secret too.
                let hide = secret || mask::sensitive(dotted) || dotted.ends_with("password_file") || shown.contains('@');
                findings.fault(if hide { fault.hide_value() } else { fault.value(shown) });
            }
        }
    }
}

/// Why a variable is no setting.
enum Unknown {
    /// It looks like one; this is what to do.
    Key(String),
    /// It may belong to somebody else.
    Foreign,
}

/// What a variable (without its prefix) sets: the dotted key, its shape and whether it is secret.
fn find_variable(rest: &str) -> Result<(String, Shape, bool), Unknown> {
    let lower = rest.to_lowercase();
    let parts: Vec<&str> = lower.split(SEPARATOR).collect();
    let known = match parts[..] {
        ["readers", name, key] => {
            // A variable's name has no dashes and a radio's has no underscores.
            let name = name.replace('_', "-");
            name.parse::<ReaderId>()
                .ok()
                .and(keys::find_of_radio(key))
                .map(|key| (format!("readers.{name}.{}", key.name), key.shape, false))
        }
        ["broker", "users", name] => name.parse::<UserName>().ok().map(|name| (format!("broker.users.{name}"), hash_shape(), true)),
        [section, key] => keys::find(section, key)
            .filter(|_| SECTIONS.contains(&section))
            .map(|key| (format!("{section}.{}", key.name), key.shape, false)),
        _ => None,
    };
    if let Some(known) = known {
        return Ok(known);
    }
    let every: Vec<String> = keys::KEYS
        .iter()
        .filter(|key| SECTIONS.contains(&key.section))
        .map(|key| format!("{}{SEPARATOR}{}", key.section, key.name))
        .collect();
    let suggestion = |name: &str| format!("did you mean `{PREFIX}{}`?", name.to_uppercase());
    if parts.len() == 1 {
        // One underscore where two belong is a slip; anything else may be another program's.
        return Err(every
            .iter()
            .find(|name| name.replace(SEPARATOR, "_") == lower)
            .map_or(Unknown::Foreign, |name| Unknown::Key(suggestion(name))));
    }
    let remedy = nearest(&lower, every.iter().map(String::as_str)).map_or_else(
        || "name it SEGEL_SECTION__KEY as in the file, SEGEL_READERS__NAME__KEY for a radio, or unset it".to_owned(),
        suggestion,
    );
    Err(Unknown::Key(remedy))
}

type SpannedKey<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// The walk through one file.
struct Walk<'a> {
    file: &'a Arc<SourceFile>,
    findings: &'a mut Findings,
    layer: &'a mut Layer,
}

impl Walk<'_> {
    fn section(&mut self, key: &SpannedKey<'_>, value: &Spanned<DeValue<'_>>) {
        let section = key.get_ref().as_ref();
        if !SECTIONS.contains(&section) {
            self.unknown_section(key);
            return;
        }
        let Some(table) = self.table(section, key, value) else { return };
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            match (section, word) {
                ("readers", _) => self.radio(key, value),
                ("broker", "users") => self.users(key, value),
                _ => match keys::find(section, word) {
                    Some(known) => self.setting(&format!("{section}.{word}"), known, value),
                    None => self.unknown_key(section, section, key),
                },
            }
        }
    }

    fn radio(&mut self, key: &SpannedKey<'_>, value: &Spanned<DeValue<'_>>) {
        let name = key.get_ref().as_ref();
        if name.parse::<ReaderId>().is_err() {
            let remedy = "name it with 1 to 32 lower-case letters, digits and dashes, e.g. [readers.gate-in-1]";
            self.findings.fault(
                Fault::new(Place::text(self.file, key.span()), "this cannot be the name of a radio", remedy).key("readers").value(name),
            );
            return;
        }
        let dotted = format!("readers.{name}");
        let Some(table) = self.table(&dotted, key, value) else { return };
        for (key, value) in table {
            let word = key.get_ref().as_ref();
            match keys::find_of_radio(word) {
                Some(known) => self.setting(&format!("{dotted}.{word}"), known, value),
                None => self.unknown_key(&dotted, "readers", key),
            }
        }
    }

    fn users(&mut self, key: &SpannedKey<'_>, value: &Spanned<DeValue<'_>>) {
        let Some(table) = self.table("broker.users", key, value) else { return };
        for (key, value) in table {
            let place = Place::text(self.file, value.span());
            match key.get_ref().parse::<UserName>() {
                Err(NameError(remedy)) => {
                    let place = Place::text(self.file, key.span());
                    self.findings.fault(Fault::new(place, "this cannot be the name of a user", remedy).key("broker.users").hide_value());
                }
                Ok(name) => {
                    let dotted = format!("broker.users.{name}");
                    self.layer.accept(&dotted, hash_shape(), Given::Toml(value.get_ref()), true, place, "", self.findings);
                }
            }
        }
    }

    fn setting(&mut self, dotted: &str, key: &Key, value: &Spanned<DeValue<'_>>) {
        let shown = self.file.text.get(value.span()).unwrap_or_default();
        let place = Place::text(self.file, value.span());
        self.layer.accept(dotted, key.shape, Given::Toml(value.get_ref()), false, place, shown, self.findings);
    }

    /// The table of a value that must be one.
    fn table<'v>(&mut self, dotted: &str, key: &SpannedKey<'_>, value: &'v Spanned<DeValue<'v>>) -> Option<&'v DeTable<'v>> {
        if let DeValue::Table(table) = value.get_ref() {
            self.layer.headers.entry(dotted.to_owned()).or_insert_with(|| Place::text(self.file, value.span()));
            return Some(table);
        }
        let problem = format!("`{dotted}` is {}, and must be a table", keys::type_name(value.get_ref()));
        let fault = Fault::new(Place::text(self.file, key.span()), problem, format!("write a header `[{dotted}]` on a line of its own"))
            .key(dotted);
        self.findings.fault(fault);
        self.layer.refused.push(dotted.to_owned());
        None
    }

    fn unknown_section(&mut self, key: &SpannedKey<'_>) {
        let word = key.get_ref().as_ref();
        let remedy = match (nearest(word, SECTIONS), keys::KEYS.iter().find(|key| key.name == word)) {
            (Some(near), _) => {
                self.layer.meant.push(near.to_owned());
                format!("did you mean `{near}`?")
            }
            (None, Some(known)) if SECTIONS.contains(&known.section) => format!("move it under the header `[{}]`", known.section),
            _ => format!("remove it; the tables are {}", SECTIONS.join(", ")),
        };
        self.findings.fault(Fault::new(Place::text(self.file, key.span()), "there is no such table", remedy).key(word));
    }

    fn unknown_key(&mut self, dotted: &str, section: &str, key: &SpannedKey<'_>) {
        let word = key.get_ref().as_ref();
        let known: Vec<&str> = match section {
            "readers" => {
                let mut known = vec![keys::KIND.name];
                known.extend(keys::KINDS.iter().flat_map(|kind| keys::of(kind)).map(|key| key.name));
                known.sort_unstable();
                known.dedup();
                known
            }
            _ => keys::of(section).map(|key| key.name).chain((section == "broker").then_some("users")).collect(),
        };
        let elsewhere = keys::KEYS.iter().find(|key| key.name == word && SECTIONS.contains(&key.section));
        let remedy = match (nearest(word, known.iter().copied()), elsewhere) {
            (Some(near), _) => {
                self.layer.meant.push(format!("{dotted}.{near}"));
                format!("did you mean `{near}`?")
            }
            (None, Some(known)) => format!("move it under the header `[{}]`", known.section),
            (None, None) => format!("remove it; the keys of `[{dotted}]` are {}", known.join(", ")),
        };
        let fault = Fault::new(Place::text(self.file, key.span()), "there is no such key", remedy).key(format!("{dotted}.{word}"));
        self.findings.fault(if mask::sensitive(word) { fault.hide_value() } else { fault });
    }
}
