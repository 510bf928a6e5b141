//! A real journal in a directory, the model beside it, and every operation done to both.
//!
//! After each operation what the journal answers, tells and has on disk is compared with the model. What comes by
//! itself (a `GAP`) is read from the disk and must be just what the model says of it. Notes and cursors that wait for a
//! commit may be on disk or not: both are right.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Once;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rustix::process::{Resource, Rlimit, setrlimit};
use segel::event::chain::{ChainCheck, Hole};
use segel::event::gap::Gap;
use segel::event::{Class, Digest, Draft, EventType, Seq, document};
use segel::journal::{
    Beginning, Entry, Journal, JournalConfig, JournalError, JournalReader, Note as RealNote, Outlet, Recorded, Room, Segment,
};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::journal_support::{all, draft, open_with, soon, source};
use crate::model::{Cursor, Fate, Model};
use crate::operation::{Event, Growth, Note, OUTLETS, Operation};

type Checked = Result<(), TestCaseError>;
/// Documents by class and number.
type Documents = BTreeMap<(Class, u64), Rc<[u8]>>;

const NAMES: [Outlet; OUTLETS] = [Outlet::named("broker"), Outlet::named("uplink")];
/// The word under which all notes here are kept.
const KIND: &str = "test";
/// The signal of a process that writes beyond its limit (`SIGXFSZ`); unheard it ends the process.
const FILE_TOO_LONG: i32 = 25;
/// What an event with its envelope has at most beyond its body, in bytes.
const ENVELOPE: u64 = 1_000;

pub struct Bench {
    dir: TempDir,
    config: JournalConfig,
    journal: Journal,
    reader: JournalReader,
    model: Model,
    /// Documents each outlet took before it confirmed them.
    taken: [Documents; OUTLETS],
    /// Events ever made, so that each is another.
    made: u64,
    pub played: Played,
}

/// What came to pass: a sequence in which nothing is dropped or refused proves little.
#[derive(Debug, Clone, Copy, Default)]
pub struct Played {
    pub operations: u64,
    pub recorded: u64,
    pub gaps: u64,
    pub refused: u64,
    pub crashes: u64,
    pub archived: u64,
    pub without_room: u64,
}

impl Played {
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.recorded += other.recorded;
        self.gaps += other.gaps;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.archived += other.archived;
        self.without_room += other.without_room;
    }
}

impl Bench {
    pub fn new(quota: u64, group_events: usize) -> Self {
        let dir = new_dir();
        let config =
            JournalConfig { group_wait: Duration::from_millis(1), group_events, telemetry_quota_bytes: quota, ..JournalConfig::default() };
        let (journal, opening) = open_with(dir.path(), config.clone());
        let model = Model {
            source: source(),
            journal: opening.journal,
            chains: Default::default(),
            cursors: BTreeMap::new(),
            notes: BTreeMap::new(),
            waiting_cursors: BTreeMap::new(),
            waiting_notes: Vec::new(),
            room: Room::Plenty,
            refused: 0,
            waiting_refused: 0,
        };
        let reader = journal.reader().unwrap();
        Self { dir, config, journal, reader, model, taken: Default::default(), made: 0, played: Played::default() }
    }

    pub async fn perform(&mut self, operation: &Operation) -> Checked {
        self.played.operations += 1;
        match operation {
            Operation::Append { event, notes, at_once } => self.append(event, notes, *at_once).await?,
            Operation::Together(events) => {
                let drafts = self.drafts(events);
                let answer = soon(self.journal.append_all(entries(&drafts))).await;
                if !self.is_refused(&drafts, answer.as_ref().err())? {
                    prop_assert!(answer.is_ok(), "{answer:?}");
                    self.absorb(&drafts, &answer.unwrap(), Together::Yes)?;
                }
            }
            Operation::Burst(events) => self.burst(events).await?,
            Operation::Keep(note) => {
                self.model.waiting_notes.push(*note);
                self.journal.keep(vec![real(*note)]).await.unwrap();
            }
            Operation::Advance { outlet, class, part } => self.advance(*outlet, *class, *part).await?,
            Operation::PutAway { class, part, hurried } => self.put_away(*class, *part, *hurried).await?,
            Operation::Tell(room) => {
                self.journal.tell_room(*room);
                self.model.room = *room;
            }
            Operation::Fail { growth, events, retried } => self.fail(*growth, events, *retried).await?,
            Operation::Reopen => self.reopen().await?,
            Operation::Crash => self.crash()?,
            Operation::Inspect => self.inspect()?,
        }
        self.look()
    }

