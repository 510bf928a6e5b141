//! Adapters: their power, their scans, and the objects of everything beneath them.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use segel_drivers::MacAddress;
use uuid::Uuid;
use zbus::{ObjectPath, OwnedVariant};

use super::{
    device::Device,
    path::{self, Place},
    wire::{self, ADAPTER, DEVICE, Interfaces, Props, added, changed, introspection, removed, text},
    world::{Refusal, Ticket, World},
};

/// What a client wants to hear of.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) uuids: Vec<Uuid>,
    pub(super) duplicates: bool,
}

/// One adapter.
#[derive(Debug)]
pub(super) struct Adapter {
    pub(super) name: String,
    pub(super) address: MacAddress,
    pub(super) plugged: bool,
    pub(super) powered: bool,
    filters: BTreeMap<String, Filter>,
    /// The clients that scan, and with which filter.
    pub(super) scans: BTreeMap<String, Filter>,
    pub(super) devices: BTreeMap<MacAddress, Device>,
    /// How often a scan was begun.
    pub(super) begun: u32,
    /// When the last one was.
    pub(super) begun_at: Option<Instant>,
}

impl Adapter {
    pub(super) fn new(name: &str, address: MacAddress) -> Self {
        Self {
            name: name.to_owned(),
            address,
            plugged: true,
            powered: false,
            filters: BTreeMap::new(),
            scans: BTreeMap::new(),
            devices: BTreeMap::new(),
            begun: 0,
            begun_at: None,
        }
    }

    /// Everything bluetoothd knew of it is gone.
    pub(super) fn forget(&mut self) {
        self.powered = false;
        self.filters.clear();
        self.scans.clear();
        self.devices.clear();
    }

    fn properties(&self) -> Props {
        Props::from([
            ("Address", text(&self.address.to_string())),
            ("AddressType", text("public")),
            ("Name", text("gate")),
            ("Alias", text("gate")),
            ("Modalias", text("usb:v1D6Bp0246d0542")),
            ("Powered", self.powered.into()),
            ("Discovering", (!self.scans.is_empty()).into()),
        ])
    }
}

impl World {
    pub(super) fn adapter(&mut self, name: &str) -> Result<&mut Adapter, Refusal> {
        self.adapters.iter_mut().find(|adapter| adapter.plugged && adapter.name == name).ok_or_else(Refusal::no_object)
    }

    /// The adapter with this address, plugged in or not.
    pub(super) fn adapter_with(&mut self, address: MacAddress) -> Option<&mut Adapter> {
        self.adapters.iter_mut().find(|adapter| adapter.address == address)
    }

    /// Tells of an adapter that is there.
    pub(super) fn announce(&mut self, place: usize) {
        let adapter = &self.adapters[place];
        if adapter.plugged {
            let signal = added(&path::adapter(&adapter.name), &Interfaces::from([(ADAPTER, adapter.properties())]));
            self.send(signal);
        }
    }

