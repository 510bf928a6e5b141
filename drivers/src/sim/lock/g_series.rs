//! A simulated seal that speaks G-Series (IMZ / Bander V11). The format is in [`crate::codec::g_series`].
//!
//! It answers a command with the short answer and the long one, as a lock that has both. A command whose outer check
//! does not fit it does not hear; with a wrong inner check it answers 05, with a serial not above the last 04.

use std::collections::VecDeque;

use super::{SimLock, SimPorts};
use crate::{
    LockClaim, MacAddress, SealKey,
    ble::air::Payload,
    codec::{
        calendar::SealTime,
        g_series::{
            ByWhom, Decoder, Frame, GFault, NOTIFY, PARAM_BATTERY, PARAM_LOCK, PARAM_SEAL, QUERY, SERVICE, SET, Sealing, Unit, WRITE, Way,
            decoder, plain, sealed, set_sealed, short,
        },
    },
};

/// How many of the writes to it it remembers; the oldest go first.
const WRITTEN_MAX: usize = 1024;
/// A command of its own that nobody here knows.
const UNKNOWN: u16 = 0x0999;

/// What a lock can be told to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Too little voltage to move (06).
    LowVoltage,
    /// Its shackle is out: it cannot be sealed (short answer 02).
    ShackleOut,
    /// Its motor is stuck: it says "done" and does not move.
    MotorStuck,
    /// It moves and says 01.
    MovesDespiteOne,
    /// It moves and says 17.
    MovesDespiteSeventeen,
    /// Its lock state is a value nobody knows.
    OddState,
    /// Each answer comes behind a frame of its own that nobody knows.
    NewsFirst,
    /// The check of the next long answer does not fit; goes away with it.
    CorruptNext,
    /// Each answer comes twice.
    AnswersTwice,
    /// It gives no long answers.
    OnlyShort,
    /// It gives no short answers.
    OnlyLong,
    /// It answers in the clear.
    InTheClear,
    /// It does not tell its battery.
    NoBattery,
    /// It does what it is told and says nothing.
    Silent,
}

/// The lock.
#[derive(Debug)]
pub struct GLock {
    address: MacAddress,
    name: String,
    key: SealKey,
    last_serial: [u8; 6],
    sealed: bool,
    battery: u8,
    troubles: Vec<Trouble>,
    decoder: Decoder,
    written: VecDeque<Vec<u8>>,
    value: Vec<u8>,
    openings: u32,
    closings: u32,
}

impl GLock {
    /// A lock that is open and has 64 % of its battery. Real ones have addresses that begin with `DC:0D`.
    #[must_use]
    pub fn new(address: MacAddress, number: &str, key: SealKey) -> Self {
        Self {
            address,
            name: format!("g4-{number}"),
            key,
            last_serial: [0; 6],
            sealed: false,
            battery: 64,
            troubles: Vec::new(),
            decoder: decoder(Way::ToLock),
            written: VecDeque::new(),
            value: Vec::new(),
            openings: 0,
            closings: 0,
        }
    }

    /// The same, sealed.
    #[must_use]
    pub fn sealed(self) -> Self {
        Self { sealed: true, ..self }
    }

