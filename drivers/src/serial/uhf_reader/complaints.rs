//! What a reader has complained of, so that each complaint is passed on once and not once per frame.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A complaint that went away is not told again within this time of being told: a loose cable would otherwise fill
/// the journal.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Most complaints remembered: eight antennas and a handful of statuses are far below.
const REMEMBERED_MAX: usize = 64;

/// One kind of complaint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Complaint {
    /// The antenna it is about, where that is known.
    pub(super) antenna: Option<u8>,
    /// The reader's status byte.
    pub(super) status: u8,
}

#[derive(Debug)]
struct Memory {
    told: Instant,
    heard: Instant,
    settled: bool,
}

/// The complaints of one reader since it was opened.
#[derive(Debug)]
pub(super) struct Complaints {
    open: HashMap<Complaint, Memory>,
    /// A complaint not heard for this long has gone away.
    quiet: Duration,
}

impl Complaints {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { open: HashMap::new(), quiet }
    }

    /// Notes a complaint; whether it is to be told.
    pub(super) fn is_news(&mut self, complaint: Complaint, now: Instant) -> bool {
        let quiet = self.quiet;
        if let Some(known) = self.open.get_mut(&complaint) {
            let gone = known.settled || now.duration_since(known.heard) > quiet;
            let news = gone && now.duration_since(known.told) >= TOLD_AGAIN_AFTER;
            known.heard = now;
            known.settled = gone && !news;
            if news {
                known.told = now;
            }
            return news;
        }
        if self.open.len() == REMEMBERED_MAX {
            return false;
        }
        self.open.insert(complaint, Memory { told: now, heard: now, settled: false });
        true
    }

    /// The reader did well on this antenna: its complaints have gone away.
    pub(super) fn settle(&mut self, antenna: Option<u8>) {
        for (complaint, memory) in &mut self.open {
            memory.settled |= complaint.antenna == antenna;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Complaint = Complaint { antenna: Some(1), status: 0xF8 };
    const SECOND: Complaint = Complaint { antenna: Some(2), status: 0xF8 };

    #[test]
    fn a_complaint_is_told_once_and_again_only_after_it_went_away() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut complaints = Complaints::new(Duration::from_secs(90));
        assert!(complaints.is_news(FIRST, at(0)));
        assert!(complaints.is_news(SECOND, at(0)), "another antenna is another complaint");
        for second in 1..60 {
            assert!(!complaints.is_news(FIRST, at(second)));
        }
        complaints.settle(Some(1));
        assert!(complaints.is_news(FIRST, at(61)), "it went away and came back");
        assert!(!complaints.is_news(SECOND, at(62)));
        assert!(complaints.is_news(FIRST, at(161)), "not heard for longer than the quiet time");
    }

    #[test]
    fn a_loose_cable_is_told_every_ten_seconds_at_most() {
        let start = Instant::now();
        let mut complaints = Complaints::new(Duration::from_secs(90));
        let told = (0..1000u32).filter(|tenth| {
            complaints.settle(Some(1));
            complaints.is_news(FIRST, start + Duration::from_millis(100) * *tenth)
        });
        assert_eq!(told.count(), 10);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut complaints = Complaints::new(Duration::from_secs(90));
        for status in 0..=255 {
            complaints.is_news(Complaint { antenna: None, status }, Instant::now());
        }
        assert_eq!(complaints.open.len(), REMEMBERED_MAX);
    }
}
