//! Seals that can be connected to, from the other end of the line: bytes in, bytes out.
//!
//! A simulated seal stands behind an emulated BlueZ or the simulated air. It knows no radio and no clock but what it is
//! told, keeps its state across connections as a real one does, and counts what its motor did, so that a test can ask
//! how often it opened.

pub mod eseal;
pub mod g_series;
pub mod nokelock;
pub mod segel_v1;
mod trick;
pub mod tt;

pub use trick::Trick;

use uuid::Uuid;

use crate::{MacAddress, ble::air::Payload};

/// The seal's side of a connection.
pub trait SimLock: Send + 'static {
    /// The address it advertises with.
    fn address(&self) -> MacAddress;

    /// The name it advertises.
    fn name(&self) -> Option<String>;

    /// Where it is written to and answers.
    fn ports(&self) -> SimPorts;

    /// What its next advertisement carries.
    fn advertise(&mut self) -> Vec<Payload>;

    /// A new connection begins.
    fn connected(&mut self);

    /// Bytes were written; the notifications it answers with.
    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>>;

    /// The ATT application error it answered the last write with in place of taking it.
    fn att_error(&self) -> Option<u8> {
        None
    }

    /// Whether it dropped the connection in the last write, by a power loss or by itself; asked once after each.
    fn dropped(&mut self) -> bool {
        false
    }

    /// What reading the characteristic it notifies through gives.
    fn value(&self) -> Vec<u8>;

    /// How often its motor opened it.
    fn openings(&self) -> u32;

    /// How often its motor closed it.
    fn closings(&self) -> u32;
}

/// The characteristics of a simulated seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimPorts {
    /// The service.
    pub service: Uuid,
    /// Where it is written to.
    pub write: Uuid,
    /// Where it notifies; may be the same.
    pub notify: Uuid,
}
