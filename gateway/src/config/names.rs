//! The names a configuration gives to things, each a type that holds only what is allowed.
//!
//! An error text says what to write instead and never repeats the value: whoever reports it decides whether the
//! value may be shown.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::Deserialize;

/// A text that is no name of the wanted kind; it says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub &'static str);

fn only(text: &str, lengths: std::ops::RangeInclusive<usize>, allowed: fn(u8) -> bool) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(allowed)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $write:literal, $good:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let good: fn(&str) -> bool = $good;
                if good(text) { Ok(Self(text.to_owned())) } else { Err(NameError($write)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A place: UN/LOCODE in lower case, e.g. `idsrg`.
    SiteCode,
    "write the UN/LOCODE in lower case, two letters and three letters or digits 2 to 9, e.g. \"idsrg\"",
    |text| only(text, 5..=5, |b| b.is_ascii_lowercase() || (b'2'..=b'9').contains(&b))
        && text.bytes().take(2).all(|b| b.is_ascii_lowercase())
);
name!(
    /// A gate at a place, e.g. `g01`.
    GateId,
    "write 1 to 16 lower-case letters and digits, e.g. \"g01\"",
    |text| only(text, 1..=16, |b| b.is_ascii_lowercase() || b.is_ascii_digit())
);
name!(
    /// A customs office (KODE_KANTOR), six digits.
    OfficeCode,
    "write the six digits of the customs office in quotes, e.g. \"040300\"",
    |text| only(text, 6..=6, |b| b.is_ascii_digit())
);
name!(
    /// A terminal (KD_TPS), four characters.
    TpsCode,
    "write the four capitals or digits of the terminal in quotes, e.g. \"KOJA\"",
    |text| only(text, 4..=4, |b| b.is_ascii_uppercase() || b.is_ascii_digit())
);
name!(
    /// A lane of the gate, e.g. `in-1`.
    Lane,
    "write 1 to 16 letters, digits and dashes, e.g. \"in-1\"",
    |text| only(text, 1..=16, |b| b.is_ascii_alphanumeric() || b == b'-')
);
name!(
    /// A user of the local broker.
    UserName,
    "name the user with 1 to 32 lower-case letters, digits, `-` and `_`, e.g. monitor",
    |text| only(text, 1..=32, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
);
name!(
    /// An IANA time zone, e.g. `Asia/Jakarta`.
    TimeZoneName,
    "write an IANA time zone, e.g. \"Asia/Jakarta\", \"Asia/Makassar\" or \"Asia/Jayapura\"",
    |text| jiff::tz::TimeZone::get(text).is_ok()
);

impl TimeZoneName {
    /// The zone itself.
    #[must_use]
    pub fn zone(&self) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::get(&self.0).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

/// The argon2id hash of a password, in PHC form. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash in PHC form, `$argon2id$v=19$m=...,t=...,p=...$salt$hash`.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for PasswordHash {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base64 = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        let parts: Vec<&str> = text.split('$').collect();
        match parts[..] {
            ["", "argon2id", "v=19", cost, salt, hash] if cost.starts_with("m=") && base64(salt) && base64(hash) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NameError(
                "write an argon2id hash in PHC form, \"$argon2id$v=19$m=19456,t=2,p=1$salt$hash\", never the password itself",
            )),
        }
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(hidden)")
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `mqtt://`: nothing protects it.
    Plain,
    /// `mqtts://`: TLS.
    Tls,
}

/// The broker of customs: `mqtts://host[:port]` or `mqtt://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UplinkUrl {
    /// How the connection is protected.
    pub transport: Transport,
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The TCP port; without one in the text 8883 for TLS and 1883 for plain.
    pub port: u16,
}

/// What to write as the URL of the uplink.
const WRITE_URL: NameError =
    NameError("write \"mqtts://host:8883\", or \"mqtt://127.0.0.1:1884\" on this computer; no user, password or path in it");

impl UplinkUrl {
    /// Whether the host is this computer.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for UplinkUrl {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(WRITE_URL)?;
        let (transport, usual) = match scheme {
            "mqtts" => (Transport::Tls, 8883),
            "mqtt" => (Transport::Plain, 1883),
            _ => return Err(WRITE_URL),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').map(|six| six.split_once(']').ok_or(WRITE_URL)) {
            Some(six) => {
                let (host, port) = six?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| WRITE_URL)?;
                (host, port.strip_prefix(':').map_or(if port.is_empty() { Ok(None) } else { Err(WRITE_URL) }, |p| Ok(Some(p)))?)
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if !only(host, 1..=253, named) {
            return Err(WRITE_URL);
        }
        let port = match port {
            None => usual,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok().filter(|port| *port != 0).ok_or(WRITE_URL)?,
            Some(_) => return Err(WRITE_URL),
        };
        Ok(Self { transport, host: host.to_owned(), port })
    }
}

impl TryFrom<String> for UplinkUrl {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for UplinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Plain => "mqtt",
            Transport::Tls => "mqtts",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uplink_url_has_a_known_scheme_a_host_and_no_credentials() {
        for (text, whole) in [
            ("mqtts://skp.example.id", "mqtts://skp.example.id:8883"),
            ("mqtt://127.0.0.1:1884", "mqtt://127.0.0.1:1884"),
            ("mqtt://[::1]/", "mqtt://[::1]:1883"),
        ] {
            assert_eq!(text.parse::<UplinkUrl>().unwrap().to_string(), whole);
        }
        let bad = ["", "host", "http://a", "mqtts://", "mqtts://u:p@h:1", "mqtts://h:0", "mqtts://h:70000", "mqtts://h:+1", "mqtts://h/x"];
        for text in bad.into_iter().chain(["mqtts://[::1]x", "mqtts://[h]", "mqtts://a:1:2", "mqtts://h:"]) {
            assert!(text.parse::<UplinkUrl>().is_err(), "{text}");
        }
        assert!("mqtt://localhost".parse::<UplinkUrl>().unwrap().is_loopback());
        assert!(!"mqtt://10.0.0.1".parse::<UplinkUrl>().unwrap().is_loopback());
    }

    #[test]
    fn names_hold_only_what_is_allowed() {
        assert!("idsrg".parse::<SiteCode>().is_ok());
        for bad in ["IDSRG", "idsr", "id0rg", "2dsrg", "idsrgx"] {
            assert!(bad.parse::<SiteCode>().is_err(), "{bad}");
        }
        assert!("040300".parse::<OfficeCode>().is_ok() && "40300".parse::<OfficeCode>().is_err());
        assert!("Asia/Jakarta".parse::<TimeZoneName>().is_ok() && "Asia/Jakata".parse::<TimeZoneName>().is_err());
    }

    #[test]
    fn a_password_hash_is_argon2id_and_never_shown() {
        let hash: PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA".parse().unwrap();
        assert!(!format!("{hash:?}").contains("argon2"));
        for bad in ["", "hunter2", "$argon2i$v=19$m=1,t=1,p=1$a$b", "$2b$12$abc"] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
    }
}
