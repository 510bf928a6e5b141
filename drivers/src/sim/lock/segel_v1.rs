//! A simulated seal that speaks the segel open seal protocol v1, exactly as `docs/seal-protocol.md` demands.
//!
//! ```text
//!   Memory (flash: key, log, command journal, counters)        survives a power loss
//!   Live   (RAM: challenge, answer, what was handed over)      does not
//! ```
//!
//! It has no clock but what it is told by [`SegelLock::pass`]; a connection and an advertisement take it a second each.

mod memory;

use std::time::Duration;

use super::{SimLock, SimPorts};
use crate::{
    MacAddress, SealWord,
    ble::Payload,
    codec::{
        bthome::SealKey,
        segel_v1::{
            ANSWER, Answer, Bolt, Command, ENTRIES_MAX, Fault, Hello, Marks, Offer, Outcome, PENDING, REQUEST, REQUEST_LEN, Reference,
            SERVICE, Status, Trouble, VERSION, att, nonce_key, seal_nonce, write_advert,
        },
    },
};
use memory::{Memory, Settled};

/// How long a challenge lives.
const CHALLENGE_LIVES: Duration = Duration::from_secs(10);
/// After a wrong code nothing is taken for so long.
const WRONG_CODE_WAIT: Duration = Duration::from_secs(1);
/// Wrong codes are logged at most so often.
const WRONG_CODE_LOGGED_EVERY: Duration = Duration::from_secs(600);
/// The advertisement's counter goes up at least so often.
const COUNTER_EVERY: Duration = Duration::from_secs(60);
/// A battery below this does not move, in percent.
const TOO_LOW_TO_MOVE: u8 = 5;
/// A battery below this is said to be low, in percent.
const LOW: u8 = 20;
/// The counter's ceiling in flash is this far ahead.
const COUNTER_AHEAD: u32 = 1024;

/// When, in executing a command that moves, the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerCut {
    /// The command is in the journal, the bolt has not moved.
    BeforeTheMove,
    /// The bolt is between its ends.
    InTheMove,
    /// The bolt has arrived, and the journal does not say so yet.
    AfterTheMove,
    /// All is written, the answer is not sent.
    BeforeTheAnswer,
}

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Obeying,
    /// It takes every write and answers none.
    Silent,
    /// It answers, and every notification is lost.
    NotificationsLost,
    /// It works on a command until [`SegelLock::finish`].
    Slow,
    /// Its motor sticks half-way.
    Stuck,
    /// The power goes while it executes a command that moves; then it obeys.
    LosesPower(PowerCut),
}

/// What is gone with the power.
#[derive(Debug, Default)]
struct Live {
    offer: Option<(Offer, Duration)>,
    nonces: u32,
    value: Option<Vec<u8>>,
    held_back: Option<Vec<u8>>,
    told: u32,
    clock_set_at: Option<(u32, Duration)>,
    wrong_code_at: Option<Duration>,
    wrong_codes: u32,
    wrong_code_logged_at: Option<Duration>,
}

/// A seal.
#[derive(Debug)]
pub struct SegelLock {
    address: MacAddress,
    number: String,
    memory: Memory,
    live: Live,
    uptime: Duration,
    mood: Mood,
    bolt: Bolt,
    shackle: bool,
    alarm_now: bool,
    battery: u8,
    notified_at_most: usize,
    att_error: Option<u8>,
    writes: Vec<Vec<u8>>,
    openings: u32,
    closings: u32,
    said: Option<([u8; 2], Duration)>,
}

impl SegelLock {
    /// A seal that is unlocked, with its shackle in place and a good battery. `log` is its log's id.
    #[must_use]
    pub fn new(address: MacAddress, number: &str, key: SealKey, log: u32) -> Self {
        let mut seal = Self {
            address,
            number: number.to_owned(),
            memory: Memory::new(key, log),
            live: Live::default(),
            uptime: Duration::ZERO,
            mood: Mood::Obeying,
            bolt: Bolt::Unlocked,
            shackle: true,
            alarm_now: false,
            battery: 87,
            notified_at_most: usize::MAX,
            att_error: None,
            writes: Vec::new(),
            openings: 0,
            closings: 0,
            said: None,
        };
        seal.memory.starts += 1;
        seal
    }

    /// The same, locked.
    #[must_use]
    pub fn locked(mut self) -> Self {
        self.bolt = Bolt::Locked;
        self
    }

