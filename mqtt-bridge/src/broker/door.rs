//! The front: who is let in. Accept, TLS, CONNECT, password, seat; then the conversation.
//!
//! ```text
//!   accept ─► waiting room ─► TLS ─► CONNECT ─► password ─► seat ─► tap ─► CONNACK 0 ─► serve
//!              bounded, oldest goes      deadline     one at a time   bounded
//! ```
//!
//! What must hold: the accept loop waits for nobody, every connection is a task of its own with a deadline, and a
//! panic in reading one costs that one connection only. A refusal is answered with the return code of MQTT 3.1.1,
//! section 3.2.2.3, wherever the client spoke well enough to be answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttd::protocol::{Connect, Login};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::Access;
use super::core::Core;
use super::guests::{Full, Seated};
use super::monitor::End;
use super::serve::{Admitted, serve};
use super::waiting::{Place, WaitingRoom};
use super::wire::{self, Opening};

/// Pause after accept fails (out of file descriptors): the cause does not go away by asking again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a refusal may take to be written.
const REFUSAL_WRITE: Duration = Duration::from_secs(1);
/// Longest client id in bytes (MQTT 3.1.1 asks for 23; tools use up to a UUID with a name in front).
const MAX_CLIENT_ID: usize = 128;

/// Return codes of CONNACK (section 3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Level = 1,
    ClientId = 2,
    Unavailable = 3,
    Credentials = 4,
    NotAuthorised = 5,
}

/// See the head of this file.
pub(super) struct Door {
    core: Arc<Core>,
    access: Access,
    tls: Option<TlsAcceptor>,
    room: WaitingRoom,
    /// Connections whose password is being checked, running or in line.
    checking: Semaphore,
    /// Connections with a wrong password that are kept waiting for the answer.
    penance: Semaphore,
}

impl Door {
    pub(super) fn new(core: Arc<Core>, access: Access, tls: Option<Arc<rustls::ServerConfig>>) -> Door {
        let most = core.limits.waiting.max(1);
        Door {
            core,
            access,
            tls: tls.map(TlsAcceptor::from),
            room: WaitingRoom::new(most),
            checking: Semaphore::new(most),
            penance: Semaphore::new(most),
        }
    }

