//! The inside of a frame: commands to the lock, messages from it.

use super::{LockId, PASSWORD_LEN, TtFault, codes, codes::Code, state::State};
use crate::{SealWord, codec::calendar::SealTime};

const HEARTBEAT: u8 = 0x01;
const STATE: u8 = 0x12;
const SET_TIME: u8 = 0x20;
const LOCK: u8 = 0x31;
const UNLOCK: u8 = 0x37;
/// Bytes of a date and time.
const TIME: usize = 6;
/// A report without a source.
const HEARTBEAT_LEN: usize = 14;
/// A report with one.
const ANSWER_LEN: usize = 15;

/// From the gate to the lock.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// `12`: say what state it is in.
    State(Access),
    /// `31`: lock.
    Lock(Access),
    /// `37`: unlock.
    Unlock(Access),
    /// `20`: set its clock.
    SetTime(SealTime),
    /// `01`: its heartbeat was heard.
    Heard(LockId, SealTime),
}

/// Which lock, by what right, when.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The lock.
    pub lock: LockId,
    /// Its password, digits in ASCII.
    pub password: [u8; PASSWORD_LEN],
    /// The moment of the command.
    pub at: SealTime,
}

/// Only which command: the rest has the password.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::State(_) => "State",
            Self::Lock(_) => "Lock",
            Self::Unlock(_) => "Unlock",
            Self::SetTime(_) => "SetTime",
            Self::Heard(..) => "Heard",
        })
    }
}

impl Access {
    fn write(&self, code: u8) -> Vec<u8> {
        [&[code], &self.lock.to_bytes()[..], &self.password, &self.at.to_binary()].concat()
    }

    fn read(code: u8, rest: &[u8]) -> Result<Self, TtFault> {
        let fault = TtFault::TooShort { code, len: rest.len() + 1 };
        let (lock, rest) = rest.split_first_chunk().ok_or(fault)?;
        let (password, rest) = rest.split_first_chunk().ok_or(fault)?;
        let at = rest.first_chunk().copied().and_then(SealTime::from_binary).ok_or(fault)?;
        Ok(Self { lock: LockId::from_bytes(*lock), password: *password, at })
    }
}

impl Command {
    /// The data of its frame.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::State(access) => access.write(STATE),
            Self::Lock(access) => access.write(LOCK),
            Self::Unlock(access) => access.write(UNLOCK),
            Self::SetTime(at) => [&[SET_TIME], &at.to_binary()[..]].concat(),
            Self::Heard(lock, at) => [&[HEARTBEAT], &lock.to_bytes()[..], &at.to_binary()].concat(),
        }
    }

    /// Reads the data of a frame to a lock, as the lock does.
    ///
    /// # Errors
    /// [`TtFault::TooShort`] (or no date where one must be), [`TtFault::UnknownCode`].
    pub fn read(data: &[u8]) -> Result<Self, TtFault> {
        let (&code, rest) = data.split_first().ok_or(TtFault::TooShort { code: 0, len: 0 })?;
        let fault = TtFault::TooShort { code, len: data.len() };
        let time = |rest: &[u8]| rest.first_chunk().copied().and_then(SealTime::from_binary).ok_or(fault);
        match code {
            STATE => Access::read(code, rest).map(Self::State),
            LOCK => Access::read(code, rest).map(Self::Lock),
            UNLOCK => Access::read(code, rest).map(Self::Unlock),
            SET_TIME => time(rest).map(Self::SetTime),
            HEARTBEAT => {
                let (lock, rest) = rest.split_first_chunk().ok_or(fault)?;
                Ok(Self::Heard(LockId::from_bytes(*lock), time(rest)?))
            }
            _ => Err(TtFault::UnknownCode(code)),
        }
    }
}

/// From the lock to the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// `01`: a sign of life, to be answered.
    Heartbeat(Report),
    /// `03`, `04`, `05`.
    Alarm(Alarm, Report),
    /// The answer to a command, or what it tells when it was operated otherwise.
    Answer(Code, Report),
    /// `20`: its clock is set.
    TimeSet,
}

/// What it raises an alarm for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// `03`: broken.
    Broken,
    /// `04`: its rod was cut.
    RodCut,
    /// `05`: opened.
    Opened,
}

