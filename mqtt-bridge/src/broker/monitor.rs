//! One monitor's side of the conversation after CONNACK, without I/O: what it asked for, what waits for it, what it
//! has not acknowledged.
//!
//! ```text
//!   on_packet   what the monitor says      ─┐                       ┌─► out   bytes ready to be written
//!   on_message  what the gate said         ─┴─► kept / live queues ─┘   fill
//! ```
//!
//! What must hold: a monitor only listens, anything else ends it; it gets at most one copy of a message, at the highest
//! quality it was granted; kept values go first and are merged per topic, so however often it subscribes, no more waits
//! for it than the store holds; an older kept value is never sent after a newer live one; a message missing from the
//! numbering ends it, because a monitor that comes back gets the true state and one that stays would show a false one.

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::{Packet, PingResp, Protocol, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck};

use super::limits::Limits;
use super::message::Message;
use crate::topic::Filter;

/// Bytes encoded ahead of the socket; enough for one large write, small beside the queue.
const AHEAD: usize = 16 * 1024;
/// While more than this waits to be written, nothing more is read from the monitor.
const HOLD_READING: usize = 64 * 1024;

/// Why a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// DISCONNECT.
    Left,
    /// The connection closed or broke.
    Vanished,
    /// No packet within one and a half times its keepalive.
    Silent,
    /// It did not take what waited for it.
    TooSlow,
    /// It missed messages, because it or this machine was too slow.
    Missed,
    /// It tried to publish.
    Published,
    /// It broke the protocol.
    Violation(&'static str),
    /// The same client connected again.
    TakenOver,
    /// The router died; everybody starts afresh.
    RouterGone,
    /// The broker closes.
    Closing,
}

/// What is retained right now, and the number of the last message it includes.
pub(super) struct Snapshot {
    pub(super) number: u64,
    pub(super) messages: Vec<Message>,
}

#[derive(Debug)]
struct Subscription {
    filter: Filter,
    qos: QoS,
    /// Messages up to this number were part of the snapshot or came before the subscription.
    since: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Monitor {
    limits: Limits,
    subscriptions: Vec<Subscription>,
    /// The number the next message must have.
    next: u64,
    kept: BTreeMap<Bytes, (Message, QoS)>,
    live: VecDeque<(Message, QoS)>,
    live_bytes: usize,
    unacked: HashSet<u16>,
    last_id: u16,
    out: BytesMut,
}

impl Monitor {
    /// A monitor that gets what comes after message `seen`.
    pub(super) fn new(limits: Limits, seen: u64) -> Monitor {
        Monitor {
            limits,
            subscriptions: Vec::new(),
            next: seen + 1,
            kept: BTreeMap::new(),
            live: VecDeque::new(),
            live_bytes: 0,
            unacked: HashSet::new(),
            last_id: 0,
            out: BytesMut::new(),
        }
    }

    /// Bytes to be written; the caller removes what it wrote.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// May more be read from the monitor? No while it does not take our answers.
    pub(super) fn may_read(&self) -> bool {
        self.out.len() < HOLD_READING
    }

    /// Is everything up to message `number` encoded and written?
    pub(super) fn is_through(&self, number: u64) -> bool {
        self.next > number && self.out.is_empty() && self.kept.is_empty() && self.live.is_empty()
    }

