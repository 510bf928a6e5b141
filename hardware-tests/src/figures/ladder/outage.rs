//! Two weeks without customs: the real gate is started on a journal in which nothing was delivered, records an alarm
//! while the line is down, and gets it to customs when the line is back. Beside it the same gate with ten events.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use segel::{
    event::Class,
    journal::{JournalReader, Record},
};
use segel_drivers::LockClaim;
use segel_hardware_tests::{
    mosquitto::Mosquitto,
    rig::{pending, recorded},
};
use tokio::time::sleep;

use super::{
    super::{
        drain::{self, forget_cursors},
        memory::{Resident, mb},
        sample::{Samples, ms, per_second, thousands},
        subscriber::Subscriber,
        table::Row,
    },
    gate::Gate,
    ground::Ground,
};

/// Starts of each, in turns.
const ROUNDS: usize = 5;
/// How often the gate is asked how it is, at rest.
const ASKED: usize = 100;
/// Between two questions while the backlog leaves.
const ASK: Duration = Duration::from_millis(50);
/// A gate at rest is left alone for so long before its memory is looked at.
const REST: Duration = Duration::from_secs(2);
/// A gate records what its seal says within this.
const RECORDED: Duration = Duration::from_secs(60);
/// Longest a start may take before it accepts an alarm.
const START: Duration = Duration::from_secs(1);
/// What the seal says while it is shut, and when somebody forces it.
const SHUT: (LockClaim, bool) = (LockClaim::Locked, false);
const FORCED: (LockClaim, bool) = (LockClaim::Unlocked, true);

/// What one gate showed.
#[derive(Default)]
struct Seen {
    ready: Samples,
    answered: Samples,
    alarm: Samples,
    asked: Samples,
    at_rest: u64,
    pending: u64,
    alarms_before: u64,
    overtook: Duration,
    asked_meanwhile: Samples,
    rate: Option<f64>,
    highest: u64,
}

/// The rows of this part.
pub(super) async fn run(ground: &mut Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let journals = [ground.journal("outage")?, ground.few("outage")?];
    let mut seen = [Seen::default(), Seen::default()];
    for journal in &journals {
        forget_cursors(journal)?;
    }
    for _ in 0..ROUNDS {
        for (journal, seen) in journals.iter().zip(&mut seen) {
            started(ground, journal, seen).await?;
        }
    }
    for (journal, seen) in journals.iter().zip(&mut seen) {
        line_is_back(ground, journal, seen).await?;
    }
    Ok(rows(&seen[0], &seen[1]))
}

/// One start without a line: ready, first answer, first alarm on disk.
async fn started(ground: &mut Ground<'_>, journal: &Path, seen: &mut Seen) -> anyhow::Result<()> {
    ground.point_the_gate_at(journal)?;
    let reader = JournalReader::open(journal)?;
    let gate = Gate::spawn(&ground.plan.program, &ground.rig)?;
    let alarm = gate.seal_says(&mut ground.rig, &reader, FORCED, Class::Alarm, "FORCED_OPEN", RECORDED);
    let (ready, answered, alarm) = tokio::join!(gate.told_ready(), gate.answered(), alarm);
    seen.ready.push(ready?);
    seen.answered.push(answered?);
    seen.alarm.push(alarm?.1);
    gate.seal_says(&mut ground.rig, &reader, SHUT, Class::Receipt, "SEALED", RECORDED).await?;
    gate.stop().await
}

