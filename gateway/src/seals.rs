//! The last known state of each seal.
//!
//! A state is what the newest event about a seal says: every such event carries the whole state after it, the
//! state is kept as a note in the event's own transaction, and so it can be read back at start without a scan
//! and rebuilt from the events alone when the notes are lost ([`crate::ingest::Memory`]).
//!
//! What was read over a session in which the seal proved itself is kept beside what was said last ([`Proven`]): a later
//! claim may differ, and then the state says so and takes the worse of the two for its condition, until evidence is read
//! again. Doubtful claims (replayed, or below the seal's counter) never change the state; they are recorded beside it.

use jiff::Timestamp;
use segel_drivers::{LockClaim, SealId, SealReading, SealWord};
use serde::{Deserialize, Serialize};

use crate::event::Assurance;

/// The kind of note a seal's state is kept under.
pub const NOTE: &str = "seal";
/// States kept in memory; the one not heard for longest goes first. Its note stays on disk.
pub const SEALS_MAX: usize = 4_096;

/// What the gate last knew of one seal. This is also the payload of its retained state topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealState {
    /// Version of this form.
    pub v: u8,
    /// The seal.
    pub seal: SealId,
    /// The container the register puts it on (ISO 6346).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub equipment_reference: Option<String>,
    /// What it says of itself, as far as it has said it.
    #[serde(flatten)]
    pub says: SealSays,
    /// What it complains of, as it was last read or told.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub complaints: Vec<SealWord>,
    /// Entries in its log that wait to be drained, as it last said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stored_events: Option<u32>,
    /// What was last read of it as evidence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Proven>,
    /// What of the above differs from that evidence, and is therefore only claimed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub contradicts_evidence: Vec<String>,
    /// Condition in the words of EDIFACT 4517; the worse one where claim and evidence differ.
    pub seal_condition: SealCondition,
    /// How far that can be believed.
    pub assurance: Assurance,
    /// Whether it is being heard now.
    pub presence: Presence,
    /// Signal strength in dBm, as last heard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rssi_dbm: Option<i16>,
    /// The radio that heard it.
    pub reader: String,
    /// The lane of that radio.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<String>,
    /// When the newest event about it was recorded, by this gate's clock.
    pub event_date_time: Timestamp,
}

/// What a seal said of itself when it last proved itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proven {
    /// The lock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lock: Option<LockClaim>,
    /// Tamper detected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tamper: Option<bool>,
    /// A door or opening reported open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open: Option<bool>,
    /// What it complained of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub complaints: Vec<SealWord>,
    /// When it was read, by this gate's clock.
    pub event_date_time: Timestamp,
}

impl Proven {
    /// The same as measurements, to be compared with others.
    #[must_use]
    pub fn says(&self) -> SealSays {
        SealSays { lock: self.lock, tamper: self.tamper, open: self.open, ..SealSays::default() }
    }
}

impl SealState {
    /// Takes a complaint told by a seal that proved itself into the evidence; whether it is new there.
    pub(crate) fn prove_complaint(&mut self, word: SealWord, at: Timestamp) -> bool {
        let none = Proven { lock: None, tamper: None, open: None, complaints: Vec::new(), event_date_time: at };
        let proven = self.evidence.get_or_insert(none);
        let new = !proven.complaints.contains(&word);
        if new {
            proven.complaints.push(word);
            proven.complaints.sort_by_key(|word| *word as u8);
        }
        new
    }

    /// Sets what follows from the rest: what contradicts the evidence, and the condition.
    pub(crate) fn conclude(&mut self) {
        let condition = self.says.condition_with(&self.complaints);
        let Some(proven) = &self.evidence else {
            self.contradicts_evidence.clear();
            self.seal_condition = condition;
            return;
        };
        let differ = [
            ("lock", proven.lock.is_some() && self.says.lock != proven.lock),
            ("tamper", proven.tamper.is_some() && self.says.tamper != proven.tamper),
            ("open", proven.open.is_some() && self.says.open != proven.open),
        ];
        self.contradicts_evidence = differ.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect();
        self.seal_condition = condition.max(proven.says().condition());
    }
}

/// Whether a seal is being heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Heard within the configured time.
    InRange,
    /// Not heard for longer than that.
    NotHeard,
}

/// EDIFACT D.20A, data element 4517: seal condition, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SealCondition {
    /// Code 1.
    RightCondition,
    /// Code 5.
    FaultyElectronic,
    /// Code 2.
    Damaged,
    /// Code 4.
    Broken,
}

