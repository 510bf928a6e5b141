//! One message on its way from the gate to the monitors, and how it travels through the router.
//!
//! ```text
//!   through the router:   number u64 BE │ sent u64 BE │ length of topic u16 BE │ topic │ payload
//! ```
//!
//! `sent` counts the bytes handed to this router up to and with this frame: whoever sees the frame knows how much has
//! come through. The router carries every message under one fixed ASCII topic and stores it in one log: it never sees a monitor's
//! text, keeps no entry per topic, and cannot trip over one. The number grows by one with every message the gate
//! hands over; whoever reads a gap knows that something was lost and must not pretend otherwise. A mark (no topic, no
//! payload) only carries a number, so that a gap shows even when the gate has nothing more to say.

use bytes::{BufMut, Bytes, BytesMut};

const HEAD: usize = 8 + 8 + 2;

/// One message; clones share their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) sent: u64,
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
}

impl Message {
    /// Builds the frame for the router and the message that shares its bytes; `before` is what the router was sent
    /// before. The topic is one of ours (bounded).
    pub(super) fn framed(number: u64, before: u64, topic: &str, payload: &[u8]) -> (Bytes, Message) {
        let length = u16::try_from(topic.len()).expect("a topic of the scheme is far shorter than 64 KiB");
        let mut frame = BytesMut::with_capacity(HEAD + topic.len() + payload.len());
        frame.put_u64(number);
        frame.put_u64(before + (HEAD + topic.len() + payload.len()) as u64);
        frame.put_u16(length);
        frame.put_slice(topic.as_bytes());
        frame.put_slice(payload);
        let frame = frame.freeze();
        let message = Message::read(&frame).expect("what was just written can be read");
        (frame, message)
    }

    /// Reads a frame; `None` when it is not one of ours.
    pub(super) fn read(frame: &Bytes) -> Option<Message> {
        let number = u64::from_be_bytes(frame.get(..8)?.try_into().ok()?);
        let sent = u64::from_be_bytes(frame.get(8..16)?.try_into().ok()?);
        let length = usize::from(u16::from_be_bytes(frame.get(16..HEAD)?.try_into().ok()?));
        let end = HEAD + length;
        std::str::from_utf8(frame.get(HEAD..end)?).ok()?;
        Some(Message { number, sent, topic: frame.slice(HEAD..end), payload: frame.slice(end..) })
    }

    /// The topic as text.
    pub(super) fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).expect("checked when the frame was read")
    }

    /// Bytes it takes, as frame and as entry of a queue alike.
    pub(super) fn size(&self) -> usize {
        HEAD + self.topic.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back() {
        let (frame, message) = Message::framed(7, 100, "segel/1/a/b/ev/x", b"{}");
        assert_eq!(Message::read(&frame).unwrap(), message);
        assert_eq!((message.number, message.topic(), &message.payload[..]), (7, "segel/1/a/b/ev/x", &b"{}"[..]));
        assert_eq!((message.size(), message.sent), (frame.len(), 100 + frame.len() as u64));
    }

    #[test]
    fn a_frame_that_is_cut_short_is_refused() {
        let (frame, _) = Message::framed(7, 100, "topic", b"");
        for cut in 0..frame.len() {
            assert_eq!(Message::read(&frame.slice(..cut)), None);
        }
    }
}