    /// What the monitor said. `snapshot` is called for a SUBSCRIBE only.
    pub(super) fn on_packet(&mut self, packet: Packet, snapshot: impl FnOnce() -> Snapshot) -> Result<(), End> {
        match packet {
            Packet::PingReq(_) => self.answer(Packet::PingResp(PingResp)),
            Packet::PubAck(ack, _) => {
                self.unacked.remove(&ack.pkid);
            }
            Packet::Subscribe(subscribe, _) => self.on_subscribe(&subscribe, &snapshot())?,
            Packet::Unsubscribe(unsubscribe, _) => {
                if unsubscribe.pkid == 0 || unsubscribe.filters.is_empty() {
                    return Err(End::Violation("UNSUBSCRIBE without id or filter"));
                }
                self.subscriptions.retain(|s| !unsubscribe.filters.iter().any(|f| f == s.filter.as_str()));
                self.answer(Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid, reasons: Vec::new() }, None));
            }
            Packet::Disconnect(..) => return Err(End::Left),
            Packet::Publish(..) => return Err(End::Published),
            _ => return Err(End::Violation("a packet only a server sends, or a second CONNECT")),
        }
        Ok(())
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe, snapshot: &Snapshot) -> Result<(), End> {
        if subscribe.pkid == 0 {
            return Err(End::Violation("SUBSCRIBE with packet id 0"));
        }
        let mut granted: Vec<(Filter, QoS)> = Vec::new();
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for asked in &subscribe.filters {
            let qos = if asked.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            match Filter::parse(&asked.path) {
                Ok(filter) if self.hold(&filter, qos, snapshot.number) => {
                    codes.push(SubscribeReasonCode::Success(qos));
                    granted.push((filter, qos));
                }
                _ => codes.push(SubscribeReasonCode::Failure),
            }
        }
        self.answer(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes: codes }, None));
        for message in &snapshot.messages {
            if let Some(qos) = best(granted.iter().filter(|(filter, _)| filter.matches(message.topic())).map(|(_, qos)| *qos)) {
                self.kept.insert(message.topic.clone(), (message.clone(), qos));
            }
        }
        Ok(())
    }

    /// Holds a filter, replacing the same one; false when there is no room.
    fn hold(&mut self, filter: &Filter, qos: QoS, since: u64) -> bool {
        if let Some(held) = self.subscriptions.iter_mut().find(|s| s.filter == *filter) {
            held.qos = qos;
            return true;
        }
        if self.subscriptions.len() >= self.limits.subscriptions {
            return false;
        }
        self.subscriptions.push(Subscription { filter: filter.clone(), qos, since });
        true
    }

    /// What the gate said, in order of number; what came before this monitor is passed over.
    pub(super) fn on_message(&mut self, message: &Message) -> Result<(), End> {
        if message.number < self.next {
            return Ok(());
        }
        if message.number > self.next {
            return Err(End::Missed);
        }
        self.next += 1;
        let topic = message.topic();
        let wanted = self.subscriptions.iter().filter(|s| s.since < message.number && s.filter.matches(topic)).map(|s| s.qos);
        let Some(qos) = best(wanted) else { return Ok(()) };
        if self.kept.get(&message.topic).is_some_and(|(kept, _)| kept.number < message.number) {
            self.kept.remove(&message.topic);
        }
        self.live_bytes += message.size();
        self.live.push_back((message.clone(), qos));
        if self.live.len() > self.limits.queue_messages || self.live_bytes > self.limits.queue_bytes {
            return Err(End::TooSlow);
        }
        Ok(())
    }

    /// Encodes what may be sent now, up to a little ahead of the socket.
    pub(super) fn fill(&mut self) {
        while self.out.len() < AHEAD && self.unacked.len() < self.limits.window {
            if let Some((_, (message, qos))) = self.kept.pop_first() {
                self.encode(&message, qos, RETAIN);
            } else if let Some((message, qos)) = self.live.pop_front() {
                self.live_bytes -= message.size();
                self.encode(&message, qos, 0);
            } else {
                return;
            }
        }
    }

    fn encode(&mut self, message: &Message, qos: QoS, retain: u8) {
        let id = (qos == QoS::AtLeastOnce).then(|| self.take_id());
        let mut rest = 2 + message.topic.len() + message.payload.len() + if id.is_some() { 2 } else { 0 };
        self.out.put_u8(PUBLISH | ((qos as u8) << 1) | retain);
        while rest >= 0x80 {
            self.out.put_u8(0x80 | u8::try_from(rest & 0x7f).expect("seven bits"));
            rest >>= 7;
        }
        self.out.put_u8(u8::try_from(rest).expect("below 0x80"));
        self.out.put_u16(u16::try_from(message.topic.len()).expect("a topic of the scheme is far shorter"));
        self.out.put_slice(&message.topic);
        if let Some(id) = id {
            self.out.put_u16(id);
        }
        self.out.put_slice(&message.payload);
    }

    /// A packet id that is not in flight; there always is one, the window is far smaller than 65,535.
    fn take_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && self.unacked.insert(self.last_id) {
                return self.last_id;
            }
        }
    }

    fn answer(&mut self, packet: Packet) {
        V4.write(packet, &mut self.out).expect("acknowledgements without properties always encode");
    }
}