    /// Accepts until the broker closes.
    pub(super) async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.core.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => self.on_connection(stream),
                Err(fault) => {
                    if self.core.ledger.speak("accept") {
                        warn!(%fault, "the broker cannot accept connections; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn on_connection(self: &Arc<Self>, stream: TcpStream) {
        let place = self.room.enter();
        let door = Arc::clone(self);
        self.core.tasks.spawn(async move {
            // without it small messages wait for the acknowledgement of those before
            let _ = stream.set_nodelay(true);
            match door.tls.clone() {
                None => door.greet(stream, place).await,
                Some(tls) => {
                    let handshake = tokio::select! {
                        result = tokio::time::timeout(door.core.limits.tls_deadline, tls.accept(stream)) => result,
                        () = place.left.cancelled() => return door.turn_away("sent away from a full waiting room"),
                        () = door.core.closing.cancelled() => return,
                    };
                    match handshake {
                        // boxed: the state of a TLS connection is large and would double the task's size
                        Ok(Ok(stream)) => Box::pin(door.greet(stream, place)).await,
                        Ok(Err(_)) => door.turn_away("TLS handshake failed"),
                        Err(_) => door.turn_away("TLS handshake took too long"),
                    }
                }
            }
        });
    }

    async fn greet<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, place: Place) {
        let mut early = BytesMut::new();
        let opening = tokio::select! {
            read = tokio::time::timeout(self.core.limits.connect_deadline, self.hear(&mut stream, &mut early)) => read,
            () = place.left.cancelled() => return self.turn_away("sent away from a full waiting room"),
            () = self.core.closing.cancelled() => return,
        };
        drop(place);
        let (connect, login) = match opening {
            Ok(Ok(Opening::Connect(_, _, Some(_)))) => return self.refuse(&mut stream, Refusal::NotAuthorised, "it left a will").await,
            Ok(Ok(Opening::Connect(connect, login, None))) => (connect, login),
            Ok(Ok(Opening::OtherLevel)) => return self.refuse(&mut stream, Refusal::Level, "it does not speak MQTT 3.1.1").await,
            Ok(Err(_)) => return self.turn_away("no CONNECT that can be read"),
            Err(_) => return self.turn_away("no CONNECT in time"),
        };
        let seated = match self.admit(&connect, login).await {
            Ok(seated) => seated,
            Err((refusal, why)) => return self.refuse(&mut stream, refusal, why).await,
        };
        self.host(stream, early, &connect, seated).await;
    }

    async fn hear<S: AsyncRead + Unpin>(&self, stream: &mut S, bytes: &mut BytesMut) -> Result<Opening, End> {
        loop {
            if let Some(opening) = wire::opening(bytes, self.core.limits.packet_bytes)? {
                return Ok(opening);
            }
            match stream.read_buf(bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(End::Vanished),
            }
        }
    }

    async fn admit(&self, connect: &Connect, login: Option<Login>) -> Result<Seated, (Refusal, &'static str)> {
        let id = connect.client_id.as_str();
        if id.is_empty() && !connect.clean_session {
            return Err((Refusal::ClientId, "it wants a lasting session without a name"));
        }
        if id.len() > MAX_CLIENT_ID || id.chars().any(char::is_control) {
            return Err((Refusal::ClientId, "its client id is too long or holds control characters"));
        }
        let user = match &self.access {
            Access::Anyone => String::new(),
            Access::Users(users) => {
                let Some(login) = login else { return Err((Refusal::NotAuthorised, "it gave no user and password")) };
                let busy = (Refusal::Unavailable, "too many passwords to check");
                let checking = self.checking.try_acquire().map_err(|_| busy)?;
                let verdict = users.verify(&login.username, &login.password);
                let right = tokio::time::timeout(self.core.limits.connect_deadline, verdict).await.map_err(|_| busy)?;
                drop(checking);
                if !right {
                    // when too many wait already, the answer comes at once: memory is worth more than the delay
                    if let Ok(_kept) = self.penance.try_acquire() {
                        tokio::time::sleep(self.core.limits.refusal_delay).await;
                    }
                    return Err((Refusal::Credentials, "wrong user or password"));
                }
                login.username
            }
        };
        let seated = self.core.guests.seat(&user, id);
        self.count();
        seated.map_err(|Full| (Refusal::Unavailable, "every seat is taken"))
    }

    /// From the seat to the end of the conversation.
    async fn host<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, early: BytesMut, connect: &Connect, seated: Seated) {
        let lease = match self.core.spine() {
            Ok(spine) => spine.lease().await,
            Err(gone) => Err(gone),
        };
        let Ok(lease) = lease else {
            drop(seated);
            self.count();
            return self.refuse(&mut stream, Refusal::Unavailable, "the router is down").await;
        };
        // after the tap is ready: every message numbered from here on comes through it
        let seen = self.core.last();
        let accepted = tokio::time::timeout(REFUSAL_WRITE, connack(&mut stream, 0)).await;
        if matches!(accepted, Ok(Ok(()))) {
            debug!(client = %connect.client_id, "a monitor listens");
            let leave = seated.leave();
            let keepalive = connect.keep_alive;
            let end = serve(Admitted { core: &self.core, stream, early, lease, leave, seen, keepalive }).await;
            self.on_end(end, &connect.client_id);
        }
        drop(seated);
        self.count();
    }

    fn on_end(&self, end: End, client: &str) {
        let ledger = &self.core.ledger;
        debug!(client, ?end, "a monitor is gone");
        match end {
            End::Left | End::Vanished | End::Silent | End::TakenOver | End::RouterGone | End::Closing => {}
            End::TooSlow | End::Missed => {
                ledger.note(|s| s.cut_off += 1);
                if ledger.speak("cut off") {
                    warn!(client, "a monitor does not keep up and was cut off; further ones are only counted for a while");
                }
            }
            End::Published => {
                ledger.note(|s| s.expelled += 1);
                if ledger.speak("published") {
                    warn!(client, "a monitor tried to publish and was sent away; this broker only speaks");
                }
            }
            End::Violation(what) => {
                ledger.note(|s| s.expelled += 1);
                if ledger.speak("violation") {
                    warn!(client, what, "a monitor broke the protocol and was sent away");
                }
            }
        }
    }

    async fn refuse<S: AsyncWrite + Unpin>(&self, stream: &mut S, refusal: Refusal, why: &'static str) {
        self.turn_away(why);
        let said = async {
            connack(stream, refusal as u8).await?;
            stream.shutdown().await
        };
        // whether the refusal arrives is the client's concern
        let _ = tokio::time::timeout(REFUSAL_WRITE, said).await;
    }

    fn turn_away(&self, why: &'static str) {
        self.core.ledger.note(|s| s.refused += 1);
        if self.core.ledger.speak(why) {
            warn!(why, "a connection to the broker was turned away; further ones for this reason are only counted for a while");
        }
    }

    fn count(&self) {
        let clients = self.core.guests.len();
        self.core.ledger.note(|s| s.clients = clients);
    }
}

/// CONNACK, never with a session present (section 3.2).
async fn connack<S: AsyncWrite + Unpin>(stream: &mut S, code: u8) -> std::io::Result<()> {
    stream.write_all(&[0x20, 2, 0, code]).await?;
    stream.flush().await
}
