//! The objects of a BTHome v2 advertisement.
//!
//! Every documented id has a length here, so that reading goes on past what a seal has no use for. An id without
//! one ends the reading: where the next object begins cannot be known. Ids past `60` are left out on purpose
//! wherever their length is not certain; guessing one would make garbage of what follows.
//!
//! The same thing said twice: the more alarming one counts (open, tampered, low), of measurements the first.

use super::BthomeFault;
use crate::{LockClaim, SealReading};

/// Text and raw bytes: the length follows the id.
const TEXT: u8 = 0x53;
const RAW: u8 = 0x54;

/// Length of an object's value in bytes; `None` for an id not known (or one that carries its own length).
#[must_use]
pub fn length(id: u8) -> Option<usize> {
    Some(match id {
        0x00 | 0x01 | 0x09 | 0x0F..=0x11 | 0x15..=0x2F | 0x3A | 0x46 | 0x57..=0x59 | 0x60 => 1,
        0x02 | 0x03 | 0x06..=0x08 | 0x0C..=0x0E | 0x12..=0x14 | 0x3C | 0x3D | 0x3F..=0x41 | 0x43..=0x45 => 2,
        0x47..=0x4A | 0x51 | 0x52 | 0x56 | 0x5A | 0x5D..=0x5F | 0xF0 => 2,
        0x04 | 0x05 | 0x0A | 0x0B | 0x42 | 0x4B | 0xF2 => 3,
        0x3E | 0x4C..=0x50 | 0x55 | 0x5B | 0x5C | 0xF1 => 4,
        _ => return None,
    })
}

/// Reads objects until they end or one is not known; the second value is that one's id.
pub(super) fn read(mut rest: &[u8]) -> Result<(SealReading, Option<u8>), BthomeFault> {
    let mut reading = SealReading::default();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = match (id, length(id)) {
            (_, Some(length)) => (length, after),
            (TEXT | RAW, None) => {
                let (&length, after) = after.split_first().ok_or(BthomeFault::Cut(id))?;
                (usize::from(length), after)
            }
            (_, None) => return Ok((reading, Some(id))),
        };
        let (value, after) = after.split_at_checked(length).ok_or(BthomeFault::Cut(id))?;
        take(&mut reading, id, value)?;
        rest = after;
    }
    Ok((reading, None))
}

fn take(reading: &mut SealReading, id: u8, value: &[u8]) -> Result<(), BthomeFault> {
    let yes = || match value {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(BthomeFault::NeitherYesNorNo(id)),
    };
    match (id, value) {
        (0x00, &[packet]) => first(&mut reading.packet, packet),
        (0x01, &[percent]) => reading.battery_percent = Some(reading.battery_percent.map_or(percent, |p| p.min(percent))),
        (0x02, &[a, b]) => first(&mut reading.temperature_centi_c, i32::from(i16::from_le_bytes([a, b]))),
        (0x45, &[a, b]) => first(&mut reading.temperature_centi_c, i32::from(i16::from_le_bytes([a, b])) * 10),
        (0x57, &[a]) => first(&mut reading.temperature_centi_c, i32::from(a.cast_signed()) * 100),
        (0x58, &[a]) => first(&mut reading.temperature_centi_c, i32::from(a.cast_signed()) * 35),
        (0x03, &[a, b]) => first(&mut reading.humidity_centi_pct, u32::from(u16::from_le_bytes([a, b]))),
        (0x2E, &[a]) => first(&mut reading.humidity_centi_pct, u32::from(a) * 100),
        (0x0C, &[a, b]) => first(&mut reading.voltage_mv, u16::from_le_bytes([a, b])),
        // tenths of a volt: above 65 V it is no seal's battery and does not fit
        (0x4A, &[a, b]) => {
            if let Some(millivolts) = u16::from_le_bytes([a, b]).checked_mul(100) {
                first(&mut reading.voltage_mv, millivolts);
            }
        }
        (0x50, &[a, b, c, d]) => first(&mut reading.device_time, u32::from_le_bytes([a, b, c, d])),
        // opening, door, garage door, window
        (0x11 | 0x1A | 0x1B | 0x2D, _) => alarm(&mut reading.open, yes()?),
        (0x15, _) => alarm(&mut reading.battery_low, yes()?),
        (0x16, _) => alarm(&mut reading.charging, yes()?),
        (0x1F, _) => {
            let unlocked = yes()? || reading.lock == Some(LockClaim::Unlocked);
            reading.lock = Some(if unlocked { LockClaim::Unlocked } else { LockClaim::Locked });
        }
        // motion, moving, vibration
        (0x21 | 0x22 | 0x2C, _) => alarm(&mut reading.moving, yes()?),
        (0x26, _) => alarm(&mut reading.problem, yes()?),
        (0x2B, _) => alarm(&mut reading.tamper, yes()?),
        _ => {}
    }
    Ok(())
}

fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn alarm(slot: &mut Option<bool>, value: bool) {
    *slot = Some(value || *slot == Some(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(objects: &str) -> SealReading {
        let (reading, unread) = read(&hex::decode(objects.replace(' ', "")).unwrap()).unwrap();
        assert_eq!(unread, None, "{objects}");
        reading
    }

    #[test]
    fn every_object_a_seal_uses_lands_in_its_place() {
        let all = reading("00 07 01 64 0c 020c 11 01 15 01 16 00 1f 01 22 01 26 01 2b 00 2e 23 50 5d396164 57 ea");
        let expected = SealReading {
            packet: Some(7),
            battery_percent: Some(100),
            voltage_mv: Some(3074),
            open: Some(true),
            battery_low: Some(true),
            charging: Some(false),
            lock: Some(LockClaim::Unlocked),
            moving: Some(true),
            problem: Some(true),
            tamper: Some(false),
            humidity_centi_pct: Some(3500),
            device_time: Some(1_684_093_277),
            temperature_centi_c: Some(-2200),
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn of_two_locks_the_open_one_counts_whatever_their_order() {
        assert_eq!(reading("1f 00 1f 01").lock, Some(LockClaim::Unlocked));
        assert_eq!(reading("1f 01 1f 00").lock, Some(LockClaim::Unlocked));
        assert_eq!(reading("2b 01 2b 00").tamper, Some(true));
        assert_eq!(reading("01 64 01 05").battery_percent, Some(5));
        assert_eq!(reading("11 00 1a 01 2d 00").open, Some(true));
    }

    #[test]
    fn objects_a_seal_has_no_use_for_are_passed_over() {
        assert_eq!(reading("04 138a01 05 138a14 3e 2a2c0915 53 02 4142 54 00 f1 00010204 2b 01").tamper, Some(true));
        assert_eq!(reading("4a ffff 1f 00").voltage_mv, None);
    }
}
