//! `segel status`: how the gate is, for a person or as JSON.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;

use super::{exit::Exit, settings::runtime_dir};
use crate::{
    api::ask_status,
    ingest::ReaderStatus,
    status::{ClassAccount, Status},
};

/// How the running gate is: accounts per class, link to customs, readers, seals.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The configuration file, to find the gate's runtime directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The runtime directory itself, instead of asking the configuration.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
///
/// # Errors
/// When no gate answers.
pub async fn run(args: StatusArgs) -> anyhow::Result<Exit> {
    let dir = match args.runtime_dir {
        Some(dir) => dir,
        None => runtime_dir(args.config.as_deref())?,
    };
    let status = ask_status(&dir).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", page(&status));
    }
    Ok(Exit::Good)
}

/// The status as a person reads it.
#[must_use]
pub fn page(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "Gate {} at {}   since {}   segel {}   clock {}",
        status.gate,
        status.site,
        status.since.strftime("%Y-%m-%d %H:%M:%SZ"),
        status.version,
        status.clock
    ));
    match status.oldest_undelivered_alarm_s {
        Some(age) => line(format!("OLDEST UNDELIVERED ALARM  {}", duration(age))),
        None => line("No alarm waits for customs.".to_owned()),
    }
    if let Some(reason) = &status.journal_refuses {
        line(format!("JOURNAL REFUSES  {reason}"));
    }
    line(format!("{:<10} {:>10} {:>10} {:>10} {:>10}   oldest waiting", "CLASS", "recorded", "delivered", "pending", "dropped"));
    for account in &status.accounts {
        line(account_line(account));
    }
    line(match &status.uplink {
        None => "UPLINK     off".to_owned(),
        Some(link) => {
            let reason = link.reason.as_deref().map_or_else(String::new, |reason| format!("  {reason}"));
            format!("UPLINK     {}   {} in flight, {} acknowledged{reason}", link.phase, link.in_flight, link.acknowledged)
        }
    });
    line(match &status.broker {
        None => "MONITORS   none can connect".to_owned(),
        Some(broker) => format!("MONITORS   {} connected, {} refused, {} cut off", broker.clients, broker.refused, broker.cut_off),
    });
    for reader in &status.readers {
        let word = match reader.status {
            ReaderStatus::Up => "up",
            ReaderStatus::Down => "DOWN",
        };
        line(format!("READER     {:<16} {word:<5} {}", reader.reader, reader.detail));
    }
    line(format!("SEALS      {} in range, {} known", status.seals.in_range, status.seals.known));
    out
}

fn account_line(account: &ClassAccount) -> String {
    format!(
        "{:<10} {:>10} {:>10} {:>10} {:>10}   {}",
        account.class.as_str(),
        account.recorded,
        account.delivered,
        account.pending,
        account.dropped,
        account.oldest_pending_s.map_or_else(|| "-".to_owned(), duration)
    )
}

fn duration(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
