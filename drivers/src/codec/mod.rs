//! Bytes to types and back: no I/O, no clock, no memory of what came before (except where a decoder must keep
//! the beginning of a frame). Everything here is fed bytes from strangers: it never panics and never grows.

pub mod bthome;
pub mod counter;
pub mod uhf;
