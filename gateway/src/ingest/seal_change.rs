//! What a difference between two states of a seal amounts to: pure.

use segel_drivers::{LockClaim, SealWord};

use super::judge::Thinning;
use crate::{
    event::{Class, EventType},
    seals::{Proven, SealSays},
};

/// At or below this charge a seal is low, whether or not it has a flag of its own to say so.
const LOW_BATTERY_PERCENT: u8 = 15;

/// The events a change amounts to. No permit is executed by this version, so every opening is unexpected.
pub(super) fn kinds_of_change(before: &SealSays, after: &SealSays) -> Vec<(Class, EventType)> {
    let mut kinds = Vec::new();
    let became = |was: Option<bool>, is: Option<bool>| is == Some(true) && was != Some(true);
    let tampered = became(before.tamper, after.tamper);
    match (before.lock, after.lock) {
        (Some(LockClaim::Locked), Some(LockClaim::Unlocked)) if after.tamper == Some(true) => {
            kinds.push((Class::Alarm, EventType::ForcedOpen));
        }
        (Some(LockClaim::Locked), Some(LockClaim::Unlocked)) => kinds.push((Class::Alarm, EventType::Unsealed)),
        (Some(LockClaim::Unlocked), Some(LockClaim::Locked)) => kinds.push((Class::Receipt, EventType::Sealed)),
        _ => {}
    }
    if tampered && !kinds.contains(&(Class::Alarm, EventType::ForcedOpen)) {
        kinds.push((Class::Alarm, EventType::Tampered));
    }
    if became(before.open, after.open) {
        let class = if after.lock == Some(LockClaim::Locked) { Class::Alarm } else { Class::Receipt };
        kinds.push((class, EventType::DoorOpened));
    }
    if before.open == Some(true) && after.open == Some(false) {
        kinds.push((Class::Receipt, EventType::DoorClosed));
    }
    if is_low(after) && !is_low(before) {
        kinds.push((Class::Alarm, EventType::LowBattery));
    }
    kinds
}

fn is_low(says: &SealSays) -> bool {
    says.battery_low == Some(true) || says.battery_percent.is_some_and(|p| p <= LOW_BATTERY_PERCENT)
}

/// What a seal's word is called here, and how urgent it is. No permit is executed by this version, so every opening is
/// unexpected.
pub(super) fn kind_of_word(word: SealWord) -> (Class, EventType) {
    match word {
        SealWord::Sealed => (Class::Receipt, EventType::Sealed),
        SealWord::LocallySealed => (Class::Receipt, EventType::LocallySealed),
        SealWord::SealingCancelled => (Class::Receipt, EventType::SealingCancelled),
        SealWord::TimeSet => (Class::Receipt, EventType::SealTimeSet),
        SealWord::Heartbeat => (Class::Telemetry, EventType::DeviceStatus),
        SealWord::Unsealed => (Class::Alarm, EventType::Unsealed),
        SealWord::ForcedOpen => (Class::Alarm, EventType::ForcedOpen),
        SealWord::ShackleCut => (Class::Alarm, EventType::ShackleCut),
        SealWord::CoverOpened => (Class::Alarm, EventType::CoverOpened),
        SealWord::EmergencyOpened => (Class::Alarm, EventType::EmergencyOpened),
        SealWord::WrongPassword => (Class::Alarm, EventType::WrongPassword),
        SealWord::OpenTooLong => (Class::Alarm, EventType::OpenTooLong),
        SealWord::LowBattery => (Class::Alarm, EventType::LowBattery),
        SealWord::MotorStuck => (Class::Alarm, EventType::MotorStuck),
        SealWord::Restarted => (Class::Alarm, EventType::SealRestarted),
        SealWord::LogLost => (Class::Alarm, EventType::LogLost),
        SealWord::Abnormal => (Class::Alarm, EventType::SealAbnormal),
    }
}

