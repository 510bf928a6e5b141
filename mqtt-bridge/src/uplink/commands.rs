//! Commands with the inbox: each in a task of its own, acknowledged in the order of arrival.
//!
//! What must hold
//! - No acknowledgement before the inbox has said `Ok`, and in the order in which the commands came (MQTT 3.1.1,
//!   normative statement 4.6.0-2); brokers end connections that acknowledge out of order.
//! - At most `limit` commands are with the inbox. One more is *shed*: not acknowledged, and so is every later one, until
//!   those in progress are done. Then the line is replaced, for a broker delivers again only on a new connection.
//! - A command that could not be kept is offered again while the line lasts. On a new line the broker delivers it.
//!
//! A task that is with the inbox when the line goes runs to its end, still counted; its acknowledgement is dropped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use rumqttc::Publish;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::post::{Delivery, Inbox, InboxError};

/// First pause before a command that was not kept is offered again; doubled each time.
const OFFER_AGAIN_FIRST: Duration = Duration::from_millis(500);
/// Longest such pause.
const OFFER_AGAIN_CAP: Duration = Duration::from_secs(30);
/// A command that is with the inbox for longer is worth a line in the log; it is not cut off.
const SLOW: Duration = Duration::from_secs(120);

/// How a command ended, in the order of arrival.
#[derive(Debug)]
pub(super) enum Ended {
    /// The inbox has kept it: acknowledge it.
    Kept(Publish),
    /// It was not kept and is not acknowledged.
    NotKept,
}

/// The commands of one line.
#[derive(Debug)]
pub(super) struct Commands<I> {
    inbox: Arc<I>,
    slots: Arc<Semaphore>,
    limit: usize,
    max_payload: usize,
    in_progress: FuturesOrdered<JoinHandle<Ended>>,
    shed: usize,
    line: CancellationToken,
}

impl<I: Inbox> Commands<I> {
    pub(super) fn new(inbox: I, limit: usize, max_payload: usize) -> Self {
        Self {
            inbox: Arc::new(inbox),
            slots: Arc::new(Semaphore::new(limit)),
            limit,
            max_payload,
            in_progress: FuturesOrdered::new(),
            shed: 0,
            line: CancellationToken::new(),
        }
    }

    /// A command came in.
    pub(super) fn take(&mut self, publish: Publish) {
        if self.shed > 0 {
            self.shed += 1;
            return;
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            warn!(limit = self.limit, "more commands than can be taken at a time; customs' broker will deliver the others again");
            self.shed = 1;
            return;
        };
        // The payload is copied: the library's piece would hold the whole read buffer.
        let length = publish.payload.len();
        let taken = &publish.payload[..length.min(self.max_payload)];
        let (payload, head) = (Bytes::copy_from_slice(taken), Publish { payload: Bytes::new(), ..publish });
        let delivery = Delivery { topic: head.topic.clone(), payload, length, retained: head.retain, duplicate: head.dup };
        let (inbox, line) = (Arc::clone(&self.inbox), self.line.clone());
        self.in_progress.push_back(tokio::spawn(async move {
            let _slot = slot;
            if keep(&*inbox, delivery, &line).await { Ended::Kept(head) } else { Ended::NotKept }
        }));
    }

    /// The oldest command once it has ended; pending for ever while there is none. Safe to cancel.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.in_progress.next().await {
            None => std::future::pending().await,
            Some(Ok(ended)) => {
                if matches!(ended, Ended::NotKept) {
                    self.shed += 1;
                }
                ended
            }
            Some(Err(panic)) => {
                error!(%panic, "the gate failed on a command; it is not acknowledged and will come again");
                self.shed += 1;
                Ended::NotKept
            }
        }
    }

    /// Commands of this line not yet ended.
    pub(super) fn in_progress(&self) -> usize {
        self.in_progress.len()
    }

    /// Commands that only a new line will bring again, once this line has none in progress and there is room for them
    /// (commands of earlier lines may still be with the inbox).
    pub(super) fn wants_new_line(&self) -> Option<usize> {
        let room = self.slots.available_permits() >= self.limit.div_ceil(2);
        (self.shed > 0 && self.in_progress.is_empty() && room).then_some(self.shed)
    }

    /// The line is gone: nothing of it can be acknowledged any more.
    pub(super) fn line_lost(&mut self) {
        self.line.cancel();
        self.line = CancellationToken::new();
        self.in_progress = FuturesOrdered::new();
        self.shed = 0;
    }
}

/// Offer the command until it is kept or the line is gone.
async fn keep<I: Inbox>(inbox: &I, delivery: Delivery, line: &CancellationToken) -> bool {
    let mut pause = OFFER_AGAIN_FIRST;
    loop {
        match receive(inbox, delivery.clone()).await {
            Ok(()) => return true,
            Err(reason) if pause == OFFER_AGAIN_FIRST => {
                warn!(topic = %delivery.topic, %reason, "a command stays unacknowledged and is offered to the gate again");
            }
            Err(reason) => debug!(topic = %delivery.topic, %reason, "still not kept"),
        }
        if line.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return false;
        }
        pause = (pause * 2).min(OFFER_AGAIN_CAP);
    }
}

async fn receive<I: Inbox>(inbox: &I, delivery: Delivery) -> Result<(), InboxError> {
    let topic = delivery.topic.clone();
    let mut receiving = std::pin::pin!(inbox.receive(delivery));
    if let Ok(kept) = tokio::time::timeout(SLOW, &mut receiving).await {
        return kept;
    }
    warn!(%topic, after = ?SLOW, "the gate has still not kept a command; later ones wait for their acknowledgement");
    receiving.await
}
