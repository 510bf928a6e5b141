//! Frames out of notifications that may be cut anywhere, joined, damaged or nothing of ours.
//!
//! ```text
//!   push(bytes) ─► buffer ─► Framing::look ─► Frame   taken
//!                     ▲                    ─► Not     one byte skipped; told once until a frame is found again
//!                     └── at most KEPT     ─► More    wait, or after idle(): skipped like Not
//! ```
//!
//! What must hold: no frame is given whose check does not fit; that bytes were no frame is said, never swallowed; the
//! buffer never exceeds [`KEPT_MAX`]; every byte is looked at a bounded number of times.

/// Most bytes kept. The longest frame of any seal here is below 300; more than three of them were never waited for.
pub const KEPT_MAX: usize = 1024;

/// What a frame looks like.
pub trait Framing {
    /// A frame whose checks fit.
    type Frame;
    /// Why bytes are none.
    type Fault: Clone;
    /// The fault of a frame whose end never came.
    const CUT: Self::Fault;

    /// Looks at bytes, never none, where a frame may begin. Must not ask for more than [`KEPT_MAX`] bytes.
    fn look(&self, bytes: &[u8], place: Place) -> Look<Self::Frame, Self::Fault>;
}

/// Where bytes lie that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Right behind a frame, or at the very beginning.
    InStep,
    /// Somewhere behind bytes that were no frame.
    Lost,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<F, E> {
    /// It may become a frame.
    More,
    /// A frame, and how many bytes it is long.
    Frame(F, usize),
    /// No frame begins here.
    Not(E),
}

/// Turns notifications into frames.
#[derive(Debug)]
pub struct Stream<F> {
    framing: F,
    buffer: Vec<u8>,
    /// How many of the first bytes came before a pause: a frame that began among them has to end among them.
    before_pause: usize,
    place: Place,
}

impl<F: Framing> Stream<F> {
    /// A stream of which nothing was seen.
    #[must_use]
    pub fn new(framing: F) -> Self {
        Self { framing, buffer: Vec::new(), before_pause: 0, place: Place::InStep }
    }

    /// Takes in a notification. Whoever does not take out the frames loses the oldest bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT_MAX)..];
        let over = (self.buffer.len() + bytes.len()).saturating_sub(KEPT_MAX);
        if over > 0 {
            self.take(over);
            self.place = Place::Lost;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or why the bytes before it are none; `None` when more bytes are needed.
    #[expect(clippy::should_implement_trait, reason = "more may come after `None`")]
    pub fn next(&mut self) -> Option<Result<F::Frame, F::Fault>> {
        let mut at = 0;
        loop {
            let end = if self.before_pause > at { self.before_pause } else { self.buffer.len() };
            let bytes = &self.buffer[at..end];
            if bytes.is_empty() {
                self.take(at);
                // The next notification begins where frames begin.
                self.place = Place::InStep;
                return None;
            }
            let fault = match self.framing.look(bytes, self.place) {
                Look::Frame(frame, len) => {
                    self.take(at + len);
                    self.place = Place::InStep;
                    return Some(Ok(frame));
                }
                Look::More if self.before_pause <= at => {
                    self.take(at);
                    return None;
                }
                Look::More => F::CUT,
                Look::Not(fault) => fault,
            };
            at += 1;
            if self.place == Place::InStep {
                self.place = Place::Lost;
                self.take(at);
                return Some(Err(fault));
            }
        }
    }

    /// Nothing more came in time: what lies there is not waited for any longer.
    pub fn idle(&mut self) {
        self.before_pause = self.buffer.len();
    }

    /// Bytes that wait for the rest of their frame.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    fn take(&mut self, n: usize) {
        self.buffer.drain(..n.min(self.buffer.len()));
        self.before_pause = self.before_pause.saturating_sub(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `A5 n`, n bytes, then their sum.
    struct Toy;

    impl Framing for Toy {
        type Frame = Vec<u8>;
        type Fault = &'static str;
        const CUT: &'static str = "cut";

        fn look(&self, bytes: &[u8], _: Place) -> Look<Vec<u8>, &'static str> {
            match bytes {
                [0xA5] => Look::More,
                [0xA5, n, rest @ ..] => match rest.split_at_checked(usize::from(*n)) {
                    Some((body, [sum, ..])) if body.iter().fold(0u8, |a, b| a.wrapping_add(*b)) == *sum => {
                        Look::Frame(body.to_vec(), body.len() + 3)
                    }
                    Some((_, [_, ..])) => Look::Not("check"),
                    _ => Look::More,
                },
                _ => Look::Not("garbage"),
            }
        }
    }

    fn all(stream: &mut Stream<Toy>) -> Vec<Result<Vec<u8>, &'static str>> {
        std::iter::from_fn(|| stream.next()).collect()
    }

    #[test]
    fn joined_and_cut_frames_come_out_one_by_one() {
        let mut stream = Stream::new(Toy);
        stream.push(&[0xA5, 1, 9, 9, 0xA5, 2, 1]);
        assert_eq!(all(&mut stream), [Ok(vec![9])]);
        stream.push(&[2, 3]);
        assert_eq!(all(&mut stream), [Ok(vec![1, 2])]);
        assert_eq!(stream.waiting(), 0);
    }

    #[test]
    fn what_is_no_frame_is_told_once_and_costs_nothing_behind_it() {
        let mut stream = Stream::new(Toy);
        stream.push(&[1, 2, 3, 0xA5, 1, 9, 9, 0xA5, 1, 9, 8, 0xA5, 1, 9, 9]);
        assert_eq!(all(&mut stream), [Err("garbage"), Ok(vec![9]), Err("check"), Ok(vec![9])]);
    }

    #[test]
    fn a_length_that_never_comes_hides_a_frame_only_until_the_pause() {
        let mut stream = Stream::new(Toy);
        stream.push(&[0xA5, 200, 0xA5, 1, 9, 9]);
        assert!(all(&mut stream).is_empty() && stream.waiting() == 6);
        stream.idle();
        assert_eq!(all(&mut stream), [Err("cut"), Ok(vec![9])]);
        assert_eq!(stream.waiting(), 0);
    }

    #[test]
    fn whoever_takes_nothing_out_cannot_grow_it() {
        let mut stream = Stream::new(Toy);
        for _ in 0..10 {
            stream.push(&[0xA5; 700]);
            stream.push(&[1; 3000]);
        }
        assert_eq!(stream.waiting(), KEPT_MAX);
    }
}
