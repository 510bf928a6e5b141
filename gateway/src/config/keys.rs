//! Every key of the configuration, in one table: its form, its default, its range and why it is so.
//!
//! The defaults a gate runs with, the checks, the suggestions, the table `segel check` prints and the test that
//! holds the sample file to the truth all read this table; nothing is said of a key anywhere else.

use std::str::FromStr;

use toml::de::DeValue;

use super::names::{GateId, Lane, NameError, OfficeCode, SiteCode, TimeZoneName, TpsCode, UplinkUrl};

/// A value without structure, as the layers carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Number(i64),
    Truth(bool),
    Text(String),
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What stands when nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// The gate cannot guess it.
    Mandatory,
    /// Absent means there is none.
    Absent,
    /// Made from other settings.
    Made,
    Number(i64),
    Truth(bool),
    Text(&'static str),
}

impl Preset {
    /// The value, where it is one.
    pub(super) fn scalar(self) -> Option<Scalar> {
        match self {
            Self::Mandatory | Self::Absent | Self::Made => None,
            Self::Number(number) => Some(Scalar::Number(number)),
            Self::Truth(truth) => Some(Scalar::Truth(truth)),
            Self::Text(text) => Some(Scalar::Text(text.to_owned())),
        }
    }
}

/// What a value must look like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// One of these numbers.
    OneOf(&'static [i64]),
    /// `true` or `false`.
    Truth,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text this function accepts.
    Text(fn(&str) -> Result<(), NameError>),
}

/// A value as a layer gave it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    /// From a file, with its type.
    Toml(&'a DeValue<'a>),
    /// From the environment, as text.
    Text(&'a str),
}

impl Shape {
    /// The value, if it fits; what is wrong with it (the end of a sentence that begins with the key) if not.
    pub(super) fn accept(self, given: Given<'_>) -> Result<Scalar, String> {
        match self {
            Self::Whole(min, max) => {
                let number = whole(given)?;
                if (min..=max).contains(&number) { Ok(Scalar::Number(number)) } else { Err(format!("must be from {min} to {max}")) }
            }
            Self::OneOf(all) => {
                let number = whole(given)?;
                if all.contains(&number) { Ok(Scalar::Number(number)) } else { Err("is none of the possible numbers".into()) }
            }
            Self::Truth => match given {
                Given::Toml(DeValue::Boolean(truth)) => Ok(Scalar::Truth(*truth)),
                Given::Text("true") => Ok(Scalar::Truth(true)),
                Given::Text("false") => Ok(Scalar::Truth(false)),
                Given::Text(_) => Err("is neither true nor false".into()),
                Given::Toml(other) => Err(format!("is {}, and must be true or false", type_name(other))),
            },
            Self::Choice(all) => {
                let text = text(given)?;
                if all.contains(&text) { Ok(Scalar::Text(text.to_owned())) } else { Err("is none of the possible words".into()) }
            }
            Self::Text(check) => {
                let text = text(given)?;
                check(text).map_err(|_| "does not have the right form".to_owned())?;
                Ok(Scalar::Text(text.to_owned()))
            }
        }
    }

    /// What to write.
    pub(super) fn remedy(self) -> String {
        match self {
            Self::Whole(min, max) => format!("write a whole number from {min} to {max}, without quotes"),
            Self::OneOf(all) => format!("write one of {}", list(all)),
            Self::Truth => "write true or false, without quotes".into(),
            Self::Choice(all) => format!("write one of {}", list(&all.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>())),
            // No key accepts an empty text, so the check says what it wants.
            Self::Text(check) => check("").err().map_or_else(|| "write text in quotes".into(), |error| error.0.to_owned()),
        }
    }
}

fn whole(given: Given<'_>) -> Result<i64, String> {
    match given {
        Given::Toml(DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| "is far too large".into())
        }
        Given::Toml(DeValue::Float(_)) => Err("is not a whole number".into()),
        Given::Toml(other) => Err(format!("is {}, and must be a whole number", type_name(other))),
        Given::Text(text) => text.parse().map_err(|_| "is not a whole number".into()),
    }
}

