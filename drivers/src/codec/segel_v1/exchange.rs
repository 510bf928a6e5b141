//! One exchange, from either end: the order of its frames is in the types.
//!
//! ```text
//!   gateway   Hello ── open(CHALLENGE) ──► Challenged ── command ──► Commanded ── open(RESULT) ──► Answer
//!   seal      Offer::new(HELLO, nonce, status) ── open(COMMAND) ──► Command; Offer::answer ──► RESULT
//! ```

use super::{
    CHALLENGE_LEN, ENTRIES_MAX, Fault, REQUEST_LEN, VERSION,
    command::{COMMAND_LEN, Command, Outcome},
    entry::{ENTRY_LEN, Entry},
    keys::Session,
    kind, piece,
    status::{STATUS_LEN, Status},
};
use crate::codec::bthome::SealKey;

/// A challenge up to its enciphered part: kind, length, version, nonce.
const HEAD: usize = 20;
const TAG: usize = 8;
/// A RESULT up to its enciphered part.
const RESULT_HEAD: usize = 3;
/// A RESULT without entries.
const RESULT_LEN: usize = RESULT_HEAD + 2 + STATUS_LEN + TAG;

/// The first frame of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The gateway's nonce.
    pub nonce: [u8; 16],
    /// Lowest version it speaks.
    pub lowest: u8,
    /// Highest version it speaks.
    pub highest: u8,
}

impl Hello {
    /// One that offers what is spoken here. The nonce is new and random each time.
    #[must_use]
    pub fn new(nonce: [u8; 16]) -> Self {
        Self { nonce, lowest: VERSION, highest: VERSION }
    }

    /// As bytes.
    #[must_use]
    pub fn write(&self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..4].copy_from_slice(&[kind::HELLO, self.lowest, self.highest, 0]);
        bytes[4..].copy_from_slice(&self.nonce);
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`Fault::Length`], [`Fault::Kind`], [`Fault::Senseless`] when the byte that should be zero is not.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() != REQUEST_LEN {
            return Err(Fault::Length { wanted: REQUEST_LEN, found: bytes.len() });
        }
        match *bytes {
            [kind::HELLO, lowest, highest, 0, ..] => Ok(Self { nonce: piece(bytes, 4), lowest, highest }),
            [kind::HELLO, ..] => Err(Fault::Senseless("a byte that should be zero is not")),
            _ => Err(Fault::Kind(bytes[0])),
        }
    }

    /// Checks a CHALLENGE for this HELLO.
    ///
    /// # Errors
    /// Any [`Fault`]; [`Fault::WrongCode`] is a wrong key or another seal.
    pub fn open(&self, key: &SealKey, number: &str, frame: &[u8]) -> Result<Challenged, Fault> {
        let found = frame.len();
        let frame: &[u8; CHALLENGE_LEN] = frame.try_into().map_err(|_| Fault::Length { wanted: CHALLENGE_LEN, found })?;
        if frame[0] != kind::CHALLENGE {
            return Err(Fault::Kind(frame[0]));
        }
        if !(self.lowest..=self.highest).contains(&frame[3]) || frame[3] != VERSION {
            return Err(Fault::Version(frame[3]));
        }
        let session = Session::new(key, number, &self.nonce, &piece(frame, 4));
        let aad = [&self.write(), &frame[..HEAD]].concat();
        let plain = session.open(kind::CHALLENGE, &frame[HEAD..], &aad).ok_or(Fault::WrongCode)?;
        Ok(Challenged { status: Status::read(&plain)?, session, frame: *frame })
    }
}

/// A genuine challenge.
#[derive(Debug, Clone)]
pub struct Challenged {
    /// The seal's state as of the challenge.
    pub status: Status,
    session: Session,
    frame: [u8; CHALLENGE_LEN],
}

impl Challenged {
    /// The one command for this challenge.
    #[must_use]
    pub fn command(self, command: &Command) -> Commanded {
        let aad = [&self.frame[..], &[kind::COMMAND]].concat();
        let sealed = self.session.seal(kind::COMMAND, &command.write(), &aad);
        let mut frame = [kind::COMMAND; REQUEST_LEN];
        frame[1..].copy_from_slice(&sealed);
        Commanded { frame, session: self.session }
    }
}

/// A command on its way.
#[derive(Debug, Clone)]
pub struct Commanded {
    /// The COMMAND.
    pub frame: [u8; REQUEST_LEN],
    session: Session,
}

