//! What an advertisement means: which seal it is, and whether it may be believed.
//!
//! What must hold: a registered seal is never passed over in silence, whatever it sends; a stranger is told of only
//! when it speaks of a lock or of tampering, in the clear, and then under the name its address gives it. The keys
//! of the register are used and never shown.

use std::collections::HashMap;

use crate::{
    AdvertRefusal, MacAddress, RefusedAdvert, SealAdvert, SealId, Sighting,
    codec::bthome::{self, BthomeFault, SealKey},
};

/// One advertisement as an adapter heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AirFrame {
    /// The address it was sent from.
    pub address: MacAddress,
    /// Signal strength in dBm, where the adapter says it.
    pub rssi_dbm: Option<i16>,
    /// The service data under UUID `FCD2`.
    pub service_data: Vec<u8>,
}

/// A seal the gate has been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSeal {
    /// Its number.
    pub seal: SealId,
    /// Its key; without one everything it says is a claim anybody could make.
    pub key: Option<SealKey>,
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
    pub fn insert(&mut self, address: MacAddress, seal: SealId, key: Option<SealKey>) -> Option<KnownSeal> {
        self.seals.insert(address, KnownSeal { seal, key })
    }

    /// The seal that advertises with this address.
    #[must_use]
    pub fn get(&self, address: MacAddress) -> Option<&KnownSeal> {
        self.seals.get(&address)
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

/// What an advertisement means; `None` for a stranger that says nothing of a seal.
#[must_use]
pub fn interpret(frame: &AirFrame, register: &Register) -> Option<Sighting> {
    let AirFrame { address, rssi_dbm, ref service_data } = *frame;
    let known = register.get(address);
    let raw = || service_data.iter().copied().take(bthome::SERVICE_DATA_MAX).collect();
    match (bthome::read(service_data, address, known.and_then(|seal| seal.key.as_ref())), known) {
        (Ok(advert), known) => {
            let seal = match known {
                Some(known) => known.seal.clone(),
                None if advert.reading.lock.is_some() || advert.reading.tamper.is_some() => SealId::unregistered(address),
                None => return None,
            };
            let bthome::Advert { reading, protection, .. } = advert;
            Some(Sighting::Advert(SealAdvert { seal, address, rssi_dbm, reading, protection, raw: raw() }))
        }
        (Err(fault), Some(known)) => {
            let seal = known.seal.clone();
            Some(Sighting::Refused(RefusedAdvert { seal, address, rssi_dbm, why: refusal(fault), raw: raw() }))
        }
        (Err(_), None) => None,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LockClaim, Protection};

    const KEY: &str = "231d39c1d7cc1ab1aee224cd096db932";
    const PLAIN: &str = "440009015d1f002b01";
    const SEALED: &str = "450217c863f67628ee01000000c539fcd0";

    fn address() -> MacAddress {
        "54:48:E6:8F:80:A5".parse().unwrap()
    }

    fn frame(data: &str) -> AirFrame {
        AirFrame { address: address(), rssi_dbm: Some(-61), service_data: hex::decode(data).unwrap() }
    }

    fn register(key: Option<&str>) -> Register {
        let mut register = Register::new();
        register.insert(address(), "JT-8000620011".parse().unwrap(), key.map(|key| key.parse().unwrap()));
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
            let frame = AirFrame { address: address(), rssi_dbm: None, service_data: data };
            prop_assert!(interpret(&frame, &register(Some(KEY))).is_some());
            prop_assert!(interpret(&frame, &register(None)).is_some());
            let _ = interpret(&frame, &Register::new());
        }
    }
}
