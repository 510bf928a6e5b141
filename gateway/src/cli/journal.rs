//! `segel journal`: look at what was recorded, check it, count it. Reads only, beside the running daemon.

mod show;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::{Span, Timestamp, Zoned};
use segel_drivers::SealId;

use crate::event::chain::{ChainCheck, ChainReport};
use crate::event::{Class, EventType, Seq, Subject, document};
use crate::journal::{Filter, JournalReader};

/// How often `--follow` looks for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(300);
/// Events taken at a time by `--follow`.
const FOLLOW_PIECE: usize = 256;
/// Progress is said after so many events.
const SAY_EVERY: u64 = 50_000;

/// Arguments of `segel journal`.
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    action: Action,
}

impl JournalArgs {
    /// Whether there must be a journal here; documents somebody received are checked anywhere.
    #[must_use]
    pub fn needs_journal(&self) -> bool {
        !matches!(&self.action, Action::Verify(VerifyArgs { received: Some(_), .. }))
    }
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the last events
    Tail(TailArgs),
    /// Check that nothing was changed or lost
    Verify(VerifyArgs),
    /// Count events, and what became of them at each outlet
    Stats(StatsArgs),
}

/// Arguments of `segel journal tail`.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// How many events
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    number: usize,
    /// Wait for more and show them
    #[arg(short, long)]
    follow: bool,
    /// Of this class only: alarm, receipt or telemetry
    #[arg(long)]
    class: Option<Class>,
    /// Of this type only, e.g. FORCED_OPEN
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<EventType>,
    /// About this seal only, e.g. JT-8000620011
    #[arg(long, conflicts_with = "subject")]
    seal: Option<SealId>,
    /// About this subject only, e.g. reader/gate-in
    #[arg(long)]
    subject: Option<Subject>,
    /// Not older than this: a time (2026-11-21T07:00:00Z) or an age (90s, 15m, 2h, 3d)
    #[arg(long)]
    since: Option<Since>,
    /// Print the documents as customs receive them, one per line
    #[arg(long)]
    json: bool,
}

