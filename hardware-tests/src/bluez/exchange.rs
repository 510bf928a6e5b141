//! Reading, writing and being notified over a link.

use std::time::Instant;

use segel_drivers::MacAddress;
use zbus::OwnedVariant;

use super::{
    book::{Delivered, WriteKind, Written},
    device::Operation,
    fault::{NotifyFault, WriteFault, att_error},
    gatt::{Use, What},
    path,
    wire::{CHARACTERISTIC, Props, bytes, changed},
    world::{Refusal, Ticket, World},
};

/// The longest value ATT knows, in bytes.
const VALUE_MAX: usize = 512;
/// ATT errors upon which bluetoothd begins to pair: insufficient authentication, insufficient encryption.
const PAIRING: [u8; 2] = [0x05, 0x0F];

/// A device through an adapter.
type Device<'a> = (&'a str, MacAddress);

impl World {
    pub(super) fn on_gatt_call(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16, member: &str) -> Result<(), Refusal> {
        let attribute = self.device(device.0, device.1)?.attribute(handle)?;
        let What::Characteristic(used) = attribute.what else {
            return Err(Refusal::new("org.bluez.Error.NotSupported", "only characteristics are emulated"));
        };
        match member {
            "ReadValue" => self.on_read(ticket, device, handle, used),
            "WriteValue" => self.on_write(ticket, device, handle, used),
            "StartNotify" => self.on_start_notify(ticket, device, handle, used),
            "StopNotify" => self.on_stop_notify(ticket, device, handle),
            _ => Err(Refusal::new("org.freedesktop.DBus.Error.UnknownMethod", "no such method on that characteristic")),
        }
    }

    /// Notes an operation; one at a time on each characteristic. Its number and that of its link.
    fn begin_operation(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16) -> Result<(u64, u64), Refusal> {
        let number = self.next_number();
        let link = self.device(device.0, device.1)?.link.as_mut().ok_or_else(|| Refusal::failed("Not connected"))?;
        if link.operations.iter().any(|operation| operation.handle == handle) {
            return Err(Refusal::in_progress("In Progress"));
        }
        link.operations.push(Operation { number, handle, ticket: ticket.clone() });
        Ok((number, link.number))
    }

    /// Ends an operation; `None` when its link was lost meanwhile.
    fn finish_operation(&mut self, device: Device<'_>, number: u64) -> Option<Ticket> {
        let operations = &mut self.device(device.0, device.1).ok()?.link.as_mut()?.operations;
        let place = operations.iter().position(|operation| operation.number == number)?;
        Some(operations.remove(place).ticket)
    }

    fn on_read(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16, used: Use) -> Result<(), Refusal> {
        if !used.reads() {
            return Err(Refusal::new("org.bluez.Error.NotPermitted", "Read not permitted"));
        }
        let (operation, _) = self.begin_operation(ticket, device, handle)?;
        self.book.of(device.1).reads += 1;
        let (name, address) = (device.0.to_owned(), device.1);
        self.after(self.pace.read, move |world| {
            let Some(ticket) = world.finish_operation((&name, address), operation) else { return };
            let Some(value) = world.seals.get(&address).map(|seal| seal.lock().value()) else { return };
            // what is read is announced as if it had been notified
            world.announce_value((&name, address), handle, &value);
            world.reply(&ticket, &value);
        });
        Ok(())
    }

    fn on_write(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16, used: Use) -> Result<(), Refusal> {
        let (bytes, mut options) = ticket.arguments::<(Vec<u8>, std::collections::HashMap<String, OwnedVariant>)>()?;
        self.book.of(device.1).writes += 1;
        if !used.writes() {
            return Err(Refusal::new("org.bluez.Error.NotPermitted", "Write not permitted"));
        }
        if bytes.len() > VALUE_MAX {
            return Err(Refusal::new("org.bluez.Error.InvalidValueLength", "Invalid Length"));
        }
        let (operation, link) = self.begin_operation(ticket, device, handle)?;
        let kind = options.remove("type").and_then(|kind| String::try_from(kind).ok());
        let kind = if kind.as_deref() == Some("command") { WriteKind::Command } else { WriteKind::Request };
        let (name, address) = (device.0.to_owned(), device.1);
        let record = self.book.writes.len();
        let written = Written { at: Instant::now(), adapter: name.clone(), seal: address, bytes, kind, delivered: Delivered::No };
        self.book.writes.push(written);
        let fault = self.seals.get_mut(&address).and_then(|seal| seal.write.strike());
        self.after(self.pace.write, move |world| world.finish_write((&name, address), (operation, link), record, fault));
        Ok(())
    }

