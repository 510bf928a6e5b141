//! The services of a simulated seal as objects: the Generic Attribute service every peripheral has, and its own.
//!
//! ```text
//!   service0001 1801         char0002 2A05 (indicate)          desc0004 2902
//!   service0010 the seal's   char0011 write
//!                            char0013 notify, read             desc0015 2902
//!   or, where both are one:  char0011 write, notify, read      desc0013 2902
//! ```

use segel_drivers::{ble::air::uuid16, sim::SimPorts};
use uuid::Uuid;

use super::wire::{CHARACTERISTIC, DESCRIPTOR, Interfaces, Props, SERVICE, object, text, texts};

/// The largest packet of the emulated links, in bytes; bluetoothd asks for 517 and gets what the peripheral has.
const MTU: u16 = 247;

/// What a characteristic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Write,
    Notify,
    Both,
    Indicate,
}

impl Use {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Write => &["write", "write-without-response"],
            Self::Notify => &["read", "notify"],
            Self::Both => &["read", "write", "write-without-response", "notify"],
            Self::Indicate => &["indicate"],
        }
    }

    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    pub(super) fn reads(self) -> bool {
        matches!(self, Self::Notify | Self::Both)
    }
}

/// What stands at one handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Service,
    Characteristic(Use),
    Descriptor,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) handle: u16,
    /// Its path beneath the device.
    pub(super) path: String,
    pub(super) uuid: Uuid,
    pub(super) what: What,
}

/// The objects beneath a device, parents first.
pub(super) fn table(ports: SimPorts) -> Vec<Attribute> {
    let mut table = Vec::new();
    service(&mut table, 0x0001, uuid16(0x1801), &[(uuid16(0x2A05), Use::Indicate)]);
    if ports.write == ports.notify {
        service(&mut table, 0x0010, ports.service, &[(ports.write, Use::Both)]);
    } else {
        service(&mut table, 0x0010, ports.service, &[(ports.write, Use::Write), (ports.notify, Use::Notify)]);
    }
    table
}

fn service(table: &mut Vec<Attribute>, handle: u16, uuid: Uuid, characteristics: &[(Uuid, Use)]) {
    let path = format!("service{handle:04x}");
    table.push(Attribute { handle, path: path.clone(), uuid, what: What::Service });
    let mut handle = handle + 1;
    for (uuid, used) in characteristics {
        let path = format!("{path}/char{handle:04x}");
        table.push(Attribute { handle, path: path.clone(), uuid: *uuid, what: What::Characteristic(*used) });
        // the value has a handle of its own, behind that of the declaration
        handle += 2;
        if *used != Use::Write {
            let path = format!("{path}/desc{handle:04x}");
            table.push(Attribute { handle, path, uuid: uuid16(0x2902), what: What::Descriptor });
            handle += 1;
        }
    }
}

impl Attribute {
    pub(super) fn interface(&self) -> &'static str {
        match self.what {
            What::Service => SERVICE,
            What::Characteristic(_) => CHARACTERISTIC,
            What::Descriptor => DESCRIPTOR,
        }
    }

    /// Its interface and properties, beneath the device at `device`.
    pub(super) fn interfaces(&self, device: &str) -> Interfaces {
        let mut props = Props::from([("UUID", text(&self.uuid.to_string())), ("Handle", self.handle.into())]);
        let parent = self.path.rsplit_once('/').map(|(parent, _)| object(&format!("{device}/{parent}")));
        match self.what {
            What::Service => {
                props.insert("Primary", true.into());
                props.insert("Device", object(device));
            }
            What::Characteristic(used) => {
                props.insert("Flags", texts(used.flags()));
                props.insert("MTU", MTU.into());
                props.extend(parent.map(|parent| ("Service", parent)));
            }
            What::Descriptor => props.extend(parent.map(|parent| ("Characteristic", parent))),
        }
        Interfaces::from([(self.interface(), props)])
    }
}
