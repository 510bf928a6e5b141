//! The task that runs the link: one `select!`, one line at a time.
//!
//! ```text
//!   Waiting ─► Connecting ─► Subscribing ─► Up ─► Draining ─► Parting ─► Over      (stopped in order)
//!      ▲           │              │          │ └─► Renewing ─┐                     (to have commands again)
//!      └───────────┴── lose() ────┴──────────┴───────────────┘   everything in the window goes back to the outbox
//! ```
//!
//! The only awaits outside the `select!` are short ones on the outbox, each with a deadline: nothing here can keep
//! the poller from its pings for long. What comes from the line is looked at first, deadlines next, the outbox last.

mod ending;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rand::rngs::StdRng;
use rumqttc::{AsyncClient, QoS, SubscribeFilter, SubscribeReasonCode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::ending::PARTING;
use super::commands::{Commands, Ended};
use super::config::{UplinkConfig, UplinkConfigFault};
use super::fault::LineFault;
use super::line::{Line, LineEvent, Session};
use super::post::{Inbox, Outbox};
use super::standing::{Board, LinkStanding};
use crate::backoff::Backoff;
use crate::window::Window;

/// Events of the line looked at before the outbox is asked again.
const EVENT_BATCH: usize = 128;
/// The library notices a silent line within two keep-alives and one flush; our own deadline comes this much later.
const SILENCE_GRACE: Duration = Duration::from_secs(1);

/// What a packet in the window is.
#[derive(Debug)]
enum Sent<T> {
    Parcel(T),
    Birth,
    Farewell,
}

/// Where the link is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting {
        until: Instant,
    },
    Connecting {
        until: Instant,
    },
    Subscribing {
        until: Instant,
    },
    Up {
        since: Instant,
    },
    /// DISCONNECT is on its way behind the last PUBACK; a new line follows.
    Renewing {
        until: Instant,
        why: Renewal,
    },
    Draining {
        until: Instant,
    },
    Parting {
        until: Instant,
    },
    Over,
}

/// Why a line is given up on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    /// So many commands come again only on a new line.
    Commands(usize),
    /// This one was only made to wipe the session.
    Wiped,
}

/// The link to customs: see the module `uplink`.
pub struct Uplink<O: Outbox, I: Inbox> {
    config: Arc<UplinkConfig>,
    outbox: O,
    /// May the outbox have a parcel for us?
    hungry: bool,
    /// Was the outbox asked since it was last told to rewind?
    handed_out: bool,
    window: Window<Sent<O::Ticket>>,
    commands: Commands<I>,
    backoff: Backoff,
    random: StdRng,
    board: Board,
    stage: Stage,
    line: Option<Line>,
    /// What the next line does with the session.
    session: Session,
    client: Option<AsyncClient>,
    last_heard: Instant,
}

impl<O: Outbox, I: Inbox> Uplink<O, I> {
    /// A link that has not begun; the receiver tells where it stands from now on.
    ///
    /// # Errors
    /// Every [`UplinkConfigFault`] of the configuration.
    pub fn new(config: UplinkConfig, outbox: O, inbox: I) -> Result<(Self, watch::Receiver<LinkStanding>), Vec<UplinkConfigFault>> {
        let faults = config.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let now = Instant::now();
        let (board, watcher) = Board::new(now.into_std());
        let uplink = Self {
            outbox,
            hungry: true,
            handed_out: false,
            window: Window::new(usize::from(config.window)),
            commands: Commands::new(inbox, config.commands_in_progress, config.max_payload_in),
            backoff: Backoff::new(config.backoff.clone(), config.stable_after),
            random: rand::make_rng(),
            board,
            stage: Stage::Waiting { until: now },
            line: None,
            session: Session::Resume,
            client: None,
            last_heard: now,
            config: Arc::new(config),
        };
        Ok((uplink, watcher))
    }

