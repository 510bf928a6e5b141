//! A simulated seal that speaks TT-Series BLE-ELOCK A7. The format is in [`crate::codec::tt`].
//!
//! It answers as the maker's table says. Where the table is silent it does what is worst for whoever relies on it: a
//! motor that is stuck says nothing when locking and "overtime" when unlocking, and shows `abnormal` from then on; a
//! frame that is damaged, or for another lock, gets no answer at all.

mod trouble;

use std::collections::VecDeque;

use uuid::Uuid;

use super::{SimLock, SimPorts};
use crate::{
    MacAddress, SealKey,
    ble::air::Payload,
    codec::{
        calendar::SealTime,
        tt::{
            self, Access, Command, Decoder, LockId, Message, PASSWORD_LEN, Report, Source, codes,
            state::{Flags, State},
        },
    },
};

pub use trouble::Trouble;

/// How many of the frames written to it it remembers; the oldest go first.
const WRITTEN_MAX: usize = 1024;

/// The lock.
#[derive(Debug)]
pub struct TtLock {
    address: MacAddress,
    lock: LockId,
    password: [u8; PASSWORD_LEN],
    key: Option<SealKey>,
    sealed: bool,
    abnormal: bool,
    battery: u8,
    time: Option<SealTime>,
    troubles: Vec<Trouble>,
    decoder: Decoder,
    written: VecDeque<Vec<u8>>,
    value: Vec<u8>,
    heard: u32,
    openings: u32,
    closings: u32,
}

impl TtLock {
    /// A lock that is open, has 87 % of its battery and no key.
    #[must_use]
    pub fn new(address: MacAddress, lock: LockId, password: [u8; PASSWORD_LEN]) -> Self {
        Self {
            address,
            lock,
            password,
            key: None,
            sealed: false,
            abnormal: false,
            battery: 87,
            time: None,
            troubles: Vec::new(),
            decoder: tt::decoder(),
            written: VecDeque::new(),
            value: Vec::new(),
            heard: 0,
            openings: 0,
            closings: 0,
        }
    }

    /// The same with a key: it speaks and understands only encrypted frames.
    #[must_use]
    pub fn with_key(self, key: SealKey) -> Self {
        Self { key: Some(key), ..self }
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
        self.abnormal = false;
    }

    /// Whether it is sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Its clock.
    #[must_use]
    pub fn time(&self) -> Option<SealTime> {
        self.time
    }

    /// How many of its heartbeats were answered.
    #[must_use]
    pub fn heartbeats_answered(&self) -> u32 {
        self.heard
    }

    /// Everything that was written to it, in pieces as it came, the oldest first; at most the last 1,024.
    pub fn all_written(&self) -> impl Iterator<Item = &[u8]> {
        self.written.iter().map(Vec::as_slice)
    }

    fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    fn flags(&self) -> u8 {
        let flags = [
            (Trouble::RodCut, Flags::ROD_CUT),
            (Trouble::ForcedOpen, Flags::OPENED),
            (Trouble::ShellOpen, Flags::SHELL),
            (Trouble::Emergency, Flags::EMERGENCY),
        ];
        flags.into_iter().filter(|(trouble, _)| self.has(*trouble)).fold(0, |all, (_, flag)| all | flag)
    }

    fn state(&self) -> State {
        match self.flags() {
            0 if self.abnormal => State::Abnormal,
            0 if self.has(Trouble::RodOut) => State::Open,
            0 if self.sealed => State::Sealed,
            0 => State::Unsealed,
            flags => State::Alarm(Flags::new(flags)),
        }
    }

    fn report(&self, source: Option<Source>) -> Report {
        let other = self.troubles.iter().find_map(|trouble| match trouble {
            Trouble::AnswersAs(other) => Some(*other),
            _ => None,
        });
        Report { lock: other.unwrap_or(self.lock), battery: self.battery, state: self.state(), source, time: self.time }
    }

    fn lock(&mut self) -> Option<u8> {
        if self.has(Trouble::LowVoltage) {
            return Some(0x83);
        }
        match self.flags() {
            0 => {}
            flags if flags & Flags::ROD_CUT != 0 => return Some(0x86),
            flags if flags & Flags::SHELL != 0 => return Some(0x84),
            _ => return Some(0x87),
        }
        if self.has(Trouble::RodOut) {
            return Some(0x82);
        }
        if self.sealed {
            return Some(0x81);
        }
        if self.has(Trouble::MotorStuck) {
            self.abnormal = true;
            return None;
        }
        self.sealed = true;
        self.closings += 1;
        Some(0x80)
    }

