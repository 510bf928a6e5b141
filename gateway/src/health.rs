//! What the gate tells the monitors and its supervisor, without being asked.
//!
//! Every few seconds the status goes out: as the retained state of the gateway, as flat numbers, and as the line
//! that `systemctl status` shows; at once when the disk or the journal fails or is back. The supervisor's watchdog is fed
//! only if ingest has looked around and the journal has answered since the last time, so a gate that is stuck is restarted
//! instead of looking alive. A disk that is known to have failed is no such reason: a new start would find the same disk,
//! and what waits in memory would be lost.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use bytes::Bytes;
use sd_notify::NotifyState;
use segel_mqtt_bridge::{
    broker::{Broker, Keep},
    topic::{Class, Place},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::AgeBasis,
    event::{self, Source},
    forward::{gateway_topic, place},
    space::{SpaceStanding, levels::Level},
    status::{Board, Status},
};

/// How often the gate says how it is; well under a third of the unit's watchdog time.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Ingest looks around every second; after this long without, it is stuck.
pub(crate) const INGEST_STUCK: Duration = Duration::from_secs(10);

/// The task that says how the gate is.
#[derive(Debug)]
pub struct Health {
    board: Arc<Mutex<Board>>,
    broker: Arc<OnceLock<Arc<Broker>>>,
    place: Place,
    boot: String,
    space: watch::Receiver<SpaceStanding>,
}

/// The retained state of the gateway.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GatewayState<'a> {
    v: u8,
    status: &'static str,
    boot: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a Status>,
}

/// The gateway as flat numbers.
#[derive(Serialize)]
struct GatewayNumbers {
    t: i64,
    oldest_undelivered_alarm_s: i64,
    alarm_pending: u64,
    receipt_pending: u64,
    telemetry_pending: u64,
    telemetry_dropped: u64,
    telemetry_refused: u64,
    oldest_undelivered_alarm_certain: u8,
    accounts_balance: u8,
    journal_writes: u8,
    journal_bytes: u64,
    receipts_vouched: u8,
    reserve_held: u8,
    storage_level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_free_inodes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_scarce_in_h: Option<u64>,
    sheltered_reports: usize,
    uplink_up: u8,
    seals_in_range: usize,
    readers_up: usize,
}

/// A gateway state that needs no status: `ready` for customs on connecting, `lost` for the broker to say when the
/// line breaks. It names the run it speaks of, so that a late will cannot declare a newer run dead.
#[must_use]
pub fn gateway_state(status: &'static str, boot: &str) -> Bytes {
    let state = GatewayState { v: 1, status, boot, summary: None };
    Bytes::from(serde_json::to_vec(&state).expect("a struct of texts and numbers always serialises"))
}

impl Health {
    /// A health task on this board.
    #[must_use]
    pub fn new(
        board: Arc<Mutex<Board>>,
        broker: Arc<OnceLock<Arc<Broker>>>,
        source: &Source,
        boot: String,
        space: watch::Receiver<SpaceStanding>,
    ) -> Self {
        Self { board, broker, place: place(source), boot, space }
    }

    /// Says how the gate is until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut space = self.space.clone();
        loop {
            let known = of_note(&space.borrow_and_update());
            tokio::select! {
                _ = tick.tick() => {}
                true = changed(&mut space, known) => {}
                () = stop.cancelled() => break,
            }
            self.on_tick().await;
        }
        if let Some(broker) = self.broker.get() {
            broker.publish(&gateway_topic(&self.place, Class::State), &gateway_state("disconnected", &self.boot), Keep::Retained);
        }
    }

    async fn on_tick(&self) {
        let board = Arc::clone(&self.board);
        let look = move || {
            let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
            (board.status(), board.ingest_ticked().elapsed() < INGEST_STUCK)
        };
        let Ok((status, ingest_lives)) = tokio::task::spawn_blocking(look).await else { return };
        match status {
            Ok(status) => {
                self.tell_monitors(&status);
                self.tell_supervisor(&status, ingest_lives);
            }
            Err(fault) => tracing::error!(%fault, "the gate cannot say how it is"),
        }
    }

    fn tell_monitors(&self, status: &Status) {
        let Some(broker) = self.broker.get() else { return };
        let state = GatewayState { v: 1, status: "ready", boot: &self.boot, summary: Some(status) };
        self.publish(broker, Class::State, &state, Keep::Retained);
        self.publish(broker, Class::Telemetry, &GatewayNumbers::of(status), Keep::Passing);
    }

    fn tell_supervisor(&self, status: &Status, ingest_lives: bool) {
        let line = one_line(status);
        let mut states = vec![NotifyState::Status(&line)];
        let disk_failed = status.storage.level == Level::Failed || status.journal_refuses_since.is_some();
        match (ingest_lives, status.books.unread.as_deref()) {
            (true, None) => states.push(NotifyState::Watchdog),
            (true, Some(_)) if disk_failed => states.push(NotifyState::Watchdog),
            (true, Some(why)) => tracing::error!(why, "the journal cannot be read; the supervisor will restart the gate"),
            (false, _) => tracing::error!("ingest is stuck; the supervisor will restart the gate"),
        }
        tell(&states);
    }

    fn publish(&self, broker: &Broker, class: Class, value: &impl Serialize, keep: Keep) {
        match serde_json::to_vec(value) {
            Ok(payload) => broker.publish(&gateway_topic(&self.place, class), &payload, keep),
            Err(fault) => tracing::error!(%fault, "the gateway's state could not be written down"),
        }
    }
}

