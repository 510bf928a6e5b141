//! Seals on the air.
//!
//! [`air`] is the pure part: what an advertisement means, given the seals we know. [`protocol`] has what seals speak,
//! [`link`] what a connection is, and [`scan`] is the adapter.

pub mod air;
pub mod link;
pub mod protocol;
pub mod scan;
pub mod session;

pub use air::{AirFrame, KnownSeal, Payload, Register, interpret};
pub use scan::{AdapterName, BleScan, BleScanConfig};
pub use session::{Asked, Desk, Desks, Hearing, Request, SessionLimits};
