use super::*;

/// Every one of them.
#[test]
fn a_protocol_is_known_in_any_case_and_a_mistyped_one_is_suggested() {
    assert_eq!("NokeLock".parse(), Ok(Tongue::NokeLock));
    let fault = |word: &str| word.parse::<Tongue>().unwrap_err();
    assert!(fault("nokelok").contains("did you mean nokelock?"), "{}", fault("nokelok"));
    assert!(fault("bthom").contains("did you mean bthome?"));
    assert!(!fault("zigbee").contains("did you mean"), "{}", fault("zigbee"));
    assert!(fault("x").contains("known are bthome, tt, g, nokelock, eseal, segel, eddystone, uhf"));
}
