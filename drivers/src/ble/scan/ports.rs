//! Which characteristics of a device are the ports of its protocol.

use std::collections::BTreeSet;

use btleplug::api::{CharPropFlags, Characteristic, Service, WriteType};
use uuid::Uuid;

use crate::ble::protocol::{Ports, WriteAck};

/// The ports of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) write: Characteristic,
    pub(super) notify: Characteristic,
    pub(super) kind: WriteType,
    /// Longest piece written at once, in bytes; never 0.
    pub(super) piece: usize,
}

/// Finds them.
///
/// # Errors
/// What is missing, for people.
pub(super) fn find(services: &BTreeSet<Service>, ports: Ports) -> Result<Found, String> {
    match ports {
        Ports::None => Err("its protocol has no connections".to_owned()),
        Ports::Fixed { service, write, notify, ack, piece } => {
            let found = services.iter().find(|found| found.uuid == service).ok_or_else(|| format!("no service {service}"))?;
            let by = |uuid: Uuid| {
                found.characteristics.iter().find(|port| port.uuid == uuid).cloned().ok_or_else(|| format!("no characteristic {uuid}"))
            };
            let kind = match ack {
                WriteAck::Acknowledged => WriteType::WithResponse,
                WriteAck::Unacknowledged => WriteType::WithoutResponse,
            };
            Ok(Found { write: by(write)?, notify: by(notify)?, kind, piece: piece.max(1) })
        }
        Ports::AnyPair { piece } => {
            let own = services.iter().filter(|service| !is_short(service.uuid));
            let pair = own.filter_map(|service| Some((first(service, WRITES)?, first(service, NOTIFIES)?))).next();
            let (write, notify) = pair.ok_or("no service of its maker with one characteristic to write and one that notifies")?;
            let acknowledged = write.properties.contains(CharPropFlags::WRITE);
            let kind = if acknowledged { WriteType::WithResponse } else { WriteType::WithoutResponse };
            Ok(Found { write, notify, kind, piece: piece.max(1) })
        }
    }
}

const WRITES: CharPropFlags = CharPropFlags::WRITE.union(CharPropFlags::WRITE_WITHOUT_RESPONSE);
const NOTIFIES: CharPropFlags = CharPropFlags::NOTIFY.union(CharPropFlags::INDICATE);

fn first(service: &Service, wanted: CharPropFlags) -> Option<Characteristic> {
    service.characteristics.iter().find(|port| port.properties.intersects(wanted)).cloned()
}

/// Whether it is one of the Bluetooth SIG's own 16-bit UUIDs.
fn is_short(uuid: Uuid) -> bool {
    let base = crate::ble::air::uuid16(0).as_u128();
    uuid.as_u128() & !(0xFFFF << 96) == base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ble::air::uuid16;

    const OWN: Uuid = Uuid::from_u128(0x6e40_0001_b5a3_f393_e0a9_e50e_24dc_ca9e);
    const OTHER: Uuid = Uuid::from_u128(0x7e40_0001_b5a3_f393_e0a9_e50e_24dc_ca9e);

    fn service(uuid: Uuid, ports: &[(u16, CharPropFlags)]) -> Service {
        let of = |(short, properties): &(u16, CharPropFlags)| Characteristic {
            uuid: uuid16(*short),
            service_uuid: uuid,
            properties: *properties,
            descriptors: BTreeSet::new(),
        };
        Service { uuid, primary: true, characteristics: ports.iter().map(of).collect() }
    }

    #[test]
    fn a_pair_is_found_within_one_service_of_the_maker() {
        let services = BTreeSet::from([
            service(uuid16(0x1801), &[(0x2A05, CharPropFlags::INDICATE), (0x2B29, CharPropFlags::WRITE)]),
            service(OWN, &[(1, CharPropFlags::WRITE_WITHOUT_RESPONSE)]),
            service(OTHER, &[(2, CharPropFlags::NOTIFY), (3, CharPropFlags::WRITE_WITHOUT_RESPONSE)]),
        ]);
        let found = find(&services, Ports::AnyPair { piece: 0 }).unwrap();
        assert_eq!((found.write.uuid, found.notify.uuid, found.kind), (uuid16(3), uuid16(2), WriteType::WithoutResponse));
        assert_eq!(found.piece, 1);
        assert!(find(&BTreeSet::new(), Ports::AnyPair { piece: 20 }).is_err());
    }

    #[test]
    fn fixed_ports_are_those_or_none() {
        let services = BTreeSet::from([service(OWN, &[(2, CharPropFlags::WRITE), (3, CharPropFlags::NOTIFY)])]);
        let ports = |notify| Ports::Fixed { service: OWN, write: uuid16(2), notify, ack: WriteAck::Acknowledged, piece: 20 };
        assert_eq!(find(&services, ports(uuid16(3))).unwrap().kind, WriteType::WithResponse);
        let error = find(&services, ports(uuid16(4))).unwrap_err();
        assert!(error.contains("no characteristic 00000004"), "{error}");
        assert!(find(&BTreeSet::new(), ports(uuid16(3))).unwrap_err().contains("no service 6e400001"));
    }
}
