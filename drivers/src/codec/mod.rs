//! Bytes to types and back: no I/O, no clock, no memory of what came before (except where a decoder must keep
//! the beginning of a frame). Everything here is fed bytes from strangers: it never panics and never grows.

pub mod bthome;
pub mod calendar;
pub mod counter;
pub(crate) mod ecb;
pub mod eddystone;
pub mod eseal;
pub mod g_series;
pub mod nokelock;
pub mod segel_v1;
pub mod stream;
pub mod tt;
pub mod uhf;
