//! What the gate says of itself: one structure for the command line, the monitors and the service supervisor.
//!
//! What must hold: it is always answered, also while the disk is not; figures that are not of now say so; accounts that
//! do not add up are an error that is said, never hidden.

mod books;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use segel_mqtt_bridge::{
    broker::{Broker, BrokerStanding},
    uplink::{LinkStanding, Phase},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::books::{Books, Figures};
use crate::{
    clock::{AgeBasis, Clock},
    event::{Class, ClockQuality, Source, Stamp},
    ingest::{IngestStanding, ReaderState, SealCounts, Unrecorded},
    journal::{Account, Journal, JournalError, JournalStanding, Reserve, Room, Totals},
    space::{
        SpaceStanding,
        levels::{Level, Why},
    },
};

/// The version of this form.
pub const FORM: u8 = 1;

/// How the gate is, at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of this form.
    pub v: u8,
    /// The place (UN/LOCODE in lower case).
    pub site: String,
    /// The gate at that place.
    pub gate: String,
    /// Version of the program.
    pub version: String,
    /// Process number.
    pub pid: u32,
    /// When this process began, by its own clock.
    pub since: jiff::Timestamp,
    /// Now.
    pub time: jiff::Timestamp,
    /// How good that time is.
    pub clock: ClockQuality,
    /// Identity of the journal.
    pub journal: String,
    /// The headline: age of the oldest alarm customs has not acknowledged, in seconds; `null` when there is none.
    pub oldest_undelivered_alarm_s: Option<i64>,
    /// How that age is known; a clock that was wrong makes it uncertain.
    #[serde(default)]
    pub oldest_undelivered_alarm_by: Option<AgeBasis>,
    /// What was recorded and where it is, per class; recorded = delivered + pending + dropped.
    pub accounts: Vec<ClassAccount>,
    /// How the figures of the accounts were come by.
    #[serde(default)]
    pub books: BooksStatus,
    /// The disk of the journal, and what the journal takes on it.
    #[serde(default)]
    pub storage: StorageStatus,
    /// Set while the journal refuses to record: why, and what to do.
    pub journal_refuses: Option<String>,
    /// Since when it refuses.
    #[serde(default)]
    pub journal_refuses_since: Option<jiff::Timestamp>,
    /// Set while no receipt can be promised, so that every command is refused: why.
    #[serde(default)]
    pub no_receipts: Option<String>,
    /// Reports that wait in memory because the journal cannot be written.
    #[serde(default)]
    pub sheltered_reports: usize,
    /// What was heard and is not on record since this process began, by reader.
    #[serde(default)]
    pub unrecorded: BTreeMap<String, Unrecorded>,
    /// The link to customs; absent when it is switched off.
    pub uplink: Option<LinkStatus>,
    /// The local broker; absent when it is switched off.
    pub broker: Option<BrokerStatus>,
    /// Every reader that has reported.
    pub readers: Vec<ReaderState>,
    /// Seals in range and known.
    pub seals: SealCounts,
}

/// One class's account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassAccount {
    /// The class.
    pub class: Class,
    /// Events recorded since the journal began.
    pub recorded: u64,
    /// Of these, acknowledged by customs.
    pub delivered: u64,
    /// Of these, waiting.
    pub pending: u64,
    /// Of these, dropped unsent under the quota (telemetry only).
    pub dropped: u64,
    /// Of all recorded, still in the journal. recorded = held + archived + droppedInAll.
    #[serde(default)]
    pub held: u64,
    /// Of all recorded, in the archive and no longer in the journal.
    #[serde(default)]
    pub archived: u64,
    /// Of all recorded, dropped under the quota, sent or unsent.
    #[serde(default)]
    pub dropped_in_all: u64,
    /// Events refused for want of room; they were never recorded.
    #[serde(default)]
    pub refused: u64,
    /// Bytes of the documents held.
    pub bytes: u64,
    /// Age of the oldest waiting one, in seconds.
    pub oldest_pending_s: Option<i64>,
    /// How that age is known.
    #[serde(default)]
    pub oldest_pending_by: Option<AgeBasis>,
}

/// How the figures were come by.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BooksStatus {
    /// How old they are, in seconds; 0 unless the journal cannot be read now.
    pub age_s: u64,
    /// Set while the journal cannot be read: why.
    pub unread: Option<String>,
    /// Set when they do not add up: what does not. That is a defect.
    pub imbalance: Option<String>,
}