    fn drafts(&mut self, events: &[Event]) -> Vec<Draft> {
        let mut made = || {
            self.made += 1;
            self.made
        };
        events.iter().map(|event| draft(event.class, made(), event.size)).collect()
    }

    async fn append(&mut self, event: &Event, notes: &[Note], at_once: bool) -> Checked {
        let drafts = self.drafts(std::slice::from_ref(event));
        let mut entry = Entry::new(drafts[0].clone());
        for note in notes {
            entry = entry.with(real(*note));
        }
        if at_once {
            entry = entry.at_once();
        }
        let answer = soon(self.journal.append(entry)).await;
        self.model.waiting_notes.extend(notes);
        if self.is_refused(&drafts, answer.as_ref().err())? {
            return Ok(());
        }
        prop_assert!(answer.is_ok(), "{answer:?}");
        self.absorb(&drafts, &[answer.unwrap()], Together::Yes)
    }

    async fn burst(&mut self, events: &[Event]) -> Checked {
        // Cursors that wait are cut to what is recorded by the first commit, and which that is nobody knows here.
        self.settle().await?;
        let drafts = self.drafts(events);
        let mut tickets = Vec::new();
        for entry in entries(&drafts) {
            tickets.push(self.journal.submit(entry).await.unwrap());
        }
        let waiting = self.model.waiting_refused;
        let (mut recorded, mut answers) = (Vec::new(), Vec::new());
        for (ticket, draft) in tickets.into_iter().zip(drafts) {
            let answer = soon(ticket).await;
            if !self.is_refused(std::slice::from_ref(&draft), answer.as_ref().err())? {
                prop_assert!(answer.is_ok(), "{answer:?}");
                recorded.push(draft);
                answers.push(answer.unwrap());
            }
        }
        // The commit of what was recorded may have come before the refusal of the rest.
        let refused = std::mem::replace(&mut self.model.waiting_refused, waiting);
        self.absorb(&recorded, &answers, Together::No)?;
        self.model.waiting_refused += refused - waiting;
        Ok(())
    }

    /// Whether these had to be refused for want of room; then they were, and are counted.
    fn is_refused(&mut self, drafts: &[Draft], error: Option<&JournalError>) -> Result<bool, TestCaseError> {
        let refused = self.model.room == Room::Scarce && drafts.iter().all(|draft| draft.class == Class::Telemetry);
        if refused {
            prop_assert!(matches!(error, Some(JournalError::NoRoom)), "there is no room for telemetry: {:?}", error);
            self.model.waiting_refused += drafts.len() as u64;
            self.played.without_room += drafts.len() as u64;
        }
        Ok(refused)
    }

    /// Something is recorded, so that nothing waits any more.
    async fn settle(&mut self) -> Checked {
        self.append(&Event { class: Class::Receipt, size: 0 }, &[], false).await
    }

    async fn advance(&mut self, outlet: usize, class: Class, part: u8) -> Checked {
        let chain = self.model.of(class);
        let at = self.model.cursor(outlet, class).seq.max(self.model.waiting_cursors.get(&(outlet, class)).copied().unwrap_or(0));
        let at = at.min(chain.last());
        let seq = if part == u8::MAX { chain.last() + 3 } else { at + (chain.last() - at) * u64::from(part) / 250 };
        // The outlet takes what it is about to confirm.
        for record in all(&self.reader, class).into_iter().filter(|record| record.seq.0 > at && record.seq.0 <= seq) {
            self.taken[outlet].insert((class, record.seq.0), record.doc.into());
        }
        self.journal.advance(&NAMES[outlet], class, Seq(seq));
        self.model.advance(outlet, class, seq);
        if seq > self.model.of(class).last() {
            // Beyond the last recorded counts as the last recorded when it is written: that must be now.
            let other = if class == Class::Receipt { Class::Alarm } else { Class::Receipt };
            self.append(&Event { class: other, size: 0 }, &[], false).await?;
        }
        Ok(())
    }

