//! What the gate says of itself: one structure for the command line, the monitors and the service supervisor.

use std::sync::{Arc, OnceLock};

use segel_mqtt_bridge::{
    broker::{Broker, BrokerStanding},
    uplink::{LinkStanding, Phase},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    event::{Class, ClockQuality, Source},
    forward::UPLINK,
    ingest::{IngestStanding, ReaderState, SealCounts},
    journal::{Account, Journal, JournalError, JournalReader},
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
    /// What was recorded and where it is, per class; recorded = delivered + pending + dropped.
    pub accounts: Vec<ClassAccount>,
    /// Set while the journal refuses to record: why.
    pub journal_refuses: Option<String>,
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
    /// Bytes on disk.
    pub bytes: u64,
    /// Age of the oldest waiting one, in seconds.
    pub oldest_pending_s: Option<i64>,
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
    journal: Journal,
    reader: JournalReader,
    ingest: watch::Receiver<IngestStanding>,
    uplink: Option<watch::Receiver<LinkStanding>>,
    broker: Arc<OnceLock<Arc<Broker>>>,
}

impl Board {
    /// A board on these views.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(source: Source, clock: Clock, journal: &Journal, ingest: watch::Receiver<IngestStanding>) -> Result<Self, JournalError> {
        let reader = journal.reader()?;
        let since = clock.now().wall;
        Ok(Self { source, since, clock, journal: journal.clone(), reader, ingest, uplink: None, broker: Arc::default() })
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

    /// The status now. Reads a few rows: not for the runtime's threads under load.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn status(&self) -> Result<Status, JournalError> {
        let now = self.clock.now();
        let accounts = self.reader.accounts(&UPLINK).inspect_err(|fault| self.journal.look_at(fault))?;
        let accounts: Vec<_> = accounts.iter().map(|account| class_account(account, now.wall)).collect();
        let ingest = self.ingest.borrow().clone();
        Ok(Status {
            v: FORM,
            site: self.source.site().to_owned(),
            gate: self.source.gate().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: self.since,
            time: now.wall,
            clock: now.clock,
            journal: self.reader.journal().to_string(),
            // Without a link nothing is meant to be delivered, and nothing is late.
            oldest_undelivered_alarm_s: accounts
                .iter()
                .filter(|_| self.uplink.is_some())
                .find(|a| a.class == Class::Alarm)
                .and_then(|a| a.oldest_pending_s),
            accounts,
            journal_refuses: ingest.journal_refuses,
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
}

fn class_account(account: &Account, now: jiff::Timestamp) -> ClassAccount {
    ClassAccount {
        class: account.class,
        recorded: account.recorded,
        delivered: account.delivered,
        pending: account.pending,
        dropped: account.dropped,
        bytes: account.bytes,
        oldest_pending_s: account.oldest_pending_wall.map(|wall| (now.as_second() - wall.as_second()).max(0)),
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
