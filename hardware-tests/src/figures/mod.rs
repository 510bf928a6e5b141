//! The parts of the bench and what they have in common: how much to do, where, and the table.
//!
//! What must hold: a figure stands beside a baseline of the same run, the two in turns, so that a busy machine slows
//! both; ratios are read, not times. Nothing here judges: whether a target was met is printed and nothing fails for it.

mod append;
mod drain;
mod events;
mod memory;
mod opening;
mod passing;
mod place;
mod plain;
mod sample;
mod subscriber;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use self::{events::Filled, place::Place, table::Table};

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
/// When something broke; a missed target is no error.
pub(crate) async fn run(wanted: &Wanted) -> anyhow::Result<()> {
    let mut plan = Plan {
        tenth: if wanted.quick { 10 } else { 1 },
        dir: tempfile::Builder::new().prefix("segel-figures-").tempdir()?,
        program: std::env::current_exe()?,
        full: None,
    };
    let place = Place::of(plan.dir.path());
    println!("{place}");
    let mut table = Table::default();
    for part in Part::value_variants() {
        if !wanted.only.is_empty() && !wanted.only.contains(part) {
            continue;
        }
        eprintln!("{part:?} ... (load {})", place::load());
        let rows = match part {
            Part::Append => append::run(&plan).await,
            Part::Passing => passing::run(&plan).await,
            Part::Drain => drain::run(&plan).await,
            Part::Opening => opening::run(&mut plan).await,
            Part::Memory => memory::run(&mut plan).await,
        };
        table.extend(rows.with_context(|| format!("the part {part:?}"))?);
    }
    println!("\n{table}\nload at the end: {}", place::load());
    Ok(())
}
