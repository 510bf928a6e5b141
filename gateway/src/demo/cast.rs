//! Who passes the gate: lorries, their containers, their seals. All invented; the container numbers are valid ISO 6346.

use segel_drivers::{Epc, LockClaim, MacAddress, SealId, SealReading, codec::bthome::SealKey, sim::EmulatedSeal};

/// One lorry with a sealed container.
#[derive(Debug)]
pub(super) struct Lorry {
    pub(super) plate: &'static str,
    pub(super) container: &'static str,
    pub(super) seal: SealId,
    pub(super) epc: Epc,
    pub(super) address: MacAddress,
    pub(super) key: [u8; 16],
    radio: EmulatedSeal,
    reading: SealReading,
}

const LORRIES: [(&str, &str); 6] = [
    ("H 9123 UI", "CSQU3054383"),
    ("H 1742 AB", "MSKU9070323"),
    ("K 8055 XY", "TEMU6079348"),
    ("B 9333 ZZ", "HLXU2008419"),
    ("H 8610 QA", "APZU4812090"),
    ("AD 1456 C", "TASU1170000"),
];

/// All lorries, in the order they come.
pub(super) fn lorries() -> Vec<Lorry> {
    let lorry = |(number, (plate, container)): (u8, &(&'static str, &'static str))| {
        let address = MacAddress([0xA4, 0xC1, 0x38, 0x5E, 0x9E, number]);
        let key = [number.wrapping_mul(37).wrapping_add(11); 16];
        Lorry {
            plate,
            container,
            seal: format!("SGL-10{number:02}").parse().expect("a maker, a dash and digits are a seal number"),
            epc: format!("E2806915000050{number:02X}1D63E2{number:02X}4F").parse().expect("whole bytes in hex are an EPC"),
            address,
            key,
            radio: EmulatedSeal::new(address, Some(SealKey::new(key))),
            reading: SealReading {
                lock: Some(LockClaim::Locked),
                tamper: Some(false),
                battery_percent: Some(96),
                temperature_centi_c: Some(2_900),
                ..SealReading::default()
            },
        }
    };
    (1..).zip(&LORRIES).map(lorry).collect()
}

impl Lorry {
    /// Its seal's next advertisement; the sun warms the seal a little each time.
    pub(super) fn advertise(&mut self) -> segel_drivers::ble::AirFrame {
        self.reading.temperature_centi_c = self.reading.temperature_centi_c.map(|t| if t > 4_500 { 2_900 } else { t + 8 });
        self.radio.advertise(&self.reading)
    }

    /// Somebody takes a bolt cutter to its seal.
    pub(super) fn force_open(&mut self) {
        self.reading.lock = Some(LockClaim::Unlocked);
        self.reading.tamper = Some(true);
    }
}
