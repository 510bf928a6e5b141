//! The simulated air: advertisements and connections over a Unix socket.
//!
//! ```text
//!   frame   length (4, LE, 0 to 512) content
//!   content bincode: version = 1, address, signal strength, service data; nothing at all: "the air is still there"
//!           version = 2: other advertisements, and connections to the seals that stand in the air, both ways
//! ```
//!
//! [`EmulatedAir`] plays the air: whoever connects hears every frame from then on. [`SimulatedAir`] is the radio the
//! daemon listens with. What must hold: only this user can connect; a frame that is too long or that nothing can be
//! made of is refused; a listener that does not listen is dropped and holds nobody up; an air that has stopped is
//! noticed, because it says twice a second that it is there.

mod line;
mod listen;
mod locks;
mod wire;

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf},
    sync::{Semaphore, broadcast, mpsc},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use listen::{SimulatedAir, SimulatedAirConfig};
pub use locks::Reach;

use super::SimLock;
use crate::{MacAddress, ble::AirFrame};
use locks::Locks;

/// Signal strength the seals of [`EmulatedAir::advertise`] are heard with, in dBm: a truck's length away.
const RSSI_DBM: i16 = -60;

/// Frames kept for a listener that is slow; one that falls further behind loses the oldest, as on the air.
const BACKLOG: usize = 1024;
/// Most listeners at once.
const LISTENERS: usize = 16;
/// How long a listener may take to take a frame.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// How often the air says that it is there.
const STILL_THERE_EVERY: Duration = Duration::from_millis(500);

/// What the content of a frame says; `None` when it is none of ours. For whoever tries what strangers could send.
#[must_use]
pub fn read_content(content: &[u8]) -> Option<AirFrame> {
    match wire::decode(content)? {
        wire::Heard::Advert(frame) => Some(frame),
        wire::Heard::Session(_) => None,
    }
}

/// The air. It is gone when this is dropped.
#[derive(Debug)]
pub struct EmulatedAir {
    path: PathBuf,
    frames: broadcast::Sender<Arc<[u8]>>,
    locks: Locks,
    _stop: DropGuard,
}

impl EmulatedAir {
    /// Opens the air at `path`, which only this user can connect to. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        // under its final name nobody ever sees it with other rights
        let beside = super::beside(&path);
        let _ = std::fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&beside, &path)?;
        let (frames, _) = broadcast::channel(BACKLOG);
        let stop = CancellationToken::new();
        let locks = Locks::default();
        tokio::spawn(accept(listener, frames.clone(), locks.clone(), stop.clone()));
        Ok(Self { path, frames, locks, _stop: stop.drop_guard() })
    }

    /// Puts a seal into the air, where it can be connected to; in place of one with the same address. Whoever keeps the
    /// other end can work its switches.
    pub fn add<L: SimLock>(&self, seal: &Arc<Mutex<L>>) {
        self.locks.add(seal);
    }

    /// Lets a seal of [`Self::add`] advertise; how many listen. One that was never added says nothing.
    ///
    /// # Errors
    /// When it advertises more than any advertisement can carry.
    pub fn advertise(&self, address: MacAddress) -> io::Result<usize> {
        for payload in self.locks.advertise(address) {
            self.send(&AirFrame { address, rssi_dbm: Some(RSSI_DBM), payload })?;
        }
        Ok(self.listeners())
    }

    /// Changes what stands between a seal and whoever connects to it.
    pub fn set_reach(&self, address: MacAddress, reach: Reach) {
        self.locks.set_reach(address, reach);
    }

    /// A seal notifies whoever is connected to it without having been asked; whether anybody is.
    pub fn speak(&self, address: MacAddress, notifications: Vec<Vec<u8>>) -> bool {
        self.locks.speak(address, notifications)
    }

    /// Sends a frame to everybody who listens; how many those are.
    ///
    /// # Errors
    /// When the frame is longer than any advertisement can be.
    pub fn send(&self, frame: &AirFrame) -> io::Result<usize> {
        Ok(self.send_raw(wire::encode(frame)?))
    }

    /// Sends bytes that need be no frame, to try the listeners; how many those are.
    pub fn send_raw(&self, bytes: Vec<u8>) -> usize {
        self.frames.send(bytes.into()).unwrap_or(0)
    }

    /// How many listen now.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.frames.receiver_count()
    }
}

impl Drop for EmulatedAir {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, frames: broadcast::Sender<Arc<[u8]>>, locks: Locks, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(LISTENERS));
    let mut number = 0;
    let accepting = async {
        loop {
            // a socket that cannot be accepted is one that went away, or one too many: the next may do
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(STILL_THERE_EVERY).await;
                continue;
            };
            number += 1;
            if let Ok(seat) = Arc::clone(&room).try_acquire_owned() {
                let (frames, stop, locks) = (frames.subscribe(), stop.clone(), locks.clone());
                tokio::spawn(async move {
                    let _ = stop.run_until_cancelled(serve(stream, frames, &locks, number)).await;
                    locks.leave(number);
                    drop(seat);
                });
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

/// Serves one listener until it goes away or does not take what it is sent.
async fn serve(stream: UnixStream, mut frames: broadcast::Receiver<Arc<[u8]>>, locks: &Locks, listener: u64) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let (out, mut answers) = mpsc::channel(line::ROOM);
    let mut still_there = tokio::time::interval(STILL_THERE_EVERY);
    let speaking = async {
        loop {
            let bytes = tokio::select! {
                biased;
                Some(answer) = answers.recv() => Arc::from(answer),
                frame = frames.recv() => match frame {
                    Ok(bytes) => bytes,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                _ = still_there.tick() => Arc::from(wire::STILL_THERE),
            };
            tokio::time::timeout(WRITE_DEADLINE, write.write_all(&bytes)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        }
    };
    tokio::select! {
        spoken = speaking => spoken,
        answered = answer(read, locks, listener, &out) => answered,
    }
}

/// Answers what one listener asks, until it goes away or asks what nothing can be made of.
async fn answer(read: OwnedReadHalf, locks: &Locks, listener: u64, out: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let mut read = BufReader::new(read);
    let mut content = [0; wire::CONTENT_MAX];
    loop {
        let length = listen::next(&mut read, &mut content).await?;
        let asked = wire::question(&content[..length]).ok_or_else(|| io::Error::other("what it asks is none of ours"))?;
        locks.on_asked(listener, asked, out);
    }
}
