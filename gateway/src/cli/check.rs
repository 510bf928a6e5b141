//! `segel check`: is this configuration good, and what does the gate run with?
//!
//! Either every fault, or the table of every timeout, limit and interval in force with its value, its origin and
//! its reason. Those a person may set come from the table of keys; those fixed in code stand in [`fixed()`].
//! Nothing is opened but the files of the configuration; a running gate is not touched.

mod fixed;

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

pub use fixed::{Fixed, fixed};

use super::exit::Exit;
use segel_drivers::ble::scan::AdapterName;

use crate::config::{Config, Fault, LoadArgs, Loaded, Origin, Reader};

/// The arguments of `segel check`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CheckArgs {
    /// The main file; its drop-ins are in `segel.d` beside it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write one JSON document
    #[arg(long)]
    pub json: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// For a program: one JSON document.
    Json,
}

/// Checks and writes the report to standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CheckArgs) -> io::Result<Exit> {
    let form = if args.json { Form::Json } else { Form::Text };
    let (text, exit) = report(&LoadArgs::of_process(args.config.clone()), form);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(exit)
}

/// The report, ending with a line feed, and the code to exit with: [`Exit::Good`] or [`Exit::Configuration`].
#[must_use]
pub fn report(args: &LoadArgs, form: Form) -> (String, Exit) {
    match (Config::load(args), form) {
        (Ok(loaded), Form::Text) => (good_text(args, &loaded), Exit::Good),
        (Ok(loaded), Form::Json) => (json(&good_document(&loaded)), Exit::Good),
        (Err(faults), Form::Text) => (format!("{faults}\n"), Exit::Configuration),
        (Err(faults), Form::Json) => {
            let document =
                Document { good: false, faults: &faults.faults, more_faults: faults.more, warnings: &faults.warnings, limits: Vec::new() };
            (json(&document), Exit::Configuration)
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The dotted key, or what is limited.
    pub name: String,
    /// The value in force.
    pub value: String,
    /// Its unit.
    pub unit: &'static str,
    /// Where it comes from; nothing when it is fixed in code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Why it is so.
    pub reason: &'static str,
}

/// Every timeout, limit and interval in force: those of the keys, then those fixed in code.
#[must_use]
pub fn limits(loaded: &Loaded) -> Vec<Row> {
    let set = loaded.origins.iter().filter_map(|(key, at)| {
        Some(Row { name: key.to_owned(), value: at.value.clone(), unit: at.unit?, origin: Some(at.origin.clone()), reason: at.reason })
    });
    let fixed = fixed().into_iter().map(|at| Row {
        name: at.name.to_owned(),
        value: at.value.to_string(),
        unit: at.unit,
        origin: None,
        reason: at.reason,
    });
    set.chain(fixed).collect()
}

/// What a program reads.
#[derive(Serialize)]
struct Document<'a> {
    good: bool,
    faults: &'a [Fault],
    more_faults: usize,
    warnings: &'a [Fault],
    limits: Vec<Row>,
}

fn good_document(loaded: &Loaded) -> Document<'_> {
    Document { good: true, faults: &[], more_faults: 0, warnings: &loaded.warnings, limits: limits(loaded) }
}

fn json(document: &Document<'_>) -> String {
    let mut text = serde_json::to_string_pretty(document).expect("texts and numbers always become JSON");
    text.push('\n');
    text
}

fn good_text(args: &LoadArgs, loaded: &Loaded) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        let _ = writeln!(text, "{warning}\n");
    }
    let config = &loaded.config;
    let _ = writeln!(
        text,
        "configuration is good: {}\n\ngate {} at {}, radios {}, registered seals {} ({} with a key or password), warnings {}",
        args.file.display(),
        config.gate.id,
        config.gate.site,
        config.readers.len(),
        config.seals.len(),
        config.seals.iter().filter(|seal| seal.has_secret()).count(),
        loaded.warnings.len(),
    );
    for (id, reader) in &config.readers {
        if let Reader::Ble(ble) = reader {
            let Ok(adapter) = ble.adapter.parse::<AdapterName>();
            let _ = match adapter {
                AdapterName::Kernel(name) => writeln!(text, "radio {id}: the adapter the kernel names {name}, whichever that is"),
                AdapterName::Address(address) => {
                    writeln!(text, "radio {id}: the adapter with the address {address}, wherever it is plugged in")
                }
            };
        }
    }
    text.push('\n');
    // The main file is named above; the rest is named from its folder, to keep the table narrow.
    let folder = args.file.parent().map_or_else(String::new, |folder| format!("{}/", folder.display()));
    let rows: Vec<[String; 4]> = limits(loaded)
        .into_iter()
        .map(|row| {
            let origin = row.origin.map_or_else(|| "fixed".to_owned(), |origin| origin.to_string());
            let origin = origin.strip_prefix(&folder).map_or_else(|| origin.clone(), ToOwned::to_owned);
            [row.name, format!("{} {}", row.value, row.unit), origin, row.reason.to_owned()]
        })
        .collect();
    table(&mut text, ["timeout, limit or interval", "value", "origin", "reason"], &rows);
    text
}

/// Columns as wide as their widest cell; the last one is not padded.
fn table(text: &mut String, head: [&str; 4], rows: &[[String; 4]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let mut line = |[a, b, c, d]: [&str; 4]| {
        let _ = writeln!(text, "{a:first$}  {b:second$}  {c:third$}  {d}");
    };
    line(head);
    for row in rows {
        line([&row[0], &row[1], &row[2], &row[3]]);
    }
}
