//! Where each value in force comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::{fault::Place, mask::HIDDEN, merge::Merged};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of a file.
    File {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// The environment.
    Environment {
        /// The variable.
        variable: String,
    },
}

impl Origin {
    pub(super) fn of(place: &Place) -> Self {
        match place {
            Place::Text { file, span } => Self::File { file: file.path.display().to_string(), line: file.line_number(span.start) },
            Place::Whole { path, .. } => Self::File { file: path.display().to_string(), line: 1 },
            Place::Environment { name } => Self::Environment { variable: name.clone() },
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// As it would be written in the file; `****` for a secret.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// Its unit, when it is a timeout, a limit or an interval.
    pub unit: Option<&'static str>,
    /// Why it is there and why the default is what it is.
    pub reason: &'static str,
}

/// Every value in force by dotted key, in the order a person reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Vec<(String, InForce)>);

impl Origins {
    pub(super) fn of(merged: &Merged) -> Self {
        let mut all = Vec::new();
        for (dotted, key) in merged.every_key() {
            if let Some((value, origin)) = merged.in_force(&dotted, key) {
                all.push((dotted, InForce { value: value.to_string(), origin, unit: key.limit, reason: key.reason }));
            }
        }
        let known: BTreeSet<&str> = all.iter().map(|(dotted, _)| dotted.as_str()).collect();
        let mut rest: BTreeMap<String, InForce> = BTreeMap::new();
        for (dotted, setting) in merged.layers.iter().flat_map(|layer| &layer.settings) {
            if !known.contains(dotted.as_str()) {
                let value = if setting.secret { HIDDEN.to_owned() } else { setting.value.to_string() };
                let reason = "who may connect to the local broker";
                rest.insert(dotted.clone(), InForce { value, origin: Origin::of(&setting.place), unit: None, reason });
            }
        }
        all.extend(rest);
        Self(all)
    }

    /// The value in force of a key, e.g. `uplink.window`.
    #[must_use]
    pub fn get(&self, dotted: &str) -> Option<&InForce> {
        self.0.iter().find(|(key, _)| key == dotted).map(|(_, value)| value)
    }

    /// Every key and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &InForce)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}
