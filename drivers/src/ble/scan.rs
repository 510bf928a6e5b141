//! A Bluetooth adapter that listens for seals, through BlueZ.
//!
//! All of it runs on an operating-system thread of its own with a runtime of its own, which is thrown away as a
//! whole when anything goes wrong. That is not tidiness: the library leaks match rules on a runtime with several
//! threads, connecting to D-Bus blocks its thread, and neither the adapter's removal nor the end of bluetoothd nor
//! that of D-Bus is ever announced; they are just silent.
//!
//! ```text
//!   listen (the gate's runtime) ◄── ended, pulse ── thread: adapter::run
//!                                                     events ─► backlog ─► interpret ─► Ear, Desk::heard
//!                                                     session::serve ◄─► link (one connection at a time)
//! ```
//!
//! What must hold: the thread says once a second that it moves, and one that does not is left behind and reported;
//! as long as one hangs no second one is started; every call has a deadline of ours; a silent air is asked about
//! and scanned anew, and after some time of silence everything is rebuilt, which is no news as long as it works; so it
//! is after many sessions, between two of them; whatever ends the thread, no connection is left standing; and no fault of
//! the scan, and no rebuild, ends a session that stands.
//!
//! It filters by nothing: BlueZ would only match the list of service UUIDs, and seals name theirs in service data.

mod adapter;
mod fault;
mod link;
mod panics;
mod ports;
mod strangers;
mod visits;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    Ear, MacAddress, Radio, RadioFault, ReaderId,
    ble::{Desk, Register, SessionLimits},
};

/// How often the thread is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a thread that was told to stop may take before its successor is refused.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long a runtime may take to end what its library still does.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Which adapter: by the name the kernel gives it (`hci0`) or by its address, which survives replugging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterName {
    /// As the kernel numbers it.
    Kernel(String),
    /// As it is printed on the adapter.
    Address(MacAddress),
}

impl FromStr for AdapterName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Kernel(text.to_owned()), Self::Address))
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// One adapter, as configured.
#[derive(Debug, Clone)]
pub struct BleScanConfig {
    /// Its name among our radios.
    pub id: ReaderId,
    /// Which adapter.
    pub adapter: AdapterName,
    /// The seals we know.
    pub register: Arc<Register>,
    /// After how long without any advertisement the adapter is asked and the scan begun anew. Some adapters tell of
    /// a standing seal only every 11 s.
    pub quiet: Duration,
    /// After how long without a sign of life the thread counts as hung. Connecting to a D-Bus that does not answer
    /// takes libdbus 25 s.
    pub hung_after: Duration,
    /// Where it notes which seals it hears, and takes requests for sessions. It outlives the thread's rebuilds.
    pub desk: Desk,
}

impl BleScanConfig {
    /// An adapter with the usual deadlines: 30 s of quiet, 40 s until the thread counts as hung. Its desk is one alone,
    /// to be replaced where requests are asked of several.
    #[must_use]
    pub fn new(id: ReaderId, adapter: AdapterName, register: Arc<Register>) -> Self {
        let desk = Desk::alone(&id, SessionLimits::default());
        Self { desk, id, adapter, register, quiet: Duration::from_secs(30), hung_after: Duration::from_secs(40) }
    }
}

/// The radio of one adapter.
#[derive(Debug)]
pub struct BleScan {
    config: BleScanConfig,
    /// The last thread; finished, unless it hangs.
    thread: Option<JoinHandle<()>>,
}

/// How a session on the thread ended.
enum Ended {
    /// With a fault.
    Fault(RadioFault),
    /// After long silence: begin anew, without a word unless that fails.
    Rebuild,
}

impl BleScan {
    /// An adapter not yet opened.
    #[must_use]
    pub fn new(config: BleScanConfig) -> Self {
        Self { config, thread: None }
    }

    /// One life of the thread.
    async fn live(&mut self, ear: &Ear) -> Ended {
        if !self.last_has_ended().await {
            return self.hung("the thread of the session before still hangs in a call; restart segel if this lasts");
        }
        let pulse = Arc::new(AtomicU64::new(0));
        let stop = CancellationToken::new();
        let (ended, mut end) = oneshot::channel();
        match spawn(self.config.clone(), ear.clone(), Arc::clone(&pulse), stop.clone(), ended) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => return Ended::Fault(self.cannot_open(format!("no thread for it: {error}"))),
        }
        let _stop = stop.drop_guard();
        let mut last = (0, tokio::time::Instant::now());
        loop {
            match tokio::time::timeout(LOOK_EVERY, &mut end).await {
                Ok(Ok(ended)) => return ended,
                Ok(Err(_)) => return self.hung("its thread ended with a fault in segel or its Bluetooth library; please report it"),
                Err(_) => {}
            }
            let now = (pulse.load(Ordering::Relaxed), tokio::time::Instant::now());
            if now.0 != last.0 {
                last = now;
            } else if now.1 - last.1 >= self.config.hung_after {
                return self.hung("a call to D-Bus or BlueZ never returned; restart bluetooth.service");
            }
        }
    }

    async fn last_has_ended(&mut self) -> bool {
        let Some(thread) = &self.thread else { return true };
        let ended = tokio::time::timeout(STOP_GRACE, async {
            while !thread.is_finished() {
                tokio::time::sleep(STOP_GRACE / 100).await;
            }
        });
        ended.await.is_ok()
    }

    fn hung(&self, reason: &str) -> Ended {
        Ended::Fault(RadioFault::Silent { device: self.config.adapter.to_string(), reason: reason.to_owned() })
    }

    fn cannot_open(&self, reason: String) -> RadioFault {
        RadioFault::Open { device: self.config.adapter.to_string(), reason }
    }
}

/// Starts the thread. Its runtime is dropped at its end, and with it the connection to D-Bus.
fn spawn(
    config: BleScanConfig,
    ear: Ear,
    pulse: Arc<AtomicU64>,
    stop: CancellationToken,
    ended: oneshot::Sender<Ended>,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("ble-{}", config.adapter);
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let fault = RadioFault::Open { device: config.adapter.to_string(), reason: format!("no runtime for it: {error}") };
                let _ = ended.send(Ended::Fault(fault));
                return;
            }
        };
        panics::count_in(ear.tally());
        let end = runtime.block_on(adapter::run(&config, &ear, &pulse, &stop));
        drop(ear);
        runtime.shutdown_timeout(SHUTDOWN_GRACE);
        // told last: whoever hears it may start the next thread at once
        let _ = ended.send(end);
    })
}

impl Radio for BleScan {
    fn id(&self) -> &ReaderId {
        &self.config.id
    }

    async fn listen(&mut self, ear: &Ear) -> RadioFault {
        loop {
            match self.live(ear).await {
                Ended::Fault(fault) => return fault,
                Ended::Rebuild => tracing::debug!(adapter = %self.config.adapter, "the air was silent for long; begun anew"),
            }
        }
    }
}
