//! How a line ends: lost, renewed for the sake of commands, or stopped in order.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{Renewal, Sent, Stage, Uplink};
use crate::uplink::fault::LineFault;
use crate::uplink::line::Session;
use crate::uplink::post::{Inbox, Outbox};

/// How long DISCONNECT, and the farewell before it, may take.
pub(super) const PARTING: Duration = Duration::from_secs(2);
/// With a wrong clock the next attempt comes at least this often, for the clock may be set at any time.
const CLOCK_RETRY: Duration = Duration::from_secs(10);

impl<O: Outbox, I: Inbox> Uplink<O, I> {
    pub(super) fn part_when_drained(&mut self) {
        if matches!(self.stage, Stage::Draining { .. }) && self.window.in_flight() == 0 && self.commands.in_progress() == 0 {
            self.part();
        }
    }

    /// Say farewell, then DISCONNECT; where the farewell cannot be sent, neither: then the will speaks for us.
    pub(super) fn part(&mut self) {
        self.stage = Stage::Parting { until: Instant::now() + PARTING };
        match self.config.farewell.clone() {
            None => self.disconnect(),
            Some(farewell) if self.window.has_room() => self.announce(farewell, Sent::Farewell),
            Some(_) => self.end(),
        }
    }

    /// The broker answers DISCONNECT by closing, which ends the line; if it does not, the deadline of the stage does.
    pub(super) fn disconnect(&mut self) {
        if let Some(client) = &self.client {
            let asked = client.disconnect().now_or_never();
            self.asked(asked.is_some());
        }
    }

    /// Give everything back, forget the line, and try again after a pause.
    pub(super) fn lose(&mut self, fault: LineFault) {
        if self.stopping() {
            return self.end();
        }
        if let LineFault::PacketTooLong { bytes } = fault {
            // The broker would send it first on every new line, and no alarm would ever get out again.
            tracing::error!(bytes, "a packet is too long to be taken; the session at customs' broker is wiped, waiting commands are lost");
            self.session = Session::Wipe;
        }
        let up_for = match (self.stage, &fault) {
            // Up, but of no use for the last while.
            (Stage::Up { since }, LineFault::Unacknowledged { waited }) => since.elapsed().saturating_sub(*waited),
            (Stage::Up { since }, _) => since.elapsed(),
            _ => Duration::ZERO,
        };
        self.give_back();
        self.backoff.lost(up_for);
        let mut pause = self.backoff.pause(&mut self.random);
        if matches!(fault, LineFault::ClockBehind { .. } | LineFault::CertificateOver { .. }) {
            pause = pause.min(CLOCK_RETRY);
        }
        let until = Instant::now() + pause;
        self.stage = Stage::Waiting { until };
        self.board.down(fault, std::time::Instant::now(), Some(until.into_std()));
    }

    /// A line that was given up on purpose is over.
    pub(super) fn renew(&mut self, why: Renewal) {
        self.lose(match why {
            Renewal::Commands(commands) => LineFault::Redelivery { commands },
            Renewal::Wiped => LineFault::SessionWiped,
        });
    }

    fn give_back(&mut self) {
        self.line = None;
        self.client = None;
        self.commands.line_lost();
        let parcels = self.window.take_back().into_iter().filter(|sent| matches!(sent, Sent::Parcel(_))).count();
        self.board.count(|standing| standing.resent += parcels as u64);
        if std::mem::take(&mut self.handed_out) {
            self.outbox.rewind();
        }
    }

    pub(super) fn end(&mut self) {
        self.give_back();
        self.stage = Stage::Over;
    }
}