/// PUBLISH in the first byte (MQTT 3.1.1, section 3.3.1).
const PUBLISH: u8 = 0x30;
/// The retain flag in the first byte.
const RETAIN: u8 = 0x01;

fn best(qualities: impl Iterator<Item = QoS>) -> Option<QoS> {
    qualities.fold(None, |best, qos| match best {
        Some(QoS::AtLeastOnce) => best,
        _ => Some(qos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rumqttd::protocol::{Filter as Asked, RetainForwardRule, Unsubscribe};

    fn message(number: u64, topic: &str, payload: &str) -> Message {
        Message::framed(number, 0, topic, payload.as_bytes()).1
    }

    fn subscribe(filters: &[(&str, QoS)]) -> Packet {
        let filters = filters
            .iter()
            .map(|(path, qos)| Asked {
                path: (*path).to_owned(),
                qos: *qos,
                nolocal: false,
                preserve_retain: false,
                retain_forward_rule: RetainForwardRule::OnEverySubscribe,
            })
            .collect();
        Packet::Subscribe(Subscribe { pkid: 9, filters }, None)
    }

    fn nothing() -> Snapshot {
        Snapshot { number: 0, messages: Vec::new() }
    }

    fn monitor(limits: Limits) -> Monitor {
        Monitor::new(limits, 0)
    }

    /// What would be written: first byte and payload of each PUBLISH.
    fn payloads(monitor: &mut Monitor) -> Vec<(u8, String)> {
        monitor.fill();
        let mut payloads = Vec::new();
        while let Some(first) = monitor.out.first().copied() {
            if let Packet::Publish(p, _) = V4.read_mut(&mut monitor.out, 1 << 20).unwrap() {
                payloads.push((first, String::from_utf8(p.payload.to_vec()).unwrap()));
            }
        }
        payloads
    }

    #[test]
    fn suback_grants_at_most_quality_1_and_refuses_what_cannot_be() {
        let mut monitor = monitor(Limits { subscriptions: 4, ..Limits::default() });
        let asked = [("a", QoS::AtMostOnce), ("b", QoS::ExactlyOnce), ("$share/g/a", QoS::AtMostOnce), ("a/#/b", QoS::AtMostOnce)];
        monitor.on_packet(subscribe(&asked), nothing).unwrap();
        assert_eq!(&monitor.out[..], [0x90, 6, 0, 9, 0, 1, 0x80, 0x80]);
        monitor.out.clear();
        let more = [("$SYS/#", QoS::AtMostOnce), ("d", QoS::AtMostOnce), ("e", QoS::AtMostOnce), ("a", QoS::AtLeastOnce)];
        monitor.on_packet(subscribe(&more), nothing).unwrap();
        assert_eq!(&monitor.out[..], [0x90, 6, 0, 9, 0, 0, 0x80, 1]);
    }

    #[test]
    fn unsubscribe_is_always_acknowledged_once() {
        let mut monitor = monitor(Limits::default());
        let filters = vec!["never/asked".to_owned(), "b".to_owned()];
        monitor.on_packet(Packet::Unsubscribe(Unsubscribe { pkid: 5, filters }, None), nothing).unwrap();
        assert_eq!(&monitor.out[..], [0xb0, 2, 0, 5]);
    }

    #[test]
    fn overlapping_filters_bring_one_copy_at_the_highest_quality() {
        let mut monitor = monitor(Limits::default());
        monitor.on_packet(subscribe(&[("#", QoS::AtMostOnce), ("a/+", QoS::AtLeastOnce)]), nothing).unwrap();
        monitor.on_message(&message(1, "a/b", "x")).unwrap();
        assert_eq!(payloads(&mut monitor), [(0x32, "x".to_owned())]);
    }

    #[test]
    fn kept_values_carry_the_flag_and_live_ones_do_not() {
        let mut monitor = monitor(Limits::default());
        let snapshot = || Snapshot { number: 3, messages: vec![message(2, "a", "old"), message(3, "z", "other")] };
        monitor.on_packet(subscribe(&[("a", QoS::AtMostOnce)]), snapshot).unwrap();
        for number in 1..=4 {
            monitor.on_message(&message(number, "a", &format!("live {number}"))).unwrap();
        }
        // 1 to 3 came before the snapshot; 4 is newer than what was kept and takes its place
        assert_eq!(payloads(&mut monitor), [(0x30, "live 4".to_owned())]);
        monitor.on_packet(subscribe(&[("a", QoS::AtMostOnce)]), snapshot).unwrap();
        assert_eq!(payloads(&mut monitor), [(0x31, "old".to_owned())]);
    }

    #[test]
    fn subscribing_again_and_again_never_queues_more_than_the_store_holds() {
        let mut monitor = monitor(Limits::default());
        let snapshot = || Snapshot { number: 500, messages: (0..500).map(|n| message(n, &format!("t/{n}"), "v")).collect() };
        for _ in 0..50 {
            monitor.on_packet(subscribe(&[("#", QoS::AtLeastOnce)]), snapshot).unwrap();
        }
        assert_eq!(monitor.kept.len(), 500);
    }

    #[test]
    fn the_window_holds_back_until_acknowledged() {
        let mut monitor = monitor(Limits { window: 2, ..Limits::default() });
        monitor.on_packet(subscribe(&[("#", QoS::AtLeastOnce)]), nothing).unwrap();
        for number in 1..=3 {
            monitor.on_message(&message(number, "a", &number.to_string())).unwrap();
        }
        assert_eq!(payloads(&mut monitor).len(), 2);
        assert_eq!(payloads(&mut monitor).len(), 0);
        let ack = rumqttd::protocol::PubAck { pkid: 1, reason: rumqttd::protocol::PubAckReason::Success };
        monitor.on_packet(Packet::PubAck(ack, None), nothing).unwrap();
        assert_eq!(payloads(&mut monitor), [(0x32, "3".to_owned())]);
        assert_eq!(monitor.unacked, HashSet::from([2, 3]));
    }

    #[test]
    fn a_gap_in_the_numbers_ends_it() {
        let mut monitor = Monitor::new(Limits::default(), 10);
        monitor.on_message(&message(4, "a", "stale")).unwrap();
        monitor.on_message(&message(11, "a", "")).unwrap();
        assert_eq!(monitor.on_message(&message(13, "a", "")), Err(End::Missed));
    }

    #[test]
    fn what_it_does_not_take_is_bounded_in_number_and_bytes() {
        for (limits, fits) in [
            (Limits { queue_messages: 5, ..Limits::default() }, 5),
            (Limits { queue_bytes: 3 * message(0, "a", "x").size(), ..Limits::default() }, 3),
        ] {
            let mut monitor = monitor(limits);
            monitor.on_packet(subscribe(&[("#", QoS::AtMostOnce)]), nothing).unwrap();
            for number in 1..=fits {
                monitor.on_message(&message(number, "a", "x")).unwrap();
            }
            assert_eq!(monitor.on_message(&message(fits + 1, "a", "x")), Err(End::TooSlow));
        }
    }

    #[test]
    fn lengths_around_the_edges_of_their_encoding_are_right() {
        for size in [0usize, 122, 123, 124, 125, 16_379, 16_380, 16_381, 65_536] {
            let mut monitor = monitor(Limits::default());
            monitor.on_packet(subscribe(&[("#", QoS::AtMostOnce)]), nothing).unwrap();
            monitor.on_message(&message(1, "a", &"x".repeat(size))).unwrap();
            assert_eq!(payloads(&mut monitor)[0].1.len(), size);
        }
    }

    #[test]
    fn publishing_or_speaking_like_a_server_ends_it() {
        use rumqttd::protocol::{Publish, UnsubAck};
        let publish = Packet::Publish(Publish::new("a", "x", false), None);
        assert_eq!(monitor(Limits::default()).on_packet(publish, nothing), Err(End::Published));
        let unsuback = Packet::UnsubAck(UnsubAck { pkid: 1, reasons: Vec::new() }, None);
        assert!(matches!(monitor(Limits::default()).on_packet(unsuback, nothing), Err(End::Violation(_))));
    }
}
