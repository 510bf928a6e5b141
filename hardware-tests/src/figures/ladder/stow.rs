//! How delivered events are put away, behind two calls: as `segel journal archive` and `segel journal compact` do it in
//! the gate. The archive's own way stands here and nowhere else in the bench.

use std::{path::Path, time::Duration};

use segel::{
    archive::{
        Archivist, Counting, Demand, Housekeeping, Medium, Older, Place,
        errand::{Errand, LINES, Line},
    },
    clock::Clock,
    journal::Journal,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::events;

/// What is done, in the words of the table.
pub(super) const WAY: &str = "to the archive, read back and put away";

/// Puts away everything the uplink's cursor has passed, at the pace of somebody who waits for it.
pub(super) async fn archive(journal: &Journal, dir: &Path, place: &Path) -> anyhow::Result<()> {
    perform(journal, dir, place, Demand::Archive(Older::All)).await
}

/// Deletes what is left of their rows and gives the pages back.
pub(super) async fn compact(journal: &Journal, dir: &Path, place: &Path) -> anyhow::Result<()> {
    perform(journal, dir, place, Demand::Compact).await
}

async fn perform(journal: &Journal, dir: &Path, place: &Path, demand: Demand) -> anyhow::Result<()> {
    let place = Place::new(dir, Some(place), Medium::Fixed);
    let clock = Clock::new(Duration::from_secs(86_400), None);
    let housekeeping = Housekeeping::new(Archivist::new(journal.clone(), clock, events::source()?, place, Counting::Uplink));
    let (listener, mut lines) = mpsc::channel(LINES);
    let errand = Errand::prompt(CancellationToken::new(), listener);
    let turn = housekeeping.begin()?;
    // Somebody reads along, as the command does.
    let reading = tokio::spawn(async move { while lines.recv().await.is_some() {} });
    let last = housekeeping.perform(turn, demand, &errand).await;
    drop(errand);
    reading.await?;
    match last {
        Line::Failed { what, .. } => anyhow::bail!("{what}"),
        _ => Ok(()),
    }
}
