//! Where reports wait while the journal cannot be written: pure, bounded, and whatever has to leave is counted.
//!
//! The radios are not made to wait: a reader on a serial line whose bytes nobody takes loses them uncounted. When the
//! shelter is full the oldest sighting of a tag goes first (it proves presence and nothing more), then the oldest word of
//! a seal (a seal says its state again and again), and last what a reader says of itself.
//!
//! What must hold: what is left stays in the order heard; nothing leaves without being counted under its reader.

use std::collections::{BTreeMap, VecDeque};

use segel_drivers::{ReaderId, Report, Sighting};

/// Reports held: some ten seconds of a portal reader at full speed, or an hour of seals that change; a few MB.
pub(crate) const HELD_MAX: usize = 4_096;

/// Reports that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Shelter {
    held: VecDeque<Report>,
    /// How many of each rank are held.
    ranks: [usize; RANKS],
    /// Reports that had to leave since the process began.
    shed: BTreeMap<ReaderId, u64>,
}

const RANKS: usize = 3;

/// Who leaves first: the lowest.
fn rank(report: &Report) -> usize {
    match report.sighting {
        Sighting::Tag(_) => 0,
        Sighting::Advert(_) | Sighting::Refused(_) => 1,
        Sighting::Standing(_) | Sighting::Trouble(_) | Sighting::Read(_) | Sighting::Told(_) => 2,
    }
}

impl Shelter {
    /// Takes a report in; if there is no room one leaves, perhaps this one.
    pub(super) fn take(&mut self, report: Report) {
        self.ranks[rank(&report)] += 1;
        self.held.push_back(report);
        if self.held.len() > HELD_MAX {
            let lowest = self.ranks.iter().position(|count| *count > 0).unwrap_or(0);
            if let Some(leaves) = self.held.iter().position(|report| rank(report) == lowest).and_then(|index| self.held.remove(index)) {
                self.ranks[lowest] -= 1;
                *self.shed.entry(leaves.reader).or_default() += 1;
            }
        }
    }

    /// The oldest report, on its way out.
    pub(super) fn next(&mut self) -> Option<Report> {
        let report = self.held.pop_front()?;
        self.ranks[rank(&report)] -= 1;
        Some(report)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Reports of each reader that had to leave.
    pub(super) fn shed(&self) -> &BTreeMap<ReaderId, u64> {
        &self.shed
    }
}

#[cfg(test)]
mod tests {
    use segel_drivers::{Heard, Standing, TagRead, Trouble};

    use super::*;

    fn tag(reader: &str, number: usize) -> Report {
        let epc = format!("E280{number:08X}").parse().unwrap();
        let read = TagRead { epc, antenna: None, rssi_raw: None, raw: Vec::new() };
        Report { reader: reader.parse().unwrap(), heard: Heard::now(), sighting: Sighting::Tag(read) }
    }

    fn standing() -> Report {
        let sighting = Sighting::Standing(Standing::Down { reason: "gone".to_owned() });
        Report { reader: "air".parse().unwrap(), heard: Heard::now(), sighting }
    }

    #[test]
    fn a_full_shelter_sheds_the_oldest_tag_and_counts_it_under_its_reader() {
        let mut shelter = Shelter::default();
        shelter.take(standing());
        shelter.take(tag("out-1", 0));
        (1..HELD_MAX + 10).for_each(|number| shelter.take(tag("in-1", number)));
        let shed: Vec<_> = shelter.shed().iter().map(|(reader, count)| (reader.to_string(), *count)).collect();
        assert_eq!((shelter.len(), shed), (HELD_MAX, vec![("in-1".to_owned(), 10), ("out-1".to_owned(), 1)]));
        assert!(matches!(shelter.next().unwrap().sighting, Sighting::Standing(_)));
        assert_eq!(shelter.next().unwrap().sighting, tag("in-1", 11).sighting, "in the order heard");
    }

    #[test]
    fn what_a_reader_says_of_itself_leaves_last_and_is_counted_too() {
        let mut shelter = Shelter::default();
        let trouble = || Report { sighting: Sighting::Trouble(Trouble::Overrun { lost: 1 }), ..standing() };
        (0..HELD_MAX).for_each(|_| shelter.take(trouble()));
        shelter.take(tag("in-1", 1));
        assert_eq!(shelter.shed().get(&"in-1".parse().unwrap()), Some(&1), "the tag that just came");
        shelter.take(trouble());
        assert_eq!(shelter.shed().get(&"air".parse().unwrap()), Some(&1));
        assert_eq!(std::iter::from_fn(|| shelter.next()).count(), HELD_MAX);
    }
}
