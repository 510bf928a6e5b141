//! What a check found: in words with what to do next, and as JSON.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json as value};

use super::which::events;
use crate::event::chain::{Break, ChainReport, ChainSummary, Hole};
use crate::event::{Class, Seq};
use crate::journal::Verified;

/// Commands that fetch what is missing are written out for so many holes.
const FETCHES_MAX: usize = 5;

/// One JSON text, on several lines.
pub(super) fn json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// The line that tells how it ended.
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
        write!(out, "{:9} {} to {}, {}", chain.class, chain.first, chain.last, events(chain.count))?;
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

/// What to do about a journal that is not whole.
pub(super) fn advice_here(found: &Verified, dir: &Path) -> Vec<String> {
    if found.is_good() {
        return Vec::new();
    }
    let dir = dir.display();
    let mut advice = vec![
        "What to do:".to_owned(),
        format!("  1. Stop the gate (`systemctl stop segel`) and copy {dir} whole, all files together: it is evidence as it is now."),
    ];
    if found.database.is_empty() {
        advice.push(
            "  2. The file is sound, but what is in it is not what was written: somebody or something changed it. Compare the".to_owned(),
        );
        advice.push("     events named above with what customs received (`segel journal verify --received FILE` over there).".to_owned());
        advice.push("  3. Only then start the gate again. It goes on numbering; what is broken stays visible.".to_owned());
    } else {
        advice.push(
            "  2. The database file is damaged: look for disk errors with `dmesg` and in the disk's own record (`smartctl -a`).".to_owned(),
        );
        advice.push(
            "  3. Start the gate again: where the damage touches the end of the journal it sets it aside whole and begins a new".to_owned(),
        );
        advice.push(format!("     one. Otherwise do that by hand: move {dir}/journal.db* into a directory of their own and start."));
    }
    advice
}

/// What to do about received documents that are not whole.
pub(super) fn advice_received(report: &ChainReport) -> Vec<String> {
    let mut fetches = Vec::new();
    let mut changed: BTreeSet<(Class, Seq)> = BTreeSet::new();
    for chain in &report.chains {
        fetches.extend(chain.holes_unexplained.iter().map(|hole| fetch(chain.class, hole.first, hole.last)));
        for place in &chain.breaks {
            match place {
                // Either of the two may be the one that was changed.
                Break::Prev { seq, .. } => changed.extend([(chain.class, seq.before()), (chain.class, *seq)]),
                Break::Conflict { seq, .. } => _ = changed.insert((chain.class, *seq)),
            }
        }
    }
    let mut advice = Vec::new();
    if !fetches.is_empty() {
        advice.push("What to do: ask the gate for what is missing; it may be in its archive if its journal no longer has it.".to_owned());
        let more = fetches.len().saturating_sub(FETCHES_MAX);
        advice.extend(fetches.into_iter().take(FETCHES_MAX));
        if more > 0 {
            advice.push(format!("  and so on for {more} more"));
        }
        advice.push("Where the missing is before the first number received, and on purpose, say so with --from CLASS=NUMBER.".to_owned());
    }
    if !changed.is_empty() {
        advice.push("What to do: compare with the gate's own bytes; the one that differs was changed after it was received.".to_owned());
        let more = changed.len().saturating_sub(FETCHES_MAX);
        advice.extend(changed.iter().take(FETCHES_MAX).map(|(class, seq)| fetch(*class, *seq, *seq)));
        if more > 0 {
            advice.push(format!("  and so on for {more} more"));
        }
    }
    if report.unreadable > 0 {
        advice.push(
            "What to do: look at the lines named: whole documents are needed, each on one line, with nothing changed in them.".to_owned(),
        );
    }
    if report.beyond > 0 {
        advice.push("What to do: check the documents of fewer journals at a time.".to_owned());
    }
    advice
}

fn fetch(class: Class, first: Seq, last: Seq) -> String {
    format!("  segel journal export --class {class} --from-seq {first} --to-seq {last}")
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
