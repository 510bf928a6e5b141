//! The journal itself with ten thousand, a million, ten million events in it: what each costs must not grow with what
//! is in it, and what does grow must be bounded. One journal is filled for each size and shared by the parts.

mod append;
mod archive;
mod drain;
mod gate;
mod ground;
mod link;
mod mixed;
mod outage;
mod steady;
mod stow;
mod wear;

use anyhow::Context;
use segel_hardware_tests::peers::Peer;

use self::ground::Ground;
use super::{
    Part, Plan, opening, place,
    sample::{per_second, rate},
    size::Size,
    table::{Row, Table},
};

/// What the parts need of others; said before anything is filled.
///
/// # Errors
/// When it is not there.
pub(super) fn needs() -> anyhow::Result<()> {
    Peer::Mosquitto.find().map(drop).with_context(|| format!("--journal drains to a real broker: {}", Peer::Mosquitto.remedy()))
}

/// Adds the figures of these parts at this size to the table.
///
/// # Errors
/// When something broke.
pub(super) async fn run(plan: &Plan, size: Size, parts: &[Part], table: &mut Table) -> anyhow::Result<()> {
    eprintln!("{size} events ... (load {})", place::load());
    table.heading(format!("{size} events in the journal"));
    let mut ground = Ground::prepare(plan, size).await.context("filling the journal")?;
    table.extend(filled(&ground));
    for part in parts {
        eprintln!("{size} events: {part:?} ... (load {})", place::load());
        let rows = match part {
            Part::Opening => openings(&ground).await,
            Part::Append => append::run(&ground).await,
            Part::Wear => wear::run(&ground).await,
            Part::Drain => drain::run(&ground).await,
            Part::Outage => outage::run(&mut ground).await,
            Part::Mixed => mixed::run(&ground).await,
            Part::Archive => archive::run(&ground).await,
            Part::Passing | Part::Memory => continue,
        };
        table.extend(rows.with_context(|| format!("the part {part:?}"))?);
    }
    ground.clear()
}

fn filled(ground: &Ground<'_>) -> Vec<Row> {
    let (filled, bytes) = (ground.filled(), ground.database_bytes());
    let (mb, each) = (bytes as f64 / 1e6, bytes as f64 / filled.events as f64);
    let document = ground.document_bytes();
    vec![
        Row::new("filling it, 256 events in a transaction", per_second(rate(filled.events, filled.took))),
        Row::new("size of its database", format!("{mb:.0} MB"))
            .beside(format!("{each:.0} bytes for an event of {document:.0}"), each / document),
    ]
}

async fn openings(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    let (full, few) = (ground.journal("opening")?, ground.few("opening")?);
    opening::openings(&full, &few, "it").await
}
