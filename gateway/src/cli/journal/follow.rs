//! `tail --follow`: what comes, whatever happens to the journal meanwhile.
//!
//! The daemon may stop and start, drop or archive what was not shown yet, make the database smaller, or set it aside and
//! begin another. What must hold: no event is shown twice, none is passed over without a word, and nothing but Ctrl-C or
//! a closed output ends it. So it goes on by number and identity of the journal, and looks at every turn whether the
//! file under the name is still the file it has open.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::line::{self, Form};
use super::say;
use super::tail::FOLLOW_EVERY;
use super::which::events;
use crate::cli::interrupt::Interrupt;
use crate::event::Class;
use crate::journal::{Filter, JournalError, JournalReader, Moment, Reached};

/// The database's name in the state directory.
const FILE: &str = "journal.db";

/// Following one state directory.
pub(super) struct Follow {
    dir: PathBuf,
    filter: Filter,
    journal: crate::event::JournalId,
    shown: Reached,
    open: Option<Open>,
    /// What was said of a journal that is not there: said once.
    said: Option<String>,
}

/// A journal that is open, and which file that is.
struct Open {
    reader: JournalReader,
    file: Option<FileId>,
}

/// Which file stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The database in `dir`; none when there is none.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let file = std::fs::metadata(dir.join(FILE)).ok()?;
        Some(Self { device: file.dev(), inode: file.ino() })
    }
}

impl Follow {
    /// Goes on after what was `shown` of the journal `reader` has open. `file` is which file stood there before it was
    /// opened: taken afterwards it might be another one.
    pub(super) fn new(dir: &Path, filter: Filter, reader: JournalReader, file: Option<FileId>, shown: Reached) -> Self {
        let journal = reader.journal();
        Self { dir: dir.to_owned(), filter, journal, shown, open: Some(Open { reader, file }), said: None }
    }

    /// Shows what comes until interrupted.
    ///
    /// # Errors
    /// When nobody reads any more, or what is written cannot be.
    pub(super) fn run(mut self, out: &mut impl Write, interrupt: &Interrupt, form: impl Fn() -> Form) -> io::Result<()> {
        loop {
            self.turn(out, interrupt, form())?;
            out.flush()?;
            if interrupt.wait(FOLLOW_EVERY) {
                return Ok(());
            }
            if nobody_reads() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
    }

    fn turn(&mut self, out: &mut impl Write, interrupt: &Interrupt, form: Form) -> io::Result<()> {
        let there = FileId::of(&self.dir);
        if self.open.is_none() {
            self.reopen();
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        // What the file still has is shown even when it is not under its name any more.
        match drain(&open.reader, &self.filter, &mut self.shown, out, interrupt, form) {
            Ok(()) if open.file == there => self.open = Some(open),
            Ok(()) => {}
            Err(Stopped::Output(error)) => return Err(error),
            Err(Stopped::Journal(error)) => self.say_once(&format!("the journal cannot be read now, waiting for it: {error}")),
        }
        Ok(())
    }

    fn reopen(&mut self) {
        let before = FileId::of(&self.dir);
        let reader = match JournalReader::open(&self.dir) {
            Ok(reader) => reader,
            Err(error) => return self.say_once(&format!("waiting for a journal: {error}")),
        };
        let file = FileId::of(&self.dir);
        if file != before || file.is_none() {
            // It was moved while it was being opened: which one this is will be known at the next turn.
            return;
        }
        if reader.journal() != self.journal {
            say(&format!("another journal begins here, {}: its numbers begin at 1", reader.journal()));
            super::aside::mention(&self.dir);
            self.journal = reader.journal();
            self.shown = Reached::default();
        } else if self.said.is_some() {
            say("the journal is there again");
        }
        self.said = None;
        self.open = Some(Open { reader, file });
    }

    fn say_once(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            say(text);
            self.said = Some(text.to_owned());
        }
    }
}

enum Stopped {
    Journal(JournalError),
    Output(io::Error),
}

/// Shows everything there is after `shown`.
fn drain(
    reader: &JournalReader,
    filter: &Filter,
    shown: &mut Reached,
    out: &mut impl Write,
    interrupt: &Interrupt,
    form: Form,
) -> Result<(), Stopped> {
    let moment = reader.moment().map_err(Stopped::Journal)?;
    for sentence in catch_up(shown, &moment, filter) {
        say(&sentence);
    }
    loop {
        let (records, more) = reader.onward(filter, shown).map_err(Stopped::Journal)?;
        for record in &records {
            line::show(out, record, form).map_err(Stopped::Output)?;
        }
        if !more || interrupt.is_told() {
            return Ok(());
        }
    }
}

/// Moves what was shown over what cannot be shown any more; says so.
fn catch_up(shown: &mut Reached, moment: &Moment, filter: &Filter) -> Vec<String> {
    let mut said = Vec::new();
    for class in Class::ALL.iter().filter(|c| filter.class.is_none_or(|class| class == **c)) {
        let (at, extent) = (shown.of(*class), moment.of(*class));
        if at > extent.head {
            said.push(format!("the journal goes back to {class} {} where {at} was shown: an older copy was put in its place", extent.head));
            shown.skip_to(*class, extent.head);
        } else if at < extent.front {
            let lost = extent.front.0 - at.0;
            said.push(format!("{} of class {class} dropped or archived before they could be shown", events(lost)));
            shown.skip_to(*class, extent.front);
        }
    }
    said
}

/// Whether whoever read standard output is gone; without this, a quiet gate would keep a broken pipe for days.
fn nobody_reads() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut watched, Some(&at_once)) {
        Ok(_) => watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Seq;

    #[test]
    fn what_went_before_it_was_shown_is_said_and_a_copy_that_goes_back_too() {
        let mut shown = Reached::default();
        let moment = Moment::of_numbers([(0, 5), (0, 0), (40, 100)]);
        let all = Filter::default();
        assert_eq!(catch_up(&mut shown, &moment, &all), ["40 events of class telemetry dropped or archived before they could be shown"]);
        assert_eq!(shown.of(Class::Telemetry), Seq(40));
        assert!(catch_up(&mut shown, &moment, &all).is_empty(), "said once");
        let mut shown = Reached::until(&moment);
        let said = catch_up(&mut shown, &Moment::of_numbers([(0, 3), (0, 0), (40, 100)]), &all);
        assert!(said.len() == 1 && said[0].contains("goes back to alarm 3 where 5 was shown"), "{said:?}");
        assert_eq!(shown.of(Class::Alarm), Seq(3));
        let alarms = Filter { class: Some(Class::Alarm), ..Filter::default() };
        assert!(catch_up(&mut Reached::default(), &moment, &alarms).is_empty(), "what is not looked at is not missed");
    }
}
