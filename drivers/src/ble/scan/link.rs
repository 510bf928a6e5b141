//! BlueZ's connections, as a session needs them.
//!
//! What the library and BlueZ do, and what is done about it:
//!
//! - Dropping a call to connect does not end it: BlueZ goes on, and the next one fails with `Operation already in
//!   progress`. So whoever drops one calls [`Air::hang_up`], which disconnects; and one that fails so disconnects first.
//! - A connect right after a disconnect fails with `Input/output error`: wait and try again.
//! - Nothing ends the stream of notifications when the link is lost. The scan's events say it ([`Parted`]), and BlueZ is
//!   asked before that is believed.
//! - Reading a characteristic also comes as a notification of it: one that says what was just read is dropped.
//! - A handle keeps the services of its own discovery only: each connection begins with a fresh one.

use std::{cell::RefCell, future::Future, pin::Pin, rc::Rc, time::Duration};

use btleplug::{
    api::{Central, Peripheral as _, ValueNotification},
    platform::{Adapter, Peripheral},
};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    adapter::mac,
    fault::{Meant, fault, meant},
    ports::{Found, find},
    visits::Visits,
};
use crate::{
    MacAddress,
    ble::{
        Register,
        link::{Air, Link, LinkFault},
        protocol::Ports,
        session::SessionLimits,
    },
};

/// Before a connect that BlueZ or the kernel refused for the moment is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Times it is, within one attempt: half a second covers the kernel's own clearing up.
const AGAIN_MAX: u32 = 5;

/// Tells a connection that some device has disconnected. One that comes too early or for another is harmless: BlueZ is
/// asked.
pub(super) type Parted = Rc<Notify>;

/// Devices that would not be disconnected, at most: more than an adapter can be connected to.
const LEFT_MAX: usize = 16;

#[derive(Debug, Default)]
struct Holding {
    now: RefCell<Option<Peripheral>>,
    /// Those that were still connected when they should not have been, the oldest first.
    left: RefCell<Vec<Peripheral>>,
}

/// The device a session is connected to or is connecting to, so that it can be disconnected whatever ended the session;
/// and those of sessions before it that would not be. A seal that stays connected does not advertise: nobody would ever
/// hear of it again. Dropping a call here loses none of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Rc<Holding>);

impl Held {
    fn hold(&self, device: &Peripheral) {
        let before = self.0.now.replace(Some(device.clone()));
        if let Some(before) = before.filter(|before| before.id() != device.id()) {
            self.leave(before);
        }
    }

    /// To be disconnected later.
    fn leave(&self, device: Peripheral) {
        let mut left = self.0.left.borrow_mut();
        left.retain(|known| known.id() != device.id());
        if left.len() >= LEFT_MAX {
            left.remove(0);
        }
        left.push(device);
    }

    pub(super) fn leaves_any(&self) -> bool {
        !self.0.left.borrow().is_empty() || self.0.now.borrow().is_some()
    }

    /// Disconnects a device; one that stays connected is kept for later.
    async fn part(&self, device: &Peripheral, limits: &SessionLimits) {
        let parted = timeout(limits.disconnect, device.disconnect()).await;
        if !matches!(parted, Ok(Ok(()))) && stays(device, limits).await {
            tracing::debug!(address = %mac(device.address()), "it stays connected; it is disconnected later");
            self.leave(device.clone());
        } else {
            self.forget(device);
        }
        // only now: dropped before, it is still held
        self.0.now.borrow_mut().take_if(|held| held.id() == device.id());
    }

    /// Disconnects what is held.
    async fn let_go(&self, limits: &SessionLimits) {
        let held = self.0.now.borrow().clone();
        if let Some(device) = held {
            self.part(&device, limits).await;
        }
    }

    /// Between sessions: disconnects one of those that are still connected, and forgets those that are not.
    pub(super) async fn sweep(&self, limits: &SessionLimits) {
        if let Some(device) = self.0.now.take() {
            self.leave(device);
        }
        let left = self.0.left.borrow().clone();
        for device in left {
            if stays(&device, limits).await {
                tracing::warn!(address = %mac(device.address()), "still connected after its session; disconnected");
                // the others wait for the next time: no session waits for long
                return self.part(&device, limits).await;
            }
            self.forget(&device);
        }
    }

    fn forget(&self, device: &Peripheral) {
        self.0.left.borrow_mut().retain(|left| left.id() != device.id());
    }

    /// Disconnects all there is, as far as it goes within this time.
    pub(super) async fn let_all_go(&self, limit: Duration) {
        let left = std::mem::take(&mut *self.0.left.borrow_mut());
        let all: Vec<_> = self.0.now.take().into_iter().chain(left).collect();
        let ending = async {
            for device in all {
                // an error says that nothing was connected, or that nothing can be done here any more
                let _ = device.disconnect().await;
            }
        };
        let _ = timeout(limit, ending).await;
    }
}

/// Whether it is connected, or nobody says. An error says that there is no such device any more.
async fn stays(device: &Peripheral, limits: &SessionLimits) -> bool {
    matches!(timeout(limits.call, device.is_connected()).await, Ok(Ok(true)) | Err(_))
}

/// The air before one adapter.
#[derive(Debug)]
pub(super) struct BluezAir {
    adapter: Adapter,
    limits: SessionLimits,
    parted: Parted,
    held: Held,
    visits: Visits,
}

impl BluezAir {
    pub(super) fn new(adapter: Adapter, limits: SessionLimits, parted: Parted, held: Held, visits: Visits) -> Self {
        Self { adapter, limits, parted, held, visits }
    }

    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    pub(super) fn visits(&self) -> Visits {
        self.visits.clone()
    }

