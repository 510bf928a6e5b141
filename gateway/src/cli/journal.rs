//! `segel journal`: look at what was recorded, check it, count it, hand it out. One file per command.
//!
//! What must hold: none of the reading commands needs the daemon or disturbs it; each works on a journal in use, on one
//! of a stopped gate and on one that was set aside. Documents and findings go to standard output, everything said about
//! them to standard error; a closed output ends a command silently with 0, Ctrl-C with 130 and a word on how far it
//! came, except where following until Ctrl-C is what was asked.

mod apart;
mod archive;
mod aside;
mod compact;
mod export;
mod follow;
mod found;
mod line;
mod on_shelf;
mod out_file;
mod progress;
mod received;
mod stats;
mod tail;
mod unbroken;
mod upkeep;
mod verify;
mod which;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::exit::Exit;
use super::interrupt::Interrupt;
use crate::config::Config;

/// Arguments of `segel journal`.
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    action: Action,
}

impl JournalArgs {
    /// Whether there must be a journal here; documents somebody received are checked anywhere.
    #[must_use]
    pub fn needs_journal(&self) -> bool {
        !matches!(&self.action, Action::Verify(args) if args.is_elsewhere() || args.takes_what_is_there())
    }

    /// Whether a journal is looked at where there is one: an archive is checked with it or by itself.
    #[must_use]
    pub fn takes_what_is_there(&self) -> bool {
        matches!(&self.action, Action::Verify(args) if args.takes_what_is_there())
    }

    /// Whether it is work for the gate, with its configuration.
    #[must_use]
    pub fn is_upkeep(&self) -> bool {
        matches!(&self.action, Action::Archive(_) | Action::Compact(_))
    }
}

/// One variant per command, each with its file beside this one.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the last events, and with --follow those that come
    ///
    /// Works beside the running gate, on the journal of a stopped one, and with --state-dir on one that was set aside.
    /// Times are UTC. A search for events --since a time goes back from the last event and ends where 4096 in a row are
    /// older than that time by more than an hour and 256 places before them are older too; what was recorded while the
    /// clock was wrong can be passed over, `segel journal export --since` looks at every event.
    #[command(verbatim_doc_comment)]
    Tail(tail::TailArgs),
    /// Check that nothing was changed or lost
    ///
    /// Without options: the journal here, every document against its digest, its row and its chain, and the database
    /// against its own rules. Exit code 0: whole. 1: not whole, each fault is named with what to do. 130: interrupted,
    /// no verdict.
    #[command(verbatim_doc_comment)]
    Verify(verify::VerifyArgs),
    /// Count events, and what became of them at each outlet
    ///
    /// recorded = held + archived + dropped for each class, and recorded = delivered + pending + dropped for each outlet.
    /// Exit code 1: they do not add up, or are not what is found on disk. What was refused (telemetry, for want of room)
    /// was never recorded and is counted apart.
    #[command(verbatim_doc_comment)]
    Stats(stats::StatsArgs),
    /// Hand out documents byte for byte, one per line, in the order of recording
    ///
    /// `segel journal verify --received` checks them on any machine. Archived and dropped events are not in it: where an
    /// export does not begin with number 1 it says so.
    #[command(verbatim_doc_comment)]
    Export(export::ExportArgs),
    /// Put delivered events into sealed segments in the archive, now
    ///
    /// The running gate does it; a journal nobody has open is archived from here. Each segment is read back before its
    /// events leave the database. Exit code 10: archiving or compacting is already running. 130: interrupted, what was
    /// sealed until then is archived, and a second run goes on.
    #[command(verbatim_doc_comment)]
    Archive(archive::ArchiveArgs),
    /// Delete what is archived from the database, and give its free space back
    ///
    /// The gate does both by itself, slowly; this does it without pauses until nothing is left. Exit codes as for archive.
    #[command(verbatim_doc_comment)]
    Compact(compact::CompactArgs),
}

/// Runs `segel journal` against the journal in `state_dir`. The exit code is 1 when a check found something wrong.
///
/// # Errors
/// When there is no journal, it cannot be read, or what was to be written cannot be.
pub fn run(args: JournalArgs, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen().context("the system gives no way to hear Ctrl-C: look at its limits with `ulimit -a`")?;
    let outcome = match args.action {
        Action::Tail(args) => tail::run(&args, state_dir, &interrupt),
        Action::Verify(args) => verify::run(&args, state_dir, &interrupt),
        Action::Stats(args) => stats::run(&args, state_dir, &interrupt),
        Action::Export(args) => export::run(&args, state_dir, &interrupt),
        Action::Archive(_) | Action::Compact(_) => Ok(wrong_usage("archive and compact need the gate's configuration: give --config FILE")),
    };
    match outcome {
        // Whoever piped us into `head` has seen enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

/// Runs what the gate does with its journal, itself or for it. `state_dir` is the journal's where it is not the gate's own.
///
/// # Errors
/// When there is no journal, it cannot be written, or the gate gives no usable answer.
pub fn run_upkeep(args: &JournalArgs, mut config: Config, state_dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen().context("the system gives no way to hear Ctrl-C: look at its limits with `ulimit -a`")?;
    let by = if state_dir.is_some() { upkeep::By::Us } else { upkeep::By::Anybody };
    config.gate.state_dir = state_dir.unwrap_or(config.gate.state_dir);
    match &args.action {
        Action::Archive(args) => archive::run(args, &config, by, &interrupt),
        Action::Compact(args) => compact::run(args, &config, by, &interrupt),
        _ => Ok(wrong_usage("this command needs no configuration")),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

/// A sentence for whoever started the command, on standard error. That nobody reads it changes nothing.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "segel: {text}");
}

/// The command line asks for what cannot be: says what, and gives the code for that.
fn wrong_usage(text: &str) -> ExitCode {
    say(text);
    Exit::Usage.into()
}
