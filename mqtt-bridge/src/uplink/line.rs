//! One connection: a fresh event loop of the MQTT library in a task of its own that does nothing but `poll()`.
//!
//! `poll()` is not documented as safe to cancel, so it never stands in a `select!`; and a loop that lost its
//! session clears its queue and may wedge on a packet id, so no loop is ever used for a second connection. What it
//! reports goes over a bounded channel. Dropping the [`Line`] ends the task and closes the socket.
//!
//! The requests to the library are never waited for: its channel has room for everything the window and the
//! commands may put into it, so a full one is a fault and not a reason to wait.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, Event, Incoming, LastWill, MqttOptions, NetworkOptions, Outgoing, Publish, QoS, SubscribeReasonCode,
    TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::{MAX_WINDOW, UplinkConfig};
use super::fault::LineFault;
use crate::tls;

/// Packet ids beyond the window: one for SUBSCRIBE, the rest to spare.
const SPARE_IDS: u16 = 4;
/// Room in the request channel beyond the window: acknowledgements of commands, SUBSCRIBE, DISCONNECT.
const SPARE_REQUESTS: usize = 256;
/// Events the poller may be ahead of the uplink task; when they are used up it waits, and with it the socket.
const EVENTS_AHEAD: usize = 1_024;
/// A command over its limit, up to this many bytes more, is taken off the line and refused. A larger one ends the line.
const TAKE_OFF_BYTES: usize = 4 * 1024 * 1024;
/// Fixed header, topic and packet id of a PUBLISH at most.
const MAX_PUBLISH_HEAD: usize = 5 + 2 + u16::MAX as usize + 2;

/// What becomes of the session at customs' broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// It is taken up again: commands sent while we were away are delivered.
    Resume,
    /// It is wiped, with all that waits in it.
    Wipe,
}

/// What happened on the line.
#[derive(Debug)]
pub(super) enum LineEvent {
    /// CONNECT was accepted.
    Connected { client: AsyncClient, session_present: bool },
    /// The oldest message given to the library has this packet id and was written.
    Sent(u16),
    /// PUBACK.
    Acked(u16),
    /// SUBACK.
    Granted(Vec<SubscribeReasonCode>),
    /// PUBLISH from the broker.
    Command(Publish),
    /// Anything else from the broker: it is alive.
    Heard,
    /// The line is over.
    Lost(LineFault),
}

/// An open or opening connection.
#[derive(Debug)]
pub(super) struct Line {
    events: mpsc::Receiver<LineEvent>,
    poller: JoinHandle<()>,
}

impl Line {
    /// Begin to connect.
    pub(super) fn open(config: Arc<UplinkConfig>, session: Session) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        Self { events, poller: tokio::spawn(poll_to_the_end(config, session, sender)) }
    }

    /// The next events, at least one; none when the poller is gone without a word. Safe to cancel.
    pub(super) async fn events(&mut self, into: &mut Vec<LineEvent>, at_most: usize) -> usize {
        self.events.recv_many(into, at_most).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

async fn poll_to_the_end(config: Arc<UplinkConfig>, session: Session, events: mpsc::Sender<LineEvent>) {
    let options = match options(&config, session).await {
        Ok(options) => options,
        Err(fault) => {
            // Nobody listens any more: then nobody needs the reason.
            let _ = events.send(LineEvent::Lost(fault)).await;
            return;
        }
    };
    let (client, mut event_loop) = AsyncClient::new(options, usize::from(config.window) + SPARE_REQUESTS);
    event_loop.network_options = network_options(&config);
    let mut client = Some(client);
    loop {
        let event = match event_loop.poll().await {
            Ok(Event::Incoming(incoming)) => match incoming {
                Incoming::ConnAck(ack) if ack.code == ConnectReturnCode::Success => match client.take() {
                    Some(client) => LineEvent::Connected { client, session_present: ack.session_present },
                    None => LineEvent::Lost(LineFault::Internal("a second CONNACK on one line".into())),
                },
                Incoming::PubAck(ack) => LineEvent::Acked(ack.pkid),
                Incoming::SubAck(ack) => LineEvent::Granted(ack.return_codes),
                Incoming::Publish(publish) => LineEvent::Command(publish),
                _ => LineEvent::Heard,
            },
            Ok(Event::Outgoing(Outgoing::Publish(id))) => LineEvent::Sent(id),
            Ok(Event::Outgoing(Outgoing::AwaitAck(id))) => {
                LineEvent::Lost(LineFault::Internal(format!("the library came round to packet id {id} in use")))
            }
            Ok(Event::Outgoing(_)) => continue,
            Err(error) => {
                let fault = LineFault::of(&error, &config);
                LineEvent::Lost(if client.is_some() { fault.before_connack(&config) } else { fault })
            }
        };
        let last = matches!(event, LineEvent::Lost(_));
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

async fn options(config: &UplinkConfig, session: Session) -> Result<MqttOptions, LineFault> {
    let mut options = MqttOptions::new(config.client_id.clone(), config.host.clone(), config.port);
    options
        .set_keep_alive(config.keep_alive)
        .set_clean_session(session == Session::Wipe)
        .set_manual_acks(true)
        .set_inflight(config.window.min(MAX_WINDOW) + SPARE_IDS)
        .set_max_packet_size(config.max_payload_in + TAKE_OFF_BYTES + MAX_PUBLISH_HEAD, config.max_payload_out + MAX_PUBLISH_HEAD);
    if let Some(credentials) = &config.credentials {
        options.set_credentials(credentials.username.clone(), credentials.password.clone());
    }
    if let Some(will) = &config.will {
        options.set_last_will(LastWill::new(will.topic.clone(), will.payload.to_vec(), QoS::AtLeastOnce, true));
    }
    if let Some(files) = config.tls.clone() {
        let client = tokio::task::spawn_blocking(move || tls::client_config(&files))
            .await
            .map_err(|error| LineFault::Internal(format!("reading the TLS files panicked: {error}")))?
            .map_err(|fault| LineFault::TlsFiles(fault.to_string()))?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(client)));
    }
    Ok(options)
}

fn network_options(config: &UplinkConfig) -> NetworkOptions {
    let mut network = NetworkOptions::new();
    // The library counts whole seconds; the uplink task keeps the exact deadline beside it.
    network.set_connection_timeout(whole_seconds(config.connect_timeout));
    // An alarm must not wait for the acknowledgement of the packet before it.
    network.set_tcp_nodelay(true);
    network
}

/// Rounded up, so that it is never zero.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