    /// Gives it a trouble.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.troubles.push(trouble);
    }

    /// Takes all troubles away.
    pub fn heal(&mut self) {
        self.troubles.clear();
    }

    /// Whether it is sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Everything that was written to it, in pieces as it came, the oldest first; at most the last 1,024.
    pub fn all_written(&self) -> impl Iterator<Item = &[u8]> {
        self.written.iter().map(Vec::as_slice)
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    /// Moves, or not, and gives the result.
    fn set(&mut self, to: LockClaim) -> u8 {
        if self.has(Trouble::LowVoltage) {
            return 6;
        }
        let closing = to == LockClaim::Locked;
        if closing && self.has(Trouble::ShackleOut) {
            return 2;
        }
        if self.sealed != closing && !self.has(Trouble::MotorStuck) {
            self.sealed = closing;
            if closing { self.closings += 1 } else { self.openings += 1 }
        }
        match () {
            () if self.has(Trouble::MovesDespiteOne) => 1,
            () if self.has(Trouble::MovesDespiteSeventeen) => 17,
            () => 0,
        }
    }

    /// The short result and the long content that answer a command.
    fn answer(&mut self, frame: &Frame) -> (u8, Vec<u8>) {
        let opened = match frame.open(Some(&self.key)) {
            Ok(opened) if opened.by == ByWhom::KeyHolder => opened,
            Ok(_) | Err(GFault::WrongKey) => return (1, vec![5]),
            Err(_) => return (1, vec![6]),
        };
        let serial = opened.serial.unwrap_or_default();
        if serial <= self.last_serial {
            return (1, vec![4]);
        }
        self.last_serial = serial;
        match (frame.command, opened.content.as_slice()) {
            (SET, content) if content == set_sealed(LockClaim::Locked) => self.set_answer(LockClaim::Locked),
            (SET, content) if content == set_sealed(LockClaim::Unlocked) => self.set_answer(LockClaim::Unlocked),
            (QUERY, [PARAM_LOCK]) if self.has(Trouble::OddState) => (0, vec![1, PARAM_LOCK, 1, 0x77]),
            (QUERY, [PARAM_LOCK]) => (0, vec![1, PARAM_LOCK, 1, 0x30 + u8::from(self.sealed)]),
            (QUERY, [PARAM_BATTERY]) if !self.has(Trouble::NoBattery) => (0, vec![1, PARAM_BATTERY, 1, self.battery]),
            _ => (1, vec![6]),
        }
    }

    fn set_answer(&mut self, to: LockClaim) -> (u8, Vec<u8>) {
        match self.set(to) {
            0 => (0, vec![1, PARAM_SEAL, 0]),
            result @ (1 | 2) => (result, vec![result]),
            result => (1, vec![result]),
        }
    }

    fn say(&mut self, command: u16, content: &[u8]) -> Vec<u8> {
        let time = SealTime::from_bcd(self.last_serial).unwrap_or(SealTime::of(std::time::SystemTime::UNIX_EPOCH));
        self.value = if self.has(Trouble::InTheClear) {
            plain(Way::FromLock, command, content)
        } else {
            sealed(Way::FromLock, command, content, &Sealing { key: &self.key, serial: time, random: [7; 4] })
        };
        self.value.clone()
    }

    fn around(&mut self, command: u16, result: u8, content: &[u8]) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        if self.has(Trouble::NewsFirst) {
            said.push(self.say(UNKNOWN, &[1, 2, 3]));
        }
        if !self.has(Trouble::OnlyLong) {
            said.push(short(result));
        }
        // A short 02 is all it says of a shackle that is out.
        if !self.has(Trouble::OnlyShort) && result != 2 {
            let mut bytes = self.say(command, content);
            if self.has(Trouble::CorruptNext) {
                self.troubles.retain(|trouble| *trouble != Trouble::CorruptNext);
                bytes[9] ^= 0x10;
            }
            said.push(bytes);
        }
        if self.has(Trouble::AnswersTwice) {
            said.extend(said.clone());
        }
        said
    }
}

impl SimLock for GLock {
    fn address(&self) -> MacAddress {
        self.address
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn ports(&self) -> SimPorts {
        SimPorts { service: SERVICE, write: WRITE, notify: NOTIFY }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        vec![Payload::Bare]
    }

    fn connected(&mut self) {
        self.decoder = decoder(Way::ToLock);
    }

    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.written.len() == WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(bytes.to_vec());
        self.decoder.push(bytes);
        let mut said = Vec::new();
        while let Some(unit) = self.decoder.next() {
            let Ok(Unit::Frame(frame)) = unit else { continue };
            let (result, content) = self.answer(&frame);
            if !self.has(Trouble::Silent) {
                said.extend(self.around(frame.command, result, &content));
            }
        }
        said
    }

    fn value(&self) -> Vec<u8> {
        self.value.clone()
    }

    fn openings(&self) -> u32 {
        self.openings
    }

    fn closings(&self) -> u32 {
        self.closings
    }
}
