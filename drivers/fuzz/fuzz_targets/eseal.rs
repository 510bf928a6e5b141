//! ESealBD frames: as they are, out of pieces, and contents under checks that fit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::codec::eseal::{FRAME_MAX, Inbox, clear_frame, open, sealed_frame, stored_lines};

const ID: u32 = 11_001;

fuzz_target!(|data: &[u8]| {
    read(data);
    let Some((&[cut, high, low], rest)) = data.split_first_chunk::<3>() else { return };
    let mut inbox = Inbox::default();
    for piece in rest.chunks(usize::from(cut).max(1)) {
        inbox.push(piece);
        while let Some(frame) = inbox.whole() {
            assert!(frame.len() <= FRAME_MAX);
            read(&frame);
        }
    }
    let kind = u16::from_be_bytes([high, low]);
    let content = &rest[..rest.len().min(262)];
    for frame in [clear_frame(kind, content), sealed_frame(ID, 5, 7, kind, content)] {
        read(&frame);
    }
    let opened = open(&sealed_frame(ID, 5, 7, kind, content), 7).expect("what is written is read");
    assert_eq!((opened.kind, opened.content.as_slice()), (kind, content));
});

fn read(frame: &[u8]) {
    for key in [0, 7] {
        if let Ok(opened) = open(frame, key) {
            let _ = (opened.answer(ID), stored_lines(&opened.content));
            if let Some(order) = opened.order(ID) {
                let again = open(&order.frame(ID, 5, key), key).expect("what is written is read");
                assert_eq!(again.order(ID), Some(order));
            }
        }
    }
}
