//! How sessions are bounded.

use std::time::Duration;

/// How sessions are bounded. Every field is configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// A seal heard within this is there. Some adapters tell of a standing seal only every 11 s.
    pub heard_within: Duration,
    /// One attempt to connect and find the characteristics; the kernel itself gives up after 20 s.
    pub connect: Duration,
    /// Attempts to connect at most, as long as nothing was written.
    pub attempts: u8,
    /// Between a disconnect and the next connect: sooner, the kernel refuses (20 ms at least, better 250).
    pub pause: Duration,
    /// One write or one read.
    pub call: Duration,
    /// A disconnect. BlueZ itself takes 2.0 to 2.8 s.
    pub disconnect: Duration,
    /// After the write: as long may be spent on finding out whether the seal moved, beyond the request's own deadline.
    pub read_back: Duration,
    /// Until what a seal handed over is on disk; longer means that the gate's disk fails.
    pub store: Duration,
    /// Requests that wait at most, for each adapter there is.
    pub queue: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            heard_within: Duration::from_secs(15),
            connect: Duration::from_secs(20),
            attempts: 4,
            pause: Duration::from_millis(250),
            call: Duration::from_secs(5),
            disconnect: Duration::from_secs(5),
            read_back: Duration::from_secs(60),
            store: Duration::from_secs(15),
            queue: 32,
        }
    }
}

impl SessionLimits {
    /// From the first write that moves until whoever asked has been answered: reading back, and what a call begun at its
    /// very end may still take.
    pub(super) fn after_the_write(&self) -> Duration {
        self.read_back + self.call + self.disconnect
    }

    /// How much later than its deadline a session that moved nothing may answer: it ends a call and disconnects.
    pub(super) fn grace(&self) -> Duration {
        self.call + 2 * self.disconnect
    }
}
