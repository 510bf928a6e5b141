//! A bus of our own: `dbus-daemon` with a socket in a directory of the test.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long the daemon may take to listen; it takes milliseconds.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
/// How often its socket is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Why there is no bus.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The daemon cannot be started.
    #[error("dbus-daemon cannot be started; install Debian's package dbus")]
    Start(#[source] io::Error),
    /// Its configuration cannot be written.
    #[error("cannot write {0}; give the test a directory it may write to", .path.display())]
    Write {
        /// What could not be written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It runs and nobody can connect.
    #[error("dbus-daemon does not listen on {0} within {LISTENS_WITHIN:?}; see what it says on standard error")]
    Deaf(PathBuf),
}

/// A private bus, until it is dropped.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    config: PathBuf,
    socket: PathBuf,
    /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
    pub address: String,
}

impl Bus {
    /// Starts a bus with its socket in `directory`.
    ///
    /// # Errors
    /// When `dbus-daemon` is missing or does not come up.
    pub fn start(directory: &Path) -> Result<Self, BusError> {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let config = directory.join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><listen>{address}</listen>\
             <auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        );
        std::fs::write(&config, text).map_err(|source| BusError::Write { path: config.clone(), source })?;
        let daemon = launch(&config, &socket)?;
        Ok(Self { daemon, config, socket, address })
    }

    /// The daemon dies: every connection is cut, and nobody is told.
    pub fn dies(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = std::fs::remove_file(&self.socket);
    }

    /// The daemon comes back at the same address, empty.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn returns(&mut self) -> Result<(), BusError> {
        self.dies();
        self.daemon = launch(&self.config, &self.socket)?;
        Ok(())
    }
}

fn launch(config: &Path, socket: &Path) -> Result<Child, BusError> {
    let mut daemon = Command::new("dbus-daemon");
    daemon.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]);
    // it warns of a limit of file descriptors that only root may raise
    let mut daemon = daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(BusError::Start)?;
    let since = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        if since.elapsed() > LISTENS_WITHIN {
            let _ = daemon.kill();
            let _ = daemon.wait();
            return Err(BusError::Deaf(socket.to_owned()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(daemon)
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.dies();
    }
}
