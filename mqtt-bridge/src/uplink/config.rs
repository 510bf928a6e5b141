//! What a person may set about the link, with its bounds. Every fault is reported, not only the first.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::backoff::BackoffConfig;
use crate::tls::TlsFiles;

/// Largest window: packet ids are 16 bit and the library keeps a slot for each, so a thousand is plenty and small.
pub const MAX_WINDOW: u16 = 1_000;
/// Largest payload either way, in bytes. Above this one message would hold the line of a slow modem for minutes.
pub const MAX_PAYLOAD: usize = 8 * 1024 * 1024;
/// The keep-alive is a 16 bit number of seconds on the wire; below one second it means "none".
pub const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// Deadline of one attempt to connect; shorter than a second no modem keeps, longer than five minutes no person waits.
pub const CONNECT_TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// Most command filters in one SUBSCRIBE.
pub const MAX_COMMAND_FILTERS: usize = 32;

/// User name and password of the MQTT CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password; never printed.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A retained QoS 1 message about the gate itself: its last will, its birth, its farewell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// MQTT topic name.
    pub topic: String,
    /// The bytes.
    pub payload: Bytes,
}

/// Everything the link needs to know.
#[derive(Debug, Clone)]
pub struct UplinkConfig {
    /// Name or address of customs' broker. With TLS its certificate must carry this very name.
    pub host: String,
    /// TCP port, by convention 8883 with TLS and 1883 without.
    pub port: u16,
    /// MQTT client id, unique at customs' broker: two gates with one id throw each other out for ever.
    pub client_id: String,
    /// User name and password, if the broker asks for them.
    pub credentials: Option<Credentials>,
    /// Trust and identity; `None` is plain TCP, for tests and demos only.
    pub tls: Option<TlsFiles>,
    /// How often a ping goes out; a silent line is noticed within two of these.
    pub keep_alive: Duration,
    /// Deadline of one attempt: name lookup, TCP, TLS and CONNACK together; also for the SUBACK and for one flush.
    pub connect_timeout: Duration,
    /// Most messages from the oldest unacknowledged to the newest sent.
    pub window: u16,
    /// A line whose oldest message waits longer than this for its PUBACK is replaced, even when it still answers pings.
    pub ack_timeout: Duration,
    /// Subscribed at QoS 1 before the link counts as up. Empty: no commands are taken from customs.
    pub command_filters: Vec<String>,
    /// Most commands with the inbox at one time.
    pub commands_in_progress: usize,
    /// What the broker shall say when it loses us.
    pub will: Option<Announcement>,
    /// What we say first whenever the link is up.
    pub birth: Option<Announcement>,
    /// What we say last on an orderly stop (the broker does not publish the will then).
    pub farewell: Option<Announcement>,
    /// Pauses between attempts.
    pub backoff: BackoffConfig,
    /// A link that was up this long counts as a success: the pauses start over.
    pub stable_after: Duration,
    /// Largest command taken, in bytes.
    pub max_payload_in: usize,
    /// Largest message sent, in bytes.
    pub max_payload_out: usize,
    /// How long an orderly stop waits for acknowledgements still under way.
    pub drain: Duration,
}

impl UplinkConfig {
    /// A plain-TCP link to `host:port` with the defaults of this crate; set the public fields for anything else.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            credentials: None,
            tls: None,
            keep_alive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(20),
            window: 100,
            ack_timeout: Duration::from_secs(60),
            command_filters: Vec::new(),
            commands_in_progress: 16,
            will: None,
            birth: None,
            farewell: None,
            backoff: BackoffConfig::default(),
            stable_after: Duration::from_secs(60),
            max_payload_in: 64 * 1024,
            max_payload_out: 256 * 1024,
            drain: Duration::from_secs(5),
        }
    }

    /// Everything wrong with this configuration; empty when it can be used.
    #[must_use]
    pub fn faults(&self) -> Vec<UplinkConfigFault> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, key: &'static str, want: String| {
            if !holds {
                faults.push(UplinkConfigFault { key, want });
            }
        };
        let text = |text: &str| !text.is_empty() && text.len() <= usize::from(u16::MAX) && !text.contains('\0');
        require(text(&self.host), "host", "give the name or address of customs' broker".into());
        require(self.port != 0, "port", "give a TCP port from 1 to 65535".into());
        require(
            text(&self.client_id),
            "client_id",
            "give the gate a client id; it must not be empty, for the broker keeps our commands under it".into(),
        );
        if let Some(credentials) = &self.credentials {
            let fits = text(&credentials.username) && credentials.password.len() <= usize::from(u16::MAX);
            require(fits, "credentials", "the user name must not be empty, and neither part longer than 65535 bytes".into());
        }
        for (key, value, range) in [
            ("keep_alive", self.keep_alive, KEEP_ALIVE_RANGE),
            ("connect_timeout", self.connect_timeout, CONNECT_TIMEOUT_RANGE),
            ("ack_timeout", self.ack_timeout, Duration::from_secs(1)..=Duration::from_secs(3_600)),
        ] {
            require(range.contains(&value), key, format!("{value:?} is outside {:?} to {:?}", range.start(), range.end()));
        }
        require((1..=MAX_WINDOW).contains(&self.window), "window", format!("{} is outside 1 to {MAX_WINDOW}", self.window));
        require(self.commands_in_progress >= 1, "commands_in_progress", "at least one command must be allowed at a time".into());
        require(self.backoff.floor <= self.backoff.first, "backoff", "`floor` must not exceed `first`".into());
        require(self.backoff.first <= self.backoff.cap, "backoff", "`first` must not exceed `cap`".into());
        require(!self.backoff.first.is_zero(), "backoff", "`first` must not be zero: attempts would run in a tight loop".into());
        for (key, value) in [("max_payload_in", self.max_payload_in), ("max_payload_out", self.max_payload_out)] {
            require((1..=MAX_PAYLOAD).contains(&value), key, format!("{value} is outside 1 to {MAX_PAYLOAD} bytes"));
        }
        require(
            self.command_filters.len() <= MAX_COMMAND_FILTERS,
            "command_filters",
            format!("{} filters are more than {MAX_COMMAND_FILTERS}", self.command_filters.len()),
        );
        for filter in &self.command_filters {
            require(text(filter) && rumqttc::valid_filter(filter), "command_filters", format!("{filter:?} is not an MQTT topic filter"));
        }
        for (key, announcement) in [("will", &self.will), ("birth", &self.birth), ("farewell", &self.farewell)] {
            if let Some(announcement) = announcement {
                require(publishable(&announcement.topic), key, format!("{:?} is not a topic MQTT can publish on", announcement.topic));
                // The will travels inside CONNECT, where its length is a 16 bit number.
                let fits = announcement.payload.len() <= self.max_payload_out.min(usize::from(u16::MAX));
                require(fits, key, format!("{} bytes of payload are too many", announcement.payload.len()));
            }
        }
        faults
    }
}

/// May this topic stand in a PUBLISH (MQTT 3.1.1 section 4.7)?
pub(super) fn publishable(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= usize::from(u16::MAX) && !topic.contains(['+', '#', '\0'])
}

/// One value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("uplink `{key}`: {want}")]
pub struct UplinkConfigFault {
    /// The field of [`UplinkConfig`].
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub want: String,
}
