//! What customs' broker can be told, and what it writes down.

use bytes::Bytes;

/// One PUBLISH as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// The DUP flag.
    pub dup: bool,
    /// The RETAIN flag.
    pub retain: bool,
    /// On which connection, counted from 1.
    pub connection: u64,
}

/// What happens to PUBACKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// Sent at once, in order.
    AtOnce,
    /// Held back until this changes.
    Withheld,
    /// Collected in groups of this many and sent newest first.
    Shuffled(usize),
}

/// The answer to SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// As asked for.
    AsAsked,
    /// 0x80 for every filter.
    Refused,
    /// QoS 0 for every filter.
    QosZero,
    /// No SUBACK at all.
    Silence,
}

/// Does the broker read from its sockets?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Yes.
    Awake,
    /// No: connections stay open and nothing is read or answered.
    Asleep,
}

/// A command for a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sendoff {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Bytes,
    /// Send it with retain=1, as the broker does with a kept message.
    pub retained: bool,
    /// Send it with dup=1 already the first time.
    pub duplicate: bool,
}

impl Sendoff {
    /// A plain command.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), retained: false, duplicate: false }
    }
}

/// Certificate and key of the broker, PEM.
#[derive(Debug, Clone)]
pub struct CustomsTls {
    /// The chain, the broker's own certificate first.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// When set, clients must present a certificate issued by this authority.
    pub client_ca: Option<String>,
}
