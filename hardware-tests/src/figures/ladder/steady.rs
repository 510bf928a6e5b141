//! An alarm every 20 ms, each timed, while something else is done to the journal; after each of them as many bytes go to
//! the end of a bare file beside it, so that what the disk does to everybody is told apart from what the journal does.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use segel::journal::{Entry, Journal};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval, sleep},
};

use super::super::{
    append::Bare,
    events::Events,
    sample::{Samples, ms},
    table::Row,
};

/// Between two alarms.
const EVERY: Duration = Duration::from_millis(20);

/// Bytes of an alarm's document, about.
const DOCUMENT: usize = 700;

/// How long alarms took, and the bare file in between.
#[derive(Default)]
pub(super) struct Steady {
    alarms: Samples,
    bare: Samples,
}

impl Steady {
    /// Both at once.
    pub(super) fn extend(&mut self, more: Self) {
        self.alarms.extend(more.alarms);
        self.bare.extend(more.bare);
    }
}

/// The alarms, until they are stopped.
pub(super) struct Alarms {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Steady>>,
}

impl Alarms {
    /// Alarms come from now on, and the bare file lies in `scratch`. One that waits longer than the pause holds up the
    /// next, as one seal would; the pause begins when it is recorded.
    pub(super) fn start(journal: &Journal, scratch: &Path) -> anyhow::Result<Self> {
        let (journal, stop) = (journal.clone(), Arc::new(AtomicBool::new(false)));
        let mut bare = Bare::new(&scratch.join("bare"))?;
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut events, mut took) = (Events::new(), Steady::default());
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !told.load(Ordering::Relaxed) {
                tick.tick().await;
                let entry = Entry::new(events.alarm()?);
                let begin = Instant::now();
                journal.append(entry).await?;
                took.alarms.push(begin.elapsed());
                let (file, appended) = spawn_blocking(move || {
                    let appended = bare.append(&[b'x'; DOCUMENT]);
                    (bare, appended)
                })
                .await?;
                bare = file;
                took.bare.push(appended?);
            }
            Ok(took)
        });
        Ok(Self { stop, task })
    }

    /// How long each took.
    pub(super) async fn stop(self) -> anyhow::Result<Steady> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }

    /// How long alarms take for so long while nothing else is done.
    pub(super) async fn alone(journal: &Journal, scratch: &Path, during: Duration) -> anyhow::Result<Steady> {
        let alarms = Self::start(journal, scratch)?;
        sleep(during).await;
        alarms.stop().await
    }
}

/// Middle, p99 and longest beside the same on the idle journal and beside the bare file meanwhile.
pub(super) fn rows(what: &str, busy: &Steady, idle: &Steady, longest: Option<Duration>) -> Vec<Row> {
    let row = |name: &str, percent| {
        let (ours, alone, bare) = (busy.alarms.percentile(percent), idle.alarms.percentile(percent), busy.bare.percentile(percent));
        let row = Row::new(format!("an alarm {what}, {name}"), ms(ours));
        let beside = format!("{} with nothing else to do; {} bare file + fdatasync meanwhile", ms(alone), ms(bare));
        row.beside(beside, ours.as_secs_f64() / alone.as_secs_f64())
    };
    let mut last = row(&format!("longest of {}", busy.alarms.count()), 100);
    if let Some(bound) = longest {
        let (over, bare) = (busy.alarms.over(bound), busy.bare.over(bound));
        last = last.noted(format!("({over} over {} ms, bare file {bare})", bound.as_millis()));
        last = last.aims(format!("never more than {} ms", bound.as_millis()), busy.alarms.longest() <= bound);
    }
    vec![row("p50", 50), row("p99", 99), last]
}
