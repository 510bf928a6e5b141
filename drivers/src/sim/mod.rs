//! Readers and seals at the wire that can be told to misbehave, for the demo and the tests.
//!
//! What stands here is what a device would be seen as from the other end of its line: whoever listens cannot tell
//! (and need not be told) that it is emulated.

pub mod reader;

pub use reader::EmulatedReader;
