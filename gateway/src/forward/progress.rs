//! How far one class has got on its way to customs: pure.
//!
//! What was handed out stands in a queue in the order of the journal; an acknowledgement marks its place, and the
//! cursor moves over the marked ones at the front. So it never passes something unacknowledged, whatever the order
//! in which acknowledgements come, and holes in the numbers (dropped telemetry) are no special case.

use std::collections::VecDeque;

use crate::event::Seq;

/// One class's progress.
#[derive(Debug)]
pub struct Progress {
    cursor: Seq,
    handed: VecDeque<(Seq, Acked)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acked {
    No,
    Yes,
}

impl Progress {
    /// Everything up to `cursor` has been delivered.
    #[must_use]
    pub fn new(cursor: Seq) -> Self {
        Self { cursor, handed: VecDeque::new() }
    }

    /// Everything up to here has been delivered.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// This number has been handed out.
    pub fn hand_out(&mut self, seq: Seq) {
        self.handed.push_back((seq, Acked::No));
    }

    /// This number has been acknowledged. The new cursor if it moved.
    pub fn delivered(&mut self, seq: Seq) -> Option<Seq> {
        let place = self.handed.binary_search_by_key(&seq, |(handed, _)| *handed).ok()?;
        self.handed[place].1 = Acked::Yes;
        let before = self.cursor;
        while let Some((seq, Acked::Yes)) = self.handed.front() {
            self.cursor = *seq;
            self.handed.pop_front();
        }
        (self.cursor != before).then_some(self.cursor)
    }

    /// The line is lost: everything after the cursor is to be handed out again.
    pub fn rewind(&mut self) {
        self.handed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_never_passes_something_unacknowledged() {
        let mut progress = Progress::new(Seq(10));
        for seq in [11, 12, 20, 21] {
            progress.hand_out(Seq(seq));
        }
        assert_eq!(progress.delivered(Seq(12)), None);
        assert_eq!(progress.delivered(Seq(20)), None);
        assert_eq!(progress.delivered(Seq(11)), Some(Seq(20)));
        assert_eq!(progress.delivered(Seq(11)), None);
        assert_eq!(progress.delivered(Seq(99)), None);
        assert_eq!(progress.cursor(), Seq(20));
        progress.rewind();
        assert_eq!(progress.cursor(), Seq(20));
        assert_eq!(progress.delivered(Seq(21)), None);
    }
}
