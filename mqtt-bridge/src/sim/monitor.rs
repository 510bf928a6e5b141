//! A monitor of the terminal's people: subscribes to one filter, keeps what it hears, and comes back when it is cut off.
//!
//! It is a real client on a TCP port, as `mosquitto_sub` is one; it exists for the demo and the tests, and keeps
//! everything it hears, without bounds.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{CustomsError, Received};

/// Pause before it comes back: short, because only stories and tests wait for it.
const COME_BACK: Duration = Duration::from_millis(100);
/// Requests it may have in line: one subscription.
const REQUESTS: usize = 4;
/// Largest message it takes, in bytes.
const MESSAGE_MAX: usize = 1024 * 1024;

/// The monitor; it leaves when this is dropped.
#[derive(Debug)]
pub struct Monitor {
    heard: watch::Receiver<Vec<Received>>,
    _leave: DropGuard,
}

impl Monitor {
    /// Watches `filter` at the broker there, from now on and whenever it can be reached. Must be called on a tokio runtime.
    #[must_use]
    pub fn watch(broker: SocketAddr, filter: &str) -> Self {
        let (sender, heard) = watch::channel(Vec::new());
        let leave = CancellationToken::new();
        let watching = watch_for_ever(broker, filter.to_owned(), sender);
        tokio::spawn(leave.clone().run_until_cancelled_owned(watching));
        Self { heard, _leave: leave.drop_guard() }
    }

    /// Everything heard so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.heard.borrow().clone()
    }

    /// Waits until this holds for what was heard.
    ///
    /// # Errors
    /// [`CustomsError::Late`] after `deadline`.
    pub async fn until(&self, deadline: Duration, mut holds: impl FnMut(&[Received]) -> bool) -> Result<(), CustomsError> {
        let mut heard = self.heard.clone();
        let waited = tokio::time::timeout(deadline, heard.wait_for(|heard| holds(heard))).await;
        waited.map(drop).map_err(|_| CustomsError::Late(deadline, self.heard.borrow().len()))
    }
}

async fn watch_for_ever(broker: SocketAddr, filter: String, heard: watch::Sender<Vec<Received>>) {
    // Two monitors of one process under one name would throw each other out.
    let name = format!("monitor-{}-{:04x}", std::process::id(), rand::random::<u16>());
    for connection in 1.. {
        let mut options = MqttOptions::new(&name, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(MESSAGE_MAX, MESSAGE_MAX);
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        while let Ok(event) = events.poll().await {
            match event {
                // The line of requests is empty on a new connection, so there is room.
                Event::Incoming(Incoming::ConnAck(_)) => drop(client.try_subscribe(filter.clone(), QoS::AtLeastOnce)),
                Event::Incoming(Incoming::Publish(publish)) => heard.send_modify(|heard| {
                    heard.push(Received {
                        topic: publish.topic,
                        payload: publish.payload,
                        dup: publish.dup,
                        retain: publish.retain,
                        connection,
                    });
                }),
                _ => {}
            }
        }
        tokio::time::sleep(COME_BACK).await;
    }
}
