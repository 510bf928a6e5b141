//! From the journal to customs: what the uplink asks for next, and what it may forget.
//!
//! ```text
//!   journal ──after(class, seq)──► ahead[class] ──Order──► uplink ══► customs
//!                                     ▲                      │ PUBACK
//!      cursor (a hint) ◄── Progress ──┴──────── rewind ◄─────┘ line lost
//! ```
//!
//! The journal is the only queue: what is read ahead here is thrown away whenever the line is lost. A cursor moves
//! only on an acknowledgement, and losing it costs duplicates, never an event.
//!
//! Every document is held against its recorded digest and its row before it is sent. One that is not what was recorded,
//! or is missing, is not sent and not passed over: when a second look over a new connection finds the same, the journal is condemned, and what can
//! still be read of it is carried over by the next start.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use segel_mqtt_bridge::{
    topic::Place,
    uplink::{Outbox, Parcel, Unsendable},
};
use tokio::sync::watch;

use super::{
    UPLINK, event_topic,
    order::{Order, Waiting},
    place,
    progress::Progress,
};
use crate::{
    event::{Class, Seq, Source},
    journal::{Flaw, Heads, Journal, JournalError, JournalReader, Record},
};

/// Records read ahead per class: enough to keep a fast line busy between two reads.
pub(crate) const READ_AHEAD: usize = 256;
/// Bytes read ahead per class; three classes of this is what the uplink costs in memory.
pub(crate) const READ_AHEAD_BYTES: usize = 256 * 1024;
/// A journal that cannot be read is tried again after this long.
const READ_RETRY: Duration = Duration::from_secs(1);

/// What identifies an event on its way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its class.
    pub class: Class,
    /// Its number in the class.
    pub seq: Seq,
}

/// The journal as the uplink sees it.
#[derive(Debug)]
pub struct Upstream {
    journal: Journal,
    /// Shared with the thread that reads, so that a read that is given up takes nothing with it.
    reader: Arc<Mutex<JournalReader>>,
    place: Place,
    heads: watch::Receiver<Heads>,
    order: Order,
    lanes: [Lane; 3],
    /// Whether the journal could not be read the last time: said once.
    unread: bool,
    arrived: watch::Sender<Arrived>,
}

/// Up to which number of each class everything is at customs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    by_class: [Seq; Class::ALL.len()],
}

impl Arrived {
    /// Whether everything up to these numbers is at customs.
    #[must_use]
    pub fn reaches(&self, heads: &Heads) -> bool {
        Class::ALL.iter().all(|class| self.by_class[*class as usize] >= heads.of(*class))
    }
}

#[derive(Debug)]
struct Lane {
    class: Class,
    progress: Progress,
    ahead: VecDeque<Record>,
    read_to: Seq,
}

