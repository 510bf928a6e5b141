//! What is asked, and whoever waits for its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{Ticket, hall::Hall};
use crate::{Action, Ended, Hindrance, MacAddress, Outcome, Progress, Spent, ble::KnownSeal};

/// What is asked of one seal.
#[derive(Debug, Clone)]
pub struct Request {
    /// The seal's address.
    pub address: MacAddress,
    /// What is known of it.
    pub seal: KnownSeal,
    /// What it is to do.
    pub action: Action,
    /// By when it must be done or not begun, from now. Reading back may take longer
    /// ([`read_back`](super::SessionLimits::read_back)).
    pub within: Duration,
}

/// A request on its way; dropping it calls the request off, as long as nothing that moves the seal was written.
#[derive(Debug)]
pub struct Asked {
    pub(super) hall: Arc<Hall>,
    pub(super) ticket: Arc<Ticket>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) end: oneshot::Receiver<Ended>,
    pub(super) deadline: Instant,
    pub(super) within: Duration,
}

impl Asked {
    /// Where it is; changes are seen by waiting on it.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The word that calls it off without letting go of its end.
    #[must_use]
    pub fn ticket(&self) -> Arc<Ticket> {
        Arc::clone(&self.ticket)
    }

    /// Waits for its end. There always is one: of a request nobody took it comes at its deadline, and from an adapter
    /// that hung or died it is what the ticket says.
    pub async fn ended(mut self) -> Ended {
        let limits = *self.hall.limits();
        if let Some(ended) = self.until(self.deadline).await {
            return ended;
        }
        // One that still waits is answered by this; one that is served answers by itself, a little later.
        self.hall.look();
        if let Some(ended) = self.until(self.deadline + limits.grace()).await {
            return ended;
        }
        if self.ticket.call_off() {
            return self.short(Hindrance::Deadline(self.within));
        }
        let last = self.deadline + limits.grace() + limits.after_the_write();
        if let Some(ended) = self.until(last).await {
            return ended;
        }
        unknown("the adapter's session did not end in time")
    }

    fn short(&self, why: Hindrance) -> Ended {
        Ended { outcome: self.ticket.cut_short(why), spent: Spent::default() }
    }

    async fn until(&mut self, at: Instant) -> Option<Ended> {
        match timeout_at(at, &mut self.end).await {
            Ok(Ok(ended)) => Some(ended),
            Ok(Err(_)) if self.ticket.is_called_off() => Some(self.short(Hindrance::CalledOff)),
            Ok(Err(_)) if self.ticket.call_off() => {
                Some(self.short(Hindrance::NoAdapter("it failed during the session; see that it works and ask again".to_owned())))
            }
            Ok(Err(_)) => Some(unknown("the adapter failed during the session, after the command was sent")),
            Err(_) => None,
        }
    }
}

fn unknown(why: &str) -> Ended {
    Ended { outcome: Outcome::Unknown { why: why.to_owned(), read_back: None }, spent: Spent::default() }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // false means that the write was claimed; the session goes on to its end by itself
        let _ = self.ticket.call_off();
        self.hall.look();
    }
}
