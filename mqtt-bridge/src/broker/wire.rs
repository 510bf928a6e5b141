//! From bytes to packets, for the few packets a monitor may send.
//!
//! rumqttd's codec reads the bodies; the first byte is checked here before, because the codec ignores reserved flags
//! and accepts packets only a server sends. Nothing larger than the limit is ever buffered.

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::{Connect, Error, LastWill, Login, Packet, Protocol};

use super::monitor::End;

/// What a first packet says.
#[derive(Debug)]
pub(super) enum Opening {
    /// A CONNECT of MQTT 3.1.1.
    Connect(Connect, Option<Login>, Option<LastWill>),
    /// A CONNECT of another level: answered with return code 1.
    OtherLevel,
}

/// Takes the first packet off `bytes`; `None` while it is incomplete.
pub(super) fn opening(bytes: &mut BytesMut, max: usize) -> Result<Option<Opening>, End> {
    match bytes.first() {
        None => return Ok(None),
        Some(0x10) => {}
        Some(_) => return Err(End::Violation("the first packet is not CONNECT")),
    }
    let named = name(bytes).map(|(name, _)| name == b"MQTT" || name == b"MQIsdp");
    let reserved = name(bytes).and_then(|(_, rest)| rest.get(1)).is_some_and(|flags| flags & 1 != 0);
    let lone_password = name(bytes).and_then(|(_, rest)| rest.get(1)).is_some_and(|flags| flags & 0xc0 == 0x40);
    match V4.read_mut(bytes, max) {
        Ok(Packet::Connect(..)) if reserved => Err(End::Violation("CONNECT with its reserved flag set")),
        Ok(Packet::Connect(..)) if lone_password => Err(End::Violation("CONNECT with a password and no user")),
        Ok(Packet::Connect(connect, _, will, _, login)) => Ok(Some(Opening::Connect(connect, login, will))),
        Ok(_) => Err(End::Violation("the first packet is not CONNECT")),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(Error::InvalidProtocolLevel(_)) => Ok(Some(Opening::OtherLevel)),
        Err(Error::InvalidProtocol) if named == Some(true) => Ok(Some(Opening::OtherLevel)),
        Err(_) => Err(End::Violation("a CONNECT that cannot be read")),
    }
}

/// The protocol name in a CONNECT and what follows it (level, flags, ...), as far as the bytes have arrived.
fn name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let lengths = bytes.get(1..)?.iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let body = bytes.get(1 + lengths..)?;
    let length = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    Some((body.get(2..2 + length)?, body.get(2 + length..)?))
}

/// Takes the next packet of a connected monitor off `bytes`; `None` while it is incomplete.
pub(super) fn next(bytes: &mut BytesMut, max: usize) -> Result<Option<Packet>, End> {
    match bytes.first() {
        None => return Ok(None),
        // PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, with the flags section 2.2.2 asks for
        Some(0x40 | 0x82 | 0xa2 | 0xc0 | 0xe0) => {}
        Some(first) if first >> 4 == 3 => return Err(End::Published),
        Some(_) => return Err(End::Violation("a packet a monitor may not send")),
    }
    match V4.read_mut(bytes, max) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(Error::PayloadSizeLimitExceeded(_)) => Err(End::Violation("a packet larger than the limit")),
        Err(_) => Err(End::Violation("a packet that cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connect(name: &str, level: u8, flags: u8, rest: &[u8]) -> BytesMut {
        let mut body = vec![0, u8::try_from(name.len()).unwrap()];
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&[level, flags, 0, 60]);
        body.extend_from_slice(rest);
        let mut bytes = BytesMut::from(&[0x10, u8::try_from(body.len()).unwrap()][..]);
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn other_levels_are_told_apart_from_nonsense() {
        for (name, level) in [("MQIsdp", 3), ("MQTT", 3), ("MQTT", 5), ("MQTT", 0)] {
            assert!(matches!(opening(&mut connect(name, level, 2, &[0, 1, b'x']), 100), Ok(Some(Opening::OtherLevel))), "{name} {level}");
        }
        for (name, level, flags) in [("MQTX", 4, 2), ("", 4, 2), ("MQTT", 4, 3), ("MQTT", 4, 0x42)] {
            assert!(
                matches!(opening(&mut connect(name, level, flags, &[0, 1, b'x', 0, 0]), 100), Err(End::Violation(_))),
                "{name} {flags}"
            );
        }
    }

    #[test]
    fn a_connect_may_arrive_byte_by_byte() {
        let whole = connect("MQTT", 4, 2, &[0, 1, b'x']);
        for cut in 0..whole.len() {
            assert!(matches!(opening(&mut BytesMut::from(&whole[..cut]), 100), Ok(None)), "{cut}");
        }
        assert!(matches!(opening(&mut whole.clone(), 100), Ok(Some(Opening::Connect(..)))));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_the_body_arrives() {
        assert!(matches!(next(&mut BytesMut::from(&[0x82, 0xff, 0xff, 0x7f][..]), 1000), Err(End::Violation(_))));
        assert!(matches!(opening(&mut BytesMut::from(&[0x10, 0xff, 0xff, 0x7f][..]), 1000), Err(End::Violation(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), first in prop::sample::select(vec![0x10u8, 0x40, 0x82, 0xa2, 0xc0, 0xe0])) {
            let mut all = vec![first];
            all.extend(bytes);
            let _ = opening(&mut BytesMut::from(&all[..]), 1000);
            let mut rest = BytesMut::from(&all[..]);
            while let Ok(Some(_)) = next(&mut rest, 1000) {}
        }
    }
}