    fn unlock(&mut self) -> u8 {
        match self.flags() {
            0 => {}
            flags if flags & Flags::ROD_CUT != 0 => return 0x98,
            flags if flags & Flags::EMERGENCY != 0 => return 0x95,
            flags if flags & Flags::SHELL != 0 => return 0x94,
            _ => return 0x96,
        }
        if self.has(Trouble::RodOut) {
            return 0x92;
        }
        if self.has(Trouble::NotSealed) {
            return 0x97;
        }
        if !self.sealed {
            return 0x91;
        }
        if self.has(Trouble::MotorStuck) {
            self.abnormal = true;
            return 0x99;
        }
        self.sealed = false;
        self.openings += 1;
        0x90
    }

    fn checked(&mut self, access: &Access, act: impl FnOnce(&mut Self) -> Option<u8>) -> Option<Message> {
        if access.lock != self.lock {
            return None;
        }
        self.time = self.time.max(Some(access.at));
        let code = if access.password == self.password { act(self)? } else { 0x93 };
        Some(Message::Answer(*codes::meaning(code)?, self.report(Some(Source::Bluetooth))))
    }

    fn answer(&mut self, command: &Command) -> Option<Message> {
        match command {
            Command::State(access) => self.checked(access, |_| Some(0x62)),
            Command::Lock(access) => self.checked(access, Self::lock),
            Command::Unlock(access) => self.checked(access, |lock| Some(lock.unlock())),
            Command::SetTime(at) => {
                self.time = Some(*at);
                Some(Message::TimeSet)
            }
            Command::Heard(lock, _) => {
                self.heard += u32::from(*lock == self.lock);
                None
            }
        }
    }

    fn say(&mut self, message: &Message) -> Vec<u8> {
        self.value = tt::write(&message.write(), self.key.as_ref());
        self.value.clone()
    }

    fn around(&mut self, answer: &Message) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        for trouble in self.troubles.clone() {
            let before = match trouble {
                Trouble::HeartbeatFirst => Message::Heartbeat(self.report(None)),
                Trouble::AlarmFirst(alarm) => Message::Alarm(alarm, self.report(None)),
                Trouble::KeyboardFirst => {
                    let code = codes::meaning(0x90).expect("90 is in the table");
                    Message::Answer(*code, self.report(Some(Source::Keyboard)))
                }
                _ => continue,
            };
            said.push(self.say(&before));
        }
        let mut bytes = self.say(answer);
        if self.has(Trouble::CorruptNext) {
            self.troubles.retain(|trouble| *trouble != Trouble::CorruptNext);
            let last = bytes.len() - 1;
            bytes[last] ^= 0x40;
        }
        if self.has(Trouble::AnswersTwice) {
            said.push(bytes.clone());
        }
        said.push(bytes);
        said
    }
}

impl SimLock for TtLock {
    fn address(&self) -> MacAddress {
        self.address
    }

    fn name(&self) -> Option<String> {
        Some(format!("tt-{}", self.lock))
    }

    /// The maker fixed no UUIDs; these are one pair of many.
    fn ports(&self) -> SimPorts {
        let uuid = |last: u128| Uuid::from_u128(0x7474_0000_656C_6F63_6B61_3700_0000_0000 | last);
        SimPorts { service: uuid(1), write: uuid(2), notify: uuid(3) }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        vec![Payload::Bare]
    }

    fn connected(&mut self) {
        self.decoder = tt::decoder();
    }

    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.written.len() == WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(bytes.to_vec());
        self.decoder.push(bytes);
        let mut said = Vec::new();
        while let Some(read) = self.decoder.next() {
            let command = read.and_then(|frame| frame.open(self.key.as_ref())).and_then(|data| Command::read(&data));
            let answer = command.ok().and_then(|command| self.answer(&command));
            if let Some(answer) = answer.filter(|_| !self.has(Trouble::Silent)) {
                said.extend(self.around(&answer));
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
