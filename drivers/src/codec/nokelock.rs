//! NokeLock / Oklok padlocks: frames of one AES-128-ECB block.
//!
//! ```text
//!   block      code (2) | length | content (length) | rest          16 bytes, encrypted whole
//!   -> 06 01   01 | 01 | 12 random                                   give me a token
//!   <- 06 02   07 | token (4) | chip | version, 2                    ...
//!   -> 05 01   06 | password (6, ASCII) | token (4) | 3 any          open
//!   <- 05 02   01 | 00 done, else refused
//!   -> 05 0E   01 | 01 | token (4) | 8 any                           how do you stand?
//!   <- 05 0F   01 | 01 closed, else open
//!   -> 02 01   01 | 01 | token (4) | 8 any                           battery?
//!   <- 02 02   01 | percent, FF not measured
//!   <- 05 08   01 | 00 it was closed by hand, else it did not close
//! ```
//!
//! What must hold: a block that is not exactly one of these, length byte included, says nothing. There is no check in
//! it: under a wrong key a block is noise, and noise looks like an answer once in 2^24 times at the most.
//!
//! What it does not do: change a password (`05 03`), or write firmware (service `F000FFC0`), which nothing here touches.
//!
//! Sources: y6692/NokeLockBluetooth (commit eb54d09) for codes, keys and the meaning of status, battery and the report;
//! the token exchange in the tests was captured from a lock (tautology.org.uk) and decrypted. `05 0C`, which other
//! apps send to close motor locks, is not in these sources and is not sent.

use aes::{
    Aes128,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};

use crate::SealKey;

/// Bytes of a frame.
pub const FRAME_LEN: usize = 16;
/// Bytes of a password.
pub const PASSWORD_LEN: usize = 6;
/// Bytes of a token.
pub const TOKEN_LEN: usize = 4;

/// The 16-bit UUID of the service.
pub const SERVICE: u16 = 0xFEE7;
/// The 16-bit UUID of the characteristic written to.
pub const WRITE: u16 = 0x36F5;
/// The 16-bit UUID of the characteristic answers come from.
pub const NOTIFY: u16 = 0x36F6;

/// The keys that whole models share, as the makers' apps carry them. Whoever has one can open every lock of its model.
pub const MODEL_KEYS: [(&str, [u8; 16]); 3] = [
    ("round", [0x3a, 0x60, 0x43, 0x2a, 0x5c, 0x01, 0x21, 0x1f, 0x29, 0x1e, 0x0f, 0x4e, 0x0c, 0x13, 0x28, 0x25]),
    ("later", [0x1e, 0x55, 0x2d, 0x50, 0x34, 0x49, 0x3c, 0x46, 0x2d, 0x4b, 0x3c, 0x56, 0x0a, 0x5a, 0x28, 0x2a]),
    ("horseshoe", [0x20, 0x57, 0x2f, 0x52, 0x36, 0x4b, 0x3f, 0x47, 0x30, 0x50, 0x41, 0x58, 0x11, 0x63, 0x2d, 0x2b]),
];

/// What a lock gives at the beginning of a connection and wants to see in each command of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token(pub [u8; TOKEN_LEN]);

/// To the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Give me a token.
    Token {
        /// Anything, best random.
        random: [u8; 12],
    },
    /// Open.
    Unlock {
        /// Its password.
        password: [u8; PASSWORD_LEN],
        /// The token of this connection.
        token: Token,
        /// Anything.
        filler: [u8; 3],
    },
    /// How do you stand?
    Status {
        /// The token of this connection.
        token: Token,
        /// Anything.
        filler: [u8; 8],
    },
    /// How full is your battery?
    Battery {
        /// The token of this connection.
        token: Token,
        /// Anything.
        filler: [u8; 8],
    },
}

/// From the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The token of this connection.
    Token {
        /// It.
        token: Token,
        /// The maker's number of the chip.
        chip: u8,
        /// Firmware, major and minor.
        version: (u8, u8),
    },
    /// It opened.
    Opened,
    /// It did not open.
    NotOpened {
        /// Its code; 1 as far as is known.
        code: u8,
    },
    /// How it stands.
    Status {
        /// Closed, or open.
        shackle: Shackle,
        /// Its code: 1 is closed.
        code: u8,
    },
    /// Its battery.
    Battery {
        /// Charge in percent; `None` where it could not measure.
        percent: Option<u8>,
    },
    /// Unasked: it was closed by hand.
    ClosedByHand,
    /// Unasked: somebody tried to close it and it did not close.
    NotClosed {
        /// Its code.
        code: u8,
    },
}

