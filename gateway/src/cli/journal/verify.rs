//! `segel journal verify`: whether anything is missing or was changed, in the journal here or in what somebody received.
//!
//! What must hold: a verdict is only given on everything that was to be looked at. Broken off, it says how far it came
//! and gives none. The exit code is 0 for whole, 1 for not whole, 130 for broken off.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::apart::{self, Ended, Step};
use super::progress::Unit;
use super::received::{self, Input};
use super::which::events;
use super::{found, on_shelf, say};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::event::chain::ChainCheck;
use crate::event::{Class, Seq};
use crate::journal::JournalReader;

/// Arguments of `segel journal verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Check documents somebody received, one per line, instead of the journal here; `-` reads standard input.
    /// A topic may stand before each, as `mosquitto_sub -v` writes it
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// Check the sealed segments in this archive, and that the journal here goes on where they end; the directory of
    /// `journal.archive_dir`, one gate's in it or one journal's, or a copy
    #[arg(long, value_name = "DIR", conflicts_with = "received")]
    archive: Option<PathBuf>,
    /// With --received: this class begins at this number on purpose, e.g. telemetry=5000
    #[arg(long, value_name = "CLASS=NUMBER", requires = "received")]
    from: Vec<Start>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Whether what is checked is not the journal here.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.received.is_some()
    }

    /// Whether a journal here is looked at, if there is one.
    pub(super) fn takes_what_is_there(&self) -> bool {
        self.archive.is_some()
    }
}

/// Where a class begins on purpose.
#[derive(Debug, Clone, Copy)]
struct Start {
    class: Class,
    first: Seq,
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("`{text}` is no beginning: write CLASS=NUMBER, e.g. telemetry=5000");
        let (class, first) = text.split_once('=').ok_or_else(fault)?;
        let first = first.parse().ok().filter(|first| *first > 0).ok_or_else(fault)?;
        Ok(Self { class: class.to_lowercase().parse().map_err(|_| fault())?, first: Seq(first) })
    }
}

/// Checks what was asked for.
pub(super) fn run(args: &VerifyArgs, dir: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    match (&args.received, &args.archive) {
        (Some(file), _) => received(args, file, interrupt),
        (None, Some(shelf)) => {
            let form = if args.json { on_shelf::Form::Json } else { on_shelf::Form::Words };
            match on_shelf::run(shelf, on_shelf::journal_in(dir).as_deref(), form, interrupt)? {
                Ok(code) => Ok(code),
                Err(step) => broken_off(args, step, Unit::Bytes),
            }
        }
        (None, None) => journal(args, dir, interrupt),
    }
}

fn journal(args: &VerifyArgs, dir: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(dir)?;
    let (id, source) = (reader.journal(), reader.source().to_owned());
    let ended = apart::work(interrupt, Unit::Events, "checking", move |tell| {
        Ok(reader.verify(|progress| tell(Step { done: progress.done, total: progress.total }))?)
    })?;
    let found = match ended {
        Ended::Done(found) => found,
        Ended::Interrupted(step) => return broken_off(args, step, Unit::Events),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let mut value = found::verified(&found);
        value["checked"] = json!("journal");
        value["journal"] = json!(id);
        value["source"] = json!(source);
        found::json(&mut out, &value)?;
    } else {
        writeln!(out, "journal {id} of {source}")?;
        found::chains(&mut out, &found.chains)?;
        for fault in &found.faults {
            writeln!(out, "  {} {}: {}", fault.class, fault.seq, fault.what)?;
        }
        let unlisted = found.fault_count.saturating_sub(found.faults.len() as u64);
        if unlisted > 0 {
            writeln!(out, "  and {unlisted} more like these")?;
        }
        for line in &found.database {
            writeln!(out, "  database: {line}")?;
        }
        found::verdict(&mut out, found.is_good())?;
        for advice in found::advice_here(&found, dir) {
            writeln!(out, "{advice}")?;
        }
    }
    Ok(if found.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn received(args: &VerifyArgs, file: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let input = Input::open(file)?;
    let check = args.from.iter().fold(ChainCheck::new(), |check, start| check.starting_at(start.class, start.first));
    let ended = apart::work(interrupt, Unit::Bytes, "checking", move |tell| input.feed(check, tell))?;
    let read = match ended {
        Ended::Done(read) => read,
        Ended::Interrupted(step) => return broken_off(args, step, Unit::Bytes),
    };
    let report = &read.report;
    let good = report.is_whole() && !report.chains.is_empty();
    let mut out = io::stdout().lock();
    if args.json {
        let mut value = found::report(report);
        value["checked"] = json!("received");
        value["good"] = json!(good);
        value["unreadable_lines"] = read.unreadable.iter().map(|(line, why)| json!({"line": line, "why": why})).collect::<Value>();
        value["passed_over"] = json!(read.passed_over);
        found::json(&mut out, &value)?;
    } else {
        for (line, error) in &read.unreadable {
            writeln!(out, "  line {line}: {error}")?;
        }
        found::chains(&mut out, report)?;
        if read.passed_over > 0 {
            writeln!(out, "{} messages of other topics passed over", read.passed_over)?;
        }
        if report.chains.is_empty() {
            writeln!(out, "no document of a gateway in {}: give what was received, one document per line", received::name(file))?;
        }
        found::verdict(&mut out, good)?;
        for advice in found::advice_received(report) {
            writeln!(out, "{advice}")?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says how far it came, and that this is no verdict.
fn broken_off(args: &VerifyArgs, step: Step, unit: Unit) -> anyhow::Result<ExitCode> {
    let Step { done, total } = step;
    let far = match (unit, total) {
        (_, 0) => "before anything was checked".to_owned(),
        (Unit::Events, _) => format!("after {} of {total} were checked", events(done)),
        (Unit::Bytes, _) => format!("after {done} of {total} bytes were checked"),
    };
    say(&format!("interrupted {far}: this is no verdict, start it again and let it end"));
    if args.json {
        found::json(&mut io::stdout().lock(), &json!({ "good": null, "interrupted": true, "done": done, "total": total }))?;
    }
    Ok(Exit::Interrupted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_needs_a_class_and_a_number_from_one() {
        assert!("telemetry=5000".parse::<Start>().is_ok());
        for bad in ["telemetry", "telemetry=0", "news=3", "alarm=-1", "alarm="] {
            assert!(bad.parse::<Start>().is_err(), "{bad}");
        }
    }
}
