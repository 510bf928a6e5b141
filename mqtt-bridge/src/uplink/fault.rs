//! Why there is no line, in sentences a person at the gate can act on.
//!
//! The MQTT library reports what went wrong in its own layers; here each report becomes what it means at a gate:
//! the name, the cable, the clock, the certificate, the account, the broker. What is not recognised keeps the
//! library's words and says where they come from.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError, mqttbytes};
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::UnixTime;

use super::config::UplinkConfig;

/// Why there is no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The link has just been made.
    #[error("no attempt has been made yet")]
    NotTriedYet,
    /// The name could not be looked up.
    #[error("the name {host:?} could not be looked up ({detail}): check the name, and whether this gate reaches its DNS server")]
    Name {
        /// The configured host.
        host: String,
        /// The resolver's words.
        detail: String,
    },
    /// The host answers, nobody listens.
    #[error("{host}:{port} refused the connection: customs' broker is not running there, or a firewall rejects us")]
    Refused {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
    },
    /// No way to the host.
    #[error("{host}:{port} cannot be reached ({detail}): check the cable, the modem and the route")]
    Unreachable {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// The system's words.
        detail: String,
    },
    /// Name, TCP, TLS and CONNACK did not finish in time.
    #[error("{host}:{port} did not answer within {within:?}: the network is down, or something on the way swallows packets")]
    ConnectTimeout {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// The configured deadline.
        within: Duration,
    },
    /// Our own TLS files cannot be used.
    #[error("our TLS files cannot be used: {0}")]
    TlsFiles(String),
    /// The broker's certificate is not valid yet by our clock.
    #[error(
        "clock: the certificate of customs' broker is valid only from {from}, but this gate's clock says {ours}: set the clock (NTP); the link comes up by itself then"
    )]
    ClockBehind {
        /// Begin of validity.
        from: String,
        /// Our clock when we looked.
        ours: String,
    },
    /// The broker's certificate is over by our clock.
    #[error(
        "certificate or clock: the certificate of customs' broker was valid until {until}, this gate's clock says {ours}: if the clock is right, customs must renew its certificate"
    )]
    CertificateOver {
        /// End of validity.
        until: String,
        /// Our clock when we looked.
        ours: String,
    },
    /// The broker's certificate was not issued by the pinned authority.
    #[error(
        "the certificate of {host} was not issued by the authority we trust: put the CA of customs' broker into the CA file, or find out who answers in its place"
    )]
    UnknownIssuer {
        /// The configured host.
        host: String,
    },
    /// The broker's certificate is for another name.
    #[error("the certificate presented is not for the name {host:?}: use the name that stands in the certificate of customs' broker")]
    WrongName {
        /// The configured host.
        host: String,
    },
    /// The broker wants a client certificate and we have none.
    #[error("customs' broker demands a client certificate and this gate has none configured: have one issued and name its files")]
    CertificateRequired,
    /// The broker refuses our client certificate for its dates.
    #[error(
        "clock or certificate: customs' broker says that this gate's certificate is not valid at this time: renew it, or have the broker's clock checked"
    )]
    OurCertificateOver,
    /// The broker refuses our client certificate.
    #[error("customs' broker refused this gate's certificate ({alert}): have customs check which authority it accepts")]
    OurCertificateRefused {
        /// The TLS alert received.
        alert: String,
    },
    /// Anything else in TLS.
    #[error("TLS with {host}:{port} failed ({detail}): is this the TLS port, and does the broker speak TLS 1.2 or 1.3?")]
    Tls {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// The TLS library's words.
        detail: String,
    },
    /// The connection was closed before CONNACK.
    #[error(
        "{host}:{port} closed the connection without answering CONNECT: is this the right port (TLS or plain), and does the broker know this client id?"
    )]
    ClosedBeforeConnack {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
    },
    /// CONNACK with a code other than 0 (MQTT 3.1.1 table 3.1).
    #[error("customs' broker refused CONNECT with code {code}: {meaning}")]
    ConnectRefused {
        /// The return code.
        code: u8,
        /// What it means and what to do.
        meaning: &'static str,
    },
    /// SUBACK 0x80.
    #[error("customs' broker refused the subscription to {filter:?}: have customs allow this gate to read its commands")]
    SubscriptionRefused {
        /// The refused filter.
        filter: String,
    },
    /// SUBACK with a lower QoS than asked for, or without an answer for each filter.
    #[error("customs' broker did not grant QoS 1 for {filter:?}: commands could be lost, so this counts as refused")]
    SubscriptionWeak {
        /// The filter.
        filter: String,
    },
    /// No SUBACK in time.
    #[error("customs' broker did not answer SUBSCRIBE within {within:?}")]
    NoSuback {
        /// The deadline.
        within: Duration,
    },
    /// Nothing was heard for too long.
    #[error(
        "nothing was heard from customs' broker for {silent:?}, not even an answer to a ping: the network swallows packets or the broker hangs"
    )]
    Silent {
        /// How long, at least.
        silent: Duration,
    },
    /// Pings are answered, messages are not acknowledged.
    #[error("customs' broker answers pings but has not acknowledged our oldest message for {waited:?}: it is overloaded or out of order")]
    Unacknowledged {
        /// How long the oldest message waited.
        waited: Duration,
    },
    /// The broker or the network closed an open line.
    #[error(
        "the connection was closed by customs' broker or by the network; if it repeats, look for a second gate with the same client id"
    )]
    Closed,
    /// Input or output on an open line failed.
    #[error("the connection broke ({detail})")]
    Broken {
        /// The system's words.
        detail: String,
    },
    /// A packet beyond every limit came in.
    #[error(
        "customs' broker sent a packet of {bytes} bytes, far over the limit: this gate's session is wiped so that the link can go on; have customs stop sending it, or raise `max_payload_in`"
    )]
    PacketTooLong {
        /// Length of the packet in bytes.
        bytes: usize,
    },
    /// What came in breaks MQTT 3.1.1.
    #[error("customs' broker broke the MQTT protocol ({detail}): have its maker look at it")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// Commands were left unacknowledged; only a new line makes the broker deliver them again.
    #[error("{commands} commands could not be taken in time: a new line makes customs' broker deliver them again")]
    Redelivery {
        /// How many, at least.
        commands: usize,
    },
    /// The session was wiped because of a packet beyond every limit.
    #[error("this gate's session at customs' broker was wiped; commands that waited there are lost, have customs send them again")]
    SessionWiped,
    /// The outbox did not answer.
    #[error("the gate's own queue did not hand out a message within {within:?}: look at the disk")]
    OutboxStuck {
        /// The deadline.
        within: Duration,
    },
    /// A defect here or in the MQTT library; the line was replaced and nothing is lost.
    #[error("internal fault of the link ({0}): nothing is lost, but tell the maker of this software")]
    Internal(String),
    /// The link was stopped in order.
    #[error("the link was stopped")]
    Stopped,
}