/// How the shackle stands, by the lock's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shackle {
    /// In and held.
    Closed,
    /// Not held.
    Open,
}

/// Why a block says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NokeFault {
    /// It is not one block.
    #[error("{0} bytes; a frame is one block of {FRAME_LEN}")]
    Length(usize),
    /// Decrypted it is nothing a lock says: the key is another, or the lock speaks something else.
    #[error("decrypted it begins with {:02x} {:02x} {:02x}, which no lock says: the key is another, or it is no frame of a lock", .0[0], .0[1], .0[2])]
    Code([u8; 3]),
    /// It is a battery charge that cannot be.
    #[error("a battery charge of {0} %; at most 100 can be")]
    Charge(u8),
}

impl Command {
    /// The block in clear.
    #[must_use]
    pub fn plain(&self) -> [u8; FRAME_LEN] {
        let mut block = [0; FRAME_LEN];
        match self {
            Self::Token { random } => {
                block[..4].copy_from_slice(&[0x06, 0x01, 0x01, 0x01]);
                block[4..].copy_from_slice(random);
            }
            Self::Unlock { password, token, filler } => {
                block[..3].copy_from_slice(&[0x05, 0x01, 0x06]);
                block[3..9].copy_from_slice(password);
                block[9..13].copy_from_slice(&token.0);
                block[13..].copy_from_slice(filler);
            }
            Self::Status { token, filler } => asked(&mut block, [0x05, 0x0E], *token, filler),
            Self::Battery { token, filler } => asked(&mut block, [0x02, 0x01], *token, filler),
        }
        block
    }

    /// The frame for the lock with this key.
    #[must_use]
    pub fn frame(&self, key: &SealKey) -> [u8; FRAME_LEN] {
        let mut block = self.plain().into();
        Aes128::new(&(*key.bytes()).into()).encrypt_block(&mut block);
        block.into()
    }

    /// A block in clear as a command, for the simulated lock and for whoever reads a capture.
    #[must_use]
    pub fn read(block: &[u8; FRAME_LEN]) -> Option<Self> {
        let part = |from: usize| block[from..from + 4].try_into().map(Token);
        match block {
            [0x06, 0x01, 0x01, 0x01, random @ ..] => Some(Self::Token { random: *random }),
            [0x05, 0x01, 0x06, ..] => {
                Some(Self::Unlock { password: block[3..9].try_into().ok()?, token: part(9).ok()?, filler: block[13..].try_into().ok()? })
            }
            [0x05, 0x0E, 0x01, 0x01, ..] => Some(Self::Status { token: part(4).ok()?, filler: block[8..].try_into().ok()? }),
            [0x02, 0x01, 0x01, 0x01, ..] => Some(Self::Battery { token: part(4).ok()?, filler: block[8..].try_into().ok()? }),
            _ => None,
        }
    }
}

/// The password is not shown.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token { .. } => "Token",
            Self::Unlock { .. } => "Unlock(password not shown)",
            Self::Status { .. } => "Status",
            Self::Battery { .. } => "Battery",
        })
    }
}

fn asked(block: &mut [u8; FRAME_LEN], code: [u8; 2], token: Token, filler: &[u8; 8]) {
    block[..2].copy_from_slice(&code);
    block[2..4].copy_from_slice(&[0x01, 0x01]);
    block[4..8].copy_from_slice(&token.0);
    block[8..].copy_from_slice(filler);
}

impl Answer {
    /// Reads a frame of the lock with this key.
    ///
    /// # Errors
    /// [`NokeFault`]: it says nothing.
    pub fn read(frame: &[u8], key: &SealKey) -> Result<Self, NokeFault> {
        Self::read_plain(&open(frame, key)?)
    }

