//! How many QoS 1 messages a second the link brings to a broker, beside a bare `rumqttc` publisher on the same machine.
//!
//! `cargo run --release -p segel-mqtt-bridge --example uplink_rate -- 127.0.0.1:1883 100000`

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use segel_mqtt_bridge::uplink::{Delivery, Inbox, InboxError, Outbox, Parcel, Unsendable, Uplink, UplinkConfig};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const PAYLOAD_BYTES: usize = 400;
const TOPIC: &str = "segel/1/idtpp/g03/ev";

/// Hands out the same message over and over and counts what is acknowledged.
struct Counter {
    total: u64,
    next: u64,
    open: HashSet<u64>,
    acked: u64,
    done: Arc<Notify>,
    payload: Bytes,
}

impl Outbox for Counter {
    type Ticket = u64;

    async fn next(&mut self) -> Option<Parcel<u64>> {
        if self.next == self.total {
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        self.open.insert(ticket);
        Some(Parcel { topic: TOPIC.into(), payload: self.payload.clone(), ticket })
    }

    fn delivered(&mut self, ticket: u64) {
        assert!(self.open.remove(&ticket), "{ticket} is not open");
        self.acked += 1;
        if self.acked == self.total {
            self.done.notify_one();
        }
    }

    fn unsendable(&mut self, ticket: u64, why: Unsendable) {
        panic!("{ticket}: {why}");
    }

    fn rewind(&mut self) {
        assert!(self.open.is_empty(), "the line was lost during the measurement");
    }

    async fn changed(&mut self) {
        if self.next == self.total {
            std::future::pending::<()>().await;
        }
    }
}

struct NoCommands;

impl Inbox for NoCommands {
    async fn receive(&self, _: Delivery) -> Result<(), InboxError> {
        Ok(())
    }
}

async fn link(broker: SocketAddr, total: u64) -> Duration {
    let done = Arc::new(Notify::new());
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let counter = Counter { total, next: 0, open: HashSet::new(), acked: 0, done: Arc::clone(&done), payload };
    let config = UplinkConfig::new(broker.ip().to_string(), broker.port(), "uplink-rate");
    let (uplink, mut standing) = Uplink::new(config, counter, NoCommands).expect("a valid configuration");
    let stop = CancellationToken::new();
    let begin = Instant::now();
    let running = tokio::spawn(uplink.run(stop.clone()));
    standing.wait_for(|standing| standing.phase.is_up()).await.expect("the link runs");
    done.notified().await;
    let took = begin.elapsed();
    stop.cancel();
    running.await.expect("the link ends");
    took
}

async fn bare(broker: SocketAddr, total: u64) -> Duration {
    let options = MqttOptions::new("uplink-rate-bare", broker.ip().to_string(), broker.port());
    let (client, mut event_loop) = AsyncClient::new(options, 100);
    let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
    let begin = Instant::now();
    tokio::spawn(async move {
        for _ in 0..total {
            client.publish_bytes(TOPIC, QoS::AtLeastOnce, false, payload.clone()).await.expect("the loop runs");
        }
        std::future::pending::<()>().await;
    });
    let mut acked = 0;
    while acked < total {
        if let Event::Incoming(Incoming::PubAck(_)) = event_loop.poll().await.expect("the broker stays") {
            acked += 1;
        }
    }
    begin.elapsed()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let broker: SocketAddr = arguments.next().and_then(|text| text.parse().ok()).expect("first argument: address:port of a broker");
    let total: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("second argument: number of messages");
    for _ in 0..3 {
        for (name, took) in [("link", link(broker, total).await), ("bare rumqttc", bare(broker, total).await)] {
            println!("{name:>13}: {:>8.0} messages/s of {PAYLOAD_BYTES} bytes at QoS 1", total as f64 / took.as_secs_f64());
        }
    }
}
