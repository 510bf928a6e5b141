//! `segel journal export`: documents byte for byte, one per line, in the order of recording.
//!
//! What must hold: `verify --received` on an export of everything is whole; every event is looked at, so that `--since`
//! finds also what was recorded while the clock was wrong; memory does not grow with the journal; between two pieces
//! nothing is held, so that the log is given back and telemetry may be dropped while a slow reader takes its time. What
//! goes meanwhile is said, and the export goes on until it has the `GAP` that accounts for it.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::out_file::{Existing, OutFile};
use super::progress::{Bar, Unit};
use super::unbroken::{Holes, Unbroken};
use super::which::{When, Which, events, nothing, number};
use super::{aside, found, say, wrong_usage};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::event::chain::Hole;
use crate::event::{Class, Seq};
use crate::journal::{Filter, JournalError, JournalReader, Moment, Walk};

/// What is said when standard output takes no more, other than because nobody reads.
const NO_STDOUT: &str = "standard output cannot be written: free space where it goes, or export to a file with --out";
/// Holes said one by one.
const SAID_MAX: usize = 20;

/// Arguments of `segel journal export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    which: Which,
    /// Not newer than this; written as for --since
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// From this number on; needs --class, each class has its own numbers
    #[arg(long, value_name = "NUMBER", requires = "class", value_parser = number)]
    from_seq: Option<Seq>,
    /// Up to this number; needs --class
    #[arg(long, value_name = "NUMBER", requires = "class", value_parser = number)]
    to_seq: Option<Seq>,
    /// Write to this file, which is there whole or not at all, and FILE.sha256 beside it; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Replace FILE if it is there
    #[arg(long)]
    force: bool,
    /// Print what was exported as JSON: to standard output, or to standard error where that takes the documents
    #[arg(long)]
    json: bool,
}

impl ExportArgs {
    fn filter(&self) -> Filter {
        Filter { until: self.until.map(When::time), first: self.from_seq, last: self.to_seq, ..self.which.filter() }
    }

    fn is_stdout(&self) -> bool {
        self.out == Path::new("-")
    }
}

/// Where the documents go.
enum Sink {
    Stdout(BufWriter<StdoutLock<'static>>),
    File(OutFile),
}

impl Sink {
    fn line(&mut self, document: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(document).and_then(|()| out.write_all(b"\n")).context(NO_STDOUT)?,
            Self::File(file) => file.line(document)?,
        }
        Ok(())
    }
}

/// What was exported of one class.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    count: u64,
    first: Seq,
    last: Seq,
}

/// What was exported.
#[derive(Debug, Default)]
struct Exported {
    parts: [Part; Class::ALL.len()],
    bytes: u64,
    looked: u64,
}

impl Exported {
    fn count(&self) -> u64 {
        self.parts.iter().map(|part| part.count).sum()
    }

    fn add(&mut self, class: Class, seq: Seq, document: &[u8]) {
        let part = &mut self.parts[class as usize];
        if part.count == 0 {
            part.first = seq;
        }
        part.count += 1;
        part.last = seq;
        self.bytes += document.len() as u64 + 1;
    }
}

