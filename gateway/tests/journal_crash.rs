//! What holds whatever happens: crashes at any moment, any sequence of calls, a full quota.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_support;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal_support::*;
use proptest::prelude::*;
use segel::event::chain::ChainCheck;
use segel::event::gap::Gap;
use segel::event::{Class, EventType, Seq};
use segel::journal::{Journal, JournalConfig, JournalReader, Note, Outlet, Recorded};
use uuid::Uuid;

const OUTLETS: [Outlet; 2] = [Outlet::named("broker"), Outlet::named("uplink")];

fn on_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn is_good(reader: &JournalReader) -> bool {
    reader.verify(|_| {}).unwrap().is_good()
}

fn any_class() -> impl Strategy<Value = Class> {
    proptest::sample::select(Class::ALL)
}

// ---- crashes ----------------------------------------------------------------------------------------------------

/// What a cut does to the bytes of the log nobody was promised.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// They all reached the disk.
    Kept,
    /// None did.
    Lost,
    /// Some did, in order.
    Torn(u8),
    /// Pages of them hold something else.
    Garbage(u8),
}

#[derive(Debug, Clone)]
struct Burst {
    classes: Vec<(Class, usize)>,
    /// Appended after the last acknowledgement was awaited, and not awaited when the power goes.
    unawaited: Vec<(Class, usize)>,
    wait_us: u64,
    cut: Cut,
}

fn any_burst() -> impl Strategy<Value = Burst> {
    let some = || proptest::collection::vec((any_class(), 0..3_000_usize), 0..40);
    let cut = prop_oneof![Just(Cut::Kept), Just(Cut::Lost), any::<u8>().prop_map(Cut::Torn), any::<u8>().prop_map(Cut::Garbage)];
    (some(), some(), 0..3_000_u64, cut).prop_map(|(classes, unawaited, wait_us, cut)| Burst { classes, unawaited, wait_us, cut })
}

/// The salt of a write-ahead log and the length of its valid part: frames are valid as long as they carry the salt.
fn log_end(path: &Path) -> Option<([u8; 8], u64)> {
    let bytes = fs::read(path).ok().filter(|bytes| bytes.len() >= 32)?;
    let page = u64::from(u32::from_be_bytes(bytes[8..12].try_into().unwrap()));
    let salt: [u8; 8] = bytes[16..24].try_into().unwrap();
    let mut end = 32;
    while let Some(header) = bytes.get(end..end + 24)
        && header[8..16] == salt
    {
        end += 24 + usize::try_from(page).unwrap();
    }
    Some((salt, (end as u64).min(bytes.len() as u64)))
}

/// What a power cut at this moment leaves, in a directory of its own; returns whether bytes after `end` were harmed.
fn cut_power(from: &Path, to: &Path, promised: Option<([u8; 8], u64)>, cut: Cut) -> bool {
    // The database first: a held reader keeps the log from being started anew, so the log has all the database lacks.
    fs::copy(from.join("journal.db"), to.join("journal.db")).unwrap();
    let log = to.join("journal.db-wal");
    if fs::copy(from.join("journal.db-wal"), &log).is_err() {
        return false;
    }
    let (Some((salt, end)), Some((salt_now, _))) = (promised, log_end(&log)) else { return false };
    let mut bytes = fs::read(&log).unwrap();
    let end = usize::try_from(end).unwrap();
    if salt != salt_now || end >= bytes.len() {
        return false;
    }
    match cut {
        Cut::Kept => return false,
        Cut::Lost => bytes.truncate(end),
        Cut::Torn(part) => bytes.truncate(end + (bytes.len() - end) * usize::from(part) / 256),
        Cut::Garbage(seed) => {
            for (at, page) in bytes[end..].chunks_mut(512).enumerate() {
                if (at + usize::from(seed)).is_multiple_of(3) {
                    page.fill(seed);
                }
            }
        }
    }
    fs::write(&log, bytes).unwrap();
    true
}

#[derive(Default)]
struct Promised {
    submitted: [Vec<Uuid>; 3],
    acknowledged: Arc<Mutex<Vec<Recorded>>>,
}

impl Promised {
    async fn submit(&mut self, journal: &Journal, class: Class, size: usize) -> tokio::task::JoinHandle<()> {
        let n = self.submitted.iter().map(Vec::len).sum::<usize>() as u64;
        let draft = draft(class, n, size);
        self.submitted[class as usize].push(draft.id);
        let ticket = journal.submit(draft.into()).await.unwrap();
        let acknowledged = Arc::clone(&self.acknowledged);
        tokio::spawn(async move {
            let recorded = ticket.await.unwrap();
            acknowledged.lock().unwrap().push(recorded);
        })
    }

