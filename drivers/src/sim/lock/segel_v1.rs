//! A simulated seal that speaks the segel open seal protocol v1, exactly as `docs/seal-protocol.md` demands.
//!
//! ```text
//!   Memory (flash: key, log, command journal, counters)        survives a power loss
//!   Live   (RAM: challenge, answer, what was handed over)      does not
//! ```
//!
//! It has no clock but what it is told by [`SegelLock::pass`]; a connection and an advertisement take it a second each.

mod execute;
mod memory;

use std::time::Duration;

use super::{SimLock, SimPorts};
use crate::{
    MacAddress, SealWord,
    ble::Payload,
    codec::{
        bthome::SealKey,
        segel_v1::{ANSWER, Bolt, Marks, Offer, PENDING, REQUEST, SERVICE, Status, Trouble, write_advert},
    },
};
use memory::{Memory, Settled};

/// The advertisement's counter goes up at least so often.
const COUNTER_EVERY: Duration = Duration::from_secs(60);
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
    /// Whether its random generator gives anything.
    random: bool,
    dropped: bool,
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
            random: true,
            dropped: false,
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

    /// Gives it a key, as on the bench. Another one begins its log anew and counts as a start; the one it has changes
    /// nothing.
    pub fn set_key(&mut self, key: SealKey, log: u32) {
        if key.bytes() == self.memory.key.bytes() {
            return;
        }
        self.memory.set_key(key, log);
        self.memory.starts += 1;
        self.live = Live::default();
        self.said = None;
    }

    /// Its random generator gives zeros from now on.
    pub fn lose_random(&mut self) {
        self.random = false;
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
        self.dropped = true;
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
        self.dropped = false;
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

    fn dropped(&mut self) -> bool {
        std::mem::take(&mut self.dropped)
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
