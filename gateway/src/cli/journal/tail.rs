//! `segel journal tail`: the last events, and with `--follow` those that come.
//!
//! A search goes back from the last event in pieces and ends when it has enough. Where it looks for events since a time
//! it also ends when a whole piece is older, by more than [`STEP_ALLOWED`], and none of [`PROBES`] places before that is
//! newer. Wall time is not the order of recording: what was recorded while the clock was wrong by more than that is found
//! if it is among the pieces looked at or long enough to be met by a probe. `export --since` looks at every event.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::follow::{FileId, Follow};
use super::line::{self, Form};
use super::progress::{Bar, Unit};
use super::which::{Which, events, nothing};
use super::{aside, say};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::journal::{Filter, JournalError, JournalReader, Moment, Place, Reached, Stretch, Walk};

/// A clock that is kept by a time server steps less than this; seconds.
const STEP_ALLOWED: SignedDuration = SignedDuration::from_hours(1);
/// So few events are no reason to believe that all before them are older.
const SETTLED: u64 = 4096;
/// Places looked at before a search ends: a hundredth of a second, and a wrong clock that lasted for a two-hundredth of
/// all events is met.
const PROBES: u32 = 256;
/// Columns where a terminal does not say how many it has.
const COLUMNS: usize = 80;

/// Arguments of `segel journal tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// How many events
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    number: usize,
    /// Wait for more and show them, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    which: Which,
    /// Print the documents as customs receive them, one per line
    #[arg(long)]
    json: bool,
    /// On a terminal: show every member of an event, on one line
    #[arg(long, conflicts_with = "json")]
    wide: bool,
}

impl TailArgs {
    /// How events are to be shown on what is standard output now.
    fn form(&self) -> Form {
        if self.json {
            Form::Documents
        } else if self.wide || !io::stdout().is_terminal() {
            Form::Whole
        } else {
            let size = rustix::termios::tcgetwinsize(io::stdout()).map(|size| usize::from(size.ws_col));
            Form::Fitted(size.ok().filter(|columns| *columns > 0).unwrap_or(COLUMNS))
        }
    }
}

/// Shows what was asked for.
pub(super) fn run(args: &TailArgs, dir: &Path, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let file = FileId::of(dir);
    let reader = JournalReader::open(dir)?;
    let filter = args.which.filter();
    let moment = reader.moment()?;
    let mut search = Search::new(filter.clone(), args.number);
    search.run(&reader, &moment, interrupt)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut gone = 0;
    for place in search.places.iter().rev() {
        match reader.at(*place)? {
            Some(record) => line::show(&mut out, &record, args.form())?,
            None => gone += 1,
        }
    }
    out.flush()?;
    if gone > 0 {
        say(&format!("{} found and dropped or archived before they could be shown", events(gone)));
    }
    if interrupt.is_told() {
        say(&format!("interrupted after {} were looked at: there may be more", events(search.looked)));
        return Ok(Exit::Interrupted.into());
    }
    if search.places.is_empty() && args.number > 0 {
        say(&nothing(&filter, &reader, &moment)?);
        aside::mention(dir);
    }
    if args.follow {
        Follow::new(dir, filter, reader, file, Reached::until(&moment)).run(&mut out, interrupt, || args.form())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A search back from the end.
struct Search {
    filter: Filter,
    want: usize,
    places: Vec<Place>,
    looked: u64,
}

impl Search {
    const fn new(filter: Filter, want: usize) -> Self {
        Self { filter, want, places: Vec::new(), looked: 0 }
    }

    fn run(&mut self, reader: &JournalReader, from: &Moment, interrupt: &Interrupt) -> Result<(), JournalError> {
        let mut walk = Walk::back(self.filter.clone(), from);
        let total = from.held(self.filter.class);
        let mut bar = None;
        while self.places.len() < self.want && !interrupt.is_told() {
            let stretch = reader.back(&mut walk, self.want - self.places.len())?;
            self.looked += stretch.looked;
            if stretch.looked == 0 {
                return Ok(());
            }
            if let Some(since) = self.filter.since
                && is_settled(&stretch, since)
                && !reader.probe(&mut walk, since, PROBES)?
            {
                return Ok(());
            }
            self.places.extend(stretch.places);
            bar.get_or_insert_with(|| Bar::new(Unit::Events, total, "searching")).show(self.looked, total);
        }
        Ok(())
    }
}

/// Whether this piece is long and old enough to believe that what was recorded before it is older than `since`.
fn is_settled(stretch: &Stretch, since: Timestamp) -> bool {
    stretch.looked >= SETTLED && stretch.latest.is_some_and(|latest| latest.saturating_add(STEP_ALLOWED).is_ok_and(|bound| bound < since))
}

/// How often `--follow` looks for more.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_millis(300);
