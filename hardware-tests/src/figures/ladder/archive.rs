//! Nine of ten events are delivered and go to the archive and off the journal, while alarms come every 20 ms: an alarm
//! must never wait for housekeeping. Beside it the same alarms on the idle journal, and a copy of the same bytes.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use segel::{
    event::{Class, Seq},
    forward::UPLINK,
    journal::{Journal, JournalReader},
};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        drain::forget_cursors,
        events,
        memory::{Resident, mb},
        sample::{per_second, rate, thousands},
        table::Row,
    },
    ground::Ground,
    steady::{self, Alarms},
    stow,
    wear::Meter,
};

/// So many of so many are delivered.
const DELIVERED: (u64, u64) = (9, 10);
/// How long the alarms come on the idle journal first, in tenths of a second.
const IDLE: usize = 100;
/// No alarm waits longer for its place on the disk, whatever housekeeping does.
const BOUND: Duration = Duration::from_millis(50);
/// A cursor is on disk within a second.
const CURSORS: Duration = Duration::from_secs(10);
/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The rows of this part.
pub(super) async fn run(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let (dir, place, scratch) = (ground.journal("archive")?, ground.scratch("archive")?, ground.scratch("alarms")?);
    forget_cursors(&dir)?;
    let (journal, _) = events::open(&dir)?;
    let (events, bytes) = deliver(&journal).await?;
    let idle = Alarms::alone(&journal, &scratch, Duration::from_millis(100 * ground.plan.of(IDLE) as u64)).await?;
    let (before, rss_before) = (journal.reader()?.sizes()?, Resident::of(std::process::id())?.all);
    let meter = Meter::new(&dir)?;
    let begun = meter.read()?;

    let stop = CancellationToken::new();
    let watching = tokio::spawn(highest(stop.clone()));
    let (alarms, start) = (Alarms::start(&journal, &scratch)?, Instant::now());
    stow::archive(&journal, &dir, &place).await?;
    let archived = start.elapsed();
    let while_archiving = alarms.stop().await?;
    let (alarms, start) = (Alarms::start(&journal, &scratch)?, Instant::now());
    stow::compact(&journal, &dir, &place).await?;
    let compacted = start.elapsed();
    let while_compacting = alarms.stop().await?;
    stop.cancel();
    let rss = watching.await??;

    let written = meter.read()?.since(begun, bytes);
    agrees(&journal, events)?;
    let free = journal.reader()?.sizes()?.free;
    // The file shrinks with the next checkpoint; closing makes one.
    journal.close().await?;
    let after = JournalReader::open(&dir)?.sizes()?;
    let (size, copied) = spawn_blocking(move || copy(&place)).await??;

    anyhow::ensure!(free == 0, "{free} bytes of empty pages were not given back");
    let count = thousands(events as f64);
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let bare = Row::new(format!("{count} delivered events {}", stow::WAY), format!("{:.1} s", archived.as_secs_f64()));
    let events = usize::try_from(events)?;
    let mut rows = vec![
        bare.beside(format!("{:.1} s to copy the same bytes", copied.as_secs_f64()), archived.as_secs_f64() / copied.as_secs_f64()),
        Row::new("the same, a second", per_second(rate(events, archived))),
        Row::new("what is left of their rows deleted and pages given back", format!("{:.1} s", compacted.as_secs_f64())),
        Row::new("size of the archive", megabytes(size)).beside(format!("{} of documents", megabytes(bytes)), size as f64 / bytes as f64),
        Row::new("size of the database after it", megabytes(after.database))
            .beside(format!("{} before", megabytes(before.database)), after.database as f64 / before.database as f64),
        Row::new("bytes written for a byte archived", written.shown()),
    ];
    rows.extend(steady::rows("while events go to the archive", &while_archiving, &idle, Some(BOUND)));
    rows.extend(steady::rows("while the rest is deleted and given back", &while_compacting, &idle, Some(BOUND)));
    let row = Row::new("resident memory meanwhile at its highest, of this bench", format!("{:.1} MB", mb(rss)));
    rows.push(row.beside(format!("{:.1} MB before", mb(rss_before)), rss as f64 / rss_before as f64));
    Ok(rows)
}

/// Moves the cursors over what is delivered; how many events that are, and their bytes.
async fn deliver(journal: &Journal) -> anyhow::Result<(u64, u64)> {
    let heads = *journal.heads().borrow();
    let to = |class: &Class| Seq(heads.of(*class).0 * DELIVERED.0 / DELIVERED.1);
    for class in Class::ALL {
        journal.advance(&UPLINK, *class, to(class));
    }
    let deadline = Instant::now() + CURSORS;
    let reader = journal.reader()?;
    loop {
        let there = Class::ALL.iter().map(|class| Ok(reader.cursor(&UPLINK, *class)? == to(class))).collect::<anyhow::Result<Vec<_>>>()?;
        if there.iter().all(|there| *there) {
            break;
        }
        anyhow::ensure!(Instant::now() < deadline, "the cursors are not on disk");
        sleep(LOOK).await;
    }
    let count = Class::ALL.iter().map(|class| to(class).0).sum();
    let totals = reader.totals()?;
    let (held, bytes) = totals.iter().fold((0, 0), |sum, total| (sum.0 + total.held, sum.1 + total.bytes));
    Ok((count, u64::try_from(u128::from(bytes) * u128::from(count) / u128::from(held))?))
}

/// Whether all of it, and nothing else, has left the journal.
fn agrees(journal: &Journal, events: u64) -> anyhow::Result<()> {
    let totals = journal.reader()?.totals()?;
    let archived: u64 = totals.iter().map(|total| total.archived).sum();
    anyhow::ensure!(archived == events, "{events} events were delivered and {archived} have left the journal");
    let adds_up = totals.iter().all(|total| total.recorded == total.held + total.archived + total.dropped && total.dropped == 0);
    anyhow::ensure!(adds_up, "the journal's totals do not add up: {totals:?}");
    Ok(())
}

/// Watches this process's memory until told to stop: the highest resident set, in kB of 1024 bytes.
async fn highest(stop: CancellationToken) -> anyhow::Result<u64> {
    let mut highest = 0;
    while !stop.is_cancelled() {
        highest = Resident::of(std::process::id())?.all.max(highest);
        sleep(LOOK).await;
    }
    Ok(highest)
}

/// Bytes of the files under `dir`, and how long it takes to copy each to a file of its own and make that durable. One
/// copy is there at a time.
fn copy(dir: &Path) -> anyhow::Result<(u64, Duration)> {
    let (mut bytes, mut took) = (0, Duration::ZERO);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            let (more, longer) = copy(&path)?;
            (bytes, took) = (bytes + more, took + longer);
            continue;
        }
        let to = path.with_extension("copy");
        let begin = Instant::now();
        bytes += fs::copy(&path, &to)?;
        File::open(&to)?.sync_all()?;
        took += begin.elapsed();
        fs::remove_file(to)?;
    }
    Ok((bytes, took))
}
