//! What a good configuration says, as types: the rest of the gate reads these and nothing else.
//!
//! Every duration is a [`Duration`], whatever unit its key has in the file; every name is a type of its own. Values
//! are complete and in range: [`Config::load`](super::Config::load) filled in the defaults and refused the rest.
//! The defaults, ranges and reasons stand in one table, [`super::keys`], and are not repeated here.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use segel_drivers::ReaderId;
use serde::Deserialize;

use super::{
    names::{GateId, Lane, OfficeCode, PasswordHash, SiteCode, TimeZoneName, TpsCode, UplinkUrl, UserName},
    seals::SealRegister,
    units::{days, hours, mib, millis, seconds},
};

/// The whole configuration of one gate, complete and in range.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[gate]`: which gate this is and where it keeps its things.
    pub gate: GateSettings,
    /// `[clock]`: when our own time may be trusted.
    pub clock: ClockSettings,
    /// `[journal]`: group commit and quotas.
    pub journal: JournalSettings,
    /// `[thinning]`: which repeats of a radio are worth an event.
    pub thinning: ThinningSettings,
    /// `[readers.<name>]`: every radio of the gate.
    #[serde(default)]
    pub readers: BTreeMap<ReaderId, Reader>,
    /// `[reopen]`: how a failed radio is opened again.
    pub reopen: ReopenSettings,
    /// `[sessions]`: how connections to seals are bounded.
    pub sessions: SessionSettings,
    /// `[broker]`: the local broker for monitors.
    pub broker: BrokerSettings,
    /// `[uplink]`: the link to customs.
    pub uplink: UplinkSettings,
    /// `[log]`: what is logged and how.
    pub log: LogSettings,
    /// The seals this gate knows, from `gate.seals_file`; empty when none is named.
    #[serde(skip)]
    pub seals: SealRegister,
}

/// `[gate]`: which gate this is and where it keeps its things.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// The place, UN/LOCODE in lower case, e.g. `idsrg`.
    pub site: SiteCode,
    /// The gate at that place, e.g. `g01`.
    pub id: GateId,
    /// The customs office (KODE_KANTOR), six digits.
    pub office_code: Option<OfficeCode>,
    /// The terminal (KD_TPS), four characters.
    pub tps_code: Option<TpsCode>,
    /// The zone in which people here read times.
    pub time_zone: TimeZoneName,
    /// Where the journal lives; absolute.
    pub state_dir: PathBuf,
    /// Where sockets live; absolute, empty after a reboot.
    pub runtime_dir: PathBuf,
    /// The register of seals, if there is one; absolute.
    pub seals_file: Option<PathBuf>,
    /// The keys and passwords of seals, a file or a directory, if there is one; absolute.
    pub seal_keys: Option<PathBuf>,
}

/// `[clock]`: when our own time may be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSettings {
    /// `holdover_h`: how long a clock stays good after it was last synchronised.
    #[serde(rename = "holdover_h", deserialize_with = "hours")]
    pub holdover: Duration,
}

/// `[journal]`: group commit and quotas.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalSettings {
    /// `group_wait_ms`: the longest a reading waits for company before it is committed.
    #[serde(rename = "group_wait_ms", deserialize_with = "millis")]
    pub group_wait: Duration,
    /// The most events in one commit.
    pub group_events: u32,
    /// `telemetry_quota_mib`: disk for readings, in bytes; beyond it the oldest are dropped and counted.
    #[serde(rename = "telemetry_quota_mib", deserialize_with = "mib")]
    pub telemetry_quota_bytes: u64,
    /// `alarm_quota_mib`: disk for alarms, in bytes; none is dropped, but beyond it no new opening is promised.
    #[serde(rename = "alarm_quota_mib", deserialize_with = "mib")]
    pub alarm_quota_bytes: u64,
    /// `receipt_quota_mib`: the same for receipts.
    #[serde(rename = "receipt_quota_mib", deserialize_with = "mib")]
    pub receipt_quota_bytes: u64,
    /// `reserve_mib`: room kept for alarms and receipts on a full disk, in bytes; 0 keeps none.
    #[serde(rename = "reserve_mib", deserialize_with = "mib")]
    pub reserve_bytes: u64,
    /// `retention_days`: delivered events older than this go to the archive; zero keeps all in the database.
    #[serde(rename = "retention_days", deserialize_with = "days")]
    pub retention: Duration,
    /// Where the archive is, absolute; never created. Beside the journal where none is named.
    pub archive_dir: Option<PathBuf>,
    /// The archive directory must lie on another file system than the journal.
    pub archive_removable: bool,
    /// `archive_every_s`: how often the gate looks for what is due, and whether the archive is there.
    #[serde(rename = "archive_every_s", deserialize_with = "seconds")]
    pub archive_every: Duration,
    /// `proof_every_h`: every event on disk is held against what was written this often; zero never.
    #[serde(rename = "proof_every_h", deserialize_with = "hours")]
    pub proof_every: Duration,
    /// `space_warn_h`: space is low when telemetry would be refused sooner than this by the forecast.
    #[serde(rename = "space_warn_h", deserialize_with = "hours")]
    pub space_warn_ahead: Duration,
    /// `space_warn_mib`: space is low below this, in bytes.
    #[serde(rename = "space_warn_mib", deserialize_with = "mib")]
    pub space_warn_bytes: u64,
    /// `space_scarce_mib`: telemetry is refused below this, in bytes.
    #[serde(rename = "space_scarce_mib", deserialize_with = "mib")]
    pub space_scarce_bytes: u64,
}