    /// Reads a block in clear.
    ///
    /// # Errors
    /// [`NokeFault`]: it says nothing.
    pub fn read_plain(block: &[u8; FRAME_LEN]) -> Result<Self, NokeFault> {
        match *block {
            [0x06, 0x02, 0x07, a, b, c, d, chip, major, minor, ..] => {
                Ok(Self::Token { token: Token([a, b, c, d]), chip, version: (major, minor) })
            }
            [0x05, 0x02, 0x01, 0x00, ..] => Ok(Self::Opened),
            [0x05, 0x02, 0x01, code, ..] => Ok(Self::NotOpened { code }),
            [0x05, 0x0F, 0x01, code, ..] => Ok(Self::Status { shackle: if code == 1 { Shackle::Closed } else { Shackle::Open }, code }),
            [0x02, 0x02, 0x01, 0xFF, ..] => Ok(Self::Battery { percent: None }),
            [0x02, 0x02, 0x01, percent, ..] if percent > 100 => Err(NokeFault::Charge(percent)),
            [0x02, 0x02, 0x01, percent, ..] => Ok(Self::Battery { percent: Some(percent) }),
            [0x05, 0x08, 0x01, 0x00, ..] => Ok(Self::ClosedByHand),
            [0x05, 0x08, 0x01, code, ..] => Ok(Self::NotClosed { code }),
            [a, b, c, ..] => Err(NokeFault::Code([a, b, c])),
        }
    }

    /// The block in clear, for the simulated lock.
    #[must_use]
    pub fn plain(&self) -> [u8; FRAME_LEN] {
        let mut block = [0; FRAME_LEN];
        let mut put = |bytes: &[u8]| block[..bytes.len()].copy_from_slice(bytes);
        match *self {
            Self::Token { token: Token([a, b, c, d]), chip, version: (major, minor) } => {
                put(&[0x06, 0x02, 0x07, a, b, c, d, chip, major, minor]);
            }
            Self::Opened => put(&[0x05, 0x02, 0x01, 0x00]),
            Self::NotOpened { code } => put(&[0x05, 0x02, 0x01, code]),
            Self::Status { code, .. } => put(&[0x05, 0x0F, 0x01, code]),
            Self::Battery { percent } => put(&[0x02, 0x02, 0x01, percent.unwrap_or(0xFF)]),
            Self::ClosedByHand => put(&[0x05, 0x08, 0x01, 0x00]),
            Self::NotClosed { code } => put(&[0x05, 0x08, 0x01, code]),
        }
        block
    }

    /// The frame from the lock with this key.
    #[must_use]
    pub fn frame(&self, key: &SealKey) -> [u8; FRAME_LEN] {
        let mut block = self.plain().into();
        Aes128::new(&(*key.bytes()).into()).encrypt_block(&mut block);
        block.into()
    }
}

/// Decrypts a frame. Any 16 bytes decrypt to something.
///
/// # Errors
/// [`NokeFault::Length`].
pub fn open(frame: &[u8], key: &SealKey) -> Result<[u8; FRAME_LEN], NokeFault> {
    let block: [u8; FRAME_LEN] = frame.try_into().map_err(|_| NokeFault::Length(frame.len()))?;
    let mut block = block.into();
    Aes128::new(&(*key.bytes()).into()).decrypt_block(&mut block);
    Ok(block.into())
}

