//! Builds every part of the gate, connects them, runs them, drains them in order.
//!
//! ```text
//!   radios ──► Ingest ──► Journal ──► Upstream ──► Uplink ══► customs
//!                 ▲          │  ▲                    │
//!               Clock        │  └── Commands ◄───────┘
//!                            └────► Local ──► Broker ──► monitors
//!   Board (views of all) ──► Api (segel status), Health (state topics, supervisor)
//!   Api ──► Sessions ──► Desks ◄── radios          (what somebody asks of a seal, and what becomes of it)
//! ```
//!
//! What must hold: the start fails only for a bad configuration or a journal that cannot be written; nothing waits
//! for a peer; and on the way down the radios go first, the journal last, so that what was heard is kept and, as far
//! as the line allows in a few seconds, sent.

mod carry;
pub(crate) mod keeper;
mod made;
mod monitors;
mod proof;
mod radios;
mod upstream;

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use segel_drivers::Heard;
use segel_mqtt_bridge::uplink::LinkStanding;
use serde::Serialize;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::made::Made;
use crate::{
    api::{Api, ApiError},
    clock::{self, Clock},
    config::Config,
    event::{Assurance, Class, ClockQuality, Draft, EventType, Source, Subject, document::Head},
    forward::upstream::Arrived,
    health::{self, Health},
    journal::{Beginning, Entry, Filter, Flaw, Journal, JournalConfig, JournalError, JournalReader, Opening, Record},
};

/// Reports between the radios and ingest; a portal reader sends a few hundred a second.
pub(crate) const REPORTS_MAX: usize = 1_024;
/// Events per class looked at for the newest time that was any good.
const LAST_LOOKED_AT: usize = 32;
/// How long one part may take to end before the gate ends without it. Together they stay below the unit's TimeoutStopSec of 45 s.
pub(crate) const PART_DEADLINE: Duration = Duration::from_secs(5);
/// How long a stop waits for the line to take what is on disk: enough for a few thousand events on a good line.
pub(crate) const LAST_POST: Duration = Duration::from_secs(3);

/// How carrying over and proving are bounded, for the table of limits.
pub(crate) mod bounds {
    pub(crate) use super::{
        carry::PIECE as CARRIED_TOGETHER,
        proof::{PIECE as PROVED_TOGETHER, STRUCTURE_WITHIN, TOLD_MAX as FINDINGS_TOLD},
    };
}

/// Why the gate did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The configuration names something that cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The local API's socket cannot be made.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// The particulars of a start.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started<'a> {
    version: &'static str,
    journal: String,
    beginning: &'static str,
    alarm_head: u64,
    receipt_head: u64,
    telemetry_head: u64,
    readers: Vec<&'a str>,
    registered_seals: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    office_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tps_code: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stopped {
    reason: &'static str,
}

