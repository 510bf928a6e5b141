//! Carries over what a journal that was set aside still had to deliver, while the gate already works.
//!
//! ```text
//!   journal.damaged-TIME/ ──64 at a time──► CARRIED_OVER … + note "how far" ──► one transaction ──► customs, like any event
//!                                           at the end: CARRY_OVER_ENDED, what was found, carried, unreadable, left
//! ```
//!
//! What must hold: how far it is stands in the transaction of what was carried, so that a kill at any moment neither
//! loses nor doubles an event; an event is carried in its own class, with its bytes and the digest they had; however
//! much there is, a piece is small, and what happens at the gate meanwhile waits for none of it; on a scarce disk it waits.
//!
//! Telemetry is not carried: it is what may be lost. How much of it stays behind is said. A gate that reports to nobody
//! owes nobody anything: it carries nothing, and says that.
//!
//! Nothing is given up because of one look: what the machine refuses is tried until it works, and what seems broken is
//! given up only after minutes of looks.

use std::{collections::HashMap, path::Path, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    archive::Counting,
    clock::Clock,
    commands,
    config::Config,
    event::{Assurance, BODY_MAX, Class, Digest, Draft, DraftError, EventType, JournalId, Seq, Subject, document::Head},
    forward::UPLINK,
    ingest::{CLOCK_NOTE, COUNTER_NOTE, READER_NOTE},
    journal::{
        CARRIED, Entry, Journal, JournalError, JournalReader, LEGACY_NOTE, Legacy, NOTE_MAX, Note, Plan, Room, Salvage, Saved, Stretch,
    },
    seals,
    sessions::{self, Settler},
};

/// Events carried in one transaction: some milliseconds of the disk.
pub(crate) const PIECE: usize = 64;
/// Pause between two pieces, so that the disk has room for what happens now: a hundred thousand take half a minute.
const PAUSE: Duration = Duration::from_millis(10);
/// A journal that refuses is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// A note kept without an event is on disk within a second: before it is asked which are there, so long is waited.
const KEPT_WITHIN: Duration = Duration::from_millis(1_500);
/// So many looks in a row at a database that seems broken end it: five minutes. A loose cable or a disk that comes back
/// from a reset reads well again before that.
const BROKEN_LOOKS: u32 = 60;
/// The kinds of notes that are copied late. A state's form is that of this version: the notes of states were there at
/// once or are built anew.
const LATE: [&str; 7] = [COUNTER_NOTE, commands::NOTE, READER_NOTE, CLOCK_NOTE.0, LEGACY_NOTE, seals::NOTE, sessions::NOTE];
/// Why a gate without an uplink carries nothing.
const NOBODY: &str = "this gate reports to nobody: nothing of it was to be delivered";

/// The particulars of `JOURNAL_SET_ASIDE`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SetAside<'a> {
    set_aside_to: &'a Path,
    reason: &'a str,
    /// Notes (states, counters, answered commands) taken over.
    notes: u64,
    /// Whether those were all there were.
    notes_whole: bool,
}

/// The particulars of `CARRIED_OVER`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CarriedOver<'a> {
    /// The journal it was recorded in, its number there, and the SHA-256 of its document.
    journal: JournalId,
    seq: String,
    digest: Digest,
    /// Identity and word of the event, for whoever looks for it.
    event: String,
    r#type: &'a str,
    /// The document, byte for byte as a text; absent where it is too long for a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a str>,
    /// Why it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<String>,
}

/// The particulars of `CARRY_OVER_ENDED`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    set_aside_to: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalId>,
    alarm: Count,
    receipt: Count,
    /// Undelivered telemetry that stays there; null when it cannot be read.
    telemetry_left: Option<u64>,
    /// Why nothing of it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable_because: Option<&'a str>,
    /// Why nothing of it was to be carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_carried_because: Option<&'a str>,
}

#[derive(Serialize)]
struct Count {
    found: u64,
    carried: u64,
    unreadable: u64,
}

impl From<&Stretch> for Count {
    fn from(stretch: &Stretch) -> Self {
        Self { found: stretch.found(), carried: stretch.carried, unreadable: stretch.unreadable() }
    }
}