    async fn put_away(&mut self, class: Class, part: u8, hurried: bool) -> Checked {
        // Cursors on their way would meet rows on theirs, and which comes first nobody knows.
        self.settle().await?;
        let chain = self.model.of(class);
        let first = chain.front() + 1;
        let wrong = part == u8::MAX;
        let many = (chain.last() + 1 - first) * u64::from(part) / 250;
        let mut last = (first + many).min(chain.last());
        let mut whole = last == chain.last();
        if whole && class == Class::Telemetry && self.model.room == Room::Scarce {
            (last, whole) = (last.saturating_sub(1), false);
        }
        if last < first {
            return Ok(());
        }
        let inside = chain.range(first, last);
        let segment = Segment {
            class,
            first: Seq(if wrong { first + 1 } else { first }),
            last: Seq(last),
            count: last + 1 - first,
            bytes: inside.iter().map(|event| event.doc.len() as u64).sum(),
            digest: inside[inside.len() - 1].digest,
            name: format!("{class}-{first}"),
            manifest: Digest::of(b"manifest"),
            place: "/archive".to_owned(),
        };
        let confirmed = |at| self.model.cursors.get(&(at, class)).is_some_and(|cursor| cursor.seq >= last);
        let unhurried = !hurried && !whole && (0..OUTLETS).all(confirmed);
        let drafts = self.drafts(&[Event { class: Class::Receipt, size: 0 }]);
        let answer = soon(self.journal.put_away(segment, Entry::new(drafts[0].clone()))).await;
        if wrong {
            prop_assert!(matches!(answer, Err(JournalError::Misfit { .. })), "{answer:?}");
            return Ok(());
        }
        prop_assert!(answer.is_ok(), "{answer:?}");
        self.model.put_away(class, last);
        self.absorb(&drafts, &[answer.unwrap()], Together::Yes)?;
        self.played.archived += last + 1 - first;
        if !unhurried {
            self.hurry().await;
        }
        if whole {
            // The last row stays, and the next event goes on from it in another life too.
            self.look()?;
            self.reopen().await?;
            self.append(&Event { class, size: 0 }, &[], true).await?;
            self.hurry().await;
        }
        Ok(())
    }

    /// Waits until the rows of everything that is in the archive are gone, but the last of a class.
    async fn hurry(&mut self) {
        self.journal.hurry_upkeep().await.unwrap();
        soon(self.journal.standing().wait_for(|standing| !standing.upkeep.hurried)).await.unwrap();
        for class in Class::ALL {
            let chain = self.model.of(*class);
            let gone = chain.front().min(chain.last().saturating_sub(1));
            self.model.rows_are_gone(*class, gone);
        }
    }

    async fn reopen(&mut self) -> Checked {
        soon(self.journal.close()).await.unwrap();
        self.model.commit();
        self.open()
    }

    async fn fail(&mut self, growth: Growth, events: &[Event], retried: bool) -> Checked {
        let drafts = self.drafts(events);
        let log = fs::metadata(self.dir.path().join("journal.db-wal")).map_or(0, |file| file.len());
        let most = match growth {
            Growth::None => 0,
            Growth::Log(beyond) => log + u64::from(beyond),
        };
        limit_files(Some(most));
        let answer = soon(self.journal.append_all(entries(&drafts))).await;
        limit_files(None);
        if self.is_refused(&drafts, answer.as_ref().err())? {
            return Ok(());
        }
        match answer {
            Ok(recorded) => return self.absorb(&drafts, &recorded, Together::Yes),
            Err(JournalError::Storage(_) | JournalError::DiskFull(_)) => self.played.refused += 1,
            Err(error) => prop_assert!(false, "{error:?}"),
        }
        if retried {
            let answer = soon(self.journal.append_all(entries(&drafts))).await;
            prop_assert!(answer.is_ok(), "the same again, when it could be written: {answer:?}");
            self.absorb(&drafts, &answer.unwrap(), Together::Yes)?;
        }
        Ok(())
    }

