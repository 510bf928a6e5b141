//! Frames out of a stream of bytes that may begin anywhere, be cut anywhere and contain anything.
//!
//! What must hold: never more than [`BUFFER_MAX`] bytes are kept; a byte is only skipped when no frame can begin
//! there; garbage never costs the frame behind it. A wrong length byte can make the decoder wait for bytes that
//! never come: the caller says [`Decoder::idle`] when the line has been quiet, and what lies there is then
//! searched for whole frames and dropped.

use std::collections::VecDeque;

use super::{Frame, LEN_MIN};

/// Most bytes kept, about half a second at 115200 baud. Whoever takes out frames after each push stays far below.
pub const BUFFER_MAX: usize = 4096;

/// What a decoder has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecoderCounts {
    /// Whole frames found.
    pub frames: u64,
    /// Places where a frame of the right length had the wrong check, counted once until a frame is found again.
    pub bad_checks: u64,
    /// Bytes that belonged to no frame.
    pub skipped_bytes: u64,
}

/// Turns chunks of bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: VecDeque<u8>,
    /// How many of the first bytes came before a pause: a frame that began among them has to end among them.
    before_pause: usize,
    lost: Step,
    counts: DecoderCounts,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    InStep,
    Sliding,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes as they arrived. Take out the frames with [`Decoder::next_frame`] before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
        let over = self.buffer.len().saturating_sub(BUFFER_MAX);
        self.skip(over);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let len = *self.buffer.front()?;
            let total = usize::from(len) + 1;
            if len < LEN_MIN {
                self.skip(1);
                continue;
            }
            if self.before_pause > 0 && total > self.before_pause {
                self.skip(1);
                continue;
            }
            if total > self.buffer.len() {
                return None;
            }
            let candidate: Vec<u8> = self.buffer.range(..total).copied().collect();
            if let Some(frame) = Frame::checked(&candidate) {
                self.take(total);
                self.lost = Step::InStep;
                self.counts.frames += 1;
                return Some(frame);
            }
            if self.lost == Step::InStep {
                self.lost = Step::Sliding;
                self.counts.bad_checks += 1;
            }
            self.skip(1);
        }
    }

    /// The line has been quiet for longer than any pause inside a frame: no frame reaches across this moment. Only
    /// the last pause is remembered: take out the frames before the next.
    pub fn idle(&mut self) {
        self.before_pause = self.buffer.len();
    }

    /// Whether bytes wait for the rest of their frame.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// What has been counted.
    #[must_use]
    pub fn counts(&self) -> DecoderCounts {
        self.counts
    }

    fn skip(&mut self, n: usize) {
        self.take(n);
        self.counts.skipped_bytes += n as u64;
    }

    fn take(&mut self, n: usize) {
        self.buffer.drain(..n);
        self.before_pause = self.before_pause.saturating_sub(n);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAG: &str = "15000103 01010c00 00000000 00000000 0003136b b1a5";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    fn all(decoder: &mut Decoder) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| decoder.next_frame()).map(|f| f.bytes().to_vec()).collect()
    }

    #[test]
    fn several_frames_in_one_read_come_out_one_by_one() {
        let mut decoder = Decoder::new();
        decoder.push(&[bytes(TAG), bytes("0700010101001e4b"), bytes(TAG)].concat());
        assert_eq!(all(&mut decoder), [bytes(TAG), bytes("0700010101001e4b"), bytes(TAG)]);
        assert_eq!(decoder.counts(), DecoderCounts { frames: 3, ..DecoderCounts::default() });
    }

    #[test]
    fn a_cut_frame_is_dropped_by_a_pause_and_the_next_is_whole() {
        let mut decoder = Decoder::new();
        decoder.push(&bytes(TAG)[..9]);
        assert!(all(&mut decoder).is_empty() && decoder.is_waiting());
        decoder.idle();
        assert!(all(&mut decoder).is_empty() && !decoder.is_waiting());
        decoder.push(&bytes(TAG));
        assert_eq!(all(&mut decoder), [bytes(TAG)]);
        assert_eq!(decoder.counts().skipped_bytes, 9);
    }

    #[test]
    fn a_length_byte_of_garbage_hides_a_frame_only_until_the_pause() {
        let mut decoder = Decoder::new();
        decoder.push(&[vec![0xFF], bytes(TAG)].concat());
        assert!(all(&mut decoder).is_empty());
        decoder.idle();
        assert_eq!(all(&mut decoder), [bytes(TAG)]);
    }

    #[test]
    fn a_frame_never_reaches_across_a_pause() {
        let mut decoder = Decoder::new();
        let (a, b) = (&bytes(TAG)[..9], &bytes(TAG)[9..]);
        decoder.push(a);
        decoder.idle();
        decoder.push(&[b, &bytes("0700010101001e4b")].concat());
        let mut found = all(&mut decoder);
        decoder.idle();
        found.extend(all(&mut decoder));
        assert_eq!(found, [bytes("0700010101001e4b")]);
    }

    #[test]
    fn a_wrong_check_is_counted_once_and_costs_nothing_behind_it() {
        let mut wrong = bytes(TAG);
        *wrong.last_mut().unwrap() ^= 1;
        let mut decoder = Decoder::new();
        decoder.push(&[wrong, bytes(TAG)].concat());
        decoder.idle();
        assert_eq!(all(&mut decoder), [bytes(TAG)]);
        assert_eq!(decoder.counts(), DecoderCounts { frames: 1, bad_checks: 1, skipped_bytes: 22 });
    }

    #[test]
    fn a_caller_that_never_takes_frames_out_cannot_grow_the_buffer() {
        let mut decoder = Decoder::new();
        for _ in 0..100 {
            decoder.push(&[0xFF; 1000]);
        }
        assert_eq!(decoder.buffer.len(), BUFFER_MAX);
    }

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame = (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(a, c, b)| Frame::new(a, c, &b));
        prop::collection::vec(frame, 1..6)
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_neither_panic_nor_grow(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..12), pause in any::<u16>()) {
            let mut decoder = Decoder::new();
            for (i, piece) in pieces.iter().enumerate() {
                decoder.push(piece);
                let _ = all(&mut decoder);
                prop_assert!(decoder.buffer.len() < super::super::FRAME_MAX);
                if pause >> i & 1 == 1 {
                    decoder.idle();
                    let _ = all(&mut decoder);
                    prop_assert!(!decoder.is_waiting());
                }
            }
            let counts = decoder.counts();
            prop_assert!(counts.skipped_bytes <= pieces.iter().map(|p| p.len() as u64).sum::<u64>());
        }

        #[test]
        fn frames_survive_any_chunking(frames in frames(), cuts in prop::collection::vec(1usize..20, 1..200)) {
            let stream: Vec<u8> = frames.iter().flat_map(|f| f.bytes().to_vec()).collect();
            let (mut decoder, mut found, mut at) = (Decoder::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                if at == stream.len() { break }
                let end = (at + cut).min(stream.len());
                decoder.push(&stream[at..end]);
                found.extend(std::iter::from_fn(|| decoder.next_frame()));
                at = end;
            }
            prop_assert_eq!(found, frames);
        }

        /// Garbage that happens to contain a frame of its own is possible (one in 65,536 places) and harmless: what
        /// must not happen is that a frame behind a pause is lost.
        #[test]
        fn garbage_between_frames_is_skipped_and_later_frames_are_found(parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), frames()), 1..4)) {
            let mut decoder = Decoder::new();
            for (garbage, frames) in &parts {
                decoder.push(garbage);
                let _ = all(&mut decoder);
                decoder.idle();
                let _ = all(&mut decoder);
                prop_assert!(!decoder.is_waiting());
                for frame in frames {
                    decoder.push(frame.bytes());
                    let found = decoder.next_frame();
                    prop_assert_eq!(found.as_ref(), Some(frame));
                }
            }
        }
    }
}