    fn check(&self, copy: &Path, promised: &[Recorded]) -> Result<(), TestCaseError> {
        let (journal, opening) = open(copy);
        prop_assert!(!matches!(opening.beginning, segel::journal::Beginning::SetAside { .. }), "{:?}", opening.beginning);
        let reader = journal.reader().unwrap();
        for class in Class::ALL {
            let there = all(&reader, *class);
            let submitted = &self.submitted[*class as usize];
            prop_assert!(there.len() <= submitted.len());
            for (record, id) in there.iter().zip(submitted) {
                prop_assert_eq!(record.id, *id, "what is there is a prefix of what was submitted");
            }
            prop_assert_eq!(opening.heads.of(*class).0, there.len() as u64);
            for recorded in promised.iter().filter(|recorded| recorded.class == *class) {
                let kept = there.get(usize::try_from(recorded.seq.0).unwrap() - 1);
                prop_assert_eq!(kept.map(|record| record.id), Some(recorded.id), "what was acknowledged is there");
            }
        }
        prop_assert!(is_good(&reader));
        let next = on_a_runtime(async {
            let mut next = Vec::new();
            for class in Class::ALL {
                next.push(journal.append(entry(*class, 9_999)).await.unwrap());
            }
            journal.close().await.unwrap();
            next
        });
        for recorded in next {
            prop_assert_eq!(recorded.seq, opening.heads.of(recorded.class).next(), "numbers go on and none is given twice");
        }
        let found = JournalReader::open(copy).unwrap().verify(|_| {}).unwrap();
        prop_assert!(found.is_good(), "{:?}", found);
        Ok(())
    }
}

async fn one_burst(journal: &Journal, dir: &Path, burst: &Burst, state: &mut Promised) -> (tempfile::TempDir, Vec<Recorded>) {
    let mut waiting = Vec::new();
    for (class, size) in &burst.classes {
        waiting.push(state.submit(journal, *class, *size).await);
    }
    for task in waiting {
        soon(task).await.unwrap();
    }
    // Nothing is on its way: everything up to here is promised.
    let holder = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
    holder.execute_batch("BEGIN; SELECT count(*) FROM meta;").unwrap();
    let end = log_end(&dir.join("journal.db-wal"));
    let promised = state.acknowledged.lock().unwrap().clone();
    let mut waiting = Vec::new();
    for (class, size) in &burst.unawaited {
        waiting.push(state.submit(journal, *class, *size).await);
    }
    tokio::time::sleep(Duration::from_micros(burst.wait_us)).await;
    let promised_now = state.acknowledged.lock().unwrap().clone();
    let copy = tempfile::tempdir().unwrap();
    let harmed = cut_power(dir, copy.path(), end, burst.cut);
    drop(holder);
    for task in waiting {
        soon(task).await.unwrap();
    }
    (copy, if harmed { promised } else { promised_now })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_crash_point_reopens_with_a_prefix_of_what_was_acknowledged(
        bursts in proptest::collection::vec(any_burst(), 1..5),
        group_events in 1..20_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig { group_wait: Duration::from_millis(3), group_events, ..JournalConfig::default() };
        let (journal, _) = open_with(dir.path(), config);
        let mut state = Promised::default();
        for burst in &bursts {
            let (copy, promised) = on_a_runtime(one_burst(&journal, dir.path(), burst, &mut state));
            state.check(copy.path(), &promised)?;
        }
    }
}

// ---- any sequence of calls --------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Call {
    Append(Class, Vec<(u8, Option<u8>)>),
    Together(Vec<Class>),
    Keep(u8, Option<u8>),
    Advance(usize, Class, u64),
    Reopen,
}

fn any_call() -> impl Strategy<Value = Call> {
    let note = || (0..5_u8, proptest::option::of(any::<u8>()));
    prop_oneof![
        5 => (any_class(), proptest::collection::vec(note(), 0..3)).prop_map(|(class, notes)| Call::Append(class, notes)),
        2 => proptest::collection::vec(any_class(), 0..6).prop_map(Call::Together),
        2 => note().prop_map(|(key, value)| Call::Keep(key, value)),
        2 => (0..2_usize, any_class(), 0..60_u64).prop_map(|(outlet, class, seq)| Call::Advance(outlet, class, seq)),
        1 => Just(Call::Reopen),
    ]
}

fn note(key: u8, value: Option<u8>) -> Note {
    Note { kind: "test", key: key.to_string(), value: value.map(|value| vec![value]) }
}

