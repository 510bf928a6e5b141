//! `segel run`: the gate itself.

use std::{fs, path::PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{exit::Exit, logging, runtime, settings};
use crate::gate;

/// Run the gate until told to stop.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Loads the configuration, opens the gate, and closes it on SIGTERM or SIGINT.
///
/// # Errors
/// When the configuration has faults (all of them at once), or the gate cannot start.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let loaded = settings::load(args.config.as_deref())?;
    logging::start(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let dir = &loaded.config.gate.state_dir;
    fs::create_dir_all(dir).map_err(|fault| {
        anyhow::anyhow!("state_dir {} cannot be made: {fault}; make it and give it to the service's user", dir.display())
    })?;
    runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            told.cancel();
        });
        gate::run(loaded.config, stop).await?;
        Ok(Exit::Good)
    })
}
