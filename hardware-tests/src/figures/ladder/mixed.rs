//! Recording and sending at once: the rate of each beside its rate alone, and what an alarm waits meanwhile.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use segel::journal::{Entry, Journal};
use tokio::time::sleep;

use super::{
    super::{
        drain::{Customs, forget_cursors},
        events::{self, Events},
        sample::{middle, per_second, rate},
        table::Row,
    },
    ground::Ground,
    link::Link,
    steady::{self, Alarms, Steady},
};

/// How often all take their turn.
const ROUNDS: usize = 3;
/// How long each goes on, in tenths of a second.
const LONG: usize = 20;
/// Readings in flight.
const IN_FLIGHT: usize = 64;

/// The rows of this part.
pub(super) async fn run(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let long = Duration::from_millis(100 * ground.plan.of(LONG) as u64);
    let (dir, scratch) = (ground.journal("mixed")?, ground.scratch("mixed")?);
    let customs = Customs::open(&scratch).await?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    let (mut idle, mut busy) = (Steady::default(), Steady::default());
    for _ in 0..ROUNDS {
        let (journal, _) = events::open(&dir)?;
        idle.extend(Alarms::alone(&journal, &scratch, long).await?);
        rates[0].push(record(&journal, long).await?);
        journal.close().await?;
        rates[1].push(send(&dir, &customs, long).await?);

        forget_cursors(&dir)?;
        let (journal, _) = events::open(&dir)?;
        let link = Link::start(&journal, customs.address())?;
        let (since, before) = link.first().await?;
        let alarms = Alarms::start(&journal, &scratch)?;
        rates[2].push(record(&journal, long).await?);
        let sent = usize::try_from(link.acked() - before)?;
        rates[3].push(rate(sent, since.elapsed()));
        busy.extend(alarms.stop().await?);
        link.end().await?;
        journal.close().await?;
    }
    let [recording, sending, recording_too, sending_too] = &rates;
    let row = |what: &str, both: &[f64], alone: &[f64]| {
        let ratio = middle(both.iter().zip(alone).map(|(both, alone)| both / alone).collect());
        let row = Row::new(what, per_second(middle(both.to_vec())));
        row.beside(format!("{} alone", per_second(middle(alone.to_vec()))), ratio)
    };
    let mut rows = vec![
        row(&format!("readings recorded ({IN_FLIGHT} in flight) while events leave"), recording_too, recording),
        row("events leaving while readings are recorded", sending_too, sending),
    ];
    rows.extend(steady::rows("while both go on", &busy, &idle, None));
    Ok(rows)
}

/// Records readings as fast as the journal takes them; how many a second.
async fn record(journal: &Journal, long: Duration) -> anyhow::Result<f64> {
    let (mut events, mut in_flight, mut recorded) = (Events::of_a_port(), VecDeque::with_capacity(IN_FLIGHT), 0);
    let begin = Instant::now();
    while begin.elapsed() < long {
        in_flight.push_back(journal.submit(Entry::new(events.tag()?)).await?);
        if in_flight.len() == IN_FLIGHT
            && let Some(first) = in_flight.pop_front()
        {
            first.await?;
            recorded += 1;
        }
    }
    for ticket in in_flight {
        ticket.await?;
        recorded += 1;
    }
    Ok(rate(recorded, begin.elapsed()))
}

/// Sends from the front, for so long or until nothing is left; how many a second.
async fn send(dir: &Path, customs: &Customs, long: Duration) -> anyhow::Result<f64> {
    forget_cursors(dir)?;
    let (journal, opening) = events::open(dir)?;
    let all: u64 = segel::event::Class::ALL.iter().map(|class| opening.heads.of(*class).0).sum();
    let link = Link::start(&journal, customs.address())?;
    let (since, before) = link.first().await?;
    while since.elapsed() < long && link.acked() < all {
        sleep(Duration::from_millis(1)).await;
    }
    let sent = rate(usize::try_from(link.acked() - before)?, since.elapsed());
    link.end().await?;
    journal.close().await?;
    Ok(sent)
}