/// Arguments of `segel journal verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Check documents somebody received, one per line, instead of the journal here; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// With --received: this class begins at this number on purpose, e.g. telemetry=5000
    #[arg(long, value_name = "CLASS=NUMBER", requires = "received")]
    from: Vec<Start>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `segel journal stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// A point in time: written out, or as an age.
#[derive(Debug, Clone, Copy)]
struct Since(Timestamp);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("`{text}` is no time: write 2026-11-21T07:00:00Z or an age like 15m, 2h, 3d");
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self(time));
        }
        if let Ok(time) = text.parse::<Zoned>() {
            return Ok(Self(time.timestamp()));
        }
        let unit = text.chars().last().ok_or_else(fault)?;
        let seconds_each = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(fault()),
        };
        let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| fault())?;
        let seconds = count.checked_mul(seconds_each).filter(|seconds| *seconds >= 0).ok_or_else(fault)?;
        let age = Span::new().try_seconds(seconds).map_err(|_| fault())?;
        Timestamp::now().checked_sub(age).map(Self).map_err(|_| fault())
    }
}

/// Where a class begins on purpose.
#[derive(Debug, Clone, Copy)]
struct Start {
    class: Class,
    first: Seq,
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("`{text}` is no beginning: write CLASS=NUMBER, e.g. telemetry=5000");
        let (class, first) = text.split_once('=').ok_or_else(fault)?;
        let first = first.parse().ok().filter(|first| *first > 0).ok_or_else(fault)?;
        Ok(Self { class: class.parse().map_err(|_| fault())?, first: Seq(first) })
    }
}

/// Runs `segel journal` against the journal in `state_dir`. The exit code is 1 when a check found something wrong.
///
/// # Errors
/// When there is no journal, it cannot be read, or the output is closed.
pub fn run(args: JournalArgs, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let outcome = match args.action {
        Action::Tail(args) => tail(&args, state_dir),
        Action::Verify(args) => match &args.received {
            Some(file) => verify_received(&args, file),
            None => verify(&args, state_dir),
        },
        Action::Stats(args) => stats(&args, state_dir),
    };
    match outcome {
        // Whoever piped us into `head` has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn tail(args: &TailArgs, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(state_dir)?;
    let filter = Filter {
        class: args.class,
        kind: args.kind,
        subject: args.seal.as_ref().map(Subject::seal).or_else(|| args.subject.clone()),
        since: args.since.map(|since| since.0),
    };
    let mut out = io::stdout().lock();
    let mut place = reader.end()?;
    for record in reader.tail(&filter, args.number)? {
        show::record(&mut out, &record, args.json)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        out.flush()?;
        let more = reader.since(&filter, &mut place, FOLLOW_PIECE)?;
        for record in &more {
            show::record(&mut out, record, args.json)?;
        }
        if more.is_empty() {
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
}

fn verify(args: &VerifyArgs, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(state_dir)?;
    let say = io::stderr().is_terminal() && !args.json;
    let mut said = 0;
    let found = reader.verify(|progress| {
        if say && progress.done - said >= SAY_EVERY {
            said = progress.done;
            eprintln!("{} of {} events checked", progress.done, progress.total);
        }
    })?;
    let mut out = io::stdout().lock();
    if args.json {
        show::json(&mut out, &show::verified(&found))?;
    } else {
        writeln!(out, "journal {} of {}", reader.journal(), reader.source())?;
        show::chains(&mut out, &found.chains)?;
        for fault in &found.faults {
            writeln!(out, "  {} {}: {}", fault.class, fault.seq, fault.what)?;
        }
        for line in &found.database {
            writeln!(out, "  database: {line}")?;
        }
        show::verdict(&mut out, found.is_good())?;
    }
    Ok(if found.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verify_received(args: &VerifyArgs, file: &Path) -> anyhow::Result<ExitCode> {
    let input: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("{} cannot be read: give a file with one document per line", file.display()))?)
    };
    let check = args.from.iter().fold(ChainCheck::new(), |check, start| check.starting_at(start.class, start.first));
    let (report, unreadable) = feed_lines(check, input).with_context(|| format!("{} cannot be read to its end", file.display()))?;
    let mut out = io::stdout().lock();
    if args.json {
        show::json(&mut out, &show::report(&report))?;
    } else {
        for (line, error) in &unreadable {
            writeln!(out, "  line {line}: {error}")?;
        }
        show::chains(&mut out, &report)?;
        if report.chains.is_empty() {
            writeln!(out, "no document of a gateway in {}: give what was received, one document per line", file.display())?;
        }
        show::verdict(&mut out, report.is_whole() && !report.chains.is_empty())?;
    }
    Ok(if report.is_whole() && !report.chains.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Feeds a text of documents, one per line; also returns the first lines that could not be read, and why.
fn feed_lines(mut check: ChainCheck, input: impl io::Read) -> io::Result<(ChainReport, Vec<(u64, String)>)> {
    const SAID_MAX: usize = 10;
    let mut unreadable = Vec::new();
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        // One byte more than the longest document, so that a longer line is seen to be longer.
        let taken = input.by_ref().take(document::DOCUMENT_MAX as u64 + 2).read_until(b'\n', &mut line)?;
        if taken == 0 {
            return Ok((check.finish(), unreadable));
        }
        number += 1;
        let whole = line.ends_with(b"\n") || taken <= document::DOCUMENT_MAX;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty()
            && let Err(error) = check.feed(text)
            && unreadable.len() < SAID_MAX
        {
            unreadable.push((number, error.to_string()));
        }
        if !whole {
            skip_line(&mut input)?;
        }
    }
}

/// Passes over the rest of a line without keeping it.
fn skip_line(input: &mut impl io::BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, found) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if found {
            return Ok(());
        }
    }
}

fn stats(args: &StatsArgs, state_dir: &Path) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(state_dir)?;
    let mut accounts = Vec::new();
    for outlet in reader.outlets()? {
        accounts.push((outlet.clone(), reader.accounts(&outlet)?));
    }
    let totals = reader.accounts(&NOBODY)?;
    let mut out = io::stdout().lock();
    if args.json {
        show::json(&mut out, &show::stats(&reader, &totals, &accounts))?;
    } else {
        show::stats_table(&mut out, &reader, &totals, &accounts)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An outlet nothing was ever delivered to: its account is the journal's own.
const NOBODY: crate::journal::Outlet = crate::journal::Outlet::named("nobody");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_and_a_time_are_both_understood() {
        let now = Timestamp::now();
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("3d", 259_200)] {
            let Since(time) = text.parse().unwrap();
            let age = now.as_second() - time.as_second();
            assert!((seconds - 1..=seconds + 1).contains(&age), "{text}: {age}");
        }
        assert_eq!("2026-11-21T07:00:00Z".parse::<Since>().unwrap().0.as_second(), 1_795_244_400);
        for bad in ["", "m", "1w", "-3h", "gestern", "9223372036854775807d", "3é"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_beginning_needs_a_class_and_a_number_from_one() {
        assert!("telemetry=5000".parse::<Start>().is_ok());
        for bad in ["telemetry", "telemetry=0", "news=3", "alarm=-1", "alarm="] {
            assert!(bad.parse::<Start>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_too_long_is_one_unreadable_document_and_the_next_line_is_read() {
        let mut text = vec![b'x'; document::DOCUMENT_MAX * 3];
        text.extend_from_slice(b"\n\nnonsense\n");
        let (report, unreadable) = feed_lines(ChainCheck::new(), &text[..]).unwrap();
        assert_eq!((report.unreadable, unreadable.len()), (2, 2));
        assert_eq!(unreadable[1].0, 3);
    }
}
