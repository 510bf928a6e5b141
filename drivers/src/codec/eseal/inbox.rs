//! A frame comes in several notifications: the pieces until a frame is whole.

use super::{CHECK, HEAD_LEN, LEAD, PORT};

/// Longest frame in bytes: head, envelope, the head of a payload, and the longest stored content (4 + 2 + 256).
pub const FRAME_MAX: usize = HEAD_LEN + super::ENVELOPE_LEN + super::PAYLOAD_HEAD_LEN + 262;

/// Pieces, put together. Whatever comes, it holds one frame's bytes at most and the last piece.
#[derive(Debug, Clone, Default)]
pub struct Inbox(Vec<u8>);

impl Inbox {
    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) {
        // A piece longer than a frame is noise at its beginning.
        let piece = &piece[piece.len().saturating_sub(FRAME_MAX)..];
        self.0.extend_from_slice(piece);
        self.0.drain(..self.0.len().saturating_sub(2 * FRAME_MAX));
    }

    /// The next whole frame whose head fits. What cannot begin a frame is dropped.
    pub fn whole(&mut self) -> Option<Vec<u8>> {
        let begin = (0..self.0.len()).find(|&at| may_begin(&self.0[at..])).unwrap_or(self.0.len());
        self.0.drain(..begin);
        let head = self.0.first_chunk::<HEAD_LEN>()?;
        let length = HEAD_LEN + usize::from(u16::from_be_bytes([head[8], head[9]]));
        (length <= self.0.len()).then(|| self.0.drain(..length).collect())
    }

    /// Forgets what has come: an answer to an earlier question.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Whether a frame may begin here, as far as can be seen.
fn may_begin(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<HEAD_LEN>() else { return bytes.iter().zip(LEAD).all(|(byte, lead)| *byte == lead) };
    let length = HEAD_LEN + usize::from(u16::from_be_bytes([head[8], head[9]]));
    head.starts_with(&LEAD)
        && CHECK.checksum(&head[6..]) == u16::from_be_bytes([head[4], head[5]])
        && head[6..8] == PORT.to_be_bytes()
        && length <= FRAME_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::eseal::{FIRMWARE_RN, Order};

    proptest! {
        #[test]
        fn a_frame_is_found_whatever_stands_before_it_and_however_it_is_cut(
            noise in prop::collection::vec(any::<u8>(), 0..40), cut in 1usize..40, id: u32,
        ) {
            // Noise that happens to be the beginning of a frame may swallow a frame; it must not for ever.
            let frame = Order::Query.frame(id, FIRMWARE_RN, 0);
            let mut inbox = Inbox::default();
            let mut found = Vec::new();
            for piece in [noise, frame.repeat(12)].concat().chunks(cut) {
                inbox.push(piece);
                found.extend(std::iter::from_fn(|| inbox.whole()));
            }
            prop_assert!(found.iter().filter(|one| **one == frame).count() >= 1);
        }

        #[test]
        fn nothing_makes_it_grow(pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 0..400), 0..6)) {
            let mut inbox = Inbox::default();
            for piece in pieces {
                inbox.push(&piece);
                while inbox.whole().is_some() {}
                prop_assert!(inbox.0.len() <= 2 * FRAME_MAX);
            }
        }
    }
}
