//! What a difference between two states of a seal amounts to: pure.

use segel_drivers::LockClaim;

use super::judge::Thinning;
use crate::{
    event::{Class, EventType},
    seals::SealSays,
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
    let low = |says: &SealSays| says.battery_low == Some(true) || says.battery_percent.is_some_and(|p| p <= LOW_BATTERY_PERCENT);
    if low(after) && !low(before) {
        kinds.push((Class::Alarm, EventType::LowBattery));
    }
    kinds
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