    /// Reads what is new on disk: these events in this order, answered like this, and between them what the journal
    /// says by itself.
    fn absorb(&mut self, drafts: &[Draft], answers: &[Recorded], together: Together) -> Checked {
        prop_assert_eq!(answers.len(), drafts.len());
        self.played.recorded += drafts.len() as u64;
        let before = self.model.of(Class::Telemetry).last();
        let leaving = self.model.of(Class::Telemetry).gone < self.model.of(Class::Telemetry).front();
        for class in Class::ALL.iter().rev() {
            let mut expected = drafts.iter().zip(answers).filter(|(draft, _)| draft.class == *class);
            let after = Seq(self.model.of(*class).last());
            for record in self.reader.after(*class, after, usize::from(u16::MAX), usize::MAX).unwrap() {
                prop_assert_eq!(record.seq.0, self.model.of(*class).last() + 1, "numbers have no holes");
                if record.kind == EventType::Gap.as_str() {
                    self.on_gap(&record.doc, before, together)?;
                    continue;
                }
                let Some((draft, answer)) = expected.next() else {
                    return Err(TestCaseError::fail(format!("nobody recorded this {class}: {}", String::from_utf8_lossy(&record.doc))));
                };
                let written = self.model.record(draft);
                prop_assert_eq!(&record.doc[..], &written.doc[..], "what is on disk is what was made");
                let told = (answer.class, answer.seq, answer.id, answer.digest);
                prop_assert_eq!(told, (*class, record.seq, draft.id, written.digest), "the answer is what is on disk");
            }
            prop_assert!(expected.next().is_none(), "answered as recorded and not on disk");
        }
        self.model.commit();
        let telemetry = self.model.of(Class::Telemetry);
        let (_, held) = telemetry.sum(Fate::Held);
        let new = telemetry.last() > before;
        prop_assert!(
            // What is in the archive leaves first, and only the next commit drops.
            !new || leaving || held <= self.config.telemetry_quota_bytes + ENVELOPE || telemetry.front() >= before,
            "{held} bytes are held, and of the old ones from {} to {before} some could be dropped",
            telemetry.front() + 1
        );
        Ok(())
    }

    fn on_gap(&mut self, doc: &[u8], before: u64, together: Together) -> Checked {
        self.played.gaps += 1;
        let head = document::Head::parse(doc).unwrap();
        let said: Gap = serde_json::from_str(head.data.get()).unwrap();
        // Cursors that waited were written first.
        self.model.commit();
        let telemetry = self.model.of(Class::Telemetry);
        let (_, held) = telemetry.sum(Fate::Held);
        prop_assert!(said.last.0 > telemetry.front() && said.last.0 <= telemetry.last(), "{said:?}");
        if together == Together::Yes {
            let quota = self.config.telemetry_quota_bytes;
            prop_assert!(held > quota, "dropped although there was room: {held} of {quota} bytes");
            prop_assert!(said.last.0 <= before, "what was just recorded is dropped by the next: {said:?}");
            let last = telemetry.get(said.last.0).doc.len() as u64;
            prop_assert!(held - said.bytes + last > quota - quota / 8, "dropped more than an eighth of the quota: {said:?}");
        }
        let expected = self.model.drop_up_to(said.last.0);
        prop_assert_eq!(said, expected);
        self.model.chains[Class::Telemetry as usize].push(doc.to_vec());
        Ok(())
    }

    fn open(&mut self) -> Checked {
        let (journal, opening) = open_with(self.dir.path(), self.config.clone());
        prop_assert_eq!(&opening.beginning, &Beginning::Resumed);
        prop_assert_eq!(opening.journal, self.model.journal);
        for class in Class::ALL {
            prop_assert_eq!(opening.heads.of(*class).0, self.model.of(*class).last());
        }
        self.reader = journal.reader().unwrap();
        self.journal = journal;
        self.model.room = Room::Plenty;
        Ok(())
    }

