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
/// Where root may tell the kernel to forget every file it holds in memory.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

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
    rows.extend(openings(&full.dir, &few.dir, &size).await?);
    Ok(rows)
}

/// Openings of the journal in `full`, which holds this much, and of the one in `few`, in turns.
pub(super) async fn openings(full: &Path, few: &Path, size: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut steps = (0, 0);
    for thrown_out in [ThrownOut::Nothing, ThrownOut::Files] {
        let (mut ours, mut beside) = (Samples::default(), Samples::default());
        let mut how = "files in memory";
        for _ in 0..ROUNDS {
            how = thrown_out.out(full)?;
            let (took, full_steps) = opened(full).await?;
            ours.push(took);
            thrown_out.out(few)?;
            let (took, few_steps) = opened(few).await?;
            beside.push(took);
            steps = (full_steps, few_steps);
        }
        let (ours, beside) = (ours.median(), beside.median());
        let row = Row::new(format!("opening {size} to the first alarm accepted, {how}"), ms(ours));
        let row = row.beside(format!("{} with ten events", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64());
        rows.push(row.aims(format!("under {} s", TARGET.as_secs()), ours < TARGET));
    }
    let (full, few) = steps;
    let row = Row::new(format!("steps of the database machine to open {size}"), thousands(full as f64));
    rows.push(row.beside(format!("{} with ten events", thousands(few as f64)), full as f64 / few as f64));
    Ok(rows)
}

/// What is thrown out of the machine's memory before an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThrownOut {
    Nothing,
    Files,
}

impl ThrownOut {
    /// Throws it out; how that was done. The whole page cache where that is allowed, else the journal's own pages.
    fn out(self, dir: &Path) -> anyhow::Result<&'static str> {
        if self == Self::Nothing {
            return Ok("files in memory");
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            let file = File::open(entry.path())?;
            // Only what is on disk can be thrown out.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
        let all = fs::write(DROP_CACHES, "3").is_ok();
        Ok(if all { "nothing in memory" } else { "files on disk only" })
    }
}

/// Opens it, records an alarm and closes it: the time to the alarm, and the steps of the opening.
async fn opened(dir: &Path) -> anyhow::Result<(Duration, u64)> {
    let alarm = Events::new().alarm()?;
    let begin = Instant::now();
    let (journal, opening) = events::open(dir)?;
    journal.append(Entry::new(alarm)).await?;
    let took = begin.elapsed();
    journal.close().await?;
    Ok((took, opening.steps))
}
