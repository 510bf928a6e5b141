//! `segel journal stats`: how much there is, what became of it, and whether the counts add up.
//!
//! Counting is a few searches however much is recorded; only `--types` looks at every event. What must hold: sums are
//! checked where they are printed, against what is found on disk and not only against themselves, and one that does not
//! add up is said in a sentence and by the exit code 1.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::found;
use super::progress::{Bar, Unit};
use super::say;
use super::unbroken::Unbroken;
use super::which::events;
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::event::Class;
use crate::journal::{Account, Accounts, Filter, JournalError, JournalReader, Moment, Outlet, Sizes, Totals, Walk};

/// Arguments of `segel journal stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Also count the events of each type; this looks at every event held and takes a while
    #[arg(long)]
    types: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// Everything that is told.
struct Stats {
    totals: Vec<Totals>,
    times: Vec<Times>,
    outlets: Vec<(Outlet, Accounts)>,
    sizes: Sizes,
    types: Option<BTreeMap<(Class, String), u64>>,
    faults: Vec<String>,
}

/// Wall times at both ends of what is held of a class.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// Counts and prints.
pub(super) fn run(args: &StatsArgs, dir: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(dir)?;
    let Some(stats) = Stats::take(&reader, args.types, interrupt)? else {
        say("interrupted before every event was counted: without --types the other counts are there at once");
        return Ok(Exit::Interrupted.into());
    };
    let mut out = io::stdout().lock();
    if args.json {
        found::json(&mut out, &stats.json(&reader))?;
    } else {
        stats.table(&mut out, &reader)?;
    }
    for fault in &stats.faults {
        say(&format!("THE COUNTS DO NOT ADD UP: {fault}"));
    }
    if stats.faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say("check the journal with `segel journal verify`, and keep a copy of its directory as it is now");
    Ok(ExitCode::FAILURE)
}

impl Stats {
    fn take(reader: &JournalReader, types: bool, interrupt: &Interrupt) -> Result<Option<Self>, JournalError> {
        let moment = reader.moment()?;
        let totals = reader.totals()?;
        let mut faults: Vec<String> = totals.iter().filter_map(total_fault).collect();
        let mut times = Vec::new();
        for class in Class::ALL {
            times.push(ends(reader, *class, &mut faults)?);
            faults.extend(archived_fault(reader, *class)?);
        }
        let mut outlets = Vec::new();
        for outlet in reader.outlets()? {
            let accounts = reader.accounts(&outlet)?;
            faults.extend(accounts.iter().filter_map(|account| account_fault(&outlet, account)));
            outlets.push((outlet, accounts));
        }
        let types = if types {
            let Some((types, missing)) = count_types(reader, &moment, interrupt)? else { return Ok(None) };
            faults.extend(missing);
            Some(types)
        } else {
            None
        };
        Ok(Some(Self { totals, times, outlets, sizes: reader.sizes()?, types, faults }))
    }
}

fn total_fault(total: &Totals) -> Option<String> {
    let Totals { class, recorded, held, archived, dropped, .. } = *total;
    (Some(recorded) != held.checked_add(archived).and_then(|sum| sum.checked_add(dropped)))
        .then(|| format!("{class}: {recorded} were recorded, but {held} are held, {archived} archived and {dropped} dropped"))
}

fn account_fault(outlet: &Outlet, account: &Account) -> Option<String> {
    let Account { class, recorded, delivered, pending, dropped, .. } = *account;
    (Some(recorded) != delivered.checked_add(pending).and_then(|sum| sum.checked_add(dropped))).then(|| {
        format!("{class} to {outlet}: {recorded} were recorded, but {delivered} are delivered, {pending} pending and {dropped} dropped")
    })
}

/// The times of the first and the last event held; the first must be the one after the front.
fn ends(reader: &JournalReader, class: Class, faults: &mut Vec<String>) -> Result<Times, JournalError> {
    // Once more when the front moved between the two looks.
    for _ in 0..ENDS_TRIES {
        let before = reader.moment()?.of(class);
        let first = reader.after(class, crate::event::Seq::NONE, 1, 0)?.pop();
        let last = reader.after(class, before.head.before(), 1, 0)?.pop();
        let after = reader.moment()?.of(class);
        if before != after {
            continue;
        }
        match &first {
            None if before.head > before.front => {
                faults.push(format!("{class}: {} to {} should be held and none is found", before.front.next(), before.head));
            }
            Some(first) if first.seq != before.front.next() => {
                faults.push(format!("{class}: the first held should be number {} and is {}", before.front.next(), first.seq));
            }
            _ => {}
        }
        return Ok(Times { first: first.map(|record| record.wall), last: last.map(|record| record.wall) });
    }
    Ok(Times::default())
}

