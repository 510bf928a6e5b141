//! BTHome version 2: the open format seals and sensors advertise under the service data UUID `FCD2`.
//!
//! ```text
//!   plain       info [MAC reversed] objects...
//!   encrypted   info [MAC reversed] objects, AES-CCM'ed... counter (4, LE) code (4)
//!   info        bit 0 encrypted, bit 1 MAC included, bit 2 sends on trigger only, bits 5-7 version = 2
//!   object      id value (LE), see `objects`
//!   nonce       MAC (6) UUID (D2 FC) info counter (4)
//! ```
//!
//! What must hold: with a key, nothing that came in the clear is believed; a code that does not fit gives nothing
//! of what it was meant to protect; a lock that says neither open nor closed is not guessed at. Whether the counter
//! went forward is not judged here ([`super::counter`]).
//!
//! Source: bthome.io, format version 2; the encrypted frames in the tests are the public ones of `bthome-ble`.

mod objects;
mod write;

pub use objects::length as object_length;
pub use write::{plain, sealed};

use aes::Aes128;
use ccm::{
    Ccm,
    aead::{Aead, KeyInit},
    consts::{U4, U13},
};

use crate::{MacAddress, Protection, SealReading};

/// The 16-bit UUID of BTHome service data.
pub const SERVICE_DATA_UUID: u16 = 0xFCD2;

/// Longest service data worth looking at, in bytes: an extended advertisement carries no more.
pub const SERVICE_DATA_MAX: usize = 255;

const ENCRYPTED: u8 = 0x01;
const MAC_INCLUDED: u8 = 0x02;
const ON_TRIGGER: u8 = 0x04;
const VERSION_SHIFT: u8 = 5;
const VERSION: u8 = 2;
const COUNTER_LEN: usize = 4;
const CODE_LEN: usize = 4;

type Cipher = Ccm<Aes128, U4, U13>;

/// A seal's 16-byte key. It can be used and compared, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; 16]);

impl SealKey {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for ciphers and nothing else.
    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(&self.0.into())
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(not shown)")
    }
}

/// Text that is no key. The text itself is not repeated: it may be most of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a seal key: write 32 hex digits")]
pub struct NoKeyError;

impl std::str::FromStr for SealKey {
    type Err = NoKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NoKeyError)?;
        Ok(Self(bytes))
    }
}

/// One advertisement, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// What it says.
    pub reading: SealReading,
    /// How that was protected.
    pub protection: Protection,
    /// The seal sends when something happens, not on a clock: silence says nothing.
    pub on_trigger: bool,
    /// The first object id we do not know: everything behind it was left unread.
    pub unread_from: Option<u8>,
}

/// Why service data is no advertisement to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BthomeFault {
    /// There is less than the format needs.
    #[error("too short to be an advertisement")]
    TooShort,
    /// There is more than an advertisement can carry.
    #[error("longer than {SERVICE_DATA_MAX} bytes")]
    TooLong,
    /// Another version of the format.
    #[error("BTHome version {0}; only version {VERSION} is read")]
    Version(u8),
    /// The MAC inside is not the address it came from.
    #[error("it carries another device's address")]
    OtherAddress,
    /// An object is cut off.
    #[error("object {0:02X} is cut off")]
    Cut(u8),
    /// A yes-or-no object is neither.
    #[error("object {0:02X} is neither 0 nor 1")]
    NeitherYesNorNo(u8),
    /// In the clear although the seal has a key: somebody may be speaking in its name.
    #[error("in the clear although this seal has a key")]
    PlainDespiteKey,
    /// Encrypted, and no key is known. Register the seal's key.
    #[error("encrypted and no key is registered")]
    NoKey,
    /// The code does not fit the key. Check the registered key; if it is right, somebody speaks in the seal's name.
    #[error("its code does not fit the registered key")]
    BadCode,
}

/// Reads service data that came from `address`, with the seal's key where it has one.
///
/// # Errors
/// [`BthomeFault`]: nothing of it may be believed.
pub fn read(service_data: &[u8], address: MacAddress, key: Option<&SealKey>) -> Result<Advert, BthomeFault> {
    let Clear { objects, protection, on_trigger } = clear(service_data, address, key)?;
    let (reading, unread_from) = objects::read(&objects)?;
    Ok(Advert { reading, protection, on_trigger, unread_from })
}

/// Service data with its objects in clear, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clear {
    /// The objects.
    pub objects: Vec<u8>,
    /// How they were protected.
    pub protection: Protection,
    /// Sent when something happens, not on a clock.
    pub on_trigger: bool,
}

