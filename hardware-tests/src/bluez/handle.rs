//! What a test holds: the emulated BlueZ; [`Hci`] and [`SealAt`] are its adapters and the seals before it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use segel_drivers::{MacAddress, ble::Payload, sim::SimLock};
use uuid::Uuid;

use super::{
    adapter::Adapter,
    air::Advert,
    book::Written,
    fault::{Answer, Times},
    hci::Hci,
    rules::Rules,
    seal::Seal,
    seal_at::SealAt,
    serve::{BluezError, Daemon, Shared},
    world::{Pace, Rule, World},
};

/// The first adapter of every emulated BlueZ, by its kernel name.
const FIRST: &str = "hci0";
/// Its address.
const FIRST_ADDRESS: MacAddress = MacAddress([0x00, 0x11, 0x22, 0x33, 0x44, 0x55]);

/// The emulated BlueZ, until it is dropped.
pub struct Bluez {
    daemon: Daemon,
    shared: Shared,
    rules: Rules,
}

impl fmt::Debug for Bluez {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bluez").finish_non_exhaustive()
    }
}

impl Bluez {
    /// Takes the name `org.bluez` on the bus at `address`, with the adapter hci0, 00:11:22:33:44:55, switched off.
    ///
    /// # Errors
    /// When the bus does not take it.
    pub fn start(address: &str) -> Result<Self, BluezError> {
        let rules = Rules::default();
        let (daemon, shared) = Daemon::spawn(address, rules.clone())?;
        shared.world().adapters.push(Adapter::new(FIRST, FIRST_ADDRESS));
        daemon.live()?;
        Ok(Self { daemon, shared, rules })
    }

    /// bluetoothd dies: its name is released, its objects are gone, its links are lost.
    ///
    /// # Errors
    /// When the emulator itself has failed.
    pub fn dies(&self) -> Result<(), BluezError> {
        self.daemon.die()
    }

    /// bluetoothd runs again, with the adapters that are plugged in and no devices; also after the bus itself died.
    ///
    /// # Errors
    /// When the bus does not take it.
    pub fn returns(&self) -> Result<(), BluezError> {
        self.daemon.live()
    }

    /// Sets how long things take.
    pub fn pace(&self, set: impl FnOnce(&mut Pace)) {
        set(&mut self.shared.world().pace);
    }

    /// Plugs in one more adapter, switched off.
    pub fn plug_in(&self, name: &str, address: MacAddress) -> Hci {
        let mut world = self.shared.world();
        world.adapters.push(Adapter::new(name, address));
        let place = world.adapters.len() - 1;
        world.announce(place);
        drop(world);
        Hci { shared: self.shared.clone(), address }
    }

    /// The first adapter.
    #[must_use]
    pub fn hci0(&self) -> Hci {
        Hci { shared: self.shared.clone(), address: FIRST_ADDRESS }
    }

    /// Puts a simulated seal before the gate. It advertises when it is told to. The lock of the seal must not be held
    /// while anything is asked of the emulator.
    pub fn add(&self, lock: Arc<Mutex<dyn SimLock>>) -> SealAt {
        let seal = Seal::new(lock);
        let address = seal.lock().address();
        self.shared.world().seals.insert(address, seal);
        SealAt { shared: self.shared.clone(), address }
    }

    /// An advertisement of whoever it is, heard by every adapter that scans; by how many.
    pub fn hears(&self, from: MacAddress, rssi: i16, carries: &[Payload]) -> usize {
        self.shared.world().on_air(&raw(from, rssi, carries), None)
    }

    /// An advertisement that lists service UUIDs as well, which is what the filter of a scan looks at.
    pub fn hears_listing(&self, from: MacAddress, rssi: i16, lists: &[Uuid], carries: &[Payload]) -> usize {
        let advert = Advert { lists: lists.to_vec(), ..raw(from, rssi, carries) };
        self.shared.world().on_air(&advert, None)
    }

    /// What is answered to calls of `member`, wherever.
    pub fn answers(&self, member: &str, answer: Answer, times: Times) {
        let rule = Rule { member: member.to_owned(), beneath: String::new(), answer };
        self.shared.world().rules.arm(rule, times);
    }

    /// Takes back everything said with `answers`, here and on adapters and seals.
    pub fn answers_again(&self) {
        self.shared.world().rules.disarm();
    }

    /// Every write since the beginning, in the order BlueZ got them.
    #[must_use]
    pub fn writes(&self) -> Vec<Written> {
        self.shared.world().book.writes.clone()
    }

    /// How often each member was called.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u32> {
        self.shared.world().book.calls.clone()
    }

    /// How often `member` was called.
    #[must_use]
    pub fn called(&self, member: &str) -> u32 {
        self.shared.world().book.calls.get(member).copied().unwrap_or_default()
    }

    /// Advertisements that reached a client, and those that did not because nothing scanned.
    #[must_use]
    pub fn heard_and_unheard(&self) -> (u64, u64) {
        let world = self.shared.world();
        (world.book.heard, world.book.unheard)
    }

    /// The match rules the clients of the bus hold.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How many links are open now.
    #[must_use]
    pub fn links(&self) -> usize {
        links(&self.shared.world(), |_| true)
    }
}

pub(super) fn links(world: &World, of: impl Fn(&Adapter) -> bool) -> usize {
    let devices = world.adapters.iter().filter(|adapter| of(adapter)).flat_map(|adapter| adapter.devices.values());
    devices.filter(|device| device.link.is_some()).count()
}

/// An advertisement of nobody the emulator knows.
pub(super) fn raw(from: MacAddress, rssi: i16, carries: &[Payload]) -> Advert {
    Advert { from, name: None, rssi, lists: Vec::new(), carries: carries.to_vec() }
}