/// A seal's measurements, merged over its advertisements, in wire names and units.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealSays {
    /// The lock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lock: Option<LockClaim>,
    /// Tamper detected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tamper: Option<bool>,
    /// A door or opening reported open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub open: Option<bool>,
    /// Battery charge in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub battery_percent: Option<u8>,
    /// The seal's own low-battery flag.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub battery_low: Option<bool>,
    /// Charging.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charging: Option<bool>,
    /// Battery voltage in millivolts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub voltage_mv: Option<u16>,
    /// Temperature in degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub temperature_c: Option<f64>,
    /// Relative humidity in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub humidity_percent: Option<f64>,
    /// Moving or vibrating.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moving: Option<bool>,
    /// The seal reports a fault of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<bool>,
}

impl SealSays {
    /// Takes over what a reading says and keeps the rest.
    pub fn merge(&mut self, reading: &SealReading) {
        fn take<T: Copy>(into: &mut Option<T>, from: Option<T>) {
            if from.is_some() {
                *into = from;
            }
        }
        take(&mut self.lock, reading.lock);
        take(&mut self.tamper, reading.tamper);
        take(&mut self.open, reading.open);
        take(&mut self.battery_percent, reading.battery_percent);
        take(&mut self.battery_low, reading.battery_low);
        take(&mut self.charging, reading.charging);
        take(&mut self.voltage_mv, reading.voltage_mv);
        take(&mut self.temperature_c, reading.temperature_centi_c.map(|t| f64::from(t) / 100.0));
        take(&mut self.humidity_percent, reading.humidity_centi_pct.map(|h| f64::from(h) / 100.0));
        take(&mut self.moving, reading.moving);
        take(&mut self.problem, reading.problem);
    }

    /// The names of what differs and counts as a change whatever its size.
    #[must_use]
    pub fn changed_from(&self, before: &Self) -> Vec<&'static str> {
        let pairs = [
            ("lock", self.lock != before.lock),
            ("tamper", self.tamper != before.tamper),
            ("open", self.open != before.open),
            ("batteryLow", self.battery_low != before.battery_low),
            ("charging", self.charging != before.charging),
            ("moving", self.moving != before.moving),
            ("problem", self.problem != before.problem),
        ];
        pairs.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// The condition these measurements and complaints speak for.
    #[must_use]
    pub fn condition_with(&self, complaints: &[SealWord]) -> SealCondition {
        let of = |word: &SealWord| match word {
            SealWord::ForcedOpen | SealWord::ShackleCut | SealWord::EmergencyOpened => SealCondition::Broken,
            SealWord::CoverOpened => SealCondition::Damaged,
            SealWord::MotorStuck | SealWord::Abnormal => SealCondition::FaultyElectronic,
            _ => SealCondition::RightCondition,
        };
        complaints.iter().map(of).fold(self.condition(), Ord::max)
    }

    /// The condition these measurements speak for.
    #[must_use]
    pub fn condition(&self) -> SealCondition {
        match (self.tamper, self.lock, self.problem) {
            (Some(true), Some(LockClaim::Unlocked), _) => SealCondition::Broken,
            (Some(true), _, _) => SealCondition::Damaged,
            (_, _, Some(true)) => SealCondition::FaultyElectronic,
            _ => SealCondition::RightCondition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_seal_did_not_say_again_is_kept() {
        let mut says = SealSays::default();
        says.merge(&SealReading { lock: Some(LockClaim::Locked), battery_percent: Some(90), ..SealReading::default() });
        says.merge(&SealReading { temperature_centi_c: Some(-550), ..SealReading::default() });
        assert_eq!(says.lock, Some(LockClaim::Locked));
        assert_eq!(says.battery_percent, Some(90));
        assert_eq!(says.temperature_c, Some(-5.5));
    }

    #[test]
    fn a_tampered_open_seal_is_broken_and_a_tampered_locked_one_is_damaged() {
        let says = |lock, tamper| SealSays { lock: Some(lock), tamper: Some(tamper), ..SealSays::default() };
        assert_eq!(says(LockClaim::Unlocked, true).condition(), SealCondition::Broken);
        assert_eq!(says(LockClaim::Locked, true).condition(), SealCondition::Damaged);
        assert_eq!(says(LockClaim::Locked, false).condition(), SealCondition::RightCondition);
    }
}