    /// Ends connections with our seals that a life before this one left standing: a seal that is connected does not
    /// advertise, and would never be heard again.
    pub(super) async fn sweep(&self, register: &Register) {
        let Ok(Ok(devices)) = timeout(self.limits.call, self.adapter.peripherals()).await else { return };
        for device in devices.iter().filter(|device| register.get(mac(device.address())).is_some()) {
            if self.is_connected(device).await {
                tracing::warn!(address = %mac(device.address()), "a connection from before was still standing; ended");
                self.held.part(device, &self.limits).await;
            }
        }
    }

    async fn is_connected(&self, device: &Peripheral) -> bool {
        matches!(timeout(self.limits.call, device.is_connected()).await, Ok(Ok(true)))
    }

    /// A fresh handle, by address: names are anybody's.
    async fn device(&self, address: MacAddress) -> Result<Peripheral, LinkFault> {
        let devices = self.call("a list of devices", self.adapter.peripherals()).await?;
        let found = devices.into_iter().find(|device| mac(device.address()) == address);
        found.ok_or(LinkFault::Forgotten)
    }

    async fn dial(&self, device: &Peripheral) -> Result<(), LinkFault> {
        let mut last = LinkFault::Connect("BlueZ stays busy with this seal".to_owned());
        for _ in 0..AGAIN_MAX {
            let Err(error) = device.connect().await else { return Ok(()) };
            last = match meant(&error.to_string(), &format!("{error:?}")) {
                Meant::Fault(LinkFault::Lost(why)) => return Err(LinkFault::Connect(why)),
                Meant::Fault(fault) => return Err(fault),
                Meant::Busy => {
                    let _ = timeout(self.limits.disconnect, device.disconnect()).await;
                    LinkFault::Connect("BlueZ stays busy with this seal".to_owned())
                }
                Meant::TooSoon => LinkFault::Connect("the kernel refuses (Input/output error)".to_owned()),
            };
            sleep(AGAIN_AFTER).await;
        }
        Err(last)
    }

    async fn call<T>(&self, what: &'static str, call: impl Future<Output = btleplug::Result<T>>) -> Result<T, LinkFault> {
        match timeout(self.limits.call, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(fault(&error)),
            Err(_) => Err(LinkFault::Late { what }),
        }
    }
}

impl Air for BluezAir {
    type Link = BluezLink;

    async fn connect(&mut self, address: MacAddress, ports: Ports) -> Result<BluezLink, LinkFault> {
        self.visits.begin();
        let device = self.device(address).await?;
        self.held.hold(&device);
        if self.is_connected(&device).await {
            self.call("a disconnect", device.disconnect()).await?;
            sleep(self.limits.pause).await;
        }
        self.dial(&device).await?;
        self.call("its services", device.discover_services()).await?;
        let found = find(&device.services(), ports).map_err(LinkFault::NoPorts)?;
        // before notifications are switched on: none is kept from before this call
        let values = self.call("its notifications", device.notifications()).await?;
        self.call("its notifications", device.subscribe(&found.notify)).await?;
        let (parted, held, limits) = (Rc::clone(&self.parted), self.held.clone(), self.limits);
        Ok(BluezLink { device, found, values, parted, held, limits, read: None, doubt: false, lost: false })
    }

    async fn hang_up(&mut self) {
        self.held.let_go(&self.limits).await;
    }
}

/// One connection.
pub(super) struct BluezLink {
    device: Peripheral,
    found: Found,
    values: Pin<Box<dyn Stream<Item = ValueNotification> + Send>>,
    parted: Parted,
    held: Held,
    limits: SessionLimits,
    /// What was read last, until the next write: it also comes as a notification.
    read: Option<Vec<u8>>,
    /// Some device has disconnected, and BlueZ was not asked yet whether it is this one.
    doubt: bool,
    lost: bool,
}

impl BluezLink {
    /// The next value that is an answer, if the one given is.
    fn answer(&self, value: ValueNotification) -> Option<Vec<u8>> {
        let ours = value.uuid == self.found.notify.uuid && value.service_uuid == self.found.notify.service_uuid;
        (ours && self.read.as_ref() != Some(&value.value)).then_some(value.value)
    }
}

impl Link for BluezLink {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkFault> {
        self.read = None;
        for piece in bytes.chunks(self.found.piece) {
            self.device.write(&self.found.write, piece, self.found.kind).await.map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    async fn notified(&mut self) -> Result<Vec<u8>, LinkFault> {
        loop {
            let value = if self.lost {
                // what came before the end is still handed over
                self.values.next().now_or_never().flatten()
            } else if self.doubt {
                match self.values.next().now_or_never() {
                    Some(value) => value,
                    None => {
                        // dropped in the middle of this, the doubt remains
                        self.lost = !matches!(self.device.is_connected().await, Ok(true));
                        self.doubt = false;
                        continue;
                    }
                }
            } else {
                tokio::select! {
                    biased;
                    value = self.values.next() => value,
                    () = self.parted.notified() => {
                        self.doubt = true;
                        continue;
                    }
                }
            };
            match value {
                Some(value) => match self.answer(value) {
                    Some(answer) => return Ok(answer),
                    None => continue,
                },
                None => return Err(LinkFault::Lost("the seal or the radio ended the connection".to_owned())),
            }
        }
    }

    async fn reread(&mut self) -> Result<Vec<u8>, LinkFault> {
        let value = self.device.read(&self.found.notify).await.map_err(|error| fault(&error))?;
        self.read = Some(value.clone());
        Ok(value)
    }

    async fn close(self) {
        self.held.part(&self.device, &self.limits).await;
    }
}
