//! A real mosquitto, as customs might run one: a process of its own on a free port, ended when dropped.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;

use crate::peers::Peer;

/// It opens its port within a fraction of this.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

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
        let program = Peer::Mosquitto.find().context(Peer::Mosquitto.remedy())?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = dir.join("mosquitto.conf");
        fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n"))?;
        let child =
            Command::new(program).arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mosquitto = Self { address: (Ipv4Addr::LOCALHOST, port).into(), child };
        let deadline = Instant::now() + OPEN_DEADLINE;
        while TcpStream::connect(mosquitto.address).is_err() {
            anyhow::ensure!(Instant::now() < deadline, "mosquitto did not open port {port}");
            std::thread::yield_now();
        }
        Ok(mosquitto)
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
