//! What the gate tells the monitors and its supervisor, without being asked.
//!
//! Every few seconds the status goes out: as the retained state of the gateway, as flat numbers, and as the line
//! that `systemctl status` shows. The supervisor's watchdog is fed only if ingest has looked around and the journal
//! has answered since the last time, so a gate that is stuck is restarted instead of looking alive.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sd_notify::NotifyState;
use segel_mqtt_bridge::{
    broker::{Broker, Keep},
    topic::{Class, Place},
};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    event::{self, Source},
    forward::{gateway_topic, place},
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
    pub fn new(board: Arc<Mutex<Board>>, broker: Arc<OnceLock<Arc<Broker>>>, source: &Source, boot: String) -> Self {
        Self { board, broker, place: place(source), boot }
    }

    /// Says how the gate is until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.on_tick().await,
                () = stop.cancelled() => break,
            }
        }
        if let Some(broker) = self.broker.get() {
            broker.publish(&gateway_topic(&self.place, Class::State), &gateway_state("disconnected", &self.boot), Keep::Retained);
        }
    }

    async fn on_tick(&self) {
        let board = Arc::clone(&self.board);
        let look = move || {
            let board = board.lock().unwrap_or_else(PoisonError::into_inner);
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
        if ingest_lives {
            states.push(NotifyState::Watchdog);
        } else {
            tracing::error!("ingest is stuck; the supervisor will restart the gate");
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

/// Tells the service supervisor, if there is one.
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(fault) = sd_notify::notify(states) {
        tracing::debug!(%fault, "the supervisor could not be told");
    }
}

/// The line a person reads in `systemctl status`.
fn one_line(status: &Status) -> String {
    let up = status.readers.iter().filter(|r| r.status == crate::ingest::ReaderStatus::Up).count();
    let pending: u64 = status.accounts.iter().map(|a| a.pending).sum();
    let uplink = status.uplink.as_ref().map_or("off", |link| link.phase.as_str());
    let alarm = status.oldest_undelivered_alarm_s.map_or_else(String::new, |age| format!(", oldest undelivered alarm {age} s"));
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
            uplink_up: u8::from(status.uplink.as_ref().is_some_and(|link| link.phase == "up")),
            seals_in_range: status.seals.in_range,
            readers_up: status.readers.iter().filter(|r| r.status == crate::ingest::ReaderStatus::Up).count(),
        }
    }
}