fn text<'a>(given: Given<'a>) -> Result<&'a str, String> {
    match given {
        Given::Toml(DeValue::String(text)) => Ok(text),
        Given::Toml(other) => Err(format!("is {}, and must be text in quotes", type_name(other))),
        Given::Text(text) => Ok(text),
    }
}

/// A type of TOML as a person calls it.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn list<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// The table it stands in; for a radio one of [`UHF`], [`BLE`], [`AIR`].
    pub(super) section: &'static str,
    /// Its name, with the unit at the end.
    pub(super) name: &'static str,
    /// What its value must look like.
    pub(super) shape: Shape,
    /// What stands when nobody says anything.
    pub(super) preset: Preset,
    /// The unit, when it is a timeout, a limit or an interval.
    pub(super) limit: Option<&'static str>,
    /// Why it is there and why the default is what it is.
    pub(super) reason: &'static str,
}

/// The section of the keys of a UHF reader.
pub(super) const UHF: &str = "uhf-reader";
/// The section of the keys of a Bluetooth adapter.
pub(super) const BLE: &str = "ble";
/// The section of the keys of a simulator.
pub(super) const AIR: &str = "simulated-air";
/// Every kind of radio.
pub(super) const KINDS: [&str; 3] = [UHF, BLE, AIR];
/// Every table of the file.
pub(super) const SECTIONS: [&str; 10] =
    ["gate", "clock", "journal", "thinning", "readers", "reopen", "sessions", "broker", "uplink", "log"];

/// The key of a table.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The key of a radio of any kind; keys of one name have one shape.
pub(super) fn find_of_radio(name: &str) -> Option<&'static Key> {
    if name == KIND.name {
        return Some(&KIND);
    }
    KEYS.iter().find(|key| KINDS.contains(&key.section) && key.name == name)
}

/// The keys of a table.
pub(super) fn of(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<(), NameError> {
    text.parse::<T>().map(drop)
}

fn absolute(text: &str) -> Result<(), NameError> {
    let good = text.starts_with('/') && !text.contains('\0');
    if good { Ok(()) } else { Err(NameError("write a path that begins with `/`")) }
}

fn any_path(text: &str) -> Result<(), NameError> {
    let good = !text.is_empty() && !text.contains('\0');
    if good { Ok(()) } else { Err(NameError("write a path; a relative one begins at the folder of the main file")) }
}

fn adapter(text: &str) -> Result<(), NameError> {
    let number = text.strip_prefix("hci").filter(|number| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()));
    if number.is_some() || text.parse::<segel_drivers::MacAddress>().is_ok() {
        return Ok(());
    }
    Err(NameError("write the adapter as the kernel names it, e.g. \"hci0\", or its address as `bluetoothctl list` shows it"))
}

fn socket_address(text: &str) -> Result<(), NameError> {
    text.parse::<std::net::SocketAddr>().map(drop).map_err(|_| NameError("write ADDRESS:PORT in numbers, e.g. \"127.0.0.1:1883\""))
}

fn client_id(text: &str) -> Result<(), NameError> {
    let good = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if good { Ok(()) } else { Err(NameError("write 1 to 64 letters, digits, `-`, `_` and `.`, e.g. \"idsrg-g01\"")) }
}

fn user_name(text: &str) -> Result<(), NameError> {
    let good = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    if good { Ok(()) } else { Err(NameError("write the user name customs gave this gate, 1 to 128 characters")) }
}

const fn setting(section: &'static str, name: &'static str, shape: Shape, preset: Preset, reason: &'static str) -> Key {
    Key { section, name, shape, preset, limit: None, reason }
}