/// A gate at rest without a line; then the line is back.
async fn line_is_back(ground: &mut Ground<'_>, journal: &Path, seen: &mut Seen) -> anyhow::Result<()> {
    ground.point_the_gate_at(journal)?;
    let reader = JournalReader::open(journal)?;
    let gate = Gate::spawn(&ground.plan.program, &ground.rig)?;
    gate.told_ready().await?;
    gate.answered().await?;
    sleep(REST).await;
    seen.at_rest = Resident::of(gate.pid()?)?.all;
    for _ in 0..ASKED {
        seen.asked.push(asked(&gate).await?);
    }
    let (alarm, _) = gate.seal_says(&mut ground.rig, &reader, FORCED, Class::Alarm, "FORCED_OPEN", RECORDED).await?;
    drop(reader);
    let status = gate.status().await?;
    (seen.pending, seen.alarms_before) = (pending(&status), recorded(&status, Class::Alarm));

    let scratch = ground.scratch("outage")?;
    let customs = Mosquitto::start_on(&scratch, ground.port)?;
    let many = usize::try_from(seen.pending)?;
    let drained = async {
        let rate = drain::drained(&ground.rig, many).await;
        (Instant::now(), rate)
    };
    let asking = async {
        let (mut took, mut busy) = (Samples::default(), true);
        while busy {
            sleep(ASK).await;
            took.push(asked(&gate).await?);
            busy = pending(&gate.status().await?) > 0;
        }
        Ok::<_, anyhow::Error>(took)
    };
    let (overtook, (_, rate), asked) = tokio::join!(arrives(&customs, &alarm), drained, asking);
    (seen.overtook, seen.rate, seen.asked_meanwhile) = (overtook?, rate?, asked?);
    seen.highest = Resident::of(gate.pid()?)?.high_water;
    gate.seal_says(&mut ground.rig, &JournalReader::open(journal)?, SHUT, Class::Receipt, "SEALED", RECORDED).await?;
    gate.stop().await
}

async fn asked(gate: &Gate) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    gate.status().await?;
    Ok(begin.elapsed())
}

/// How long after the gate's first word customs has this alarm.
async fn arrives(customs: &Mosquitto, alarm: &Record) -> anyhow::Result<Duration> {
    let mut alarms = Subscriber::connect(customs.address(), "figures-alarms", "segel/1/idsrg/g01/ev/forced-open").await?;
    let mut words = Subscriber::connect(customs.address(), "figures-words", "segel/1/idsrg/g01/state/gateway").await?;
    let first_word = words.next("ready").await.context("the gate did not come back")?;
    Ok(alarms.next(&alarm.id.to_string()).await.context("the alarm did not arrive")?.saturating_duration_since(first_word))
}

fn rows(full: &Seen, few: &Seen) -> Vec<Row> {
    let beside = |what: &str, full: Duration, few: Duration| {
        let row = Row::new(what, ms(full));
        row.beside(format!("{} with ten events", ms(few)), full.as_secs_f64() / few.as_secs_f64())
    };
    let resident = |what: &str, full: u64, few: u64| {
        let row = Row::new(what, format!("{:.1} MB", mb(full)));
        row.beside(format!("{:.1} MB with ten events", mb(few)), full as f64 / few as f64)
    };
    let alarm = beside("from the start of the gate to its first alarm on disk", full.alarm.median(), few.alarm.median());
    let waiting = format!("{} events, {} of them alarms", thousands(full.pending as f64), thousands(full.alarms_before as f64));
    vec![
        beside("from the start of the gate to READY, nothing delivered", full.ready.median(), few.ready.median()),
        beside("from the start of the gate to its first status", full.answered.median(), few.answered.median()),
        alarm.aims(format!("under {} s", START.as_secs()), full.alarm.median() < START),
        beside("status at rest, p50", full.asked.median(), few.asked.median()),
        beside("status at rest, longest", full.asked.longest(), few.asked.longest()),
        resident("resident memory at rest, no line", full.at_rest, few.at_rest),
        beside(&format!("the line is back: the newest alarm at customs ({waiting}, wait)"), full.overtook, few.overtook),
        Row::new("the backlog leaves, all of it", full.rate.map_or_else(|| "in one look".to_owned(), per_second)),
        beside("status meanwhile, p50", full.asked_meanwhile.median(), few.asked_meanwhile.median()),
        beside("status meanwhile, p99", full.asked_meanwhile.percentile(99), few.asked_meanwhile.percentile(99)),
        resident("resident memory at its highest", full.highest, few.highest),
    ]
}
