//! An emulated UHF reader behind a pseudo-terminal.
//!
//! It answers as a UHFReader18 or a UHFReader288 would, keeps its mode while it is unplugged as the real ones do,
//! and can be told to fall silent, to be unplugged, to send noise, to cut its frames into single bytes, to send
//! wrong checks and to complain of its antenna. The daemon opens it by a symlink that stays the same while the
//! terminal behind it changes, as udev's names do.

mod bench;
mod terminal;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Epc,
    codec::uhf::{Dialect, HEARTBEAT_UNIT},
};
use bench::{Bench, Order};

/// Orders waiting for the emulated reader; the caller waits for each, so one would do.
const ORDERS: usize = 16;

/// What the emulated reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmulatedReaderConfig {
    /// The symlink it is opened by.
    pub link: PathBuf,
    /// What it speaks.
    pub dialect: Dialect,
    /// Its address on the line.
    pub address: u8,
    /// The step in which it counts its heartbeat: 30 s for a real one, less for a test in a hurry.
    pub heartbeat_unit: Duration,
}

impl EmulatedReaderConfig {
    /// A reader at address 0 with a real one's heartbeat.
    #[must_use]
    pub fn new(link: impl Into<PathBuf>, dialect: Dialect) -> Self {
        Self { link: link.into(), dialect, address: 0, heartbeat_unit: HEARTBEAT_UNIT }
    }
}

/// The handle of an emulated reader; it is unplugged for good when the handle is dropped.
#[derive(Debug)]
pub struct EmulatedReader {
    link: PathBuf,
    orders: mpsc::Sender<(Order, oneshot::Sender<io::Result<()>>)>,
    _unplug: DropGuard,
}

impl EmulatedReader {
    /// Plugs the reader in. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When no pseudo-terminal can be had or the symlink cannot be made.
    pub fn plug_in(config: EmulatedReaderConfig) -> io::Result<Self> {
        let link = config.link.clone();
        let (orders, waiting) = mpsc::channel(ORDERS);
        let stop = CancellationToken::new();
        let bench = Bench::new(config)?;
        tokio::spawn(stop.clone().run_until_cancelled_owned(bench.run(waiting)));
        Ok(Self { link, orders, _unplug: stop.drop_guard() })
    }

    /// Where to open it.
    #[must_use]
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// A tag passes the antenna (counted from 1) once: it is told as soon as the reader may speak.
    ///
    /// # Errors
    /// Like every order: when the emulated reader has failed.
    pub async fn show(&self, epc: Epc, antenna: u8, rssi: u8) -> io::Result<()> {
        self.order(Order::Show { epc, antenna, rssi }).await
    }

    /// It says nothing any more: no answer, no tag, no heartbeat.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn go_silent(&self) -> io::Result<()> {
        self.order(Order::Silent).await
    }

    /// It speaks again.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn speak(&self) -> io::Result<()> {
        self.order(Order::Speak).await
    }

    /// Pulls the plug: the line hangs up and the symlink is gone when this returns.
    ///
    /// # Errors
    /// When the symlink cannot be removed.
    pub async fn unplug(&self) -> io::Result<()> {
        self.order(Order::Unplug).await
    }

    /// Plugs it in again, under another terminal and the same symlink.
    ///
    /// # Errors
    /// When no pseudo-terminal can be had or the symlink cannot be made.
    pub async fn replug(&self) -> io::Result<()> {
        self.order(Order::Replug).await
    }

    /// Bytes on the line that no reader would send.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn noise(&self, bytes: &[u8]) -> io::Result<()> {
        self.order(Order::Noise(bytes.to_vec())).await
    }

    /// From now on at most `bytes` leave at once, with a moment between them; 0 is read as 1.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn chunk(&self, bytes: usize) -> io::Result<()> {
        self.order(Order::Chunk(bytes.max(1))).await
    }

    /// The next frame has a wrong check.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn corrupt_next(&self) -> io::Result<()> {
        self.order(Order::CorruptNext).await
    }

    /// It complains of its first antenna: at once in real-time mode, else in each inventory, until
    /// [`EmulatedReader::antenna_repaired`].
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn antenna_fault(&self) -> io::Result<()> {
        self.order(Order::AntennaFault).await
    }

    /// The antenna is well again.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn antenna_repaired(&self) -> io::Result<()> {
        self.order(Order::AntennaRepaired).await
    }

    /// From now on the line gives back what is said on it, as two-wire adapters do.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn echo(&self) -> io::Result<()> {
        self.order(Order::Echo).await
    }

    /// From now on it listens to nothing but a change of mode while it is in real-time mode.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn deaf_while_reading(&self) -> io::Result<()> {
        self.order(Order::DeafWhileReading).await
    }

    /// It starts anew and has forgotten its mode: it answers, and tells nothing by itself.
    ///
    /// # Errors
    /// When the emulated reader has failed.
    pub async fn forget_mode(&self) -> io::Result<()> {
        self.order(Order::ForgetMode).await
    }

    async fn order(&self, order: Order) -> io::Result<()> {
        let failed = || io::Error::other("the emulated reader has stopped");
        let (done, result) = oneshot::channel();
        self.orders.send((order, done)).await.map_err(|_| failed())?;
        result.await.map_err(|_| failed())?
    }
}
