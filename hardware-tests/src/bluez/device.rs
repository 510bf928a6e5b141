//! Devices as bluetoothd knows them, and the links to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use segel_drivers::{MacAddress, ble::air::uuid16};
use uuid::Uuid;

use super::{
    fault::{ConnectFault, att_error},
    gatt::{self, Attribute},
    path,
    wire::{self, DEVICE, Interfaces, Props, added, changed, object, removed, text, texts},
    world::{Refusal, Ticket, World},
};

/// How often a connection attempt looks whether its seal can be heard by now.
const SOUGHT_EVERY: Duration = Duration::from_millis(5);

/// An operation on a link that was not answered yet.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) number: u64,
    pub(super) handle: u16,
    pub(super) ticket: Ticket,
}

/// A link to a seal.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) operations: Vec<Operation>,
    /// Who is notified of which characteristic.
    pub(super) notified: BTreeMap<u16, BTreeSet<String>>,
}

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Option<String>,
    pub(super) rssi: Option<i16>,
    pub(super) uuids: Vec<Uuid>,
    pub(super) service_data: BTreeMap<Uuid, Vec<u8>>,
    pub(super) manufacturer_data: BTreeMap<u16, Vec<u8>>,
    /// Its objects, once its services were resolved; they stay.
    pub(super) gatt: Vec<Attribute>,
    pub(super) link: Option<Link>,
    resolved: bool,
    connecting: Option<(u64, Ticket)>,
    disconnecting: bool,
    /// When the last link ended.
    ended: Option<Instant>,
    /// When it was heard last.
    pub(super) heard: Instant,
}

impl Device {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            rssi: None,
            uuids: Vec::new(),
            service_data: BTreeMap::new(),
            manufacturer_data: BTreeMap::new(),
            gatt: Vec::new(),
            link: None,
            resolved: false,
            connecting: None,
            disconnecting: false,
            ended: None,
            heard: Instant::now(),
        }
    }

    /// Whether its object may not go.
    pub(super) fn is_busy(&self) -> bool {
        self.link.is_some() || self.connecting.is_some()
    }

    pub(super) fn attribute(&self, handle: u16) -> Result<&Attribute, Refusal> {
        self.gatt.iter().find(|attribute| attribute.handle == handle).ok_or_else(Refusal::no_object)
    }

    pub(super) fn forget_client(&mut self, client: &str) {
        if let Some(link) = &mut self.link {
            link.notified.values_mut().for_each(|clients| {
                clients.remove(client);
            });
        }
    }

    /// The library drops a device that lacks any of the first eight in silence.
    pub(super) fn properties(&self, adapter: &str, address: MacAddress) -> Props {
        let alias = self.name.clone().unwrap_or_else(|| address.to_string().replace(':', "-"));
        let mut props = Props::from([
            ("Address", text(&address.to_string())),
            ("AddressType", text("random")),
            ("Paired", false.into()),
            ("Connected", self.link.is_some().into()),
            ("ServicesResolved", self.resolved.into()),
            ("Trusted", false.into()),
            ("Blocked", false.into()),
            ("LegacyPairing", false.into()),
            ("Alias", text(&alias)),
            ("Adapter", object(&path::adapter(adapter))),
            ("UUIDs", texts(&self.uuids)),
        ]);
        props.extend(self.name.as_ref().map(|name| ("Name", text(name))));
        props.extend(self.rssi.map(|rssi| ("RSSI", rssi.into())));
        if !self.service_data.is_empty() {
            props.insert("ServiceData", wire::service_data(&self.service_data));
        }
        if !self.manufacturer_data.is_empty() {
            props.insert("ManufacturerData", wire::manufacturer_data(&self.manufacturer_data));
        }
        props
    }
}

impl World {
    pub(super) fn device(&mut self, adapter: &str, address: MacAddress) -> Result<&mut Device, Refusal> {
        self.adapter(adapter)?.devices.get_mut(&address).ok_or_else(Refusal::no_object)
    }

    fn tell(&mut self, adapter: &str, address: MacAddress, news: &Props) {
        self.send(changed(&path::device(adapter, address), DEVICE, news, &[]));
    }

