//! One life of rumqttd's router, and the links into it.
//!
//! ```text
//!   gate ──frames──► pump (plain thread) ──► router thread ──► Tap of each monitor
//!                                                         └──► Tap of the sentinel
//! ```
//!
//! What must hold, because of how rumqttd 0.20 behaves:
//! - its link calls block, so one plain thread makes all of them;
//! - every message goes under one ASCII topic and every link subscribes to it alone: one log, bounded, no panic on
//!   a topic's first byte;
//! - a link is never given back to the router. Disconnecting under load makes the router's thread panic, and it keeps a
//!   record of every client it ever saw; so links carry our own counted names, are kept, drained while nobody uses them
//!   and used again by the next monitor;
//! - after `Unschedule` a link must be woken or it stalls for ever;
//! - a router that panicked shows as an error on every tap; its thread cannot be ended otherwise, so one that hangs is
//!   abandoned.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use bytes::Bytes;
use rumqttd::local::{LinkBuilder, LinkRx};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::message::Message;

/// The one topic and filter inside the router.
const INSIDE: &str = "segel";
/// Bytes per segment of the router's log; a burst must fit into all of them.
const SEGMENT: usize = 512 * 1024;
/// Segments of the router's log.
const SEGMENTS: usize = 4;
/// Messages handed to a link in one go; half of rumqttd's own bound, so that a link is not paused by one read.
const BATCH: u64 = 100;
/// A router answers in microseconds; when it has not within this, it never will.
const ANSWER: Duration = Duration::from_secs(5);

/// The router is dead or does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the broker's router does not answer")]
pub(super) struct RouterGone;

enum Command {
    Carry(Bytes),
    Link(oneshot::Sender<LinkRx>),
    Break,
}

/// What a tap brings.
pub(super) enum Drawn {
    /// A message from the gate.
    Message(Message),
    /// The router paused this tap; call [`Tap::wake`] before drawing again.
    Paused,
    /// Nothing for us.
    Nothing,
}

/// The receiving end of one link.
pub(super) struct Tap {
    rx: LinkRx,
}

impl Tap {
    /// The next thing from the router. May be dropped at any point without losing anything.
    pub(super) async fn draw(&mut self) -> Result<Drawn, RouterGone> {
        match self.rx.next().await {
            Ok(Some(Notification::Forward(forward))) => Ok(Message::read(&forward.publish.payload).map_or(Drawn::Nothing, Drawn::Message)),
            Ok(Some(Notification::Unschedule)) => Ok(Drawn::Paused),
            Ok(_) => Ok(Drawn::Nothing),
            Err(_) => Err(RouterGone),
        }
    }

    /// Lets the router go on after [`Drawn::Paused`]. Once per pause; must not be dropped half way.
    pub(super) async fn wake(&self) -> Result<(), RouterGone> {
        match tokio::time::timeout(ANSWER, self.rx.wake()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(RouterGone),
        }
    }