    fn crash(&mut self) -> Checked {
        self.played.crashes += 1;
        // A reader that sits on the present state keeps the log from being begun anew while it is copied, so the log has
        // whatever the database lacks.
        let holder = rusqlite::Connection::open(self.dir.path().join("journal.db")).unwrap();
        holder.execute_batch("BEGIN; SELECT count(*) FROM meta;").unwrap();
        let copy = new_dir();
        copy_files(self.dir.path(), copy.path());
        drop(holder);
        self.dir = copy;
        self.open()?;
        // What waited may have been written or not; what is there is what counts from now on.
        let there = self.notes_on_disk()?;
        self.check_notes(&there)?;
        self.model.notes = there;
        self.model.waiting_notes.clear();
        self.model.waiting_refused = self.reader.totals().unwrap()[Class::Telemetry as usize].refused - self.model.refused;
        let waited: Vec<_> = std::mem::take(&mut self.model.waiting_cursors).into_iter().collect();
        for ((outlet, class), seq) in waited {
            let now = self.reader.cursor(&NAMES[outlet], class).unwrap().0;
            if now != self.model.cursors.get(&(outlet, class)).map_or(0, |cursor| cursor.seq) {
                self.model.advance(outlet, class, seq);
            }
        }
        self.model.commit();
        Ok(())
    }

    /// What is told and what is on disk is what the model says.
    fn look(&mut self) -> Checked {
        for class in Class::ALL {
            // How far rows have left that are in the archive nobody knows; but never back, and never too far.
            let front = self.reader.front(*class).unwrap();
            let chain = self.model.of(*class);
            prop_assert!((chain.gone..=chain.front()).contains(&front.last.0), "the front of {}: {:?}", class, front);
            let digest = if front.last == Seq::NONE { Digest::ZERO } else { chain.get(front.last.0).digest };
            prop_assert_eq!(front.digest, digest);
            let dropped = chain.sum(Fate::Dropped).0;
            prop_assert_eq!((front.dropped, front.archived), (dropped, front.last.0 - dropped));
            let segments = self.reader.segments(*class).unwrap();
            let segments: Vec<_> = segments.iter().map(|segment| (segment.first.0, segment.last.0)).collect();
            prop_assert_eq!(&segments, &chain.segments);
            self.model.rows_are_gone(*class, front.last.0);
        }
        let totals = self.reader.totals().unwrap();
        let heads = *self.journal.heads().borrow();
        let mut written = self.model.clone();
        written.commit();
        for class in Class::ALL {
            let chain = self.model.of(*class);
            prop_assert_eq!(heads.of(*class).0, chain.last(), "the head of {}", class);
            let of_class = totals[*class as usize];
            prop_assert_eq!(of_class.recorded, chain.last());
            prop_assert_eq!(of_class.recorded, of_class.held + of_class.archived + of_class.dropped);
            prop_assert_eq!(of_class.dropped, chain.sum(Fate::Dropped).0);
            let refused = if *class == Class::Telemetry { self.model.refused..=written.refused } else { 0..=0 };
            prop_assert!(refused.contains(&of_class.refused), "{} were refused, right is {:?}", of_class.refused, refused);
            prop_assert_eq!(self.journal.standing().borrow().refused[*class as usize], *refused.end());
            let first = self.reader.after(*class, Seq::NONE, 1, usize::MAX).unwrap();
            let first = first.first().map_or_else(|| chain.last() + 1, |record| record.seq.0);
            prop_assert!((chain.gone + 1..=chain.front() + 1).contains(&first), "the first of {class} held is {first}");
            for (at, outlet) in NAMES.iter().enumerate() {
                let accounts = self.reader.accounts(outlet).unwrap();
                let account = accounts.of(*class);
                prop_assert_eq!(account.recorded, account.delivered + account.pending + account.dropped);
                let bytes = chain.sum(Fate::Held).1..=chain.bytes_after(chain.gone);
                prop_assert!(bytes.contains(&account.bytes), "{} bytes of {} are held, right is {:?}", account.bytes, class, bytes);
                let said = (account.recorded, account.delivered, account.pending, account.dropped);
                let of = |Cursor { seq, skipped }: Cursor| (chain.last(), seq - skipped, chain.last() - seq, skipped);
                let right = [of(self.model.cursor(at, *class)), of(written.cursor(at, *class))];
                prop_assert!(right.contains(&said), "the account of {} at {} is {:?}, right is {:?}", class, outlet, said, right);
                let cursor = self.reader.cursor(outlet, *class).unwrap().0;
                let on_disk = |model: &Model| model.cursors.get(&(at, *class)).map_or(0, |cursor| cursor.seq);
                prop_assert!(cursor == on_disk(&self.model) || cursor == on_disk(&written), "the cursor of {class} at {outlet}");
            }
        }
        self.check_notes(&self.notes_on_disk()?)
    }

