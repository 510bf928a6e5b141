//! The emulated stage: seals of the drivers' own simulation before an emulated BlueZ on a private bus.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use segel_drivers::{
    LockClaim, MacAddress, SealKey, SealReading,
    ble::{AdapterName, KnownSeal, Payload},
    sim::{EmulatedSeal, SimLock, SimPorts},
};
use uuid::Uuid;

use super::{Life, Stage, StagedSeal, WriteFate};
use crate::bluez::{Bluez, Bus, ConnectFault, Delivered, NotifyFault, SealAt, Times, WriteFault};

/// How often each seal advertises.
const EVERY: Duration = Duration::from_millis(100);
/// The adapter of the stage.
const ADAPTER: &str = "hci0";
/// Beacons in the clear, and with a key.
const BEACONS: (u8, u8) = (3, 2);

/// The emulated stage.
#[derive(Debug)]
pub struct Emulated {
    bluez: Bluez,
    beacons: Vec<StagedSeal>,
    seals: Vec<StagedSeal>,
    at: HashMap<MacAddress, SealAt>,
    locks: HashMap<MacAddress, Lock>,
    _bus: Bus,
}

/// A simulated seal that can be asked past the radio.
#[derive(Clone)]
struct Lock(Arc<Mutex<dyn SimLock>>);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

impl Emulated {
    /// An emulated BlueZ on this bus, with beacons before it.
    ///
    /// # Errors
    /// When the bus does not take it.
    pub fn on(bus: Bus) -> anyhow::Result<Self> {
        let bluez = Bluez::start(&bus.address)?;
        let mut stage =
            Self { bluez, beacons: Vec::new(), seals: Vec::new(), at: HashMap::new(), locks: HashMap::new(), _bus: bus };
        for number in 0..BEACONS.0 + BEACONS.1 {
            let address = MacAddress([0xC0, 0xDE, 0x0B, 0, 0, number + 1]);
            let key = (number >= BEACONS.0).then(|| SealKey::new([number; 16]));
            stage.add(Beacon(EmulatedSeal::new(address, key.clone())));
            stage.beacons.push(StagedSeal { address, known: KnownSeal::bthome(format!("BTH-{number}").parse()?, key) });
        }
        Ok(stage)
    }

    fn add(&mut self, lock: impl SimLock) {
        let address = lock.address();
        let lock: Arc<Mutex<dyn SimLock>> = Arc::new(Mutex::new(lock));
        let at = self.bluez.add(Arc::clone(&lock));
        at.advertises_every(EVERY);
        self.at.insert(address, at);
        self.locks.insert(address, Lock(lock));
    }

    fn at(&self, seal: MacAddress) -> anyhow::Result<&SealAt> {
        self.at.get(&seal).with_context(|| format!("{seal} stands on no stage"))
    }
}

impl Stage for Emulated {
    fn adapter(&self) -> AdapterName {
        AdapterName::Kernel(ADAPTER.to_owned())
    }

    fn beacons(&self) -> Vec<StagedSeal> {
        self.beacons.clone()
    }

    fn seals(&self) -> Vec<StagedSeal> {
        self.seals.clone()
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        // Each scenario has an emulated BlueZ of its own, in a process of its own.
        Ok(())
    }

    async fn next_write(&mut self, seal: MacAddress, fate: WriteFate) -> anyhow::Result<()> {
        let at = self.at(seal)?;
        let once = Times::Next(1);
        match fate {
            WriteFate::Att(code) => at.writing_meets(WriteFault::AttError(code), once),
            WriteFate::LostBefore => at.writing_meets(WriteFault::LinkLost(Delivered::No), once),
            WriteFate::LostAfter => at.writing_meets(WriteFault::LinkLost(Delivered::Yes), once),
            WriteFate::LostBeforeReply => at.writing_meets(WriteFault::LinkLostAfterwards, once),
            WriteFate::Unanswered => at.writing_meets(WriteFault::Unanswered(Delivered::No), once),
            WriteFate::Mute => at.notifying_meets(NotifyFault::Lost, once),
            WriteFate::Twice => at.notifying_meets(NotifyFault::Twice, once),
            WriteFate::Late(milliseconds) => at.notifying_meets(NotifyFault::Late(Duration::from_millis(milliseconds.into())), once),
        }
        Ok(())
    }

    async fn vanish_while_connecting(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.at(seal)?.connecting_meets(ConnectFault::LostBeforeServices, Times::Next(1));
        Ok(())
    }

    async fn take_away(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.at(seal)?.goes_away();
        Ok(())
    }

    async fn bring_back(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.at(seal)?.comes_back();
        Ok(())
    }

    async fn dullest_duplicate_filter(&mut self) -> anyhow::Result<()> {
        bail!("the emulated adapter filters no duplicates; this is for the real stage")
    }

    async fn power_off(&mut self) -> anyhow::Result<()> {
        self.bluez.hci0().power_off();
        Ok(())
    }

    async fn pull(&mut self) -> anyhow::Result<()> {
        self.bluez.hci0().pull();
        Ok(())
    }

    async fn plug(&mut self) -> anyhow::Result<()> {
        self.bluez.hci0().put_back(ADAPTER);
        Ok(())
    }

    async fn kill_bluez(&mut self) -> anyhow::Result<()> {
        Ok(self.bluez.dies()?)
    }

    async fn start_bluez(&mut self) -> anyhow::Result<()> {
        Ok(self.bluez.returns()?)
    }

    async fn life(&mut self, seal: MacAddress) -> anyhow::Result<Life> {
        let at = self.at(seal)?;
        let (counts, connected) = (at.counts(), at.is_linked());
        let lock = self.locks.get(&seal).context("a seal of this stage")?.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (openings, closings) = (lock.openings(), lock.closings());
        Ok(Life { connections: counts.links, writes: counts.writes, openings, closings, connected })
    }
}

/// A BTHome seal as one that could be connected to, and has nothing to connect to.
struct Beacon(EmulatedSeal);

impl SimLock for Beacon {
    fn address(&self) -> MacAddress {
        self.0.address
    }

    fn name(&self) -> Option<String> {
        None
    }

    fn ports(&self) -> SimPorts {
        SimPorts { service: Uuid::nil(), write: Uuid::nil(), notify: Uuid::nil() }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        let reading = SealReading { lock: Some(LockClaim::Locked), battery_percent: Some(93), ..SealReading::default() };
        vec![self.0.advertise(&reading).payload]
    }

    fn connected(&mut self) {}

    fn written(&mut self, _: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn value(&self) -> Vec<u8> {
        Vec::new()
    }

    fn openings(&self) -> u32 {
        0
    }

    fn closings(&self) -> u32 {
        0
    }
}