/// A busy gate commits some times a second: one of so many looks falls between two commits.
const ENDS_TRIES: u32 = 100;

/// What is said to be archived must be in segments.
fn archived_fault(reader: &JournalReader, class: Class) -> Result<Option<String>, JournalError> {
    // The front first: segments are never removed, so that what comes later can only cover more.
    let front = reader.front(class)?;
    let in_segments: u64 = reader
        .segments(class)?
        .iter()
        .filter(|segment| segment.first <= front.last)
        .map(|segment| segment.last.min(front.last).0.saturating_sub(segment.first.before().0))
        .sum();
    Ok((in_segments != front.archived).then(|| {
        format!("{class}: {} are archived, but the segments before number {} hold {in_segments}", front.archived, front.last.next())
    }))
}

type Types = BTreeMap<(Class, String), u64>;

/// Counts each type among what was held at that moment; none when interrupted. Also what should be there and is not.
fn count_types(reader: &JournalReader, moment: &Moment, interrupt: &Interrupt) -> Result<Option<(Types, Vec<String>)>, JournalError> {
    let filter = Filter::default();
    let mut walk = Walk::forth(filter.clone());
    let mut unbroken = Unbroken::new(&filter, moment);
    let mut types = Types::new();
    let bar = Bar::new(Unit::Events, moment.held(None), "counting");
    let mut looked = 0;
    while !walk.has_passed(moment) {
        if interrupt.is_told() {
            return Ok(None);
        }
        let piece = reader.kinds(&mut walk)?;
        if piece.is_empty() {
            break;
        }
        looked += piece.len() as u64;
        for (class, seq, kind) in piece {
            unbroken.meet(class, seq);
            // What was recorded since is in none of the other counts.
            if seq <= moment.of(class).head {
                *types.entry((class, kind)).or_default() += 1;
            }
        }
        bar.show(looked, moment.held(None));
    }
    let (_, missing) = unbroken.finish(&reader.moment()?);
    let missing = missing.iter().map(|(class, hole)| format!("{class} {} to {} should be held and are not found", hole.first, hole.last));
    Ok(Some((types, missing.collect())))
}

impl Stats {
    fn json(&self, reader: &JournalReader) -> Value {
        let now = Timestamp::now();
        let account = |account: &Account| {
            json!({
                "class": account.class,
                "recorded": account.recorded,
                "delivered": account.delivered,
                "pending": account.pending,
                "dropped": account.dropped,
                "bytes": account.bytes,
                "oldest_pending": account.oldest_pending_wall.map(|wall| wall.to_string()),
                "oldest_pending_s": account.oldest_pending_wall.map(|wall| seconds(wall, now)),
            })
        };
        let classes: Vec<_> = self
            .totals
            .iter()
            .zip(&self.times)
            .map(|(total, times)| {
                json!({
                    "class": total.class,
                    "recorded": total.recorded,
                    "held": total.held,
                    "archived": total.archived,
                    "dropped": total.dropped,
                    "refused": total.refused,
                    "bytes": total.bytes,
                    "first_held": times.first.map(|wall| wall.to_string()),
                    "last_held": times.last.map(|wall| wall.to_string()),
                })
            })
            .collect();
        let outlets: Vec<_> = self
            .outlets
            .iter()
            .map(|(outlet, accounts)| json!({"outlet": outlet.as_str(), "classes": accounts.iter().map(account).collect::<Vec<_>>()}))
            .collect();
        let mut value = json!({
            "journal": reader.journal(),
            "source": reader.source(),
            "classes": classes,
            "outlets": outlets,
            "sizes": { "database": self.sizes.database, "log": self.sizes.log, "free": self.sizes.free },
            "adds_up": self.faults.is_empty(),
            "faults": self.faults,
        });
        if let Some(types) = &self.types {
            value["types"] = types.iter().map(|((class, kind), count)| json!({"class": class, "type": kind, "held": count})).collect();
        }
        value
    }

