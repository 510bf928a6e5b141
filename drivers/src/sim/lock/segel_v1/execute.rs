//! What a simulated seal does with a write.
//!
//! ```text
//!   HELLO ─► a new challenge, the old one is dead      COMMAND ─► verify ─► checks ─► journal ─► move ─► log ─► answer
//! ```

use std::time::Duration;

use super::{Mood, PowerCut, SegelLock};
use crate::{
    SealWord,
    codec::segel_v1::{
        Answer, Bolt, Command, ENTRIES_MAX, Entry, Fault, Hello, Offer, Outcome, REQUEST_LEN, Reference, Trouble, VERSION, att, kind,
        nonce_key, seal_nonce,
    },
};

/// How long a challenge lives.
const CHALLENGE_LIVES: Duration = Duration::from_secs(10);
/// After a wrong code nothing is taken for so long.
const WRONG_CODE_WAIT: Duration = Duration::from_secs(1);
/// Wrong codes are logged at most so often.
const WRONG_CODE_LOGGED_EVERY: Duration = Duration::from_secs(600);
/// A battery below this does not move, in percent.
const TOO_LOW_TO_MOVE: u8 = 5;

impl SegelLock {
    /// Takes a write or refuses it with an ATT error.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, u8> {
        if self.live.held_back.is_some() {
            return Err(att::BUSY);
        }
        if self.live.wrong_code_at.is_some_and(|at| self.uptime < at + WRONG_CODE_WAIT) {
            return Err(att::WAIT);
        }
        let frame: &[u8; REQUEST_LEN] = bytes.try_into().map_err(|_| att::NOT_A_FRAME)?;
        match Hello::read(frame) {
            Ok(hello) => self.on_hello(&hello).map(Some),
            Err(Fault::Kind(kind::COMMAND)) => self.on_command(frame),
            Err(_) => Err(att::NOT_A_FRAME),
        }
    }

    fn on_hello(&mut self, hello: &Hello) -> Result<Vec<u8>, u8> {
        if !(hello.lowest..=hello.highest).contains(&VERSION) {
            return Err(att::VERSION);
        }
        let mut random = [0; 8];
        // the nonce differs each time with poor random bytes as well
        if self.random {
            let _ = getrandom::fill(&mut random);
        }
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

    fn on_drain(&mut self, log: u32, confirm: u32, most: u8) -> (Outcome, Vec<Entry>) {
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
