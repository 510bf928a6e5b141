//! Eddystone UID and TLM: beacons that say who they are and how they are. Only read; nothing can be asked of them.
//!
//! ```text
//!   UID   00 | power at 0 m, dBm | namespace (10) | instance (6) [| 00 00]
//!   TLM   20 | version 00 | battery mV (2) | temperature 8.8 (2) | advertisements (4) | uptime 0.1 s (4)      big-endian
//! ```
//!
//! Service data under the 16-bit UUID `FEAA`. Nothing of it is protected: anybody can send it. Both counts of a TLM
//! begin again when the beacon starts, so one that goes back tells of a start ([`Telemetry::began_again_after`]): a
//! battery changed, or somebody imitating the beacon.
//!
//! Source: google/eddystone (commit bb8738d), eddystone-uid and eddystone-tlm.

/// The 16-bit UUID of Eddystone service data.
pub const SERVICE_DATA_UUID: u16 = 0xFEAA;

const UID: u8 = 0x00;
const URL: u8 = 0x10;
const TLM: u8 = 0x20;
const EID: u8 = 0x30;
/// Bytes of a UID frame without its two reserved ones, which some beacons leave out.
const UID_LEN: usize = 18;
/// Bytes of a plain TLM frame.
const TLM_LEN: usize = 14;
/// The temperature of a beacon without a thermometer.
const NO_TEMPERATURE: u16 = 0x8000;

/// One advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eddystone {
    /// Who it is.
    Uid(Uid),
    /// How it is.
    Telemetry(Telemetry),
}

/// Who a beacon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid {
    /// Power at no distance, in dBm, as set by whoever set it up.
    pub power_dbm: i8,
    /// Whose beacons.
    pub namespace: [u8; 10],
    /// Which of them.
    pub instance: [u8; 6],
}

/// How a beacon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telemetry {
    /// Battery in millivolts; `None` where it has no way to tell.
    pub voltage_mv: Option<u16>,
    /// Temperature in hundredths of a degree Celsius; `None` where it has no thermometer.
    pub temperature_centi_c: Option<i32>,
    /// Advertisements since it started.
    pub adverts: u32,
    /// Tenths of a second since it started.
    pub uptime_ds: u32,
}

/// Why service data is nothing that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EddystoneFault {
    /// Not as long as its kind.
    #[error("{is} bytes; a {kind} frame has {wants}")]
    Length {
        /// How long it is.
        is: usize,
        /// What it is.
        kind: &'static str,
        /// How long that is.
        wants: &'static str,
    },
    /// There is nothing.
    #[error("no bytes at all")]
    Empty,
    /// A kind that is known and not read.
    #[error("an Eddystone {0} frame; only UID and TLM are read")]
    Unread(&'static str),
    /// No kind of Eddystone.
    #[error("frame type {0:02x} is none of Eddystone")]
    Kind(u8),
    /// Another version of TLM.
    #[error("TLM version {0:02x}; only 00 is read (01 is encrypted)")]
    Version(u8),
}

/// Reads service data.
///
/// # Errors
/// [`EddystoneFault`].
pub fn read(service_data: &[u8]) -> Result<Eddystone, EddystoneFault> {
    match *service_data {
        [] => Err(EddystoneFault::Empty),
        [UID, power, ref rest @ ..] if service_data.len() == UID_LEN || service_data.len() == UID_LEN + 2 => {
            let (namespace, rest) = rest.split_first_chunk().expect("18 bytes are there");
            let (instance, _) = rest.split_first_chunk().expect("18 bytes are there");
            Ok(Eddystone::Uid(Uid { power_dbm: power.cast_signed(), namespace: *namespace, instance: *instance }))
        }
        [UID, ..] => Err(EddystoneFault::Length { is: service_data.len(), kind: "UID", wants: "18 or 20" }),
        [TLM, version, ..] if version != 0 => Err(EddystoneFault::Version(version)),
        [TLM, _, v1, v2, t1, t2, a1, a2, a3, a4, u1, u2, u3, u4] => {
            let raw = u16::from_be_bytes([t1, t2]);
            let fixed = i32::from(raw.cast_signed());
            Ok(Eddystone::Telemetry(Telemetry {
                voltage_mv: Some(u16::from_be_bytes([v1, v2])).filter(|mv| *mv != 0),
                // 256ths to hundredths, to the nearest
                temperature_centi_c: (raw != NO_TEMPERATURE).then(|| (fixed * 100 + 128).div_euclid(256)),
                adverts: u32::from_be_bytes([a1, a2, a3, a4]),
                uptime_ds: u32::from_be_bytes([u1, u2, u3, u4]),
            }))
        }
        [TLM, ..] => Err(EddystoneFault::Length { is: service_data.len(), kind: "TLM", wants: "14" }),
        [URL, ..] => Err(EddystoneFault::Unread("URL")),
        [EID, ..] => Err(EddystoneFault::Unread("EID")),
        [kind, ..] => Err(EddystoneFault::Kind(kind)),
    }
}

impl Telemetry {
    /// Whether the beacon started anew since `before`: a count went back. One that overran its 32 bits went back too;
    /// at ten advertisements a second that is once in thirteen years.
    #[must_use]
    pub fn began_again_after(&self, before: &Self) -> bool {
        self.adverts < before.adverts || self.uptime_ds < before.uptime_ds
    }