    fn table(&self, out: &mut impl Write, reader: &JournalReader) -> io::Result<()> {
        writeln!(out, "journal {} of {}", reader.journal(), reader.source())?;
        writeln!(
            out,
            "{:<20} {:>10} {:>10} {:>10} {:>10} {:>10} {:>12}   {:20}   {:20}",
            "", "recorded", "held", "archived", "dropped", "refused", "bytes held", "first held", "last held"
        )?;
        for (total, times) in self.totals.iter().zip(&self.times) {
            let Totals { class, recorded, held, archived, dropped, refused, bytes } = total;
            let (first, last) = (time(times.first), time(times.last));
            writeln!(
                out,
                "{class:<20} {recorded:>10} {held:>10} {archived:>10} {dropped:>10} {refused:>10} {bytes:>12}   {first:20}   {last:20}"
            )?;
        }
        writeln!(out)?;
        if self.outlets.is_empty() {
            writeln!(out, "nothing was delivered to any outlet yet")?;
        } else {
            writeln!(out, "{:<20} {:>10} {:>10} {:>10} {:>12}", "", "delivered", "pending", "dropped", "oldest waits")?;
        }
        let now = Timestamp::now();
        for (outlet, accounts) in &self.outlets {
            for account in accounts.iter() {
                let name = format!("{outlet} {}", account.class);
                let waits = account.oldest_pending_wall.map_or_else(|| "-".to_owned(), |wall| age(seconds(wall, now)));
                let Account { delivered, pending, dropped, .. } = account;
                writeln!(out, "{name:<20} {delivered:>10} {pending:>10} {dropped:>10} {waits:>12}")?;
            }
        }
        let Sizes { database, log, free } = self.sizes;
        writeln!(out, "\ndatabase {}, of which {} hold nothing; log {}", size(database), size(free), size(log))?;
        if let Some(types) = &self.types {
            writeln!(out)?;
            for ((class, kind), count) in types {
                writeln!(out, "{class:<9} {kind:<20} {count:>10}")?;
            }
            writeln!(out, "{:<30} {:>10}", "", events(types.values().sum()))?;
        }
        Ok(())
    }
}

fn time(wall: Option<Timestamp>) -> String {
    wall.map_or_else(|| "-".to_owned(), |wall| format!("{wall:.0}"))
}

/// How long ago in seconds; never negative, also where the clock was set back.
fn seconds(wall: Timestamp, now: Timestamp) -> i64 {
    (now.as_second() - wall.as_second()).max(0)
}

/// That, in its largest unit.
fn age(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes, and in mebibytes where that is easier to read.
fn size(bytes: u64) -> String {
    const TENTH: u64 = 1024 * 1024 / 10;
    if bytes < TENTH * 10 {
        return format!("{bytes} bytes");
    }
    let tenths = bytes / TENTH;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_add_up_is_a_sentence() {
        let total = Totals { class: Class::Alarm, recorded: 10, held: 4, archived: 3, dropped: 3, refused: 9, bytes: 0 };
        assert_eq!(total_fault(&total), None);
        let said = total_fault(&Totals { held: 5, ..total }).unwrap();
        assert_eq!(said, "alarm: 10 were recorded, but 5 are held, 3 archived and 3 dropped");
        assert!(total_fault(&Totals { held: u64::MAX, ..total }).is_some(), "nor does one that is too large to add");
        let account =
            Account { class: Class::Alarm, recorded: 10, delivered: 8, pending: 1, dropped: 1, bytes: 0, oldest_pending_wall: None };
        let outlet = Outlet::named("uplink");
        assert_eq!(account_fault(&outlet, &account), None);
        assert!(account_fault(&outlet, &Account { pending: 2, ..account }).unwrap().starts_with("alarm to uplink: 10 were recorded"));
    }

    #[test]
    fn sizes_and_ages_are_told_in_units_people_read() {
        assert_eq!([0, 1_000_000, 1024 * 1024, 3 * 1024 * 1024 / 2].map(size), ["0 bytes", "1000000 bytes", "1.0 MiB", "1.5 MiB"]);
        assert_eq!([5, 119, 120, 7_200, 172_800].map(age), ["5 s", "119 s", "2 min", "2 h", "2 d"]);
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(seconds(Timestamp::from_second(2_000).unwrap(), now), 0);
    }
}
