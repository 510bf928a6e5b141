//! The parts of the bench and what they have in common: how much to do, where, and the table.
//!
//! What must hold: a figure stands beside a baseline of the same run, the two in turns, so that a busy machine slows
//! both; ratios are read, not times. Nothing here judges: whether a target was met is printed and nothing fails for it.
//!
//! Without `--journal` the parts of the whole gate run, on journals of their own. With it the journal itself is
//! measured at each of the sizes named ([`ladder`]): that is the table of `docs/benchmarks.md`. With `--ble` the scan
//! ([`air`], [`recorded`]) and the sessions ([`unlock`]) are measured before an emulated BlueZ.

mod air;
mod append;
mod drain;
mod events;
mod ladder;
mod memory;
mod opening;
mod passing;
mod place;
mod plain;
mod recorded;
mod room;
mod sample;
mod size;
mod subscriber;
mod table;
mod unlock;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};

use self::{
    events::Filled,
    place::Place,
    size::Sizes,
    table::{Form, Table},
};

/// What to run.
#[derive(Debug, Parser)]
#[command(name = "figures", about = "What segel costs, each figure beside a baseline of the same run")]
pub(crate) struct Wanted {
    /// Do a tenth of everything.
    #[arg(long)]
    quick: bool,
    /// Run one part only; may be given more than once.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Measure the journal itself with so many events in it, e.g. 10k,1m,10m (which is what no sizes mean).
    #[arg(long, value_name = "SIZES", num_args = 0..=1, default_missing_value = "")]
    journal: Option<Sizes>,
    /// Measure the Bluetooth scan and sessions, through an emulated BlueZ on a bus of its own.
    #[arg(long, conflicts_with_all = ["journal", "only"])]
    ble: bool,
    /// Print the table for a page.
    #[arg(long)]
    markdown: bool,
    /// Write everything under this directory instead of the one for temporary files; what is written is gone at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// One part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable appends beside a bare file.
    Append,
    /// From the reader's frame to a subscriber.
    Passing,
    /// A backlog to customs' broker.
    Drain,
    /// The time to the first alarm of a full journal.
    Opening,
    /// Resident memory.
    Memory,
    /// Bytes written to the device per byte of event (with --journal).
    Wear,
    /// The gate after two weeks without customs (with --journal).
    Outage,
    /// Recording and sending at once (with --journal).
    Mixed,
    /// What was delivered goes to the archive and off the journal (with --journal).
    Archive,
}

/// The parts of the whole gate.
const OF_THE_GATE: [Part; 5] = [Part::Append, Part::Passing, Part::Drain, Part::Opening, Part::Memory];
/// The parts of the journal, those that change it most last: a large one is not copied for each.
const OF_THE_JOURNAL: [Part; 7] = [Part::Opening, Part::Append, Part::Wear, Part::Drain, Part::Outage, Part::Mixed, Part::Archive];

impl Wanted {
    /// The parts to run, in their order.
    fn parts(&self) -> anyhow::Result<Vec<Part>> {
        let all: &[Part] = if self.journal.is_some() { &OF_THE_JOURNAL } else { &OF_THE_GATE };
        if let Some(other) = self.only.iter().find(|part| !all.contains(part)) {
            let with = if self.journal.is_some() { "without" } else { "with" };
            anyhow::bail!("the part {} is run {with} --journal only", format!("{other:?}").to_lowercase());
        }
        Ok(all.iter().filter(|part| self.only.is_empty() || self.only.contains(part)).copied().collect())
    }

    fn form(&self) -> Form {
        if self.markdown { Form::Markdown } else { Form::Text }
    }
}

/// How much is done, where, and what several parts share.
#[derive(Debug)]
struct Plan {
    /// Everything is divided by this.
    tenth: usize,
    /// Where everything is written; gone at the end.
    dir: tempfile::TempDir,
    /// The program to start as the gate.
    program: PathBuf,
    /// The full journal, once it was needed.
    full: Option<Filled>,
}

impl Plan {
    fn new(wanted: &Wanted, place: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("segel-figures-").tempdir_in(place);
        Ok(Self {
            tenth: if wanted.quick { 10 } else { 1 },
            dir: dir.with_context(|| format!("nothing can be written under {}: name another directory with --dir", place.display()))?,
            program: std::env::current_exe()?,
            full: None,
        })
    }

    /// So many, or a tenth of it, and never fewer than ten.
    fn of(&self, many: usize) -> usize {
        (many / self.tenth).max(10)
    }

