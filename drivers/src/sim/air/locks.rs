//! The seals that stand in an emulated air, and the connections to them.
//!
//! What must hold: a seal has one connection at a time; a listener that goes away gives its seal free; whoever plays the
//! air can hold a seal's own switches at the same time, because each is behind a lock of its own that is never held
//! across a wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::wire::{self, Asked, Refusal, Told, VALUE_MAX, Wanted};
use crate::{MacAddress, ble::Payload, sim::SimLock};

/// How the air stands between a seal and whoever connects to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// In between is nothing.
    #[default]
    Near,
    /// It is heard, and cannot be connected to.
    OutOfReach,
    /// The connection is lost right after each write arrives, before any answer.
    LostAfterWrites,
    /// The first write of a connection gets through, and after the second it is lost before the answer.
    LostAfterTheSecondWrite,
}

/// A seal behind a switch that others may hold.
trait Standing: Send {
    fn with(&self, with: &mut dyn FnMut(&mut dyn SimLock));
}

impl<L: SimLock> Standing for Arc<Mutex<L>> {
    fn with(&self, with: &mut dyn FnMut(&mut dyn SimLock)) {
        with(&mut *self.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Place {
    seal: Box<dyn Standing>,
    reach: Reach,
    connected: Option<Connected>,
}

struct Connected {
    listener: u64,
    link: u32,
    writes: u32,
    out: mpsc::Sender<Vec<u8>>,
}

/// Every seal that can be connected to.
#[derive(Clone, Default)]
pub(super) struct Locks {
    places: Arc<Mutex<HashMap<MacAddress, Place>>>,
}

impl std::fmt::Debug for Locks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Locks").field("seals", &self.places().len()).finish()
    }
}

impl Locks {
    fn places(&self) -> MutexGuard<'_, HashMap<MacAddress, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add<L: SimLock>(&self, seal: &Arc<Mutex<L>>) -> MacAddress {
        let address = seal.lock().unwrap_or_else(PoisonError::into_inner).address();
        let place = Place { seal: Box::new(Arc::clone(seal)), reach: Reach::Near, connected: None };
        self.places().insert(address, place);
        address
    }

    pub(super) fn set_reach(&self, address: MacAddress, reach: Reach) {
        if let Some(place) = self.places().get_mut(&address) {
            place.reach = reach;
        }
    }

    pub(super) fn advertise(&self, address: MacAddress) -> Vec<Payload> {
        let mut payloads = Vec::new();
        if let Some(place) = self.places().get(&address) {
            place.seal.with(&mut |seal| payloads = seal.advertise());
        }
        payloads
    }

    /// A seal speaks by itself to whoever is connected; whether somebody is.
    pub(super) fn speak(&self, address: MacAddress, notifications: Vec<Vec<u8>>) -> bool {
        let places = self.places();
        let Some(connected) = places.get(&address).and_then(|place| place.connected.as_ref()) else { return false };
        notifications.into_iter().for_each(|bytes| connected.tell(Told::Notified { link: connected.link, bytes }));
        true
    }

    /// A listener went away.
    pub(super) fn leave(&self, listener: u64) {
        for place in self.places().values_mut() {
            place.connected = place.connected.take().filter(|connected| connected.listener != listener);
        }
    }

    /// Carries out what a listener asks; its answers go into `out`.
    pub(super) fn on_asked(&self, listener: u64, asked: Asked, out: &mpsc::Sender<Vec<u8>>) {
        let mut places = self.places();
        match asked {
            Asked::Connect { link, address, wanted } => {
                let place = places.get_mut(&MacAddress(address));
                let told = match place.ok_or(Refusal::OutOfReach).and_then(|place| place.connect(listener, link, wanted, out)) {
                    Ok(()) => Told::Connected { link },
                    Err(why) => Told::Refused { link, why },
                };
                say(out, told);
            }
            Asked::Disconnect { link } => {
                for place in places.values_mut().filter(|place| place.is_of(listener, link)) {
                    place.connected = None;
                }
            }
            Asked::Write { link, ask, bytes } => match places.values_mut().find(|place| place.is_of(listener, link)) {
                Some(place) => place.write(ask, &bytes),
                None => say(out, Told::Lost { link }),
            },
            Asked::Read { link, ask } => match places.values_mut().find(|place| place.is_of(listener, link)) {
                Some(place) => {
                    let mut bytes = Vec::new();
                    place.seal.with(&mut |seal| bytes = seal.value());
                    bytes.truncate(VALUE_MAX);
                    say(out, Told::Value { link, ask, bytes });
                }
                None => say(out, Told::Lost { link }),
            },
        }
    }
}

impl Place {
    fn is_of(&self, listener: u64, link: u32) -> bool {
        self.connected.as_ref().is_some_and(|connected| connected.listener == listener && connected.link == link)
    }

    fn connect(&mut self, listener: u64, link: u32, wanted: Option<Wanted>, out: &mpsc::Sender<Vec<u8>>) -> Result<(), Refusal> {
        if self.reach == Reach::OutOfReach {
            return Err(Refusal::OutOfReach);
        }
        if self.connected.as_ref().is_some_and(|connected| connected.listener != listener) {
            return Err(Refusal::Busy);
        }
        let mut fits = true;
        self.seal.with(&mut |seal| {
            let ports = seal.ports();
            let has = Wanted { service: ports.service.into_bytes(), write: ports.write.into_bytes(), notify: ports.notify.into_bytes() };
            fits = wanted.is_none_or(|wanted| wanted == has);
            if fits {
                seal.connected();
            }
        });
        if !fits {
            return Err(Refusal::NoPorts);
        }
        self.connected = Some(Connected { listener, link, writes: 0, out: out.clone() });
        Ok(())
    }

    fn write(&mut self, ask: u32, bytes: &[u8]) {
        let (mut notifications, mut att_error, mut dropped) = (Vec::new(), None, false);
        self.seal.with(&mut |seal| {
            notifications = seal.written(bytes);
            att_error = seal.att_error();
            dropped = seal.dropped();
        });
        let Some(connected) = self.connected.as_mut() else { return };
        connected.writes += 1;
        let link = connected.link;
        let lost = match self.reach {
            Reach::Near | Reach::OutOfReach => false,
            Reach::LostAfterWrites => true,
            Reach::LostAfterTheSecondWrite => connected.writes >= 2,
        };
        if lost || dropped {
            connected.tell(Told::Lost { link });
            self.connected = None;
            return;
        }
        connected.tell(Told::Written { link, ask, att_error });
        for bytes in notifications {
            connected.tell(Told::Notified { link, bytes });
        }
    }
}

impl Connected {
    fn tell(&self, told: Told) {
        say(&self.out, told);
    }
}

/// A listener that does not take its answers loses them, as on the air.
fn say(out: &mpsc::Sender<Vec<u8>>, told: Told) {
    if let Ok(bytes) = wire::tell(told) {
        let _ = out.try_send(bytes);
    }
}