    /// Waits until the router has taken the subscription, so that nothing after this moment is missed.
    async fn settled(&mut self) -> Result<(), RouterGone> {
        let settled = async {
            loop {
                if let Some(Notification::DeviceAck(_)) = self.rx.next().await.map_err(|_| RouterGone)? {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(ANSWER, settled).await.unwrap_or(Err(RouterGone))
    }
}

struct Idle {
    stop: oneshot::Sender<()>,
    drained: JoinHandle<Result<Tap, RouterGone>>,
}

/// See the head of this file.
pub(super) struct Spine {
    commands: mpsc::Sender<Command>,
    idle: Mutex<Vec<Idle>>,
    /// Bytes handed to this router; written under the lock of the flow only.
    sent: AtomicU64,
    /// Bytes known to have come through, by the newest frame anybody saw.
    seen: AtomicU64,
    gone: CancellationToken,
}

impl Spine {
    /// Starts a router with room for `links` links; returns it with the sentinel's tap, which sees every message.
    pub(super) async fn start(links: usize) -> Result<(Arc<Spine>, Tap), RouterGone> {
        let (commands, orders) = mpsc::channel();
        let (ready, started) = oneshot::channel();
        std::thread::Builder::new().name("broker-pump".to_owned()).spawn(move || pump(links, ready, &orders)).map_err(|_| RouterGone)?;
        let rx = tokio::time::timeout(ANSWER, started).await.map_err(|_| RouterGone)?.map_err(|_| RouterGone)?;
        let mut tap = Tap { rx };
        tap.settled().await?;
        let spine = Spine {
            commands,
            idle: Mutex::new(Vec::new()),
            sent: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            gone: CancellationToken::new(),
        };
        Ok((Arc::new(spine), tap))
    }

    /// Gives this router up.
    pub(super) fn give_up(&self) {
        self.gone.cancel();
    }

    /// Sends a frame on its way if no more than `most` bytes are under way; false when it was not taken. Never blocks.
    pub(super) fn carry(&self, frame: Bytes, most: usize) -> bool {
        let size = frame.len() as u64;
        if self.gone.is_cancelled() || self.in_transit() + size > most as u64 {
            return false;
        }
        self.sent.fetch_add(size, Ordering::Relaxed);
        self.commands.send(Command::Carry(frame)).is_ok()
    }

    /// Somebody saw this message come out.
    pub(super) fn saw(&self, message: &Message) {
        self.seen.fetch_max(message.sent, Ordering::Relaxed);
    }

    /// Bytes handed to this router so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes handed to this router that nobody has seen come out yet.
    pub(super) fn in_transit(&self) -> u64 {
        self.sent().saturating_sub(self.seen.load(Ordering::Relaxed))
    }

    /// A tap for a monitor: one that is idle, or a new one.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, RouterGone> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let tap = match idle {
            Some(idle) => {
                // an error means the drain has ended on its own: then the router is gone and the join says so
                let _ = idle.stop.send(());
                idle.drained.await.map_err(|_| RouterGone)??
            }
            None => self.new_tap().await?,
        };
        Ok(Lease { tap: Some(tap), spine: Arc::clone(self) })
    }

    async fn new_tap(&self) -> Result<Tap, RouterGone> {
        let (give, take) = oneshot::channel();
        self.commands.send(Command::Link(give)).map_err(|_| RouterGone)?;
        let rx = tokio::time::timeout(ANSWER, take).await.map_err(|_| RouterGone)?.map_err(|_| RouterGone)?;
        let mut tap = Tap { rx };
        tap.settled().await?;
        Ok(tap)
    }

    fn put_back(&self, tap: Tap) {
        // outside a runtime everything is ending and the tap may go
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (stop, stopped) = oneshot::channel();
        let gone = self.gone.clone();
        let drained = runtime.spawn(async move {
            tokio::select! {
                result = drain(tap, stopped) => result,
                () = gone.cancelled() => Err(RouterGone),
            }
        });
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(Idle { stop, drained });
    }

    /// Makes the router's thread panic by one of its own faults, to prove that we live through it.
    pub(super) fn break_router(&self) {
        let _ = self.commands.send(Command::Break);
    }
}

async fn drain(mut tap: Tap, mut stopped: oneshot::Receiver<()>) -> Result<Tap, RouterGone> {
    loop {
        let drawn = tokio::select! {
            drawn = tap.draw() => drawn?,
            _ = &mut stopped => return Ok(tap),
        };
        if matches!(drawn, Drawn::Paused) {
            tap.wake().await?;
        }
        tokio::task::coop::consume_budget().await;
    }
}

/// A tap on loan; goes back to the others when dropped.
pub(super) struct Lease {
    tap: Option<Tap>,
    spine: Arc<Spine>,
}

impl Lease {
    pub(super) fn tap(&mut self) -> &mut Tap {
        self.tap.as_mut().expect("taken only when dropped")
    }

    /// The router behind it.
    pub(super) fn spine(&self) -> &Spine {
        &self.spine
    }

    /// Cancelled when the router behind it is given up.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.spine.gone
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(tap) = self.tap.take()
            && !self.spine.gone.is_cancelled()
        {
            self.spine.put_back(tap);
        }
    }
}

/// Makes every blocking call into one router; ends when the router is gone or nobody commands any more.
fn pump(links: usize, ready: oneshot::Sender<LinkRx>, orders: &mpsc::Receiver<Command>) {
    let config = RouterConfig {
        max_connections: links + 2,
        max_outgoing_packet_count: BATCH,
        max_segment_size: SEGMENT,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    };
    let router = Router::new(0, config).spawn();
    let link = |name: &str| -> Option<LinkRx> {
        let (mut tx, rx, _) = LinkBuilder::new(name, router.clone()).build().ok()?;
        tx.subscribe(INSIDE).ok()?;
        Some(rx)
    };
    let Ok((mut mouth, _ears, _)) = LinkBuilder::new("gate", router.clone()).build() else { return };
    let Some(sentinel) = link("sentinel") else { return };
    if ready.send(sentinel).is_err() {
        return;
    }
    let mut made = 0usize;
    for order in orders {
        let done = match order {
            Command::Carry(frame) => mouth.publish(INSIDE, frame).is_ok(),
            Command::Link(give) => {
                made += 1;
                // one that nobody waits for any more stays in the router unread; the router pauses it
                link(&format!("m{made}")).map(|rx| drop(give.send(rx))).is_some()
            }
            // rumqttd 0.20 slices the first byte off a topic that begins with two
            Command::Break => mouth.publish("é", "").is_ok(),
        };
        if !done {
            return;
        }
    }
}
