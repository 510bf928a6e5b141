//! An emulated seal: real BTHome v2 bytes, with a counter that goes up.

use crate::{
    MacAddress, SealReading,
    ble::AirFrame,
    codec::bthome::{self, SealKey},
};

/// Signal strength it is heard with until told otherwise, in dBm: a truck's length away.
const RSSI_DBM: i16 = -60;

/// One seal.
#[derive(Debug, Clone)]
pub struct EmulatedSeal {
    /// The address it advertises with.
    pub address: MacAddress,
    /// Its key; without one it advertises in the clear.
    pub key: Option<SealKey>,
    /// The counter of its next encrypted advertisement. Setting it back is what a lost battery looks like.
    pub counter: u32,
    /// Signal strength in dBm it is heard with.
    pub rssi_dbm: i16,
    packet: u8,
}

impl EmulatedSeal {
    /// A seal that has never advertised.
    #[must_use]
    pub fn new(address: MacAddress, key: Option<SealKey>) -> Self {
        Self { address, key, counter: 1, rssi_dbm: RSSI_DBM, packet: 0 }
    }

    /// What it advertises to say this; a packet number is added where the reading has none, and both numbers go up.
    pub fn advertise(&mut self, reading: &SealReading) -> AirFrame {
        let reading = SealReading { packet: reading.packet.or(Some(self.packet)), ..reading.clone() };
        self.packet = self.packet.wrapping_add(1);
        let service_data = match &self.key {
            None => bthome::plain(&reading),
            Some(key) => {
                let counter = self.counter;
                self.counter = self.counter.wrapping_add(1);
                bthome::sealed(&reading, self.address, key, counter)
            }
        };
        AirFrame::bthome(self.address, Some(self.rssi_dbm), service_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LockClaim, Protection, Sighting,
        ble::{KnownSeal, Register},
    };

    #[test]
    fn each_advertisement_has_the_next_counter_and_packet_number() {
        let address = "54:48:E6:8F:80:A5".parse().unwrap();
        let key: SealKey = "231d39c1d7cc1ab1aee224cd096db932".parse().unwrap();
        let mut register = Register::new();
        register.insert(address, KnownSeal::bthome("JT-1".parse().unwrap(), Some(key.clone())));
        let mut seal = EmulatedSeal::new(address, Some(key));
        let locked = SealReading { lock: Some(LockClaim::Locked), ..SealReading::default() };
        for (counter, packet) in [(1, 0), (2, 1), (3, 2)] {
            let Some(Sighting::Advert(advert)) = crate::ble::interpret(&seal.advertise(&locked), &register) else { panic!() };
            assert_eq!(advert.protection, Protection::Keyed { counter });
            assert_eq!(advert.reading, SealReading { packet: Some(packet), ..locked.clone() });
        }
    }
}
