//! BTHome service data, in clear, under a key, and what is read written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use segel_drivers::{
    MacAddress, Protection, SealKey,
    codec::bthome::{plain, read, sealed},
};

fuzz_target!(|data: &[u8]| {
    let address = MacAddress([1, 2, 3, 4, 5, 6]);
    let key = SealKey::new([7; 16]);
    assert!(read(data, address, Some(&key)).is_err() || data.len() >= 9, "nothing short passes a code");
    let Ok(advert) = read(data, address, None) else { return };
    assert_eq!(advert.protection, Protection::Plain);
    let again = read(&plain(&advert.reading), address, None).expect("what is written is read");
    let keyed = read(&sealed(&again.reading, address, &key, 5), address, Some(&key)).expect("what is written is read");
    assert_eq!(keyed.reading, again.reading);
});
