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

/// The device a session is connected to or is connecting to, so that it can be disconnected whatever ended the session.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Rc<RefCell<Option<Peripheral>>>);

impl Held {
    fn hold(&self, device: &Peripheral) {
        self.0.replace(Some(device.clone()));
    }

    /// Disconnects what is held.
    pub(super) async fn let_go(&self, limit: Duration) {
        let Some(device) = self.0.take() else { return };
        // an error says that nothing was connected
        let _ = timeout(limit, device.disconnect()).await;
    }
}

/// The air before one adapter.
#[derive(Debug)]
pub(super) struct BluezAir {
    adapter: Adapter,
    limits: SessionLimits,
    parted: Parted,
    held: Held,
}

impl BluezAir {
    pub(super) fn new(adapter: Adapter, limits: SessionLimits, parted: Parted, held: Held) -> Self {
        Self { adapter, limits, parted, held }
    }

    /// Ends connections with our seals that a life before this one left standing: a seal that is connected does not
    /// advertise, and would never be heard again.
    pub(super) async fn sweep(&self, register: &Register) {
        let Ok(Ok(devices)) = timeout(self.limits.call, self.adapter.peripherals()).await else { return };
        for device in devices.iter().filter(|device| register.get(mac(device.address())).is_some()) {
            if self.is_connected(device).await {
                tracing::warn!(address = %mac(device.address()), "a connection from before was still standing; ended");
                let _ = timeout(self.limits.disconnect, device.disconnect()).await;
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
        let (parted, held) = (Rc::clone(&self.parted), self.held.clone());
        Ok(BluezLink { device, found, values, parted, held, read: None, lost: false })
    }

    async fn hang_up(&mut self) {
        self.held.let_go(self.limits.disconnect).await;
    }
}

/// One connection.
pub(super) struct BluezLink {
    device: Peripheral,
    found: Found,
    values: Pin<Box<dyn Stream<Item = ValueNotification> + Send>>,
    parted: Parted,
    held: Held,
    /// What was read last, until the next write: it also comes as a notification.
    read: Option<Vec<u8>>,
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
            } else {
                tokio::select! {
                    biased;
                    value = self.values.next() => value,
                    () = self.parted.notified() => {
                        self.lost = !matches!(self.device.is_connected().await, Ok(true));
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
        // an error says that nothing was connected any more
        let _ = self.device.disconnect().await;
        self.held.0.take();
    }
}
