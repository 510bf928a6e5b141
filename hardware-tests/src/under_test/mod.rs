//! The journal in a process of its own, which can be killed or lose its disk at any moment.
//!
//! It says what it tries and what was acknowledged, each at the moment it happens: see
//! [`segel_hardware_tests::witness::Said`]. Everything it decides comes from the seed.

mod plain;
mod serve;
mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use segel::journal::{Beginning, Journal};
use segel_hardware_tests::witness::{Said, config, source};

/// What to do, and where.
#[derive(Debug, Parser)]
#[command(name = "journal-under-test", about = "A journal that can be killed or lose its disk at any moment")]
pub(crate) struct Wanted {
    /// Directory of the journal.
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of telemetry before the oldest is dropped.
    #[arg(long, default_value_t = 60_000)]
    quota: u64,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Random work until it is done or dies.
    Work(work::Order),
    /// What standard input asks.
    Serve,
    /// No journal at all: a plain SQLite database, for the control experiment.
    Plain(plain::Order),
}

/// Does it.
///
/// # Errors
/// When the journal cannot be opened or closed.
pub(crate) async fn run(wanted: Wanted) -> anyhow::Result<()> {
    let place = Place { dir: wanted.dir, quota: wanted.quota };
    match wanted.what {
        What::Work(order) => work::run(&place, &order).await,
        What::Serve => serve::run(&place).await,
        What::Plain(order) => plain::run(&place.dir, &order),
    }
}

/// Where the journal is and how it is set up.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    quota: u64,
}

impl Place {
    /// Opens the journal and says so.
    fn open(&self) -> anyhow::Result<Journal> {
        Said::Doing("opening".to_owned()).say();
        let (journal, opening) = Journal::open(&self.dir, config(self.quota), source()).context("the journal cannot be opened")?;
        let how = match opening.beginning {
            Beginning::Resumed => "resumed",
            Beginning::Fresh => "fresh",
            Beginning::SetAside { .. } => "aside",
        };
        Said::Opened(how.to_owned(), opening.journal).say();
        Ok(journal)
    }
}

/// Says that an event was not recorded, by the name of the error.
fn refused(class: segel::event::Class, id: uuid::Uuid, error: &segel::journal::JournalError) {
    Said::Refused(class, id, named(error)).say();
}

/// The name of an error: what stands before its fields.
fn named(error: &segel::journal::JournalError) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}
