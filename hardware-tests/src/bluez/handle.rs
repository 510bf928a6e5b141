//! What a test holds: the emulated BlueZ, its adapters, the seals before it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use segel_drivers::{MacAddress, ble::Payload, sim::SimLock};
use uuid::Uuid;

use super::{
    adapter::Adapter,
    air::Advert,
    book::{Counts, Written},
    device::Device,
    fault::{Answer, ConnectFault, NotifyFault, Times, WriteFault},
    path,
    rules::Rules,
    seal::Seal,
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
        self.answers_beneath("", member, answer, times);
    }

    fn answers_beneath(&self, beneath: &str, member: &str, answer: Answer, times: Times) {
        let rule = Rule { member: member.to_owned(), beneath: beneath.to_owned(), answer };
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

    /// The match rules the clients of the bus hold, the emulator's own one among them.
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

fn links(world: &World, of: impl Fn(&Adapter) -> bool) -> usize {
    let devices = world.adapters.iter().filter(|adapter| of(adapter)).flat_map(|adapter| adapter.devices.values());
    devices.filter(|device| device.link.is_some()).count()
}

fn raw(from: MacAddress, rssi: i16, carries: &[Payload]) -> Advert {
    Advert { from, name: None, rssi, lists: Vec::new(), carries: carries.to_vec() }
}

/// One adapter.
#[derive(Clone)]
pub struct Hci {
    shared: Shared,
    address: MacAddress,
}

impl fmt::Debug for Hci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hci").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Hci {
    fn with<T>(&self, of: impl FnOnce(&mut Adapter) -> T) -> Option<T> {
        self.shared.world().adapter_with(self.address).map(of)
    }

    fn name(&self) -> String {
        self.with(|adapter| adapter.name.clone()).unwrap_or_default()
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> MacAddress {
        self.address
    }

    /// Somebody switches it off: its links are lost, its scans end.
    pub fn power_off(&self) {
        let name = self.name();
        self.shared.world().power(&name, false);
    }

    /// It is pulled: first it is off, then its objects go.
    pub fn pull(&self) {
        self.shared.world().pull(self.address);
    }

    /// It is put back, switched off, and the kernel calls it `name` now.
    pub fn put_back(&self, name: &str) {
        self.shared.world().put_back(self.address, name);
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.with(|adapter| adapter.plugged && adapter.powered).unwrap_or_default()
    }

    /// Whether anybody scans with it.
    #[must_use]
    pub fn is_scanning(&self) -> bool {
        self.with(|adapter| !adapter.scans.is_empty()).unwrap_or_default()
    }

    /// How often a scan was begun.
    #[must_use]
    pub fn scans(&self) -> u32 {
        self.with(|adapter| adapter.begun).unwrap_or_default()
    }

    /// When a scan was begun last.
    #[must_use]
    pub fn scanned_at(&self) -> Option<Instant> {
        self.with(|adapter| adapter.begun_at).flatten()
    }

    /// The scan dies in the adapter and nothing is said: bluetoothd still believes in it, and nothing is heard.
    pub fn falls_silent(&self) {
        self.with(|adapter| adapter.scans.clear());
    }

    /// No scan can be begun.
    pub fn refuses_scans(&self, times: Times) {
        let answer = Answer::Error { name: "org.bluez.Error.NotReady".to_owned(), text: "Resource Not Ready".to_owned() };
        self.answers("StartDiscovery", answer, times);
    }

    /// What is answered to calls of `member` on it and everything beneath.
    pub fn answers(&self, member: &str, answer: Answer, times: Times) {
        let rule = Rule { member: member.to_owned(), beneath: path::adapter(&self.name()), answer };
        self.shared.world().rules.arm(rule, times);
    }

    /// An advertisement only this adapter is near enough to hear; whether it did.
    pub fn hears(&self, from: MacAddress, rssi: i16, carries: &[Payload]) -> bool {
        self.shared.world().on_air(&raw(from, rssi, carries), Some(self.address)) > 0
    }

    /// A device that BlueZ remembers and does not hear.
    pub fn remembers(&self, address: MacAddress, carries: &[Payload]) {
        let name = self.name();
        let mut device = Device::new();
        raw(address, 0, carries).apply(&mut device, true);
        device.rssi = None;
        self.shared.world().add_device(&name, address, device);
    }

    /// The devices it has objects for.
    #[must_use]
    pub fn devices(&self) -> Vec<MacAddress> {
        self.with(|adapter| adapter.devices.keys().copied().collect()).unwrap_or_default()
    }

    /// How many links it has open now.
    #[must_use]
    pub fn links(&self) -> usize {
        links(&self.shared.world(), |adapter| adapter.address == self.address)
    }
}

/// A simulated seal before the gate.
#[derive(Clone)]
pub struct SealAt {
    shared: Shared,
    address: MacAddress,
}

impl fmt::Debug for SealAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealAt").field("address", &self.address).finish_non_exhaustive()
    }
}