/// The task that carries over.
#[derive(Debug)]
pub(crate) struct Carry {
    journal: Journal,
    clock: Clock,
    counting: Counting,
    /// Ends what an order intended in the journal set aside and never ended.
    settler: Settler,
    retry: Duration,
    /// Journals that cannot be opened, which was said, and how many looks in a row spoke against the file.
    looks: HashMap<String, u32>,
    /// Whether it was said that carrying over does not go on.
    stuck: bool,
}

/// What came of one journal for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing is owed any more.
    Settled,
    /// It is tried again.
    Later,
}

/// How carrying over ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    /// Everything that can be read is carried.
    Read,
    /// Nothing could be read, and why.
    Unreadable(String),
    /// Nobody is there to deliver to.
    Nobody,
}

/// Whose confirmation events need on this gate.
pub(crate) const fn counting(config: &Config) -> Counting {
    if config.uplink.enabled { Counting::Uplink } else { Counting::Nobody }
}

/// Records `JOURNAL_SET_ASIDE` for every journal that was set aside and is not yet told of, each once however often the
/// gate is killed meanwhile.
pub(crate) async fn announce(journal: &Journal, clock: &Clock) -> Result<(), JournalError> {
    for mut legacy in owed(journal).await?.into_iter().filter(|legacy| !legacy.announced) {
        let to = journal.dir().join(&legacy.name);
        let body = SetAside { set_aside_to: &to, reason: &legacy.reason, notes: legacy.notes, notes_whole: legacy.notes_whole };
        tracing::error!(set_aside_to = %to.display(), reason = legacy.reason, notes = legacy.notes, "a journal is set aside; a new one begins");
        let draft = Draft::new(Class::Alarm, EventType::JournalSetAside, Subject::gateway(), clock.now(), Assurance::Own, &body);
        let draft = draft.expect("a path and a sentence are a small object");
        legacy.announced = true;
        journal.append(Entry::new(draft).with(legacy.note())).await?;
    }
    Ok(())
}

/// What is owed to journals that were set aside, the oldest first.
async fn owed(journal: &Journal) -> Result<Vec<Legacy>, JournalError> {
    let notes = reading(journal, |reader| reader.notes(LEGACY_NOTE)).await?;
    let legacy = |note: &crate::journal::RecordedNote| match serde_json::from_slice(&note.value) {
        Ok(legacy) => Some(legacy),
        Err(fault) => {
            tracing::error!(set_aside = note.key, %fault, "what is owed to a journal set aside cannot be read back; look into it by hand");
            None
        }
    };
    Ok(notes.iter().filter_map(legacy).collect())
}

async fn reading<T: Send + 'static>(
    journal: &Journal,
    read: impl FnOnce(&JournalReader) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    let journal = journal.clone();
    let read = tokio::task::spawn_blocking(move || read(&journal.reader()?)).await;
    read.expect("reading rows does not panic")
}

impl Carry {
    pub(crate) fn new(journal: Journal, clock: Clock, counting: Counting, settler: Settler) -> Self {
        Self { journal, clock, counting, settler, retry: RETRY, looks: HashMap::new(), stuck: false }
    }

