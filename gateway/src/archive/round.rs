//! One round of archiving: what is due is sealed, segment by segment, and put away.
//!
//! What must hold: a segment is put away only when [`seal`](super::seal) has read it back; a round is bounded by what was
//! recorded when it began, so that the receipts it makes itself never keep it going; nothing is held between segments
//! (no read transaction, no lock on the journal), so that it may be stopped, killed or run twice at any moment.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex, task::spawn_blocking};

use super::{
    ArchiveError, Order, Place, Sealed, Step,
    due::{Age, Extent, Limits, Seen, Survey, may_begin},
    errand::{Errand, Line, Put, Round},
    manifest::{Kind, SegmentName},
    seal,
    seal::{PAGE, PAGE_BYTES},
};
use crate::{
    clock::Clock,
    event::{Assurance, Class, ClockQuality, Digest, Draft, EventType, Seq, Source, Stamp, Subject, document::Head},
    forward::UPLINK,
    journal::{Entry, Journal, JournalError, JournalReader, Misfit, Record, Segment},
};

/// How often a segment is begun anew because old telemetry was dropped under it.
const OVERTAKEN_MAX: u32 = 3;

/// Whose confirmation an event needs before it may leave the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Customs'.
    Uplink,
    /// Nobody's: this gate reports to nobody.
    Nobody,
}

/// Which events somebody wants archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// All that are delivered.
    All,
    /// Those older than this, in segments that are full or late.
    Ripe(Duration),
    /// Those older than this, now.
    Than(Duration),
}

/// Archives one journal. Copies share one turn: two never seal at once.
#[derive(Debug, Clone)]
pub struct Archivist {
    journal: Journal,
    clock: Clock,
    source: Source,
    place: Place,
    counting: Counting,
    limits: Limits,
    turn: Arc<Mutex<()>>,
}

impl Archivist {
    /// An archivist of this journal.
    #[must_use]
    pub fn new(journal: Journal, clock: Clock, source: Source, place: Place, counting: Counting) -> Self {
        Self { journal, clock, source, place, counting, limits: Limits::default(), turn: Arc::default() }
    }

    /// The same, with segments of another size.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where it archives to.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The journal it archives.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Seals and puts away what is due, class by class, in order, until nothing is or the errand is over.
    ///
    /// # Errors
    /// [`ArchiveError`]: what was put away until then is; nothing else has left the journal.
    pub async fn round(&self, older: Older, errand: &Errand) -> Result<Round, ArchiveError> {
        let mut round = Round::default();
        let now = self.clock.now();
        if now.clock == ClockQuality::Untrusted {
            return Err(ArchiveError::Clock);
        }
        let place = self.place.clone();
        blocking(move || place.check()).await?;
        let heads = *self.journal.heads().borrow();
        let mut first_fault = None;
        for class in Class::ALL {
            // The newest event of a class stays: the journal's own numbering rests on it.
            let task = Task { class: *class, until: heads.of(*class).before(), older, age: age(older, now), now };
            loop {
                match self.segment(task, errand).await {
                    Ok(Some(put)) => {
                        round.add(&put);
                        errand.say(Line::Segment(put)).await;
                    }
                    Ok(None) => break,
                    // One class whose next event is damaged keeps the others from nothing.
                    Err(fault @ ArchiveError::Damaged { .. }) => {
                        first_fault.get_or_insert(fault);
                        break;
                    }
                    Err(fault) => return Err(fault),
                }
            }
            if errand.is_over() {
                round.stopped = true;
                break;
            }
        }
        first_fault.map_or(Ok(round), Err)
    }