/// The key a whole model shares, where this is one: its name.
#[must_use]
pub fn model_of(key: &SealKey) -> Option<&'static str> {
    MODEL_KEYS.iter().find(|(_, known)| known == key.bytes()).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SealKey {
        "3a60432a5c01211f291e0f4e0c132825".parse().unwrap()
    }

    fn block(text: &str) -> [u8; FRAME_LEN] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// Captured from a lock; do not change this test.
    #[test]
    fn the_captured_request_for_a_token_is_made_byte_for_byte() {
        let random = block("060101012c2c62582667426601333141")[4..].try_into().unwrap();
        let command = Command::Token { random };
        assert_eq!(hex::encode(command.plain()), "060101012c2c62582667426601333141");
        assert_eq!(hex::encode(command.frame(&key())), "cafb4ac988966a676339fe490705b1f9");
    }

    /// Captured from a lock; do not change this test.
    #[test]
    fn the_captured_token_is_read() {
        let frame = block("c617c84ed677219809a9fb9c88d8a1b6");
        assert_eq!(hex::encode(open(&frame, &key()).unwrap()), "06020780632b1d010301000000000000");
        let token = Token([0x80, 0x63, 0x2b, 0x1d]);
        assert_eq!(Answer::read(&frame, &key()), Ok(Answer::Token { token, chip: 1, version: (3, 1) }));
    }

    /// Derived: encrypted here, never sent by a lock's own app; do not change this test.
    #[test]
    fn the_derived_unlock_is_made_byte_for_byte() {
        let command = Command::Unlock { password: *b"000000", token: Token([0x80, 0x63, 0x2b, 0x1d]), filler: [0x5e, 0x26, 0x36] };
        assert_eq!(hex::encode(command.plain()), "05010630303030303080632b1d5e2636");
        assert_eq!(hex::encode(command.frame(&key())), "f8f935ebc1047f46a12a7b740693114d");
    }

    /// The makers' apps carry these; do not change this test.
    #[test]
    fn the_keys_of_whole_models_are_known() {
        let keys = ["3a60432a5c01211f291e0f4e0c132825", "1e552d5034493c462d4b3c560a5a282a", "20572f52364b3f473050415811632d2b"];
        for (text, (name, bytes)) in keys.iter().zip(MODEL_KEYS) {
            assert_eq!(hex::encode(bytes), *text);
            assert_eq!(model_of(&text.parse().unwrap()), Some(name));
        }
        assert_eq!(model_of(&SealKey::new([7; 16])), None);
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let read = |text: &str| Answer::read_plain(&block(&format!("{text:0<32}")));
        assert_eq!(read("05020100"), Ok(Answer::Opened));
        assert_eq!(read("05020101"), Ok(Answer::NotOpened { code: 1 }));
        assert_eq!(read("050f0101"), Ok(Answer::Status { shackle: Shackle::Closed, code: 1 }));
        assert_eq!(read("050f0100"), Ok(Answer::Status { shackle: Shackle::Open, code: 0 }));
        assert_eq!(read("02020164"), Ok(Answer::Battery { percent: Some(100) }));
        assert_eq!(read("020201ff"), Ok(Answer::Battery { percent: None }));
        assert_eq!(read("02020165"), Err(NokeFault::Charge(101)));
        assert_eq!(read("05080100"), Ok(Answer::ClosedByHand));
        assert_eq!(read("05080101"), Ok(Answer::NotClosed { code: 1 }));
        for nothing in ["05020200", "06020680", "00", "0501063030", "05030100"] {
            assert!(matches!(read(nothing), Err(NokeFault::Code(_))), "{nothing}");
        }
    }

    #[test]
    fn a_frame_under_another_key_or_of_another_length_says_nothing() {
        let frame = Answer::Opened.frame(&key());
        assert!(matches!(Answer::read(&frame, &SealKey::new(MODEL_KEYS[1].1)), Err(NokeFault::Code(_))));
        assert_eq!(Answer::read(&frame[..15], &key()), Err(NokeFault::Length(15)));
        assert_eq!(Answer::read(&[0; 17], &key()), Err(NokeFault::Length(17)));
        assert_eq!(Answer::read(&[], &key()), Err(NokeFault::Length(0)));
        for at in 0..FRAME_LEN {
            let mut changed = frame;
            changed[at] ^= 1;
            assert!(Answer::read(&changed, &key()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let command = Command::Unlock { password: *b"739164", token: Token([0; 4]), filler: [0; 3] };
        let shown = format!("{command:?}");
        assert!(!shown.contains("739164") && !shown.contains("55"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(frame in prop::collection::vec(any::<u8>(), 0..64), key: [u8; 16]) {
            let key = SealKey::new(key);
            let _ = Answer::read(&frame, &key);
            if let Ok(plain) = open(&frame, &key) {
                let _ = Command::read(&plain);
            }
        }

        #[test]
        fn what_is_written_is_read(key: [u8; 16], password: [u8; 6], token: [u8; 4], random: [u8; 12], filler: [u8; 8], short: [u8; 3]) {
            let key = SealKey::new(key);
            let token = Token(token);
            for command in [
                Command::Token { random },
                Command::Unlock { password, token, filler: short },
                Command::Status { token, filler },
                Command::Battery { token, filler },
            ] {
                let plain = open(&command.frame(&key), &key).unwrap();
                prop_assert_eq!(plain, command.plain());
                prop_assert_eq!(Command::read(&plain), Some(command));
            }
        }

        #[test]
        fn what_a_lock_says_is_read(key: [u8; 16], token: [u8; 4], chip: u8, version: (u8, u8), code in 1u8.., percent in prop::option::of(0u8..=100)) {
            let key = SealKey::new(key);
            let shackle = if code == 1 { Shackle::Closed } else { Shackle::Open };
            for answer in [
                Answer::Token { token: Token(token), chip, version },
                Answer::Opened,
                Answer::NotOpened { code },
                Answer::Status { shackle, code },
                Answer::Battery { percent },
                Answer::ClosedByHand,
                Answer::NotClosed { code },
            ] {
                prop_assert_eq!(Answer::read(&answer.frame(&key), &key), Ok(answer));
            }
        }
    }
}
