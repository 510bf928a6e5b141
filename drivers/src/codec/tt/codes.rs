//! What each code of an answer means: one table, so that no code is forgotten in one place and known in another.

use crate::{Action, Rejection, SealWord};

/// What a code says of the command it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// Nothing moved: it stood so already.
    Already,
    /// It was refused.
    Refused(Rejection),
}

/// A code and its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// As it stands in the frame.
    pub code: u8,
    /// What it is called.
    pub name: &'static str,
    /// The command it answers.
    pub answers: Action,
    /// What it says of that.
    pub verdict: Verdict,
    /// What has happened to the seal besides; told even when nobody asked.
    pub word: Option<SealWord>,
}

const fn row(code: u8, name: &'static str, answers: Action, verdict: Verdict, word: Option<SealWord>) -> Code {
    Code { code, name, answers, verdict, word }
}

/// Every code there is. 99 is called "overtime" and nobody says of what, so it is passed on as it is.
pub const CODES: [Code; 18] = {
    use Action::{Lock, ReadState, Unlock};
    use Rejection::{InAlarm, LowVoltage, NotSealed, Other, ShackleOut, WrongPassword};
    use SealWord as Word;
    use Verdict::{Already, Done, Refused};
    [
        row(0x62, "state", ReadState, Done, None),
        row(0x80, "locked", Lock, Done, Some(Word::Sealed)),
        row(0x81, "locked already", Lock, Already, None),
        row(0x82, "it is open", Lock, Refused(ShackleOut), None),
        row(0x83, "low voltage", Lock, Refused(LowVoltage), Some(Word::LowBattery)),
        row(0x84, "shell opened", Lock, Refused(InAlarm), Some(Word::CoverOpened)),
        row(0x86, "rod cut alarm", Lock, Refused(InAlarm), Some(Word::ShackleCut)),
        row(0x87, "opened alarm", Lock, Refused(InAlarm), Some(Word::ForcedOpen)),
        row(0x90, "unlocked", Unlock, Done, Some(Word::Unsealed)),
        row(0x91, "unlocked already", Unlock, Already, None),
        row(0x92, "unlocked when open", Unlock, Already, None),
        row(0x93, "wrong password", Unlock, Refused(WrongPassword), Some(Word::WrongPassword)),
        row(0x94, "illegally opened", Unlock, Refused(InAlarm), Some(Word::ForcedOpen)),
        row(0x95, "emergency opened", Unlock, Refused(InAlarm), Some(Word::EmergencyOpened)),
        row(0x96, "opened alarm", Unlock, Refused(InAlarm), Some(Word::ForcedOpen)),
        row(0x97, "not sealed", Unlock, Refused(NotSealed), None),
        row(0x98, "rod cut alarm", Unlock, Refused(InAlarm), Some(Word::ShackleCut)),
        row(0x99, "overtime", Unlock, Refused(Other { code: 0x99, meaning: "overtime" }), None),
    ]
};

/// The meaning of a code.
#[must_use]
pub fn meaning(code: u8) -> Option<&'static Code> {
    CODES.iter().find(|row| row.code == code)
}
