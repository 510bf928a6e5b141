//! One durable append and groups of 64 on the full journal, beside the bare file.

use super::{
    super::{append, events::Events, table::Row},
    ground::Ground,
};

/// The rows of this part.
pub(super) async fn run(ground: &Ground<'_>) -> anyhow::Result<Vec<Row>> {
    append::on(ground.plan, &ground.journal("append")?, Events::of_a_port(), &[64]).await
}
