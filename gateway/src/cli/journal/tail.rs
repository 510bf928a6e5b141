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
use crate::journal::{Filter, Glance, JournalError, JournalReader, Moment, Place, Reached, Walk};

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
            let glance = reader.back(&mut walk, self.want - self.places.len())?;
            self.looked += glance.looked;
            if glance.looked == 0 {
                return Ok(());
            }
            if let Some(since) = self.filter.since
                && is_settled(&glance, since)
                && !reader.probe(&mut walk, since, PROBES)?
            {
                return Ok(());
            }
            self.places.extend(glance.places);
            // A search that one piece ends is over before anybody could look at a bar.
            if self.places.len() < self.want && glance.looked >= SETTLED {
                bar.get_or_insert_with(|| Bar::new(Unit::Events, total, "searching")).show(self.looked, total);
            }
        }
        Ok(())
    }
}

/// Whether this piece is long and old enough to believe that what was recorded before it is older than `since`.
fn is_settled(glance: &Glance, since: Timestamp) -> bool {
    glance.looked >= SETTLED && glance.latest.is_some_and(|latest| latest.saturating_add(STEP_ALLOWED).is_ok_and(|bound| bound < since))
}

/// How often `--follow` looks for more.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: i64 = 1_795_000_000_000;
    const OLD: i64 = NEW - 172_800_000;

    /// A journal whose events have these wall times, put there by hand.
    fn with_times(dir: &Path, times: impl Iterator<Item = i64>) -> JournalReader {
        let source = crate::event::Source::new("idsrg", "g01").unwrap();
        let (journal, _) = crate::journal::Journal::open(dir, crate::journal::JournalConfig::default(), source).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(journal.close()).unwrap();
        let mut hand = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
        let all = hand.transaction().unwrap();
        for (at, wall) in times.enumerate() {
            let row = "INSERT INTO event VALUES (2, ?1, zeroblob(16), zeroblob(16), ?2, 0, 'GAP', 'gateway', NULL, '', zeroblob(32), 0)";
            let row = row.replace("''", "x'7b7d'");
            all.prepare_cached(&row).unwrap().execute((i64::try_from(at).unwrap() + 1, wall)).unwrap();
        }
        all.commit().unwrap();
        JournalReader::open(dir).unwrap()
    }

    fn search(reader: &JournalReader, filter: Filter) -> Search {
        let mut search = Search::new(Filter { since: Some(Timestamp::from_millisecond(NEW).unwrap()), ..filter }, 1_000);
        search.run(reader, &reader.moment().unwrap(), &Interrupt::default()).unwrap();
        search
    }

    fn all_filters() -> [Filter; 3] {
        let class = Filter { class: Some(crate::event::Class::Telemetry), ..Filter::default() };
        let subject = Filter { subject: Some(crate::event::Subject::gateway()), ..Filter::default() };
        [Filter::default(), class, subject]
    }

    #[test]
    fn a_search_for_recent_events_does_not_look_at_all_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let reader = with_times(dir.path(), (0..40_000).map(|n| if n < 39_990 { OLD + n } else { NEW + n }));
        for filter in all_filters() {
            let search = search(&reader, filter);
            assert_eq!(search.places.len(), 10);
            assert!(search.looked <= 3 * SETTLED, "{} looked at", search.looked);
        }
    }

    #[test]
    fn what_was_recorded_before_the_clock_was_set_back_is_found_too() {
        let dir = tempfile::tempdir().unwrap();
        let new = |n: i64| (5_000..5_300).contains(&n) || n >= 39_990;
        let reader = with_times(dir.path(), (0..40_000).map(|n| if new(n) { NEW + n } else { OLD + n }));
        for filter in all_filters() {
            assert_eq!(search(&reader, filter).places.len(), 310);
        }
    }

    #[test]
    fn a_clock_that_steps_by_less_than_is_allowed_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let late = NEW - 3_000_000;
        let reader = with_times(dir.path(), (0..10_000).map(|n| if n == 3 { NEW } else { late }));
        let search = search(&reader, Filter::default());
        assert_eq!((search.places.len(), search.looked), (1, 10_000));
    }
}