/// Runs the gate until told to stop, then drains it.
///
/// # Errors
/// [`GateError`] when it cannot start: the configuration names something unusable, the journal or the runtime
/// directory cannot be written. A peer that is missing, a reader that is unplugged or a port in use is no such reason.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), GateError> {
    let source = Source::new(config.gate.site.as_str(), config.gate.id.as_str()).map_err(|e| GateError::Configuration(e.to_string()))?;
    let (journal, opening) = Journal::open(&config.gate.state_dir, journal_config(&config), source.clone())?;
    let made = match made::make(&config, &source, &journal).await {
        Ok(made) => made,
        Err(fault) => {
            // What is recorded stays; why the gate did not start says more than how it ends.
            drop(journal.close().await);
            return Err(fault);
        }
    };
    let Made { clock, reports, ingest, board, space, space_view, noticing, run_id, link, broker, housekeeping, keeper, desks, sessions } =
        made;
    let seals = (Arc::clone(&sessions), journal.reader()?);
    let api = Api::bind(&config.gate.runtime_dir, Arc::clone(&board), housekeeping, seals)?;
    let stop_radios = CancellationToken::new();
    let stop_rest = CancellationToken::new();
    let stop_health = CancellationToken::new();

    record_start(&journal, &clock, &config, &opening).await;
    if let Err(fault) = sessions.settle().await {
        tracing::error!(%fault, "what became of an action is not on record; the next start tries again");
    }
    let mut parts = JoinSet::new();
    let mut ingest = tokio::spawn(ingest.run());
    let radios = radios::start(&config, &desks, &reports, &stop_radios);
    let uplink = match link {
        Some(link) => Some((upstream::start(link.uplink.run(stop_rest.clone()))?, link.standing, link.arrived)),
        None => None,
    };
    let monitors = monitors::start(&config, &source, &journal, &broker, &stop_rest).await?;
    parts.spawn(api.run(stop_rest.clone()));
    parts.spawn(keeper.run(stop_rest.clone()));
    let health = tokio::spawn(Health::new(board, Arc::clone(&broker), &source, run_id, space_view).run(stop_health.clone()));
    parts.spawn(space.run(stop_rest.clone()));
    parts.spawn(noticing);
    parts.spawn(carry::Carry::new(journal.clone(), clock.clone(), carry::counting(&config), sessions.settler()).run(stop_rest.clone()));
    parts.spawn(
        proof::Proof::new(journal.clone(), clock.clone(), carry::counting(&config), config.journal.proof_every).run(stop_rest.clone()),
    );
    parts.spawn(watch_synchronisation(clock.clone(), stop_rest.clone()));
    health::tell(&[NotifyState::Ready]);
    tracing::info!(journal = %opening.journal, readers = config.readers.len(), seals = config.seals.len(), "the gate is open");

    // Ingest ends by itself only when nothing can be recorded any more.
    let mut ended_early = None;
    let found = tokio::select! {
        () = stop.cancelled() => None,
        outcome = &mut ingest => {
            ended_early = Some(outcome.map_or(Some(JournalError::Closed), Result::err));
            None
        }
        () = writer_gone(&journal) => Some(JournalError::Closed),
        flaw = journal.condemned() => Some(on_damage(&journal, &clock, &flaw).await),
    };

    health::tell(&[NotifyState::Stopping]);
    tracing::info!("the gate is closing");
    // Orders first: what can be called off is, and the radios still serve what cannot.
    if timeout(PART_DEADLINE, sessions.close()).await.is_err() {
        tracing::warn!("an action at a seal did not end in time; the next start says that its outcome is not known");
    }
    stop_radios.cancel();
    ended("the radios", radios).await;
    // Ingest ends when nobody can report any more.
    drop(reports);
    let fault = match ended_early {
        Some(fault) => fault,
        None => ended("ingest", ingest).await.and_then(Result::err),
    };
    let fault = found.or(fault);
    if let Some(fault) = &fault {
        nothing_can_be_recorded(&journal, fault);
    }
    let reason = if fault.is_none() { "told to stop" } else { "the journal failed" };
    record_own(&journal, &clock, EventType::GatewayStopped, &Stopped { reason }).await;
    if let Some((_, standing, arrived)) = &uplink {
        last_post(&journal, standing, arrived.clone()).await;
    }
    // Its last word goes to the monitors, so their broker must outlive it.
    stop_health.cancel();
    ended("health", health).await;
    stop_rest.cancel();
    if let Some((uplink, ..)) = uplink {
        ended("the link to customs", uplink).await;
    }
    if let Some(monitors) = monitors {
        ended("the monitors' broker", monitors).await;
    }
    if timeout(PART_DEADLINE, parts.join_all()).await.is_err() {
        tracing::warn!("the local API, the archive or the watch on the disk did not end in time");
    }
    journal.close().await?;
    tracing::info!("the gate is closed");
    fault.map_or(Ok(()), |fault| Err(GateError::Journal(fault)))
}

/// Waits for a part to end; one that does not is left behind, and that is said.
async fn ended<T>(what: &str, part: JoinHandle<T>) -> Option<T> {
    match timeout(PART_DEADLINE, part).await {
        Ok(Ok(outcome)) => return Some(outcome),
        Ok(Err(fault)) => tracing::error!(%fault, "{what} ended badly; please report this"),
        Err(_) => tracing::warn!("{what} did not end in time"),
    }
    None
}

/// Resolves when the journal's writer is gone, which before a stop means that it died.
async fn writer_gone(journal: &Journal) {
    let mut heads = journal.heads();
    while heads.changed().await.is_ok() {}
}

/// Somebody found the journal damaged: it is said in it, as far as it still takes anything, and is the fault the gate ends with.
async fn on_damage(journal: &Journal, clock: &Clock, flaw: &Flaw) -> JournalError {
    tracing::error!(%flaw, "the journal is damaged");
    let alarm = proof::alarm(clock, flaw, proof::Delivered::No, None);
    if let Err(fault) = journal.append(Entry::new(alarm)).await {
        tracing::error!(%fault, "the damage could not be recorded; the next start says it");
    }
    flaw.as_error()
}

