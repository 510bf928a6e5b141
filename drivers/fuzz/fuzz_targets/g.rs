//! G-Series frames both ways out of cut notifications, and their contents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::{
    SealKey,
    codec::g_series::{Unit, Way, decoder, params, query_answer, set_answer},
};

fuzz_target!(|data: &[u8]| {
    inside(data);
    let Some((&cut, data)) = data.split_first() else { return };
    let key = SealKey::new([7; 16]);
    for way in [Way::ToLock, Way::FromLock] {
        let mut decoder = decoder(way);
        for piece in data.chunks(usize::from(cut).max(1)) {
            decoder.push(piece);
            while let Some(unit) = decoder.next() {
                let Ok(Unit::Frame(frame)) = unit else { continue };
                for key in [None, Some(&key)] {
                    if let Ok(opened) = frame.open(key) {
                        inside(&opened.content);
                    }
                }
            }
            if cut & 1 == 1 {
                decoder.idle();
            }
        }
    }
});

fn inside(content: &[u8]) {
    let _ = (params(content), set_answer(content), query_answer(content));
}