/// `[thinning]`: which repeats of a radio are worth an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinningSettings {
    /// `heartbeat_s`: an unchanged seal is recorded this often.
    #[serde(rename = "heartbeat_s", deserialize_with = "seconds")]
    pub heartbeat: Duration,
    /// `tag_repeat_s`: the same tag at the same reader is recorded at most this often.
    #[serde(rename = "tag_repeat_s", deserialize_with = "seconds")]
    pub tag_repeat: Duration,
    /// A battery change of this many percent is recorded at once.
    pub battery_step_percent: u8,
    /// A temperature change of this many degrees Celsius is recorded at once.
    pub temperature_step_c: u8,
    /// `lost_after_s`: a seal not heard for this long is lost.
    #[serde(rename = "lost_after_s", deserialize_with = "seconds")]
    pub lost_after: Duration,
}

/// One radio, by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reader {
    /// A UHF RFID reader on a serial line.
    UhfReader(UhfReader),
    /// A Bluetooth adapter of this computer.
    Ble(BleAdapter),
    /// Seals and tags played by a simulator; never evidence.
    SimulatedAir(SimulatedAir),
}

impl Reader {
    /// The lane this radio listens to.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        match self {
            Self::UhfReader(reader) => &reader.lane,
            Self::Ble(adapter) => &adapter.lane,
            Self::SimulatedAir(air) => &air.lane,
        }
    }
}

/// A UHF RFID reader on a serial line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UhfReader {
    /// The device file, best a name under `/dev/serial/by-id`.
    pub port: PathBuf,
    /// Line speed in baud.
    pub baud: u32,
    /// The reader's address on the line; 255 is any.
    pub address: u8,
    /// The command set it speaks.
    pub dialect: Dialect,
    /// Whether it reports by itself or is asked.
    pub mode: ReadMode,
    /// `heartbeat_s`: a reader in real-time mode that is silent this long is asked whether it lives.
    #[serde(rename = "heartbeat_s", deserialize_with = "seconds")]
    pub heartbeat: Duration,
    /// `poll_interval_ms`: from one question to the next in poll mode.
    #[serde(rename = "poll_interval_ms", deserialize_with = "millis")]
    pub poll_interval: Duration,
    /// The lane it looks at.
    pub lane: Lane,
}

/// The command set of a UHF reader, by the name of its module family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Dialect {
    /// `288`: the four-antenna family (UHFReader288).
    #[serde(rename = "288")]
    Uhf288,
    /// `18`: the single-antenna family (UHFReader18).
    #[serde(rename = "18")]
    Uhf18,
}

/// Whether a UHF reader reports by itself or is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// The reader reports every tag by itself.
    Realtime,
    /// The gate asks, the reader answers.
    Poll,
}

/// A Bluetooth adapter of this computer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BleAdapter {
    /// The adapter as the kernel names it, e.g. `hci0`, or its address, which stays the same when plugs move.
    pub adapter: String,
    /// The lane it listens to.
    pub lane: Lane,
}

/// Seals and tags played by a simulator; never evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimulatedAir {
    /// The Unix socket of the simulator; absolute.
    pub socket: PathBuf,
    /// The lane it plays.
    pub lane: Lane,
}

/// `[reopen]`: how a failed radio is opened again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReopenSettings {
    /// `first_ms`: the first wait.
    #[serde(rename = "first_ms", deserialize_with = "millis")]
    pub first: Duration,
    /// `cap_s`: the longest wait.
    #[serde(rename = "cap_s", deserialize_with = "seconds")]
    pub cap: Duration,
    /// `stable_s`: after this long without a failure the next wait is the first again.
    #[serde(rename = "stable_s", deserialize_with = "seconds")]
    pub stable: Duration,
}

