//! The layers laid over each other, key by key, and the typed configuration made of them.
//!
//! Tables merge; a later layer replaces single values. No key of the main configuration is a list, so nothing is
//! ever half a list. The crate `config` does the laying and the typing; its coercions find nothing to coerce,
//! because every layer was checked against the table of keys before.

use std::collections::BTreeMap;

use config::{Map, Source, Value, ValueKind};

use super::{
    keys::{self, KIND, Preset, Scalar},
    layer::{Layer, Setting},
    origin::Origin,
    settings::Config,
};

/// Every setting that was given, the latest of each, with what it replaced forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Merged {
    pub(super) layers: Vec<Layer>,
}

impl Merged {
    /// The setting in force, unless only the default is.
    pub(super) fn get(&self, dotted: &str) -> Option<&Setting> {
        self.layers.iter().rev().find_map(|layer| layer.settings.get(dotted))
    }

    /// The text in force.
    pub(super) fn text(&self, dotted: &str) -> Option<&str> {
        match &self.get(dotted)?.value {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::Truth(_) => None,
        }
    }

    /// Whether some layer gave this key or its table and was refused.
    pub(super) fn refused(&self, dotted: &str) -> bool {
        covers(self.layers.iter().flat_map(|layer| &layer.refused), dotted)
    }

    /// Whether nobody gave a key, not even wrongly or under a wrong name.
    pub(super) fn absent(&self, dotted: &str) -> bool {
        self.get(dotted).is_none() && !self.refused(dotted) && !covers(self.layers.iter().flat_map(|layer| &layer.meant), dotted)
    }

    /// Every radio, with its kind where that is known.
    pub(super) fn radios(&self) -> BTreeMap<String, Option<&str>> {
        let settings = self.layers.iter().flat_map(|layer| layer.settings.keys());
        let headers = self.layers.iter().flat_map(|layer| layer.headers.keys());
        let names = settings.chain(headers).filter_map(|dotted| dotted.strip_prefix("readers.")?.split('.').next());
        names.map(|name| (name.to_owned(), self.text(&format!("readers.{name}.{}", KIND.name)))).collect()
    }

    /// Every dotted key of the radios and of the rest, with the key it is.
    pub(super) fn every_key(&self) -> Vec<(String, &'static keys::Key)> {
        let plain = keys::KEYS.iter().filter(|key| keys::SECTIONS.contains(&key.section));
        let mut all: Vec<_> = plain.map(|key| (format!("{}.{}", key.section, key.name), key)).collect();
        for (name, kind) in self.radios() {
            let Some(kind) = kind else { continue };
            all.push((format!("readers.{name}.{}", KIND.name), &KIND));
            all.extend(keys::of(kind).map(|key| (format!("readers.{name}.{}", key.name), key)));
        }
        all
    }

    /// The value in force of a key: given, default or made from others.
    pub(super) fn in_force(&self, dotted: &str, key: &keys::Key) -> Option<(Scalar, Origin)> {
        if let Some(setting) = self.get(dotted) {
            return Some((setting.value.clone(), Origin::of(&setting.place)));
        }
        let made = match key.preset {
            Preset::Made => Scalar::Text(format!("{}-{}", self.text("gate.site")?, self.text("gate.id")?)),
            preset => preset.scalar()?,
        };
        Some((made, Origin::Default))
    }

    /// The typed configuration.
    ///
    /// # Errors
    /// When the table of keys and the types disagree, which is a defect of ours.
    pub(super) fn typed(&self) -> Result<Config, config::ConfigError> {
        let mut defaults = Layer::default();
        for (dotted, key) in self.every_key() {
            if self.get(&dotted).is_none()
                && let Some((value, _)) = self.in_force(&dotted, key)
            {
                let place = super::fault::Place::Environment { name: String::new() };
                defaults.settings.insert(dotted, Setting { value, place, secret: false });
            }
        }
        let mut builder = config::Config::builder().add_source(defaults);
        for layer in &self.layers {
            builder = builder.add_source(layer.clone());
        }
        builder.build()?.try_deserialize()
    }
}

/// Whether a key or its table is among these.
fn covers<'a>(mut keys: impl Iterator<Item = &'a String>, dotted: &str) -> bool {
    keys.any(|outer| dotted.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut top = Map::new();
        for (dotted, setting) in &self.settings {
            let kind = match &setting.value {
                Scalar::Number(number) => ValueKind::I64(*number),
                Scalar::Truth(truth) => ValueKind::Boolean(*truth),
                Scalar::Text(text) => ValueKind::String(text.clone()),
            };
            let path: Vec<&str> = dotted.split('.').collect();
            put(&mut top, &path, Value::new(None, kind));
        }
        Ok(top)
    }
}

fn put(table: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry((*first).to_owned()).or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if let ValueKind::Table(inner) = &mut inner.kind {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{
        fault::Findings,
        keys::{KEYS, Preset, SECTIONS, Shape},
    };
    use super::*;

    /// The typed configuration with the values of every key taken from `pick`.
    fn typed(pick: fn(&keys::Key) -> Option<String>) -> Config {
        let mut variables: Vec<(OsString, OsString)> = Vec::new();
        for kind in keys::KINDS {
            let radio = kind.replace('-', "_").to_uppercase();
            variables.push((format!("SEGEL_READERS__{radio}__KIND").into(), kind.into()));
        }
        for key in KEYS {
            let table = if SECTIONS.contains(&key.section) {
                key.section.to_owned()
            } else {
                format!("readers__{}", key.section.replace('-', "_"))
            };
            if let Some(value) = pick(key) {
                variables.push((format!("SEGEL_{}__{}", table.to_uppercase(), key.name.to_uppercase()).into(), value.into()));
            }
        }
        let mut findings = Findings::default();
        let layer = Layer::of_environment(&variables, &mut findings);
        if let Err(faults) = findings.finish(false) {
            panic!("{faults}");
        }
        assert_eq!(layer.settings.len(), variables.len());
        Merged { layers: vec![layer] }.typed().unwrap()
    }

    fn mandatory(key: &keys::Key) -> Option<String> {
        let example = match key.name {
            "site" => "idsrg",
            "id" => "g01",
            "lane" => "in-1",
            _ => "/dev/x",
        };
        (key.preset == Preset::Mandatory).then(|| example.to_owned())
    }

    #[test]
    fn every_key_has_a_place_in_the_types_at_both_ends_of_its_range() {
        let low = typed(|key| if let Shape::Whole(min, _) = key.shape { Some(min.to_string()) } else { mandatory(key) });
        let high = typed(|key| if let Shape::Whole(_, max) = key.shape { Some(max.to_string()) } else { mandatory(key) });
        assert_eq!((low.broker.max_payload_bytes, high.broker.max_payload_bytes), (1024, 1024 * 1024));
        assert_eq!(high.journal.telemetry_quota_bytes, 1 << 40);
        assert_eq!(high.clock.holdover.as_secs(), 720 * 3600);
    }

    #[test]
    fn every_word_that_can_be_chosen_has_a_place_in_the_types() {
        let first = typed(|key| if let Shape::Choice(all) = key.shape { all.first().map(ToString::to_string) } else { mandatory(key) });
        let last = typed(|key| if let Shape::Choice(all) = key.shape { all.last().map(ToString::to_string) } else { mandatory(key) });
        assert_ne!(first.log, last.log);
        assert_eq!((first.readers.len(), last.readers.len()), (3, 3));
    }
}
