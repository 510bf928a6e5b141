//! In which order the classes leave: pure.
//!
//! Alarms before receipts before telemetry, strictly, except that telemetry keeps a small share of the places while
//! the others have a backlog: after a long outage of alarms ops must still see that the gate is alive.

use crate::event::Class;

/// Which classes have something to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waiting {
    /// An alarm waits.
    pub alarm: bool,
    /// A receipt waits.
    pub receipt: bool,
    /// Telemetry waits.
    pub telemetry: bool,
}

impl Waiting {
    /// Whether nothing waits.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        !(self.alarm || self.receipt || self.telemetry)
    }
}

/// Chooses the class of each place on the line.
#[derive(Debug)]
pub struct Order {
    share_percent: u8,
    owed: u16,
}

impl Order {
    /// An order in which telemetry gets at least `share_percent` of the places while others wait too.
    #[must_use]
    pub fn new(share_percent: u8) -> Self {
        Self { share_percent: share_percent.min(50), owed: 0 }
    }

    /// The class that goes next, `None` when nothing waits.
    pub fn next(&mut self, waiting: Waiting) -> Option<Class> {
        let urgent = match (waiting.alarm, waiting.receipt) {
            (true, _) => Some(Class::Alarm),
            (false, true) => Some(Class::Receipt),
            (false, false) => None,
        };
        match (urgent, waiting.telemetry) {
            (Some(class), false) => Some(class),
            (Some(class), true) => {
                self.owed += u16::from(self.share_percent);
                if self.owed >= 100 {
                    self.owed -= 100;
                    return Some(Class::Telemetry);
                }
                Some(class)
            }
            (None, true) => {
                self.owed = 0;
                Some(Class::Telemetry)
            }
            (None, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Waiting = Waiting { alarm: true, receipt: true, telemetry: true };

    #[test]
    fn an_alarm_goes_first_and_telemetry_keeps_its_share() {
        let mut order = Order::new(10);
        let sent: Vec<_> = (0..1_000).filter_map(|_| order.next(ALL)).collect();
        assert_eq!(sent[0], Class::Alarm);
        assert_eq!(sent.iter().filter(|c| **c == Class::Telemetry).count(), 100);
        assert!(!sent.contains(&Class::Receipt));
    }

    #[test]
    fn alarm_overtakes_a_million_readings() {
        let mut order = Order::new(10);
        for _ in 0..1_000_000 {
            assert_eq!(order.next(Waiting { telemetry: true, ..Waiting::default() }), Some(Class::Telemetry));
        }
        assert_eq!(order.next(ALL), Some(Class::Alarm));
    }

    #[test]
    fn without_a_share_telemetry_waits_for_everything_else() {
        let mut order = Order::new(0);
        assert!((0..500).all(|_| order.next(ALL) == Some(Class::Alarm)));
        assert_eq!(order.next(Waiting { receipt: true, ..Waiting::default() }), Some(Class::Receipt));
        assert_eq!(order.next(Waiting::default()), None);
    }
}
