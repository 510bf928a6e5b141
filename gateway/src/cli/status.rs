//! `segel status`: how the gate is, for a person or as JSON.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;

use super::{exit::Exit, settings::runtime_dir};
use crate::{
    api::ask_status,
    clock::AgeBasis,
    ingest::ReaderStatus,
    space::levels::{Level, Why},
    status::{ClassAccount, Status, StorageStatus},
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
        Some(age) => line(format!("OLDEST UNDELIVERED ALARM  {}", known_age(age, status.oldest_undelivered_alarm_by))),
        None => line("No alarm waits for customs.".to_owned()),
    }
    if let Some(reason) = &status.journal_refuses {
        let since = status.journal_refuses_since.map_or_else(String::new, |since| since.strftime(" since %H:%M:%SZ").to_string());
        line(format!("JOURNAL REFUSES{since}  {reason}"));
    }
    if let Some(why) = &status.no_receipts {
        line(format!("NO COMMANDS     {why}"));
    }
    if let Some(what) = &status.books.imbalance {
        line(format!("THE ACCOUNTS DO NOT ADD UP  {what}: please report this"));
    }
    if let Some(why) = &status.books.unread {
        line(format!("FIGURES OF {} AGO  {why}", duration(i64::try_from(status.books.age_s).unwrap_or(i64::MAX))));
    }
    line(format!(
        "{:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}   oldest waiting",
        "CLASS", "recorded", "delivered", "pending", "dropped", "archived", "refused", "on disk"
    ));
    for account in &status.accounts {
        line(account_line(account));
    }
    line(storage_line(&status.storage));
    line(format!(
        "JOURNAL    {} + {} log, {} unused, reserve {}",
        size(status.storage.database_bytes),
        size(status.storage.log_bytes),
        size(status.storage.unused_bytes),
        match status.storage.reserve.as_str() {
            "held" => format!("of {} held", size(status.storage.reserve_bytes)),
            "spent" => format!("SPENT, {} of the disk left", size(status.storage.reserve_bytes)),
            _ => "none".to_owned(),
        }
    ));
    if status.sheltered_reports > 0 {
        line(format!("WAITING    {} reports in memory until the journal can be written", status.sheltered_reports));
    }
    for (reader, lost) in &status.unrecorded {
        line(format!("NOT ON RECORD  {reader:<16} {} events refused, {} reports without a place", lost.refused_events, lost.shed_reports));
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
        "{:<10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}   {}",
        account.class.as_str(),
        account.recorded,
        account.delivered,
        account.pending,
        account.dropped,
        account.archived,
        account.refused,
        size(account.bytes),
        account.oldest_pending_s.map_or_else(|| "-".to_owned(), |age| known_age(age, account.oldest_pending_by))
    )
}

fn storage_line(storage: &StorageStatus) -> String {
    let mut line = match storage.level {
        Level::Plenty => "DISK       enough room".to_owned(),
        Level::Low => format!("DISK       LOW ({})", because(storage.because)),
        Level::Scarce => format!("DISK       SCARCE ({}): telemetry is refused", because(storage.because)),
        Level::Failed => format!("DISK       FAILED ({})", because(storage.because)),
    };
    if let (Some(free), Some(total)) = (storage.free_bytes, storage.total_bytes) {
        let _ = write!(line, "   {} free of {}", size(free), size(total));
    }
    if let Some(inodes) = storage.free_inodes {
        let _ = write!(line, ", {inodes} inodes free");
    }
    if let Some(hours) = storage.scarce_in_h {
        let _ = write!(line, ", short in {hours} h at this rate");
    }
    line
}

fn because(why: Why) -> &'static str {
    match why {
        Why::Well => "getting better",
        Why::Bytes => "little is free",
        Why::Inodes => "few inodes are free",
        Why::Forecast => "it fills up",
        Why::MetFull => "a write found it full: a quota, or blocks kept for root",
        Why::ReadOnly => "read-only",
        Why::Silent => "it does not answer",
    }
}

/// An age with a word on how it is known, where a clock was wrong.
fn known_age(seconds: i64, by: Option<AgeBasis>) -> String {
    match by {
        Some(AgeBasis::AtLeast) => format!("at least {} (a clock was wrong)", duration(seconds)),
        Some(AgeBasis::Unchecked) => format!("about {} (by a clock nobody checked)", duration(seconds)),
        Some(AgeBasis::Monotonic | AgeBasis::Wall) | None => duration(seconds),
    }
}

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=10_485_759 => format!("{} KiB", bytes >> 10),
        10_485_760..=10_737_418_239 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

fn duration(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}
