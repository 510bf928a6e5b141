//! Customs' broker: a small MQTT 3.1.1 server on a real port that writes down all it hears and misbehaves when told.
//!
//! It knows CONNECT, PUBLISH at QoS 0 and 1, SUBSCRIBE, PINGREQ, DISCONNECT, persistent sessions, wills and TLS, on the byte
//! code of the `rumqttc` crate. Commands for a gate are kept until it has acknowledged them, and are delivered again
//! on each new connection, as the standard wants it. It relays nothing between clients.

mod connection;
mod state;
mod tls;
mod words;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{Connect, ConnectReturnCode};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::connection::greet;
use self::state::{Command, Shared, State};
use self::tls::acceptor;
pub use self::words::{Ack, CustomsTls, Grant, Reading, Received, Sendoff};

/// Why the broker could not start, or what did not come to pass.
#[derive(Debug, thiserror::Error)]
pub enum CustomsError {
    /// No port could be opened.
    #[error("no port for customs' broker")]
    Port(#[from] io::Error),
    /// The TLS parts cannot be used.
    #[error("the TLS parts of customs' broker cannot be used: {0}")]
    Tls(String),
    /// The condition did not come to pass in time.
    #[error("did not happen within {0:?}; {1} messages received")]
    Late(Duration, usize),
}

/// The broker; dropping it ends it and all its connections.
#[derive(Debug)]
pub struct CustomsBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl CustomsBroker {
    /// On a new port of this machine, without TLS.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn start() -> Result<Self, CustomsError> {
        Self::listen("127.0.0.1:0", None).await
    }

    /// On this address, without TLS; for the demo.
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub async fn start_at(address: &str) -> Result<Self, CustomsError> {
        Self::listen(address, None).await
    }

    /// On a new port of this machine, with TLS.
    ///
    /// # Errors
    /// When no port can be opened or the PEM texts cannot be used.
    pub async fn start_tls(tls: &CustomsTls) -> Result<Self, CustomsError> {
        Self::listen("127.0.0.1:0", Some(acceptor(tls)?)).await
    }

    async fn listen(address: &str, tls: Option<TlsAcceptor>) -> Result<Self, CustomsError> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new());
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything received so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// Every CONNECT so far, refused ones too.
    #[must_use]
    pub fn connects(&self) -> Vec<Connect> {
        self.shared.state().connects.clone()
    }

    /// Wills published so far: topic and payload.
    #[must_use]
    pub fn wills(&self) -> Vec<(String, Bytes)> {
        self.shared.state().wills.iter().map(|will| (will.topic.clone(), will.message.clone())).collect()
    }

    /// How many connections ended with DISCONNECT.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.shared.state().disconnects
    }

    /// Wait until this holds for what was received.
    ///
    /// # Errors
    /// [`CustomsError::Late`] after `deadline`.
    pub async fn until(&self, deadline: Duration, mut holds: impl FnMut(&[Received]) -> bool) -> Result<(), CustomsError> {
        self.wait(deadline, |state| holds(&state.received)).await
    }

    /// Wait until at least so many CONNECTs came in.
    ///
    /// # Errors
    /// [`CustomsError::Late`] after `deadline`.
    pub async fn until_connects(&self, deadline: Duration, count: usize) -> Result<(), CustomsError> {
        self.wait(deadline, |state| state.connects.len() >= count).await
    }

    /// Wait until the command with this number is acknowledged.
    ///
    /// # Errors
    /// [`CustomsError::Late`] after `deadline`.
    pub async fn until_acknowledged(&self, deadline: Duration, command: usize) -> Result<(), CustomsError> {
        self.wait(deadline, |state| state.commands[command].acknowledged).await
    }

    /// Wait until the command with this number was sent so many times.
    ///
    /// # Errors
    /// [`CustomsError::Late`] after `deadline`.
    pub async fn until_delivered(&self, deadline: Duration, command: usize, times: u32) -> Result<(), CustomsError> {
        self.wait(deadline, |state| state.commands[command].deliveries >= times).await
    }

    async fn wait(&self, deadline: Duration, mut holds: impl FnMut(&State) -> bool) -> Result<(), CustomsError> {
        let mut changed = self.shared.changed.subscribe();
        let wait = changed.wait_for(|_| holds(&self.shared.state()));
        match tokio::time::timeout(deadline, wait).await {
            Ok(_) => Ok(()),
            Err(_) => Err(CustomsError::Late(deadline, self.shared.state().received.len())),
        }
    }

    /// What happens to PUBACKs from now on; `AtOnce` releases those held back.
    pub fn acks(&self, acks: Ack) {
        self.shared.change(|state| state.acks = acks);
    }

    /// The answer to SUBSCRIBE from now on.
    pub fn grant(&self, grant: Grant) {
        self.shared.change(|state| state.grant = grant);
    }

    /// Whether it reads from its sockets from now on.
    pub fn reading(&self, reading: Reading) {
        self.shared.change(|state| state.reading = reading);
    }

    /// The answer to CONNECT from now on.
    pub fn answer_connect(&self, code: ConnectReturnCode) {
        self.shared.change(|state| state.connect_answer = code);
    }

    /// Close the connection, once, after so many further PUBLISHes: the last one is received and not acknowledged.
    pub fn drop_after(&self, publishes: usize) {
        self.shared.change(|state| state.drop_after = Some(publishes));
    }

    /// Forget every session, as after a restart without persistence: subscriptions and undelivered commands are gone.
    pub fn forget_sessions(&self) {
        self.shared.change(|state| {
            state.sessions.clear();
            state.commands.iter_mut().for_each(|command| command.forgotten = true);
        });
    }

    /// Close all connections without a word.
    pub fn hang_up(&self) {
        self.shared.change(|state| std::mem::replace(&mut state.live, CancellationToken::new())).cancel();
    }

    /// Send a command to the gate subscribed to its topic, now or when it comes back. Returns its number.
    pub fn send(&self, command: Sendoff) -> usize {
        self.shared.change(|state| {
            state.commands.push(Command { what: command, acknowledged: false, forgotten: false, deliveries: 0, sent: None });
            state.commands.len() - 1
        })
    }

    /// Was this command acknowledged?
    #[must_use]
    pub fn is_acknowledged(&self, command: usize) -> bool {
        self.shared.state().commands[command].acknowledged
    }
}

impl Drop for CustomsBroker {
    fn drop(&mut self) {
        self.accepting.abort();
        self.hang_up();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut number = 0;
    while let Ok((socket, _)) = listener.accept().await {
        number += 1;
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let live = shared.state().live.clone();
            let _ = live.run_until_cancelled(greet(socket, tls, Arc::clone(&shared), number)).await;
        });
    }
}
