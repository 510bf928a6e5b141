//! `segel demo`: a day at the gate in a minute.
//!
//! Everything is real but the radio waves and the far end: the gateway is this very program, started as a process of
//! its own and killed for real; the reader is a pseudo-terminal on which the reader's frames travel; the seals send
//! real encrypted advertisements over a simulated air; customs is an MQTT broker behind a line that can be cut.
//!
//! ```text
//!   this process                                 child process
//!   ┌ lorries ─► reader (pty) ───────────────►┐
//!   │        └─► seals (air socket) ─────────►┤ segel run ├─► monitor (subscribed to its broker)
//!   │                                         └─────┬─────┘
//!   └ customs' broker ◄══ a line that can be cut ◄══┘
//! ```
//!
//! It ends with the accounts and a check of the chain from what customs received alone, and succeeds only if every
//! event the gate recorded is there, unchanged.

mod cast;
mod stage;
mod story;
mod technician;
mod verdict;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::Exit;
use stage::Stage;
use story::Story;

/// Play a day at the gate in a minute.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave everything running afterwards, with lorries passing, until Ctrl-C.
    #[arg(long)]
    keep_running: bool,
    /// Leave out the pauses that are there for people.
    #[arg(long)]
    quick: bool,
    /// The port of the gate's own broker on 127.0.0.1.
    #[arg(long, default_value_t = 18_830, value_name = "PORT")]
    broker_port: u16,
    /// The port of customs' broker on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    customs_port: u16,
    /// Keep the gate's files here instead of a temporary directory; must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// How long the story waits for people to read.
#[derive(Debug, Clone, Copy)]
struct Pace {
    beat: Duration,
}

/// Plays the story.
///
/// # Errors
/// When the stage cannot be set: a port in use, no pseudo-terminal, no space. The message says which, and what to do.
pub async fn run(args: DemoArgs) -> anyhow::Result<Exit> {
    let pace = Pace { beat: if args.quick { Duration::from_millis(60) } else { Duration::from_millis(2_400) } };
    let stage = Stage::set(&args).await?;
    let mut story = Story::new(stage, pace);
    let ended = tokio::select! {
        played = play(&mut story, args.keep_running) => Some(played),
        asked = told_to_stop() => asked.map(|()| None)?,
    };
    story.strike().await;
    match ended {
        None => Ok(Exit::Good),
        Some(holds) => Ok(if holds? { Exit::Good } else { Exit::Other }),
    }
}

async fn play(story: &mut Story, keep_running: bool) -> anyhow::Result<bool> {
    let played = story.play().await;
    if let Err(fault) = &played {
        story.explain(fault);
    }
    let holds = played?;
    if keep_running {
        story.keep_running().await?;
    }
    Ok(holds)
}

/// Resolves when somebody wants the demo to end.
async fn told_to_stop() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate, mut hangup) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
