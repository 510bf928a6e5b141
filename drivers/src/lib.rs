//! Seals and readers: bytes in, [`Report`]s out.
//!
//! ```text
//!   tty ──► serial::port ──► serial::uhf_reader, codec::uhf ──┐
//!                                                             ├──► Ear ──► (the gate)
//!   air ──► ble::scan ─────► ble::air, codec::bthome ─────────┘
//!                            supervise keeps each of them alive
//! ```
//!
//! This crate knows radios, frames and sessions. It knows no MQTT, no journal and no customs: it says what a
//! radio saw and with what protection it was said, and leaves every judgement to the gate.
//!
//! What must hold: a radio that fails is reported once and reopened with backoff; no call waits without a
//! deadline; no input, however broken, panics or grows memory.

pub mod action;
pub mod ble;
pub mod codec;
pub mod credentials;
pub mod identity;
pub mod radio;
pub mod report;
pub mod serial;
pub mod sim;
pub mod status;
pub mod supervise;

pub use action::{Action, Ended, Evidence, Hindrance, Outcome, Priority, Progress, Rejection, Spent};
pub use codec::{
    bthome::SealKey,
    counter::{CounterMemory, Verdict},
};
pub use credentials::{Credentials, Password};
pub use identity::{Epc, IdentityError, MacAddress, ReaderId, SealId};
pub use radio::{Ear, Radio, RadioFault, Tally};
pub use report::{
    AdvertRefusal, Heard, LockClaim, Protection, RefusedAdvert, Report, SealAdvert, SealReading, Sighting, Standing, TagRead, Trouble,
};
pub use status::{Confirm, Confirmed, Memory, NotConfirmed, SealEvent, SealRead, SealStatus, SealTold, SealWord, Security};