    /// Changes its mood.
    pub fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
    }

    /// Gives it another key, as on the bench; its log begins anew.
    pub fn set_key(&mut self, key: SealKey, log: u32) {
        self.memory = Memory::new(key, log);
        self.memory.starts = 1;
        self.live = Live::default();
    }

    /// Its battery in percent.
    pub fn set_battery(&mut self, percent: u8) {
        self.battery = percent.min(100);
    }

    /// Longest notification, in bytes; an ATT MTU of 23 leaves 20.
    pub fn notify_at_most(&mut self, bytes: usize) {
        self.notified_at_most = bytes;
    }

    /// Room in its log.
    pub fn set_room(&mut self, entries: usize) {
        self.memory.room = entries.max(1);
    }

    /// Takes its shackle out of its place, without force: it is unlocked.
    pub fn take_shackle_out(&mut self) {
        self.shackle = false;
    }

    /// Time goes by.
    pub fn pass(&mut self, time: Duration) {
        self.uptime += time;
    }

    /// Something happens to it.
    pub fn happens(&mut self, word: SealWord) {
        let trouble = match word {
            SealWord::ForcedOpen => {
                self.bolt = Bolt::Unlocked;
                Trouble::FORCED
            }
            SealWord::ShackleCut => {
                self.alarm_now = true;
                Trouble::CUT
            }
            SealWord::CoverOpened => {
                self.alarm_now = true;
                Trouble::COVER
            }
            SealWord::EmergencyOpened => {
                self.bolt = Bolt::Unlocked;
                Trouble::EMERGENCY
            }
            SealWord::Abnormal => Trouble::FAULT,
            _ => Trouble::default(),
        };
        self.memory.trouble = self.memory.trouble.with(trouble);
        self.log(word, [0; 8]);
    }

    /// The power goes and comes back: RAM is gone, the command journal is settled.
    pub fn lose_power(&mut self) {
        self.live = Live::default();
        self.said = None;
        self.uptime = Duration::ZERO;
        self.memory.starts += 1;
        self.memory.counter = self.memory.counter_ceiling;
        if let Some(settled) = self.memory.settle(self.bolt) {
            let Settled { word, reference } = settled;
            self.log(word, reference.0);
        }
        self.log(SealWord::Restarted, [1, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// A slow seal ends what it works on; its notification.
    pub fn finish(&mut self) -> Vec<Vec<u8>> {
        match self.live.held_back.take() {
            Some(answer) => self.answer_with(answer),
            None => Vec::new(),
        }
    }

    /// Every write so far, the oldest first.
    #[must_use]
    pub fn writes(&self) -> &[Vec<u8>] {
        &self.writes
    }

    /// Where its bolt is.
    #[must_use]
    pub fn bolt(&self) -> Bolt {
        self.bolt
    }

    /// Numbers of the entries it holds.
    #[must_use]
    pub fn held(&self) -> Vec<u32> {
        self.memory.told(usize::MAX).iter().map(|entry| entry.number).collect()
    }

    /// Its state now.
    #[must_use]
    pub fn status(&self) -> Status {
        let mark = |mark: Marks, holds: bool| if holds { mark } else { Marks::default() };
        let marks = mark(Marks::SHACKLE, self.shackle)
            .with(mark(Marks::CLOCK, self.live.clock_set_at.is_some()))
            .with(mark(Marks::FACTORY_KEY, self.memory.is_factory()))
            .with(mark(Marks::BATTERY_LOW, self.battery < LOW))
            .with(mark(Marks::LOG_LOST, self.memory.has_lost()));
        Status {
            bolt: self.bolt,
            marks,
            trouble: self.memory.trouble,
            battery_percent: Some(self.battery),
            millivolts: 2400 + 14 * u16::from(self.battery),
            temperature_centi_c: Some(2150),
            clock: self.clock(),
            log: self.memory.log_id,
            oldest: self.memory.oldest(),
            stored: self.memory.stored(),
            last: self.memory.last(),
        }
    }

    fn clock(&self) -> u32 {
        let (from, since) = self.live.clock_set_at.unwrap_or((0, Duration::ZERO));
        from.saturating_add(u32::try_from((self.uptime - since).as_secs()).unwrap_or(u32::MAX))
    }

    fn log(&mut self, word: SealWord, detail: [u8; 8]) {
        let (clock, set) = (self.clock(), self.live.clock_set_at.is_some());
        self.memory.add(word, clock, set, self.battery, detail);
    }

    fn answer_with(&mut self, value: Vec<u8>) -> Vec<Vec<u8>> {
        let notified = value[..value.len().min(self.notified_at_most)].to_vec();
        self.live.value = Some(value);
        if self.mood == Mood::NotificationsLost { Vec::new() } else { vec![notified] }
    }

    /// Takes a write or refuses it with an ATT error.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, u8> {
        if self.live.held_back.is_some() {
            return Err(att::BUSY);
        }
        if self.live.wrong_code_at.is_some_and(|at| self.uptime < at + WRONG_CODE_WAIT) {
            return Err(att::WAIT);
        }
        let frame: &[u8; REQUEST_LEN] = bytes.try_into().map_err(|_| att::NOT_A_FRAME)?;
        match Hello::read(frame) {
            Ok(hello) => self.on_hello(&hello).map(Some),
            Err(Fault::Kind(0x02)) => self.on_command(frame),
            Err(_) => Err(att::NOT_A_FRAME),
        }
    }

    fn on_hello(&mut self, hello: &Hello) -> Result<Vec<u8>, u8> {
        if !(hello.lowest..=hello.highest).contains(&VERSION) {
            return Err(att::VERSION);
        }
        let mut random = [0; 8];
        // the nonce differs each time with poor random bytes as well
        let _ = getrandom::fill(&mut random);
        let key = nonce_key(&self.memory.key, &self.number);
        let nonce = seal_nonce(&key, self.memory.starts, self.live.nonces, random);
        self.live.nonces += 1;
        let offer = Offer::new(&self.memory.key, &self.number, hello, nonce, &self.status());
        let frame = offer.frame.to_vec();
        self.live.offer = Some((offer, self.uptime));
        Ok(frame)
    }

    fn on_command(&mut self, frame: &[u8; REQUEST_LEN]) -> Result<Option<Vec<u8>>, u8> {
        let (offer, at) = self.live.offer.take().ok_or(att::NO_CHALLENGE)?;
        if self.uptime > at + CHALLENGE_LIVES {
            return Err(att::NO_CHALLENGE);
        }
        let Ok(plain) = offer.open(frame) else {
            self.on_wrong_code();
            return Err(att::WRONG_CODE);
        };
        self.live.value = None;
        let executed = match Command::read(&plain) {
            None => Some((Outcome::BAD_BODY, Vec::new())),
            Some(Command::Lock(reference)) => self.on_move(Bolt::Locked, reference).map(|outcome| (outcome, Vec::new())),
            Some(Command::Unlock(reference)) => self.on_move(Bolt::Unlocked, reference).map(|outcome| (outcome, Vec::new())),
            Some(Command::SetTime(seconds)) => {
                let before = self.clock().to_le_bytes();
                self.live.clock_set_at = Some((seconds, self.uptime));
                self.log(SealWord::TimeSet, [before[0], before[1], before[2], before[3], 0, 0, 0, 0]);
                Some((Outcome::DONE, Vec::new()))
            }
            Some(Command::Drain { log, confirm, most }) => Some(self.on_drain(log, confirm, most)),
        };
        // the power went
        let Some((outcome, entries)) = executed else { return Ok(None) };
        Ok(Some(offer.answer(frame, &Answer { outcome, status: self.status(), entries })))
    }

    fn on_wrong_code(&mut self) {
        self.live.wrong_codes += 1;
        self.live.wrong_code_at = Some(self.uptime);
        self.memory.trouble = self.memory.trouble.with(Trouble::WRONG_CODE);
        if self.live.wrong_code_logged_at.is_none_or(|at| self.uptime >= at + WRONG_CODE_LOGGED_EVERY) {
            self.live.wrong_code_logged_at = Some(self.uptime);
            let count = std::mem::take(&mut self.live.wrong_codes).to_le_bytes();
            self.log(SealWord::WrongPassword, [count[0], count[1], count[2], count[3], 0, 0, 0, 0]);
        }
    }

    /// `None`: the power went before it could answer.
    fn on_move(&mut self, to: Bolt, reference: Reference) -> Option<Outcome> {
        let locks = to == Bolt::Locked;
        let refusal = [
            (Outcome::ALREADY, self.memory.last().action != 0 && self.memory.last().reference == reference),
            (Outcome::FACTORY_KEY, locks && self.memory.is_factory()),
            (Outcome::ALREADY, self.bolt == to),
            (Outcome::IN_ALARM, locks && self.alarm_now),
            (Outcome::SHACKLE_OUT, locks && !self.shackle),
            (Outcome::BATTERY_LOW, self.battery < TOO_LOW_TO_MOVE),
        ];
        if let Some((outcome, _)) = refusal.iter().find(|(_, holds)| *holds) {
            return Some(*outcome);
        }
        let cut = if let Mood::LosesPower(cut) = self.mood { Some(cut) } else { None };
        self.memory.begin(to, reference, self.bolt);
        if cut == Some(PowerCut::BeforeTheMove) {
            return self.power_goes();
        }
        self.bolt = Bolt::Between;
        if cut == Some(PowerCut::InTheMove) {
            return self.power_goes();
        }
        if self.mood == Mood::Stuck {
            self.memory.end(Outcome::STUCK);
            self.memory.trouble = self.memory.trouble.with(Trouble::STUCK);
            self.log(SealWord::MotorStuck, reference.0);
            return Some(Outcome::STUCK);
        }
        self.bolt = to;
        if locks {
            self.closings += 1;
        } else {
            self.openings += 1;
        }
        if cut == Some(PowerCut::AfterTheMove) {
            return self.power_goes();
        }
        if locks {
            self.memory.trouble = Trouble::default();
        }
        self.log(if locks { SealWord::Sealed } else { SealWord::Unsealed }, reference.0);
        self.memory.end(Outcome::DONE);
        if cut == Some(PowerCut::BeforeTheAnswer) {
            return self.power_goes();
        }
        Some(Outcome::DONE)
    }

    fn power_goes(&mut self) -> Option<Outcome> {
        self.mood = Mood::Obeying;
        self.lose_power();
        None
    }

    fn on_drain(&mut self, log: u32, confirm: u32, most: u8) -> (Outcome, Vec<crate::codec::segel_v1::Entry>) {
        if log != self.memory.log_id {
            return (Outcome::WRONG_LOG, Vec::new());
        }
        if confirm > self.live.told {
            return (Outcome::NOT_TOLD, Vec::new());
        }
        self.memory.confirm(confirm);
        let entries = self.memory.told(usize::from(most).min(ENTRIES_MAX));
        if let Some(last) = entries.last() {
            self.live.told = self.live.told.max(last.number);
        }
        (Outcome::DONE, entries)
    }
}

impl SimLock for SegelLock {
    fn address(&self) -> MacAddress {
        self.address
    }

    fn name(&self) -> Option<String> {
        Some(self.number.chars().take(11).collect())
    }

    fn ports(&self) -> SimPorts {
        SimPorts { service: SERVICE, write: REQUEST, notify: ANSWER }
    }

    fn advertise(&mut self) -> Vec<Payload> {
        self.pass(Duration::from_secs(1));
        let status = self.status();
        let said = write_advert(&self.memory.key, &self.number, &status, 0);
        let said = [said[0], said[1]];
        if self.said.is_none_or(|(before, at)| before != said || self.uptime >= at + COUNTER_EVERY) {
            self.said = Some((said, self.uptime));
            self.memory.count(COUNTER_AHEAD);
        }
        let bytes = write_advert(&self.memory.key, &self.number, &status, self.memory.counter).to_vec();
        vec![Payload::ServiceData { uuid: SERVICE, bytes }]
    }

    fn connected(&mut self) {
        self.pass(Duration::from_secs(1));
        self.live.offer = None;
        self.live.value = None;
    }

    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.writes.push(bytes.to_vec());
        self.att_error = None;
        if self.mood == Mood::Silent {
            return Vec::new();
        }
        match self.take(bytes) {
            Ok(Some(answer)) if self.mood == Mood::Slow && bytes.first() == Some(&0x02) => {
                self.live.held_back = Some(answer);
                Vec::new()
            }
            Ok(Some(answer)) => self.answer_with(answer),
            Ok(None) => Vec::new(),
            Err(code) => {
                self.att_error = Some(code);
                Vec::new()
            }
        }
    }

    fn att_error(&self) -> Option<u8> {
        self.att_error
    }

    fn value(&self) -> Vec<u8> {
        self.live.value.clone().unwrap_or_else(|| PENDING.to_vec())
    }

    fn openings(&self) -> u32 {
        self.openings
    }

    fn closings(&self) -> u32 {
        self.closings
    }
}