    /// The service data with this telemetry, for tests and simulated beacons. The temperature is rounded to 256ths.
    #[must_use]
    pub fn bytes(&self) -> [u8; TLM_LEN] {
        let fixed = self.temperature_centi_c.map(|centi| (centi * 256).div_euclid(100).clamp(-0x7FFF, 0x7FFF));
        let [t1, t2] = fixed.and_then(|fixed| i16::try_from(fixed).ok()).map_or(NO_TEMPERATURE, i16::cast_unsigned).to_be_bytes();
        let [v1, v2] = self.voltage_mv.unwrap_or(0).to_be_bytes();
        let [a1, a2, a3, a4] = self.adverts.to_be_bytes();
        let [u1, u2, u3, u4] = self.uptime_ds.to_be_bytes();
        [TLM, 0, v1, v2, t1, t2, a1, a2, a3, a4, u1, u2, u3, u4]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Result<Eddystone, EddystoneFault> {
        read(&hex::decode(text.replace(' ', "")).unwrap())
    }

    fn telemetry(frame: &str) -> Telemetry {
        let Ok(Eddystone::Telemetry(telemetry)) = text(frame) else { panic!("{frame}") };
        telemetry
    }

    /// From the tests of the format's own project; do not change this test.
    #[test]
    fn the_public_telemetry_frame_is_read() {
        let expected = Telemetry { voltage_mv: Some(5_000), temperature_centi_c: Some(2_100), adverts: 1, uptime_ds: 1 };
        assert_eq!(telemetry("20 00 1388 1500 00000001 00000001"), expected);
        assert_eq!(hex::encode(expected.bytes()), "2000138815000000000100000001");
    }

    #[test]
    fn what_a_beacon_cannot_measure_is_not_told() {
        let none = telemetry("20 00 0000 8000 00000001 00000001");
        assert_eq!((none.voltage_mv, none.temperature_centi_c), (None, None));
        assert_eq!(telemetry("20 00 0001 ff80 00000000 00000000").temperature_centi_c, Some(-50));
        assert_eq!(telemetry("20 00 0001 8001 00000000 00000000").temperature_centi_c, Some(-12_800));
    }

    #[test]
    fn a_count_that_goes_back_tells_of_a_start() {
        let at = |adverts, uptime_ds| Telemetry { voltage_mv: None, temperature_centi_c: None, adverts, uptime_ds };
        assert!(!at(5, 50).began_again_after(&at(5, 50)), "heard twice");
        assert!(!at(6, 60).began_again_after(&at(5, 50)));
        assert!(at(1, 60).began_again_after(&at(5, 50)));
        assert!(at(6, 1).began_again_after(&at(5, 50)));
    }

    #[test]
    fn a_beacon_is_known_by_namespace_and_instance() {
        let long = text("00 ee 00112233445566778899 aabbccddeeff 0000").unwrap();
        let Eddystone::Uid(uid) = long else { panic!() };
        assert_eq!(
            (uid.power_dbm, hex::encode(uid.namespace), hex::encode(uid.instance)),
            (-18, "00112233445566778899".into(), "aabbccddeeff".into())
        );
        assert_eq!(text("00 ee 00112233445566778899 aabbccddeeff").unwrap(), long, "the reserved bytes may be left out");
    }

    #[test]
    fn anything_else_is_named_and_refused() {
        assert_eq!(text(""), Err(EddystoneFault::Empty));
        assert_eq!(text("00 ee 00"), Err(EddystoneFault::Length { is: 3, kind: "UID", wants: "18 or 20" }));
        assert_eq!(text("20 00 1388 1500 00000001 000000"), Err(EddystoneFault::Length { is: 13, kind: "TLM", wants: "14" }));
        assert_eq!(text("20 01 1388"), Err(EddystoneFault::Version(1)));
        assert_eq!(text("10 ee 02"), Err(EddystoneFault::Unread("URL")));
        assert_eq!(text("30 ee"), Err(EddystoneFault::Unread("EID")));
        assert_eq!(text("44"), Err(EddystoneFault::Kind(0x44)));
    }

    proptest! {
        #[test]
        fn no_service_data_panics(data in prop::collection::vec(any::<u8>(), 0..64), kind in 0usize..4, length in 12usize..21) {
            let _ = read(&data);
            let mut framed = [&[[UID, TLM, URL, EID][kind], 0][..], &data].concat();
            framed.resize(length, 0xFF);
            let _ = read(&framed);
        }

        #[test]
        fn what_is_written_is_read(mv in 1u16.., centi in -12_000i32..12_000, adverts: u32, uptime_ds: u32) {
            let telemetry = Telemetry { voltage_mv: Some(mv), temperature_centi_c: Some(centi), adverts, uptime_ds };
            let Ok(Eddystone::Telemetry(read)) = read(&telemetry.bytes()) else { panic!() };
            prop_assert!((read.temperature_centi_c.unwrap() - centi).abs() <= 1, "{read:?}");
            prop_assert_eq!(Telemetry { temperature_centi_c: Some(centi), ..read }, telemetry);
        }
    }
}