/// Verifies and decrypts service data, for whoever shows what is in it.
///
/// # Errors
/// [`BthomeFault`]: nothing of it may be believed.
pub fn clear(service_data: &[u8], address: MacAddress, key: Option<&SealKey>) -> Result<Clear, BthomeFault> {
    if service_data.len() > SERVICE_DATA_MAX {
        return Err(BthomeFault::TooLong);
    }
    let (&info, mut rest) = service_data.split_first().ok_or(BthomeFault::TooShort)?;
    let version = info >> VERSION_SHIFT;
    if version != VERSION {
        return Err(BthomeFault::Version(version));
    }
    if info & MAC_INCLUDED != 0 {
        let (mac, after) = rest.split_first_chunk::<6>().ok_or(BthomeFault::TooShort)?;
        if mac.iter().rev().ne(&address.0) {
            return Err(BthomeFault::OtherAddress);
        }
        rest = after;
    }
    let on_trigger = info & ON_TRIGGER != 0;
    let (objects, protection) = match (info & ENCRYPTED != 0, key) {
        (false, None) => (rest.to_vec(), Protection::Plain),
        (false, Some(_)) => return Err(BthomeFault::PlainDespiteKey),
        (true, None) => return Err(BthomeFault::NoKey),
        (true, Some(key)) => {
            let (objects, counter) = open(rest, address, info, key)?;
            (objects, Protection::Keyed { counter })
        }
    };
    Ok(Clear { objects, protection, on_trigger })
}

/// Verifies and decrypts `objects counter code`.
fn open(sealed: &[u8], address: MacAddress, info: u8, key: &SealKey) -> Result<(Vec<u8>, u32), BthomeFault> {
    let (rest, code) = sealed.split_last_chunk::<CODE_LEN>().ok_or(BthomeFault::TooShort)?;
    let (objects, counter) = rest.split_last_chunk::<COUNTER_LEN>().ok_or(BthomeFault::TooShort)?;
    let with_code = [objects, code].concat();
    let opened = key.cipher().decrypt(&nonce(address, info, *counter).into(), with_code.as_slice()).map_err(|_| BthomeFault::BadCode)?;
    Ok((opened, u32::from_le_bytes(*counter)))
}

