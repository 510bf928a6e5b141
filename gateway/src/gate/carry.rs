//! Carries over what a journal that was set aside still had to deliver, while the gate already works.
//!
//! ```text
//!   journal.damaged-TIME/ ──64 at a time──► CARRIED_OVER … + note "how far" ──► one transaction ──► customs, like any event
//!                                           at the end: CARRY_OVER_ENDED, what was found, carried, unreadable, left
//! ```
//!
//! What must hold: how far it is stands in the transaction of what was carried, so that a kill at any moment neither
//! loses nor doubles an event; an event is carried in its own class, with its bytes and the digest they had; however
//! much there is, a piece is small, and what happens at the gate meanwhile waits for none of it.
//!
//! Telemetry is not carried: it is what may be lost. How much of it stays behind is said.

use std::{path::Path, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    event::{Assurance, BODY_MAX, Class, Digest, Draft, DraftError, EventType, JournalId, Seq, Subject, document::Head},
    forward::UPLINK,
    journal::{CARRIED, Entry, Journal, JournalError, JournalReader, LEGACY_NOTE, Legacy, Plan, Salvage, Saved, Stretch},
};

/// Events carried in one transaction: some milliseconds of the disk.
pub(crate) const PIECE: usize = 64;
/// Pause between two pieces, so that the disk has room for what happens now: a hundred thousand take half a minute.
const PAUSE: Duration = Duration::from_millis(10);
/// A journal that refuses is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);

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
    unreadable_because: Option<String>,
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
    pub(crate) const fn new(journal: Journal, clock: Clock) -> Self {
        Self { journal, clock }
    }

    /// Carries over until nothing is owed any more, or until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = self.all() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn all(&self) {
        loop {
            match self.each().await {
                Ok(()) => return,
                Err(JournalError::Closed) => return,
                Err(fault) if fault.is_damage() => return self.journal.look_at(&fault),
                // The journal says itself that it refuses, and how long.
                Err(fault) => tracing::debug!(%fault, "carrying over waits"),
            }
            sleep(RETRY).await;
        }
    }

    async fn each(&self) -> Result<(), JournalError> {
        // What could not be told at the start is told now.
        announce(&self.journal, &self.clock).await?;
        for legacy in owed(&self.journal).await? {
            self.one(legacy).await?;
        }
        Ok(())
    }

    async fn one(&self, mut legacy: Legacy) -> Result<(), JournalError> {
        let dir = self.journal.dir().join(&legacy.name);
        let mut old = match open(&dir).await {
            Ok(old) => old,
            Err(why) => {
                let plan = legacy.plan.clone().unwrap_or_else(|| Salvage::nothing(&dir));
                return self.end(&legacy, &dir, &plan, Some(why)).await;
            }
        };
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
                return self.end(&legacy, &dir, &plan, None).await;
            };
            legacy.plan = Some(plan);
            self.carry(&piece, &legacy).await?;
            sleep(PAUSE).await;
        }
    }

    /// One piece and how far it brings us: together or not at all.
    async fn carry(&self, piece: &[Saved], legacy: &Legacy) -> Result<(), JournalError> {
        let mut entries: Vec<Entry> = piece.iter().map(|saved| Entry::new(self.draft(saved))).collect();
        match entries.pop() {
            Some(last) => entries.push(last.with(legacy.note())),
            None => return self.journal.keep(vec![legacy.note()]).await,
        }
        loop {
            // The very same entries again: if the commit that failed is on disk after all, the journal knows them.
            match self.journal.append_all(entries.clone()).await {
                Ok(_) => return Ok(()),
                Err(fault) if fault.may_pass() => sleep(RETRY).await,
                Err(fault) => return Err(fault),
            }
        }
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

    async fn end(&self, legacy: &Legacy, dir: &Path, plan: &Plan, why: Option<String>) -> Result<(), JournalError> {
        let [alarm, receipt] = &plan.classes;
        let (lost, carried): (u64, u64) = (alarm.unreadable() + receipt.unreadable(), alarm.carried + receipt.carried);
        let body = Ended {
            set_aside_to: dir,
            journal: plan.journal,
            alarm: alarm.into(),
            receipt: receipt.into(),
            telemetry_left: plan.telemetry_left,
            unreadable_because: why,
        };
        let draft = Draft::new(Class::Receipt, EventType::CarryOverEnded, Subject::gateway(), self.clock.now(), Assurance::Own, &body);
        let draft = draft.expect("a path and numbers are a small object");
        self.journal.append(Entry::new(draft).with(legacy.settled())).await?;
        if lost > 0 || plan.journal.is_none() {
            tracing::error!(carried, lost, from = %dir.display(), "what could be read of the journal set aside is carried over; not all could");
        } else {
            tracing::info!(carried, from = %dir.display(), "everything undelivered of the journal set aside is carried over");
        }
        Ok(())
    }
}

async fn open(dir: &Path) -> Result<Salvage, String> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || Salvage::of(&dir)).await.expect("opening a file does not panic")
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
