//! The link to customs as the gate runs it, [`Upstream`] and [`Uplink`] on a thread of their own, on a journal of this
//! process: so that a drain can be timed by the acknowledgement, and something else be done to the journal meanwhile.

use std::{
    net::SocketAddr,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context;
use segel::{forward::upstream::Upstream, journal::Journal};
use segel_mqtt_bridge::uplink::{Delivery, Inbox, InboxError, LinkStanding, Uplink, UplinkConfig};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::super::{events, sample::rate};

/// The gate's own default.
const WINDOW: u16 = 400;
/// The gate's own default, in percent.
const TELEMETRY_SHARE: u8 = 10;
/// Acknowledgements under way at the end are waited for this long.
const LAST_POST: Duration = Duration::from_secs(1);
/// How often the count of acknowledgements is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// Nothing acknowledged for this long, and something is broken.
const STALLED: Duration = Duration::from_secs(60);

/// Takes no commands; none are sent.
struct NoCommands;

impl Inbox for NoCommands {
    async fn receive(&self, _: Delivery) -> Result<(), InboxError> {
        Ok(())
    }
}

/// The link, up or on its way there.
pub(super) struct Link {
    standing: watch::Receiver<LinkStanding>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Link {
    /// Begins where the cursors of this journal stand.
    pub(super) fn start(journal: &Journal, broker: SocketAddr) -> anyhow::Result<Self> {
        let outbox = Upstream::new(journal.clone(), &events::source()?, TELEMETRY_SHARE)?;
        let config =
            UplinkConfig { window: WINDOW, drain: LAST_POST, ..UplinkConfig::new(broker.ip().to_string(), broker.port(), "figures-link") };
        let (uplink, standing) = Uplink::new(config, outbox, NoCommands).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = stop.clone();
        let thread = Builder::new().name("link".to_owned()).spawn(move || runtime.block_on(uplink.run(told)))?;
        Ok(Self { standing, stop, thread })
    }

    /// Acknowledged so far.
    pub(super) fn acked(&self) -> u64 {
        self.standing.borrow().acked
    }

    /// Waits for the first acknowledgement; when it was seen, and how many there were then.
    pub(super) async fn first(&self) -> anyhow::Result<(Instant, u64)> {
        self.reached(1).await
    }

    /// Waits until so many are acknowledged; the rate from the first acknowledgement to then, a second.
    pub(super) async fn drained(&self, many: usize) -> anyhow::Result<f64> {
        let (since, before) = self.first().await?;
        let (at, acked) = self.reached(many as u64).await?;
        anyhow::ensure!(acked > before, "{many} events left in one look: too few to tell a rate");
        Ok(rate(usize::try_from(acked - before)?, at - since))
    }

    async fn reached(&self, many: u64) -> anyhow::Result<(Instant, u64)> {
        let mut moved = (Instant::now(), 0);
        loop {
            let (now, acked) = (Instant::now(), self.acked());
            if acked >= many {
                return Ok((now, acked));
            }
            if acked > moved.1 {
                moved = (now, acked);
            }
            anyhow::ensure!(moved.0.elapsed() < STALLED, "customs has acknowledged {acked} of {many} and no more");
            sleep(LOOK).await;
        }
    }

    /// Ends it.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await?;
        joined.map_err(|_| anyhow::anyhow!("the link panicked")).context("look at the message above")
    }
}
