//! A simulated NokeLock / Oklok padlock.

use super::{SimLock, SimPorts, Trick, trick::Moved};
use crate::{
    MacAddress, SealKey,
    ble::air::{Payload, uuid16},
    codec::nokelock::{Answer, Command, NOTIFY, PASSWORD_LEN, SERVICE, Shackle, Token, WRITE, open},
};

/// A padlock. Its firmware closes when the shackle is pressed in ([`SimNokeLock::close_by_hand`]) and opens on command.
#[derive(Debug, Clone)]
pub struct SimNokeLock {
    /// The address it advertises with.
    pub address: MacAddress,
    /// Its key.
    pub key: SealKey,
    /// Its password.
    pub password: [u8; PASSWORD_LEN],
    /// Charge in percent; `None` where it cannot measure.
    pub battery: Option<u8>,
    /// What it does wrong.
    pub trick: Trick,
    shackle: Shackle,
    /// Connections so far; each has a token of its own.
    connections: u32,
    token: Option<Token>,
    before: Option<Vec<u8>>,
    value: Vec<u8>,
    openings: u32,
    closings: u32,
}

impl SimNokeLock {
    /// A closed lock.
    #[must_use]
    pub fn new(address: MacAddress, key: SealKey, password: [u8; PASSWORD_LEN]) -> Self {
        Self {
            address,
            key,
            password,
            battery: Some(93),
            trick: Trick::None,
            shackle: Shackle::Closed,
            connections: 0,
            token: None,
            before: None,
            value: Vec::new(),
            openings: 0,
            closings: 0,
        }
    }

    /// Somebody presses the shackle in; what it notifies if somebody listens.
    pub fn close_by_hand(&mut self) -> Vec<Vec<u8>> {
        self.shackle = Shackle::Closed;
        self.closings += 1;
        self.say(Answer::ClosedByHand, Moved::No)
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shackle == Shackle::Open
    }

    fn say(&mut self, answer: Answer, moved: Moved) -> Vec<Vec<u8>> {
        let out = self.trick.played(answer.frame(&self.key).to_vec(), moved, &mut self.before);
        if let Some(last) = out.last() {
            self.value.clone_from(last);
        }
        out
    }

    fn unlock(&mut self, password: [u8; PASSWORD_LEN]) -> Answer {
        if self.trick == Trick::Refuses || password != self.password {
            return Answer::NotOpened { code: 1 };
        }
        if self.shackle == Shackle::Closed {
            self.openings += 1;
        }
        self.shackle = Shackle::Open;
        Answer::Opened
    }
}

impl SimLock for SimNokeLock {
    fn address(&self) -> MacAddress {
        self.address
    }

    fn name(&self) -> Option<String> {
        Some("NokeLock".to_owned())
    }

    fn ports(&self) -> SimPorts {
        SimPorts { service: uuid16(SERVICE), write: uuid16(WRITE), notify: uuid16(NOTIFY) }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        vec![Payload::Bare]
    }

    fn connected(&mut self) {
        self.connections = self.connections.wrapping_add(1);
        self.token = None;
        self.before = None;
    }

    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Ok(plain) = open(bytes, &self.key) else { return Vec::new() };
        let Some(command) = Command::read(&plain) else { return Vec::new() };
        if self.trick == Trick::Silent {
            return Vec::new();
        }
        match command {
            Command::Token { .. } => {
                let token = Token(self.connections.wrapping_mul(0x9E37_79B1).to_be_bytes());
                self.token = Some(token);
                self.say(Answer::Token { token, chip: 1, version: (3, 1) }, Moved::No)
            }
            Command::Unlock { password, token, .. } if Some(token) == self.token => {
                let answer = self.unlock(password);
                self.say(answer, Moved::Told)
            }
            Command::Status { token, .. } if Some(token) == self.token => {
                let code = u8::from(self.shackle == Shackle::Closed);
                self.say(Answer::Status { shackle: self.shackle, code }, Moved::No)
            }
            Command::Battery { token, .. } if Some(token) == self.token => self.say(Answer::Battery { percent: self.battery }, Moved::No),
            Command::Unlock { .. } | Command::Status { .. } | Command::Battery { .. } => Vec::new(),
        }
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
