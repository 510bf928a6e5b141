//! Events of this module on their way to disk: in order, tried again until they are there, and never more than a few.
//!
//! What is said here is said when the journal is in trouble, so whoever says it must not wait for it.

use tokio::{sync::mpsc, time::sleep};

use crate::{
    ingest::{RETRY_CAP, RETRY_FIRST},
    journal::{Entry, Journal},
};

/// Events that may wait: each is one change of level or one outage, and both hold themselves back.
const WAITING_MAX: usize = 64;

/// Where events are handed in.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    line: mpsc::Sender<Entry>,
}

impl Notices {
    /// Where to hand in, and the task that records until nobody can hand in any more, or the journal has ended.
    pub(super) fn new(journal: Journal) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (line, waiting) = mpsc::channel(WAITING_MAX);
        (Self { line }, record(journal, waiting))
    }

    /// Hands one in; never waits. One too many is lost, and that is said.
    pub(super) fn hand_in(&self, entry: Entry) {
        let kind = entry.draft.kind;
        if self.line.try_send(entry).is_err() {
            tracing::error!(kind = kind.as_str(), "the journal has not taken anything for too long: this event is lost to the record");
        }
    }
}

async fn record(journal: Journal, mut waiting: mpsc::Receiver<Entry>) {
    while let Some(entry) = waiting.recv().await {
        let mut pause = RETRY_FIRST;
        while let Err(fault) = journal.append(entry.clone()).await {
            if !fault.may_pass() {
                tracing::error!(kind = entry.draft.kind.as_str(), %fault, "this could not be recorded");
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_CAP);
        }
    }
}