impl Upstream {
    /// Begins where the cursors stand.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(journal: Journal, source: &Source, telemetry_share_percent: u8) -> Result<Self, JournalError> {
        let reader = journal.reader()?;
        let lane = |class| {
            let cursor = reader.cursor(&UPLINK, class)?;
            Ok::<_, JournalError>(Lane { class, progress: Progress::new(cursor), ahead: VecDeque::new(), read_to: cursor })
        };
        let lanes = [lane(Class::Alarm)?, lane(Class::Receipt)?, lane(Class::Telemetry)?];
        let heads = journal.heads();
        let by_class = std::array::from_fn(|index| lanes[index].progress.cursor());
        let arrived = watch::Sender::new(Arrived { by_class });
        Ok(Self {
            arrived,
            journal,
            reader: Arc::new(Mutex::new(reader)),
            place: place(source),
            heads,
            order: Order::new(telemetry_share_percent),
            lanes,
            unread: false,
        })
    }

    /// What has arrived at customs, as it arrives.
    #[must_use]
    pub fn arrived(&self) -> watch::Receiver<Arrived> {
        self.arrived.subscribe()
    }

    /// Reads ahead wherever a lane is empty and the journal has more.
    async fn read_ahead(&mut self) {
        let heads = *self.heads.borrow_and_update();
        for index in 0..self.lanes.len() {
            let lane = &self.lanes[index];
            if !lane.ahead.is_empty() || heads.of(lane.class) <= lane.read_to {
                continue;
            }
            let (class, from, end) = (lane.class, lane.read_to, heads.of(lane.class));
            let (reader, journal) = (Arc::clone(&self.reader), self.journal.clone());
            let read = tokio::task::spawn_blocking(move || {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                proven(&journal, &mut reader, class, from, end)
            });
            let Ok(read) = read.await else { return };
            match read {
                Ok(Proven { records, flaw: None }) => {
                    let lane = &mut self.lanes[index];
                    // None are left when all of them went in order, by quota or into the archive.
                    lane.read_to = records.last().map_or(end, |last| last.seq);
                    lane.ahead = records.into();
                    if std::mem::take(&mut self.unread) {
                        tracing::info!("the journal can be read for forwarding again");
                    }
                }
                Ok(Proven { records, flaw: Some(flaw) }) => {
                    // What is good before it still goes; the lane then stands before the damaged one until the gate ends.
                    self.journal.condemn_for(flaw);
                    let lane = &mut self.lanes[index];
                    lane.read_to = records.last().map_or(lane.read_to, |last| last.seq);
                    lane.ahead = records.into();
                    if lane.ahead.is_empty() && self.waiting().is_nothing() {
                        tokio::time::sleep(READ_RETRY).await;
                    }
                }
                Err(fault) => {
                    self.journal.look_at(&fault);
                    if !std::mem::replace(&mut self.unread, true) {
                        tracing::error!(class = class.as_str(), %fault, "the journal cannot be read for forwarding; trying again");
                    }
                    tokio::time::sleep(READ_RETRY).await;
                }
            }
        }
    }

    fn waiting(&self) -> Waiting {
        let [alarm, receipt, telemetry] = &self.lanes;
        Waiting { alarm: !alarm.ahead.is_empty(), receipt: !receipt.ahead.is_empty(), telemetry: !telemetry.ahead.is_empty() }
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        let [alarm, receipt, telemetry] = &mut self.lanes;
        match class {
            Class::Alarm => alarm,
            Class::Receipt => receipt,
            Class::Telemetry => telemetry,
        }
    }

    fn more_waits(&self) -> bool {
        let heads = *self.heads.borrow();
        self.lanes.iter().any(|lane| !lane.ahead.is_empty() || heads.of(lane.class) > lane.read_to)
    }
}

/// What was read ahead, and what was found where it ends.
struct Proven {
    records: Vec<Record>,
    flaw: Option<Flaw>,
}

/// Reads ahead; what seems damaged is looked at once more over a new connection, because memory fails too.
fn proven(journal: &Journal, reader: &mut JournalReader, class: Class, from: Seq, end: Seq) -> Result<Proven, JournalError> {
    let first = reader.proven_after(class, from, end, READ_AHEAD, READ_AHEAD_BYTES);
    let suspicious = first.as_ref().map_or_else(JournalError::is_damage, |(_, flaw)| flaw.is_some());
    if suspicious {
        *reader = journal.reader()?;
    }
    let (records, flaw) = if suspicious { reader.proven_after(class, from, end, READ_AHEAD, READ_AHEAD_BYTES)? } else { first? };
    Ok(Proven { records, flaw })
}

impl Outbox for Upstream {
    type Ticket = Ticket;

    async fn next(&mut self) -> Option<Parcel<Ticket>> {
        self.read_ahead().await;
        let class = self.order.next(self.waiting())?;
        let lane = self.lane(class);
        let record = lane.ahead.pop_front()?;
        lane.progress.hand_out(record.seq);
        let ticket = Ticket { class, seq: record.seq };
        Some(Parcel { topic: event_topic(&self.place, &record.kind).as_str().to_owned(), payload: Bytes::from(record.doc), ticket })
    }

