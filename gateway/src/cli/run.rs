//! `segel run`: the gate itself.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{exit::Exit, logging, runtime, settings};
use crate::gate;

/// How long a thread that reads or writes some file may still take once everything else has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// Run the gate until told to stop.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Stop when the process that started this one ends.
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Loads the configuration, opens the gate, and closes it on SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// When the configuration has faults (all of them at once), or the gate cannot start.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let loaded = settings::load(args.config.as_deref())?;
    logging::start(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!(key = warning.dotted_key(), remedy = warning.remedy(), "{}", warning.problem());
    }
    if args.with_parent {
        // The demo and the tests must leave no gate behind, however they end.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            told.cancel();
        });
        Box::pin(gate::run(loaded.config, stop)).await?;
        Ok(Exit::Good)
    });
    // The journal is closed by now. A disk that hangs (a pulled archive disk does) must not hold the process.
    runtime.shutdown_timeout(LEFT_BEHIND);
    outcome
}
