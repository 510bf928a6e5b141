//! `segel journal verify --archive`: the segments on a shelf, and that shelf and database are one chain.
//!
//! ```text
//!   shelf: | segment | segment | ... |
//!   database:                 | put away, rows still here | held ........ |
//!                             ^ front: its digest is that of the last document that left
//! ```
//!
//! What must hold: a document may stand on both sides and is then the same; between them nothing is missing but what a
//! `GAP` accounts for; what the database remembers of its segments is what is on the shelf. A shelf may be checked by
//! itself anywhere; that it was is said, because it is less.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::apart::{self, Ended, Step, Tell};
use super::found;
use super::progress::Unit;
use crate::archive::{self, ShelfReport};
use crate::cli::interrupt::Interrupt;
use crate::event::Class;
use crate::event::chain::{ChainCheck, ChainReport};
use crate::journal::JournalReader;

/// What was found.
struct Found {
    shelf: ShelfReport,
    chains: ChainReport,
    join: Join,
}

/// How the shelf and the database fit together.
enum Join {
    /// There is no journal here.
    Alone,
    /// Nothing of this journal is on the shelf.
    Stranger(String),
    /// They were compared; what does not fit, in words.
    Compared { journal: String, faults: Vec<String> },
}

impl Join {
    fn faults(&self) -> &[String] {
        match self {
            Self::Compared { faults, .. } => faults,
            Self::Alone | Self::Stranger(_) => &[],
        }
    }
}

impl Found {
    fn is_good(&self) -> bool {
        self.shelf.is_good() && !self.shelf.journals.is_empty() && self.chains.is_whole() && self.join.faults().is_empty()
    }
}

