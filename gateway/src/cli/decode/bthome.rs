//! BTHome v2 service data.

use segel_drivers::{
    LockClaim, MacAddress, Protection, SealReading,
    codec::bthome::{self, BthomeFault, object_length},
};

use super::{
    Given,
    names::{self, Kind},
    table::{Dissection, Fault, Knife, decimal, hundredths},
};

const ENCRYPTED: u8 = 0x01;
const MAC_INCLUDED: u8 = 0x02;
const ON_TRIGGER: u8 = 0x04;
/// Text and raw bytes: their length follows the id.
const WITH_LENGTH: [u8; 2] = [0x53, 0x54];
/// Counter and code at the end of an encrypted one.
const TRAILER: usize = 8;

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let mut knife = Knife::new("service data under FCD2", bytes);
    let info = bytes[0];
    knife.cut(1, info_meaning(info));
    let mut inside = None;
    let mut address = given.address;
    if info >> 5 == 2 {
        if info & MAC_INCLUDED != 0 {
            let mac = knife.take("address", |mac: [u8; 6]| format!("its address, last byte first: {}", reversed(mac)));
            if address.is_none() && mac.is_some() {
                address = mac.map(reversed);
                done.notes.push("No --address was given: the one inside is believed.".to_owned());
            }
        }
        let read = bthome::clear(bytes, address.unwrap_or(MacAddress([0; 6])), given.key.as_ref());
        if info & ENCRYPTED == 0 {
            done.fault = objects(&mut knife);
        } else {
            let sealed = knife.rest().len().saturating_sub(TRAILER);
            knife.cut(sealed, "objects, encrypted");
            knife.take("counter", |counter: [u8; 4]| format!("counter {}", u32::from_le_bytes(counter)));
            knife.take("code", |_: [u8; 4]| "code over all of it, AES-128-CCM".to_owned());
            if let Ok(clear) = &read {
                let mut objects_knife = Knife::new("decrypted", &clear.objects);
                done.fault = objects(&mut objects_knife);
                inside = Some(objects_knife.end("not read"));
            }
        }
    }
    match bthome::read(bytes, address.unwrap_or(MacAddress([0; 6])), given.key.as_ref()) {
        Ok(advert) => {
            done.says = says(&advert.reading);
            done.notes.push(match advert.protection {
                Protection::Plain => "Nothing protects it: anybody can send it.".to_owned(),
                Protection::Keyed { counter } => {
                    format!("Its code fits the key. Counter {counter}: the gate compares it with the highest it has heard, this command does not.")
                }
            });
            if let Some(id) = advert.unread_from {
                done.notes
                    .push(format!("Object {id:02x} is not known, and how long it is neither: everything from there on is left unread."));
            }
            done.fault = None;
        }
        Err(fault) => done.fault = Some(why(fault, bytes, done.fault.take(), given)),
    }
    done.parts.push(knife.end("not read"));
    done.parts.extend(inside);
    done
}

fn why(fault: BthomeFault, bytes: &[u8], met: Option<Fault>, given: &Given) -> Fault {
    let text = fault.to_string();
    match fault {
        BthomeFault::Cut(_) | BthomeFault::NeitherYesNorNo(_) => met.unwrap_or_else(|| Fault::new(text)),
        BthomeFault::TooShort => Fault::new(text).at(bytes.len()),
        BthomeFault::TooLong => Fault::new(text),
        BthomeFault::Version(_) => Fault::new(text).at(0).remedy("Give the service data under FCD2 without its UUID and length."),
        BthomeFault::OtherAddress => {
            Fault::new("the address inside is not the one given").at(1).remedy("Give the --address it was heard from.")
        }
        BthomeFault::PlainDespiteKey => Fault::new("in the clear although a key is given: a seal with a key is not believed in the clear")
            .at(0)
            .remedy("Leave the key out to read it anyway."),
        BthomeFault::NoKey => {
            Fault::new("encrypted, and no key is given").at(0).remedy("Put the seal's key into SEGEL_DECODE_KEY or --key-file.")
        }
        BthomeFault::BadCode if given.address.is_none() && bytes[0] & MAC_INCLUDED == 0 => {
            Fault::new("encrypted, and its code is bound to the seal's address").at(0).remedy("Give --address.")
        }
        BthomeFault::BadCode => Fault::new("its code does not fit key and address")
            .at(bytes.len().saturating_sub(4))
            .remedy("Look at both; if they are right, it was damaged, or somebody speaks in the seal's name."),
    }
}

