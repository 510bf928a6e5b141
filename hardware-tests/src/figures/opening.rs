//! The time from nothing to the first alarm accepted, on a full journal and on one that is nearly empty.
//!
//! Once with the files in memory, as after a restart of the program, and once with them thrown out of it, as after a
//! restart of the machine.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{Advice, fadvise};
use segel::journal::Entry;

use super::{
    Plan,
    events::{self, Events},
    sample::{Samples, ms, per_second, rate, thousands},
    table::Row,
};

/// Openings of each kind.
const ROUNDS: usize = 9;
/// Longest a start may take before it accepts an alarm.
const TARGET: Duration = Duration::from_secs(1);

/// The rows of this part.
pub(super) async fn run(plan: &mut Plan) -> anyhow::Result<Vec<Row>> {
    let few = events::fill(&plan.dir.path().join("few"), 10).await?;
    let full = plan.full().await?;
    let mib = full.bytes as f64 / f64::from(1 << 20);
    let size = format!("{} events", thousands(full.events as f64));
    let mut rows = vec![
        Row::new(format!("filling a journal with {size}"), per_second(rate(full.events, full.took))),
        Row::new(
            format!("size of a journal with {size}"),
            format!("{mib:.0} MiB ({:.0} bytes/event)", full.bytes as f64 / full.events as f64),
        ),
    ];
    for (how, cold) in [("files in memory", Cold::No), ("files on disk only", Cold::Yes)] {
        let (mut ours, mut beside) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            ours.push(opened(&full.dir, cold).await?);
            beside.push(opened(&few.dir, cold).await?);
        }
        let (ours, beside) = (ours.median(), beside.median());
        let row = Row::new(format!("opening {size} to the first alarm accepted, {how}"), ms(ours));
        let row = row.beside(format!("{} with ten events", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64());
        rows.push(row.aims(format!("under {} s", TARGET.as_secs()), ours < TARGET));
    }
    Ok(rows)
}

/// Whether the files are thrown out of memory first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cold {
    No,
    Yes,
}

async fn opened(dir: &Path, cold: Cold) -> anyhow::Result<Duration> {
    if cold == Cold::Yes {
        for entry in fs::read_dir(dir)? {
            let file = File::open(entry?.path())?;
            // Only what is on disk can be thrown out.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    let alarm = Events::new().alarm()?;
    let begin = Instant::now();
    let (journal, _) = events::open(dir)?;
    journal.append(Entry::new(alarm)).await?;
    let took = begin.elapsed();
    journal.close().await?;
    Ok(took)
}