/// The disk of the journal, and what the journal takes on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// `plenty`, `low`, `scarce` or `failed`.
    pub level: Level,
    /// Why.
    pub because: Why,
    /// Bytes the gate may still take; absent until the file system has answered.
    pub free_bytes: Option<u64>,
    /// Size of the file system.
    pub total_bytes: Option<u64>,
    /// Inodes it may still take; absent where there is no such limit.
    pub free_inodes: Option<u64>,
    /// In how many hours telemetry will be refused, by the forecast.
    pub scarce_in_h: Option<u64>,
    /// In how many hours nothing will be left, by the forecast.
    pub full_in_h: Option<u64>,
    /// Whether telemetry is refused now.
    pub telemetry_refused: bool,
    /// `held`, `spent` or `absent`: the room kept for alarms and receipts.
    pub reserve: String,
    /// Its size while it is held, or what is left of the disk while it is spent.
    pub reserve_bytes: u64,
    /// The database file.
    pub database_bytes: u64,
    /// Its log.
    pub log_bytes: u64,
    /// Part of the database file that holds nothing.
    pub unused_bytes: u64,
    /// Rows that are in the archive and not deleted yet.
    pub to_trim: u64,
}

impl Default for StorageStatus {
    fn default() -> Self {
        Self {
            level: Level::Plenty,
            because: Why::Well,
            free_bytes: None,
            total_bytes: None,
            free_inodes: None,
            scarce_in_h: None,
            full_in_h: None,
            telemetry_refused: false,
            reserve: "absent".to_owned(),
            reserve_bytes: 0,
            database_bytes: 0,
            log_bytes: 0,
            unused_bytes: 0,
            to_trim: 0,
        }
    }
}

/// The link to customs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkStatus {
    /// `up`, `connecting`, `subscribing` or `down`.
    pub phase: String,
    /// Why it is down and what to look at.
    pub reason: Option<String>,
    /// Sent and not yet acknowledged.
    pub in_flight: u64,
    /// Acknowledged since this process began.
    pub acknowledged: u64,
    /// Connections since this process began.
    pub connections: u64,
}

/// The local broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Where monitors connect.
    pub listen: std::net::SocketAddr,
    /// Monitors connected.
    pub clients: u64,
    /// Monitors refused since this process began.
    pub refused: u64,
    /// Monitors sent away because they published or broke the protocol.
    pub expelled: u64,
    /// Monitors cut off for being too slow.
    pub cut_off: u64,
    /// Times its router had to be built anew.
    pub router_restarts: u64,
}

/// Where a status comes from: the views every part gives of itself.
#[derive(Debug)]
pub struct Board {
    source: Source,
    since: jiff::Timestamp,
    clock: Clock,
    books: Books,
    journal: watch::Receiver<JournalStanding>,
    ingest: watch::Receiver<IngestStanding>,
    space: Option<watch::Receiver<SpaceStanding>>,
    uplink: Option<watch::Receiver<LinkStanding>>,
    broker: Arc<OnceLock<Arc<Broker>>>,
    /// What did not add up when last looked at: said once.
    imbalance: Option<String>,
}

