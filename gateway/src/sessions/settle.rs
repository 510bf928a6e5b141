//! Ends what an earlier run intended and never ended.
//!
//! ```text
//!   note of an intent ─► of an order of this run? ─ yes ─► it ends by itself
//!                          no ─► ACTION_ENDED, outcome unknown + the note forgotten, in one transaction
//!                                 while a journal set aside still owes notes: the note kept as "ended" instead
//! ```
//!
//! What must hold: once per intent, however often it is done, and beside orders under way. A note is copied late out of a
//! journal that was set aside wherever it is not there; one that was ended and forgotten would come back and be ended
//! again, so until all are copied it stays as a word that it has ended.

use super::{Ending, Intent, NOTE, Sessions, UnderWay, on_container};
use crate::{
    clock::Clock,
    event::{Assurance, Class, Draft, EventType, Subject},
    journal::{Entry, Journal, JournalError, LEGACY_NOTE, Legacy, Note, RecordedNote},
    sessions::End,
};
use segel_drivers::{Ended, Outcome, Spent};
use serde::Serialize;

/// What a note says whose intent has its end.
const HAS_ENDED: &[u8] = b"ended";

/// Ends orphaned intents.
#[derive(Debug, Clone)]
pub(crate) struct Settler {
    journal: Journal,
    clock: Clock,
    under_way: UnderWay,
}

/// The body of `ACTION_ENDED` for an intent whose note cannot be read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Nameless<'a> {
    command_id: &'a str,
    #[serde(flatten)]
    end: &'a End,
}

/// What is on disk.
struct Found {
    notes: Vec<RecordedNote>,
    owed: bool,
}

impl Settler {
    /// One for a journal whose orders are none of this run.
    #[cfg(test)]
    pub(crate) fn of(journal: Journal, clock: Clock) -> Self {
        Self { journal, clock, under_way: UnderWay::default() }
    }

    /// Every intent without an end that is no order of this run gets one; how many did.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub(crate) async fn settle(&self) -> Result<usize, JournalError> {
        let Found { notes, owed } = self.look().await?;
        let mut count = 0;
        for note in notes {
            if note.value == HAS_ENDED {
                if !owed {
                    self.journal.keep(vec![Note::forget(NOTE, note.key)]).await?;
                }
                continue;
            }
            // An order of this run ends by itself; one that just did has no note any more. In this sequence, or one that
            // ends meanwhile is ended twice.
            if self.under_way.is_in(&note.key) || !self.is_there(&note.key).await? {
                continue;
            }
            let entry = match serde_json::from_slice::<Intent>(&note.value) {
                Ok(intent) => {
                    let end = unknown("the gate ended before it knew what became of it; look at the seal");
                    tracing::warn!(command = intent.command_id, seal = %intent.seal, "what became of an action is not known");
                    ending(&self.clock, &intent, &end)
                }
                Err(fault) => {
                    tracing::error!(command = note.key, %fault, "an intended action cannot be read back; look for its ACTION_INTENDED");
                    let end =
                        unknown("what was intended cannot be read back; find its ACTION_INTENDED by the commandId and look at the seal");
                    let body = Nameless { command_id: &note.key, end: &end };
                    let draft =
                        Draft::new(Class::Receipt, EventType::ActionEnded, Subject::gateway(), self.clock.now(), Assurance::Own, &body);
                    Entry::new(draft.expect("a name and a sentence are a small object"))
                }
            };
            let settled = if owed { Note::keep(NOTE, note.key, HAS_ENDED) } else { Note::forget(NOTE, note.key) };
            self.journal.append(entry.with(settled)).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn look(&self) -> Result<Found, JournalError> {
        let journal = self.journal.clone();
        let look = move || {
            let reader = journal.reader()?;
            let owes = |note: &RecordedNote| serde_json::from_slice::<Legacy>(&note.value).map_or(true, |legacy| legacy.notes_owed);
            let owed = reader.notes(LEGACY_NOTE)?.iter().any(owes);
            Ok(Found { notes: reader.notes(NOTE)?, owed })
        };
        tokio::task::spawn_blocking(look).await.expect("reading rows does not panic")
    }

    async fn is_there(&self, key: &str) -> Result<bool, JournalError> {
        let (journal, key) = (self.journal.clone(), key.to_owned());
        let look = move || Ok(journal.reader()?.note(NOTE, &key)?.is_some());
        tokio::task::spawn_blocking(look).await.expect("reading rows does not panic")
    }
}

fn unknown(why: &str) -> End {
    End::of(&Ended { outcome: Outcome::Unknown { why: why.to_owned(), read_back: None }, spent: Spent::default() })
}

/// The `ACTION_ENDED` of an intent.
pub(super) fn ending(clock: &Clock, intent: &Intent, end: &End) -> Entry {
    let body = Ending { command_id: &intent.command_id, seal: &intent.seal, action: intent.action, asked_by: intent.asked_by, end };
    let draft = Draft::new(Class::Receipt, EventType::ActionEnded, Subject::seal(&intent.seal), clock.now(), Assurance::Own, &body);
    Entry::new(on_container(draft.expect("an outcome is a small object"), intent))
}

impl Sessions {
    /// Whatever ends the intents of earlier runs, beside the orders of this one.
    pub(crate) fn settler(&self) -> Settler {
        Settler { journal: self.journal.clone(), clock: self.clock.clone(), under_way: self.under_way.clone() }
    }

    /// Every order that an earlier run left without an end gets one. To be done before anything is asked.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn settle(&self) -> Result<usize, JournalError> {
        self.settler().settle().await
    }
}
