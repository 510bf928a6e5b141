//! Where seals and a Bluetooth stack are set up so that a test can break them: one list of scenarios, two stages.
//!
//! ```text
//!   scenario ──► BleScan, sessions, btleplug ──► org.bluez: emulated ........... in every test run
//!      │                                                    bluetoothd, kernel .. nightly, in a guest
//!      └─► Stage: what becomes of the next write, seal gone, adapter off, pulled, BlueZ dead
//! ```
//!
//! What must hold: a scenario speaks to the stage alone, so that it says the same of both; a stage that cannot do what
//! it is told fails the test instead of going on.

mod bus_load;
mod emulated;
mod guest;
mod listening;
pub mod scenarios;

use segel_drivers::{
    MacAddress,
    ble::{AdapterName, KnownSeal},
};

use crate::length::Length;
pub use bus_load::BusLoad;

pub use emulated::Emulated;
pub use guest::Guest;
pub use listening::Listening;

/// A seal that stands there.
#[derive(Debug, Clone)]
pub struct StagedSeal {
    /// Where it is.
    pub address: MacAddress,
    /// What the gate knows of it.
    pub known: KnownSeal,
}

/// What becomes of a write to a seal. The seal gets it in all but `Att`, `LostBefore` and `Unanswered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFate {
    /// All goes well.
    Fine,
    /// The seal refuses it with this ATT error.
    Att(u8),
    /// The link is lost and the seal does not get it.
    LostBefore,
    /// The seal acts on it, and the link is lost before it has answered.
    LostAfter,
    /// The seal acts on it and answers the write; the link is lost before its notification.
    LostBeforeReply,
    /// The seal does not get it, and nobody answers.
    Unanswered,
    /// The notification never comes.
    Mute,
    /// The notification comes twice.
    Twice,
    /// The notification comes so many milliseconds late.
    Late(u32),
}

/// What a seal says of its own life, past the radio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Life {
    /// Connections it had.
    pub connections: u32,
    /// Writes that reached it, those that were refused or lost among them.
    pub writes: u32,
    /// How often its motor opened it.
    pub openings: u32,
    /// How often its motor closed it.
    pub closings: u32,
    /// Whether a connection stands.
    pub connected: bool,
}

/// A stage. Whatever it is told is done when the call returns, or the test fails.
#[allow(async_fn_in_trait, reason = "scenarios are generic and run on the runtime they are awaited on")]
pub trait Stage {
    /// The adapter.
    fn adapter(&self) -> AdapterName;

    /// Seals that only advertise: BTHome in the clear and with a key.
    fn beacons(&self) -> Vec<StagedSeal>;

    /// Seals that can be connected to, of the segel open seal protocol.
    fn seals(&self) -> Vec<StagedSeal>;

    /// Everything is whole again: adapter there, BlueZ running, seals on the air, no fault waiting.
    async fn mend(&mut self) -> anyhow::Result<()>;

    /// What becomes of the next writes to this seal, one after the other.
    async fn next_writes(&mut self, seal: MacAddress, fates: &[WriteFate]) -> anyhow::Result<()>;

    /// No fate that was said before waits any more.
    async fn forget_fates(&mut self, seal: MacAddress) -> anyhow::Result<()>;

    /// The next link to this seal is lost while its services are being found.
    async fn vanish_while_connecting(&mut self, seal: MacAddress) -> anyhow::Result<()>;

    /// The seal is out of reach; a link to it is lost.
    async fn take_away(&mut self, seal: MacAddress) -> anyhow::Result<()>;

    /// The seal is there again.
    async fn bring_back(&mut self, seal: MacAddress) -> anyhow::Result<()>;

    /// The adapter tells of each seal once in a scan, as some do; until the stage is mended.
    async fn dullest_duplicate_filter(&mut self) -> anyhow::Result<()>;

    /// Somebody switches the adapter off.
    async fn power_off(&mut self) -> anyhow::Result<()>;

    /// The adapter is pulled out.
    async fn pull(&mut self) -> anyhow::Result<()>;

    /// The adapter is put in again.
    async fn plug(&mut self) -> anyhow::Result<()>;

    /// BlueZ dies.
    async fn kill_bluez(&mut self) -> anyhow::Result<()>;

    /// BlueZ is started again.
    async fn start_bluez(&mut self) -> anyhow::Result<()>;

    /// How many sessions in a row it is worth here.
    fn sessions_in_a_row(&self) -> Length;

    /// What a seal says of its life.
    async fn life(&mut self, seal: MacAddress) -> anyhow::Result<Life>;
}
