//! The MQTT side of a gate: a broker that only speaks, and a link to customs that only forgets what was acknowledged.
//!
//! ```text
//!   the gate ──publish──► broker ──► monitors          (embedded, output only)
//!   the gate ──Outbox───► uplink ══► customs' broker   (QoS 1, our own window)
//!   the gate ◄─Inbox───── uplink ◄══ commands          (acknowledged only when durable)
//! ```
//!
//! This crate knows no seals. It is given topics and bytes, and a place to ask for the next ones; the durable
//! queue is never here.

pub mod backoff;
pub mod broker;
pub mod sim;
pub mod tls;
pub mod topic;
pub mod uplink;
pub mod window;
