//! The link to customs: up at QoS 1 with our own window, down only when the gate has kept what came.
//!
//! ```text
//!             ┌──────────── Uplink::run: one select! ────────────┐
//!   Outbox ──►│ next ─► window ─► AsyncClient ─► requests ─────────────► ┌──────────────┐
//!          ◄──│ delivered ◄─ window ◄─ PUBACK ◄─ events ◄─────────────── │ line: poll() │ ══► customs' broker
//!   Inbox  ◄──│ a task per command ─► PUBACK in order ─► requests ─────► └──────────────┘
//!             └──────────────────────────────────────────────────┘
//! ```
//!
//! What must hold
//! - Nothing counts as delivered but what customs' broker has acknowledged on the line it was sent on.
//! - The library's memory is never trusted: every line has an event loop of its own, and when the line goes, all that
//!   the window still holds goes back to the outbox.
//! - Nothing is published before every command filter is granted.
//! - A command is acknowledged after the inbox has kept it, in the order of arrival (MQTT 3.1.1, 4.6), and slow
//!   commands stop neither pings nor publishing.
//!
//! The session at the broker is a persistent one (clean session = 0). Upwards it makes no difference, for we send
//! everything unacknowledged again whatever the broker remembers; downwards it makes the broker keep commands
//! that were sent while we were away, and repeat those we have not acknowledged.
//! It is wiped in one case only: a packet beyond every limit, which the broker would otherwise send first on every
//! new line, so that no alarm ever got out again.
//!
//! It does not see what MQTT 3.1.1 cannot say: a broker that acknowledges a message and then does not keep it, or
//! does not let us publish on a topic, looks like one that has received it.

mod commands;
mod config;
mod fault;
mod line;
mod post;
mod standing;
mod task;

pub use config::{
    Announcement, CONNECT_TIMEOUT_RANGE, Credentials, KEEP_ALIVE_RANGE, MAX_COMMAND_FILTERS, MAX_PAYLOAD, MAX_WINDOW, UplinkConfig,
    UplinkConfigFault,
};
pub use fault::LineFault;
pub use post::{Delivery, Inbox, InboxError, Outbox, Parcel, Unsendable};
pub use standing::{LinkStanding, Phase};
pub use task::Uplink;
