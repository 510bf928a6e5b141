//! The way up: from the outbox through the window to the library, and its acknowledgements back.
//!
//! Requests to the library never wait. Its channel has room for the whole window and more, so one that would have to
//! wait is a fault of ours; and no parcel is dropped on the way, for whatever fails here ends in a rewind.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rumqttc::QoS;
use tokio::time::{Instant, timeout};

use super::{Sent, Uplink};
use crate::uplink::config::{Announcement, publishable};
use crate::uplink::fault::LineFault;
use crate::uplink::post::{Inbox, Outbox, Parcel, Unsendable};

/// Parcels taken from the outbox before the line is listened to again.
const FILL_BATCH: usize = 32;
/// And at most this long, when its disk is slow.
const FILL_TIME: Duration = Duration::from_millis(200);
/// The outbox reads from a disk; one that takes longer hangs.
const OUTBOX_DEADLINE: Duration = Duration::from_secs(10);

impl<O: Outbox, I: Inbox> Uplink<O, I> {
    /// Send what the outbox has while there is room, a bounded number at a time.
    pub(super) async fn fill(&mut self) {
        let until = Instant::now() + FILL_TIME;
        for _ in 0..FILL_BATCH {
            if !self.may_send() || !self.hungry || Instant::now() > until {
                return;
            }
            self.handed_out = true;
            match timeout(OUTBOX_DEADLINE, self.outbox.next()).await {
                Ok(Some(parcel)) => self.send(parcel),
                Ok(None) => self.hungry = false,
                Err(_) => self.lose(LineFault::OutboxStuck { within: OUTBOX_DEADLINE }),
            }
        }
    }

    pub(super) fn send(&mut self, parcel: Parcel<O::Ticket>) {
        let Parcel { topic, payload, ticket } = parcel;
        let (bytes, limit) = (payload.len(), self.config.max_payload_out);
        let fault = if bytes > limit {
            Some(Unsendable::TooLong { bytes, limit })
        } else if publishable(&topic) {
            None
        } else {
            Some(Unsendable::Topic { topic: topic.clone() })
        };
        if let Some(why) = fault {
            tracing::error!(?ticket, %why, "a message can never be sent to customs");
            self.board.count(|standing| standing.unsendable += 1);
            self.outbox.unsendable(ticket, why);
        } else if self.window.push(Sent::Parcel(ticket), Instant::now()).is_err() {
            // may_send() was asked just before. Losing the line gives the parcel back; dropping it would not.
            self.lose(LineFault::Internal("the window was full".into()));
        } else {
            self.publish(topic, false, payload);
        }
    }

    pub(super) fn publish(&mut self, topic: String, retain: bool, payload: Bytes) {
        let Some(client) = &self.client else {
            return self.lose(LineFault::Internal("no client on an open line".into()));
        };
        let asked = client.publish_bytes(topic, QoS::AtLeastOnce, retain, payload).now_or_never();
        self.asked(asked.is_some());
    }

    /// The library takes every request at once, for its channel has room for the whole window and more. One it would
    /// have to wait for is a fault; one it refuses means that the poller is ending and is about to say why.
    pub(super) fn asked(&mut self, at_once: bool) {
        if !at_once {
            self.lose(LineFault::Internal("the MQTT library takes no more requests".into()));
        }
    }

    pub(super) fn announce(&mut self, announcement: Announcement, sent: Sent<O::Ticket>) {
        if self.window.push(sent, Instant::now()).is_ok() {
            self.publish(announcement.topic, true, announcement.payload);
        }
    }

    pub(super) fn on_acked(&mut self, id: u16) {
        match self.window.acked(id) {
            Ok(Sent::Parcel(ticket)) => {
                self.outbox.delivered(ticket);
                self.board.count(|standing| standing.acked += 1);
            }
            Ok(Sent::Birth) => {}
            Ok(Sent::Farewell) => return self.disconnect(),
            Err(fault) => return self.lose(LineFault::Protocol { detail: fault.to_string() }),
        }
        self.part_when_drained();
    }
}
