//! Bytes written to the device for each byte of event: what a flash card wears by. Beside it the bare file.
//!
//! Two counts stand in each cell: of this process, by the kernel's accounting of the pages it dirtied, and of the whole
//! device, which holds the file system's own log too, and whatever else the machine wrote meanwhile. Both are read with
//! everything on disk.

use std::{fs, fs::File, path::Path};

use anyhow::Context;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use segel::{event::Draft, journal::Entry};

use super::{
    super::{append::Bench, events::Events, place::device_dir, table::Row},
    ground::Ground,
};

/// Alarms one by one, on each side.
const SINGLE: usize = 2_000;
/// Events in groups, on each side.
const GROUPED: usize = 20_000;
const GROUP: usize = 64;
/// Readings at a gate's usual pace, on each side.
const PACED: usize = 3_000;
/// So many readings a second come by, in no order ...
const PER_SECOND: f64 = 10.0;
/// ... and one waits so many seconds for company.
const WAIT: f64 = 0.050;
/// The paced readings come the same way in every run.
const SEED: u64 = 10;
/// The kernel counts in these.
const SECTOR: u64 = 512;

/// Makes the next event of a kind.
type Make = fn(&mut Events) -> anyhow::Result<Draft>;

/// The rows of this part.
pub(super) async fn run(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let (dir, plan) = (ground.journal("wear")?, ground.plan);
    let meter = Meter::new(&dir)?;
    let mut bench = Bench::open(&dir, &ground.scratch("wear")?.join("bare"), Events::of_a_port())?;
    let paced = arrivals(plan.of(PACED));
    let company = paced.iter().sum::<usize>() as f64 / paced.len() as f64;
    let alarm: Make = Events::alarm;
    let reading: Make = Events::tag;
    let parts = [
        ("alarms one by one".to_owned(), alarm, vec![1; plan.of(SINGLE)]),
        (format!("readings in groups of {GROUP}"), reading, vec![GROUP; plan.of(GROUPED).div_ceil(GROUP)]),
        (format!("10 readings a second in groups of 50 ms ({company:.1} each)"), reading, paced),
    ];
    let mut rows = Vec::new();
    for (what, make, groups) in parts {
        let (mut ours, mut bare) = (Written::default(), Written::default());
        // In turns of a tenth, so that what others write falls on both.
        for turn in groups.chunks(groups.len().div_ceil(10)) {
            let (journal, file) = turn_of(&mut bench, &meter, make, turn).await?;
            ours = ours.and(journal);
            bare = bare.and(file);
        }
        let row = Row::new(format!("bytes written for a byte of event, {what}"), ours.shown());
        rows.push(row.beside(format!("{} bare file", bare.shown()), ours.per_byte() / bare.per_byte()));
    }
    bench.journal.close().await?;
    Ok(rows)
}

/// Groups of these sizes to the journal, then the same documents to the bare file.
async fn turn_of(bench: &mut Bench, meter: &Meter, make: Make, groups: &[usize]) -> anyhow::Result<(Written, Written)> {
    let mut drafts = Vec::new();
    for size in groups {
        drafts.push((0..*size).map(|_| make(&mut bench.events)).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let documents: Vec<Vec<u8>> = drafts.iter().map(|group| group.iter().flat_map(|draft| bench.bytes(draft)).collect()).collect();
    let bytes = documents.iter().map(Vec::len).sum::<usize>() as u64;
    let begin = meter.read()?;
    for group in drafts {
        // All of a group are committed at once, as they would be when the wait is over.
        let entries = group.into_iter().map(|draft| Entry::new(draft).at_once()).collect();
        bench.journal.append_all(entries).await?;
    }
    let journal = meter.read()?.since(begin, bytes);
    let begin = meter.read()?;
    for document in documents {
        bench.bare.append(&document)?;
    }
    Ok((journal, meter.read()?.since(begin, bytes)))
}

/// Sizes of the groups in which so many readings are committed that come by at random: the first waits, and what comes
/// until it has waited goes along.
fn arrivals(many: usize) -> Vec<usize> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut groups = vec![1];
    let mut waited = 0.0;
    for _ in 1..many {
        let pause: f64 = -(1.0 - random.random::<f64>()).ln() / PER_SECOND;
        waited += pause;
        match groups.last_mut() {
            Some(group) if waited <= WAIT => *group += 1,
            _ => {
                groups.push(1);
                waited = 0.0;
            }
        }
    }
    groups
}

/// The two counts.
pub(super) struct Meter {
    disk: File,
    device: Option<String>,
}

/// Bytes written: by this process and to the device, and bytes of events among them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    process: u64,
    device: Option<u64>,
    events: u64,
}

impl Meter {
    /// Of the disk under this directory.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        Ok(Self { disk: File::open(dir)?, device: device_dir(dir) })
    }

    /// The counts now, with everything on disk.
    pub(super) fn read(&self) -> anyhow::Result<Written> {
        rustix::fs::syncfs(&self.disk)?;
        let io = fs::read_to_string("/proc/self/io").context("the kernel keeps no account of this process's writing")?;
        let process = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).context("it has no write_bytes")?;
        let sectors = |device: &String| -> Option<u64> {
            // The seventh number: sectors written since the machine began.
            fs::read_to_string(format!("{device}/stat")).ok()?.split_whitespace().nth(6)?.parse().ok()
        };
        Ok(Written { process, device: self.device.as_ref().and_then(sectors).map(|sectors| sectors * SECTOR), events: 0 })
    }
}

impl Written {
    /// What was written since, for so many bytes of events.
    pub(super) fn since(self, begin: Self, events: u64) -> Self {
        let device = self.device.zip(begin.device).map(|(now, then)| now - then);
        Self { process: self.process - begin.process, device, events }
    }

    fn and(self, more: Self) -> Self {
        let device = match (self.device, more.device) {
            (Some(one), Some(other)) => Some(one + other),
            // The sum begins empty.
            (None, other) if self.events == 0 => other,
            _ => None,
        };
        Self { process: self.process + more.process, device, events: self.events + more.events }
    }

    pub(super) fn per_byte(&self) -> f64 {
        self.process as f64 / self.events as f64
    }

    /// `8.1 (device 12.0)`, per byte of event.
    pub(super) fn shown(&self) -> String {
        let device = self.device.map(|device| format!(" (device {:.1})", device as f64 / self.events as f64));
        format!("{:.1}{}", self.per_byte(), device.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_at_ten_a_second_mostly_go_alone_and_none_is_forgotten() {
        let groups = arrivals(3_000);
        assert_eq!(groups.iter().sum::<usize>(), 3_000);
        let company = 3_000.0 / groups.len() as f64;
        // A mean of 1.5: the first, and half a reading in the 50 ms it waits.
        assert!((1.3..1.7).contains(&company), "{company}");
    }

    #[test]
    fn turns_add_up_and_a_device_that_cannot_be_read_is_not_a_zero() {
        let turn = Written { process: 800, device: Some(1_200), events: 100 };
        let sum = Written::default().and(turn).and(turn);
        assert_eq!(sum.shown(), "8.0 (device 12.0)");
        let unseen = Written { device: None, ..turn };
        assert_eq!(sum.and(unseen).shown(), "8.0");
    }
}
