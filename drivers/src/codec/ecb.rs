//! AES-128, block by block, as cheap seals use it: padded with zeros, every block alone (ECB).
//!
//! It hides little and protects nothing: equal blocks stay equal, and whoever records one can play it again. It is here
//! because seals speak it, not because it is good.

use aes::{
    Aes128, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};

use crate::SealKey;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 16;

/// How many bytes so many bytes become.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(BLOCK)
}

/// Encrypts, filled up with zeros to whole blocks.
pub(crate) fn encrypt(key: &SealKey, plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(&(*key.bytes()).into());
    let mut bytes = plain.to_vec();
    bytes.resize(padded(plain.len()), 0);
    for block in bytes.chunks_exact_mut(BLOCK) {
        let block: &mut Block = block.try_into().expect("the chunk is one block");
        cipher.encrypt_block(block);
    }
    bytes
}

/// Decrypts whole blocks; `None` when it is none or not whole. The padding is left on.
pub(crate) fn decrypt(key: &SealKey, bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
        return None;
    }
    let cipher = Aes128::new(&(*key.bytes()).into());
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        let block: &mut Block = block.try_into().expect("the chunk is one block");
        cipher.decrypt_block(block);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix C.1. Frozen: do not change this test.
    #[test]
    fn the_standards_own_block_comes_out() {
        let key: SealKey = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let plain = hex::decode("00112233445566778899aabbccddeeff").unwrap();
        let bytes = encrypt(&key, &plain);
        assert_eq!(hex::encode(&bytes), "69c4e0d86a7b0430d8cdb78070b4c55a");
        assert_eq!(decrypt(&key, &bytes), Some(plain));
    }

    #[test]
    fn half_a_block_is_padded_one_way_and_refused_the_other() {
        let key = SealKey::new([7; 16]);
        let bytes = encrypt(&key, &[1; 17]);
        assert_eq!((bytes.len(), decrypt(&key, &bytes[..31]), decrypt(&key, &[])), (32, None, None));
        assert_eq!(decrypt(&key, &bytes).unwrap(), [vec![1; 17], vec![0; 15]].concat());
    }
}
