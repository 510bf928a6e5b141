//! The keeper: now and then it archives what is due, and says once when it cannot and once when it can again.
//!
//! What must hold: the gate works as well without an archive, only the database grows; a failure is an alarm when it
//! begins and a receipt when it ends, across restarts too (a note remembers it); an untrusted clock is no failure, the
//! archive waits for it; an alarm never waits for the keeper, which rests between pages and holds nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{
        ArchiveError, Archivist, Counting, Housekeeping, Medium, Older, Place,
        errand::{Errand, Line, failed},
    },
    clock::Clock,
    config::Config,
    event::{Assurance, Class, Draft, EventType, Source, Subject},
    journal::{Entry, Journal, JournalError, Note},
};

/// The kind of the note that remembers a failure ...
const NOTE: &str = "archive";
/// ... and its key.
const FAILING: &str = "failing";
/// After a failure the next look is this soon: a disk that wobbles is back at once.
const RETRY_FIRST: Duration = Duration::from_secs(15);
/// And never later than this: a technician who puts a disk in sees it taken up within minutes.
pub(crate) const RETRY_CAP: Duration = Duration::from_secs(300);

/// A page is read or written within milliseconds; a disk that takes this long over one does not answer.
const HANGS: Duration = Duration::from_secs(120);

/// The body of `ARCHIVE_FAILING` and `ARCHIVE_WORKING`, and what the note holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trouble {
    /// [`ArchiveError::code`].
    reason: String,
    detail: String,
    directory: String,
}

/// The archivist this configuration asks for.
pub(crate) fn housekeeping(config: &Config, source: &Source, journal: &Journal, clock: &Clock) -> Housekeeping {
    let medium = if config.journal.archive_removable { Medium::Removable } else { Medium::Fixed };
    let place = Place::new(&config.gate.state_dir, config.journal.archive_dir.as_deref(), medium);
    let counting = if config.uplink.enabled { Counting::Uplink } else { Counting::Nobody };
    Housekeeping::new(Archivist::new(journal.clone(), clock.clone(), source.clone(), place, counting))
}

/// The task.
#[derive(Debug)]
pub(super) struct Keeper {
    archivist: Archivist,
    clock: Clock,
    /// `None` keeps everything in the database.
    retention: Option<Duration>,
    every: Duration,
    hangs_after: Duration,
    trouble: Option<Trouble>,
    /// Looks since the last good one.
    failures: u32,
    /// Whether it was said that the clock is waited for.
    waiting_for_clock: bool,
}

