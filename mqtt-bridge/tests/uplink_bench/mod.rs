//! What the tests of the link share: an outbox and an inbox in memory, and a running link.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file is a crate of its own and uses its own part.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use segel_mqtt_bridge::backoff::BackoffConfig;
use segel_mqtt_bridge::sim::{CustomsBroker, Received};
use segel_mqtt_bridge::uplink::{Delivery, Inbox, InboxError, LinkStanding, Outbox, Parcel, Unsendable, Uplink, UplinkConfig};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; only a failing test waits for it.
pub const SOON: Duration = Duration::from_secs(30);
pub const COMMANDS: &str = "segel/1/idtpp/g03/cmd/+";
pub const UNLOCK: &str = "segel/1/idtpp/g03/cmd/unlock";

#[derive(Debug, Default)]
struct Shelf {
    parcels: Vec<(String, Bytes)>,
    cursor: usize,
    handed: BTreeSet<usize>,
    most_handed: usize,
    delivered: BTreeSet<usize>,
    delivered_twice: usize,
    unsendable: Vec<(usize, Unsendable)>,
    rewinds: usize,
}

/// A queue in memory that behaves as the journal does, and the test's view of it.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    shelf: Arc<Mutex<Shelf>>,
    wake: Arc<Notify>,
}

impl Queue {
    pub fn holding(count: usize) -> Self {
        let queue = Self::default();
        for number in 0..count {
            queue.put("segel/1/idtpp/g03/ev", format!("parcel {number}"));
        }
        queue
    }

    pub fn put(&self, topic: &str, payload: impl Into<Bytes>) {
        self.shelf.lock().unwrap().parcels.push((topic.to_owned(), payload.into()));
        self.wake.notify_waiters();
    }

    pub fn delivered(&self) -> BTreeSet<usize> {
        self.shelf.lock().unwrap().delivered.clone()
    }

    pub fn delivered_twice(&self) -> usize {
        self.shelf.lock().unwrap().delivered_twice
    }

    /// Most parcels ever handed out and not yet delivered.
    pub fn most_handed(&self) -> usize {
        self.shelf.lock().unwrap().most_handed
    }

    pub fn unsendable(&self) -> Vec<(usize, Unsendable)> {
        self.shelf.lock().unwrap().unsendable.clone()
    }

    pub async fn until_delivered(&self, count: usize) {
        let reached = async {
            loop {
                let woken = self.wake.notified();
                if self.shelf.lock().unwrap().delivered.len() >= count {
                    return;
                }
                woken.await;
            }
        };
        if tokio::time::timeout(SOON, reached).await.is_err() {
            panic!("only {} of {count} delivered", self.delivered().len());
        }
    }
}

impl Outbox for Queue {
    type Ticket = usize;

    async fn next(&mut self) -> Option<Parcel<usize>> {
        let mut shelf = self.shelf.lock().unwrap();
        let passed = |shelf: &Shelf, ticket| shelf.delivered.contains(&ticket) || shelf.unsendable.iter().any(|(gone, _)| *gone == ticket);
        while shelf.cursor < shelf.parcels.len() && passed(&shelf, shelf.cursor) {
            shelf.cursor += 1;
        }
        let ticket = shelf.cursor;
        let (topic, payload) = shelf.parcels.get(ticket)?.clone();
        shelf.cursor += 1;
        shelf.handed.insert(ticket);
        shelf.most_handed = shelf.most_handed.max(shelf.handed.len());
        Some(Parcel { topic, payload, ticket })
    }

    fn delivered(&mut self, ticket: usize) {
        let mut shelf = self.shelf.lock().unwrap();
        assert!(shelf.handed.remove(&ticket), "{ticket} was delivered but is not handed out");
        if !shelf.delivered.insert(ticket) {
            shelf.delivered_twice += 1;
        }
        drop(shelf);
        self.wake.notify_waiters();
    }

    fn unsendable(&mut self, ticket: usize, why: Unsendable) {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.handed.remove(&ticket);
        shelf.unsendable.push((ticket, why));
    }

    fn rewind(&mut self) {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.rewinds += 1;
        shelf.handed.clear();
        shelf.cursor = 0;
    }

    async fn changed(&mut self) {
        loop {
            let woken = self.wake.notified();
            {
                let shelf = self.shelf.lock().unwrap();
                if shelf.cursor < shelf.parcels.len() {
                    return;
                }
            }
            woken.await;
        }
    }
}

