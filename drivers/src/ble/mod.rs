//! Seals on the air.
//!
//! [`air`] is the pure part: what an advertisement means, given the seals we know. [`scan`] is the adapter.

pub mod air;
pub mod scan;

pub use air::{AirFrame, KnownSeal, Register, interpret};
pub use scan::{AdapterName, BleScan, BleScanConfig};