    /// Carries over until nothing is owed any more, or until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn all(&mut self) {
        loop {
            match self.each().await {
                Ok(Outcome::Settled) => return,
                Ok(Outcome::Later) => {}
                Err(JournalError::Closed) => return,
                Err(fault) if fault.is_damage() => {
                    let journal = self.journal.clone();
                    let again = tokio::task::spawn_blocking(move || journal.look_again_at(&fault)).await;
                    if again.expect("reading rows does not panic") {
                        return;
                    }
                }
                // The journal says itself that it refuses, and how long.
                Err(fault) if fault.may_pass() => tracing::debug!(%fault, "carrying over waits"),
                Err(fault) => {
                    if !std::mem::replace(&mut self.stuck, true) {
                        tracing::error!(%fault, "carrying over does not go on; keep the journal set aside, report this with the log, and restart the gate");
                    }
                }
            }
            sleep(self.retry).await;
        }
    }

    async fn each(&mut self) -> Result<Outcome, JournalError> {
        // What could not be told at the start is told now.
        announce(&self.journal, &self.clock).await?;
        let mut outcome = Outcome::Settled;
        loop {
            let before = owed(&self.journal).await?;
            for legacy in &before {
                if self.one(legacy.clone()).await? == Outcome::Later {
                    outcome = Outcome::Later;
                }
            }
            // Notes copied late can say that more is owed.
            let known = |legacy: &Legacy| before.iter().any(|before| before.name == legacy.name);
            if owed(&self.journal).await?.iter().all(known) {
                return Ok(outcome);
            }
        }
    }

    async fn one(&mut self, mut legacy: Legacy) -> Result<Outcome, JournalError> {
        let dir = self.journal.dir().join(&legacy.name);
        if self.counting == Counting::Nobody && !legacy.notes_owed {
            return self.unwanted(&legacy, &dir).await;
        }
        // Opening makes the index of its log anew, which takes room too.
        self.room().await?;
        let look = dir.clone();
        let mut old = match tokio::task::spawn_blocking(move || Salvage::of(&look)).await.expect("opening a file does not panic") {
            Ok(old) => old,
            Err(why) => {
                let looks = self.looks.entry(legacy.name.clone()).or_default();
                if *looks == 0 {
                    tracing::error!(
                        %why, from = %dir.display(),
                        "the journal set aside cannot be opened; it is tried again: look for disk errors with `dmesg`, for room, and whether \
                         the gate's user may write in there"
                    );
                }
                // A disk that refuses says nothing about the file.
                *looks = if why.is_broken() { *looks + 1 } else { 1 };
                if !why.is_gone() && *looks < BROKEN_LOOKS {
                    return Ok(Outcome::Later);
                }
                let plan = legacy.plan.clone().unwrap_or_else(|| Salvage::nothing(&dir));
                return self.end(&legacy, &dir, &plan, Ending::Unreadable(why.to_string())).await;
            }
        };
        if self.looks.remove(&legacy.name).is_some() {
            tracing::info!(from = %dir.display(), "the journal set aside can be opened");
        }
        if legacy.notes_owed {
            let copied;
            (old, copied) = self.notes(old, &mut legacy).await?;
            if copied > 0 {
                // Notes alone can be given up by a journal that cannot be written: they are owed until all were seen there.
                return Ok(Outcome::Later);
            }
        }
        if self.counting == Counting::Nobody {
            return self.unwanted(&legacy, &dir).await;
        }
        loop {
            let mut plan = legacy.plan.take();
            let look = move || {
                let mut plan = plan.take().unwrap_or_else(|| old.plan(&UPLINK));
                let piece = old.next(&mut plan, PIECE);
                (old, plan, piece)
            };
            let (back, plan, piece) = tokio::task::spawn_blocking(look).await.expect("reading rows and JSON does not panic");
            old = back;
            let Some(piece) = piece else {
                return self.end(&legacy, &dir, &plan, Ending::Read).await;
            };
            legacy.plan = Some(plan);
            self.carry(&piece, &legacy).await?;
            sleep(PAUSE).await;
        }
    }

    /// Copies the notes that could not be read when this journal began. What it knows itself by now is newer. How many
    /// were not there.
    async fn notes(&self, mut old: Salvage, legacy: &mut Legacy) -> Result<(Salvage, u64), JournalError> {
        let mut copied = 0;
        loop {
            let look = move || {
                let some = old.next_notes();
                (old, some)
            };
            let (back, some) = tokio::task::spawn_blocking(look).await.expect("reading rows does not panic");
            old = back;
            let Some(some) = some else { break };
            let late = some.into_iter().filter(|note| note.key.len() + note.value.len() <= NOTE_MAX);
            let late = late.filter_map(|note| Some(Note::keep(LATE.iter().find(|kind| **kind == note.kind)?, note.key, note.value)));
            let some: Vec<Note> = late.collect();
            if some.is_empty() {
                continue;
            }
            self.room().await?;
            sleep(KEPT_WITHIN).await;
            let absent = move |reader: &JournalReader| {
                let mut new = Vec::new();
                for note in some {
                    if reader.note(note.kind, &note.key)?.is_none() {
                        new.push(note);
                    }
                }
                Ok(new)
            };
            let new = reading(&self.journal, absent).await?;
            copied += new.len() as u64;
            self.journal.keep(new).await?;
        }
        legacy.notes += copied;
        if copied == 0 {
            // As long as these notes are owed on disk, what is ended here keeps its note and is not copied once more.
            self.settler.settle().await?;
            (legacy.notes_owed, legacy.notes_whole) = (false, old.notes_whole());
            tracing::info!(
                notes = legacy.notes,
                whole = legacy.notes_whole,
                from = legacy.name,
                "the notes of the journal set aside are copied"
            );
        }
        self.journal.keep(vec![legacy.note()]).await?;
        Ok((old, copied))
    }

    async fn unwanted(&self, legacy: &Legacy, dir: &Path) -> Result<Outcome, JournalError> {
        let plan = legacy.plan.clone().unwrap_or_else(|| Salvage::unwanted(dir));
        self.end(legacy, dir, &plan, Ending::Nobody).await
    }

    /// One piece and how far it brings us: together or not at all.
    async fn carry(&self, piece: &[Saved], legacy: &Legacy) -> Result<(), JournalError> {
        let mut entries: Vec<Entry> = piece.iter().map(|saved| Entry::new(self.draft(saved))).collect();
        match entries.pop() {
            Some(last) => entries.push(last.with(legacy.note())),
            None => return self.journal.keep(vec![legacy.note()]).await,
        }
        loop {
            self.room().await?;
            // The very same entries again: if the commit that failed is on disk after all, the journal knows them.
            match self.journal.append_all(entries.clone()).await {
                Ok(_) => return Ok(()),
                Err(fault) if fault.may_pass() => sleep(RETRY).await,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Waits while room is scarce: what is left then is for what happens now, and what is owed is safe where it lies.
    async fn room(&self) -> Result<(), JournalError> {
        let mut standing = self.journal.standing();
        if standing.borrow_and_update().room == Room::Scarce {
            tracing::info!("carrying over waits for room on the disk");
        }
        standing.wait_for(|standing| standing.room == Room::Plenty).await.map(drop).map_err(|_| JournalError::Closed)
    }

    fn draft(&self, saved: &Saved) -> Draft {
        let head = Head::parse(&saved.doc).expect("it was taken apart when it was found");
        let text = std::str::from_utf8(&saved.doc).expect("JSON that was taken apart is text");
        // One that was itself carried keeps its particulars: they say what it was at first.
        if head.kind() == Some(EventType::CarriedOver)
            && let Ok(draft) = self.drafted(saved, &head, &again(head.data, saved, head.journal))
        {
            return draft;
        }
        let body = |document, omitted| CarriedOver {
            journal: head.journal,
            seq: saved.seq.to_string(),
            digest: saved.digest,
            event: head.id.to_string(),
            r#type: &head.word,
            document,
            omitted,
        };
        self.drafted(saved, &head, &body(Some(text), None)).unwrap_or_else(|_| {
            let why = format!("its {} bytes do not fit into a body of {BODY_MAX}: it is in the journal set aside", saved.doc.len());
            self.drafted(saved, &head, &body(None, Some(why))).expect("numbers and digests are a small object")
        })
    }

    fn drafted<B: Serialize>(&self, saved: &Saved, head: &Head<'_>, body: &B) -> Result<Draft, DraftError> {
        let draft = Draft::new(saved.class, EventType::CarriedOver, head.subject.clone(), self.clock.now(), head.assurance, body)?;
        match &head.container {
            Some(container) => draft.with_container(container.clone()),
            None => Ok(draft),
        }
    }

    async fn end(&self, legacy: &Legacy, dir: &Path, plan: &Plan, ending: Ending) -> Result<Outcome, JournalError> {
        let [alarm, receipt] = &plan.classes;
        let (lost, carried): (u64, u64) = (alarm.unreadable() + receipt.unreadable(), alarm.carried + receipt.carried);
        let body = Ended {
            set_aside_to: dir,
            journal: plan.journal,
            alarm: alarm.into(),
            receipt: receipt.into(),
            telemetry_left: plan.telemetry_left,
            unreadable_because: if let Ending::Unreadable(why) = &ending { Some(why) } else { None },
            not_carried_because: (ending == Ending::Nobody).then_some(NOBODY),
        };
        let draft = Draft::new(Class::Receipt, EventType::CarryOverEnded, Subject::gateway(), self.clock.now(), Assurance::Own, &body);
        let draft = draft.expect("a path and numbers are a small object");
        self.journal.append(Entry::new(draft).with(legacy.settled())).await?;
        if ending == Ending::Nobody {
            tracing::info!(carried, from = %dir.display(), "nothing more of the journal set aside is carried over: {NOBODY}");
        } else if lost > 0 || plan.journal.is_none() {
            tracing::error!(carried, lost, from = %dir.display(), "what could be read of the journal set aside is carried over; not all could");
        } else {
            tracing::info!(carried, from = %dir.display(), "everything undelivered of the journal set aside is carried over");
        }
        Ok(Outcome::Settled)
    }
}

/// The particulars of an event carried before, and by way of which event.
fn again<'a>(data: &'a RawValue, saved: &Saved, journal: JournalId) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Through {
        journal: JournalId,
        seq: Seq,
        digest: Digest,
    }
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(data.get()).unwrap_or_default();
    let through = members.entry("through").or_insert_with(|| serde_json::Value::Array(Vec::new()));
    if let serde_json::Value::Array(stations) = through {
        let station = Through { journal, seq: saved.seq, digest: saved.digest };
        stations.push(serde_json::to_value(station).expect("numbers and texts can be written as JSON"));
    }
    members
}

