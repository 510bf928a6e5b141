//! BTHome v2 seals: they advertise and have no connections. The format is in [`crate::codec::bthome`].

use uuid::Uuid;

use super::{Advertised, Exchange, Moment, Ports, Protocol, ProtocolName, Rating};
use crate::{
    Action, AdvertRefusal, Hindrance, Security,
    ble::{
        AirFrame, KnownSeal,
        air::{Payload, uuid16},
    },
    codec::bthome::{self, BthomeFault},
};

/// BTHome v2.
#[derive(Debug, Clone, Copy)]
pub struct Bthome;

impl Protocol for Bthome {
    fn name(&self) -> ProtocolName {
        ProtocolName::Bthome
    }

    fn rating(&self, seal: &KnownSeal) -> Rating {
        match seal.credentials.key {
            Some(_) => Rating {
                security: Security::Weak,
                reason: "its messages are encrypted with the seal's own key and counted, but with a code of 4 bytes and no challenge: a message held back can be delivered late",
            },
            None => {
                Rating { security: Security::ClaimOnly, reason: "it speaks in the clear: anybody with a transmitter can speak in its name" }
            }
        }
    }

    fn actions(&self) -> &'static [Action] {
        &[]
    }

    fn ports(&self) -> Ports {
        Ports::None
    }

    fn service_data(&self) -> Option<Uuid> {
        Some(uuid16(bthome::SERVICE_DATA_UUID))
    }

    fn advert(&self, seal: &KnownSeal, frame: &AirFrame) -> Option<Result<Advertised, AdvertRefusal>> {
        let Payload::ServiceData { uuid, bytes } = &frame.payload else { return None };
        if *uuid != uuid16(bthome::SERVICE_DATA_UUID) {
            return None;
        }
        let read = bthome::read(bytes, frame.address, seal.credentials.key.as_ref());
        Some(read.map(|advert| Advertised { reading: advert.reading, protection: advert.protection }).map_err(refusal))
    }

    fn exchange(&self, action: Action, _: &KnownSeal, _: &Moment) -> Result<Box<dyn Exchange>, Hindrance> {
        Err(Hindrance::CannotDo { protocol: self.name(), action })
    }
}

fn refusal(fault: BthomeFault) -> AdvertRefusal {
    match fault {
        BthomeFault::PlainDespiteKey => AdvertRefusal::PlainDespiteKey,
        BthomeFault::BadCode => AdvertRefusal::BadCode,
        BthomeFault::NoKey => AdvertRefusal::NoKey,
        BthomeFault::TooShort
        | BthomeFault::TooLong
        | BthomeFault::Version(_)
        | BthomeFault::OtherAddress
        | BthomeFault::Cut(_)
        | BthomeFault::NeitherYesNorNo(_) => AdvertRefusal::Malformed,
    }
}