    /// The journal of a million events, filled when it is first asked for.
    async fn full(&mut self) -> anyhow::Result<&Filled> {
        if self.full.is_none() {
            let dir = self.dir.path().join("full");
            self.full = Some(events::fill(&dir, self.of(1_000_000)).await.context("filling the large journal")?);
        }
        self.full.as_ref().context("it was filled a moment ago")
    }
}

/// Runs what is wanted and prints the table.
///
/// # Errors
/// When something broke or there is no room; a missed target is no error.
pub(crate) async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    if wanted.ble && !air::on_a_bus()? {
        return Ok(());
    }
    let parts = wanted.parts()?;
    let dir = wanted.dir.clone().unwrap_or_else(std::env::temp_dir);
    let sizes = wanted.journal.as_ref().map(|sizes| sizes.or_usual(wanted.quick)).unwrap_or_default();
    let (need, free) = room::check(&dir, &sizes)?;
    let mut plan = Plan::new(wanted, &dir)?;
    let place = Place::of(plan.dir.path());
    let mut table = Table::default();
    match wanted.form() {
        Form::Text => println!("{place}"),
        Form::Markdown => println!("{}", place.page()),
    }
    if !sizes.is_empty() {
        eprintln!("at most {} are written under {}, which has {} free", room::gb(need), dir.display(), room::gb(free));
        ladder::needs()?;
    }
    for size in &sizes {
        ladder::run(&plan, *size, &parts, &mut table).await.with_context(|| format!("with {size} events"))?;
    }
    if wanted.ble {
        let bus = air::bus()?;
        table.extend(air::run(&plan, &bus).await.context("the air")?);
        table.extend(recorded::run(&plan, &bus).await.context("the air to the journal")?);
        table.extend(unlock::run(&plan, &bus).await.context("an unlock")?);
    } else if sizes.is_empty() {
        of_the_gate(&mut plan, &parts, &mut table).await?;
    }
    println!("\n{}\nload at the end: {}", table.shown(wanted.form()), place::load());
    Ok(())
}

async fn of_the_gate(plan: &mut Plan, parts: &[Part], table: &mut Table) -> anyhow::Result<()> {
    for part in parts {
        eprintln!("{part:?} ... (load {})", place::load());
        let rows = match part {
            Part::Append => append::run(plan).await,
            Part::Passing => passing::run(plan).await,
            Part::Drain => drain::run(plan).await,
            Part::Opening => opening::run(plan).await,
            Part::Memory => memory::run(plan).await,
            Part::Wear | Part::Outage | Part::Mixed | Part::Archive => continue,
        };
        table.extend(rows.with_context(|| format!("the part {part:?}"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> Result<Wanted, String> {
        let words = std::iter::once("figures").chain(line.split_whitespace());
        Wanted::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_of_the_page_is_understood() {
        let wanted = wanted("--journal 10k,1m,10m --markdown --dir /var/tmp").unwrap();
        assert_eq!(wanted.journal.as_ref().unwrap().or_usual(false).len(), 3);
        assert_eq!(wanted.parts().unwrap(), OF_THE_JOURNAL);
        assert_eq!((wanted.form(), wanted.dir.as_deref()), (Form::Markdown, Some(Path::new("/var/tmp"))));
    }

    #[test]
    fn no_sizes_mean_the_usual_ones_and_no_journal_means_the_gate() {
        assert_eq!(wanted("--journal").unwrap().journal.unwrap().or_usual(false).len(), 3);
        assert_eq!(wanted("--journal --quick").unwrap().journal.unwrap().or_usual(true).len(), 2);
        assert_eq!(wanted("--quick").unwrap().parts().unwrap(), OF_THE_GATE);
    }

    #[test]
    fn a_wrong_size_is_refused_on_the_command_line_with_the_remedy() {
        let error = wanted("--journal 10k,lots").unwrap_err();
        assert!(error.contains("`lots` is no number of events") && error.contains("--journal"), "{error}");
    }

    #[test]
    fn a_part_of_the_other_kind_is_refused_and_not_left_out_in_silence() {
        let error = wanted("--only wear").unwrap().parts().unwrap_err().to_string();
        assert!(error.contains("the part wear is run with --journal only"), "{error}");
        let error = wanted("--journal 10k --only passing").unwrap().parts().unwrap_err().to_string();
        assert!(error.contains("the part passing is run without --journal only"), "{error}");
    }
}