// Both name the classes that are carried; the end of the story has a member for each.
const _: () = assert!(matches!(CARRIED, [Class::Alarm, Class::Receipt]));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;
    use crate::journal::{JournalConfig, Opening};

    fn open(dir: &Path) -> (Journal, Opening) {
        Journal::open(dir, JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap()
    }

    fn clock() -> Clock {
        Clock::new(Duration::from_secs(1), None)
    }

    fn carry(journal: &Journal, counting: Counting) -> Carry {
        Carry { retry: Duration::from_millis(1), ..Carry::new(journal.clone(), clock(), counting, Settler::of(journal.clone(), clock())) }
    }

    /// A journal with three alarms and two notes, told to be set aside; its directory's name is known beforehand.
    async fn condemned(dir: &Path) -> std::path::PathBuf {
        let (journal, _) = open(dir);
        for n in 0..3 {
            let body = serde_json::json!({ "n": n });
            let draft = Draft::new(Class::Alarm, EventType::ForcedOpen, Subject::gateway(), clock().now(), Assurance::Own, &body).unwrap();
            journal.append(Entry::new(draft)).await.unwrap();
        }
        journal.keep(vec![Note::keep(COUNTER_NOTE, "JT-1", "17"), Note::keep(COUNTER_NOTE, "JT-2", "4")]).await.unwrap();
        let intent = serde_json::json!({
            "commandId": "c-1", "seal": "SGL-1", "action": "lock", "withinS": 20, "askedBy": {"uid": 1}, "protocol": "segel",
        });
        journal.keep(vec![Note::keep(sessions::NOTE, "c-1", intent.to_string())]).await.unwrap();
        journal.keep(vec![Note::keep(Legacy::NOT_INHERITED, "alarm/1", "told")]).await.unwrap();
        journal.close().await.unwrap();
        let to = dir.join("journal.damaged-20261121T080000Z");
        std::fs::create_dir(&to).unwrap();
        std::fs::write(dir.join("journal.condemned"), format!("for a test\n{}\n", to.file_name().unwrap().to_str().unwrap())).unwrap();
        to
    }

    fn ended(journal: &Journal) -> Option<serde_json::Value> {
        let mut found = None;
        let take = |record: &crate::journal::Record| {
            if record.kind == "CARRY_OVER_ENDED" {
                found = Some(serde_json::from_slice::<serde_json::Value>(&record.doc).unwrap()["data"].clone());
            }
        };
        journal.reader().unwrap().each(Class::Receipt, take).unwrap();
        found
    }

    fn note(journal: &Journal, kind: &str, key: &str) -> Option<String> {
        journal.reader().unwrap().note(kind, key).unwrap().map(|value| String::from_utf8(value).unwrap())
    }

    #[tokio::test]
    async fn what_cannot_be_opened_for_a_while_is_owed_until_it_can_its_notes_included() {
        let dir = tempfile::tempdir().unwrap();
        let to = condemned(dir.path()).await;
        // It seems to be no database, for now.
        let db = dir.path().join("journal.db");
        let whole = std::fs::read(&db).unwrap();
        std::fs::write(&db, [b"not a database, as it seems. ".repeat(200).as_slice(), &whole].concat()).unwrap();
        let (journal, _) = open(dir.path());
        assert_eq!(note(&journal, COUNTER_NOTE, "JT-1"), None);
        let mut task = carry(&journal, Counting::Uplink);
        for _ in 0..3 {
            assert_eq!(task.each().await.unwrap(), Outcome::Later);
        }
        assert_eq!(ended(&journal), None);
        journal.keep(vec![Note::keep(COUNTER_NOTE, "JT-2", "5")]).await.unwrap();
        std::fs::write(to.join("journal.db"), &whole).unwrap();
        assert_eq!(task.each().await.unwrap(), Outcome::Later, "until every note was seen to be there");
        assert_eq!(task.each().await.unwrap(), Outcome::Settled);
        let ended = ended(&journal).unwrap();
        assert_eq!((&ended["alarm"]["carried"], &ended["alarm"]["unreadable"]), (&3.into(), &0.into()), "{ended}");
        assert_eq!(note(&journal, COUNTER_NOTE, "JT-1").as_deref(), Some("17"));
        assert_eq!(note(&journal, COUNTER_NOTE, "JT-2").as_deref(), Some("5"), "what is newer stays");
        assert_eq!(note(&journal, Legacy::NOT_INHERITED, "alarm/1"), None);
        let mut ends = Vec::new();
        let take = |record: &crate::journal::Record| {
            if record.kind == "ACTION_ENDED" {
                ends.push(serde_json::from_slice::<serde_json::Value>(&record.doc).unwrap()["data"].clone());
            }
        };
        journal.reader().unwrap().each(Class::Receipt, take).unwrap();
        assert_eq!(ends.len(), 1, "an order open at the crash gets its end, once: {ends:?}");
        assert_eq!((&ends[0]["commandId"], &ends[0]["outcome"]), (&"c-1".into(), &"unknown".into()));
    }

    #[tokio::test]
    async fn what_stays_broken_is_given_up_after_many_looks_and_what_is_refused_never() {
        let dir = tempfile::tempdir().unwrap();
        let to = condemned(dir.path()).await;
        let (journal, _) = open(dir.path());
        let (db, hidden) = (to.join("journal.db"), to.join("hidden"));
        std::fs::rename(&db, &hidden).unwrap();
        // A link in circles: the system refuses, and nobody knows whether there is a database.
        std::os::unix::fs::symlink(&db, &db).unwrap();
        let mut task = carry(&journal, Counting::Uplink);
        for _ in 0..2 * BROKEN_LOOKS {
            assert_eq!(task.each().await.unwrap(), Outcome::Later);
        }
        std::fs::remove_file(&db).unwrap();
        std::fs::write(&db, b"not a database at all ".repeat(500)).unwrap();
        task.all().await;
        let ended = ended(&journal).unwrap();
        assert_eq!((&ended["alarm"]["found"], &ended["alarm"]["unreadable"]), (&3.into(), &3.into()), "{ended}");
        assert!(ended["unreadableBecause"].as_str().unwrap().contains("not a database"), "{ended}");
        assert!(owed(&journal).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_gate_that_reports_to_nobody_carries_nothing_and_says_so_and_damage_told_is_not_inherited() {
        let dir = tempfile::tempdir().unwrap();
        condemned(dir.path()).await;
        let (journal, _) = open(dir.path());
        assert_eq!(note(&journal, COUNTER_NOTE, "JT-1").as_deref(), Some("17"));
        assert_eq!(note(&journal, Legacy::NOT_INHERITED, "alarm/1"), None);
        carry(&journal, Counting::Nobody).all().await;
        let ended = ended(&journal).unwrap();
        assert_eq!((&ended["alarm"]["found"], &ended["alarm"]["carried"]), (&0.into(), &0.into()), "{ended}");
        assert_eq!(ended["notCarriedBecause"], NOBODY);
        assert!(owed(&journal).await.unwrap().is_empty());
    }
}