    fn delivered(&mut self, ticket: Ticket) {
        if let Some(cursor) = self.lane(ticket.class).progress.delivered(ticket.seq) {
            self.journal.advance(&UPLINK, ticket.class, cursor);
            self.arrived.send_modify(|arrived| arrived.by_class[ticket.class as usize] = cursor);
        }
    }

    /// Cannot happen for what the journal accepts: a document is far below the link's limit and a topic is built here.
    /// If it does, the cursor stays before it, where the accounts show it as pending, and it is tried at the next start.
    fn unsendable(&mut self, ticket: Ticket, why: Unsendable) {
        tracing::error!(class = ticket.class.as_str(), seq = ticket.seq.0, %why, "an event cannot be sent to customs and stays pending");
    }

    fn rewind(&mut self) {
        for lane in &mut self.lanes {
            lane.progress.rewind();
            lane.ahead.clear();
            lane.read_to = lane.progress.cursor();
        }
    }

    async fn changed(&mut self) {
        while !self.more_waits() {
            if self.heads.changed().await.is_err() {
                // The journal is closed: nothing more will come, and the uplink is about to be told to stop.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::{Assurance, Draft, EventType, Subject};
    use crate::{clock::Clock, journal::Entry};

    async fn record(journal: &Journal, count: u64) {
        let clock = Clock::new(Duration::from_secs(1), None);
        for n in 0..count {
            let body = serde_json::json!({ "n": n });
            let draft = Draft::new(Class::Alarm, EventType::ForcedOpen, Subject::gateway(), clock.now(), Assurance::Own, &body).unwrap();
            journal.append(Entry::new(draft)).await.unwrap();
        }
    }

    /// Six alarms, of which customs has four; then somebody does this to the fifth.
    async fn sent_after(change: &str, dir: &Path) -> (Vec<Seq>, Option<(Class, Seq)>) {
        let source = Source::new("idsrg", "g01").unwrap();
        let (journal, _) = Journal::open(dir, crate::journal::JournalConfig::default(), source.clone()).unwrap();
        record(&journal, 4).await;
        journal.advance(&UPLINK, Class::Alarm, Seq(4));
        record(&journal, 2).await;
        assert_eq!(journal.reader().unwrap().cursor(&UPLINK, Class::Alarm).unwrap(), Seq(4));
        rusqlite::Connection::open(dir.join("journal.db")).unwrap().execute(change, []).unwrap();
        let mut upstream = Upstream::new(journal.clone(), &source, 10).unwrap();
        let mut sent = Vec::new();
        while let Some(parcel) = upstream.next().await {
            sent.push(parcel.ticket.seq);
        }
        let found = tokio::time::timeout(Duration::from_millis(1), journal.condemned()).await;
        (sent, found.ok().and_then(|flaw| flaw.place))
    }

    #[tokio::test]
    async fn a_missing_or_falsified_alarm_is_neither_passed_over_nor_sent_and_condemns_the_journal() {
        for change in [
            "DELETE FROM event WHERE class = 0 AND seq = 5",
            "DELETE FROM event WHERE class = 0 AND seq >= 5",
            "UPDATE event SET type = 'FORCED_OPEX' WHERE class = 0 AND seq = 5",
            "UPDATE event SET seq = 7 WHERE class = 0 AND seq = 5",
            "UPDATE event SET doc = d, digest = g FROM (SELECT doc d, digest g FROM event WHERE class = 0 AND seq = 6) \
             WHERE class = 0 AND seq = 5",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let (sent, condemned) = sent_after(change, dir.path()).await;
            assert_eq!(sent, [], "{change}");
            assert_eq!(condemned, Some((Class::Alarm, Seq(5))), "{change}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (sent, condemned) = sent_after("DELETE FROM event WHERE class = 0 AND seq = 6", dir.path()).await;
        assert_eq!((sent, condemned), (vec![Seq(5)], Some((Class::Alarm, Seq(6)))), "what is good before it still goes");
    }
}
