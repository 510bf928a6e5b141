//! Readers on a serial line.

pub mod port;
pub mod uhf_reader;

pub use port::Port;
pub use uhf_reader::{Mode, UhfReader, UhfReaderConfig};
