//! Readers and seals at the wire that can be told to misbehave, for the demo and the tests.
//!
//! What stands here is what a device would be seen as from the other end of its line: whoever listens cannot tell
//! (and need not be told) that it is emulated. Seals have no radio here: [`EmulatedAir`] carries the bytes they
//! would advertise over a Unix socket, and [`SimulatedAir`] is the radio that listens there.

pub mod air;
pub mod lock;
pub mod reader;
pub mod seal;

pub use air::{EmulatedAir, Reach, SimulatedAir, SimulatedAirConfig};
pub use lock::{SimLock, SimPorts};
pub use reader::{EmulatedReader, EmulatedReaderConfig};
pub use seal::EmulatedSeal;

/// A name beside `path` that nobody else uses, to make something there before it gets its own name in one step.
fn beside(path: &std::path::Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    name.into()
}
