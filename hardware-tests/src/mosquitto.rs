//! A real mosquitto, as customs might run one: a process of its own on a free port, ended when dropped.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use segel_mqtt_bridge::sim::Received;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::peers::Peer;

/// It opens its port within a fraction of this.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// What it says goes here.
const LOG: &str = "mosquitto.log";
/// How often its port is tried.
const OPEN_LOOK: Duration = Duration::from_millis(10);
/// Largest message a subscriber takes, in bytes.
const MESSAGE_MAX: usize = 1024 * 1024;
/// Pause before a subscriber comes back.
const COME_BACK: Duration = Duration::from_millis(100);

/// The process.
#[derive(Debug)]
pub struct Mosquitto {
    address: SocketAddr,
    child: Child,
}

impl Mosquitto {
    /// Starts one with no limit on what it queues for absent subscribers, so that it loses nothing of its own.
    ///
    /// # Errors
    /// When it is not installed or does not open its port.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let deadline = Instant::now() + OPEN_DEADLINE;
        while Instant::now() < deadline {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            // Somebody else may have taken the port between our look and its start; then it ends, and another is tried.
            if let Some(mosquitto) = Self::try_on(dir, port, deadline)? {
                return Ok(mosquitto);
            }
        }
        anyhow::bail!("mosquitto opened no port; it said: {}", Self::said(dir))
    }

    /// The same on this port, for whoever has told it to somebody before.
    ///
    /// # Errors
    /// When it is not installed or does not open this port.
    pub fn start_on(dir: &Path, port: u16) -> anyhow::Result<Self> {
        let started = Self::try_on(dir, port, Instant::now() + OPEN_DEADLINE)?;
        started.with_context(|| format!("mosquitto did not open port {port}; it said: {}", Self::said(dir)))
    }

    fn said(dir: &Path) -> String {
        fs::read_to_string(dir.join(LOG)).unwrap_or_default()
    }

    /// One attempt; none when it ended without opening the port.
    fn try_on(dir: &Path, port: u16, deadline: Instant) -> anyhow::Result<Option<Self>> {
        let program = Peer::Mosquitto.find().context(Peer::Mosquitto.remedy())?;
        let config = dir.join("mosquitto.conf");
        fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n"))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join(LOG))?)
            .spawn()?;
        let mut mosquitto = Self { address: (Ipv4Addr::LOCALHOST, port).into(), child };
        while mosquitto.child.try_wait()?.is_none() && Instant::now() < deadline {
            if TcpStream::connect(mosquitto.address).is_ok() {
                return Ok(Some(mosquitto));
            }
            std::thread::sleep(OPEN_LOOK);
        }
        Ok(None)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have gone already; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Customs behind its broker: subscribed with QoS 1 in a session that outlives its connection, keeps all it receives.
#[derive(Debug)]
pub struct Subscriber {
    heard: watch::Receiver<Vec<Received>>,
    _leave: DropGuard,
}

impl Subscriber {
    /// Subscribes; what is published after this returns is received.
    ///
    /// # Errors
    /// When the broker does not grant it in time.
    pub async fn to(broker: SocketAddr, filter: &str) -> anyhow::Result<Self> {
        let (sender, heard) = watch::channel(Vec::new());
        let (granted, mut grants) = watch::channel(0_u32);
        let leave = CancellationToken::new();
        let filter = filter.to_owned();
        tokio::spawn(leave.clone().run_until_cancelled_owned(async move {
            let mut options = MqttOptions::new("customs", broker.ip().to_string(), broker.port());
            options.set_clean_session(false).set_max_packet_size(MESSAGE_MAX, MESSAGE_MAX);
            let (client, mut link) = AsyncClient::new(options, 4);
            for connection in 1.. {
                loop {
                    match link.poll().await {
                        Ok(Event::Incoming(Incoming::ConnAck(_))) => drop(client.try_subscribe(filter.clone(), QoS::AtLeastOnce)),
                        Ok(Event::Incoming(Incoming::SubAck(_))) => granted.send_modify(|grants| *grants += 1),
                        Ok(Event::Incoming(Incoming::Publish(publish))) => {
                            let (topic, payload, dup, retain) = (publish.topic, publish.payload, publish.dup, publish.retain);
                            sender.send_modify(|heard| heard.push(Received { topic, payload, dup, retain, connection }));
                        }
                        Ok(_) => {}
                        Err(_) => break,
                    }
                }
                tokio::time::sleep(COME_BACK).await;
            }
        }));
        let waited = tokio::time::timeout(OPEN_DEADLINE, grants.wait_for(|grants| *grants > 0)).await;
        waited.context("mosquitto granted no subscription")?.context("the subscriber ended")?;
        Ok(Self { heard, _leave: leave.drop_guard() })
    }

    /// Everything received so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.heard.borrow().clone()
    }

    /// Waits until this holds for what was received.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until(&self, within: Duration, mut holds: impl FnMut(&[Received]) -> bool) -> anyhow::Result<()> {
        let mut heard = self.heard.clone();
        let waited = tokio::time::timeout(within, heard.wait_for(|heard| holds(heard))).await;
        waited.map(drop).with_context(|| format!("did not come within {} s; {} messages did", within.as_secs(), self.heard.borrow().len()))
    }
}
