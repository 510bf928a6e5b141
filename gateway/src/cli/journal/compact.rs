//! `segel journal compact`: what is archived leaves the database now, and free pages go back to the file system.

use std::process::ExitCode;

use clap::Args;

use super::progress::{Bar, Unit};
use super::upkeep::{self, By, Site};
use crate::archive::Demand;
use crate::archive::errand::{Line, Round};
use crate::cli::interrupt::Interrupt;
use crate::config::Config;

/// Arguments of `segel journal compact`.
#[derive(Debug, Args)]
pub(super) struct CompactArgs {
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Compacts.
pub(super) fn run(args: &CompactArgs, config: &Config, by: By, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let site = Site { config, to: None, by };
    let bar = Bar::new(Unit::Events, 0, "compacting");
    let mut whole = 0;
    let outcome = upkeep::perform(&site, Demand::Compact, interrupt, |line| {
        if let Line::Compacting { to_trim, free_pages } = line {
            // Rows become free pages, so the bar may grow; it never shrinks.
            let left = to_trim + free_pages;
            whole = left.max(whole);
            bar.show(whole - left, whole);
        }
    });
    drop(bar);
    upkeep::conclude(outcome, Round::default(), args.json)
}
