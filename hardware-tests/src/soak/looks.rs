//! Looks at the gate several times a second, by its own status and past it into the journal: do the accounts add up,
//! how much memory does it hold, is it well?

use std::{convert::Infallible, fs, path::Path, time::Duration};

use jiff::Timestamp;
use segel::{event::Class, forward::UPLINK, ingest::ReaderStatus, journal::JournalReader, status::Status};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{diary::Diary, plan::Act};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// An answer is there within a fraction of this.
const ANSWER: Duration = Duration::from_secs(3);
/// A gate that is not being killed answers at least this often.
const SILENT_MAX: Duration = Duration::from_secs(20);
/// Memory the gate may hold, in kB: some twice what it held in the worst of the figures in the README.
const RSS_MAX_KB: u64 = 64_000;

/// Acts during which nobody answers.
const DEAD: &[Act] = &[Act::GateKilled, Act::GateKilledOpening, Act::GateRestarted, Act::DiskFull, Act::DiskNearlyFull];

/// What the looks saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) looks: u64,
    pub(super) worst_rss_kb: u64,
    pub(super) last_rss_kb: u64,
    pub(super) refusals: u64,
    recorded: [u64; Class::ALL.len()],
}

/// Looks for ever; the latest answer is told to `tell`.
pub(super) async fn look(
    run_dir: &Path,
    state_dir: &Path,
    tell: watch::Sender<Option<Status>>,
    seen: &mut Seen,
    diary: &Diary,
) -> Infallible {
    let mut answered = Instant::now();
    let mut silent = false;
    loop {
        match timeout(ANSWER, segel::api::ask_status(run_dir)).await {
            Ok(Ok(status)) => {
                (answered, silent) = (Instant::now(), false);
                seen.take(&status, diary);
                tell.send_replace(Some(status));
            }
            _ if answered.elapsed() > SILENT_MAX && !silent && !diary.explains(DEAD, Timestamp::now()) => {
                silent = true;
                diary.breaks(format!("the gate has not answered for {:?} and nobody stopped it", answered.elapsed()));
            }
            _ => {}
        }
        books_of_the_journal(state_dir, diary);
        sleep(EVERY).await;
    }
}

impl Seen {
    fn take(&mut self, status: &Status, diary: &Diary) {
        self.looks += 1;
        self.last_rss_kb = rss_kb(status.pid).unwrap_or(self.last_rss_kb);
        if self.last_rss_kb > RSS_MAX_KB && self.worst_rss_kb <= RSS_MAX_KB {
            diary.breaks(format!("the gate holds {} kB of memory, {RSS_MAX_KB} are the most", self.last_rss_kb));
        }
        self.worst_rss_kb = self.worst_rss_kb.max(self.last_rss_kb);
        self.refusals += u64::from(status.journal_refuses.is_some());
        for account in &status.accounts {
            if account.recorded != account.delivered + account.pending + account.dropped {
                diary.breaks(format!("the status does not add up: {account:?}"));
            }
            let before = &mut self.recorded[account.class as usize];
            if account.recorded < *before {
                diary.breaks(format!("{} were recorded and now {account:?}", *before));
            }
            *before = account.recorded;
        }
        if is_well(status) {
            diary.well();
        }
    }
}

fn is_well(status: &Status) -> bool {
    let readers = status.readers.len() == 2 && status.readers.iter().all(|reader| reader.status == ReaderStatus::Up);
    let linked = status.uplink.as_ref().is_some_and(|link| link.phase == "up");
    let delivered = status.accounts.iter().all(|account| account.class == Class::Telemetry || account.pending == 0);
    readers && linked && delivered && status.journal_refuses.is_none()
}

/// The same from the journal itself, for every outlet, whether or not the gate lives.
fn books_of_the_journal(state_dir: &Path, diary: &Diary) {
    let looked = JournalReader::open(state_dir).and_then(|reader| {
        let mut outlets = reader.outlets()?;
        outlets.push(UPLINK);
        outlets.iter().map(|outlet| reader.accounts(outlet)).collect::<Result<Vec<_>, _>>()
    });
    let Ok(books) = looked else { return diary.count("looks into the journal that failed", 1) };
    for account in books.iter().flat_map(segel::journal::Accounts::iter) {
        if account.recorded != account.delivered + account.pending + account.dropped {
            diary.breaks(format!("the journal does not add up: {account:?}"));
        }
    }
}

/// Resident memory of a process.
fn rss_kb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
}
