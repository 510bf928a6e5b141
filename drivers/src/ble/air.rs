//! What an advertisement means: which seal it is, and whether it may be believed.
//!
//! What must hold: a registered seal is never passed over in silence, whatever it sends; a stranger is told of only
//! when it speaks of a lock or of tampering, in the clear, and then under the name its address gives it. The keys
//! of the register are used and never shown.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{
    Credentials, MacAddress, RefusedAdvert, SealAdvert, SealId, Sighting,
    ble::protocol::{Advertised, ProtocolName},
    codec::bthome::{self, SealKey},
};

/// One advertisement, or one part of it, as an adapter heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirFrame {
    /// The address it was sent from.
    pub address: MacAddress,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
    /// What it carried.
    pub payload: Payload,
}

/// What an advertisement carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The seal was heard; what it said is elsewhere or nothing.
    Bare,
    /// Service data.
    ServiceData {
        /// Whose.
        uuid: Uuid,
        /// What.
        bytes: Vec<u8>,
    },
    /// Manufacturer data.
    ManufacturerData {
        /// The company, as the Bluetooth SIG numbers it.
        company: u16,
        /// What.
        bytes: Vec<u8>,
    },
}

impl Payload {
    /// The bytes it carried.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bare => &[],
            Self::ServiceData { bytes, .. } | Self::ManufacturerData { bytes, .. } => bytes,
        }
    }
}

impl AirFrame {
    /// BTHome service data.
    #[must_use]
    pub fn bthome(address: MacAddress, rssi_dbm: Option<i16>, service_data: Vec<u8>) -> Self {
        Self { address, rssi_dbm, payload: Payload::ServiceData { uuid: uuid16(bthome::SERVICE_DATA_UUID), bytes: service_data } }
    }
}

/// A 16-bit UUID of the Bluetooth SIG in full.
#[must_use]
pub const fn uuid16(short: u16) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_1000_8000_0080_5F9B_34FB | ((short as u128) << 96))
}

/// A seal the gate has been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSeal {
    /// Its number.
    pub seal: SealId,
    /// What it speaks.
    pub protocol: ProtocolName,
    /// Its key, password and own number, as far as it has them.
    pub credentials: Credentials,
}

impl KnownSeal {
    /// A seal without credentials.
    #[must_use]
    pub fn new(seal: SealId, protocol: ProtocolName) -> Self {
        Self { seal, protocol, credentials: Credentials::default() }
    }

    /// A BTHome seal; without a key everything it says is a claim anybody could make.
    #[must_use]
    pub fn bthome(seal: SealId, key: Option<SealKey>) -> Self {
        Self { seal, protocol: ProtocolName::Bthome, credentials: Credentials { key, ..Credentials::default() } }
    }
}

/// The seals the gate has been told of, by the address they advertise with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    seals: HashMap<MacAddress, KnownSeal>,
}

impl Register {
    /// A register of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a seal; gives back the one that had this address before.
    pub fn insert(&mut self, address: MacAddress, seal: KnownSeal) -> Option<KnownSeal> {
        self.seals.insert(address, seal)
    }

    /// The seal that advertises with this address.
    #[must_use]
    pub fn get(&self, address: MacAddress) -> Option<&KnownSeal> {
        self.seals.get(&address)
    }

    /// The address of a seal, and what is known of it.
    #[must_use]
    pub fn find(&self, seal: &SealId) -> Option<(MacAddress, &KnownSeal)> {
        self.seals.iter().find(|(_, known)| known.seal == *seal).map(|(address, known)| (*address, known))
    }

    /// Every seal that has an address.
    pub fn iter(&self) -> impl Iterator<Item = (MacAddress, &KnownSeal)> {
        self.seals.iter().map(|(address, known)| (*address, known))
    }

    /// How many seals there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seals.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seals.is_empty()
    }
}

impl FromIterator<(MacAddress, KnownSeal)> for Register {
    fn from_iter<T: IntoIterator<Item = (MacAddress, KnownSeal)>>(seals: T) -> Self {
        Self { seals: seals.into_iter().collect() }
    }
}

/// Longest raw payload kept as evidence, in bytes: an extended advertisement carries no more.
const RAW_MAX: usize = 255;

/// What an advertisement means; `None` when it says nothing of a seal, or nothing in a protocol this seal speaks.
#[must_use]
pub fn interpret(frame: &AirFrame, register: &Register) -> Option<Sighting> {
    let AirFrame { address, rssi_dbm, ref payload } = *frame;
    let raw: Vec<u8> = payload.bytes().iter().copied().take(RAW_MAX).collect();
    let Some(known) = register.get(address) else { return stranger(frame, raw) };
    let seal = known.seal.clone();
    Some(match known.protocol.protocol().advert(known, frame)? {
        Ok(Advertised { reading, protection }) => Sighting::Advert(SealAdvert { seal, address, rssi_dbm, reading, protection, raw }),
        Err(why) => Sighting::Refused(RefusedAdvert { seal, address, rssi_dbm, why, raw }),
    })
}

