//! The embedded broker: the gate speaks, monitors listen, and nobody else gets a word in.
//!
//! ```text
//!   gate ──publish──► core ──► rumqttd's router ──► a tap per monitor ──► serve ──► monitor
//!                      │                                                   ▲
//!                      └── retained values ────────────────────────────────┘
//!                                              door: accept, TLS, CONNECT, password, seat
//! ```
//!
//! rumqttd's own network server can be killed or blocked by ordinary clients, knows no topic rules and no return codes
//! in CONNACK, and keeps retained values badly. So of rumqttd only its router, its local links and its codec are used,
//! and nothing a client sends ever reaches the router.
//!
//! What must hold: MQTT 3.1.1, output only; the gate is never delayed by anybody; everything has a bound ([`Limits`]);
//! what a monitor shows is true or it is disconnected; a dead router is replaced. Nothing is durable here: the journal
//! is, and the gate publishes its retained state again at every start.
//!
//! rumqttd logs under the `tracing` targets below [`ROUTER_LOG_TARGET`], at INFO for every link and at ERROR for things
//! that are handled here; a daemon switches that target off.

mod core;
mod door;
mod guests;
mod keeper;
mod limits;
mod message;
mod monitor;
mod retained;
mod serve;
mod server_tls;
mod spine;
mod standing;
mod users;
mod waiting;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;
use tracing::info;

use crate::topic::Topic;
use core::Core;
use door::Door;
use keeper::Keeper;
use spine::Spine;

pub use limits::Limits;
pub use server_tls::{ServerTlsError, server_config};
pub use standing::{BrokerStanding, RouterState};
pub use users::{Users, UsersError, hash_password};

/// The `tracing` target under which rumqttd's own log lines appear.
pub const ROUTER_LOG_TARGET: &str = "rumqttd";

/// Connections the system may hold ready for accept.
const BACKLOG: u32 = 64;
/// How long closing waits for conversations to end; each gives itself one second.
const CLOSING: Duration = Duration::from_secs(3);

/// Who may listen.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anyone on this machine; only allowed on a loopback address.
    Anyone,
    /// These users with their passwords. Without TLS the passwords cross the network in clear.
    Users(Users),
}

/// Is a message kept for those who come later?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Kept as the topic's last value; an empty payload clears it.
    Retained,
    /// Only for those who listen now.
    Passing,
}

/// How a broker is set up.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who may listen.
    pub access: Access,
    /// TLS for all connections ([`server_config`]), or none.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Bounds and deadlines.
    pub limits: Limits,
}

/// Why a broker does not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Anyone may listen on an address others can reach.
    #[error("the broker would be open to anyone on {0}; name users, or listen on 127.0.0.1")]
    OpenToAll(SocketAddr),
    /// The port is taken.
    #[error("{0} is taken by another program (often mosquitto on 1883); stop that one or choose another port")]
    InUse(SocketAddr),
    /// The system does not allow it.
    #[error("listening on {0} is not allowed; choose a port of 1024 or above")]
    NotAllowed(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine; look at `ip address` and correct the configuration")]
    NotHere(SocketAddr),
    /// Anything else the system said.
    #[error("cannot listen on {listen}; the cause tells more")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The router did not start.
    #[error("the broker's router did not start; the machine is out of threads or memory")]
    Router,
}

/// A running broker. Dropping it ends it at once; [`Broker::close`] ends it in order.
pub struct Broker {
    core: Arc<Core>,
    address: SocketAddr,
    _ends: DropGuard,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts a broker; it is bound and its router runs when this returns. [`BrokerError`] says why it cannot.
    pub async fn bind(config: BrokerConfig) -> Result<Broker, BrokerError> {
        let listen = config.listen;
        if matches!(config.access, Access::Anyone) && !listen.ip().to_canonical().is_loopback() {
            return Err(BrokerError::OpenToAll(listen));
        }
        let (listener, address) = open(listen).map_err(|cause| match cause.kind() {
            io::ErrorKind::AddrInUse => BrokerError::InUse(listen),
            io::ErrorKind::PermissionDenied => BrokerError::NotAllowed(listen),
            io::ErrorKind::AddrNotAvailable => BrokerError::NotHere(listen),
            _ => BrokerError::Listen { listen, cause },
        })?;
        // twice the seats: whoever is being replaced still holds a tap while the newcomer takes one
        let links = config.limits.clients.saturating_mul(2).saturating_add(8);
        let (spine, tap) = Spine::start(links).await.map_err(|_| BrokerError::Router)?;
        let core = Arc::new(Core::new(config.limits, Arc::clone(&spine)));
        let keeper = Keeper { core: Arc::clone(&core), links };
        core.tasks.spawn(keeper.run(spine, tap));
        let secure = config.tls.is_some();
        let door = Arc::new(Door::new(Arc::clone(&core), config.access, config.tls));
        core.tasks.spawn(door.run(listener));
        info!(%address, tls = secure, "the broker listens");
        let ends = core.closing.clone().drop_guard();
        Ok(Broker { core, address, _ends: ends })
    }

    /// Says something to all monitors that asked for it. Never blocks and never fails: what cannot be carried is counted
    /// in [`BrokerStanding::lost`], and monitors that missed it are cut off so that none shows a false state.
    pub fn publish(&self, topic: &Topic, payload: &[u8], keep: Keep) {
        self.core.publish(topic.as_str(), payload, keep);
    }

    /// Where it listens; tells the port when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How it stands. Wakes for every change except the count of published messages.
    pub fn standing(&self) -> watch::Receiver<BrokerStanding> {
        self.core.ledger.watch()
    }

    /// Ends in order: no new connections, what was published before is still written (for at most a second), then all
    /// connections close. rumqttd's router thread cannot be ended; it stays idle until the process exits.
    pub async fn close(&self) {
        self.core.closing.cancel();
        self.core.tasks.close();
        let _ = tokio::time::timeout(CLOSING, self.core.tasks.wait()).await;
        if let Ok(spine) = self.core.spine() {
            self.core.set_spine(None);
            spine.give_up();
        }
        info!(address = %self.address, "the broker is closed");
    }

    /// Kills the router by one of its own faults, to prove that the broker lives through it. For tests.
    #[doc(hidden)]
    pub fn break_router(&self) {
        if let Ok(spine) = self.core.spine() {
            spine.break_router();
        }
    }
}

fn open(listen: SocketAddr) -> io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // a restart must not wait for old connections to time out
    socket.set_reuseaddr(true)?;
    // inherited by accepted connections: finds hosts that vanished although they asked for no keepalive
    socket.set_keepalive(true)?;
    socket.bind(listen)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
