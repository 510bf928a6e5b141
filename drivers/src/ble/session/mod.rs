//! Sessions with seals: one connection at a time per adapter, the urgent first, never two writes that move.
//!
//! ```text
//!   Desks::ask(Request) ─► hall: waking until heard, queued by Priority, then in order
//!                                                 ▼ the adapter that hears it best, one session per seal
//!      Asked ◄── progress, Ended ──── serve(desk, air): visit = connect ► talk ► read back ► judge ► disconnect
//! ```
//!
//! What must hold:
//!
//! - Between asking and the first step that moves the seal a request can be called off, by dropping its [`Asked`] or by
//!   the asker's own deadline. Who moves first is decided by one atomic word ([`Ticket`]): either the write goes out and
//!   the request is *moved*, or it is *called off* and no session will ever write for it. An adapter's thread that hangs
//!   and wakes up later finds it called off.
//! - After that word says *moved* nothing that moves the seal is written again for this request; the seal is read.
//! - Whoever asks always gets an answer: a desk whose adapter died answers from the word.

mod desk;
mod hall;
mod judge;
mod limits;
mod request;
mod serve;
mod talk;
mod ticket;
mod visit;

#[cfg(test)]
mod tests;

pub use desk::{Desk, Desks, Hearing};
pub use limits::SessionLimits;
pub use request::{Asked, Request};
pub(crate) use serve::{Served, serve};
pub use ticket::Ticket;
