//! An alarm every 20 ms, each timed, while something else is done to the journal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use segel::journal::{Entry, Journal};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::super::{
    events::Events,
    sample::{Samples, ms},
    table::Row,
};

/// Between two alarms.
const EVERY: Duration = Duration::from_millis(20);

/// The alarms, until they are stopped.
pub(super) struct Alarms {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Samples>>,
}

impl Alarms {
    /// Alarms come from now on. One that waits longer than the pause holds up the next, as one seal would; the pause
    /// begins when it is recorded.
    pub(super) fn start(journal: &Journal) -> Self {
        let (journal, stop) = (journal.clone(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut events, mut took) = (Events::new(), Samples::default());
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !told.load(Ordering::Relaxed) {
                tick.tick().await;
                let entry = Entry::new(events.alarm()?);
                let begin = Instant::now();
                journal.append(entry).await?;
                took.push(begin.elapsed());
            }
            Ok(took)
        });
        Self { stop, task }
    }

    /// How long each took.
    pub(super) async fn stop(self) -> anyhow::Result<Samples> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }

    /// How long alarms take for so long while nothing else is done.
    pub(super) async fn alone(journal: &Journal, during: Duration) -> anyhow::Result<Samples> {
        let alarms = Self::start(journal);
        tokio::time::sleep(during).await;
        alarms.stop().await
    }
}

/// Middle, p99 and longest beside the same on the idle journal.
pub(super) fn rows(what: &str, busy: &Samples, idle: &Samples, longest: Option<Duration>) -> Vec<Row> {
    let row = |name: &str, percent| {
        let (busy, idle) = (busy.percentile(percent), idle.percentile(percent));
        let row = Row::new(format!("an alarm {what}, {name}"), ms(busy));
        row.beside(format!("{} with nothing else to do", ms(idle)), busy.as_secs_f64() / idle.as_secs_f64())
    };
    let mut last = row(&format!("longest of {}", busy.count()), 100);
    if let Some(bound) = longest {
        last = last.aims(format!("never more than {} ms", bound.as_millis()), busy.longest() <= bound);
    }
    vec![row("p50", 50), row("p99", 99), last]
}
