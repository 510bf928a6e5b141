//! Frames of the simulated air as bytes.
//!
//! ```text
//!   version 1   an advertisement of BTHome service data
//!   version 2   [`Told`] (air to radio): any other advertisement, and what a connection says
//!               [`Asked`] (radio to air): connect, write, read, disconnect
//! ```

use std::io;

use bincode::{Decode, Encode, config};
use uuid::Uuid;

use crate::{
    MacAddress,
    ble::{AirFrame, Payload, air::uuid16, link::LinkFault, protocol::Ports},
    codec::bthome::{SERVICE_DATA_MAX, SERVICE_DATA_UUID},
};

/// Longest content of a frame in bytes: the longest service data, and what stands around it.
pub(super) const CONTENT_MAX: usize = 512;
/// Longest value written, read or notified: what an attribute here holds, and what stands around it.
pub(super) const VALUE_MAX: usize = 400;
/// A frame without content.
pub(super) const STILL_THERE: [u8; 4] = [0; 4];
/// The version of advertisements of BTHome.
const VERSION: u8 = 1;
/// The version of everything else.
const VERSION_2: u8 = 2;

#[derive(Debug, Encode, Decode)]
struct Content {
    version: u8,
    address: [u8; 6],
    rssi_dbm: Option<i16>,
    service_data: Vec<u8>,
}

/// What an advertisement of version 2 carries.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Carried {
    Bare,
    ServiceData { uuid: [u8; 16], bytes: Vec<u8> },
    ManufacturerData { company: u16, bytes: Vec<u8> },
}

/// What the air tells a radio. `link` is the number the radio gave its connection, `ask` that of its question.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Told {
    Advert { address: [u8; 6], rssi_dbm: Option<i16>, carried: Carried },
    Connected { link: u32 },
    Refused { link: u32, why: Refusal },
    Written { link: u32, ask: u32, att_error: Option<u8> },
    Value { link: u32, ask: u32, bytes: Vec<u8> },
    Notified { link: u32, bytes: Vec<u8> },
    Lost { link: u32 },
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) enum Refusal {
    OutOfReach,
    Busy,
    NoPorts,
}

impl From<Refusal> for LinkFault {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::OutOfReach => Self::Connect("the seal is out of reach".to_owned()),
            Refusal::Busy => Self::Connect("somebody else is connected to it".to_owned()),
            Refusal::NoPorts => Self::NoPorts("it has others".to_owned()),
        }
    }
}

/// What a radio asks of the air.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Asked {
    Connect { link: u32, address: [u8; 6], wanted: Option<Wanted> },
    Write { link: u32, ask: u32, bytes: Vec<u8> },
    Read { link: u32, ask: u32 },
    Disconnect { link: u32 },
}

/// The characteristics a protocol wants, where it names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Wanted {
    pub(super) service: [u8; 16],
    pub(super) write: [u8; 16],
    pub(super) notify: [u8; 16],
}

impl Wanted {
    pub(super) fn of(ports: Ports) -> Option<Self> {
        let Ports::Fixed { service, write, notify, .. } = ports else { return None };
        Some(Self { service: service.into_bytes(), write: write.into_bytes(), notify: notify.into_bytes() })
    }
}

/// A frame of version 2.
#[derive(Debug, Encode, Decode)]
struct Second<T> {
    version: u8,
    said: T,
}

/// The limit keeps a wrong length inside a frame from asking for more memory than the frame has bytes.
fn format() -> impl config::Config {
    config::standard().with_limit::<CONTENT_MAX>()
}

fn framed(content: impl Encode) -> io::Result<Vec<u8>> {
    let content = bincode::encode_to_vec(content, format()).map_err(io::Error::other)?;
    if content.len() > CONTENT_MAX {
        return Err(io::Error::other("no frame carries that much"));
    }
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes(), content.as_slice()].concat())
}

pub(super) fn encode(frame: &AirFrame) -> io::Result<Vec<u8>> {
    let AirFrame { address, rssi_dbm, payload } = frame;
    if payload.bytes().len() > SERVICE_DATA_MAX {
        return Err(io::Error::other("no advertisement carries that much"));
    }
    let (address, rssi_dbm) = (address.0, *rssi_dbm);
    let carried = match payload {
        Payload::ServiceData { uuid, bytes } if *uuid == uuid16(SERVICE_DATA_UUID) => {
            return framed(Content { version: VERSION, address, rssi_dbm, service_data: bytes.clone() });
        }
        Payload::ServiceData { uuid, bytes } => Carried::ServiceData { uuid: uuid.into_bytes(), bytes: bytes.clone() },
        Payload::ManufacturerData { company, bytes } => Carried::ManufacturerData { company: *company, bytes: bytes.clone() },
        Payload::Bare => Carried::Bare,
    };
    tell(Told::Advert { address, rssi_dbm, carried })
}