impl Keeper {
    /// A keeper that looks this often for what is older than the retention.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(super) fn new(archivist: Archivist, clock: Clock, retention: Option<Duration>, every: Duration) -> Result<Self, JournalError> {
        let note = archivist.journal().reader()?.note(NOTE, FAILING)?;
        // A note of another form is as good as none: it is written anew.
        let trouble = note.and_then(|note| serde_json::from_slice(&note).ok());
        Ok(Self { archivist, clock, retention, every, hangs_after: HANGS, trouble, failures: 0, waiting_for_clock: false })
    }

    /// Archives until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Some(retention) = self.retention else { return };
        let errand = Errand::gentle(stop.clone());
        loop {
            let archivist = self.archivist.clone();
            let outcome = self.watch(archivist.round(Older::Ripe(retention), &errand), || errand.breaths()).await;
            if stop.is_cancelled() {
                return;
            }
            match outcome {
                Ok(round) => {
                    if round.segments > 0 {
                        tracing::info!(segments = round.segments, documents = round.documents, "delivered events went to the archive");
                    }
                    self.on_good().await;
                }
                Err(ArchiveError::Journal(JournalError::Closed)) => return,
                Err(fault) => self.on_fault(&fault).await,
            }
            tokio::select! {
                () = tokio::time::sleep(self.wait()) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Waits for a round, and says it when nothing moves: a network share or a dying disk may hold a thread for hours, and
    /// no deadline takes it back. A second round is begun only when the first has ended.
    async fn watch<T>(&mut self, round: impl Future<Output = T>, breaths: impl Fn() -> u64) -> T {
        let mut round = std::pin::pin!(round);
        let mut before = breaths();
        loop {
            match tokio::time::timeout(self.hangs_after, &mut round).await {
                Ok(outcome) => return outcome,
                Err(_) if breaths() != before => before = breaths(),
                Err(_) => {
                    let dir = self.archivist.place().dir().to_owned();
                    self.on_fault(&ArchiveError::Hangs { dir }).await;
                }
            }
        }
    }

    fn wait(&self) -> Duration {
        match self.failures {
            0 => self.every,
            failures => (RETRY_FIRST * 2_u32.saturating_pow(failures - 1).min(64)).min(RETRY_CAP).min(self.every),
        }
    }

    async fn on_good(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.waiting_for_clock) {
            tracing::info!("the clock can be trusted, the archive goes on");
        }
        let Some(trouble) = &self.trouble else { return };
        let note = Note::forget(NOTE, FAILING);
        if self.say(Class::Receipt, EventType::ArchiveWorking, trouble, note).await {
            tracing::info!(directory = trouble.directory, "the archive works again");
            self.trouble = None;
        }
    }

    async fn on_fault(&mut self, fault: &ArchiveError) {
        match fault {
            ArchiveError::Clock => {
                if !std::mem::replace(&mut self.waiting_for_clock, true) {
                    tracing::info!("the archive waits until the clock can be trusted");
                }
                return;
            }
            ArchiveError::Stopped => return,
            // Telemetry is being dropped faster than it is archived; the next look begins behind it.
            ArchiveError::Overtaken { .. } => {
                tracing::debug!(%fault, "the archive was overtaken");
                return;
            }
            _ => self.failures = self.failures.saturating_add(1),
        }
        if self.trouble.is_some() {
            tracing::debug!(%fault, "the archive still fails");
            return;
        }
        let Line::Failed { code, what } = failed(fault) else { return };
        let trouble = Trouble { reason: code, detail: what, directory: self.archivist.place().dir().display().to_string() };
        let note = Note::keep(NOTE, FAILING, serde_json::to_vec(&trouble).expect("texts always become JSON"));
        if self.say(Class::Alarm, EventType::ArchiveFailing, &trouble, note).await {
            tracing::error!(reason = trouble.reason, "{}", trouble.detail);
            self.trouble = Some(trouble);
        }
    }

    /// Records it with its note; whether that was possible. What is not recorded is said at the next look.
    async fn say(&self, class: Class, kind: EventType, trouble: &Trouble, note: Note) -> bool {
        let draft = Draft::new(class, kind, Subject::gateway(), self.clock.now(), Assurance::Own, trouble)
            .expect("a code, a sentence and a path are a small object");
        self.archivist.journal().append(Entry::new(draft).with(note)).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{event::Seq, journal::JournalConfig};

    /// The keeper of a journal whose archive is `named`, looking all the time.
    fn keeper(journal: &Journal, state: &Path, named: &Path) -> Keeper {
        let clock = Clock::new(Duration::from_secs(3_600), None);
        let place = Place::new(state, Some(named), Medium::Fixed);
        let source = Source::new("idsrg", "g01").unwrap();
        let archivist = Archivist::new(journal.clone(), clock.clone(), source, place, Counting::Nobody);
        Keeper::new(archivist, clock, Some(Duration::from_secs(86_400)), Duration::from_millis(5)).unwrap()
    }

    fn words(journal: &Journal, class: Class) -> Vec<String> {
        let records = journal.reader().unwrap().after(class, Seq::NONE, 100, usize::MAX).unwrap();
        records.into_iter().map(|record| record.kind).collect()
    }

    async fn until(journal: &Journal, class: Class, expected: &[&str]) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while words(journal, class) != expected {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", words(journal, class));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_removed_disk_is_an_alarm_once_and_its_return_a_receipt_once_across_restarts_too() {
        let state = tempfile::tempdir().unwrap();
        let disk = state.path().join("disk");
        let journal = Journal::open(state.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let run = |keeper: Keeper| {
            let stop = CancellationToken::new();
            (tokio::spawn(keeper.run(stop.clone())), stop)
        };
        let (task, stop) = run(keeper(&journal, state.path(), &disk));
        until(&journal, Class::Alarm, &["ARCHIVE_FAILING"]).await;
        let alarm = journal.reader().unwrap().after(Class::Alarm, Seq::NONE, 1, 1).unwrap().remove(0);
        let text = String::from_utf8(alarm.doc).unwrap();
        assert!(text.contains("\"reason\":\"directory_missing\"") && text.contains("mount the disk"), "{text}");
        stop.cancel();
        task.await.unwrap();
        // A new start finds it missing still, and does not say it again.
        let mut second = keeper(&journal, state.path(), &disk);
        for _ in 0..3 {
            second.on_fault(&ArchiveError::Missing { dir: disk.clone() }).await;
        }
        assert_eq!(words(&journal, Class::Alarm), ["ARCHIVE_FAILING"]);
        fs::create_dir(&disk).unwrap();
        let (task, stop) = run(second);
        until(&journal, Class::Receipt, &["ARCHIVE_WORKING"]).await;
        fs::remove_dir(&disk).unwrap();
        until(&journal, Class::Alarm, &["ARCHIVE_FAILING", "ARCHIVE_FAILING"]).await;
        stop.cancel();
        task.await.unwrap();
        assert_eq!(words(&journal, Class::Receipt), ["ARCHIVE_WORKING"]);
    }

    #[tokio::test]
    async fn a_failing_archive_is_looked_at_ever_more_seldom_but_within_minutes() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::open(state.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let mut keeper = keeper(&journal, state.path(), state.path());
        keeper.every = Duration::from_secs(3_600);
        let waits: Vec<_> = [0, 1, 2, 3, 6, u32::MAX]
            .map(|failures| {
                keeper.failures = failures;
                keeper.wait().as_secs()
            })
            .to_vec();
        assert_eq!(waits, [3_600, 15, 30, 60, 300, 300]);
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_an_alarm_and_is_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::open(state.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let mut keeper = keeper(&journal, state.path(), state.path());
        let (answer, hangs) = tokio::sync::oneshot::channel::<u8>();
        keeper.hangs_after = Duration::from_millis(5);
        let watching = tokio::spawn(async move { keeper.watch(hangs, || 7).await });
        until(&journal, Class::Alarm, &["ARCHIVE_FAILING"]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer.send(1).unwrap();
        assert_eq!(watching.await.unwrap(), Ok(1));
        assert_eq!(words(&journal, Class::Alarm), ["ARCHIVE_FAILING"]);
    }

    #[tokio::test]
    async fn an_untrusted_clock_is_waited_for_and_is_no_alarm() {
        let state = tempfile::tempdir().unwrap();
        let journal = Journal::open(state.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
        let mut keeper = keeper(&journal, state.path(), &state.path().join("missing"));
        keeper.on_fault(&ArchiveError::Clock).await;
        assert_eq!((keeper.failures, keeper.waiting_for_clock), (0, true));
        assert_eq!(words(&journal, Class::Alarm), Vec::<String>::new());
    }
}