/// What a change of which is said at once.
fn of_note(space: &SpaceStanding) -> (Level, bool) {
    (space.level, space.refusing.is_some())
}

/// Resolves when something of note is not as it was known; false when nobody watches the disk any more.
async fn changed(space: &mut watch::Receiver<SpaceStanding>, known: (Level, bool)) -> bool {
    space.wait_for(|standing| of_note(standing) != known).await.is_ok()
}

/// Messages that wait for a supervisor that does not read; a beat comes every five seconds, and old beats are worth nothing.
const UNTOLD_MAX: usize = 16;

/// Tells the service supervisor, if there is one. Never waits: a supervisor that does not read its socket would hold the
/// gate for as long, so a thread of its own does the telling, and what does not fit before it is left out.
pub fn tell(states: &[NotifyState<'_>]) {
    static TELLER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let Some(teller) = TELLER.get_or_init(teller) else { return };
    let message: Vec<String> = states.iter().map(ToString::to_string).collect();
    if let Err(TrySendError::Full(_)) = teller.try_send(message.join("\n")) {
        tracing::debug!("the supervisor does not listen");
    }
}

/// The thread that tells; none where there is no supervisor.
fn teller() -> Option<SyncSender<String>> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (messages, waiting) = sync_channel::<String>(UNTOLD_MAX);
    let telling = move || {
        while let Ok(message) = waiting.recv() {
            if let Err(fault) = sd_notify::notify(&[NotifyState::Custom(&message)]) {
                tracing::debug!(%fault, "the supervisor could not be told");
            }
        }
    };
    let thread = std::thread::Builder::new().name("supervisor".to_owned()).spawn(telling);
    thread.inspect_err(|fault| tracing::warn!(%fault, "no thread to tell the supervisor with; it hears nothing")).ok()?;
    Some(messages)
}

/// The line a person reads in `systemctl status`.
fn one_line(status: &Status) -> String {
    let up = status.readers.iter().filter(|r| r.status == crate::ingest::ReaderStatus::Up).count();
    let pending: u64 = status.accounts.iter().map(|a| a.pending).sum();
    let uplink = status.uplink.as_ref().map_or("off", |link| link.phase.as_str());
    let alarm = status.oldest_undelivered_alarm_s.map_or_else(String::new, |age| format!(", oldest undelivered alarm {age} s"));
    let alarm = match (&status.journal_refuses, status.storage.level) {
        (Some(reason), _) => format!("{alarm}, NOTHING IS RECORDED: {reason}"),
        (None, Level::Plenty) => alarm,
        (None, level) => format!("{alarm}, disk {level}"),
    };
    format!("{}: {up} readers up, {} seals in range, uplink {uplink}, {pending} queued{alarm}", status.gate, status.seals.in_range)
}

impl GatewayNumbers {
    fn of(status: &Status) -> Self {
        let account = |class| status.accounts.iter().find(|a| a.class == class);
        let pending = |class| account(class).map_or(0, |a| a.pending);
        Self {
            t: status.time.as_second(),
            oldest_undelivered_alarm_s: status.oldest_undelivered_alarm_s.unwrap_or(0),
            alarm_pending: pending(event::Class::Alarm),
            receipt_pending: pending(event::Class::Receipt),
            telemetry_pending: pending(event::Class::Telemetry),
            telemetry_dropped: account(event::Class::Telemetry).map_or(0, |a| a.dropped),
            telemetry_refused: account(event::Class::Telemetry).map_or(0, |a| a.refused),
            oldest_undelivered_alarm_certain: u8::from(status.oldest_undelivered_alarm_by.is_none_or(AgeBasis::is_certain)),
            accounts_balance: u8::from(status.books.imbalance.is_none()),
            journal_writes: u8::from(status.journal_refuses.is_none()),
            journal_bytes: status.storage.database_bytes + status.storage.log_bytes,
            receipts_vouched: u8::from(status.no_receipts.is_none()),
            reserve_held: u8::from(status.storage.reserve == "held"),
            storage_level: status.storage.level as u8,
            storage_free_bytes: status.storage.free_bytes,
            storage_free_inodes: status.storage.free_inodes,
            storage_scarce_in_h: status.storage.scarce_in_h,
            sheltered_reports: status.sheltered_reports,
            uplink_up: u8::from(status.uplink.as_ref().is_some_and(|link| link.phase == "up")),
            seals_in_range: status.seals.in_range,
            readers_up: status.readers.iter().filter(|r| r.status == crate::ingest::ReaderStatus::Up).count(),
        }
    }
}
