//! A simulated seal before the gate, as a test holds it.

use std::{fmt, time::Duration};

use segel_drivers::MacAddress;
use uuid::Uuid;

use super::{
    book::{Counts, Written},
    fault::{Answer, ConnectFault, NotifyFault, Times, WriteFault},
    path,
    seal::Seal,
    serve::Shared,
    world::Rule,
};

/// A simulated seal before the gate.
#[derive(Clone)]
pub struct SealAt {
    pub(super) shared: Shared,
    pub(super) address: MacAddress,
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
