//! The command line: one file per command.
//!
//! Every reading command takes `--json`; every fault says what, where and what to do, on standard error, and ends with
//! one of the codes in [`exit`].

pub mod check;
pub mod decode;
pub mod exit;
pub mod interrupt;
pub mod journal;
pub mod logging;
pub mod passwd;
pub mod run;
pub mod seal;
pub mod seals;
pub mod settings;
pub mod status;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use exit::Exit;

use crate::{api::ApiError, config::Faults, gate::GateError, journal::JournalError};

/// Gateway daemon at a port gate: hears container seals, writes what they say to a durable, hash-chained journal, and
/// forwards it to customs.
#[derive(Debug, Parser)]
#[command(name = "segel", version, propagate_version = true, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gate until told to stop (SIGTERM, SIGINT, SIGHUP).
    Run(run::RunArgs),
    /// Check the configuration and show every limit in force, without starting anything.
    Check(check::CheckArgs),
    /// Show how the running gate is.
    Status(status::StatusArgs),
    /// List the seals of the register: who is heard, in what state, and how far that can be believed.
    Seals(seals::SealsArgs),
    /// Read, lock or drain one seal, or set its clock. A seal is only opened on a permit of customs.
    Seal(seal::SealArgs),
    /// Read, verify, archive and compact the journal, whether or not the gate is running.
    Journal(JournalCommand),
    /// Say what a captured frame of a seal or reader means, byte by byte, or why it is wrong.
    Decode(decode::DecodeArgs),
    /// Hash a monitor's password for `[broker.users]`; the password is read from standard input.
    Passwd(passwd::PasswdArgs),
    /// Play a day at the gate in a minute: no hardware, no root, nothing to install.
    Demo(crate::demo::DemoArgs),
}

/// `segel journal` with where the journal is.
#[derive(Debug, clap::Args)]
struct JournalCommand {
    #[command(flatten)]
    args: journal::JournalArgs,
    /// The configuration file, to find the journal.
    #[arg(long, value_name = "FILE", global = true, display_order = 900)]
    config: Option<PathBuf>,
    /// The directory of the journal itself, instead of asking the configuration.
    #[arg(long, value_name = "DIR", global = true, display_order = 901)]
    state_dir: Option<PathBuf>,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(fault) => {
            let usage = fault.use_stderr();
            // Printing can only fail when nobody reads.
            let _ = fault.print();
            return if usage { Exit::Usage.into() } else { Exit::Good.into() };
        }
    };
    match dispatch(command.verb) {
        Ok(code) => code,
        Err(fault) => {
            eprintln!("segel: {fault:#}");
            exit_of(&fault).into()
        }
    }
}

fn dispatch(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Check(args) => Ok(check::run(&args)?.into()),
        Verb::Journal(command) if command.args.is_upkeep() => {
            let config = settings::load(command.config.as_deref())?.config;
            journal::run_upkeep(&command.args, config, command.state_dir)
        }
        Verb::Journal(command) => {
            let dir = match command.state_dir {
                Some(dir) => dir,
                None if command.args.needs_journal() => settings::state_dir(command.config.as_deref())?,
                // An auditor's machine has no configuration; one that was named must be there.
                None if command.args.takes_what_is_there() => match (settings::state_dir(command.config.as_deref()), &command.config) {
                    (Err(faults), Some(_)) => return Err(faults.into()),
                    (found, _) => found.ok().filter(|dir| dir.join("journal.db").exists()).unwrap_or_default(),
                },
                None => PathBuf::new(),
            };
            journal::run(command.args, &dir)
        }
        Verb::Decode(args) => Ok(decode::run(&args)?.into()),
        Verb::Passwd(args) => passwd::run(&args).map(Into::into),
        Verb::Run(args) => run::run(&args).map(Into::into),
        Verb::Status(args) => runtime()?.block_on(status::run(args)).map(Into::into),
        Verb::Seals(args) => seals::run(&args).map(Into::into),
        Verb::Seal(args) => seal::run(&args).map(Into::into),
        Verb::Demo(args) => runtime()?.block_on(crate::demo::run(args)).map(Into::into),
    }
}

/// The runtime of every command: two workers are enough for a gate and keep its memory small.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Which code a fault ends with.
fn exit_of(fault: &anyhow::Error) -> Exit {
    if fault.is::<Faults>() || matches!(fault.downcast_ref(), Some(GateError::Configuration(_))) {
        Exit::Configuration
    } else if fault.is::<JournalError>() || matches!(fault.downcast_ref(), Some(GateError::Journal(_))) {
        Exit::Journal
    } else if matches!(fault.downcast_ref(), Some(ApiError::Refused { .. })) {
        Exit::Refused
    } else if matches!(fault.downcast_ref(), Some(GateError::Api(ApiError::Bind { .. }))) {
        Exit::Listener
    } else {
        Exit::Other
    }
}
