//! Eddystone service data.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::codec::eddystone::{Eddystone, read};

fuzz_target!(|data: &[u8]| {
    if let Ok(Eddystone::Telemetry(telemetry)) = read(data) {
        let Ok(Eddystone::Telemetry(again)) = read(&telemetry.bytes()) else { panic!("what is written is read") };
        assert!(!again.began_again_after(&telemetry) && !telemetry.began_again_after(&again));
    }
});