    /// The next segment of a class, if one is due and nobody stopped it.
    async fn segment(&self, task: Task, errand: &Errand) -> Result<Option<Put>, ArchiveError> {
        let mut overtaken = 0;
        loop {
            if errand.is_over() {
                return Ok(None);
            }
            let _turn = self.turn.lock().await;
            let (archivist, sealing) = (self.clone(), errand.clone());
            match blocking(move || archivist.seal(task, &sealing)).await {
                Ok(None) | Err(ArchiveError::Stopped) => return Ok(None),
                Ok(Some(sealed)) => match self.put_away(sealed).await {
                    Err(ArchiveError::Overtaken { .. }) if overtaken < OVERTAKEN_MAX => overtaken += 1,
                    outcome => return outcome.map(Some),
                },
                Err(ArchiveError::Overtaken { .. }) if overtaken < OVERTAKEN_MAX => overtaken += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    fn seal(&self, task: Task, errand: &Errand) -> Result<Option<Sealed>, ArchiveError> {
        let reader = self.journal.reader()?;
        let away = Away::of(&reader, task.class)?;
        let confirmed = match self.counting {
            Counting::Uplink => {
                let cursor = reader.cursor(&UPLINK, task.class)?;
                if task.class == Class::Telemetry && cursor < reader.last_gap()? {
                    // First customs must know what was dropped: see `last_gap`.
                    return Ok(None);
                }
                cursor.min(task.until)
            }
            Counting::Nobody => task.until,
        };
        let Some(extent) = self.extent(&reader, task, away.last, confirmed, errand)? else { return Ok(None) };
        let folder = self.place.folder(&self.source, reader.journal())?;
        let begun = interrupted(&folder, task.class, away.last)?.filter(|last| *last <= extent.last);
        let order = Order {
            source: self.source.clone(),
            class: task.class,
            front: away.last,
            prev: away.digest,
            last: begun.unwrap_or(extent.last),
            previous_manifest: away.manifest,
            now: task.now,
        };
        let (done, at_most) = (AtomicU64::new(0), confirmed.0.saturating_sub(away.last.0));
        seal(&reader, &folder, &order, &mut |step| {
            if let Step::Written(count) = step {
                let done = done.fetch_add(count, Ordering::Relaxed) + count;
                errand.tell(Line::Sealing { class: task.class, done, at_most });
            }
            errand.breathe()
        })
        .map(Some)
    }

    /// What makes the next segment, if it is to be sealed now.
    fn extent(
        &self,
        reader: &JournalReader,
        task: Task,
        front: Seq,
        confirmed: Seq,
        errand: &Errand,
    ) -> Result<Option<Extent>, ArchiveError> {
        // Two rows say in almost every case that there is nothing to do yet.
        let Some(first) = one(reader, task.class, front)? else { return Ok(None) };
        if first.seq > confirmed || !may_begin(task.age, &first) {
            return Ok(None);
        }
        if let Older::Ripe(_) = task.older {
            let alone = Extent { last: first.seq, oldest: Some(first.wall), full: false };
            let known = first.clock != ClockQuality::Untrusted && first.wall <= task.now.wall;
            let full_at = Seq(front.0 + self.limits.events);
            let full = full_at <= confirmed && one(reader, task.class, full_at.before())?.is_some_and(|last| may_begin(task.age, &last));
            if known && !full && !alone.is_ripe(task.age) {
                return Ok(None);
            }
        }
        let mut survey = Survey::new(front, confirmed, task.age, self.limits);
        let mut at = front;
        'looking: loop {
            let records = reader.after(task.class, at, PAGE, PAGE_BYTES)?;
            let Some(last) = records.last() else { break };
            at = last.seq;
            for record in &records {
                if survey.look(&seen(record)?).is_break() {
                    break 'looking;
                }
            }
            if errand.breathe().is_break() {
                return Err(ArchiveError::Stopped);
            }
        }
        let now = matches!(task.older, Older::All | Older::Than(_));
        Ok(survey.extent(front).filter(|extent| now || extent.is_ripe(task.age)))
    }

    async fn put_away(&self, sealed: Sealed) -> Result<Put, ArchiveError> {
        let manifest = &sealed.manifest;
        let put = Put {
            archived_class: manifest.class,
            first: manifest.first,
            last: manifest.last,
            count: manifest.count,
            bytes: manifest.bytes,
            digest: manifest.digest,
            sha256: manifest.sha256,
            manifest: sealed.manifest_digest,
            name: manifest.name().to_string(),
            folder: sealed.folder.display().to_string(),
        };
        let segment = Segment {
            class: manifest.class,
            first: manifest.first,
            last: manifest.last,
            count: manifest.count,
            bytes: sealed.document_bytes,
            digest: manifest.digest,
            name: put.name.clone(),
            manifest: sealed.manifest_digest,
            place: put.folder.clone(),
        };
        let draft = Draft::new(Class::Receipt, EventType::Archived, Subject::gateway(), self.clock.now(), Assurance::Own, &put)
            .expect("numbers, digests and a path are a small object");
        self.journal.put_away(segment, Entry::new(draft)).await.map_err(|fault| match fault {
            JournalError::Misfit { class, why: Misfit::Begins { expected, .. } } => ArchiveError::Overtaken { class, seq: expected },
            other => other.into(),
        })?;
        tracing::debug!(class = %put.archived_class, first = %put.first, last = %put.last, "a segment is sealed and put away");
        Ok(put)
    }
}

/// What one round wants of one class.
#[derive(Debug, Clone, Copy)]
struct Task {
    class: Class,
    /// Nothing after this.
    until: Seq,
    older: Older,
    age: Age,
    now: Stamp,
}

/// Up to where a class has left the journal, or is about to.
struct Away {
    last: Seq,
    digest: Digest,
    /// SHA-256 of its newest manifest; zeros before the first.
    manifest: Digest,
}

impl Away {
    fn of(reader: &JournalReader, class: Class) -> Result<Self, ArchiveError> {
        let segments = reader.segments(class)?;
        // Read after the segments: rows that leave meanwhile are in one of them, or dropped and past all of them.
        let front = reader.front(class)?;
        let manifest = segments.last().map_or(Digest::ZERO, |segment| segment.manifest);
        Ok(match segments.last().filter(|segment| segment.last > front.last) {
            Some(segment) => Self { last: segment.last, digest: segment.digest, manifest },
            None => Self { last: front.last, digest: front.digest, manifest },
        })
    }
}

fn age(older: Older, now: Stamp) -> Age {
    match older {
        Older::All => Age::Any,
        Older::Ripe(than) | Older::Than(than) => {
            let seconds = i64::try_from(than.as_secs()).unwrap_or(i64::MAX);
            let horizon = jiff::Timestamp::from_second(now.wall.as_second().saturating_sub(seconds)).unwrap_or(jiff::Timestamp::MIN);
            Age::Before { horizon, now: now.wall }
        }
    }
}

/// The event after this number.
fn one(reader: &JournalReader, class: Class, after: Seq) -> Result<Option<Seen>, ArchiveError> {
    reader.after(class, after, 1, 1)?.first().map(seen).transpose()
}

fn seen(record: &Record) -> Result<Seen, ArchiveError> {
    let damaged = |what: String| ArchiveError::Damaged { class: record.class, seq: record.seq, what };
    let head = Head::parse(&record.doc).map_err(|fault| damaged(fault.to_string()))?;
    Ok(Seen { seq: record.seq, wall: record.wall, clock: head.clock, bytes: record.doc.len() as u64 + 1 })
}

/// Where the segment ends that an interrupted run had finished and not put away. Written again with the same extent it
/// gets the same bytes, and nothing is left over.
fn interrupted(folder: &Path, class: Class, front: Seq) -> Result<Option<Seq>, ArchiveError> {
    let fault = |fault| ArchiveError::of(folder, fault);
    let mut last = None;
    for entry in fs::read_dir(folder).map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        if let Some((SegmentName { class: of, first, last: to }, Kind::Documents)) = name.to_str().and_then(SegmentName::of_file)
            && of == class
            && first == front.next()
        {
            last = last.max(Some(to));
        }
    }
    Ok(last)
}

/// Runs on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static) -> Result<T, ArchiveError> {
    spawn_blocking(work).await.expect("reading rows and writing files does not panic")
}