/// What an inbox does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Keep it at once.
    Keep,
    /// Wait until the test opens the gate, then keep it.
    Wait,
    /// Wait with the first one only; keep the others at once.
    WaitForFirst,
    /// Fail so many times, then keep.
    FailFirst(usize),
    /// Panic on the first one, then keep.
    PanicOnce,
}

/// An inbox in memory.
#[derive(Debug, Clone)]
pub struct Tray {
    pub care: Care,
    pub kept: Arc<Mutex<Vec<Delivery>>>,
    pub offered: Arc<AtomicUsize>,
    pub at_once: Arc<AtomicUsize>,
    pub most_at_once: Arc<AtomicUsize>,
    pub open: watch::Sender<bool>,
    pub arrived: watch::Sender<usize>,
}

impl Tray {
    pub fn that(care: Care) -> Self {
        Self {
            care,
            kept: Arc::default(),
            offered: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
            open: watch::Sender::new(false),
            arrived: watch::Sender::new(0),
        }
    }

    pub fn kept(&self) -> Vec<Delivery> {
        self.kept.lock().unwrap().clone()
    }

    /// Wait until so many commands were offered.
    pub async fn until_offered(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        tokio::time::timeout(SOON, arrived.wait_for(|offered| *offered >= count)).await.expect("the inbox is offered it soon").unwrap();
    }
}

impl Inbox for Tray {
    async fn receive(&self, delivery: Delivery) -> Result<(), InboxError> {
        let nth = self.offered.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        self.arrived.send_modify(|count| *count += 1);
        let outcome = match self.care {
            Care::Keep => Ok(()),
            Care::WaitForFirst if nth > 0 => Ok(()),
            Care::Wait | Care::WaitForFirst => {
                let _ = self.open.subscribe().wait_for(|open| *open).await;
                Ok(())
            }
            Care::FailFirst(count) if nth < count => Err(InboxError::NotKept("disk full".into())),
            Care::PanicOnce if nth == 0 => panic!("the gate fails on purpose"),
            Care::FailFirst(_) | Care::PanicOnce => Ok(()),
        };
        if outcome.is_ok() {
            self.kept.lock().unwrap().push(delivery);
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

/// A link with short pauses.
pub fn config(customs: SocketAddr) -> UplinkConfig {
    UplinkConfig {
        keep_alive: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        stable_after: Duration::from_secs(1),
        backoff: BackoffConfig { floor: Duration::from_millis(5), first: Duration::from_millis(40), cap: Duration::from_millis(200) },
        command_filters: vec![COMMANDS.into()],
        ..UplinkConfig::new(customs.ip().to_string(), customs.port(), "idtpp-g03")
    }
}

/// A running link.
pub struct Running {
    pub standing: watch::Receiver<LinkStanding>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn start(config: UplinkConfig, queue: &Queue, tray: &Tray) -> Self {
        let (uplink, standing) = Uplink::new(config, queue.clone(), tray.clone()).expect("a valid configuration");
        let stop = CancellationToken::new();
        Self { standing, task: tokio::spawn(uplink.run(stop.clone())), stop }
    }

    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&LinkStanding) -> bool) -> LinkStanding {
        let now = self.standing.clone();
        match tokio::time::timeout(SOON, self.standing.wait_for(|standing| holds(standing))).await {
            Ok(standing) => standing.expect("the link runs").clone(),
            Err(_) => panic!("{what}: did not happen; the link stands at {:?}", now.borrow().clone()),
        }
    }

    pub async fn until_up(&mut self) -> LinkStanding {
        self.until("up", |standing| standing.phase.is_up()).await
    }

    /// Wait until the link was lost for this reason and return it as a person reads it. The reason stays in the standing
    /// while the link tries again, so that a short pause cannot hide it.
    pub async fn until_down_because(&mut self, words: &str) -> String {
        let said = |standing: &LinkStanding| standing.last_fault.as_ref().map(ToString::to_string).unwrap_or_default();
        let standing = self.until(&format!("down because of {words:?}"), |standing| said(standing).contains(words)).await;
        said(&standing)
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.task).await.expect("the link ends in time").expect("the link does not panic");
    }
}

/// The numbers of the parcels customs received.
pub fn numbers(received: &[Received]) -> BTreeSet<usize> {
    received.iter().filter_map(|one| std::str::from_utf8(&one.payload).ok()?.strip_prefix("parcel ")?.parse().ok()).collect()
}

pub async fn customs() -> CustomsBroker {
    CustomsBroker::start().await.expect("a free port")
}