    pub(super) fn on_connect(&mut self, ticket: &Ticket, name: &str, address: MacAddress) -> Result<(), Refusal> {
        self.book.of(address).connects += 1;
        let settle = self.pace.settle;
        let attempt = self.next_number();
        if !self.adapter(name)?.powered {
            return Err(Refusal::not_ready());
        }
        let device = self.device(name, address)?;
        if device.connecting.is_some() {
            return Err(Refusal::failed("Operation already in progress"));
        }
        if device.disconnecting {
            return Err(Refusal::in_progress("In Progress"));
        }
        if device.link.is_some() {
            self.reply(ticket, &());
            return Ok(());
        }
        if device.ended.is_some_and(|ended| ended.elapsed() < settle) {
            return Err(Refusal::failed("Input/output error"));
        }
        device.connecting = Some((attempt, ticket.clone()));
        // a device without a seal was heard once and never again
        let fault = self.seals.get_mut(&address).map_or(Some(ConnectFault::Never), |seal| seal.connect.strike());
        let name = name.to_owned();
        match fault {
            Some(ConnectFault::Never) => {}
            Some(ConnectFault::Refused(text)) => {
                self.after(self.pace.connect, move |world| {
                    if let Some(ticket) = world.conclude(&name, address, attempt) {
                        world.refuse(&ticket, &Refusal::failed(&text));
                    }
                });
            }
            Some(ConnectFault::Vanishes) => {
                self.after(self.pace.connect, move |world| {
                    if world.conclude(&name, address, attempt).is_some() {
                        world.remove_device(&name, address);
                    }
                });
            }
            Some(ConnectFault::After(wait)) => self.after(wait, move |world| world.seek(&name, address, attempt, None)),
            fault => self.after(self.pace.connect, move |world| world.seek(&name, address, attempt, fault)),
        }
        Ok(())
    }

    /// Ends a connection attempt, if it is still that one; its call waits for its answer.
    fn conclude(&mut self, name: &str, address: MacAddress, attempt: u64) -> Option<Ticket> {
        let connecting = &mut self.device(name, address).ok()?.connecting;
        connecting.take_if(|(number, _)| *number == attempt).map(|(_, ticket)| ticket)
    }

    /// Waits until the seal can be heard and has no other link, then makes one.
    fn seek(&mut self, name: &str, address: MacAddress, attempt: u64, fault: Option<ConnectFault>) {
        let current = self.device(name, address).is_ok_and(|device| matches!(&device.connecting, Some((number, _)) if *number == attempt));
        if !current {
            return;
        }
        if !self.seals.get(&address).is_some_and(|seal| seal.present && seal.linked.is_none()) {
            let name = name.to_owned();
            return self.after(SOUGHT_EVERY, move |world| world.seek(&name, address, attempt, fault));
        }
        let Some(ticket) = self.conclude(name, address, attempt) else { return };
        self.book.of(address).links += 1;
        let number = self.next_number();
        if let Some(seal) = self.seals.get_mut(&address) {
            seal.linked = Some(name.to_owned());
            seal.lock().connected();
        }
        if let Ok(device) = self.device(name, address) {
            device.link = Some(Link { number, operations: Vec::new(), notified: BTreeMap::new() });
        }
        self.tell(name, address, &Props::from([("Connected", true.into())]));
        self.reply(&ticket, &());
        let name = name.to_owned();
        match fault {
            Some(ConnectFault::NeverResolved) => {}
            Some(ConnectFault::LostBeforeServices) => {
                self.after(self.pace.resolve, move |world| world.end_link(&name, address, Some(number)));
            }
            _ => self.after(self.pace.resolve, move |world| world.resolve(&name, address, number)),
        }
    }

    /// The services are known: their objects first, then both properties in one signal.
    fn resolve(&mut self, name: &str, address: MacAddress, link: u64) {
        let Some(ports) = self.seals.get(&address).map(|seal| seal.lock().ports()) else { return };
        let at = path::device(name, address);
        let Ok(device) = self.device(name, address) else { return };
        if device.link.as_ref().is_none_or(|now| now.number != link) {
            return;
        }
        let mut news = Vec::new();
        if device.gatt.is_empty() {
            device.gatt = gatt::table(ports);
            news.extend(device.gatt.iter().map(|attribute| added(&format!("{at}/{}", attribute.path), &attribute.interfaces(&at))));
        }
        for uuid in [uuid16(0x1801), ports.service] {
            if !device.uuids.contains(&uuid) {
                device.uuids.push(uuid);
            }
        }
        device.resolved = true;
        let props = Props::from([("UUIDs", texts(&device.uuids)), ("ServicesResolved", true.into())]);
        news.into_iter().for_each(|signal| self.send(signal));
        self.tell(name, address, &props);
    }

