//! Frames of the simulated air.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::sim::air::read_content;

fuzz_target!(|data: &[u8]| {
    if let Some(frame) = read_content(data) {
        assert!(frame.payload.bytes().len() <= data.len(), "nothing comes out that did not go in");
    }
});