    pub(super) fn objects(&mut self) -> HashMap<ObjectPath<'static>, Interfaces> {
        let mut objects = HashMap::new();
        for adapter in self.adapters.iter().filter(|adapter| adapter.plugged) {
            objects.insert(wire::path(&path::adapter(&adapter.name)), Interfaces::from([(ADAPTER, adapter.properties())]));
            for (address, device) in &adapter.devices {
                let at = path::device(&adapter.name, *address);
                objects.insert(wire::path(&at), Interfaces::from([(DEVICE, device.properties(&adapter.name, *address))]));
                for attribute in &device.gatt {
                    objects.insert(wire::path(&format!("{at}/{}", attribute.path)), attribute.interfaces(&at));
                }
            }
        }
        objects
    }

    fn object(&mut self, place: &Place) -> Result<Interfaces, Refusal> {
        match place {
            Place::Root | Place::Nowhere => Err(Refusal::no_object()),
            Place::Adapter(name) => Ok(Interfaces::from([(ADAPTER, self.adapter(name)?.properties())])),
            Place::Device(name, address) => Ok(Interfaces::from([(DEVICE, self.device(name, *address)?.properties(name, *address))])),
            Place::Gatt(name, address, handle) => {
                Ok(self.device(name, *address)?.attribute(*handle)?.interfaces(&path::device(name, *address)))
            }
        }
    }

    pub(super) fn on_get_all(&mut self, ticket: &Ticket, place: &Place) -> Result<(), Refusal> {
        let (interface,) = ticket.arguments::<(String,)>()?;
        let mut object = self.object(place)?;
        let props = object.remove(interface.as_str()).ok_or_else(Refusal::no_object)?;
        self.reply(ticket, &props);
        Ok(())
    }

    pub(super) fn on_get(&mut self, ticket: &Ticket, place: &Place) -> Result<(), Refusal> {
        let (interface, property) = ticket.arguments::<(String, String)>()?;
        let mut object = self.object(place)?;
        let value = object.get_mut(interface.as_str()).and_then(|props| props.remove(property.as_str()));
        let value = value.ok_or_else(|| Refusal::new("org.freedesktop.DBus.Error.InvalidArgs", "No such property"))?;
        self.reply(ticket, &value);
        Ok(())
    }

    pub(super) fn on_introspect(&mut self, ticket: &Ticket, place: &Place) -> Result<(), Refusal> {
        let interfaces = self.object(place)?;
        let (device, beneath) = match place {
            Place::Device(name, address) => (Some(self.device(name, *address)?), String::new()),
            Place::Gatt(name, address, handle) => {
                let device = self.device(name, *address)?;
                let beneath = format!("{}/", device.attribute(*handle)?.path);
                (Some(device), beneath)
            }
            _ => (None, String::new()),
        };
        let gatt = device.iter().flat_map(|device| &device.gatt).filter_map(|attribute| attribute.path.strip_prefix(&beneath));
        let nodes: Vec<_> = gatt.filter(|rest| !rest.is_empty() && !rest.contains('/')).map(str::to_owned).collect();
        let text = introspection(&interfaces.keys().copied().collect::<Vec<_>>(), &nodes);
        self.reply(ticket, &text);
        Ok(())
    }

    pub(super) fn on_adapter_call(&mut self, ticket: &Ticket, name: &str, member: &str) -> Result<(), Refusal> {
        let client = ticket.client();
        let adapter = self.adapter(name)?;
        match member {
            "Set" => {
                let (_, property, value) = ticket.arguments::<(String, String, OwnedVariant)>()?;
                if property != "Powered" {
                    return Err(Refusal::new("org.freedesktop.DBus.Error.PropertyReadOnly", "it cannot be set here"));
                }
                let on = bool::try_from(value).map_err(|_| Refusal::new("org.freedesktop.DBus.Error.InvalidArgs", "no boolean"))?;
                self.power(name, on);
            }
            "SetDiscoveryFilter" => {
                let (mut wanted,) = ticket.arguments::<(HashMap<String, OwnedVariant>,)>()?;
                let uuids = wanted.remove("UUIDs").and_then(|uuids| Vec::<String>::try_from(uuids).ok()).unwrap_or_default();
                let duplicates = wanted.remove("DuplicateData").is_some_and(|wish| bool::try_from(wish).unwrap_or(false));
                let uuids = uuids.iter().filter_map(|uuid| uuid.parse().ok()).collect();
                adapter.filters.insert(client, Filter { uuids, duplicates });
            }
            "StartDiscovery" => {
                if !adapter.powered {
                    return Err(Refusal::not_ready());
                }
                if adapter.scans.contains_key(&client) {
                    return Err(Refusal::in_progress("Operation already in progress"));
                }
                let filter = adapter.filters.get(&client).cloned().unwrap_or_default();
                adapter.scans.insert(client, filter);
                adapter.begun += 1;
                adapter.begun_at = Some(Instant::now());
                if adapter.scans.len() == 1 {
                    let signal = changed(&path::adapter(name), ADAPTER, &Props::from([("Discovering", true.into())]), &[]);
                    self.send(signal);
                }
            }
            "StopDiscovery" => {
                if !adapter.scans.contains_key(&client) {
                    return Err(Refusal::failed("No discovery started"));
                }
                self.stop_scan(name, &client);
            }
            _ => return Err(Refusal::new("org.freedesktop.DBus.Error.UnknownMethod", "no such method on that adapter")),
        }
        self.reply(ticket, &());
        Ok(())
    }

    /// One client scans no more; with the last, the signal strengths are gone.
    fn stop_scan(&mut self, name: &str, client: &str) {
        let Ok(adapter) = self.adapter(name) else { return };
        if adapter.scans.remove(client).is_none() || !adapter.scans.is_empty() {
            return;
        }
        let signal = changed(&path::adapter(name), ADAPTER, &Props::from([("Discovering", false.into())]), &[]);
        self.send(signal);
        self.forget_strengths(name);
    }

    fn forget_strengths(&mut self, name: &str) {
        let Ok(adapter) = self.adapter(name) else { return };
        let heard: Vec<_> = adapter.devices.iter_mut().filter_map(|(address, device)| device.rssi.take().map(|_| *address)).collect();
        for address in heard {
            let signal = changed(&path::device(name, address), DEVICE, &Props::new(), &["RSSI"]);
            self.send(signal);
        }
    }

    /// Whoever leaves the bus scans no more and is notified of nothing; links stay.
    pub(super) fn on_client_gone(&mut self, client: &str) {
        let names: Vec<_> = self.adapters.iter().map(|adapter| adapter.name.clone()).collect();
        for name in names {
            self.stop_scan(&name, client);
            let Ok(adapter) = self.adapter(&name) else { continue };
            adapter.filters.remove(client);
            adapter.devices.values_mut().for_each(|device| device.forget_client(client));
        }
    }

    /// Switches an adapter on or off; off, its links are lost and its scans ended.
    pub(super) fn power(&mut self, name: &str, on: bool) {
        let Ok(adapter) = self.adapter(name) else { return };
        if adapter.powered == on {
            return;
        }
        adapter.powered = on;
        let mut news = Props::from([("Powered", on.into())]);
        if !on {
            if !std::mem::take(&mut adapter.scans).is_empty() {
                news.insert("Discovering", false.into());
            }
            let devices: Vec<_> = adapter.devices.keys().copied().collect();
            for address in devices {
                self.give_up(name, address);
                self.end_link(name, address, None);
            }
            self.forget_strengths(name);
        }
        self.send(changed(&path::adapter(name), ADAPTER, &news, &[]));
    }

    /// Pulls an adapter: first it is off, then its objects go, those of its devices first.
    pub(super) fn pull(&mut self, address: MacAddress) {
        let Some(adapter) = self.adapter_with(address).filter(|adapter| adapter.plugged) else { return };
        let name = adapter.name.clone();
        self.power(&name, false);
        let Ok(adapter) = self.adapter(&name) else { return };
        let devices: Vec<_> = adapter.devices.keys().copied().collect();
        for device in devices {
            self.remove_device(&name, device);
        }
        if let Some(adapter) = self.adapter_with(address) {
            adapter.forget();
            adapter.plugged = false;
        }
        self.send(removed(&path::adapter(&name), &[ADAPTER]));
    }

    /// Puts an adapter back, switched off, perhaps under another name.
    pub(super) fn put_back(&mut self, address: MacAddress, name: &str) {
        let Some(place) = self.adapters.iter().position(|adapter| adapter.address == address && !adapter.plugged) else { return };
        self.adapters[place].plugged = true;
        name.clone_into(&mut self.adapters[place].name);
        self.announce(place);
    }
}
