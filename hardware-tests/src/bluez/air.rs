//! Advertisements, from an antenna to the bus.

use std::time::{Duration, Instant};

use segel_drivers::{MacAddress, ble::Payload};
use uuid::Uuid;

use super::{
    device::Device,
    path,
    wire::{self, DEVICE, Props, changed, text, texts},
    world::World,
};

/// Without `DuplicateData`, a signal strength is told of only when it changed by so much, in dBm.
const STRENGTH_STEP: u16 = 8;

/// One advertisement.
#[derive(Debug, Clone)]
pub(super) struct Advert {
    pub(super) from: MacAddress,
    pub(super) name: Option<String>,
    /// In dBm.
    pub(super) rssi: i16,
    /// The service UUIDs it lists.
    pub(super) lists: Vec<Uuid>,
    pub(super) carries: Vec<Payload>,
}

impl Advert {
    /// Notes it in what is known of its sender; what is to be told. Data is told of each time where duplicates are
    /// wanted, else when it changed.
    pub(super) fn apply(self, device: &mut Device, duplicates: bool) -> Props {
        let mut news = Props::new();
        let before = (device.service_data.clone(), device.manufacturer_data.clone());
        let has_service_data = self.carries.iter().any(|part| matches!(part, Payload::ServiceData { .. }));
        let has_manufacturer_data = self.carries.iter().any(|part| matches!(part, Payload::ManufacturerData { .. }));
        if has_service_data {
            device.service_data.clear();
        }
        if has_manufacturer_data {
            device.manufacturer_data.clear();
        }
        for part in self.carries {
            match part {
                Payload::Bare => {}
                Payload::ServiceData { uuid, bytes } => drop(device.service_data.insert(uuid, bytes)),
                Payload::ManufacturerData { company, bytes } => drop(device.manufacturer_data.insert(company, bytes)),
            }
        }
        if has_service_data && (duplicates || before.0 != device.service_data) {
            news.insert("ServiceData", wire::service_data(&device.service_data));
        }
        if has_manufacturer_data && (duplicates || before.1 != device.manufacturer_data) {
            news.insert("ManufacturerData", wire::manufacturer_data(&device.manufacturer_data));
        }
        if duplicates || device.rssi.is_none_or(|rssi| rssi.abs_diff(self.rssi) >= STRENGTH_STEP) {
            news.insert("RSSI", self.rssi.into());
            device.rssi = Some(self.rssi);
        }
        if self.name.is_some() && self.name != device.name {
            device.name = self.name;
            news.extend(device.name.as_ref().map(|name| ("Name", text(name))));
        }
        let unknown: Vec<_> = self.lists.into_iter().filter(|uuid| !device.uuids.contains(uuid)).collect();
        if !unknown.is_empty() {
            device.uuids.extend(unknown);
            news.insert("UUIDs", texts(&device.uuids));
        }
        device.heard = Instant::now();
        news
    }
}

impl World {
    /// An advertisement is sent; how many adapters heard it. With `only`, no other can.
    pub(super) fn on_air(&mut self, advert: &Advert, only: Option<MacAddress>) -> usize {
        let wanted = |uuids: &[Uuid]| uuids.is_empty() || uuids.iter().any(|uuid| advert.lists.contains(uuid));
        let hearing = self.adapters.iter().filter(|adapter| adapter.plugged && adapter.powered);
        let hearing = hearing.filter(|adapter| only.is_none_or(|only| only == adapter.address));
        // bluetoothd tells every client of what any of them wants
        let hearing = hearing.filter(|adapter| adapter.scans.values().any(|filter| wanted(&filter.uuids)));
        let hearing: Vec<_> =
            hearing.map(|adapter| (adapter.name.clone(), adapter.scans.values().any(|filter| filter.duplicates))).collect();
        for (name, duplicates) in &hearing {
            self.on_heard(name, advert.clone(), *duplicates);
        }
        let count = if hearing.is_empty() { &mut self.book.unheard } else { &mut self.book.heard };
        *count += 1;
        hearing.len()
    }

    fn on_heard(&mut self, name: &str, advert: Advert, duplicates: bool) {
        let from = advert.from;
        if let Ok(device) = self.device(name, from) {
            let news = advert.apply(device, duplicates);
            if !news.is_empty() {
                self.send(changed(&path::device(name, from), DEVICE, &news, &[]));
            }
            return;
        }
        let mut device = Device::new();
        advert.apply(&mut device, true);
        self.add_device(name, from, device);
    }

    /// A simulated seal sends its next advertisement, if it can be heard at all; one with a link does not advertise.
    pub(super) fn advertise(&mut self, from: MacAddress) -> usize {
        let Some(seal) = self.seals.get(&from) else { return 0 };
        if !seal.present || seal.linked.is_some() {
            return 0;
        }
        let (name, carries) = {
            let mut lock = seal.lock();
            (lock.name(), lock.advertise())
        };
        let advert = Advert { from, name, rssi: seal.rssi, lists: seal.lists.clone(), carries };
        self.on_air(&advert, None)
    }

    /// A simulated seal advertises by itself from now on.
    pub(super) fn keep_advertising(&mut self, from: MacAddress, turn: u64) {
        let Some(every) = self.seals.get(&from).filter(|seal| seal.turn == turn).and_then(|seal| seal.every) else { return };
        self.advertise(from);
        self.whatever_comes(every.max(Duration::from_millis(1)), move |world| world.keep_advertising(from, turn));
    }
}