#[derive(Default)]
struct Model {
    events: [Vec<Uuid>; 3],
    notes: BTreeMap<String, Vec<u8>>,
    cursors: BTreeMap<(usize, Class), u64>,
    written: u64,
}

impl Model {
    fn note(&mut self, key: u8, value: Option<u8>) {
        match value {
            Some(value) => self.notes.insert(key.to_string(), vec![value]),
            None => self.notes.remove(&key.to_string()),
        };
    }

    async fn call(&mut self, journal: &mut Journal, dir: &Path, call: &Call) -> Result<(), TestCaseError> {
        match call {
            Call::Append(class, notes) => {
                self.written += 1;
                let mut entry = entry(*class, self.written);
                self.events[*class as usize].push(entry.draft.id);
                for (key, value) in notes {
                    entry = entry.with(note(*key, *value));
                    self.note(*key, *value);
                }
                let recorded = journal.append(entry).await.unwrap();
                prop_assert_eq!(recorded.seq.0, self.events[*class as usize].len() as u64);
            }
            Call::Together(classes) => {
                self.written += 1;
                let entries: Vec<_> = classes.iter().map(|class| entry(*class, self.written)).collect();
                for entry in &entries {
                    self.events[entry.draft.class as usize].push(entry.draft.id);
                }
                prop_assert_eq!(journal.append_all(entries).await.unwrap().len(), classes.len());
            }
            Call::Keep(key, value) => {
                self.note(*key, *value);
                journal.keep(vec![note(*key, *value)]).await.unwrap();
            }
            Call::Advance(outlet, class, seq) => {
                journal.advance(&OUTLETS[*outlet], *class, Seq(*seq));
                // Written with the next commit, so cut to what is recorded by then: settle it at once.
                journal.close().await.unwrap();
                let seq = (*seq).min(self.events[*class as usize].len() as u64);
                let cursor = self.cursors.entry((*outlet, *class)).or_default();
                *cursor = (*cursor).max(seq);
                *journal = open(dir).0;
            }
            Call::Reopen => {
                journal.close().await.unwrap();
                *journal = open(dir).0;
            }
        }
        Ok(())
    }