fn info_meaning(info: u8) -> String {
    let version = info >> 5;
    if version != 2 {
        return format!("version {version}, where BTHome v2 has 2");
    }
    let protection = if info & ENCRYPTED == 0 { "in the clear" } else { "encrypted" };
    let trigger = if info & ON_TRIGGER == 0 { "sends on a clock" } else { "sends when something happens" };
    let mac = if info & MAC_INCLUDED == 0 { "" } else { ", with its address" };
    format!("BTHome v2, {protection}, {trigger}{mac}")
}

fn reversed(mut mac: [u8; 6]) -> MacAddress {
    mac.reverse();
    MacAddress(mac)
}

/// Cuts off object by object; the fault where one makes no sense.
fn objects(knife: &mut Knife<'_>) -> Option<Fault> {
    while let Some(&id) = knife.rest().first() {
        let (head, length) = match object_length(id) {
            Some(length) => (1, length),
            None if WITH_LENGTH.contains(&id) => (2, usize::from(*knife.rest().get(1).unwrap_or(&0))),
            None => {
                knife.cut(knife.rest().len(), format!("object {id:02x} is not known: not read from here on"));
                return None;
            }
        };
        let at = knife.at();
        let Some(value) = knife.rest().get(head..head + length) else {
            let there = knife.rest().len();
            knife.cut(there, format!("{}, cut off: {there} of {} bytes", names::name(id), head + length));
            return Some(Fault::new(format!("object {id:02x} is cut off")).at(at));
        };
        let meaning = meaning(id, value);
        let wrong = meaning.is_none();
        knife.cut(head + length, meaning.unwrap_or_else(|| format!("{}: neither 0 nor 1", names::name(id))));
        if wrong {
            return Some(Fault::new(format!("object {id:02x} is neither 0 nor 1")).at(at));
        }
    }
    None
}

/// `None` for a yes-or-no that is neither.
fn meaning(id: u8, value: &[u8]) -> Option<String> {
    let name = names::name(id);
    Some(match (names::kind(id), value) {
        (Kind::YesNo { no, .. }, [0]) => format!("{name}: {no}"),
        (Kind::YesNo { yes, .. }, [1]) => format!("{name}: {yes}"),
        (Kind::YesNo { .. }, _) => return None,
        (Kind::Number { places, unit, signed }, _) => {
            let mut wide = [if signed && value.last().is_some_and(|top| top & 0x80 != 0) { 0xFF } else { 0 }; 8];
            wide[..value.len()].copy_from_slice(value);
            format!("{name}: {}{unit}", decimal(i64::from_le_bytes(wide), places))
        }
        (Kind::Text, _) => format!("{name}: {:?}", String::from_utf8_lossy(value)),
        (Kind::Bytes, _) => name.to_owned(),
    })
}

/// What a reading says, sentence by sentence.
pub(super) fn says(reading: &SealReading) -> Vec<String> {
    let yes = |value: Option<bool>, yes: &str, no: &str| value.map(|value| if value { yes } else { no }.to_owned());
    let lock = reading.lock.map(|lock| match lock {
        LockClaim::Locked => "It says that it is locked.".to_owned(),
        LockClaim::Unlocked => "It says that it is UNLOCKED.".to_owned(),
    });
    [
        lock,
        yes(reading.tamper, "It says that it was TAMPERED with.", "It says that it was not tampered with."),
        yes(reading.open, "It says that something is open.", "It says that nothing is open."),
        reading.battery_percent.map(|percent| format!("Battery {percent} %.")),
        yes(reading.battery_low, "Its battery is low.", "Its battery is not low."),
        yes(reading.charging, "It charges.", "It does not charge."),
        reading.voltage_mv.map(|mv| format!("Voltage {mv} mV.")),
        reading.temperature_centi_c.map(|t| format!("Temperature {} °C.", hundredths(t))),
        reading.humidity_centi_pct.and_then(|h| i32::try_from(h).ok()).map(|h| format!("Humidity {} %.", hundredths(h))),
        yes(reading.moving, "It moves.", "It does not move."),
        yes(reading.problem, "It reports a fault of its own.", "It reports no fault."),
    ]
    .into_iter()
    .flatten()
    .collect()
}