    fn finish_write(&mut self, device: Device<'_>, (operation, link): (u64, u64), record: usize, fault: Option<WriteFault>) {
        let there = self.device(device.0, device.1).is_ok_and(|device| device.link.as_ref().is_some_and(|now| now.number == link));
        if !there {
            return;
        }
        match fault {
            Some(WriteFault::AttError(code)) => {
                let Some(ticket) = self.finish_operation(device, operation) else { return };
                if PAIRING.contains(&code) {
                    let (name, address) = (device.0.to_owned(), device.1);
                    return self.after(self.pace.pairing, move |world| world.remove_device(&name, address));
                }
                self.refuse(&ticket, &Refusal::failed(&att_error(code)));
            }
            Some(WriteFault::LinkLost(delivered)) => {
                if delivered == Delivered::Yes {
                    self.deliver(device, record);
                }
                self.end_link(device.0, device.1, Some(link));
            }
            Some(WriteFault::LinkLostAfterwards) => {
                self.deliver(device, record);
                if let Some(ticket) = self.finish_operation(device, operation) {
                    self.reply(&ticket, &());
                }
                self.end_link(device.0, device.1, Some(link));
            }
            Some(WriteFault::Unanswered(delivered)) => {
                let answers = if delivered == Delivered::Yes { self.deliver(device, record) } else { Vec::new() };
                self.finish_operation(device, operation);
                self.notify(device, link, answers);
            }
            None | Some(WriteFault::Nothing) => {
                let answers = self.deliver(device, record);
                if let Some(ticket) = self.finish_operation(device, operation) {
                    self.reply(&ticket, &());
                }
                self.notify(device, link, answers);
            }
        }
    }

    /// The seal gets the bytes; what it answers.
    fn deliver(&mut self, device: Device<'_>, record: usize) -> Vec<Vec<u8>> {
        let Some(seal) = self.seals.get(&device.1) else { return Vec::new() };
        let Some(written) = self.book.writes.get_mut(record) else { return Vec::new() };
        written.delivered = Delivered::Yes;
        seal.lock().written(&written.bytes)
    }

    /// Sends notifications over a link, as whatever they meet lets them.
    pub(super) fn notify(&mut self, device: Device<'_>, link: u64, mut answers: Vec<Vec<u8>>) {
        if answers.is_empty() {
            return;
        }
        let mut wait = self.pace.notify;
        match self.seals.get_mut(&device.1).and_then(|seal| seal.notify.strike()) {
            None => {}
            Some(NotifyFault::Lost) => answers.clear(),
            Some(NotifyFault::LostOne(lost)) => {
                answers = answers.into_iter().enumerate().filter(|(number, _)| *number != lost).map(|(_, answer)| answer).collect();
            }
            Some(NotifyFault::Twice) => answers = answers.into_iter().flat_map(|answer| [answer.clone(), answer]).collect(),
            Some(NotifyFault::Late(late)) => wait = late,
            Some(NotifyFault::Merged) => {
                answers.drain(..answers.len() - 1);
            }
        }
        let (name, address) = (device.0.to_owned(), device.1);
        self.after(wait, move |world| {
            for answer in &answers {
                world.notify_now((&name, address), link, answer);
            }
        });
    }

    fn notify_now(&mut self, device: Device<'_>, link: u64, value: &[u8]) {
        let Ok(known) = self.device(device.0, device.1) else { return };
        let Some(now) = known.link.as_ref().filter(|now| now.number == link) else { return };
        let own = |handle: &u16| known.attribute(*handle).is_ok_and(|at| matches!(at.what, What::Characteristic(used) if used.reads()));
        let Some(handle) = now.notified.iter().find(|(handle, who)| !who.is_empty() && own(handle)).map(|(handle, _)| *handle) else {
            return;
        };
        self.book.of(device.1).notifications += 1;
        self.announce_value(device, handle, value);
    }

    fn announce_value(&mut self, device: Device<'_>, handle: u16, value: &[u8]) {
        let Ok(known) = self.device(device.0, device.1) else { return };
        let Ok(attribute) = known.attribute(handle) else { return };
        let at = format!("{}/{}", path::device(device.0, device.1), attribute.path);
        self.send(changed(&at, CHARACTERISTIC, &Props::from([("Value", bytes(value))]), &[]));
    }

    fn on_start_notify(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16, used: Use) -> Result<(), Refusal> {
        let link = self.device(device.0, device.1)?.link.as_mut().ok_or_else(|| Refusal::failed("Not connected"))?;
        if used == Use::Write {
            return Err(Refusal::new("org.bluez.Error.NotSupported", "Operation is not supported"));
        }
        if !link.notified.entry(handle).or_default().insert(ticket.client()) {
            return Err(Refusal::in_progress("In Progress"));
        }
        self.reply(ticket, &());
        Ok(())
    }

    fn on_stop_notify(&mut self, ticket: &Ticket, device: Device<'_>, handle: u16) -> Result<(), Refusal> {
        let link = self.device(device.0, device.1)?.link.as_mut();
        let stopped = link.and_then(|link| link.notified.get_mut(&handle)).is_some_and(|who| who.remove(&ticket.client()));
        if !stopped {
            return Err(Refusal::failed("No notify session started"));
        }
        self.reply(ticket, &());
        Ok(())
    }
}
