//! BlueZ emulated on a bus of its own, so that the real Bluetooth library and the real driver run in every test.
//!
//! ```text
//!   BleScan, btleplug, libdbus ◄──► dbus-daemon (Bus) ◄──► serve ──► World ──► Adapter ─► Device ─► Seal ─► SimLock
//!                                                                     ▲
//!                                                       Bluez, Hci, SealAt (what a test holds)
//! ```
//!
//! One connection, one loop, one state: any answer can be withheld, delayed or replaced, and several properties go
//! out in one signal, as they do from bluetoothd. What it copies was measured on bluetoothd 5.66 with kernel 6.1: the
//! texts of errors, the order of signals, objects that stay after a disconnect and vanish 30 s after they were last
//! heard, a reading that is also a notification, a link that dies in the middle of a write.
//!
//! What must hold: nothing happens here but what a test, a client of the bus or a simulated seal asked for; each
//! write is recorded with its time and whether the seal got it; a fault that was armed is used as often as was said.
//!
//! What it does not do: pairing (a seal that demands it gets what bluetoothd gives: silence, then the object is
//! gone), classic Bluetooth, advertising, the pace of a radio (every delay stands in [`Pace`]).
//!
//! libdbus reads the address of the system bus once per process: [`again`] gives each test a process of its own.

mod adapter;
pub mod again;
mod air;
mod book;
mod bus;
mod device;
mod exchange;
mod fault;
mod gatt;
mod handle;
mod hci;
mod path;
mod rules;
mod seal;
mod seal_at;
mod serve;
mod wire;
mod world;

pub use book::{Counts, Delivered, WriteKind, Written};
pub use bus::{Bus, BusError};
pub use fault::{Answer, ConnectFault, NotifyFault, Times, WriteFault};
pub use handle::Bluez;
pub use hci::Hci;
pub use rules::Rules;
pub use seal_at::SealAt;
pub use serve::BluezError;
pub use world::Pace;