impl Alarm {
    /// As it stands in a frame.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Broken => 0x03,
            Self::RodCut => 0x04,
            Self::Opened => 0x05,
        }
    }

    /// What has happened. "Broken" without anything in the status is taken for forced open.
    #[must_use]
    pub fn words(self, state: State) -> Vec<SealWord> {
        let mut words = match state {
            State::Alarm(_) => state.complaints(),
            _ => Vec::new(),
        };
        let own = match self {
            Self::RodCut => SealWord::ShackleCut,
            Self::Opened => SealWord::ForcedOpen,
            Self::Broken if words.is_empty() || words == [SealWord::Abnormal] => SealWord::ForcedOpen,
            Self::Broken => return words,
        };
        words.retain(|word| *word != own && *word != SealWord::Abnormal);
        words.insert(0, own);
        words
    }
}

/// What was operated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nothing: it acted by itself.
    Itself,
    /// Its keyboard.
    Keyboard,
    /// Bluetooth.
    Bluetooth,
    /// Something the maker's document does not name.
    Unknown(u8),
}

impl Source {
    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Itself,
            2 => Self::Keyboard,
            3 => Self::Bluetooth,
            _ => Self::Unknown(byte),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Itself => 1,
            Self::Keyboard => 2,
            Self::Bluetooth => 3,
            Self::Unknown(byte) => byte,
        }
    }
}

/// What a lock says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Which lock.
    pub lock: LockId,
    /// Battery in percent, as sent: above 100 it means nothing.
    pub battery: u8,
    /// Its state.
    pub state: State,
    /// What was operated, in answers.
    pub source: Option<Source>,
    /// Its own time, where there is one that is a time.
    pub time: Option<SealTime>,
}

impl Report {
    /// Code, lock, battery and status there must be; the rest may be missing.
    fn read(data: &[u8]) -> Result<Self, TtFault> {
        let [_, a, b, c, d, battery, status, rest @ ..] = data else {
            return Err(TtFault::TooShort { code: data.first().copied().unwrap_or(0), len: data.len() });
        };
        let (source, time) = match data.len() {
            HEARTBEAT_LEN => (None, &rest[1..]),
            ANSWER_LEN.. => (Some(Source::from_byte(rest[1])), &rest[2..]),
            _ => (None, &[][..]),
        };
        Ok(Self {
            lock: LockId([*a, *b, *c, *d]),
            battery: *battery,
            state: State::from_byte(*status),
            source,
            time: time.first_chunk::<TIME>().copied().and_then(SealTime::from_binary),
        })
    }

    fn write(&self, code: u8) -> Vec<u8> {
        let mut data = [&[code], &self.lock.to_bytes()[..], &[self.battery, self.state.to_byte(), 0]].concat();
        data.extend(self.source.map(Source::to_byte));
        data.extend(self.time.into_iter().flat_map(SealTime::to_binary));
        data
    }
}

impl Message {
    /// Reads the data of a frame from a lock.
    ///
    /// # Errors
    /// [`TtFault::TooShort`], [`TtFault::UnknownCode`].
    pub fn read(data: &[u8]) -> Result<Self, TtFault> {
        let &code = data.first().ok_or(TtFault::TooShort { code: 0, len: 0 })?;
        let alarm = [Alarm::Broken, Alarm::RodCut, Alarm::Opened].into_iter().find(|alarm| alarm.code() == code);
        match (code, alarm, codes::meaning(code)) {
            (HEARTBEAT, ..) => Report::read(data).map(Self::Heartbeat),
            (SET_TIME, ..) => Ok(Self::TimeSet),
            (_, Some(alarm), _) => Report::read(data).map(|report| Self::Alarm(alarm, report)),
            (_, _, Some(meaning)) => Report::read(data).map(|report| Self::Answer(*meaning, report)),
            _ => Err(TtFault::UnknownCode(code)),
        }
    }

    /// The data of its frame.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Heartbeat(report) => Report { source: None, ..*report }.write(HEARTBEAT),
            Self::Alarm(alarm, report) => Report { source: None, ..*report }.write(alarm.code()),
            Self::Answer(code, report) => report.write(code.code),
            Self::TimeSet => vec![SET_TIME],
        }
    }
}