    pub(super) fn on_disconnect(&mut self, ticket: &Ticket, name: &str, address: MacAddress) -> Result<(), Refusal> {
        self.book.of(address).disconnects += 1;
        let device = self.device(name, address)?;
        if device.connecting.is_some() {
            self.give_up(name, address);
            self.reply(ticket, &());
            return Ok(());
        }
        let Some(link) = device.link.as_ref().map(|link| link.number) else {
            return Err(Refusal::new("org.bluez.Error.NotConnected", "Not Connected"));
        };
        device.disconnecting = true;
        let (name, ticket) = (name.to_owned(), ticket.clone());
        self.after(self.pace.disconnect, move |world| {
            world.end_link(&name, address, Some(link));
            if let Ok(device) = world.device(&name, address) {
                device.disconnecting = false;
            }
            world.reply(&ticket, &());
        });
        Ok(())
    }

    /// Gives up a connection attempt, if there is one; the text was not measured.
    pub(super) fn give_up(&mut self, name: &str, address: MacAddress) {
        let given_up = self.device(name, address).ok().and_then(|device| device.connecting.take());
        if let Some((_, ticket)) = given_up {
            self.refuse(&ticket, &Refusal::failed("le-connection-abort-by-local"));
        }
    }

    /// Ends the link, if it is still that one, or whichever it is: what was not answered fails, then the services are
    /// no longer resolved, then the device is no longer connected.
    pub(super) fn end_link(&mut self, name: &str, address: MacAddress, number: Option<u64>) {
        let Ok(device) = self.device(name, address) else { return };
        let Some(link) = device.link.take_if(|link| number.is_none_or(|number| link.number == number)) else { return };
        let resolved = std::mem::take(&mut device.resolved);
        device.ended = Some(Instant::now());
        device.heard = Instant::now();
        self.book.of(address).ended += 1;
        if let Some(seal) = self.seals.get_mut(&address) {
            seal.linked = None;
        }
        for operation in link.operations {
            self.refuse(&operation.ticket, &Refusal::failed(&att_error(0x0E)));
        }
        if resolved {
            self.tell(name, address, &Props::from([("ServicesResolved", false.into())]));
        }
        self.tell(name, address, &Props::from([("Connected", false.into())]));
    }

    /// The device's object goes, with all beneath it; a connection attempt is never answered.
    pub(super) fn remove_device(&mut self, name: &str, address: MacAddress) {
        self.end_link(name, address, None);
        let Ok(adapter) = self.adapter(name) else { return };
        let Some(device) = adapter.devices.remove(&address) else { return };
        let at = path::device(name, address);
        for attribute in device.gatt.iter().rev() {
            self.send(removed(&format!("{at}/{}", attribute.path), &[attribute.interface()]));
        }
        self.send(removed(&at, &[DEVICE]));
    }

    /// A device's object comes.
    pub(super) fn add_device(&mut self, name: &str, address: MacAddress, device: Device) {
        let interfaces = Interfaces::from([(DEVICE, device.properties(name, address))]);
        let Ok(adapter) = self.adapter(name) else { return };
        adapter.devices.insert(address, device);
        self.send(added(&path::device(name, address), &interfaces));
        self.expire(name, address, self.pace.expiry);
    }

    /// Looks after `wait` whether a device was not heard for so long that its object goes.
    fn expire(&mut self, name: &str, address: MacAddress, wait: Duration) {
        let name = name.to_owned();
        self.after(wait, move |world| {
            let expiry = world.pace.expiry;
            let Ok(device) = world.device(&name, address) else { return };
            let (busy, silent) = (device.is_busy(), device.heard.elapsed());
            if !busy && silent >= expiry {
                world.remove_device(&name, address);
            } else {
                world.expire(&name, address, if busy { expiry } else { expiry - silent });
            }
        });
    }
}
