//! The journal's figures, read on a thread of their own: a disk that hangs must not hang whoever asks how the gate is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    event::{Class, Stamp, document::Head},
    forward::UPLINK,
    journal::{Account, Journal, JournalError, JournalReader, Sizes, Totals},
    space::timely::Timely,
};

/// How long the figures may take: they are a few rows. Two of these and some fit into the deadline of the local API.
const WITHIN: Duration = Duration::from_secs(2);

/// The figures at one moment.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    /// Per class, the most urgent first: at customs, and the stamp of the oldest event that waits.
    pub(super) accounts: Vec<(Account, Option<Stamp>)>,
    /// Per class, in the journal.
    pub(super) totals: Vec<Totals>,
    pub(super) sizes: Sizes,
    pub(super) read_at: Instant,
}

/// Where figures come from.
#[derive(Debug)]
pub(super) struct Books {
    journal: Journal,
    identity: String,
    reading: Timely<Result<Figures, JournalError>>,
    last: Option<Arc<Figures>>,
    /// Whether the last look met damage; a second on end condemns the journal.
    suspicious: bool,
}

impl Books {
    /// Opens the journal once more, for reading.
    ///
    /// # Errors
    /// When it cannot be, or there is no thread to be had.
    pub(super) fn open(journal: &Journal) -> Result<Self, JournalError> {
        let mut reader = journal.reader()?;
        let dir = journal.dir().to_owned();
        let identity = reader.journal().to_string();
        let place = |source| JournalError::Place { path: "/proc/self/task".into(), source: Arc::new(source) };
        let reading = Timely::new("books", move || {
            let figures = read(&reader);
            if figures.as_ref().is_err_and(JournalError::is_damage) {
                // The next look is to tell a fault of the disk from one of this connection.
                reader = JournalReader::open(&dir)?;
            }
            figures
        });
        let reading = reading.map_err(place)?;
        Ok(Self { journal: journal.clone(), identity, reading, last: None, suspicious: false })
    }

    /// Identity of the journal.
    pub(super) fn journal(&self) -> &str {
        &self.identity
    }

    /// The figures now, or the last there were and why there are no newer ones.
    pub(super) fn look(&mut self) -> (Option<Arc<Figures>>, Option<String>) {
        let fault = match self.reading.ask(WITHIN) {
            Some(Ok(figures)) => {
                self.last = Some(Arc::new(figures));
                self.suspicious = false;
                None
            }
            Some(Err(fault)) => {
                if std::mem::replace(&mut self.suspicious, fault.is_damage()) {
                    self.journal.look_at(&fault);
                }
                Some(fault.to_string())
            }
            None => Some(format!("the journal's disk has not answered within {} s", WITHIN.as_secs())),
        };
        (self.last.clone(), fault)
    }
}

fn read(reader: &JournalReader) -> Result<Figures, JournalError> {
    let accounts = reader.accounts(&UPLINK)?;
    let accounts = accounts.iter().map(|account| Ok((*account, oldest(reader, account)?)));
    let accounts = accounts.collect::<Result<_, JournalError>>()?;
    Ok(Figures { accounts, totals: reader.totals()?, sizes: reader.sizes()?, read_at: Instant::now() })
}

/// The stamp of the oldest event customs has not acknowledged: one search, however many wait.
fn oldest(reader: &JournalReader, account: &Account) -> Result<Option<Stamp>, JournalError> {
    if account.pending == 0 {
        return Ok(None);
    }
    let class: Class = account.class;
    let first = reader.after(class, reader.cursor(&UPLINK, class)?, 1, 1)?;
    let stamp = |head: Head<'_>| Stamp { wall: head.time, monotonic_ms: head.monotonic_ms, boot: head.boot, clock: head.clock };
    let stamp = first.first().and_then(|record| Head::parse(&record.doc).ok().map(stamp));
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::event::Source;
    use crate::journal::JournalConfig;

    #[tokio::test]
    async fn figures_that_cannot_be_read_once_condemn_nothing_and_twice_on_end_they_do() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap();
        let mut books = Books::open(&journal).unwrap();
        let figures = read(&journal.reader().unwrap()).unwrap();
        let damaged = || Err(JournalError::Damaged(Arc::new(rusqlite::Error::InvalidQuery)));
        let mut looks = VecDeque::from([damaged(), Ok(figures), damaged(), damaged()]);
        books.reading = Timely::new("books", move || looks.pop_front().unwrap()).unwrap();
        let marked = || dir.path().join("journal.condemned").exists();
        for _ in 0..3 {
            books.look();
            assert!(!marked(), "it may have been a moment's fault");
        }
        assert!(books.look().1.is_some());
        assert!(marked(), "now it is certain");
        journal.close().await.unwrap();
    }
}