/// A frame of version 2 as bytes.
pub(super) fn tell(told: Told) -> io::Result<Vec<u8>> {
    framed(Second { version: VERSION_2, said: told })
}

/// A question as bytes.
pub(super) fn ask(asked: Asked) -> io::Result<Vec<u8>> {
    framed(Second { version: VERSION_2, said: asked })
}

/// What a radio heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Advert(AirFrame),
    Session(Told),
}

/// A frame from its content; `None` when it is none of ours.
pub(super) fn decode(content: &[u8]) -> Option<Heard> {
    match content.first() {
        Some(&VERSION) => first(content).map(Heard::Advert),
        _ => match second(content)? {
            Told::Advert { address, rssi_dbm, carried } => {
                let payload = match carried {
                    Carried::Bare => Payload::Bare,
                    Carried::ServiceData { uuid, bytes } => Payload::ServiceData { uuid: Uuid::from_bytes(uuid), bytes },
                    Carried::ManufacturerData { company, bytes } => Payload::ManufacturerData { company, bytes },
                };
                let fits = payload.bytes().len() <= SERVICE_DATA_MAX;
                fits.then_some(Heard::Advert(AirFrame { address: MacAddress(address), rssi_dbm, payload }))
            }
            told => Some(Heard::Session(told)),
        },
    }
}

/// A question from its content; `None` when it is none of ours.
pub(super) fn question(content: &[u8]) -> Option<Asked> {
    second(content)
}

fn second<T: Decode<()>>(content: &[u8]) -> Option<T> {
    let (Second { version, said }, used) = bincode::decode_from_slice::<Second<T>, _>(content, format()).ok()?;
    (version == VERSION_2 && used == content.len()).then_some(said)
}

fn first(content: &[u8]) -> Option<AirFrame> {
    let (read, used) = bincode::decode_from_slice::<Content, _>(content, format()).ok()?;
    let Content { version, address, rssi_dbm, service_data } = read;
    let ours = version == VERSION && used == content.len() && service_data.len() <= SERVICE_DATA_MAX;
    ours.then(|| AirFrame::bthome(MacAddress(address), rssi_dbm, service_data))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The daemon and the one that plays the air may be of different builds; do not change this test.
    #[test]
    fn a_frame_is_these_bytes() {
        let frame = AirFrame::bthome(MacAddress([1, 2, 3, 4, 5, 6]), Some(-60), vec![0x40, 0x1F, 0]);
        let bytes = encode(&frame).unwrap();
        assert_eq!(hex::encode(&bytes), "0d000000010102030405060177 03401f00".replace(' ', ""));
        assert_eq!(decode(&bytes[4..]), Some(Heard::Advert(frame)));
    }

    /// As above; do not change this test.
    #[test]
    fn a_frame_of_the_second_version_is_these_bytes() {
        let uuid = Uuid::from_bytes([7; 16]);
        let payload = Payload::ServiceData { uuid, bytes: vec![1, 2] };
        let frame = AirFrame { address: MacAddress([1, 2, 3, 4, 5, 6]), rssi_dbm: None, payload };
        let bytes = encode(&frame).unwrap();
        assert_eq!(hex::encode(&bytes), "1d000000020001020304050600010707070707070707070707070707070702 0102".replace(' ', ""));
        assert_eq!(decode(&bytes[4..]), Some(Heard::Advert(frame)));
        let told = Told::Written { link: 3, ask: 300, att_error: Some(0x83) };
        let bytes = tell(told.clone()).unwrap();
        assert_eq!(hex::encode(&bytes), "08000000020303fb2c010183");
        assert_eq!(decode(&bytes[4..]), Some(Heard::Session(told)));
        let asked = Asked::Write { link: 3, ask: 1, bytes: vec![9] };
        let bytes = ask(asked.clone()).unwrap();
        assert_eq!(hex::encode(&bytes), "06000000020103010109");
        assert_eq!(question(&bytes[4..]), Some(asked));
    }

    #[test]
    fn what_is_longer_or_of_another_version_is_refused() {
        let frame = AirFrame::bthome(MacAddress([0; 6]), None, vec![0; SERVICE_DATA_MAX + 1]);
        assert!(encode(&frame).is_err());
        let mut bytes = encode(&AirFrame::bthome(frame.address, None, vec![1])).unwrap();
        assert!(decode(&[&bytes[4..], &[0]].concat()).is_none(), "one byte too many");
        bytes[4] = 3;
        assert!(decode(&bytes[4..]).is_none(), "another version");
    }

    proptest! {
        #[test]
        fn no_content_panics_or_asks_for_much(content in prop::collection::vec(any::<u8>(), 0..CONTENT_MAX)) {
            let _ = (decode(&content), question(&content));
        }
    }
}
