//! An MQTT client that notes when each message reached it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant as Deadline, timeout, timeout_at},
};

/// Requests and messages that may wait.
const ROOM: usize = 1_024;
/// Nothing here takes this long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// The client; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Subscriber {
    client: AsyncClient,
    heard: mpsc::Receiver<(Instant, Bytes)>,
    listening: JoinHandle<()>,
}

impl Subscriber {
    /// Connected and subscribed when this returns.
    pub(super) async fn connect(broker: SocketAddr, name: &str, filter: &str) -> anyhow::Result<Self> {
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, ROOM);
        events.network_options.set_tcp_nodelay(true);
        client.subscribe(filter, QoS::AtMostOnce).await?;
        let subscribed = async {
            while !matches!(events.poll().await?, Event::Incoming(Incoming::SubAck(_))) {}
            Ok::<_, rumqttc::ConnectionError>(())
        };
        timeout(PATIENCE, subscribed).await.context("the broker did not grant the subscription")??;
        let (sender, heard) = mpsc::channel(ROOM);
        Ok(Self { client, heard, listening: tokio::spawn(listen(events, sender)) })
    }

    /// Only listens from now on; nothing it hears is kept.
    pub(super) fn and_forget(mut self) -> Listener {
        let heard = std::mem::replace(&mut self.heard, mpsc::channel(1).1);
        let forgetting = tokio::spawn(async move {
            let mut heard = heard;
            while heard.recv().await.is_some() {}
        });
        Listener { _subscriber: self, forgetting }
    }

    /// Publishes at QoS 0.
    pub(super) async fn publish(&self, topic: &str, payload: Bytes) -> anyhow::Result<()> {
        Ok(self.client.publish_bytes(topic, QoS::AtMostOnce, false, payload).await?)
    }

    /// When the next message that holds this text arrived; others are passed over.
    pub(super) async fn next(&mut self, text: &str) -> anyhow::Result<Instant> {
        let until = Deadline::now() + PATIENCE;
        loop {
            let heard = timeout_at(until, self.heard.recv()).await.with_context(|| format!("nothing with {text} arrived"))?;
            let (at, payload) = heard.context("the broker closed the connection")?;
            if payload.windows(text.len()).any(|window| window == text.as_bytes()) {
                return Ok(at);
            }
        }
    }
}

/// A subscriber that nobody asks.
#[derive(Debug)]
pub(super) struct Listener {
    _subscriber: Subscriber,
    forgetting: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.forgetting.abort();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(mut events: EventLoop, heard: mpsc::Sender<(Instant, Bytes)>) {
    while let Ok(event) = events.poll().await {
        if let Event::Incoming(Incoming::Publish(publish)) = event
            && heard.send((Instant::now(), publish.payload)).await.is_err()
        {
            return;
        }
    }
}
