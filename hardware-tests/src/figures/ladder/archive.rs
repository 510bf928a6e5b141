//! What was delivered goes to the archive and off the journal.
use super::{super::table::Row, ground::Ground};
pub(super) async fn run(_ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    Ok(Vec::new())
}
