//! Every bound and deadline of the broker, in one table, each with its reason.
//!
//! Nothing here is a tuning knob for speed: each number says how much of the gate's memory or time a stranger on the
//! network may take. The bytes of a message are shared by all queues, so many lagging monitors cost little more than one;
//! with the router's log (4 MiB), retained values (2 MiB) and one password check (7 MiB) the defaults come to less than 20 MB.

use std::time::Duration;

/// How much the broker lets others take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Monitors connected at once (32: a gate has a handful of screens; each costs at most `queue_bytes`).
    pub clients: usize,
    /// Connections that have not sent their CONNECT yet (32). When full, the one that waited longest is sent away,
    /// so that silent connections cannot lock the door. As many again may be having their password checked.
    pub waiting: usize,
    /// From accepted (or from the end of the TLS handshake) to a complete CONNECT (5 s: a slow radio link needs 2).
    pub connect_deadline: Duration,
    /// From accepted to the end of the TLS handshake (5 s, as above).
    pub tls_deadline: Duration,
    /// How long the answer to a wrong password is held back (1 s: one guess per second and connection).
    pub refusal_delay: Duration,
    /// Filters one monitor may hold (32).
    pub subscriptions: usize,
    /// Largest packet accepted from a monitor, in bytes (8 KiB: a SUBSCRIBE with a few dozen filters).
    pub packet_bytes: usize,
    /// Largest payload taken from the gate, in bytes (64 KiB; documents are a few hundred).
    pub payload_bytes: usize,
    /// Bytes of live messages that may wait for one monitor (512 KiB); more and it is cut off.
    pub queue_bytes: usize,
    /// Live messages that may wait for one monitor (2048); more and it is cut off.
    pub queue_messages: usize,
    /// How long a monitor may take no byte at all while some are waiting for it (15 s); longer and it is cut off.
    pub stall: Duration,
    /// Messages sent at QoS 1 and not yet acknowledged, per monitor (64).
    pub window: usize,
    /// Topics with a retained value (2048: a seal and a reader each take one or two).
    pub retained_topics: usize,
    /// Bytes of all retained topics and values together (2 MiB).
    pub retained_bytes: usize,
    /// Bytes on their way from the gate through the router (1 MiB); more is dropped and counted.
    pub transit_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            clients: 32,
            waiting: 32,
            connect_deadline: Duration::from_secs(5),
            tls_deadline: Duration::from_secs(5),
            refusal_delay: Duration::from_secs(1),
            subscriptions: 32,
            packet_bytes: 8 * 1024,
            payload_bytes: 64 * 1024,
            queue_bytes: 512 * 1024,
            queue_messages: 2048,
            stall: Duration::from_secs(15),
            window: 64,
            retained_topics: 2048,
            retained_bytes: 2 * 1024 * 1024,
            transit_bytes: 1024 * 1024,
        }
    }
}