    fn check(&self, reader: &JournalReader) -> Result<(), TestCaseError> {
        for class in Class::ALL {
            let there: Vec<_> = all(reader, *class).iter().map(|record| record.id).collect();
            prop_assert_eq!(&there, &self.events[*class as usize]);
            for (at, outlet) in OUTLETS.iter().enumerate() {
                let cursor = self.cursors.get(&(at, *class)).copied().unwrap_or_default();
                prop_assert_eq!(reader.cursor(outlet, *class).unwrap(), Seq(cursor));
                let accounts = reader.accounts(outlet).unwrap();
                let account = accounts.of(*class);
                prop_assert_eq!((account.delivered, account.pending, account.dropped), (cursor, there.len() as u64 - cursor, 0));
            }
        }
        let notes: BTreeMap<_, _> = reader.notes("test").unwrap().into_iter().map(|note| (note.key, note.value)).collect();
        prop_assert_eq!(&notes, &self.notes);
        prop_assert!(is_good(reader));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_does_what_a_list_in_memory_would(calls in proptest::collection::vec(any_call(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        on_a_runtime(async {
            let mut journal = open(dir.path()).0;
            let mut model = Model::default();
            for call in &calls {
                model.call(&mut journal, dir.path(), call).await?;
            }
            journal.close().await.unwrap();
            model.check(&JournalReader::open(dir.path()).unwrap())
        })?;
    }

    #[test]
    fn the_accounts_add_up_whatever_is_recorded_delivered_and_dropped(
        steps in proptest::collection::vec((any_class(), 1..20_usize, 0..1_500_usize, 0..2_usize, 0..400_u64), 1..30),
        quota in 1_000..40_000_u64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        on_a_runtime(async {
            let config = JournalConfig { telemetry_quota_bytes: quota, ..JournalConfig::default() };
            let (mut journal, _) = open_with(dir.path(), config.clone());
            let mut recorded = [0; 3];
            for (at, (class, count, size, outlet, seq)) in steps.iter().enumerate() {
                let entries = (0..*count as u64).map(|n| draft(*class, n, *size).into()).collect();
                journal.append_all(entries).await.unwrap();
                recorded[*class as usize] += *count as u64;
                journal.advance(&OUTLETS[*outlet], *class, Seq(*seq));
                if at % 7 == 6 {
                    journal.close().await.unwrap();
                    journal = open_with(dir.path(), config.clone()).0;
                }
                let reader = journal.reader().unwrap();
                for outlet in &OUTLETS {
                    let accounts = reader.accounts(outlet).unwrap();
                    for class in Class::ALL {
                        let account = accounts.of(*class);
                        let held: u64 = all(&reader, *class).iter().map(|record| record.doc.len() as u64).sum();
                        prop_assert_eq!(account.recorded, account.delivered + account.pending + account.dropped);
                        prop_assert_eq!(account.recorded, journal.heads().borrow().of(*class).0);
                        prop_assert_eq!(account.bytes, held);
                        prop_assert_eq!(account.oldest_pending_wall.is_some(), account.pending > 0);
                        if *class != Class::Telemetry {
                            prop_assert_eq!((account.recorded, account.dropped), (recorded[*class as usize], 0));
                        }
                    }
                }
            }
            let found = journal.reader().unwrap().verify(|_| {}).unwrap();
            prop_assert!(found.is_good(), "{:?}", found);
            Ok(())
        })?;
    }
}

// ---- a full quota -----------------------------------------------------------------------------------------------

#[tokio::test]
async fn full_telemetry_drops_oldest_and_says_so() {
    const EVENTS: u64 = 400;
    const QUOTA: u64 = 50_000;
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: QUOTA, ..JournalConfig::default() });
    let reader = journal.reader().unwrap();
    let [behind, ahead] = &OUTLETS;
    let mut arrived = ChainCheck::new();
    let mut recorded = Vec::new();
    for n in 0..EVENTS {
        for class in [Class::Telemetry, Class::Alarm] {
            let entry = draft(class, n, 200).into();
            let answer =
                if n % 9 == 0 { vec![journal.append(entry).await.unwrap()] } else { journal.append_all(vec![entry]).await.unwrap() };
            recorded.push(answer[0]);
        }
        if n < 50 {
            // One outlet takes the first fifty telemetry events as they come, then its link is down; the other takes none.
            for record in reader.after(Class::Telemetry, Seq(n), 1, usize::MAX).unwrap() {
                arrived.feed(&record.doc).unwrap();
                journal.advance(ahead, Class::Telemetry, record.seq);
            }
        }
    }
    assert_eq!(all(&reader, Class::Alarm).len() as u64, EVENTS, "alarms are never dropped");
    let left = all(&reader, Class::Telemetry);
    let bytes: usize = left.iter().map(|record| record.doc.len()).sum();
    assert!(bytes as u64 <= QUOTA + 2_000 && left.len() > 20, "{bytes} bytes in {} events", left.len());

    let told: HashSet<Uuid> = recorded.iter().filter(|answer| answer.class == Class::Telemetry).map(|answer| answer.id).collect();
    let kept: Vec<_> = left.iter().filter(|record| record.kind != EventType::Gap.as_str()).collect();
    assert!(kept.iter().all(|record| told.contains(&record.id)));
    assert_eq!(kept.last().unwrap().id, recorded[recorded.len() - 2].id, "the newest is kept");

    let gap = left.iter().rfind(|record| record.kind == EventType::Gap.as_str()).expect("it says so");
    let gap: Gap = serde_json::from_str(segel::event::document::Head::parse(&gap.doc).unwrap().data.get()).unwrap();
    assert_eq!(gap.last.next(), left[0].seq, "what is left begins where the gap ends");
    assert_eq!(gap.since_start.count + left.len() as u64, journal.heads().borrow().of(Class::Telemetry).0);

    let (of_behind, of_ahead) = (reader.accounts(behind).unwrap(), reader.accounts(ahead).unwrap());
    let (of_behind, of_ahead) = (of_behind.of(Class::Telemetry), of_ahead.of(Class::Telemetry));
    assert_eq!((of_behind.delivered, of_behind.dropped), (0, gap.last.0));
    assert_eq!((of_ahead.delivered, of_ahead.dropped), (50, gap.last.0 - 50));
    assert_eq!(reader.cursor(ahead, Class::Telemetry).unwrap(), gap.last, "the cursor was moved over what is gone");

    // The link is back: the receiver sees the hole and, further on, the statement that explains it to the last digest.
    for record in &left {
        arrived.feed(&record.doc).unwrap();
    }
    let report = arrived.finish();
    assert!(report.is_whole(), "{report:#?}");
    let hole = report.chains[0].holes_explained[0];
    assert_eq!((hole.first, hole.last), (Seq(51), gap.last));
    assert_verifies(&reader);
    journal.close().await.unwrap();
}