fn nonce(address: MacAddress, info: u8, counter: [u8; COUNTER_LEN]) -> [u8; 13] {
    let mut nonce = [0; 13];
    nonce[..6].copy_from_slice(&address.0);
    nonce[6..8].copy_from_slice(&SERVICE_DATA_UUID.to_le_bytes());
    nonce[8] = info;
    nonce[9..].copy_from_slice(&counter);
    nonce
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LockClaim;

    fn address() -> MacAddress {
        "54:48:E6:8F:80:A5".parse().unwrap()
    }

    fn key() -> SealKey {
        "231d39c1d7cc1ab1aee224cd096db932".parse().unwrap()
    }

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn in_clear(text: &str) -> Result<Advert, BthomeFault> {
        read(&bytes(text), address(), None)
    }

    fn keyed(text: &str) -> Result<Advert, BthomeFault> {
        read(&bytes(text), address(), Some(&key()))
    }

    fn seal_shaped() -> SealReading {
        SealReading { battery_percent: Some(93), lock: Some(LockClaim::Locked), tamper: Some(true), ..SealReading::default() }
    }

    /// Public frames of the format; do not change this test.
    #[test]
    fn plain_frames_are_read() {
        let reading = |text| in_clear(text).unwrap().reading;
        assert_eq!(reading("40 04 138a01"), SealReading::default(), "pressure is nothing a seal says");
        let expected = SealReading {
            packet: Some(46),
            battery_percent: Some(100),
            humidity_centi_pct: Some(5200),
            temperature_centi_c: Some(2780),
            ..SealReading::default()
        };
        assert_eq!(reading("40 00 2e 01 64 1e 01 2e 34 45 1601"), expected);
        let expected = SealReading {
            packet: Some(9),
            battery_percent: Some(93),
            temperature_centi_c: Some(2397),
            humidity_centi_pct: Some(6327),
            ..SealReading::default()
        };
        assert_eq!(reading("40 00 09 01 5d 02 5d09 03 b718"), expected);
    }

    /// Public frames of the format; do not change this test.
    #[test]
    fn encrypted_frames_are_verified_and_read() {
        let expected = SealReading { temperature_centi_c: Some(2506), humidity_centi_pct: Some(5055), ..SealReading::default() };
        for (text, counter) in [("41 a47266c95f73 00112233 78237214", 0x3322_1100), ("41 e445f3c9962b 33221100 6c7c4519", 1_122_867)] {
            let advert = keyed(text).unwrap();
            assert_eq!(advert.reading, expected, "{text}");
            assert_eq!(advert.protection, Protection::Keyed { counter }, "{text}");
        }
        assert_eq!(keyed("41 ba0db07aeef6 ffffffff 21fd4600").unwrap().protection, Protection::Keyed { counter: u32::MAX });
        assert_eq!(keyed("41 ba0db07aeef6 00"), Err(BthomeFault::TooShort));
    }

    /// What a seal would send; do not change this test.
    #[test]
    fn a_seals_own_frame_is_read_plain_and_encrypted() {
        let advert = in_clear("44 00 09 01 5d 1f 00 2b 01").unwrap();
        assert_eq!(advert.reading, SealReading { packet: Some(9), ..seal_shaped() });
        assert!(advert.on_trigger);
        let advert = keyed("45 0217c863f67628ee 01000000 c539fcd0").unwrap();
        assert_eq!(advert.reading, SealReading { packet: Some(9), ..seal_shaped() });
        assert_eq!(advert.protection, Protection::Keyed { counter: 1 });
    }

    #[test]
    fn a_frame_that_includes_its_address_must_include_the_right_one() {
        let data = bytes("42 b2188d38c1a4 04 138a01");
        assert!(read(&data, "A4:C1:38:8D:18:B2".parse().unwrap(), None).is_ok());
        assert_eq!(read(&data, address(), None), Err(BthomeFault::OtherAddress));
        assert_eq!(in_clear("42 b2188d38c1"), Err(BthomeFault::TooShort));
    }

    #[test]
    fn a_plain_frame_of_a_seal_with_a_key_is_refused() {
        assert_eq!(keyed("44 00 09 01 5d 1f 00 2b 01"), Err(BthomeFault::PlainDespiteKey));
        assert_eq!(keyed("40"), Err(BthomeFault::PlainDespiteKey));
    }

    #[test]
    fn a_changed_byte_anywhere_makes_an_encrypted_frame_worthless() {
        let good = bytes("41 a47266c95f73 00112233 78237214");
        for at in 1..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed, address(), Some(&key())), Err(BthomeFault::BadCode), "byte {at}");
        }
        assert_eq!(read(&good, "54:48:E6:8F:80:A6".parse().unwrap(), Some(&key())), Err(BthomeFault::BadCode));
        assert_eq!(read(&good, address(), Some(&SealKey::new([7; 16]))), Err(BthomeFault::BadCode));
        assert_eq!(read(&good, address(), None), Err(BthomeFault::NoKey));
    }

    #[test]
    fn other_versions_and_broken_frames_are_refused() {
        assert_eq!(in_clear(""), Err(BthomeFault::TooShort));
        for info in ["00", "20", "60", "e0"] {
            assert!(matches!(in_clear(&format!("{info} 1f 00")), Err(BthomeFault::Version(_))), "{info}");
        }
        assert_eq!(in_clear("40 1f"), Err(BthomeFault::Cut(0x1F)));
        assert_eq!(in_clear("40 02 5d"), Err(BthomeFault::Cut(0x02)));
        assert_eq!(in_clear("40 53 05 aabb"), Err(BthomeFault::Cut(0x53)));
        assert_eq!(in_clear("40 1f 02"), Err(BthomeFault::NeitherYesNorNo(0x1F)));
        assert_eq!(read(&[0x40; 300], address(), None), Err(BthomeFault::TooLong));
    }

    #[test]
    fn an_unknown_object_ends_the_reading_and_says_so() {
        let advert = in_clear("40 01 5d 1f 00 ef 2b 01").unwrap();
        assert_eq!(advert.unread_from, Some(0xEF));
        assert_eq!(advert.reading.lock, Some(LockClaim::Locked));
        assert_eq!(advert.reading.tamper, None);
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key()), "SealKey(not shown)");
        let wrong = "231d39c1d7cc1ab1aee224cd096db93".parse::<SealKey>().unwrap_err();
        assert!(!wrong.to_string().contains("231d"));
    }

    proptest! {
        #[test]
        fn no_service_data_panics(data in prop::collection::vec(any::<u8>(), 0..300), info in 0x40u8..0x48) {
            let _ = read(&data, address(), None);
            let _ = read(&data, address(), Some(&key()));
            let _ = read(&[vec![info], data].concat(), address(), None);
        }

        #[test]
        fn what_is_written_is_read(battery in 0u8..=100, lock: bool, tamper: bool, temperature in -3000i32..6000, counter: u32, packet: u8) {
            let reading = SealReading {
                packet: Some(packet),
                battery_percent: Some(battery),
                lock: Some(if lock { LockClaim::Locked } else { LockClaim::Unlocked }),
                tamper: Some(tamper),
                temperature_centi_c: Some(temperature),
                ..SealReading::default()
            };
            prop_assert_eq!(&read(&plain(&reading), address(), None).unwrap().reading, &reading);
            let advert = read(&sealed(&reading, address(), &key(), counter), address(), Some(&key())).unwrap();
            prop_assert_eq!(advert.reading, reading);
            prop_assert_eq!(advert.protection, Protection::Keyed { counter });
        }
    }
}