/// Exports what was asked for.
pub(super) fn run(args: &ExportArgs, dir: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let filter = args.filter();
    if let (Some(first), Some(last)) = (filter.first, filter.last)
        && first > last
    {
        return Ok(wrong_usage(&format!("--from-seq {first} is above --to-seq {last}: exchange them")));
    }
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since > until
    {
        return Ok(wrong_usage(&format!("--since {since:.0} is after --until {until:.0}: exchange them")));
    }
    let reader = JournalReader::open(dir)?;
    let mut sink = match args.is_stdout() {
        true if args.force => return Ok(wrong_usage("--force is for a file: give one with --out FILE")),
        true => Sink::Stdout(BufWriter::new(io::stdout().lock())),
        false if is_of_a_journal(&args.out, dir) => {
            return Ok(wrong_usage(&format!("{} belongs to the journal itself: give another name", args.out.display())));
        }
        false => Sink::File(OutFile::create(&args.out, if args.force { Existing::Replace } else { Existing::Keep })?),
    };
    let start = reader.moment()?;
    let mut exported = Exported::default();
    let copied = copy(&reader, &filter, &start, &mut sink, &mut exported, interrupt);
    let (gone, missing) = match copied {
        Ok(Some(holes)) => holes,
        Ok(None) => return interrupted(sink, &exported),
        Err(error) if matches!(sink, Sink::File(_)) => {
            drop(sink);
            return Err(error.context("the export was broken off, nothing is left of it"));
        }
        Err(error) => return Err(error),
    };
    let digest = match sink {
        Sink::Stdout(mut out) => {
            out.flush().context(NO_STDOUT)?;
            None
        }
        Sink::File(file) => Some(file.finish()?),
    };
    if exported.count() == 0 {
        say(&nothing(&filter, &reader, &start)?);
        aside::mention(dir);
    }
    say_holes(&gone, "dropped or archived while this went on");
    say_holes(&missing, "NOT FOUND in the journal: check it with `segel journal verify`");
    if filter.is_open() {
        say_fronts(&reader, &start)?;
    }
    report(args, &reader, &exported, digest.as_deref(), &gone, &missing)?;
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Copies until everything there was at `start` is passed; none when interrupted.
fn copy(
    reader: &JournalReader,
    filter: &Filter,
    start: &Moment,
    sink: &mut Sink,
    exported: &mut Exported,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<(Holes, Holes)>> {
    let bar = Bar::new(Unit::Events, start.held(filter.class), "exporting");
    let mut walk = Walk::forth(filter.clone());
    let mut unbroken = Unbroken::new(filter, start);
    let mut end = *start;
    let mut holes_at_end = 0;
    loop {
        if interrupt.is_told() {
            return Ok(None);
        }
        if walk.has_passed(&end) {
            if unbroken.holes() == holes_at_end {
                break;
            }
            holes_at_end = unbroken.holes();
            end = reader.moment()?;
        }
        let piece = reader.forth(&mut walk)?;
        if piece.is_empty() {
            break;
        }
        for passed in &piece {
            unbroken.meet(passed.class, passed.seq);
            if let Some(document) = &passed.doc {
                sink.line(document)?;
                exported.add(passed.class, passed.seq, document);
            }
        }
        exported.looked += piece.len() as u64;
        bar.show(exported.looked, start.held(filter.class));
    }
    Ok(Some(unbroken.finish(&reader.moment()?)))
}

fn interrupted(sink: Sink, exported: &Exported) -> anyhow::Result<ExitCode> {
    let left = match sink {
        Sink::Stdout(mut out) => {
            out.flush()?;
            "what was written is not all"
        }
        Sink::File(file) => {
            drop(file);
            "nothing is left of it"
        }
    };
    say(&format!("interrupted after {} were exported: {left}", events(exported.count())));
    Ok(Exit::Interrupted.into())
}

/// Whether this file is one of the journal's own, which nobody wants replaced by its export.
fn is_of_a_journal(file: &Path, dir: &Path) -> bool {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let same = match (parent.canonicalize(), dir.canonicalize()) {
        (Ok(parent), Ok(dir)) => parent == dir,
        _ => false,
    };
    same && file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"journal."))
}

fn say_holes(holes: &[(Class, Hole)], what: &str) {
    for (class, hole) in holes.iter().take(SAID_MAX) {
        say(&format!("{class} {} to {} {what}", hole.first, hole.last));
    }
    if holes.len() > SAID_MAX {
        say(&format!("and {} more like these", holes.len() - SAID_MAX));
    }
}

/// Says where an export of everything does not begin with number 1, and how it is checked then.
fn say_fronts(reader: &JournalReader, start: &Moment) -> Result<(), JournalError> {
    let mut from = String::new();
    for class in Class::ALL {
        let first = start.of(*class).front.next();
        if first == Seq(1) {
            continue;
        }
        let front = reader.front(*class)?;
        say(&format!("{class} begins at {first}: before it {} archived and {} dropped", front.archived, front.dropped));
        // What was dropped is told by a `GAP` that is in the export.
        if front.archived > 0 {
            let _ = write!(from, " --from {class}={first}");
        }
    }
    if !from.is_empty() {
        say(&format!("check what is exported with: segel journal verify --received FILE{from}"));
    }
    Ok(())
}

struct Summary<'a>(&'a Exported);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", events(self.0.count()), self.0.bytes)?;
        for class in Class::ALL {
            let part = self.0.parts[*class as usize];
            if part.count > 0 {
                write!(f, ", {class} {} to {}", part.first, part.last)?;
            }
        }
        Ok(())
    }
}

fn report(
    args: &ExportArgs,
    reader: &JournalReader,
    exported: &Exported,
    digest: Option<&str>,
    gone: &[(Class, Hole)],
    missing: &[(Class, Hole)],
) -> io::Result<()> {
    if !args.json {
        if digest.is_some() {
            let name = args.out.file_name().unwrap_or_default().display();
            say(&format!("{} holds {}; check a copy with `sha256sum -c {name}.sha256` beside it", args.out.display(), Summary(exported)));
        }
        return Ok(());
    }
    let holes = |holes: &[(Class, Hole)]| -> Value {
        holes.iter().map(|(class, hole)| json!({"class": class, "first": hole.first, "last": hole.last})).collect()
    };
    let classes: Vec<_> = Class::ALL
        .iter()
        .map(|class| (class, exported.parts[*class as usize]))
        .filter(|(_, part)| part.count > 0)
        .map(|(class, part)| json!({"class": class, "count": part.count, "first": part.first, "last": part.last}))
        .collect();
    let value = json!({
        "journal": reader.journal(),
        "source": reader.source(),
        "out": args.out.display().to_string(),
        "events": exported.count(),
        "bytes": exported.bytes,
        "sha256": digest,
        "classes": classes,
        "gone_meanwhile": holes(gone),
        "missing": holes(missing),
    });
    if args.is_stdout() { found::json(&mut io::stderr().lock(), &value) } else { found::json(&mut io::stdout().lock(), &value) }
}
