//! One adapter, as a test holds it.

use std::{fmt, time::Instant};

use segel_drivers::{MacAddress, ble::Payload};

use super::{
    adapter::Adapter,
    device::Device,
    fault::{Answer, Times},
    handle::{links, raw},
    path,
    serve::Shared,
    world::Rule,
};

/// One adapter.
#[derive(Clone)]
pub struct Hci {
    pub(super) shared: Shared,
    pub(super) address: MacAddress,
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
