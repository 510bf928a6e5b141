//! A network line between two TCP ends that can be cut, swallowed, slowed and restored.
//!
//! ```text
//!   gate ══► Line (a port of its own) ══► customs' broker
//! ```
//!
//! The weather holds for new and for existing connections. In a `BlackHole` the line accepts and reads, but nothing
//! arrives and nothing is closed: what a broken modem or a forgetful NAT does.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes forwarded at a time.
const CHUNK: usize = 4096;

/// What the line does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything goes through.
    Fair,
    /// Existing connections are closed, new ones too, at once.
    Cut,
    /// Connections stay open and swallow everything, in both directions.
    BlackHole,
    /// Every chunk of up to 4 KiB is held back for this long.
    Slow(Duration),
}

/// A direction along the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the gate to customs.
    Up,
    /// From customs to the gate.
    Down,
}

#[derive(Debug)]
struct Shared {
    weather: watch::Sender<Weather>,
    /// Closes the connections open now.
    scissors: Mutex<CancellationToken>,
    cut_after: Mutex<Option<(Direction, u64)>>,
    opened: AtomicU64,
}

/// The line; dropping it closes it.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line from a new port of this machine to `customs`.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn to(customs: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            weather: watch::Sender::new(Weather::Fair),
            scissors: Mutex::new(CancellationToken::new()),
            cut_after: Mutex::new(None),
            opened: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, customs, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where the gate connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Change the weather. `Cut` closes what is open.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
        if weather == Weather::Cut {
            self.snap();
        }
    }

    /// Close the connections open now; new ones go through.
    pub fn snap(&self) {
        self.shared.snap();
    }

    /// Close the open connections once, after `bytes` more bytes have gone in this direction. Those bytes still arrive,
    /// the rest does not: a packet may be cut in two.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        *self.shared.cut_after.lock().unwrap_or_else(PoisonError::into_inner) = Some((direction, bytes));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.snap();
    }
}

impl Shared {
    fn snap(&self) {
        let mut scissors = self.scissors.lock().unwrap_or_else(PoisonError::into_inner);
        scissors.cancel();
        *scissors = CancellationToken::new();
    }

    /// How many of these bytes may still go, and whether the line is cut after them.
    fn allowance(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let mut cut_after = self.cut_after.lock().unwrap_or_else(PoisonError::into_inner);
        match cut_after.as_mut() {
            Some((of, left)) if *of == direction => {
                let go = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes);
                *left -= go as u64;
                let cut = *left == 0;
                if cut {
                    *cut_after = None;
                }
                (go, cut)
            }
            _ => (bytes, false),
        }
    }
}

async fn accept(listener: TcpListener, customs: SocketAddr, shared: Arc<Shared>) {
    while let Ok((gate, _)) = listener.accept().await {
        shared.opened.fetch_add(1, Ordering::Relaxed);
        if *shared.weather.borrow() == Weather::Cut {
            continue;
        }
        let scissors = shared.scissors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ = scissors.run_until_cancelled(carry(gate, customs, shared)).await;
        });
    }
}

async fn carry(gate: TcpStream, customs: SocketAddr, shared: Arc<Shared>) {
    // In a black hole nobody behind the line even hears of the call.
    let mut weather = shared.weather.subscribe();
    if weather.wait_for(|now| *now != Weather::BlackHole).await.is_err() {
        return;
    }
    let Ok(broker) = TcpStream::connect(customs).await else { return };
    // Small packets must not wait for each other here either.
    let _ = (gate.set_nodelay(true), broker.set_nodelay(true));
    let ((from_gate, to_gate), (from_broker, to_broker)) = (gate.into_split(), broker.into_split());
    tokio::select! {
        () = forward(from_gate, to_broker, Direction::Up, &shared) => {}
        () = forward(from_broker, to_gate, Direction::Down, &shared) => {}
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction, shared: &Shared) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        let weather = *shared.weather.borrow();
        match weather {
            Weather::Fair => {}
            Weather::Slow(pause) => tokio::time::sleep(pause).await,
            Weather::BlackHole => continue,
            Weather::Cut => return,
        }
        let (go, cut) = shared.allowance(direction, read);
        if to.write_all(&chunk[..go]).await.is_err() {
            return;
        }
        if cut {
            shared.snap();
            return;
        }
    }
}
