//! Keys derived from the seal's key, and frames sealed with them.

use aes::Aes128;
use ccm::{
    Ccm,
    aead::{Aead, KeyInit, Payload},
    consts::{U8, U13},
};
use cmac::{Cmac, Mac};

use crate::codec::bthome::SealKey;

/// CCM with a tag of 8 bytes and a nonce of 13.
type Cipher = Ccm<Aes128, U8, U13>;

/// AES-CMAC over parts joined.
pub(super) fn cmac(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Cmac<Aes128> as KeyInit>::new(key.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// NIST SP 800-108, counter mode with CMAC: one block, 8-bit counter, 16-bit length in bits, big endian.
fn kdf(key: &SealKey, label: &[u8], context: &[&[u8]], number: &str) -> [u8; 16] {
    // a number longer than 255 bytes does not exist; two such would only share a length byte
    let length = [u8::try_from(number.len()).unwrap_or(u8::MAX)];
    let parts = [&[&[1], label, &[0]], context, &[&length, number.as_bytes(), &[0, 128]]].concat();
    cmac(key.bytes(), &parts)
}

/// The key of a seal's advertisements. `number` is its printed identity.
#[must_use]
pub fn advert_key(key: &SealKey, number: &str) -> SealKey {
    SealKey::new(kdf(key, b"segel/1 advert", &[], number))
}

/// The key a seal makes its nonces with, where it makes them as recommended.
#[must_use]
pub fn nonce_key(key: &SealKey, number: &str) -> SealKey {
    SealKey::new(kdf(key, b"segel/1 nonce", &[], number))
}

/// A seal's nonce as recommended: never the same twice, even when its random bytes are.
#[must_use]
pub fn seal_nonce(nonce_key: &SealKey, starts: u32, count: u32, random: [u8; 8]) -> [u8; 16] {
    cmac(nonce_key.bytes(), &[&starts.to_le_bytes(), &count.to_le_bytes(), &random])
}

/// The key of one exchange: it seals at most one frame of each kind.
#[derive(Clone)]
pub(super) struct Session(Cipher);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(not shown)")
    }
}

impl Session {
    pub(super) fn new(key: &SealKey, number: &str, gateway: &[u8; 16], seal: &[u8; 16]) -> Self {
        Self(Cipher::new(&session_key(key, number, gateway, seal).into()))
    }

    pub(super) fn seal(&self, kind: u8, plain: &[u8], aad: &[u8]) -> Vec<u8> {
        let sealed = self.0.encrypt(&nonce(kind).into(), Payload { msg: plain, aad });
        sealed.expect("a frame of a few hundred bytes is never too long for CCM")
    }

    /// `None`: the tag does not fit.
    pub(super) fn open(&self, kind: u8, sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(&nonce(kind).into(), Payload { msg: sealed, aad }).ok()
    }
}

pub(super) fn session_key(key: &SealKey, number: &str, gateway: &[u8; 16], seal: &[u8; 16]) -> [u8; 16] {
    kdf(key, b"segel/1 session", &[gateway, seal], number)
}

/// Each kind is sealed once under a session key, so the kind alone keeps nonces apart.
fn nonce(kind: u8) -> [u8; 13] {
    let mut nonce = [0; 13];
    nonce[0] = kind;
    nonce
}