/// A stranger is told of only when it speaks of a lock or of tampering, in the clear.
fn stranger(frame: &AirFrame, raw: Vec<u8>) -> Option<Sighting> {
    let AirFrame { address, rssi_dbm, ref payload } = *frame;
    let Payload::ServiceData { uuid, bytes } = payload else { return None };
    if *uuid != uuid16(bthome::SERVICE_DATA_UUID) {
        return None;
    }
    let bthome::Advert { reading, protection, .. } = bthome::read(bytes, address, None).ok()?;
    if reading.lock.is_none() && reading.tamper.is_none() {
        return None;
    }
    Some(Sighting::Advert(SealAdvert { seal: SealId::unregistered(address), address, rssi_dbm, reading, protection, raw }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AdvertRefusal, LockClaim, Protection};

    const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
    const PLAIN: &str = "440009015d1f002b01";
    const SEALED: &str = "450217c863f67628ee01000000c539fcd0";

    fn address() -> MacAddress {
        "54:48:E6:8F:80:A5".parse().unwrap()
    }

    fn frame(data: &str) -> AirFrame {
        AirFrame::bthome(address(), Some(-61), hex::decode(data).unwrap())
    }

    fn register(key: Option<&str>) -> Register {
        let mut register = Register::new();
        register.insert(address(), KnownSeal::bthome("JT-8000620011".parse().unwrap(), key.map(|key| key.parse().unwrap())));
        register
    }

    fn advert(data: &str, register: &Register) -> SealAdvert {
        let Some(Sighting::Advert(advert)) = interpret(&frame(data), register) else { panic!("{data}") };
        advert
    }

    fn why(data: &str, register: &Register) -> AdvertRefusal {
        let Some(Sighting::Refused(refused)) = interpret(&frame(data), register) else { panic!("{data}") };
        assert_eq!(refused.seal.as_str(), "JT-8000620011");
        assert_eq!(hex::encode(&refused.raw), data);
        refused.why
    }

    #[test]
    fn a_registered_seal_is_named_and_its_protection_told() {
        let keyed = advert(SEALED, &register(Some(KEY)));
        assert_eq!(keyed.seal.as_str(), "JT-8000620011");
        assert_eq!(keyed.protection, Protection::Keyed { counter: 1 });
        assert_eq!(keyed.reading.lock, Some(LockClaim::Locked));
        assert_eq!(hex::encode(keyed.raw), SEALED);
        assert_eq!(advert(PLAIN, &register(None)).protection, Protection::Plain);
    }

    #[test]
    fn a_registered_seal_that_may_not_be_believed_is_told_with_the_reason() {
        assert_eq!(why(PLAIN, &register(Some(KEY))), AdvertRefusal::PlainDespiteKey);
        assert_eq!(why(SEALED, &register(Some("00112233445566778899aabbccddeeff"))), AdvertRefusal::BadCode);
        assert_eq!(why(SEALED, &register(None)), AdvertRefusal::NoKey);
        for data in ["", "40", "20", "401f", "401f07"] {
            let register = register(None);
            if data == "40" {
                assert_eq!(advert(data, &register).reading, crate::SealReading::default(), "it says nothing and is heard");
            } else {
                assert_eq!(why(data, &register), AdvertRefusal::Malformed, "{data}");
            }
        }
    }

    #[test]
    fn a_stranger_is_told_of_only_when_it_speaks_as_a_seal() {
        assert_eq!(advert(PLAIN, &Register::new()).seal.as_str(), "BLE-5448E68F80A5");
        assert_eq!(advert("402b00", &Register::new()).seal.as_str(), "BLE-5448E68F80A5");
        for data in ["40025d09", SEALED, "", "401f07", "40"] {
            assert_eq!(interpret(&frame(data), &Register::new()), None, "{data}");
        }
    }

    #[test]
    fn a_register_shows_its_seals_and_never_their_keys() {
        let shown = format!("{:?}", register(Some(KEY)));
        assert!(shown.contains("JT-8000620011") && !shown.contains("231d") && !shown.contains("35, 29"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_registered_seal_is_never_passed_over(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = AirFrame::bthome(address(), None, data);
            prop_assert!(interpret(&frame, &register(Some(KEY))).is_some());
            prop_assert!(interpret(&frame, &register(None)).is_some());
            let _ = interpret(&frame, &Register::new());
        }
    }
}
