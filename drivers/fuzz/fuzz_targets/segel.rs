//! segel v1: advertisements and every frame of an exchange, as they come and where a stranger may answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::{
    SealKey,
    codec::segel_v1::{Command, Entry, Hello, Offer, STATUS_LEN, Status, form, read_advert},
};

const NUMBER: &str = "SGL-1003";

fuzz_target!(|data: &[u8]| {
    let key = SealKey::new([7; 16]);
    let _ = (form(data), read_advert(None, NUMBER, data), read_advert(Some(&key), NUMBER, data));
    if let Ok(hello) = Hello::read(data) {
        assert_eq!(hello.write().as_slice(), data);
    }
    if let Some(command) = Command::read(data) {
        assert_eq!(Command::read(&command.write()), Some(command));
    }
    if let Ok(entry) = Entry::read(data) {
        let _ = (entry.event(), entry.lost());
    }
    let hello = Hello::new([1; 16]);
    let _ = hello.open(&key, NUMBER, data);
    let Some(status) = data.get(..STATUS_LEN).and_then(|bytes| Status::read(bytes).ok()) else { return };
    let _ = (status.reading(), status.complaints());
    let offer = Offer::new(&key, NUMBER, &hello, [2; 16], &status);
    let challenged = hello.open(&key, NUMBER, &offer.frame).expect("its own challenge");
    assert_eq!(challenged.status, status);
    assert!(offer.open(&data[STATUS_LEN..]).is_err(), "nobody without the key writes a command");
    let commanded = challenged.command(&Command::SetTime(1_800_000_000));
    assert!(commanded.open(&data[STATUS_LEN..]).is_err(), "nobody without the key writes a result");
});
