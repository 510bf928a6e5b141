//! Advertisements as a seal makes them, for the emulated seals of the bench and for tests.

use ccm::aead::Aead;

use super::{ENCRYPTED, ON_TRIGGER, SealKey, VERSION, VERSION_SHIFT, nonce};
use crate::{LockClaim, MacAddress, SealReading};

/// What a seal without a key advertises: service data that sends on trigger.
#[must_use]
pub fn plain(reading: &SealReading) -> Vec<u8> {
    let mut data = vec![VERSION << VERSION_SHIFT | ON_TRIGGER];
    data.extend(objects(reading));
    data
}

/// What a seal with a key advertises from `address` with this message counter.
///
/// # Panics
/// Never: the longest reading is far below what the cipher can take.
#[must_use]
pub fn sealed(reading: &SealReading, address: MacAddress, key: &SealKey, counter: u32) -> Vec<u8> {
    let info = VERSION << VERSION_SHIFT | ON_TRIGGER | ENCRYPTED;
    let counter = counter.to_le_bytes();
    let closed = key.cipher().encrypt(&nonce(address, info, counter).into(), objects(reading).as_slice());
    let closed = closed.expect("a reading is shorter than the cipher's limit of 65,535 bytes");
    let (objects, code) = closed.split_at(closed.len() - super::CODE_LEN);
    [&[info], objects, &counter, code].concat()
}

/// The objects in ascending order of their ids, as the format asks.
fn objects(reading: &SealReading) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |id: u8, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            out.push(id);
            out.extend(value);
        }
    };
    let yes = |value: Option<bool>| value.map(|v| vec![u8::from(v)]);
    let fine = reading.temperature_centi_c.map(|t| t.clamp(i16::MIN.into(), i16::MAX.into()));
    put(0x00, reading.packet.map(|v| vec![v]));
    put(0x01, reading.battery_percent.map(|v| vec![v]));
    put(0x02, fine.and_then(|t| i16::try_from(t).ok()).map(|t| t.to_le_bytes().to_vec()));
    put(0x03, reading.humidity_centi_pct.and_then(|h| u16::try_from(h).ok()).map(|h| h.to_le_bytes().to_vec()));
    put(0x0C, reading.voltage_mv.map(|v| v.to_le_bytes().to_vec()));
    put(0x11, yes(reading.open));
    put(0x15, yes(reading.battery_low));
    put(0x16, yes(reading.charging));
    put(0x1F, reading.lock.map(|lock| vec![u8::from(lock == LockClaim::Unlocked)]));
    put(0x22, yes(reading.moving));
    put(0x26, yes(reading.problem));
    put(0x2B, yes(reading.tamper));
    put(0x50, reading.device_time.map(|t| t.to_le_bytes().to_vec()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes as the frames in the decoder's tests; do not change this test.
    #[test]
    fn a_seals_frame_is_made_byte_for_byte() {
        let reading = SealReading {
            packet: Some(9),
            battery_percent: Some(93),
            lock: Some(LockClaim::Locked),
            tamper: Some(true),
            ..SealReading::default()
        };
        assert_eq!(hex::encode(plain(&reading)), "440009015d1f002b01");
        let key = "231d39c1d7cc1ab1aee224cd096db932".parse().unwrap();
        let made = sealed(&reading, "54:48:E6:8F:80:A5".parse().unwrap(), &key, 1);
        assert_eq!(hex::encode(made), "450217c863f67628ee01000000c539fcd0");
    }
}
