//! What no single key can say: what is missing, and which settings contradict each other.
//!
//! A rule looks at what is in force and points at every place that takes part. It is silent about keys that were
//! given and refused: they have their own fault. A contradiction is a fault; what only surprises is a warning.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use super::{
    fault::{Fault, Findings, Place},
    keys::{self, AIR, BLE, KIND, Preset, Scalar, UHF},
    merge::Merged,
    names::{Transport, UplinkUrl},
};

/// Seconds between two tellings of a standing seal by the slowest adapter, rounded up.
const GAP_S: i64 = 12;
/// Seconds an order to a seal has when nobody says otherwise.
const ORDER_S: i64 = crate::sessions::WITHIN.1.as_secs().cast_signed();

/// The rules over one configuration.
pub(super) struct Rules<'a> {
    /// What was given.
    pub(super) merged: &'a Merged,
    /// Where to point when a key stands nowhere.
    pub(super) main: Place,
    /// Whether every file was read whole; if not, nothing can be called absent.
    pub(super) whole: bool,
    /// Where faults go.
    pub(super) findings: &'a mut Findings,
}

impl Rules<'_> {
    /// What must be there and is not.
    pub(super) fn missing(&mut self) {
        if !self.whole {
            return;
        }
        for (dotted, key) in self.merged.every_key() {
            if key.preset == Preset::Mandatory {
                self.require(&dotted, &format!("{}: {}", key.reason, key.shape.remedy()));
            }
        }
        for (name, kind) in self.merged.radios() {
            if kind.is_none() {
                self.require(&format!("readers.{name}.{}", KIND.name), &KIND.shape.remedy());
            }
        }
        if self.truth("uplink.enabled") {
            let remedy = "write url = \"mqtts://host:8883\", or enabled = false for a gate that reports to nobody";
            self.require("uplink.url", remedy);
        }
    }

    /// What contradicts itself, and what surprises.
    pub(super) fn contradictions(&mut self) {
        self.radios();
        self.archive();
        self.waits("reopen.first_ms", "reopen.cap_s");
        self.waits("uplink.backoff_first_ms", "uplink.backoff_cap_s");
        self.space();
        self.sessions();
        if self.truth("broker.enabled") {
            self.pair("broker.tls_cert_file", "broker.tls_key_file");
            self.broker();
        }
        if self.truth("uplink.enabled") {
            self.pair("uplink.cert_file", "uplink.key_file");
            self.uplink();
        }
    }

    fn require(&mut self, dotted: &str, remedy: &str) {
        if !self.merged.absent(dotted) {
            return;
        }
        let table = dotted.rsplit_once('.').map_or(dotted, |(table, _)| table);
        let header = self.merged.layers.iter().find_map(|layer| layer.headers.get(table)).cloned();
        let fault = Fault::new(header.unwrap_or_else(|| self.main.clone()), format!("`{dotted}` is missing"), remedy).key(dotted);
        self.findings.fault(fault);
    }

    /// Whether nobody gave a key, not even wrongly.
    fn absent(&self, dotted: &str) -> bool {
        self.whole && self.merged.absent(dotted)
    }

    fn truth(&self, dotted: &str) -> bool {
        self.scalar(dotted) == Some(Scalar::Truth(true))
    }

    /// The value in force, also a default; `None` where it was refused.
    fn scalar(&self, dotted: &str) -> Option<Scalar> {
        if self.merged.refused(dotted) {
            return None;
        }
        let (section, name) = dotted.split_once('.')?;
        self.merged.in_force(dotted, keys::find(section, name)?).map(|(value, _)| value)
    }

    /// Where a key stands, or the main file when only its default does.
    fn place(&self, dotted: &str) -> Place {
        self.merged.get(dotted).map_or_else(|| self.main.clone(), |setting| setting.place.clone())
    }

    /// A fault at a key, with its value.
    fn at(&self, dotted: &str, problem: impl Into<String>, remedy: impl Into<String>) -> Fault {
        let fault = Fault::new(self.place(dotted), problem, remedy).key(dotted);
        match self.merged.get(dotted) {
            Some(setting) if !setting.secret => fault.value(&setting.value.to_string()),
            _ => fault,
        }
    }

    /// The alarm must come before what it warns of.
    fn space(&mut self) {
        let (warn, scarce) = ("journal.space_warn_mib", "journal.space_scarce_mib");
        if let (Some(Scalar::Number(warned)), Some(Scalar::Number(refused))) = (self.scalar(warn), self.scalar(scarce))
            && warned < refused
        {
            let problem = format!("telemetry would be refused (below {refused} MiB) before anybody is warned (below {warned} MiB)");
            let fault = self.at(warn, problem, "write a number at least as large as space_scarce_mib, or make that one smaller");
            self.findings.fault(fault);
        }
    }

    fn number(&self, dotted: &str) -> Option<i64> {
        match self.scalar(dotted)? {
            Scalar::Number(number) => Some(number),
            Scalar::Text(_) | Scalar::Truth(_) => None,
        }
    }

    /// What makes orders to seals fail that need not.
    fn sessions(&mut self) {
        let [heard, connect, call, read_back] =
            ["sessions.heard_within_s", "sessions.connect_timeout_s", "sessions.call_timeout_s", "sessions.read_back_s"];
        if let Some(within) = self.number(heard).filter(|within| *within < GAP_S) {
            let problem =
                format!("with some adapters a seal that stands there counts as gone after {within} s: they tell of it only every 11 s");
            self.findings.warn(self.at(heard, problem, format!("write {GAP_S} or more, unless this adapter tells more often")));
        }
        if let Some(once) = self.number(connect).filter(|once| once * 2 > ORDER_S) {
            let problem =
                format!("an order has {ORDER_S} s when nobody says otherwise, and two attempts to connect of {once} s take longer");
            self.findings.warn(self.at(connect, problem, format!("write {} or less", ORDER_S / 2)));
        }
        if let (Some(once), Some(all)) = (self.number(call), self.number(read_back))
            && once * 3 > all
        {
            let (from, to) = if self.merged.get(call).is_some() { (call, read_back) } else { (read_back, call) };
            let problem = format!("reading back what a seal did takes three calls; of {once} s each they do not fit into {all} s");
            let warning = self.at(from, problem, format!("make `{call}` smaller or `{read_back}` larger"));
            let warning =
                if self.merged.get(to).is_some() { warning.also(self.place(to), format!("`{to}` is given here")) } else { warning };
            self.findings.warn(warning);
        }
    }

    fn radios(&mut self) {
        let radios = self.merged.radios();
        if radios.is_empty() && self.absent("readers") {
            let remedy = "add a table [readers.NAME] for each radio";
            self.findings.warn(Fault::new(self.main.clone(), "no radio is configured: this gate hears nothing", remedy).key("readers"));
        }
        let mut taken: BTreeMap<(&str, String), String> = BTreeMap::new();
        for (name, kind) in &radios {
            let Some(kind) = *kind else { continue };
            self.strange_keys(name, kind);
            let own = match kind {
                UHF => "port",
                BLE => "adapter",
                AIR => "socket",
                _ => continue,
            };
            let dotted = format!("readers.{name}.{own}");
            if self.merged.refused(&dotted) {
                continue;
            }
            let Some(Scalar::Text(device)) =
                keys::find(kind, own).and_then(|key| self.merged.in_force(&dotted, key)).map(|(value, _)| value)
            else {
                continue;
            };
            // An address is one adapter whichever way its letters are written.
            let same = if own == "adapter" { device.to_ascii_uppercase() } else { device.clone() };
            if let Some(first) = taken.get(&(own, same.clone())) {
                let (place, whose) = (self.radio_place(first, own), format!("`readers.{first}` has it already"));
                let fault = Fault::new(
                    self.radio_place(name, own),
                    format!("two radios have the same {own}"),
                    "give each radio its own, or remove one of the tables",
                );
                self.findings.fault(fault.key(&dotted).value(&format!("{device:?}")).also(place, whose));
            } else {
                taken.insert((own, same), name.clone());
            }
            self.radio_surprises(name, kind, &device);
        }
    }

    /// A disk that can be taken out has a directory of its own.
    fn archive(&mut self) {
        if self.truth("journal.archive_removable") && self.absent("journal.archive_dir") {
            let remedy = "give `journal.archive_dir` too, a directory on that disk";
            let fault = self.at("journal.archive_removable", "`journal.archive_removable` is given without `journal.archive_dir`", remedy);
            self.findings.fault(fault);
        }
    }

    /// The place of a radio's key, or of its table.
    fn radio_place(&self, name: &str, key: &str) -> Place {
        let table = format!("readers.{name}");
        let header = || self.merged.layers.iter().find_map(|layer| layer.headers.get(&table)).cloned();
        let setting = self.merged.get(&format!("{table}.{key}")).map(|setting| setting.place.clone());
        setting.or_else(header).unwrap_or_else(|| self.main.clone())
    }

    /// Keys that belong to another kind of radio.
    fn strange_keys(&mut self, name: &str, kind: &str) {
        let all: std::collections::BTreeSet<&str> = keys::KINDS.iter().flat_map(|kind| keys::of(kind)).map(|key| key.name).collect();
        for key in all {
            let dotted = format!("readers.{name}.{key}");
            if self.merged.get(&dotted).is_some() && keys::find(kind, key).is_none() {
                let fault = self.at(&dotted, format!("a radio of kind \"{kind}\" has no `{key}`"), "remove the key, or correct the kind");
                let fault = fault.also(self.radio_place(name, KIND.name), "the kind is given here");
                self.findings.fault(fault);
            }
        }
    }

    fn radio_surprises(&mut self, name: &str, kind: &str, device: &str) {
        if kind == AIR {
            let remedy = "remove it before the gate goes to work; nothing it says is evidence";
            let warning = Fault::new(self.radio_place(name, KIND.name), "this radio is a simulator", remedy);
            self.findings.warn(warning.key(format!("readers.{name}.{}", KIND.name)));
        }
        if kind == UHF && ["/dev/ttyUSB", "/dev/ttyACM"].iter().any(|prefix| device.starts_with(prefix)) {
            let remedy = "name it by /dev/serial/by-id/..., which stays the same when plugs move";
            let dotted = format!("readers.{name}.port");
            let warning = self.at(&dotted, "this port may be another reader after the next start", remedy);
            self.findings.warn(warning);
        }
        if kind == UHF {
            let mode = self.merged.text(&format!("readers.{name}.mode")).unwrap_or("realtime");
            let idle = if mode == "poll" { "heartbeat_s" } else { "poll_interval_ms" };
            let dotted = format!("readers.{name}.{idle}");
            if self.merged.get(&dotted).is_some() {
                let warning = self.at(&dotted, format!("`{idle}` does nothing in mode \"{mode}\""), "remove it, or change the mode");
                self.findings.warn(warning);
            }
        }
    }

    /// A first wait in milliseconds is no longer than the longest in seconds.
    fn waits(&mut self, first: &str, cap: &str) {
        let (Some(Scalar::Number(first_ms)), Some(Scalar::Number(cap_s))) = (self.scalar(first), self.scalar(cap)) else { return };
        if first_ms > cap_s * 1000 {
            let (from, to) = if self.merged.get(first).is_some() { (first, cap) } else { (cap, first) };
            let fault = self.at(
                from,
                format!("the first wait, {first_ms} ms, is longer than the longest, {cap_s} s"),
                format!("make `{first}` smaller or `{cap}` larger"),
            );
            let fault = if self.merged.get(to).is_some() { fault.also(self.place(to), format!("`{to}` is given here")) } else { fault };
            self.findings.fault(fault);
        }
    }

    /// A certificate and its key come together, and from files that are there.
    fn pair(&mut self, cert: &str, key: &str) {
        for (given, other) in [(cert, key), (key, cert)] {
            if self.merged.get(given).is_some() && self.absent(other) {
                let fault = self.at(given, format!("`{given}` is given without `{other}`"), format!("give `{other}` too, or neither"));
                self.findings.fault(fault);
            }
            self.file_is_there(given);
        }
    }

    /// Warns when a file is not there yet; the gate starts without it and says so again when it needs it.
    fn file_is_there(&mut self, dotted: &str) {
        let Some(Scalar::Text(path)) = self.scalar(dotted) else { return };
        if Path::new(&path).symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            let remedy = "put the file there; until then this connection fails and the rest of the gate works";
            let warning = self.at(dotted, format!("the file of `{dotted}` is not there"), remedy);
            self.findings.warn(warning);
        }
    }

    fn broker(&mut self) {
        let Some(listen) = self.listen() else { return };
        if listen.ip().is_loopback() {
            return;
        }
        let users = |layer: &super::layer::Layer| layer.settings.keys().chain(&layer.refused).any(|key| key.starts_with("broker.users"));
        if self.whole && !self.merged.layers.iter().any(users) {
            let remedy = "add users under [broker.users], or listen on 127.0.0.1 only";
            let fault = self.at("broker.listen", "anybody on the network could read every event: the broker has no users", remedy);
            self.findings.fault(fault);
        } else if self.absent("broker.tls_cert_file") {
            let remedy = "give `tls_cert_file` and `tls_key_file`, unless this network is only the gate's";
            let warning = self.at("broker.listen", "passwords cross the network unprotected: the broker has no certificate", remedy);
            self.findings.warn(warning);
        }
    }

    fn listen(&self) -> Option<SocketAddr> {
        match self.scalar("broker.listen")? {
            Scalar::Text(text) => text.parse().ok(),
            Scalar::Number(_) | Scalar::Truth(_) => None,
        }
    }

    fn uplink(&mut self) {
        if self.merged.get("uplink.password_file").is_some() {
            if self.absent("uplink.username") {
                let remedy = "give `uplink.username` too; MQTT 3.1.1 knows no password without a user";
                let fault = self.at("uplink.password_file", "a password is given without a user", remedy);
                self.findings.fault(fault);
            }
            self.file_is_there("uplink.password_file");
        }
        let Some(url) = self.merged.text("uplink.url").and_then(|text| text.parse::<UplinkUrl>().ok()) else { return };
        match url.transport {
            Transport::Tls => self.file_is_there("uplink.ca_file"),
            Transport::Plain => self.plain(&url),
        }
        let ours = self.listen().filter(|_| self.truth("broker.enabled"));
        if url.is_loopback() && ours.is_some_and(|listen| listen.port() == url.port) {
            let fault =
                self.at("uplink.url", "the uplink leads back to the broker of this gate", "name the broker of customs, or another port");
            let fault = if self.merged.get("broker.listen").is_some() {
                fault.also(self.place("broker.listen"), "this gate listens here")
            } else {
                fault
            };
            self.findings.fault(fault);
        }
    }

    fn plain(&mut self, url: &UplinkUrl) {
        if self.merged.get("uplink.cert_file").is_some() {
            let fault = self.at(
                "uplink.cert_file",
                "a certificate is given, and the uplink is not TLS",
                "write mqtts:// in `uplink.url`, or remove the certificate",
            );
            self.findings.fault(fault.also(self.place("uplink.url"), "not TLS"));
        }
        if url.is_loopback() || self.merged.refused("uplink.allow_plain") {
            return;
        }
        if self.truth("uplink.allow_plain") {
            let remedy = "let a tunnel protect it, or use mqtts://";
            let warning = self.at("uplink.url", "events leave this computer unprotected", remedy);
            self.findings.warn(warning.also(self.place("uplink.allow_plain"), "allowed here"));
        } else {
            let remedy = "write mqtts://, or allow_plain = true when a tunnel protects the way";
            let fault = self.at("uplink.url", "plain MQTT would leave this computer unprotected", remedy);
            self.findings.fault(fault);
        }
    }
}
