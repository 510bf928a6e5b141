//! TT-Series frames out of cut notifications, and their inside.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::{
    SealKey,
    codec::tt::{Command, Message, decoder, write},
};

fuzz_target!(|data: &[u8]| {
    inside(data);
    let Some((&cut, data)) = data.split_first() else { return };
    let key = SealKey::new([7; 16]);
    let mut decoder = decoder();
    for piece in data.chunks(usize::from(cut).max(1)) {
        decoder.push(piece);
        while let Some(frame) = decoder.next() {
            let Ok(frame) = frame else { continue };
            for key in [None, Some(&key)] {
                if let Ok(clear) = frame.open(key) {
                    inside(&clear);
                    let mut again = segel_drivers::codec::tt::decoder();
                    again.push(&write(&clear, key));
                    let read = again.next().expect("a frame").expect("a good one");
                    assert_eq!(read.open(key).as_deref(), Ok(clear.as_slice()));
                }
            }
        }
        if cut & 1 == 1 {
            decoder.idle();
        }
    }
});

fn inside(data: &[u8]) {
    if let Ok(command) = Command::read(data) {
        assert!(Command::read(&command.write()) == Ok(command));
    }
    if let Ok(message) = Message::read(data) {
        // An answer with a source and no date is written shorter than it came, so it need not be the same again.
        assert!(Message::read(&message.write()).is_ok());
    }
}
