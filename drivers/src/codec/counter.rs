//! Whether a keyed seal's message counter went forward.
//!
//! The counter is what keeps a recorded frame from being played again. A seal may lose it with its battery, so a
//! counter that goes back is possible; it is also exactly what a replay looks like. So nothing here refuses: each
//! frame gets a [`Verdict`], and every frame whose counter is not above the highest ever seen is
//! [doubtful](Verdict::is_doubtful) or a repeat, whatever its value and for as long as it takes.
//!
//! ```text
//!   counter   5      6       6        2         3          6          7
//!   verdict   First  Forward Repeat   WentBack  BelowHigh  BelowHigh  Forward
//! ```
//!
//! The gate keeps one [`CounterMemory`] per seal on disk: lost memory would let any old frame in as the first.

use serde::{Deserialize, Serialize};

/// What is remembered of one seal's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterMemory {
    /// The highest counter ever verified.
    pub high: u32,
    /// The counter of the last verified frame.
    pub current: u32,
}

/// What a counter says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is remembered of this seal: nothing can be said against the frame, and nothing for it.
    First,
    /// Above everything seen before: new.
    Forward,
    /// The same as the last: the same frame heard again, or played again. It brings no news.
    Repeat,
    /// Below the last: the seal lost its memory, or somebody plays an old frame. Said at each step back.
    WentBack,
    /// Above the last but not above the highest: it may still be a recording.
    BelowHigh,
}

impl Verdict {
    /// Whether the frame may be an old one played again.
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        matches!(self, Self::WentBack | Self::BelowHigh)
    }
}

/// Judges a verified frame's counter; `memory` is `None` for a seal never heard before. The second value is to be
/// remembered, together with what the frame said, before the frame is acted on.
#[must_use]
pub fn judge(memory: Option<&CounterMemory>, new: u32) -> (Verdict, CounterMemory) {
    let Some(&CounterMemory { high, current }) = memory else {
        return (Verdict::First, CounterMemory { high: new, current: new });
    };
    let verdict = if new == current {
        Verdict::Repeat
    } else if new > high {
        Verdict::Forward
    } else if new < current {
        Verdict::WentBack
    } else {
        Verdict::BelowHigh
    };
    (verdict, CounterMemory { high: high.max(new), current: new })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdicts(counters: &[u32]) -> Vec<Verdict> {
        let mut memory = None;
        let judged = counters.iter().map(|&new| {
            let (verdict, after) = judge(memory.as_ref(), new);
            memory = Some(after);
            verdict
        });
        judged.collect()
    }

    #[test]
    fn a_counter_that_goes_back_is_doubted_until_it_passes_the_highest_seen() {
        use Verdict::{BelowHigh, First, Forward, Repeat, WentBack};
        assert_eq!(verdicts(&[5, 6, 6, 2, 3, 6, 7]), [First, Forward, Repeat, WentBack, BelowHigh, BelowHigh, Forward]);
    }

    /// A known receiver lets counters below 100 start again unseen, so that a battery can be changed: a recorded
    /// frame with a small counter can then be played for ever.
    #[test]
    fn a_small_counter_is_no_excuse() {
        assert_eq!(verdicts(&[1, 50, 3]).last(), Some(&Verdict::WentBack));
        assert_eq!(verdicts(&[u32::MAX, 0]).last(), Some(&Verdict::WentBack), "not even at the end of all counters");
    }

    proptest! {
        #[test]
        fn nothing_at_or_below_the_highest_ever_passes_as_new(counters in prop::collection::vec(0u32..40, 1..60)) {
            let mut high = None;
            for (&counter, verdict) in counters.iter().zip(verdicts(&counters)) {
                prop_assert_eq!(verdict == Verdict::First, high.is_none());
                prop_assert_eq!(verdict == Verdict::Forward, high.is_some_and(|h| counter > h));
                high = high.max(Some(counter));
            }
        }
    }
}