impl SealAt {
    fn with<T>(&self, of: impl FnOnce(&mut Seal) -> T) -> Option<T> {
        self.shared.world().seals.get_mut(&self.address).map(of)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> MacAddress {
        self.address
    }

    /// Sends its next advertisement; how many adapters heard it. None while it has a link or is away.
    pub fn advertises(&self) -> usize {
        self.shared.world().advertise(self.address)
    }

    /// Advertises by itself, now and every so often, while it is there and has no link.
    pub fn advertises_every(&self, every: Duration) {
        let mut world = self.shared.world();
        let turn = world.next_number();
        if let Some(seal) = world.seals.get_mut(&self.address) {
            (seal.every, seal.turn) = (Some(every), turn);
        }
        world.keep_advertising(self.address, turn);
    }

    /// Advertises no more by itself.
    pub fn falls_silent(&self) {
        self.with(|seal| seal.every = None);
    }

    /// It is heard with this strength, in dBm.
    pub fn heard_with(&self, rssi: i16) {
        self.with(|seal| seal.rssi = rssi);
    }

    /// Its advertisement lists these services.
    pub fn lists(&self, uuids: &[Uuid]) {
        self.with(|seal| seal.lists = uuids.to_vec());
    }

    /// It is carried away: its link is lost, it is not heard, and connecting to it waits.
    pub fn goes_away(&self) {
        self.with(|seal| seal.present = false);
        self.loses_link();
    }

    /// It is there again.
    pub fn comes_back(&self) {
        self.with(|seal| seal.present = true);
    }

    /// Its link is lost now.
    pub fn loses_link(&self) {
        let mut world = self.shared.world();
        if let Some(adapter) = world.seals.get(&self.address).and_then(|seal| seal.linked.clone()) {
            world.end_link(&adapter, self.address, None);
        }
    }

    /// BlueZ forgets it: its object goes from every adapter.
    pub fn vanishes(&self) {
        let mut world = self.shared.world();
        let names: Vec<_> = world.adapters.iter().filter(|adapter| adapter.plugged).map(|adapter| adapter.name.clone()).collect();
        for name in names {
            world.remove_device(&name, self.address);
        }
    }

    /// Notifies of something by itself, if it has a link and somebody asked to be notified.
    pub fn notifies(&self, bytes: &[u8]) {
        let mut world = self.shared.world();
        let Some(adapter) = world.seals.get(&self.address).and_then(|seal| seal.linked.clone()) else { return };
        let link = world.device(&adapter, self.address).ok().and_then(|device| device.link.as_ref().map(|link| link.number));
        if let Some(link) = link {
            world.notify((&adapter, self.address), link, vec![bytes.to_vec()]);
        }
    }

    /// What a connection attempt meets.
    pub fn connecting_meets(&self, fault: ConnectFault, times: Times) {
        self.with(|seal| seal.connect.arm(fault, times));
    }

    /// What a write meets.
    pub fn writing_meets(&self, fault: WriteFault, times: Times) {
        self.with(|seal| seal.write.arm(fault, times));
    }

    /// What the notifications to one write meet.
    pub fn notifying_meets(&self, fault: NotifyFault, times: Times) {
        self.with(|seal| seal.notify.arm(fault, times));
    }

    /// What is answered to calls of `member` on its object and everything beneath, on the adapters that are there.
    pub fn answers(&self, member: &str, answer: &Answer, times: Times) {
        let mut world = self.shared.world();
        let paths: Vec<_> = world.adapters.iter().map(|adapter| path::device(&adapter.name, self.address)).collect();
        for beneath in paths {
            world.rules.arm(Rule { member: member.to_owned(), beneath, answer: answer.clone() }, times);
        }
    }

    /// Nothing goes wrong with it any more.
    pub fn behaves(&self) {
        self.with(|seal| {
            seal.connect.disarm();
            seal.write.disarm();
            seal.notify.disarm();
        });
    }

    /// What was counted of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.world().book.seals.get(&self.address).copied().unwrap_or_default()
    }

    /// What was written to it, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<Written> {
        self.shared.world().book.writes.iter().filter(|written| written.seal == self.address).cloned().collect()
    }

    /// Whether it has a link now.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.with(|seal| seal.linked.is_some()).unwrap_or_default()
    }
}