/// `[sessions]`: how connections to seals are bounded.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// `heard_within_s`: a seal heard within this is there to connect to.
    #[serde(rename = "heard_within_s", deserialize_with = "seconds")]
    pub heard_within: Duration,
    /// `connect_timeout_s`: one attempt to connect.
    #[serde(rename = "connect_timeout_s", deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    /// Attempts to connect at most.
    pub attempts: u8,
    /// `pause_ms`: from a disconnect to the next connect.
    #[serde(rename = "pause_ms", deserialize_with = "millis")]
    pub pause: Duration,
    /// `call_timeout_s`: one write or one read.
    #[serde(rename = "call_timeout_s", deserialize_with = "seconds")]
    pub call_timeout: Duration,
    /// `disconnect_timeout_s`: a disconnect.
    #[serde(rename = "disconnect_timeout_s", deserialize_with = "seconds")]
    pub disconnect_timeout: Duration,
    /// `read_back_s`: how long it is looked for what a seal did, beyond a request's own time.
    #[serde(rename = "read_back_s", deserialize_with = "seconds")]
    pub read_back: Duration,
    /// `store_timeout_s`: how long a seal is kept waiting for what it handed over to be on disk.
    #[serde(rename = "store_timeout_s", deserialize_with = "seconds")]
    pub store_timeout: Duration,
    /// Requests that wait for one adapter at most.
    pub queue: u32,
}

/// `[broker]`: the local broker for monitors; they subscribe and do nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// Whether there is a local broker.
    pub enabled: bool,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The most clients at once.
    pub max_clients: u32,
    /// `max_payload_kib`: the largest packet in either direction, in bytes.
    #[serde(rename = "max_payload_kib", deserialize_with = "super::units::kib")]
    pub max_payload_bytes: u32,
    /// The certificate chain (PEM); with it [`Self::tls_key_file`], or neither.
    pub tls_cert_file: Option<PathBuf>,
    /// The key (PEM) of the certificate.
    pub tls_key_file: Option<PathBuf>,
    /// Who may connect; empty means anybody on this computer (then `listen` is loopback).
    #[serde(default)]
    pub users: BTreeMap<UserName, PasswordHash>,
}

/// `[uplink]`: the link to customs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkSettings {
    /// Whether anything is sent upstream.
    pub enabled: bool,
    /// The broker of customs; always there when `enabled`.
    pub url: Option<UplinkUrl>,
    /// Plain MQTT to another computer is allowed (a tunnel protects it).
    pub allow_plain: bool,
    /// The MQTT client id; by default `site-gate`.
    pub client_id: String,
    /// The MQTT user name.
    pub username: Option<String>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The authorities (PEM) the broker's certificate must come from.
    pub ca_file: PathBuf,
    /// Our certificate chain (PEM); with it [`Self::key_file`], or neither.
    pub cert_file: Option<PathBuf>,
    /// The key (PEM) of our certificate.
    pub key_file: Option<PathBuf>,
    /// `keep_alive_s`: MQTT keep-alive.
    #[serde(rename = "keep_alive_s", deserialize_with = "seconds")]
    pub keep_alive: Duration,
    /// `connect_timeout_s`: from the first packet to CONNACK.
    #[serde(rename = "connect_timeout_s", deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    /// The most messages sent and not yet acknowledged.
    pub window: u16,
    /// The share of the window telemetry keeps while alarms wait, in percent.
    pub telemetry_share_percent: u8,
    /// `backoff_first_ms`: the first wait before connecting again.
    #[serde(rename = "backoff_first_ms", deserialize_with = "millis")]
    pub backoff_first: Duration,
    /// `backoff_cap_s`: the longest wait before connecting again.
    #[serde(rename = "backoff_cap_s", deserialize_with = "seconds")]
    pub backoff_cap: Duration,
    /// `stable_after_s`: a link that lived this long resets the wait.
    #[serde(rename = "stable_after_s", deserialize_with = "seconds")]
    pub stable_after: Duration,
    /// The most messages from customs that wait to be journalled.
    pub inbox_limit: u32,
}

/// `[log]`: what is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// The least level that is logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// The least level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something lost or a human needed.
    Error,
    /// Also: surprising, nothing lost.
    Warn,
    /// Also: a state changed.
    Info,
    /// Also: for whoever looks for a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level as a filter directive of `tracing-subscriber`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}
