//! Watches the router through the sentinel's tap and builds a new one when it is dead.
//!
//! A router that panicked closes the tap; one that hangs shows because what was sent does not come out. Either way the
//! monitors are dropped: they come back and get the retained values again, which is the only honest state to show.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::core::Core;
use super::spine::{Drawn, Spine, Tap};
use super::standing::RouterState;

/// How long something may be under way before the router counts as hanging; a healthy one takes milliseconds, a
/// machine that swaps may take seconds.
const HANGING: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before a router is built again, so that one that dies at once does not take the machine.
const PAUSE: Duration = Duration::from_millis(200);

/// See the head of this file.
pub(super) struct Keeper {
    pub(super) core: Arc<Core>,
    pub(super) links: usize,
}

impl Keeper {
    /// Runs until the broker closes.
    pub(super) async fn run(self, spine: Arc<Spine>, tap: Tap) {
        let mut current = Some((spine, tap));
        loop {
            let stopped = self.core.closing.clone();
            if let Some((spine, tap)) = current.take() {
                tokio::select! {
                    // biased, so that the last messages still pass while the broker closes
                    biased;
                    why = watch(&self.core, &spine, tap) => self.on_dead(&spine, why),
                    () = closed(&self.core, &spine) => return,
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stopped.cancelled() => return,
            }
            match Spine::start(self.links).await {
                Ok((spine, tap)) => {
                    self.core.set_spine(Some(Arc::clone(&spine)));
                    self.core.ledger.note(|s| {
                        s.router_restarts += 1;
                        s.router = RouterState::Up;
                    });
                    info!("the broker's router runs again");
                    current = Some((spine, tap));
                }
                Err(fault) => {
                    if self.core.ledger.speak("router does not start") {
                        error!(%fault, "the broker's router does not start; trying on");
                    }
                }
            }
        }
    }

    fn on_dead(&self, spine: &Spine, why: &'static str) {
        self.core.set_spine(None);
        spine.give_up();
        self.core.ledger.note(|s| s.router = RouterState::Down);
        error!(why, "the broker's router died; monitors are dropped and a new one is built");
    }
}

/// Done when the broker closes and nothing is under way any more, or after a moment.
async fn closed(core: &Core, spine: &Spine) {
    core.closing.cancelled().await;
    let until = Instant::now() + LOOK;
    while spine.in_transit() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns when the router is dead, with how that showed.
async fn watch(core: &Core, spine: &Spine, mut tap: Tap) -> &'static str {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut moved = Instant::now();
    loop {
        tokio::select! {
            // what lies ready is taken first: after a pause of the whole machine the router must not look dead
            biased;
            drawn = tap.draw() => {
                match drawn {
                    Ok(Drawn::Message(message)) => {
                        spine.saw(&message);
                        moved = Instant::now();
                    }
                    Ok(Drawn::Paused) => if tap.wake().await.is_err() {
                        return "it does not take orders";
                    },
                    Ok(Drawn::Nothing) => {}
                    Err(_) => return "its thread ended",
                }
                tokio::task::coop::consume_budget().await;
            }
            _ = look.tick() => {
                core.mark_gap();
                if spine.in_transit() == 0 {
                    moved = Instant::now();
                } else if moved.elapsed() > HANGING {
                    return "what goes in does not come out";
                }
            }
        }
    }
}