/// A timeout, a limit or an interval: unit, default, smallest, largest.
const fn limit(section: &'static str, name: &'static str, unit: &'static str, bounds: (i64, i64, i64), reason: &'static str) -> Key {
    let (preset, min, max) = bounds;
    Key { section, name, shape: Shape::Whole(min, max), preset: Preset::Number(preset), limit: Some(unit), reason }
}

/// Which of the kinds a radio is; it decides which keys its table has.
pub(super) static KIND: Key = setting("readers", "kind", Shape::Choice(&KINDS), Preset::Mandatory, "what the radio is");

use Preset::{Absent, Made, Mandatory};
use Shape::{Choice, OneOf, Text, Truth, Whole};

/// Every key but [`KIND`] and the users of the broker, in the order a person reads them.
pub(super) static KEYS: &[Key] = &[
    setting("gate", "site", Text(name::<SiteCode>), Mandatory, "every event says where it happened"),
    setting("gate", "id", Text(name::<GateId>), Mandatory, "a site has more than one gate"),
    setting("gate", "office_code", Text(name::<OfficeCode>), Absent, "customs files by office (KODE_KANTOR)"),
    setting("gate", "tps_code", Text(name::<TpsCode>), Absent, "customs files by terminal (KD_TPS)"),
    setting("gate", "time_zone", Text(name::<TimeZoneName>), Preset::Text("Asia/Jakarta"), "people read local time; events carry UTC"),
    setting("gate", "state_dir", Text(absolute), Preset::Text("/var/lib/segel"), "the journal must survive everything but a broken disk"),
    setting("gate", "runtime_dir", Text(absolute), Preset::Text("/run/segel"), "sockets must not survive a reboot"),
    setting("gate", "seals_file", Text(any_path), Absent, "the keys of seals stay out of the file people pass around"),
    setting("gate", "seal_keys", Text(any_path), Absent, "keys and passwords of seals have readers of their own"),
    limit("clock", "holdover_h", "h", (24, 1, 720), "a clock that was kept right drifts less than a second a day; later nobody knows"),
    limit("journal", "group_wait_ms", "ms", (50, 0, 1000), "readings share one disk write; alarms never wait"),
    limit("journal", "group_events", "events", (64, 1, 4096), "at this size a group is several times faster than single writes"),
    limit(
        "journal",
        "telemetry_quota_mib",
        "MiB",
        (4096, 1, 1_048_576),
        "months of readings without a network; beyond it the oldest are dropped and counted",
    ),
    limit(
        "journal",
        "alarm_quota_mib",
        "MiB",
        (1024, 1, 1_048_576),
        "a million alarms; none is dropped, but beyond it no new opening is promised",
    ),
    limit(
        "journal",
        "receipt_quota_mib",
        "MiB",
        (2048, 1, 1_048_576),
        "two million receipts; none is dropped, but beyond it no new opening is promised",
    ),
    limit("journal", "reserve_mib", "MiB", (32, 0, 65_536), "room kept for tens of thousands of alarms and receipts when the disk is full"),
    limit(
        "journal",
        "retention_days",
        "d",
        (90, 0, 36_500),
        "delivered events older than a season go to the archive, so that the database stays small; 0 keeps all in the database",
    ),
    setting("journal", "archive_dir", Text(absolute), Absent, "without one the archive is beside the journal"),
    setting("journal", "archive_removable", Truth, Preset::Truth(false), "a disk that is not mounted must not fill the one below it"),
    limit("journal", "archive_every_s", "s", (600, 1, 86_400), "what is due is due for a day; a missing disk is noticed within minutes"),
    limit(
        "journal",
        "proof_every_h",
        "h",
        (24, 0, 720),
        "a bit that flips on disk is found while there are still copies elsewhere; 0 switches the proof off",
    ),
    limit("journal", "space_warn_h", "h", (72, 1, 8_760), "a weekend and a day to free space before telemetry is refused"),
    limit("journal", "space_warn_mib", "MiB", (512, 1, 1_048_576), "below this space is low, whatever the forecast says"),
    limit(
        "journal",
        "space_scarce_mib",
        "MiB",
        (64, 1, 1_048_576),
        "what is left is for alarms and receipts; telemetry is refused and counted",
    ),
    limit("thinning", "heartbeat_s", "s", (60, 1, 86_400), "an unchanged seal is still shown to be there once a minute"),
    limit("thinning", "tag_repeat_s", "s", (10, 0, 3600), "a reader sees a standing tag many times a second; one passage is one event"),
    limit("thinning", "battery_step_percent", "%", (5, 1, 100), "below this a change is noise"),
    limit("thinning", "temperature_step_c", "C", (2, 1, 50), "below this a change is noise"),
    limit(
        "thinning",
        "lost_after_s",
        "s",
        (120, 1, 86_400),
        "a seal advertises every few seconds; two minutes of silence is absence, not noise",
    ),
    setting(UHF, "port", Text(absolute), Mandatory, "a reader without a port cannot be opened"),
    setting(UHF, "baud", OneOf(&[9600, 19_200, 38_400, 57_600, 115_200]), Preset::Number(57_600), "the speed readers leave the works with"),
    setting(UHF, "address", Whole(0, 255), Preset::Number(255), "255 reaches whichever reader is on the line"),
    setting(UHF, "dialect", Choice(&["288", "18"]), Preset::Text("288"), "the command set of the four-antenna readers"),
    setting(UHF, "mode", Choice(&["realtime", "poll"]), Preset::Text("realtime"), "a reader that reports by itself misses no fast truck"),
    limit(UHF, "heartbeat_s", "s", (3, 1, 60), "a silent reader in real-time mode is asked whether it lives"),
    limit(UHF, "poll_interval_ms", "ms", (200, 20, 10_000), "five looks a second see a tag at 20 km/h three times"),
    setting(UHF, "lane", Text(name::<Lane>), Mandatory, "an event without a lane cannot be matched to a truck"),
    setting(BLE, "adapter", Text(adapter), Preset::Text("hci0"), "most computers have one adapter"),
    setting(BLE, "lane", Text(name::<Lane>), Mandatory, "an event without a lane cannot be matched to a truck"),
    setting(AIR, "socket", Text(absolute), Mandatory, "the simulator is another program"),
    setting(AIR, "lane", Text(name::<Lane>), Mandatory, "an event without a lane cannot be matched to a truck"),
    limit("reopen", "first_ms", "ms", (200, 10, 60_000), "a plug that wobbles is back at once"),
    limit("reopen", "cap_s", "s", (30, 1, 3600), "a technician who plugs a radio in sees it within half a minute"),
    limit("reopen", "stable_s", "s", (30, 1, 3600), "a radio that fails again sooner did not recover"),
    limit(
        "sessions",
        "heard_within_s",
        "s",
        (15, 5, 300),
        "some adapters tell of a standing seal only every 11 s; a seal not heard for longer is not there to connect to",
    ),
    limit("sessions", "connect_timeout_s", "s", (20, 1, 120), "one attempt to connect; a seal that sleeps answers the next one sooner"),
    limit("sessions", "attempts", "attempts", (4, 1, 20), "half of all connects fail; after four somebody has to look"),
    limit("sessions", "pause_ms", "ms", (250, 20, 10_000), "a connect right after a disconnect is refused by the kernel"),
    limit("sessions", "call_timeout_s", "s", (5, 1, 60), "one write or one read; a seal that is there answers within a second"),
    limit("sessions", "disconnect_timeout_s", "s", (5, 3, 60), "BlueZ itself takes 2.0 to 2.8 s"),
    limit(
        "sessions",
        "read_back_s",
        "s",
        (60, 15, 600),
        "what a seal did is looked for this long, also after the time for doing it is over",
    ),
    limit("sessions", "store_timeout_s", "s", (15, 1, 300), "until what a seal handed over is on disk; longer means that the disk fails"),
    limit("sessions", "queue", "requests", (32, 1, 1000), "one connection at a time takes seconds; more than this would wait for minutes"),
    setting("broker", "enabled", Truth, Preset::Truth(true), "monitors at the gate work without customs"),
    setting("broker", "listen", Text(socket_address), Preset::Text("127.0.0.1:1883"), "nobody outside this computer until it is wanted"),
    limit("broker", "max_clients", "clients", (32, 1, 1000), "a gate has a handful of screens; a runaway script is stopped"),
    limit("broker", "max_payload_kib", "KiB", (64, 1, 1024), "an event is a few KiB"),
    setting("broker", "tls_cert_file", Text(absolute), Absent, "needed when monitors are on other computers"),
    setting("broker", "tls_key_file", Text(absolute), Absent, "belongs to the certificate"),
    setting("uplink", "enabled", Truth, Preset::Truth(true), "a gate without customs is the exception"),
    setting("uplink", "url", Text(name::<UplinkUrl>), Absent, "only the operator knows the broker of customs"),
    setting("uplink", "allow_plain", Truth, Preset::Truth(false), "nothing leaves this computer unprotected by mistake"),
    setting("uplink", "client_id", Text(client_id), Made, "site and gate name one connection"),
    setting("uplink", "username", Text(user_name), Absent, "some brokers ask for one"),
    setting("uplink", "password_file", Text(absolute), Absent, "a password stands in no configuration"),
    setting(
        "uplink",
        "ca_file",
        Text(absolute),
        Preset::Text("/etc/ssl/certs/ca-certificates.crt"),
        "the authorities this computer trusts",
    ),
    setting("uplink", "cert_file", Text(absolute), Absent, "some brokers know gates by certificate"),
    setting("uplink", "key_file", Text(absolute), Absent, "belongs to the certificate"),
    limit("uplink", "keep_alive_s", "s", (30, 1, 3600), "a dead link is noticed within about a minute, also through mobile networks"),
    limit("uplink", "connect_timeout_s", "s", (10, 1, 120), "longer than a slow satellite link needs, shorter than patience"),
    limit(
        "uplink",
        "window",
        "messages",
        (400, 1, 1000),
        "over a satellite of 600 ms this is some 600 messages a second; more would only be sent twice after it breaks",
    ),
    limit("uplink", "telemetry_share_percent", "%", (10, 1, 50), "readings trickle while alarms catch up"),
    limit("uplink", "backoff_first_ms", "ms", (500, 1, 60_000), "a broker that restarts is back at once"),
    limit("uplink", "backoff_cap_s", "s", (60, 1, 3600), "a thousand gates spread over a minute when customs returns"),
    limit("uplink", "stable_after_s", "s", (30, 1, 3600), "a link that breaks sooner did not recover, and the wait keeps growing"),
    limit("uplink", "inbox_limit", "messages", (64, 1, 10_000), "commands are few; a flood is held back at the broker"),
    setting(
        "log",
        "level",
        Choice(&["error", "warn", "info", "debug", "trace"]),
        Preset::Text("info"),
        "state changes are logged, the rest is quiet",
    ),
    setting("log", "format", Choice(&["auto", "text", "json"]), Preset::Text("auto"), "text on a terminal, JSON elsewhere"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_accepted_by_its_own_check() {
        for key in KEYS {
            let Some(preset) = key.preset.scalar() else { continue };
            let text = match &preset {
                Scalar::Text(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(key.shape.accept(Given::Text(&text)), Ok(preset), "{}.{}", key.section, key.name);
        }
    }

    #[test]
    fn every_remedy_says_what_to_write() {
        for key in KEYS {
            assert!(key.shape.remedy().contains("write "), "{}.{}", key.section, key.name);
            assert!(key.shape.accept(Given::Text("")).is_err(), "{}.{} accepts nothing at all", key.section, key.name);
        }
    }
}
