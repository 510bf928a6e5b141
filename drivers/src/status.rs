//! What a seal says over a connection: its state, what happened to it, and how far that can be believed.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::{Action, MacAddress, SealId, SealReading};

/// How well a protocol protects what is said and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Anybody could say it.
    ClaimOnly,
    /// Protected by something known to be breakable: a shared key, a replayable command.
    Weak,
    /// Fresh and verified with a key only this seal and its gates have.
    Authenticated,
}

impl Security {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClaimOnly => "claim-only",
            Self::Weak => "weak",
            Self::Authenticated => "authenticated",
        }
    }
}

/// A seal's state as it was read over a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct SealStatus {
    /// What it measures and says of its lock.
    pub reading: SealReading,
    /// What it complains of at this moment.
    pub complaints: Vec<SealWord>,
    /// How far it can be believed.
    pub security: Security,
    /// Whether the command this session sent is the last one the seal has done; `None` where its protocol does not say.
    pub did_ours: Option<bool>,
    /// Entries in its log that wait to be drained, where it says so.
    pub stored: Option<u32>,
    /// The answer as received (decrypted where it was encrypted).
    pub raw: Vec<u8>,
}

/// What can have happened to a seal, in one vocabulary for all makers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealWord {
    /// It was closed and sealed.
    Sealed,
    /// It was opened with its key or password.
    Unsealed,
    /// It was opened without.
    ForcedOpen,
    /// Its rope, rod or shackle was cut.
    ShackleCut,
    /// Its housing was opened.
    CoverOpened,
    /// It was opened by its emergency means.
    EmergencyOpened,
    /// A wrong password or key was tried.
    WrongPassword,
    /// It stood open for too long.
    OpenTooLong,
    /// Its battery is low.
    LowBattery,
    /// Its motor is stuck.
    MotorStuck,
    /// It was closed and not sealed, or sealed by hand.
    LocallySealed,
    /// A sealing was called off.
    SealingCancelled,
    /// It started anew: battery changed, or reset.
    Restarted,
    /// Its clock was set.
    TimeSet,
    /// Its log was full and lost entries.
    LogLost,
    /// It says that something is wrong without saying what.
    Abnormal,
    /// A sign of life.
    Heartbeat,
}

/// One thing that happened to a seal, as the seal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealEvent {
    /// What.
    pub word: SealWord,
    /// Its number in the seal's log, where it has one.
    pub number: Option<u32>,
    /// When, by the seal's own clock: seconds since 1970, kept beside ours and never used as ours.
    pub device_time: Option<u64>,
    /// The entry as received.
    pub raw: Vec<u8>,
}

/// Whether a seal told of it as it happened or out of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// As it happened.
    Live,
    /// Out of its log.
    Stored {
        /// Which log: changes when the seal's numbers begin anew.
        log: u32,
    },
}

/// Events a seal told over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealTold {
    /// The seal.
    pub seal: SealId,
    /// Its address.
    pub address: MacAddress,
    /// What it told, in its order.
    pub events: Vec<SealEvent>,
    /// Live, or out of its log.
    pub memory: Memory,
    /// How far it can be believed.
    pub security: Security,
    /// To be resolved once all of them are on disk here; only then is the seal told to delete them.
    pub confirm: Option<Confirm>,
}

/// A seal's state, read over a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct SealRead {
    /// The seal.
    pub seal: SealId,
    /// Its address.
    pub address: MacAddress,
    /// Signal strength in dBm of what was heard of it last.
    pub rssi_dbm: Option<i16>,
    /// What it was read for.
    pub during: Action,
    /// Its state.
    pub status: SealStatus,
}

/// The promise that something is on disk, kept once. Dropped unkept, it tells that it is not.
#[derive(Debug, Clone)]
pub struct Confirm(Arc<Mutex<Option<oneshot::Sender<()>>>>);

/// Waits for a [`Confirm`].
#[derive(Debug)]
pub struct Confirmed(oneshot::Receiver<()>);

/// It is not on disk, and will not be by this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was not written to disk")]
pub struct NotConfirmed;

impl Confirm {
    /// A promise, and whoever waits for it.
    #[must_use]
    pub fn new() -> (Self, Confirmed) {
        let (told, waiting) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(told)))), Confirmed(waiting))
    }

    /// It is on disk. A second call says nothing more.
    pub fn on_disk(&self) {
        if let Some(told) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // nobody waits: the session ended, and the seal will tell it again
            let _ = told.send(());
        }
    }
}

impl Confirmed {
    /// Waits until it is on disk.
    ///
    /// # Errors
    /// [`NotConfirmed`] when every copy of the promise is gone.
    pub async fn wait(self) -> Result<(), NotConfirmed> {
        self.0.await.map_err(|_| NotConfirmed)
    }
}

impl PartialEq for Confirm {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Confirm {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_promise_that_is_dropped_is_told_as_not_on_disk() {
        let (confirm, waiting) = Confirm::new();
        let copy = confirm.clone();
        drop(confirm);
        copy.on_disk();
        copy.on_disk();
        assert_eq!(waiting.wait().await, Ok(()));
        let (confirm, waiting) = Confirm::new();
        drop(confirm);
        assert_eq!(waiting.wait().await, Err(NotConfirmed));
    }
}
