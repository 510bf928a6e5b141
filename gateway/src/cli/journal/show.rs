//! How the journal is shown: a line per event for people, JSON for programs.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json as value};

use crate::event::chain::{Break, ChainReport, ChainSummary, Hole};
use crate::event::document::Head;
use crate::journal::{Account, Accounts, JournalReader, Outlet, Record, Verified};

/// A body longer than this is cut in the line for people; `--json` shows all of it.
const BODY_SHOWN: usize = 120;

/// One event, with its own class and number first, or its document as it is.
pub(super) fn record(out: &mut impl Write, record: &Record, json: bool) -> io::Result<()> {
    if json {
        out.write_all(&record.doc)?;
        return out.write_all(b"\n");
    }
    let head = Head::parse(&record.doc).ok();
    let (assurance, clock, body) = head
        .as_ref()
        .map_or(("?", "?", "the document cannot be read"), |head| (head.assurance.as_str(), head.clock.as_str(), head.data.get()));
    let mut shown: String = body.chars().filter(|c| !c.is_control()).take(BODY_SHOWN).collect();
    if body.chars().nth(BODY_SHOWN).is_some() {
        shown.push_str(" ...");
    }
    let clock = if clock == "ntp" { String::new() } else { format!(" (clock {clock})") };
    writeln!(
        out,
        "{:.3}{clock}  {:9} {:>6}  {:16} {:24} {assurance:8} {shown}",
        record.wall, record.class, record.seq.0, record.kind, record.subject,
    )
}

/// One JSON text, on several lines.
pub(super) fn json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The last line of a check.
pub(super) fn verdict(out: &mut impl Write, good: bool) -> io::Result<()> {
    let verdict = if good {
        "whole: nothing is missing without a reason and nothing was changed; the last of each class is vouched for only by the next"
    } else {
        "NOT WHOLE: see above"
    };
    writeln!(out, "{verdict}")
}

/// One paragraph per chain.
pub(super) fn chains(out: &mut impl Write, report: &ChainReport) -> io::Result<()> {
    for chain in &report.chains {
        write!(out, "{:9} {} to {}, {} events", chain.class, chain.first, chain.last, chain.count)?;
        for (count, what) in [(chain.duplicates, "repeated"), (chain.unchecked, "too late to compare")] {
            if count > 0 {
                write!(out, ", {count} {what}")?;
            }
        }
        writeln!(out, ", journal {}", chain.journal)?;
        for hole in &chain.holes_explained {
            writeln!(out, "  {} dropped, as a GAP says", numbers(*hole))?;
        }
        for hole in &chain.holes_unexplained {
            writeln!(out, "  {} MISSING, nothing says why", numbers(*hole))?;
        }
        for place in &chain.breaks {
            match place {
                Break::Prev { seq, expected, found } => {
                    writeln!(out, "  {seq} BROKEN: it names {found} as the document before it, that one is {expected}")?;
                }
                Break::Conflict { seq, id } => writeln!(out, "  {seq} TWICE: a second, different document, {id}, has this number")?,
            }
        }
        if chain.unlisted > 0 {
            writeln!(out, "  and {} more like these", chain.unlisted)?;
        }
    }
    for (count, what) in [(report.unreadable, "documents could not be read"), (report.beyond, "documents of too many journals")] {
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    Ok(())
}

fn numbers(hole: Hole) -> String {
    if hole.first == hole.last { hole.first.to_string() } else { format!("{} to {}", hole.first, hole.last) }
}

/// What a check of received documents found.
pub(super) fn report(report: &ChainReport) -> Value {
    value!({
        "whole": report.is_whole(),
        "unreadable": report.unreadable,
        "beyond": report.beyond,
        "chains": report.chains.iter().map(chain).collect::<Vec<_>>(),
    })
}

fn chain(chain: &ChainSummary) -> Value {
    let holes = |holes: &[Hole]| holes.iter().map(|hole| value!({"first": hole.first, "last": hole.last})).collect::<Vec<_>>();
    let breaks: Vec<_> = chain
        .breaks
        .iter()
        .map(|place| match place {
            Break::Prev { seq, expected, found } => value!({"seq": seq, "expected": expected, "found": found}),
            Break::Conflict { seq, id } => value!({"seq": seq, "second": id.to_string()}),
        })
        .collect();
    value!({
        "journal": chain.journal,
        "class": chain.class,
        "first": chain.first,
        "last": chain.last,
        "count": chain.count,
        "duplicates": chain.duplicates,
        "unchecked": chain.unchecked,
        "holes_explained": holes(&chain.holes_explained),
        "holes_unexplained": holes(&chain.holes_unexplained),
        "breaks": breaks,
        "unlisted": chain.unlisted,
    })
}

/// What a check of the journal found.
pub(super) fn verified(found: &Verified) -> Value {
    let faults: Vec<_> = found.faults.iter().map(|fault| value!({"class": fault.class, "seq": fault.seq, "what": fault.what})).collect();
    value!({
        "good": found.is_good(),
        "received": report(&found.chains),
        "faults": faults,
        "fault_count": found.fault_count,
        "database": found.database,
    })
}

/// The counts for a program.
pub(super) fn stats(reader: &JournalReader, totals: &Accounts, outlets: &[(Outlet, Accounts)]) -> Value {
    let account = |account: &Account| {
        value!({
            "class": account.class,
            "recorded": account.recorded,
            "delivered": account.delivered,
            "pending": account.pending,
            "dropped": account.dropped,
            "bytes": account.bytes,
            "oldest_pending": account.oldest_pending_wall.map(|wall| wall.to_string()),
        })
    };
    let classes: Vec<_> = totals
        .iter()
        .map(|total| value!({"class": total.class, "recorded": total.recorded, "held": total.pending, "dropped": total.dropped, "bytes": total.bytes}))
        .collect();
    let outlets: Vec<_> = outlets
        .iter()
        .map(|(outlet, accounts)| value!({"outlet": outlet.as_str(), "classes": accounts.iter().map(account).collect::<Vec<_>>()}))
        .collect();
    value!({ "journal": reader.journal(), "source": reader.source(), "classes": classes, "outlets": outlets })
}

/// The counts for people.
pub(super) fn stats_table(
    out: &mut impl Write,
    reader: &JournalReader,
    totals: &Accounts,
    outlets: &[(Outlet, Accounts)],
) -> io::Result<()> {
    writeln!(out, "journal {} of {}", reader.journal(), reader.source())?;
    writeln!(out, "{:20} {:>10} {:>10} {:>10} {:>12}", "", "recorded", "held", "dropped", "bytes held")?;
    for total in totals.iter() {
        writeln!(out, "{:20} {:>10} {:>10} {:>10} {:>12}", total.class, total.recorded, total.pending, total.dropped, total.bytes)?;
    }
    if outlets.is_empty() {
        return writeln!(out, "nothing was delivered to any outlet yet");
    }
    writeln!(out, "{:20} {:>10} {:>10} {:>10} {:>12}", "", "delivered", "pending", "dropped", "oldest waits")?;
    for (outlet, accounts) in outlets {
        for account in accounts.iter() {
            writeln!(
                out,
                "{:20} {:>10} {:>10} {:>10} {:>12}",
                format!("{outlet} {}", account.class),
                account.delivered,
                account.pending,
                account.dropped,
                account.oldest_pending_wall.map_or_else(|| "-".to_owned(), age)
            )?;
        }
    }
    Ok(())
}

/// How long ago, in its largest unit.
fn age(wall: Timestamp) -> String {
    let seconds = (Timestamp::now().as_second() - wall.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