impl Board {
    /// A board on these views.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(source: Source, clock: Clock, journal: &Journal, ingest: watch::Receiver<IngestStanding>) -> Result<Self, JournalError> {
        let (books, since) = (Books::open(journal)?, clock.now().wall);
        let journal = journal.standing();
        Ok(Self { source, since, clock, books, journal, ingest, space: None, uplink: None, broker: Arc::default(), imbalance: None })
    }

    /// The same, with the watch on the disk.
    #[must_use]
    pub fn with_space(mut self, space: watch::Receiver<SpaceStanding>) -> Self {
        self.space = Some(space);
        self
    }

    /// The same, with the link to customs.
    #[must_use]
    pub fn with_uplink(mut self, uplink: Option<watch::Receiver<LinkStanding>>) -> Self {
        self.uplink = uplink;
        self
    }

    /// The same, with the local broker once it is bound.
    #[must_use]
    pub fn with_broker(mut self, broker: Arc<OnceLock<Arc<Broker>>>) -> Self {
        self.broker = broker;
        self
    }

    /// The status now. Reads a few rows, and waits some seconds for a disk that does not answer: not for the runtime's
    /// threads.
    ///
    /// # Errors
    /// When the journal could never be read.
    pub fn status(&mut self) -> Result<Status, JournalError> {
        let (figures, unread) = self.books.look();
        let now = self.clock.now();
        let accounts = figures.as_ref().map_or_else(Vec::new, |figures| class_accounts(&self.clock, figures, &now));
        let imbalance = self.audit(&accounts);
        let age_s = figures.as_ref().map_or(0, |figures| figures.read_at.elapsed().as_secs());
        let books = BooksStatus { age_s: if unread.is_some() { age_s } else { 0 }, unread, imbalance };
        let (ingest, journal) = (self.ingest.borrow().clone(), self.journal.borrow().clone());
        let space = self.space.as_ref().map(|space| space.borrow().clone());
        // Without a link nothing is meant to be delivered, and nothing is late.
        let alarm = accounts.iter().filter(|_| self.uplink.is_some()).find(|a| a.class == Class::Alarm);
        let refusing = space.as_ref().and_then(|space| space.refusing.clone());
        Ok(Status {
            v: FORM,
            site: self.source.site().to_owned(),
            gate: self.source.gate().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.since,
            time: now.wall,
            clock: now.clock,
            journal: self.books.journal().to_owned(),
            oldest_undelivered_alarm_s: alarm.and_then(|a| a.oldest_pending_s),
            oldest_undelivered_alarm_by: alarm.and_then(|a| a.oldest_pending_by),
            accounts,
            storage: storage_status(space.as_ref(), &journal, figures.as_deref()),
            journal_refuses: refuses(refusing.as_ref().map(|refusing| refusing.reason.clone()), &journal, &ingest, &books),
            books,
            journal_refuses_since: refusing.map(|refusing| refusing.since),
            no_receipts: journal.vouches_for_a_receipt().err().map(|why| why.to_string()),
            sheltered_reports: ingest.sheltered,
            unrecorded: ingest.unrecorded,
            uplink: self.uplink.as_ref().map(|view| link_status(&view.borrow())),
            broker: self.broker.get().map(|broker| broker_status(broker.local_addr(), &broker.standing().borrow())),
            readers: ingest.readers.into_values().collect(),
            seals: ingest.seals,
        })
    }

    /// When ingest last looked around.
    #[must_use]
    pub fn ingest_ticked(&self) -> tokio::time::Instant {
        self.ingest.borrow().ticked
    }

    /// Whether the accounts add up; said once when they do not any more, and once when they do again.
    fn audit(&mut self, accounts: &[ClassAccount]) -> Option<String> {
        let found = imbalance(accounts);
        match (&self.imbalance, &found) {
            (None, Some(what)) => tracing::error!(what, "the accounts do not add up: this is a defect, please report it with this line"),
            (Some(_), None) => tracing::info!("the accounts add up again"),
            _ => {}
        }
        self.imbalance.clone_from(&found);
        found
    }
}

