//! What goes up and what comes down, and the two doors of the gate the link knows: an [`Outbox`] and an [`Inbox`].
//!
//! The link owns no queue. It asks the outbox for the next parcel, says when customs' broker has acknowledged
//! it, and asks for everything again when the line is lost. It hands a command to the inbox and acknowledges it
//! only after the inbox has said that it is kept.

use std::fmt::Debug;
use std::future::Future;

use bytes::Bytes;

/// One message for customs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel<T> {
    /// MQTT topic name: 1 to 65,535 bytes of UTF-8 without `+`, `#` or NUL.
    pub topic: String,
    /// The bytes as customs shall receive them, at most `max_payload_out`.
    pub payload: Bytes,
    /// What the outbox calls this message; returned in [`Outbox::delivered`].
    pub ticket: T,
}

/// Where the link takes messages from: a view of a durable queue with a place of its own to read from.
pub trait Outbox: Send + 'static {
    /// What names one parcel handed out.
    type Ticket: Send + 'static + Debug;

    /// The next message to send, `None` when there is nothing now. Cheap; may read from disk. Never called while
    /// the line is down. It is awaited to its end except at a deadline of seconds, after which [`Outbox::rewind`] follows.
    fn next(&mut self) -> impl Future<Output = Option<Parcel<Self::Ticket>>> + Send;

    /// Customs' broker has acknowledged this parcel. Acknowledgements may come out of order.
    fn delivered(&mut self, ticket: Self::Ticket);

    /// This parcel can never be sent on any line. It is not delivered: record it, tell a person, and do not hand it out again.
    fn unsendable(&mut self, ticket: Self::Ticket, why: Unsendable);

    /// The line is lost: everything handed out and neither delivered nor unsendable must come again.
    fn rewind(&mut self);

    /// Resolves at once when [`Outbox::next`] may return `Some` again: level-triggered, cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Why a parcel can never be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Too long for the link: shorten what writes it, or raise the limit on both sides.
    #[error(
        "the message has {bytes} bytes, the link sends at most {limit}: shorten it, or raise `max_payload_out` here and at customs' broker"
    )]
    TooLong {
        /// Length of the payload in bytes.
        bytes: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// MQTT 3.1.1 section 4.7 forbids this topic in a PUBLISH: correct what builds it.
    #[error("{topic:?} is not a topic MQTT can publish on: 1 to 65535 bytes, without '+', '#' and NUL")]
    Topic {
        /// The refused topic.
        topic: String,
    },
}

/// One command as it came from customs' broker. Nothing in it is trusted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The topic it was published on.
    pub topic: String,
    /// The bytes, at most `max_payload_in`; a copy of their own. Of a longer command the beginning.
    pub payload: Bytes,
    /// Length of the whole payload in bytes; more than `payload` has when the command is too long to be taken.
    pub length: usize,
    /// The broker kept this message as a retained one (retain=1): it may be of any age, so the gate refuses it as a command.
    pub retained: bool,
    /// The broker says that it has sent this message before (dup=1). Advisory only: a repeated command need not carry it.
    pub duplicate: bool,
}

/// Where commands go. `Ok` means the command is on disk, or is known from before, or was refused for good and the refusal
/// is on disk: it will be acknowledged and never comes again.
pub trait Inbox: Send + Sync + 'static {
    /// Keep this command. May take long; several run at the same time, each in a task of its own.
    ///
    /// # Errors
    /// [`InboxError`] when it could not be kept now: it is offered again after a pause, and stays unacknowledged meanwhile.
    fn receive(&self, delivery: Delivery) -> impl Future<Output = Result<(), InboxError>> + Send;
}

/// Why a command could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// Not kept now, for example because the disk is full; the same command is offered again.
    #[error("the command could not be kept: {0}")]
    NotKept(String),
}
