//! Object paths: `/org/bluez/hci0/dev_A4_C1_38_0B_52_01/service0010/char0011/desc0013`.

use segel_drivers::MacAddress;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Adapter(String),
    Device(String, MacAddress),
    /// A service, characteristic or descriptor: its path beneath the device, and the handle in its last part.
    Gatt(String, MacAddress, u16),
    /// A path BlueZ has nothing at.
    Nowhere,
}

impl Place {
    pub(super) fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/org/bluez") else {
            return if path == "/" { Self::Root } else { Self::Nowhere };
        };
        let mut parts = rest.split('/').skip(1);
        let Some(adapter) = parts.next() else { return Self::Nowhere };
        let adapter = adapter.to_owned();
        let Some(device) = parts.next() else { return Self::Adapter(adapter) };
        let address = device.strip_prefix("dev_").and_then(|text| text.replace('_', ":").parse().ok());
        let Some(address) = address else { return Self::Nowhere };
        let Some(last) = parts.last() else { return Self::Device(adapter, address) };
        let digits = last.get(last.len().saturating_sub(4)..).unwrap_or_default();
        u16::from_str_radix(digits, 16).map_or(Self::Nowhere, |handle| Self::Gatt(adapter, address, handle))
    }
}

pub(super) fn adapter(name: &str) -> String {
    format!("/org/bluez/{name}")
}

pub(super) fn device(adapter: &str, address: MacAddress) -> String {
    format!("/org/bluez/{adapter}/dev_{}", address.to_string().replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_it_names() {
        let address: MacAddress = "A4:C1:38:0B:52:01".parse().unwrap();
        let path = device("hci1", address);
        assert_eq!(Place::of("/"), Place::Root);
        assert_eq!(Place::of("/org/bluez"), Place::Nowhere);
        assert_eq!(Place::of(&adapter("hci1")), Place::Adapter("hci1".into()));
        assert_eq!(Place::of(&path), Place::Device("hci1".into(), address));
        assert_eq!(Place::of(&format!("{path}/service0010/char0011")), Place::Gatt("hci1".into(), address, 0x11));
        for nowhere in ["", "/org", "/org/bluez/hci1/dev_A4", "/org/bluez/hci1/A4_C1_38_0B_52_01", &format!("{path}/x")] {
            assert_eq!(Place::of(nowhere), Place::Nowhere, "{nowhere}");
        }
    }
}
