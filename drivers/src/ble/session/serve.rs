//! The one loop in which an adapter serves requests, one after the other.

use tokio::time::Instant;

use super::{
    Desk,
    visit::{Left, visit},
};
use crate::{Ear, ble::link::Air};

/// Why it stopped serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    /// As many sessions as were wanted.
    Enough,
    /// The adapter, BlueZ or D-Bus fails; how that showed.
    Fails(String),
    /// The gate is stopping.
    Stopping,
}

/// Serves the requests of one desk, one at a time, `most` of them. Dropping it leaves at most one connection standing,
/// which [`Air::hang_up`] ends; what was being asked and has moved nothing waits again.
pub(crate) async fn serve<A: Air>(desk: &Desk, air: &mut A, ear: &Ear, most: u32) -> Served {
    let _serving = desk.serving();
    let mut free = Instant::now();
    for _ in 0..most {
        let turn = desk.next().await;
        match Box::pin(visit(desk, air, ear, turn, &mut free)).await {
            // a turn that never waits does not keep the rest of the thread from its work
            Left::Works => tokio::task::yield_now().await,
            Left::Fails(why) => return Served::Fails(why),
            Left::Stopping => return Served::Stopping,
        }
    }
    Served::Enough
}
