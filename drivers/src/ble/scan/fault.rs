//! What BlueZ's errors mean. The library hands them on as text, and BlueZ itself says the most important thing, the ATT
//! error of a seal, in text alone (`Operation failed with ATT error: 0x80`).

use crate::ble::link::LinkFault;

/// What an error of BlueZ means for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    /// Something is still going on with this device: end it, then try again.
    Busy,
    /// Too soon after a disconnect: wait a moment, then try again.
    TooSoon,
    /// A fault.
    Fault(LinkFault),
}

/// D-Bus errors that say that BlueZ or the bus itself is not there.
const NOBODY: &[&str] = &[
    "DBus.Error.ServiceUnknown",
    "DBus.Error.NameHasNoOwner",
    "DBus.Error.Disconnected",
    "DBus.Error.NoServer",
    "DBus.Error.NoNetwork",
    "Failed to send message",
    // BlueZ's own: the adapter is switched off
    "org.bluez.Error.NotReady",
    "Resource Not Ready",
];

/// What an error means. `said` is how it prints, `named` how it is shown for finding faults: the name of a D-Bus error
/// stands in that alone.
pub(super) fn meant(said: &str, named: &str) -> Meant {
    let either = |part: &str| said.contains(part) || named.contains(part);
    if let Some(code) = att(said) {
        return Meant::Fault(LinkFault::Att(code));
    }
    if either("already in progress") || either("Error.InProgress") || either("In Progress") {
        return Meant::Busy;
    }
    if either("Input/output error") {
        return Meant::TooSoon;
    }
    let text = if said.is_empty() { named } else { said };
    let text = text.chars().take(TEXT_MAX).collect();
    if NOBODY.iter().any(|part| either(part)) {
        return Meant::Fault(LinkFault::Adapter(text));
    }
    Meant::Fault(LinkFault::Lost(text))
}

/// Errors go into answers for people: as much of one as a line holds.
const TEXT_MAX: usize = 160;

/// The code in `…ATT error: 0x80`.
fn att(said: &str) -> Option<u8> {
    let (_, code) = said.split_once("ATT error: 0x")?;
    let digits: String = code.chars().take_while(char::is_ascii_hexdigit).collect();
    u8::from_str_radix(&digits, 16).ok()
}

/// What an error of a call on a standing connection means.
pub(super) fn fault(error: &btleplug::Error) -> LinkFault {
    match meant(&error.to_string(), &format!("{error:?}")) {
        Meant::Fault(fault) => fault,
        Meant::Busy => LinkFault::Lost("BlueZ is still busy with the last call to this seal".to_owned()),
        Meant::TooSoon => LinkFault::Lost("the kernel refuses (Input/output error)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bluez_says_is_understood() {
        let failed = |said: &str| meant(said, &format!("Other(DbusError(D-Bus error: {said} (org.bluez.Error.Failed)))"));
        assert_eq!(failed("Operation failed with ATT error: 0x80"), Meant::Fault(LinkFault::Att(0x80)));
        assert_eq!(failed("Operation failed with ATT error: 0x0e"), Meant::Fault(LinkFault::Att(0x0E)));
        assert_eq!(
            failed("Operation failed with ATT error: 0x1ff"),
            Meant::Fault(LinkFault::Lost("Operation failed with ATT error: 0x1ff".into()))
        );
        assert_eq!(failed("Operation already in progress"), Meant::Busy);
        assert_eq!(failed("Input/output error"), Meant::TooSoon);
        assert_eq!(failed("Not connected"), Meant::Fault(LinkFault::Lost("Not connected".to_owned())));
        let adapter = |said: &str, name: &str| matches!(meant(said, name), Meant::Fault(LinkFault::Adapter(_)));
        assert!(adapter("", "Other(DbusError(D-Bus error:  (org.freedesktop.DBus.Error.ServiceUnknown)))"));
        assert!(adapter("Resource Not Ready", "Other(DbusError(D-Bus error: Resource Not Ready (org.bluez.Error.NotReady)))"));
        assert!(!adapter("x", "Other(DbusError(D-Bus error: x (org.freedesktop.DBus.Error.UnknownObject)))"), "the device alone is gone");
    }

    #[test]
    fn a_long_error_is_cut() {
        let Meant::Fault(LinkFault::Lost(text)) = meant(&"x".repeat(10_000), "") else { panic!() };
        assert_eq!(text.len(), TEXT_MAX);
    }
}
