//! The gate's log: no panic, and no error that no fault explains.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;

use super::{
    diary::Diary,
    plan::Act::{self, *},
};

/// The line, or customs behind it, does not take anything.
const CUT_OFF: &[Act] = &[
    LineCut,
    LineLongCut,
    LineSwallows,
    LineSlow,
    LineSnaps,
    LineCutInAPacket,
    CustomsRestarts,
    CustomsForgetsSessions,
    CustomsHangsUpAmidEvents,
    CustomsSleeps,
    CustomsWithholdsAcks,
    CustomsShufflesAcks,
    CustomsRefuses,
];
const FULL: &[Act] = &[DiskFull, DiskNearlyFull];
const RADIO: &[Act] = &[ReaderUnplugged, ReaderSilent, ReaderGarbles, ReaderForgetsMode, ReaderAntenna, AirFlooded];

/// What the gate may say as an error, and why.
const EXPLAINED: &[(&str, &[Act])] = &[
    ("radio is down", RADIO),
    ("the journal cannot be written", FULL),
    ("the journal's disk is full", FULL),
    ("The disk of the journal", FULL),
    ("The gate's disk", FULL),
    ("telemetry is full and nobody takes it", CUT_OFF),
];

/// What the log says.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Errors by what they say, how often, and how often nothing explains them.
    pub(super) errors: BTreeMap<String, (u64, u64)>,
    pub(super) warnings: u64,
}

/// Reads the log of all lives.
///
/// # Errors
/// When there is none.
pub(super) fn read(log: &Path, diary: &Diary) -> anyhow::Result<Said> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let mut said = Said::default();
    for line in text.lines() {
        if line.contains("panicked at") {
            diary.breaks(format!("the gate panicked: {line}"));
        }
        let mut words = line.split_whitespace();
        let (time, level) = (words.next().and_then(|time| time.parse::<Timestamp>().ok()), words.next());
        match (time, level) {
            (_, Some("WARN")) => said.warnings += 1,
            (Some(at), Some("ERROR")) => said.on_error(line, at, diary),
            _ => {}
        }
    }
    Ok(said)
}

impl Said {
    fn on_error(&mut self, line: &str, at: Timestamp, diary: &Diary) {
        let message = message(line);
        let explained = EXPLAINED.iter().any(|(words, acts)| line.contains(words) && diary.explains(acts, at));
        let (times, unexplained) = self.errors.entry(message).or_default();
        *times += 1;
        if !explained {
            *unexplained += 1;
            if *unexplained == 1 {
                diary.breaks(format!("an error that nothing explains: {line}"));
            }
        }
    }
}

/// What a line says, without what differs from time to time.
fn message(line: &str) -> String {
    // Some lines have no words of their own, and a sentence for the technician in a field.
    let said = line.split_once("means=\"").map_or(line, |(_, means)| means);
    let skipped = if said.len() == line.len() { 2 } else { 0 };
    let words: Vec<_> = said.split_whitespace().skip(skipped).take_while(|word| !word.contains('=')).collect();
    words.join(" ").trim_end_matches('"').to_owned()
}
