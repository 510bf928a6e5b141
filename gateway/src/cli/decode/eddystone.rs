//! Eddystone UID and TLM.

use segel_drivers::codec::eddystone::{self, Eddystone};

use super::table::{Dissection, Fault, Knife};

pub(super) fn dissect(bytes: &[u8]) -> Dissection {
    let mut knife = Knife::new("service data under FEAA", bytes);
    let mut done = Dissection::default();
    match eddystone::read(bytes) {
        Ok(Eddystone::Uid(uid)) => {
            knife.cut(1, "UID");
            knife.cut(1, format!("power at no distance: {} dBm", uid.power_dbm));
            knife.cut(10, "namespace");
            knife.cut(6, "instance");
            done.parts.push(knife.end("reserved"));
            done.says.push(format!("beacon {} of {}", hex::encode(uid.instance), hex::encode(uid.namespace)));
        }
        Ok(Eddystone::Telemetry(telemetry)) => {
            knife.cut(1, "TLM");
            knife.cut(1, "version 0, in clear");
            knife.cut(2, telemetry.voltage_mv.map_or_else(|| "battery not told".to_owned(), |mv| format!("battery {mv} mV")));
            let temperature = telemetry
                .temperature_centi_c
                .map_or_else(|| "no thermometer".to_owned(), |t| format!("{} °C", super::table::hundredths(t)));
            knife.cut(2, format!("temperature, 8.8 fixed point: {temperature}"));
            knife.cut(4, format!("{} advertisements since it started", telemetry.adverts));
            let (seconds, tenth) = (telemetry.uptime_ds / 10, telemetry.uptime_ds % 10);
            knife.cut(4, format!("started {seconds}.{tenth} s ago"));
            done.parts.push(knife.end(""));
            done.notes.push("A count of advertisements or seconds that goes back means that the beacon started anew.".to_owned());
        }
        Err(fault) => {
            done.fault = Some(Fault::new(fault.to_string()).at(0));
            done.parts.push(knife.end("not read"));
        }
    }
    done.notes.push("Nothing protects this: anybody can send it.".to_owned());
    done
}
