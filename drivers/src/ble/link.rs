//! A connection to one seal, as a session needs it; [`super::scan`] has BlueZ's, [`crate::sim`] the simulated air's.

use std::future::Future;

use crate::{MacAddress, ble::protocol::Ports};

/// What makes connections.
pub trait Air {
    /// Its connections.
    type Link: Link;

    /// Connects, finds the ports and listens for notifications. The caller has the deadline; when
    /// it drops the future or gets a fault it calls [`Self::hang_up`] before anything else.
    fn connect(&mut self, address: MacAddress, ports: Ports) -> impl Future<Output = Result<Self::Link, LinkFault>>;

    /// Ends whatever is left of the last connection or attempt: after one that failed, was dropped or was never closed.
    fn hang_up(&mut self) -> impl Future<Output = ()>;
}

/// A connection that listens.
pub trait Link {
    /// Writes one frame, in pieces where the ports say so. When it fails it is not known whether any of it arrived.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), LinkFault>>;

    /// The next notification. Dropping the future loses nothing.
    fn notified(&mut self) -> impl Future<Output = Result<Vec<u8>, LinkFault>>;

    /// Reads the characteristic notifications come from.
    fn reread(&mut self) -> impl Future<Output = Result<Vec<u8>, LinkFault>>;

    /// Disconnects, and waits until that is done or a deadline is over.
    fn close(self) -> impl Future<Output = ()>;
}

/// What can go wrong on a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// There is no such device any more: it was not heard for too long, or the adapter is new. It has to be heard again.
    #[error("BlueZ has forgotten it; it has to be heard again")]
    Forgotten,
    /// The seal does not have what its protocol needs: the register names the wrong protocol, or it is another device.
    #[error("the seal has not the characteristics of its protocol: {0}")]
    NoPorts(String),
    /// The connection is gone.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The seal answered with an ATT error: it did not take the write.
    #[error("the seal refused the write (ATT error {0:#04x})")]
    Att(u8),
    /// No answer in time.
    #[error("no answer to {what} in time")]
    Late {
        /// What was asked.
        what: &'static str,
    },
    /// The adapter or BlueZ fails.
    #[error("the adapter fails: {0}")]
    Adapter(String),
}