    fn notes_on_disk(&self) -> Result<BTreeMap<u8, u8>, TestCaseError> {
        Ok(self.reader.notes(KIND).unwrap().into_iter().map(|note| (note.key.parse().unwrap(), note.value[0])).collect())
    }

    fn check_notes(&self, there: &BTreeMap<u8, u8>) -> Checked {
        for key in there.keys().chain(self.model.notes.keys()) {
            let waiting = self.model.waiting_notes.iter().filter(|(of, _)| of == key).map(|(_, value)| *value);
            let right: Vec<_> = std::iter::once(self.model.notes.get(key).copied()).chain(waiting).collect();
            prop_assert!(right.contains(&there.get(key).copied()), "note {}: {:?}, right is {:?}", key, there.get(key), right);
        }
        Ok(())
    }

    /// Everything is read: it verifies, it is what was written, and whoever took part of it before has all of it now but
    /// what was dropped and is stated as such.
    pub fn inspect(&self) -> Checked {
        let found = self.reader.verify(|_| {}).unwrap();
        prop_assert!(found.is_good(), "{found:#?}");
        for taken in &self.taken {
            let mut documents = taken.clone();
            for class in Class::ALL {
                let archived = self.model.of(*class).events.iter().zip(1..).filter(|(event, _)| event.fate == Fate::Archived);
                documents.extend(archived.map(|(event, seq)| ((*class, seq), event.doc.clone())));
                for record in all(&self.reader, *class) {
                    let written = self.model.of(*class).get(record.seq.0);
                    prop_assert_eq!(&record.doc[..], &written.doc[..], "{} {}", class, record.seq);
                    documents.insert((*class, record.seq.0), record.doc.into());
                }
            }
            let mut check = ChainCheck::new();
            for document in documents.values() {
                check.feed(document).unwrap();
            }
            let report = check.finish();
            // A GAP names the whole run it ends, so that an earlier one may be dropped; it does not name a run before that,
            // with archived events between. Where a GAP of such a run was itself dropped before anybody took it, its
            // numbers are missing without a reason: known, and counted in `since_start`.
            let broken_run = self.model.of(Class::Telemetry).has_two_runs();
            prop_assert!(report.is_whole() || broken_run, "{report:#?}");
            prop_assert!(report.unreadable == 0 && report.chains.iter().all(|chain| chain.breaks.is_empty()), "{report:#?}");
            for chain in &report.chains {
                let missing = self.model.of(chain.class).last() - chain.count;
                let numbers = |holes: &[Hole]| holes.iter().map(|hole| hole.last.0 + 1 - hole.first.0).sum::<u64>();
                prop_assert_eq!(numbers(&chain.holes_explained) + numbers(&chain.holes_unexplained), missing, "holes of {}", chain.class);
                prop_assert!(missing <= self.model.of(chain.class).sum(Fate::Dropped).0);
            }
        }
        Ok(())
    }

    /// The last look; what came to pass.
    pub async fn end(self) -> Result<Played, TestCaseError> {
        self.inspect()?;
        soon(self.journal.close()).await.unwrap();
        Ok(self.played)
    }
}

/// Whether events came in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    Yes,
    No,
}

/// In memory where that can be had: what a flush is worth is for other tests, and here it only takes time.
fn new_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn entries(drafts: &[Draft]) -> Vec<Entry> {
    drafts.iter().cloned().map(Entry::new).collect()
}

fn real((key, value): Note) -> RealNote {
    RealNote { kind: KIND, key: key.to_string(), value: value.map(|value| vec![value]) }
}

/// All files but the lock and the index of the log, which a crash leaves worthless; the database before its log.
fn copy_files(from: &Path, to: &Path) {
    let mut names: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names.iter().filter(|name| *name != "journal.lock" && *name != "journal.db-shm") {
        if from.join(name).is_file() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// From now on no file of this process may become longer than this: writing beyond it fails, as on a full disk.
fn limit_files(most: Option<u64>) {
    static HEARD: Once = Once::new();
    // Once listened to, the signal ends nobody any more, whether or not somebody still listens.
    HEARD.call_once(|| drop(signal(SignalKind::from_raw(FILE_TOO_LONG)).unwrap()));
    setrlimit(Resource::Fsize, Rlimit { current: most, maximum: None }).unwrap();
}