/// What does not add up; none when everything does.
#[must_use]
pub fn imbalance(accounts: &[ClassAccount]) -> Option<String> {
    let faults = accounts.iter().flat_map(|a| {
        let outlet = (a.recorded, a.delivered.checked_add(a.pending).and_then(|sum| sum.checked_add(a.dropped)));
        let journal = (a.recorded, a.held.checked_add(a.archived).and_then(|sum| sum.checked_add(a.dropped_in_all)));
        let outlet = (Some(outlet.0) != outlet.1).then(|| {
            format!("{}: {} recorded, but {} delivered + {} pending + {} dropped", a.class, a.recorded, a.delivered, a.pending, a.dropped)
        });
        let journal = (Some(journal.0) != journal.1).then(|| {
            format!("{}: {} recorded, but {} held + {} archived + {} dropped", a.class, a.recorded, a.held, a.archived, a.dropped_in_all)
        });
        outlet.into_iter().chain(journal)
    });
    let faults: Vec<_> = faults.collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Both views of each class. They are read one after the other, so what was recorded between them is taken off again.
fn class_accounts(clock: &Clock, figures: &Figures, now: &Stamp) -> Vec<ClassAccount> {
    let one = |(account, oldest): &(Account, Option<Stamp>), totals: &Totals| {
        let age = oldest.as_ref().map(|oldest| clock.age(oldest, now));
        let later = totals.recorded.saturating_sub(account.recorded);
        ClassAccount {
            class: account.class,
            recorded: account.recorded,
            delivered: account.delivered,
            pending: account.pending,
            dropped: account.dropped,
            held: totals.held.saturating_sub(later),
            archived: totals.archived,
            dropped_in_all: totals.dropped,
            refused: totals.refused,
            bytes: account.bytes,
            oldest_pending_s: age.map(|age| i64::try_from(age.seconds).unwrap_or(i64::MAX)),
            oldest_pending_by: age.map(|age| age.basis),
        }
    };
    figures.accounts.iter().zip(&figures.totals).map(|(account, totals)| one(account, totals)).collect()
}

/// Why nothing is recorded, from whoever noticed; the most useful sentence first.
fn refuses(by_watch: Option<String>, journal: &JournalStanding, ingest: &IngestStanding, books: &BooksStatus) -> Option<String> {
    let by_journal = journal.refusing.as_ref().map(ToString::to_string);
    by_watch.or(by_journal).or_else(|| ingest.journal_refuses.clone()).or_else(|| books.unread.clone())
}

fn storage_status(space: Option<&SpaceStanding>, journal: &JournalStanding, figures: Option<&Figures>) -> StorageStatus {
    let disk = space.and_then(|space| space.disk);
    let hours = |time: std::time::Duration| time.as_secs() / 3_600;
    let (reserve, reserve_bytes) = match journal.reserve {
        Reserve::Absent => ("absent", 0),
        Reserve::Held { bytes } => ("held", bytes),
        Reserve::Spent { left } => ("spent", left),
    };
    StorageStatus {
        level: space.map_or(Level::Plenty, |space| space.level),
        because: space.map_or(Why::Well, |space| space.why),
        free_bytes: disk.map(|disk| disk.free_bytes),
        total_bytes: disk.map(|disk| disk.total_bytes),
        free_inodes: disk.and_then(|disk| disk.free_inodes),
        scarce_in_h: space.and_then(|space| space.scarce_in).map(hours),
        full_in_h: space.and_then(|space| space.full_in).map(hours),
        telemetry_refused: journal.room == Room::Scarce,
        reserve: reserve.to_owned(),
        reserve_bytes,
        database_bytes: figures.map_or(0, |figures| figures.sizes.database),
        log_bytes: figures.map_or(0, |figures| figures.sizes.log),
        unused_bytes: figures.map_or(0, |figures| figures.sizes.free),
        to_trim: journal.upkeep.to_trim,
    }
}

fn link_status(standing: &LinkStanding) -> LinkStatus {
    let (phase, reason) = match &standing.phase {
        Phase::Up => ("up", None),
        Phase::Connecting => ("connecting", None),
        Phase::Subscribing => ("subscribing", None),
        Phase::Down { reason, .. } => ("down", Some(reason.to_string())),
    };
    LinkStatus {
        phase: phase.to_owned(),
        reason,
        in_flight: standing.in_flight as u64,
        acknowledged: standing.acked,
        connections: standing.connections,
    }
}

fn broker_status(listen: std::net::SocketAddr, standing: &BrokerStanding) -> BrokerStatus {
    BrokerStatus {
        listen,
        clients: standing.clients as u64,
        refused: standing.refused,
        expelled: standing.expelled,
        cut_off: standing.cut_off,
        router_restarts: standing.router_restarts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ClassAccount {
        ClassAccount {
            class: Class::Telemetry,
            recorded: 10,
            delivered: 5,
            pending: 3,
            dropped: 2,
            held: 4,
            archived: 3,
            dropped_in_all: 3,
            refused: 7,
            bytes: 100,
            oldest_pending_s: None,
            oldest_pending_by: None,
        }
    }

    #[test]
    fn accounts_that_do_not_add_up_are_named_with_their_numbers() {
        assert_eq!(imbalance(&[good()]), None);
        let lost = imbalance(&[good(), ClassAccount { delivered: 4, class: Class::Alarm, ..good() }]).unwrap();
        assert_eq!(lost, "alarm: 10 recorded, but 4 delivered + 3 pending + 2 dropped");
        let archived = imbalance(&[ClassAccount { archived: 4, ..good() }]).unwrap();
        assert_eq!(archived, "telemetry: 10 recorded, but 4 held + 4 archived + 3 dropped");
        assert!(imbalance(&[ClassAccount { delivered: u64::MAX, ..good() }]).is_some(), "a sum beyond all numbers is none");
    }
}