/// What a reading means that is evidence: the evidence before it (if any) and now, and what it does to the claims between.
pub(super) struct Proof {
    /// Its events, without the sign of life.
    pub(super) kinds: Vec<(Class, EventType)>,
    /// Whether it differs from a claim that no evidence stood behind.
    pub(super) refutes: bool,
    /// Whether it may be dropped when space is scarce: it says nothing but what was proved before.
    pub(super) class: Class,
}

impl Proof {
    /// Compares evidence with the evidence before it, whatever was claimed meanwhile; `recorded` is what was last recorded,
    /// claimed or not, and `says` the state as it is now.
    ///
    /// What happened since the last evidence happened for certain, also where a claim told it first. A sealing or a closing
    /// is an event only between two readings that are evidence: against a claim it may never have been. An alarm against a
    /// claim stays an alarm, because nobody can tell a refuted claim of sealing from an opening since. First evidence is an
    /// alarm only for what is alarming in itself; a lock that is locked or open is a receipt.
    pub(super) fn of(before: Option<&Proven>, now: &Proven, recorded: &SealSays, says: &SealSays) -> Self {
        let proved = before.map(Proven::says).unwrap_or_default();
        let reading = now.says();
        let mut kinds = kinds_of_change(&proved, &reading);
        let had = before.map(|proven| proven.complaints.as_slice()).unwrap_or_default();
        kinds.extend(kinds_of_complaints(had, &now.complaints, &proved, &kinds));
        for (class, kind) in kinds_of_change(recorded, says) {
            let covered = kinds.iter().any(|(known, said)| {
                *known == Class::Alarm
                    && (*said == kind || (*said == EventType::ForcedOpen && matches!(kind, EventType::Tampered | EventType::Unsealed)))
            });
            if class == Class::Alarm && !covered {
                kinds.retain(|(_, said)| *said != kind);
                kinds.push((class, kind));
            }
        }
        let refutes = differs(reading.lock, recorded.lock, proved.lock)
            || differs(reading.tamper, recorded.tamper, proved.tamper)
            || differs(reading.open, recorded.open, proved.open);
        let same = before.is_some_and(|proven| proven.complaints == now.complaints) && proved == reading;
        Self { kinds, refutes, class: if same && !refutes { Class::Telemetry } else { Class::Receipt } }
    }
}

/// Whether what is proved now differs from what was recorded and not proved.
fn differs<T: PartialEq + Copy>(now: Option<T>, recorded: Option<T>, proved: Option<T>) -> bool {
    now.is_some() && recorded.is_some() && now != recorded && proved != recorded
}

/// The events of what a seal complains of and did not before; what `kinds` or `before` says already is not said again.
pub(super) fn kinds_of_complaints(
    had: &[SealWord],
    has: &[SealWord],
    before: &SealSays,
    kinds: &[(Class, EventType)],
) -> Vec<(Class, EventType)> {
    let new = has.iter().filter(|word| !had.contains(word)).map(|word| kind_of_word(*word));
    let told = |(class, kind): &(Class, EventType)| {
        *class != Class::Alarm || kinds.iter().any(|(_, said)| said == kind) || (*kind == EventType::LowBattery && is_low(before))
    };
    new.filter(|kind| !told(kind)).collect()
}

/// Whether a measurement has moved by a step worth recording since it was last recorded.
pub(super) fn steps(thinning: &Thinning, recorded: &SealSays, now: &SealSays) -> bool {
    let charge = match (recorded.battery_percent, now.battery_percent) {
        (Some(was), Some(is)) => was.abs_diff(is) >= thinning.battery_step_percent,
        (was, is) => was.is_some() != is.is_some(),
    };
    let warmth = match (recorded.temperature_c, now.temperature_c) {
        (Some(was), Some(is)) => (was - is).abs() >= thinning.temperature_step_c,
        (was, is) => was.is_some() != is.is_some(),
    };
    charge || warmth
}
