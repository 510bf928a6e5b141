//! NokeLock blocks, encrypted and in clear.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::{
    SealKey,
    codec::nokelock::{Answer, Command, FRAME_LEN, open},
};

fuzz_target!(|data: &[u8]| {
    let key = SealKey::new([7; 16]);
    let _ = Answer::read(data, &key);
    if let Ok(plain) = open(data, &key) {
        both(&plain);
    }
    if let Some(plain) = data.first_chunk::<FRAME_LEN>() {
        both(plain);
    }
});

fn both(plain: &[u8; FRAME_LEN]) {
    if let Some(command) = Command::read(plain) {
        assert_eq!(command.plain(), *plain);
    }
    if let Ok(answer) = Answer::read_plain(plain) {
        assert_eq!(Answer::read_plain(&answer.plain()), Ok(answer));
    }
}
