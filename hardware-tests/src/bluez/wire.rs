//! Values and signals as bluetoothd puts them on the bus.

use std::collections::BTreeMap;

use uuid::Uuid;
use zbus::{Message, ObjectPath, OwnedVariant, Str, Variant};

/// Properties of one interface.
pub(super) type Props = BTreeMap<&'static str, OwnedVariant>;
/// The interfaces of one object.
pub(super) type Interfaces = BTreeMap<&'static str, Props>;

pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
pub(super) const SERVICE: &str = "org.bluez.GattService1";
pub(super) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
pub(super) const DESCRIPTOR: &str = "org.bluez.GattDescriptor1";

pub(super) fn text(value: &str) -> OwnedVariant {
    OwnedVariant::from(Str::from(value.to_owned()))
}

pub(super) fn object(path: &str) -> OwnedVariant {
    OwnedVariant::from(self::path(path))
}

pub(super) fn path(path: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(path.to_owned()).expect("paths are made of names and hex digits")
}

fn owned(value: Variant<'_>) -> OwnedVariant {
    OwnedVariant::try_from(value).expect("only file descriptors cannot be copied, and there are none")
}

pub(super) fn bytes(value: &[u8]) -> OwnedVariant {
    owned(Variant::from(value.to_vec()))
}

pub(super) fn texts(values: impl IntoIterator<Item = impl ToString>) -> OwnedVariant {
    owned(Variant::from(values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>()))
}

pub(super) fn service_data(map: &BTreeMap<Uuid, Vec<u8>>) -> OwnedVariant {
    let map: BTreeMap<String, Variant<'static>> = map.iter().map(|(uuid, data)| (uuid.to_string(), Variant::from(data.clone()))).collect();
    owned(Variant::from(map))
}

pub(super) fn manufacturer_data(map: &BTreeMap<u16, Vec<u8>>) -> OwnedVariant {
    let map: BTreeMap<u16, Variant<'static>> = map.iter().map(|(company, data)| (*company, Variant::from(data.clone()))).collect();
    owned(Variant::from(map))
}

const UNFIT: &str = "names and paths here are well formed";

/// Several properties in one signal.
pub(super) fn changed(at: &str, interface: &str, changed: &Props, gone: &[&str]) -> Message {
    let signal = Message::signal(path(at), "org.freedesktop.DBus.Properties", "PropertiesChanged");
    signal.build(&(interface, changed, gone)).expect(UNFIT)
}

/// A new object with all its interfaces.
pub(super) fn added(at: &str, interfaces: &Interfaces) -> Message {
    let signal = Message::signal(path("/"), "org.freedesktop.DBus.ObjectManager", "InterfacesAdded");
    signal.build(&(path(at), interfaces)).expect(UNFIT)
}

/// An object that is gone.
pub(super) fn removed(at: &str, interfaces: &[&str]) -> Message {
    let signal = Message::signal(path("/"), "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
    signal.build(&(path(at), interfaces)).expect(UNFIT)
}

/// What `Introspect` answers: all interfaces before all nodes, or the library cannot read it.
pub(super) fn introspection(interfaces: &[&str], nodes: &[String]) -> String {
    let standard = ["org.freedesktop.DBus.Introspectable", "org.freedesktop.DBus.Properties"];
    let interfaces = standard.iter().chain(interfaces).map(|name| format!("<interface name=\"{name}\"></interface>"));
    let nodes = nodes.iter().map(|name| format!("<node name=\"{name}\"/>"));
    let head = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\" \
                \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">";
    format!("{head}<node>{}</node>", interfaces.chain(nodes).collect::<String>())
}