/// The gate ends: a restart sets a damaged journal aside and begins a new one.
fn nothing_can_be_recorded(journal: &Journal, fault: &JournalError) {
    tracing::error!(%fault, "nothing can be recorded any more; the gate ends");
    if fault.is_damage()
        && let Err(fault) = journal.condemn()
    {
        tracing::error!(%fault, "the journal could not be marked as damaged");
    }
}

/// While the line is up, gives it a moment to take what is on disk, the notice of this very stop included.
async fn last_post(journal: &Journal, standing: &watch::Receiver<LinkStanding>, mut arrived: watch::Receiver<Arrived>) {
    let heads = *journal.heads().borrow();
    if standing.borrow().phase.is_up() {
        // What does not make it stays in the journal and goes up after the next start.
        drop(timeout(LAST_POST, arrived.wait_for(|arrived| arrived.reaches(&heads))).await);
    }
}

pub(crate) fn journal_config(config: &Config) -> JournalConfig {
    JournalConfig {
        group_wait: config.journal.group_wait,
        group_events: config.journal.group_events as usize,
        telemetry_quota_bytes: config.journal.telemetry_quota_bytes,
        alarm_quota_bytes: config.journal.alarm_quota_bytes,
        receipt_quota_bytes: config.journal.receipt_quota_bytes,
        reserve_bytes: config.journal.reserve_bytes,
    }
}

/// The newest wall time on record that was any good: the clock may not be trusted below it.
pub(crate) fn newest_wall(reader: &JournalReader) -> Result<Option<jiff::Timestamp>, JournalError> {
    let mut newest = None;
    for class in Class::ALL {
        let last = reader.tail(&Filter { class: Some(*class), ..Filter::default() }, LAST_LOOKED_AT)?;
        let good = |record: &&Record| Head::parse(&record.doc).is_ok_and(|head| head.clock != ClockQuality::Untrusted);
        newest = newest.max(last.iter().filter(good).map(|record| record.wall).max());
    }
    Ok(newest)
}

async fn record_start(journal: &Journal, clock: &Clock, config: &Config, opening: &Opening) {
    if let Err(fault) = carry::announce(journal, clock).await {
        tracing::error!(%fault, "that a journal is set aside could not be recorded yet; it is tried again");
    }
    let beginning = match &opening.beginning {
        Beginning::Resumed => "resumed",
        Beginning::Fresh => "fresh",
        Beginning::SetAside { .. } => "set_aside",
    };
    let body = Started {
        version: env!("CARGO_PKG_VERSION"),
        journal: opening.journal.to_string(),
        beginning,
        alarm_head: opening.heads.of(Class::Alarm).0,
        receipt_head: opening.heads.of(Class::Receipt).0,
        telemetry_head: opening.heads.of(Class::Telemetry).0,
        readers: config.readers.keys().map(segel_drivers::ReaderId::as_str).collect(),
        registered_seals: config.seals.len(),
        office_code: config.gate.office_code.as_ref().map(crate::config::OfficeCode::as_str),
        tps_code: config.gate.tps_code.as_ref().map(crate::config::TpsCode::as_str),
    };
    record_own(journal, clock, EventType::GatewayStarted, &body).await;
}

/// What the gate itself does belongs to the record and is never dropped: class receipt.
async fn record_own(journal: &Journal, clock: &Clock, kind: EventType, body: &impl Serialize) {
    record(journal, clock, Class::Receipt, kind, body).await;
}

async fn record(journal: &Journal, clock: &Clock, class: Class, kind: EventType, body: &impl Serialize) {
    let recorded = match Draft::new(class, kind, Subject::gateway(), clock.now(), Assurance::Own, body) {
        Ok(draft) => journal.append(Entry::new(draft)).await.map_err(|fault| fault.to_string()),
        Err(fault) => Err(fault.to_string()),
    };
    if let Err(fault) = recorded {
        tracing::error!(kind = kind.as_str(), fault, "this could not be recorded");
    }
}

/// Asks now and then whether the clock is being steered.
async fn watch_synchronisation(clock: Clock, stop: CancellationToken) {
    let mut tick = tokio::time::interval(clock::SYNC_PROBE_INTERVAL);
    let mut last = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Ok(true) = tokio::task::spawn_blocking(clock::probe_synchronised).await {
            clock.seen_synchronised(Heard::now());
        }
        let quality = clock.quality_now();
        if last.replace(quality) != Some(quality) {
            tracing::info!(clock = quality.as_str(), "the clock's quality");
        }
    }
}