impl Commanded {
    /// Checks a RESULT for this COMMAND.
    ///
    /// # Errors
    /// Any [`Fault`].
    pub fn open(&self, frame: &[u8]) -> Result<Answer, Fault> {
        let found = frame.len();
        if found < RESULT_LEN {
            return Err(Fault::Length { wanted: RESULT_LEN, found });
        }
        if frame[0] != kind::RESULT {
            return Err(Fault::Kind(frame[0]));
        }
        let wanted = usize::from(u16::from_le_bytes(piece(frame, 1)));
        if wanted != found {
            return Err(Fault::Length { wanted, found });
        }
        let aad = [&self.frame, &frame[..RESULT_HEAD]].concat();
        let plain = self.session.open(kind::RESULT, &frame[RESULT_HEAD..], &aad).ok_or(Fault::WrongCode)?;
        Answer::read(&plain)
    }
}

/// What a RESULT says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What became of the command.
    pub outcome: Outcome,
    /// The state after it.
    pub status: Status,
    /// Entries handed over, at most [`ENTRIES_MAX`].
    pub entries: Vec<Entry>,
}

impl Answer {
    fn write(&self) -> Vec<u8> {
        let entries = &self.entries[..self.entries.len().min(ENTRIES_MAX)];
        let count = u8::try_from(entries.len()).expect("at most ten");
        let mut bytes = vec![self.outcome.0, count];
        bytes.extend(self.status.write());
        bytes.extend(entries.iter().flat_map(Entry::write));
        bytes
    }

    fn read(plain: &[u8]) -> Result<Self, Fault> {
        let (head, entries) = plain.split_at_checked(2 + STATUS_LEN).ok_or(Fault::Senseless("it is too short"))?;
        let count = usize::from(head[1]);
        if count > ENTRIES_MAX || entries.len() != count * ENTRY_LEN {
            return Err(Fault::Senseless("it has not as many entries as it says"));
        }
        let entries = entries.chunks_exact(ENTRY_LEN).map(Entry::read).collect::<Result<_, _>>()?;
        Ok(Self { outcome: Outcome(head[0]), status: Status::read(&head[2..])?, entries })
    }
}

/// The seal's side of one exchange: a challenge it has given out.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The CHALLENGE.
    pub frame: [u8; CHALLENGE_LEN],
    session: Session,
}

impl Offer {
    /// The challenge for a HELLO. The nonce never repeats in the life of the key.
    #[must_use]
    pub fn new(key: &SealKey, number: &str, hello: &Hello, nonce: [u8; 16], status: &Status) -> Self {
        let session = Session::new(key, number, &hello.nonce, &nonce);
        let mut frame = [0; CHALLENGE_LEN];
        // 59 bytes fit into one
        frame[..4].copy_from_slice(&[kind::CHALLENGE, 59, 0, VERSION]);
        frame[4..HEAD].copy_from_slice(&nonce);
        let aad = [&hello.write(), &frame[..HEAD]].concat();
        let sealed = session.seal(kind::CHALLENGE, &status.write(), &aad);
        frame[HEAD..].copy_from_slice(&sealed);
        Self { frame, session }
    }

    /// Checks a COMMAND for this challenge; its bytes in the clear.
    ///
    /// # Errors
    /// [`Fault::Length`], [`Fault::Kind`], [`Fault::WrongCode`].
    pub fn open(&self, frame: &[u8]) -> Result<[u8; COMMAND_LEN], Fault> {
        let found = frame.len();
        let frame: &[u8; REQUEST_LEN] = frame.try_into().map_err(|_| Fault::Length { wanted: REQUEST_LEN, found })?;
        if frame[0] != kind::COMMAND {
            return Err(Fault::Kind(frame[0]));
        }
        let aad = [&self.frame[..], &[kind::COMMAND]].concat();
        let plain = self.session.open(kind::COMMAND, &frame[1..], &aad).ok_or(Fault::WrongCode)?;
        Ok(piece(&plain, 0))
    }

    /// The RESULT for a COMMAND that was taken.
    #[must_use]
    pub fn answer(&self, command: &[u8; REQUEST_LEN], answer: &Answer) -> Vec<u8> {
        let plain = answer.write();
        let length = u16::try_from(RESULT_HEAD + plain.len() + TAG).expect("at most 244");
        let mut frame = vec![kind::RESULT];
        frame.extend(length.to_le_bytes());
        let aad = [&command[..], &frame].concat();
        frame.extend(self.session.seal(kind::RESULT, &plain, &aad));
        frame
    }
}
