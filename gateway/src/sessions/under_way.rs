//! The orders of this run by their names, from before their intent is on disk until their end is.
//!
//! What must hold: whoever asks for one that is in here is answered by the order itself, or told that it is past being
//! called off; a name leaves with its order, however that ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot};

use super::CallOff;

/// Where somebody asks an order to call itself off.
type Ear = mpsc::Sender<oneshot::Sender<CallOff>>;

/// The orders.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<String, Ear>>>);

/// An order's place in there, until this is dropped.
pub(super) struct Entered {
    all: UnderWay,
    command: String,
}

impl UnderWay {
    /// Enters an order. What comes out of the receiver wants it called off, and an answer.
    pub(super) fn enter(&self, command: &str) -> (Entered, mpsc::Receiver<oneshot::Sender<CallOff>>) {
        let (ear, wanted) = mpsc::channel(1);
        self.lock().insert(command.to_owned(), ear);
        (Entered { all: self.clone(), command: command.to_owned() }, wanted)
    }

    /// Whether it is under way.
    pub(super) fn is_in(&self, command: &str) -> bool {
        self.lock().contains_key(command)
    }

    /// Calls an order off, as long as its seal was not written to.
    pub(super) async fn call_off(&self, command: &str) -> CallOff {
        let Some(ear) = self.lock().get(command).cloned() else { return CallOff::NotUnderWay };
        let (answer, answered) = oneshot::channel();
        if ear.send(answer).await.is_err() {
            return CallOff::NotUnderWay;
        }
        answered.await.unwrap_or(CallOff::NotUnderWay)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Ear>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.lock().remove(&self.command);
    }
}