impl LineFault {
    /// What a failure of the MQTT library means for this link.
    pub(super) fn of(error: &ConnectionError, config: &UplinkConfig) -> Self {
        if let Some(tls) = tls_error(error) {
            return Self::of_tls(tls, config);
        }
        let (host, port) = (config.host.clone(), config.port);
        match error {
            ConnectionError::NetworkTimeout => Self::ConnectTimeout { host, port, within: config.connect_timeout },
            ConnectionError::FlushTimeout => Self::Silent { silent: config.connect_timeout },
            ConnectionError::Io(io) | ConnectionError::Tls(TlsError::Io(io)) => match io.kind() {
                io::ErrorKind::ConnectionRefused => Self::Refused { host, port },
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::ClosedBeforeConnack { host, port }
                }
                // The standard library gives a failed look-up no kind of its own, only these words.
                _ if io.to_string().contains("lookup address") => Self::Name { host, detail: io.to_string() },
                _ => Self::Unreachable { host, port, detail: io.to_string() },
            },
            ConnectionError::Tls(other) => Self::Tls { host, port, detail: other.to_string() },
            ConnectionError::ConnectionRefused(code) => Self::ConnectRefused { code: *code as u8, meaning: meaning(*code) },
            ConnectionError::NotConnAck(packet) => Self::Protocol { detail: format!("{packet:?} instead of CONNACK") },
            ConnectionError::RequestsDone => Self::Internal("the request channel closed".into()),
            ConnectionError::MqttState(state) => Self::of_state(state, config),
        }
    }

    fn of_state(state: &StateError, config: &UplinkConfig) -> Self {
        use mqttbytes::Error as Wire;
        match state {
            StateError::AwaitPingResp => Self::Silent { silent: config.keep_alive },
            StateError::ConnectionAborted => Self::Closed,
            StateError::Io(io) | StateError::Deserialization(Wire::Io(io)) => match io.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Broken { detail: io.to_string() },
            },
            StateError::Deserialization(Wire::PayloadSizeLimitExceeded(bytes)) => Self::PacketTooLong { bytes: *bytes },
            StateError::Deserialization(Wire::OutgoingPacketTooLarge { .. })
            | StateError::CollisionTimeout
            | StateError::EmptySubscription => Self::Internal(state.to_string()),
            StateError::Unsolicited(id) => Self::Protocol { detail: format!("it acknowledged packet {id}, which is not in flight") },
            StateError::InvalidState | StateError::WrongPacket | StateError::Deserialization(_) => {
                Self::Protocol { detail: state.to_string() }
            }
        }
    }

    fn of_tls(error: &rustls::Error, config: &UplinkConfig) -> Self {
        let host = config.host.clone();
        match error {
            rustls::Error::InvalidCertificate(fault) => match fault {
                CertificateError::NotValidYetContext { time, not_before } => Self::ClockBehind { from: utc(*not_before), ours: utc(*time) },
                CertificateError::NotValidYet => Self::ClockBehind { from: "a later date".into(), ours: utc(UnixTime::now()) },
                CertificateError::ExpiredContext { time, not_after } => Self::CertificateOver { until: utc(*not_after), ours: utc(*time) },
                CertificateError::Expired => Self::CertificateOver { until: "an earlier date".into(), ours: utc(UnixTime::now()) },
                CertificateError::UnknownIssuer => Self::UnknownIssuer { host },
                // A stranger with an authority of the same name as ours.
                CertificateError::BadSignature => Self::UnknownIssuer { host },
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName { host },
                other => Self::Tls { host, port: config.port, detail: other.to_string() },
            },
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired => Self::CertificateRequired,
                // TLS 1.2 has no alert of its own for a missing certificate.
                AlertDescription::HandshakeFailure if config.tls.as_ref().is_some_and(|tls| tls.identity.is_none()) => {
                    Self::CertificateRequired
                }
                AlertDescription::CertificateExpired => Self::OurCertificateOver,
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied => Self::OurCertificateRefused { alert: format!("{alert:?}") },
                other => Self::Tls { host, port: config.port, detail: format!("alert {other:?}") },
            },
            other => Self::Tls { host, port: config.port, detail: other.to_string() },
        }
    }

    /// The same failure, once it is known that CONNACK never came.
    pub(super) fn before_connack(self, config: &UplinkConfig) -> Self {
        match self {
            Self::Closed => Self::ClosedBeforeConnack { host: config.host.clone(), port: config.port },
            other => other,
        }
    }

    /// Is it the same trouble, whatever the numbers in it?
    pub(super) fn same_trouble(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The rustls error somewhere inside, if there is one.
fn tls_error(error: &ConnectionError) -> Option<&rustls::Error> {
    let io = match error {
        ConnectionError::Tls(TlsError::TLS(error)) => return Some(error),
        ConnectionError::Tls(TlsError::Io(io)) | ConnectionError::Io(io) => io,
        ConnectionError::MqttState(StateError::Io(io) | StateError::Deserialization(mqttbytes::Error::Io(io))) => io,
        _ => return None,
    };
    let mut inner: Option<&(dyn StdError + 'static)> = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
    while let Some(error) = inner {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        inner = error.source();
    }
    None
}

fn meaning(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "accepted",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1; have customs enable it",
        ConnectReturnCode::BadClientId => "it does not accept this client id; agree on one with customs",
        ConnectReturnCode::ServiceUnavailable => "it cannot serve us now; it is tried again",
        ConnectReturnCode::BadUserNamePassword => "user name or password is wrong; correct the credentials",
        ConnectReturnCode::NotAuthorized => "this gate is not authorised; have customs admit its client id, user or certificate",
    }
}

/// Seconds since 1970 as a person reads them, in UTC.
fn utc(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("{} s after 1970", time.as_secs()), |time| time.to_string())
}
