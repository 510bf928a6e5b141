//! The stream of a UHF reader: any cut, pauses, both layouts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::codec::uhf::{Answer, Decoder, Dialect, Frame};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else { return };
    let mut decoder = Decoder::new();
    for piece in data.chunks(usize::from(cut).max(1)) {
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame() {
            assert_eq!(Frame::new(frame.address(), frame.code(), frame.body()).bytes(), frame.bytes());
            for dialect in [Dialect::UhfReader18, Dialect::UhfReader288] {
                let _ = Answer::read(&frame, dialect);
            }
        }
        if cut & 1 == 1 {
            decoder.idle();
        }
    }
});