/// Checks the shelf in `shelf`, and how it joins the journal in `dir` where there is one. The step is how far it came
/// where it was interrupted.
pub(super) fn run(shelf: &Path, dir: Option<&Path>, form: Form, interrupt: &Interrupt) -> anyhow::Result<Result<ExitCode, Step>> {
    let reader = dir.map(JournalReader::open).transpose()?;
    let (shelf, stop) = (shelf.to_owned(), interrupt.clone());
    let ended = apart::work(interrupt, Unit::Bytes, "checking", move |tell| check(&shelf, reader.as_ref(), &stop, tell))?;
    let found = match ended {
        Ended::Done(found) => found,
        Ended::Interrupted(step) => return Ok(Err(step)),
    };
    let mut out = io::stdout().lock();
    match form {
        Form::Json => found::json(&mut out, &found.json())?,
        Form::Words => found.words(&mut out)?,
    }
    Ok(Ok(if found.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// How the findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As JSON.
    Json,
    /// In words.
    Words,
}

fn check(shelf: &Path, reader: Option<&JournalReader>, stop: &Interrupt, tell: Tell<'_>) -> anyhow::Result<Found> {
    let mut chain = ChainCheck::new();
    let shelf = archive::verify_into(shelf, &mut chain, &mut |looked| {
        tell(Step { done: looked.bytes, total: looked.total });
        if stop.is_told() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let join = match reader {
        None => Join::Alone,
        Some(reader) if !shelf.journals.iter().any(|journal| journal.journal == reader.journal()) => {
            Join::Stranger(reader.journal().to_string())
        }
        Some(reader) => {
            for class in Class::ALL {
                // What cannot be read is counted by the check.
                reader.each(*class, |record| _ = chain.feed(&record.doc))?;
            }
            Join::Compared { journal: reader.journal().to_string(), faults: compare(&shelf, reader)? }
        }
    };
    Ok(Found { shelf, chains: chain.finish(), join })
}

/// What the journal remembers of its archive against what is there.
fn compare(shelf: &ShelfReport, reader: &JournalReader) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for class in Class::ALL {
        let here = shelf.journals.iter().filter(|journal| journal.journal == reader.journal());
        let there = here.flat_map(|journal| &journal.classes).find(|on_shelf| on_shelf.class == *class);
        let segments = reader.segments(*class)?;
        let front = reader.front(*class)?;
        let Some(newest) = segments.last() else { continue };
        let Some(there) = there else {
            faults.push(format!("{class} 1 to {} were archived and nothing of that class is here: bring those segments", newest.last));
            continue;
        };
        if there.last < newest.last {
            let first = there.last.next();
            faults.push(format!("{class} {first} to {} were archived and are not here: bring those segments", newest.last));
        } else if there.last == newest.last && there.digest != newest.digest {
            faults.push(format!("{class} {} is another document than the one archived: this shelf was changed", there.last));
        } else if there.last == newest.last && there.manifest != newest.manifest {
            faults.push(format!("the manifest of {class} up to {} is not the one recorded: this shelf was changed", there.last));
        }
        if front.archived > 0 && there.last == front.last && there.digest != front.digest {
            let last = front.last;
            faults.push(format!("{class} {last} on the shelf has the digest {}, the journal goes on after {}", there.digest, front.digest));
        }
    }
    Ok(faults)
}

impl Found {
    fn json(&self) -> Value {
        let (join, faults) = match &self.join {
            Join::Alone => (json!(null), json!([])),
            Join::Stranger(journal) => (json!({ "journal": journal, "on_shelf": false }), json!([])),
            Join::Compared { journal, faults } => (json!({ "journal": journal, "on_shelf": true }), json!(faults)),
        };
        json!({
            "checked": "archive",
            "good": self.is_good(),
            "shelf": self.shelf,
            "received": found::report(&self.chains),
            "joined": join,
            "join_faults": faults,
        })
    }

    fn words(&self, out: &mut impl Write) -> io::Result<()> {
        for journal in &self.shelf.journals {
            writeln!(out, "journal {} of {} in {}", journal.journal, journal.source, journal.folder.display())?;
            for class in &journal.classes {
                let archive::ClassOnShelf { class, segments, documents, bytes, first, last, manifest, signatures, .. } = class;
                writeln!(
                    out,
                    "  {class:9} {first} to {last}: {documents} documents, {bytes} bytes in {segments} segments, {signatures} signed"
                )?;
                writeln!(out, "            newest manifest {manifest}")?;
            }
        }
        if self.shelf.journals.is_empty() {
            writeln!(out, "no segment of a gate's archive: give the directory of `journal.archive_dir`, or a copy of it")?;
        }
        found::chains(out, &self.chains)?;
        for fault in &self.shelf.faults {
            writeln!(out, "  {}: {}", fault.path.display(), fault.what)?;
        }
        let unlisted = self.shelf.fault_count.saturating_sub(self.shelf.faults.len() as u64);
        if unlisted > 0 {
            writeln!(out, "  and {unlisted} more like these")?;
        }
        for fault in self.join.faults() {
            writeln!(out, "  journal and shelf do not join: {fault}")?;
        }
        for path in &self.shelf.leftovers {
            writeln!(out, "  {} was left by an interrupted run and may be deleted", path.display())?;
        }
        match &self.join {
            Join::Alone => writeln!(out, "no journal was compared: give --state-dir to check that it goes on where this ends")?,
            Join::Stranger(journal) => writeln!(out, "the journal here, {journal}, has nothing on this shelf and was not compared")?,
            Join::Compared { journal, faults } if faults.is_empty() => writeln!(out, "journal {journal} goes on where this ends")?,
            Join::Compared { .. } => {}
        }
        found::verdict(out, self.is_good())?;
        if !self.is_good() {
            writeln!(
                out,
                "What to do: keep this shelf as it is, and look for another copy of what is named above; customs has the same documents."
            )?;
        }
        Ok(())
    }
}

/// The directory of the journal to compare with, where there is one.
pub(super) fn journal_in(dir: &Path) -> Option<PathBuf> {
    (!dir.as_os_str().is_empty()).then(|| dir.to_owned())
}