    /// Keep the link alive until `stop` is cancelled; then wait a bounded time for what is under way, say farewell and
    /// DISCONNECT. Never fails: whatever happens is in the standing, and is tried again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = Vec::with_capacity(EVENT_BATCH);
        while self.stage != Stage::Over {
            self.fill().await;
            self.show();
            let (fetching, deadline) = (self.may_send() && !self.hungry, self.deadline());
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.stopping() => self.on_stop(),
                count = next_events(&mut self.line, &mut events) => self.on_events(count, &mut events),
                ended = self.commands.ended() => self.on_command_ended(&ended),
                () = sleep_until(deadline) => self.on_deadline(),
                () = self.outbox.changed(), if fetching => self.hungry = true,
                () = std::future::ready(()), if self.may_send() && self.hungry => {}
            }
        }
        self.board.down(LineFault::Stopped, std::time::Instant::now(), None);
    }

    fn stopping(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. } | Stage::Parting { .. } | Stage::Over)
    }

    fn may_send(&self) -> bool {
        matches!(self.stage, Stage::Up { .. }) && self.window.has_room()
    }

    fn deadline(&self) -> Instant {
        let silence = self.last_heard + self.config.keep_alive * 2 + self.config.connect_timeout + SILENCE_GRACE;
        let stalled = self.window.waiting_since().map_or(silence, |since| since + self.config.ack_timeout);
        match self.stage {
            Stage::Waiting { until } | Stage::Connecting { until } | Stage::Subscribing { until } => until,
            Stage::Up { .. } => silence.min(stalled),
            Stage::Renewing { until, .. } | Stage::Draining { until } | Stage::Parting { until } => until,
            Stage::Over => Instant::now(),
        }
    }

    /// Bring the counters that change with every message up to date.
    fn show(&self) {
        let (in_flight, commands) = (self.window.in_flight(), self.commands.in_progress());
        self.board.count(|standing| {
            standing.in_flight = in_flight;
            standing.commands_in_progress = commands;
        });
    }

    fn on_stop(&mut self) {
        match self.stage {
            Stage::Up { .. } => {
                self.stage = Stage::Draining { until: Instant::now() + self.config.drain };
                self.part_when_drained();
            }
            _ => self.end(),
        }
    }

    fn on_deadline(&mut self) {
        match self.stage {
            Stage::Waiting { .. } => self.connect(),
            // The library has the same deadline in whole seconds; this one catches a poller that hangs.
            Stage::Connecting { .. } => self.lose(LineFault::ConnectTimeout {
                host: self.config.host.clone(),
                port: self.config.port,
                within: self.config.connect_timeout,
            }),
            Stage::Subscribing { .. } => self.lose(LineFault::NoSuback { within: self.config.connect_timeout }),
            Stage::Up { .. } => {
                let silent = self.last_heard.elapsed();
                match self.window.waiting_since().map(|since| since.elapsed()) {
                    Some(waited) if waited >= self.config.ack_timeout => self.lose(LineFault::Unacknowledged { waited }),
                    _ => self.lose(LineFault::Silent { silent }),
                }
            }
            Stage::Renewing { why, .. } => self.renew(why),
            Stage::Draining { .. } => self.part(),
            Stage::Parting { .. } => self.end(),
            Stage::Over => {}
        }
    }

    fn connect(&mut self) {
        self.board.connecting();
        // One second more than the library takes, which counts whole seconds and knows the better reason.
        self.stage = Stage::Connecting { until: Instant::now() + self.config.connect_timeout + Duration::from_secs(1) };
        self.line = Some(Line::open(Arc::clone(&self.config), self.session));
    }

    fn on_events(&mut self, count: usize, events: &mut Vec<LineEvent>) {
        if count == 0 {
            self.lose(LineFault::Internal("the MQTT library ended without a word".into()));
        }
        for event in events.drain(..) {
            // What a lost line still has to say must not touch the next one.
            if self.line.is_some() {
                self.on_event(event);
            }
        }
        // A broker that talks without end must not keep a deadline from passing.
        if self.deadline() <= Instant::now() {
            self.on_deadline();
        }
    }

    fn on_event(&mut self, event: LineEvent) {
        if !matches!(event, LineEvent::Sent(_) | LineEvent::Lost(_)) {
            self.last_heard = Instant::now();
        }
        match event {
            LineEvent::Connected { client, session_present } => self.on_connected(client, session_present),
            LineEvent::Granted(codes) => self.on_granted(&codes),
            LineEvent::Sent(id) => {
                if let Err(fault) = self.window.named(id) {
                    self.lose(LineFault::Internal(fault.to_string()));
                }
            }
            LineEvent::Acked(id) => self.on_acked(id),
            LineEvent::Command(publish) if !self.stopping() => self.commands.take(publish),
            LineEvent::Command(_) | LineEvent::Heard => {}
            LineEvent::Lost(fault) => match self.stage {
                Stage::Renewing { why, .. } => self.renew(why),
                _ => self.lose(fault),
            },
        }
        self.renew_for_commands();
    }

    fn on_connected(&mut self, client: AsyncClient, session_present: bool) {
        tracing::debug!(session_present, "CONNECT accepted");
        self.board.count(|standing| standing.connections += 1);
        if std::mem::replace(&mut self.session, Session::Resume) == Session::Wipe {
            self.client = Some(client);
            self.stage = Stage::Renewing { until: Instant::now() + PARTING, why: Renewal::Wiped };
            return self.disconnect();
        }
        let filters = self.config.command_filters.iter().map(|path| SubscribeFilter { path: path.clone(), qos: QoS::AtLeastOnce });
        let filters: Vec<_> = filters.collect();
        let subscribed = if filters.is_empty() { None } else { Some(client.try_subscribe_many(filters)) };
        self.client = Some(client);
        match subscribed {
            None => self.up(),
            Some(Ok(())) => {
                self.board.subscribing();
                self.stage = Stage::Subscribing { until: Instant::now() + self.config.connect_timeout };
            }
            Some(Err(error)) => self.lose(LineFault::Internal(format!("SUBSCRIBE: {error}"))),
        }
    }

    fn on_granted(&mut self, codes: &[SubscribeReasonCode]) {
        if !matches!(self.stage, Stage::Subscribing { .. }) {
            return;
        }
        for (index, filter) in self.config.command_filters.iter().enumerate() {
            let filter = filter.clone();
            match codes.get(index) {
                Some(SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)) => {}
                Some(SubscribeReasonCode::Failure) => return self.lose(LineFault::SubscriptionRefused { filter }),
                Some(SubscribeReasonCode::Success(QoS::AtMostOnce)) | None => return self.lose(LineFault::SubscriptionWeak { filter }),
            }
        }
        self.up();
    }

    fn up(&mut self) {
        let now = Instant::now();
        self.board.up(now.into_std());
        self.stage = Stage::Up { since: now };
        self.hungry = true;
        if let Some(birth) = self.config.birth.clone() {
            self.announce(birth, Sent::Birth);
        }
    }

    fn on_command_ended(&mut self, ended: &Ended) {
        if let (Ended::Kept(head), Some(client)) = (ended, &self.client) {
            let asked = client.ack(head).now_or_never();
            self.asked(asked.is_some());
            self.board.count(|standing| standing.commands_kept += 1);
        }
        self.renew_for_commands();
        self.part_when_drained();
    }

    /// Commands that were left out come again only on a new line.
    fn renew_for_commands(&mut self) {
        if let (Stage::Up { .. }, Some(commands)) = (self.stage, self.commands.wants_new_line()) {
            // Not just dropped: the last acknowledgements are still on their way, and without them nothing would be gained.
            self.stage = Stage::Renewing { until: Instant::now() + PARTING, why: Renewal::Commands(commands) };
            self.disconnect();
        }
    }
}

/// The next events of the line; pending for ever while there is none.
async fn next_events(line: &mut Option<Line>, into: &mut Vec<LineEvent>) -> usize {
    match line {
        Some(line) => line.events(into, EVENT_BATCH).await,
        None => std::future::pending().await,
    }
}
