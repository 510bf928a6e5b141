//! What a simulated TT lock can be told to do wrong.

use crate::codec::tt::{Alarm, LockId};

/// What a lock can be told to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Too little voltage to lock (83).
    LowVoltage,
    /// Its shell was opened (84, 94; alarm flag 4).
    ShellOpen,
    /// Its rod was cut (86, 98; alarm flag 1).
    RodCut,
    /// It was opened by force (87, 96; alarm flag 2).
    ForcedOpen,
    /// It was opened by its emergency means (87, 95; alarm flag 8).
    Emergency,
    /// It is not sealed, and says so when it is to be unlocked (97).
    NotSealed,
    /// Its rod is out: it cannot be locked (82), and is open when it is to be unlocked (92).
    RodOut,
    /// Its motor is stuck.
    MotorStuck,
    /// Each answer comes behind a heartbeat.
    HeartbeatFirst,
    /// Each answer comes behind this alarm.
    AlarmFirst(Alarm),
    /// Each answer comes behind the news that somebody at its keyboard unlocked it (which nobody did).
    KeyboardFirst,
    /// The check of the next answer does not fit; goes away with it.
    CorruptNext,
    /// Each answer comes twice.
    AnswersTwice,
    /// It does what it is told and says nothing.
    Silent,
    /// It answers with another lock's number.
    AnswersAs(LockId),
}
