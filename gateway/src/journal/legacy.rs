//! What a new journal owes the one it succeeds: its notes, and whatever was still to be delivered.
//!
//! The notes (states, counters, answered commands) are copied in the opening, before anybody reads them. Undelivered
//! alarms and receipts follow while the gate works ([`crate::gate`]); how far that is stands in a note of its own, which
//! goes into the transactions that carry them, so that a kill neither loses nor doubles one.
//!
//! What must hold: adopting is one transaction, and doing it again changes nothing; a journal that is set aside while it
//! still owes something hands the debt on with its other notes.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::aside::Unclaimed;
use super::entry::Note;
use super::salvage::{Plan, Salvage, Unopened};

/// The kind of the notes that say what is owed; the key is the name of the directory.
pub const LEGACY_NOTE: &str = "legacy";
/// What the notes of seals are read by: the form they have. Where it alone could not be read the first form is named,
/// which at worst makes the states be built again.
const FORM: (&str, &str, &str) = ("projection", "seals", "1");

/// What is owed to one journal that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Legacy {
    /// Name of its directory in the state directory.
    pub name: String,
    /// Why it was set aside, in one sentence.
    pub reason: String,
    /// Notes copied from it.
    pub notes: u64,
    /// Whether those were all.
    pub notes_whole: bool,
    /// Whether they could not be read when this journal began and are still to be copied.
    #[serde(default)]
    pub notes_owed: bool,
    /// Whether its `JOURNAL_SET_ASIDE` is recorded.
    #[serde(default)]
    pub announced: bool,
    /// How far carrying over is; none before it began.
    #[serde(default)]
    pub plan: Option<Plan>,
}

impl Legacy {
    /// The kind of notes that say which entries of the seals' logs are on record ([`crate::ingest::TOLD_NOTE`]). No other
    /// journal inherits them: the rows they speak of may be unreadable, and a seal that were confirmed on their word would
    /// delete the only other copy. It tells again and is recorded again: that costs a repetition and loses nothing.
    const TOLD: &str = crate::ingest::TOLD_NOTE;

    /// The kind of notes that say which damage was told. No other journal inherits them: its numbers are its own.
    pub const NOT_INHERITED: &str = "damage";

    /// The note that keeps this.
    ///
    /// # Panics
    /// Never: numbers and texts can be written as JSON.
    #[must_use]
    pub fn note(&self) -> Note {
        Note::keep(LEGACY_NOTE, self.name.clone(), serde_json::to_vec(self).expect("numbers and texts can be written as JSON"))
    }

    /// The note that says nothing is owed any more.
    #[must_use]
    pub fn settled(&self) -> Note {
        Note::forget(LEGACY_NOTE, self.name.clone())
    }
}

/// Copies the notes of what was set aside into the new journal and keeps what is owed to it, together.
pub(super) fn adopt(connection: &mut Connection, unclaimed: &Unclaimed) -> Result<(), rusqlite::Error> {
    let name = unclaimed.to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known: Option<i64> = transaction
        .query_row("SELECT 1 FROM note WHERE kind = ?1 AND key = ?2", params![LEGACY_NOTE, name], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(());
    }
    let mut legacy =
        Legacy { name, reason: unclaimed.reason.clone(), notes: 0, notes_whole: false, notes_owed: false, announced: false, plan: None };
    // What this journal knows already is newer than what the old one knew.
    let insert = "INSERT INTO note (kind, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    // One look can fail for a reason that has nothing to do with what lies there.
    match Salvage::of(&unclaimed.to).or_else(|_| Salvage::of(&unclaimed.to)) {
        Ok(mut old) => {
            while let Some(some) = old.next_notes() {
                for note in some.iter().filter(|note| ![Legacy::NOT_INHERITED, Legacy::TOLD].contains(&note.kind.as_str())) {
                    legacy.notes += transaction.prepare_cached(insert)?.execute(params![note.kind, note.key, note.value])? as u64;
                }
            }
            legacy.notes_whole = old.notes_whole();
            if legacy.notes > 0 && !legacy.notes_whole {
                transaction.execute(insert, params![FORM.0, FORM.1, FORM.2.as_bytes()])?;
            }
        }
        Err(Unopened::Gone(_)) => {}
        Err(why @ (Unopened::Broken(_) | Unopened::Refused(_))) => {
            tracing::error!(from = %unclaimed.to.display(), %why, "the notes of the journal set aside cannot be read yet; they are copied later");
            legacy.notes_owed = true;
        }
    }
    transaction.execute(insert, params![LEGACY_NOTE, legacy.name, legacy.note().value])?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;
    use crate::ingest::{COUNTER_NOTE, TOLD_NOTE};
    use crate::journal::{Journal, JournalConfig};

    #[tokio::test]
    async fn which_entries_of_a_seal_are_on_record_is_not_inherited_from_a_journal_that_was_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let journal = open();
        journal.keep(vec![Note::keep(COUNTER_NOTE, "JT-1", "17"), Note::keep(TOLD_NOTE, "JT-1", "{}")]).await.unwrap();
        journal.close().await.unwrap();
        let to = "journal.damaged-20261121T080000Z";
        std::fs::create_dir(dir.path().join(to)).unwrap();
        std::fs::write(dir.path().join("journal.condemned"), format!("for a test\n{to}\n")).unwrap();
        let reader = open().reader().unwrap();
        assert_eq!(reader.note(COUNTER_NOTE, "JT-1").unwrap().as_deref(), Some(b"17".as_slice()), "other notes are");
        assert_eq!(reader.note(TOLD_NOTE, "JT-1").unwrap(), None, "a seal confirmed on its word would delete the only other copy");
    }
}
