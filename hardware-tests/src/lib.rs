//! Benches at the wire: a whole gate as a process of its own, with emulated readers and seals in front of it and a real
//! broker behind it.
//!
//! Nothing inside the gate is replaced. What a test needs from outside (mosquitto, a Python client) is looked for by
//! [`peers`], which says so when it is missing.

pub mod bluez;
pub mod cutfs;
pub mod disk;
pub mod ledger;
pub mod length;
pub mod mosquitto;
pub mod peers;
pub mod rig;
pub mod stage;
pub mod witness;
