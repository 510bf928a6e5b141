//! Frames of the simulated air as bytes.

use std::io;

use bincode::{Decode, Encode, config};

use crate::{
    MacAddress,
    ble::{AirFrame, Payload, air::uuid16},
    codec::bthome::{SERVICE_DATA_MAX, SERVICE_DATA_UUID},
};

/// Longest content of a frame in bytes: the longest service data, and what stands around it.
pub(super) const CONTENT_MAX: usize = 512;
/// A frame without content.
pub(super) const STILL_THERE: [u8; 4] = [0; 4];
/// The version written and the only one read.
const VERSION: u8 = 1;

#[derive(Debug, Encode, Decode)]
struct Content {
    version: u8,
    address: [u8; 6],
    rssi_dbm: Option<i16>,
    service_data: Vec<u8>,
}

/// The limit keeps a wrong length inside a frame from asking for more memory than the frame has bytes.
fn format() -> impl config::Config {
    config::standard().with_limit::<CONTENT_MAX>()
}

pub(super) fn encode(frame: &AirFrame) -> io::Result<Vec<u8>> {
    let AirFrame { address, rssi_dbm, payload } = frame;
    let Payload::ServiceData { uuid, bytes: service_data } = payload else {
        return Err(io::Error::other("the simulated air carries BTHome service data only"));
    };
    if *uuid != uuid16(SERVICE_DATA_UUID) {
        return Err(io::Error::other("the simulated air carries BTHome service data only"));
    }
    if service_data.len() > SERVICE_DATA_MAX {
        return Err(io::Error::other("no advertisement carries that much"));
    }
    let content = Content { version: VERSION, address: address.0, rssi_dbm: *rssi_dbm, service_data: service_data.clone() };
    let content = bincode::encode_to_vec(content, format()).map_err(io::Error::other)?;
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes(), content.as_slice()].concat())
}

/// A frame from its content; `None` when it is none of ours.
pub(super) fn decode(content: &[u8]) -> Option<AirFrame> {
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
        assert_eq!(decode(&bytes[4..]), Some(frame));
    }

    #[test]
    fn what_is_longer_or_of_another_version_is_refused() {
        let frame = AirFrame::bthome(MacAddress([0; 6]), None, vec![0; SERVICE_DATA_MAX + 1]);
        assert!(encode(&frame).is_err());
        let mut bytes = encode(&AirFrame::bthome(frame.address, None, vec![1])).unwrap();
        assert!(decode(&[&bytes[4..], &[0]].concat()).is_none(), "one byte too many");
        bytes[4] = 2;
        assert!(decode(&bytes[4..]).is_none(), "another version");
    }

    proptest! {
        #[test]
        fn no_content_panics_or_asks_for_much(content in prop::collection::vec(any::<u8>(), 0..CONTENT_MAX)) {
            let _ = decode(&content);
        }
    }
}
