//! Whether a walk met every number it should have met: pure.
//!
//! The numbers of a class have no holes in a journal that is whole. A walk that takes long sees holes all the same:
//! while it was on its way, events before it may have been dropped or archived. Such a hole ends at or before the front
//! of the class as it is afterwards; any other is a fault of the journal.

use crate::event::chain::Hole;
use crate::event::{Class, Seq};
use crate::journal::{Filter, Moment};

/// Holes remembered; beyond that they are counted as one more.
const HOLES_MAX: usize = 1_000;

/// Holes, each with its class.
pub(super) type Holes = Vec<(Class, Hole)>;

/// What was met of each class.
#[derive(Debug)]
pub(super) struct Unbroken {
    met: [Seq; Class::ALL.len()],
    until: [Seq; Class::ALL.len()],
    last: Seq,
    holes: Vec<(Class, Hole)>,
}

impl Unbroken {
    /// Expects everything the filter's class and numbers name, from the front to the head of that moment.
    pub(super) fn new(filter: &Filter, moment: &Moment) -> Self {
        let last = filter.last.unwrap_or(Seq(u64::MAX));
        let wanted = |class: &Class| filter.sees_holes() && filter.class.is_none_or(|only| only == *class);
        let mut met = [Seq::NONE; Class::ALL.len()];
        let mut until = [Seq::NONE; Class::ALL.len()];
        for class in Class::ALL.iter().filter(|class| wanted(class)) {
            let extent = moment.of(*class);
            met[*class as usize] = extent.front.max(filter.first.unwrap_or(Seq(1)).before());
            until[*class as usize] = extent.head.min(last);
        }
        Self { met, until, last, holes: Vec::new() }
    }

    /// One event was met.
    pub(super) fn meet(&mut self, class: Class, seq: Seq) {
        let met = self.met[class as usize];
        if seq > met.next() {
            self.hole(class, met.next(), seq.before());
        }
        self.met[class as usize] = met.max(seq);
    }

    fn hole(&mut self, class: Class, first: Seq, last: Seq) {
        let last = last.min(self.last);
        if first <= last && self.holes.len() < HOLES_MAX {
            self.holes.push((class, Hole { first, last }));
        }
    }

    /// How many holes were met.
    pub(super) fn holes(&self) -> usize {
        self.holes.len()
    }

    /// The walk is at its end: what went meanwhile, and what is missing, as the fronts are now.
    pub(super) fn finish(mut self, now: &Moment) -> (Holes, Holes) {
        for class in Class::ALL {
            let (met, until) = (self.met[*class as usize], self.until[*class as usize]);
            if met < until {
                self.hole(*class, met.next(), until);
            }
        }
        let mut gone = Vec::new();
        let mut missing = Vec::new();
        for (class, hole) in self.holes {
            let front = now.of(class).front;
            if hole.first <= front {
                gone.push((class, Hole { first: hole.first, last: hole.last.min(front) }));
            }
            if hole.last > front {
                missing.push((class, Hole { first: hole.first.max(front.next()), last: hole.last }));
            }
        }
        (gone, missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn hole(class: Class, first: u64, last: u64) -> (Class, Hole) {
        (class, Hole { first: Seq(first), last: Seq(last) })
    }

    fn walked(filter: &Filter, from: &Moment, numbers: &[u64], now: &Moment) -> (Holes, Holes) {
        let mut unbroken = Unbroken::new(filter, from);
        for number in numbers {
            unbroken.meet(Class::Telemetry, Seq(*number));
        }
        unbroken.finish(now)
    }

    #[test]
    fn a_hole_that_was_dropped_meanwhile_is_told_from_one_that_is_a_fault() {
        let telemetry = Filter { class: Some(Class::Telemetry), ..Filter::default() };
        let from = Moment::of_numbers([(0, 9), (0, 9), (3, 10)]);
        assert_eq!(walked(&telemetry, &from, &[4, 5, 6, 7, 8, 9, 10, 11], &from), (vec![], vec![]));
        let later = Moment::of_numbers([(0, 9), (0, 9), (7, 20)]);
        assert_eq!(walked(&telemetry, &from, &[4, 5, 8, 9, 10], &later), (vec![hole(Class::Telemetry, 6, 7)], vec![]));
        assert_eq!(walked(&telemetry, &from, &[4, 5, 8, 9, 10], &from), (vec![], vec![hole(Class::Telemetry, 6, 7)]));
        let split = (vec![hole(Class::Telemetry, 6, 7)], vec![hole(Class::Telemetry, 8, 8)]);
        assert_eq!(walked(&telemetry, &from, &[4, 5, 9, 10], &later), split);
        assert_eq!(walked(&telemetry, &from, &[4, 5, 6, 7, 8], &from), (vec![], vec![hole(Class::Telemetry, 9, 10)]), "it ended early");
        assert_eq!(walked(&telemetry, &from, &[], &Moment::of_numbers([(0, 9), (0, 9), (10, 12)])).1, vec![]);
    }

    #[test]
    fn only_what_was_asked_for_is_missed() {
        let from = Moment::of_numbers([(0, 9), (0, 0), (0, 10)]);
        let part = Filter { class: Some(Class::Telemetry), first: Some(Seq(3)), last: Some(Seq(6)), ..Filter::default() };
        assert_eq!(walked(&part, &from, &[3, 4, 5, 6], &from), (vec![], vec![]));
        assert_eq!(walked(&part, &from, &[3, 4, 9], &from), (vec![], vec![hole(Class::Telemetry, 5, 6)]));
        let about = Filter { subject: Some("gateway".parse().unwrap()), ..Filter::default() };
        let mut unbroken = Unbroken::new(&about, &from);
        assert_eq!(unbroken.holes(), 0);
        unbroken.hole(Class::Alarm, Seq(5), Seq(4));
        assert_eq!(unbroken.finish(&from), (vec![], vec![]), "an empty hole is none");
        let everything = Unbroken::new(&Filter::default(), &from).finish(&from);
        assert_eq!(everything.1, vec![hole(Class::Alarm, 1, 9), hole(Class::Telemetry, 1, 10)]);
    }
}
