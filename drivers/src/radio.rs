//! The one trait a radio fulfils, and the ear it speaks into.
//!
//! A radio opens itself, listens until it fails, and gives the device back before it returns. It never decides
//! to try again: [`crate::supervise`] does. It reports through an [`Ear`]: a bounded channel that stamps each
//! sighting with the time its bytes arrived.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{Heard, ReaderId, Report, Sighting, Standing};

/// Something that hears seals or tags.
pub trait Radio: Send + 'static {
    /// Which one it is.
    fn id(&self) -> &ReaderId;

    /// Opens the device and listens until it fails; says [`Ear::up`] when the device has answered.
    ///
    /// Dropping the future gives the device back. The returned fault says what happened and what to look at.
    fn listen(&mut self, ear: &Ear) -> impl Future<Output = RadioFault> + Send;
}

/// Why a radio stopped listening.
#[derive(Debug, thiserror::Error)]
pub enum RadioFault {
    /// The device could not be opened.
    #[error("cannot open {device}: {reason}")]
    Open {
        /// What was opened.
        device: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The device was there and is gone.
    #[error("{device} is gone: {reason}")]
    Gone {
        /// What is gone.
        device: String,
        /// How that was noticed.
        reason: String,
    },
    /// The device is there and says nothing.
    #[error("{device} is silent: {reason}")]
    Silent {
        /// What is silent.
        device: String,
        /// What was waited for, and how long.
        reason: String,
    },
    /// Nobody listens any more; the gate is stopping.
    #[error("the gate is stopping")]
    Stopped,
}

/// What a radio speaks into.
#[derive(Debug, Clone)]
pub struct Ear {
    reader: ReaderId,
    reports: mpsc::Sender<Report>,
    tally: Arc<Tally>,
}

/// The other end has been dropped: the gate is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gate is stopping")]
pub struct Deaf;

impl From<Deaf> for RadioFault {
    fn from(_: Deaf) -> Self {
        Self::Stopped
    }
}

impl Ear {
    /// An ear for one radio.
    #[must_use]
    pub fn new(reader: ReaderId, reports: mpsc::Sender<Report>) -> Self {
        Self { reader, reports, tally: Arc::default() }
    }

    /// Passes a sighting on, waiting while the gate is busy.
    ///
    /// # Errors
    /// [`Deaf`] when the gate is stopping.
    pub async fn hear(&self, sighting: Sighting) -> Result<(), Deaf> {
        let report = Report { reader: self.reader.clone(), heard: Heard::now(), sighting };
        self.reports.send(report).await.map_err(|_| Deaf)
    }

    /// Passes a sighting on if there is room; counts it as lost otherwise. For radios that must never wait.
    ///
    /// # Errors
    /// [`Deaf`] when the gate is stopping.
    pub fn try_hear(&self, sighting: Sighting) -> Result<(), Deaf> {
        let report = Report { reader: self.reader.clone(), heard: Heard::now(), sighting };
        match self.reports.try_send(report) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.tally.overruns.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Deaf),
        }
    }

    /// The device has answered. `detail` says what it is, e.g. type and firmware.
    ///
    /// # Errors
    /// [`Deaf`] when the gate is stopping.
    pub async fn up(&self, detail: impl Into<String> + Send) -> Result<(), Deaf> {
        self.hear(Sighting::Standing(Standing::Up { detail: detail.into() })).await
    }

    /// The counts of this radio.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The radio this ear belongs to.
    #[must_use]
    pub fn reader(&self) -> &ReaderId {
        &self.reader
    }
}

/// What one radio has counted since the process began.
#[derive(Debug, Default)]
pub struct Tally {
    /// Frames or advertisements understood.
    pub frames: AtomicU64,
    /// Frames whose check did not fit.
    pub bad_checks: AtomicU64,
    /// Bytes skipped to find the next frame.
    pub skipped_bytes: AtomicU64,
    /// Frames that were whole and made no sense.
    pub not_understood: AtomicU64,
    /// Sightings lost because the gate was too slow.
    pub overruns: AtomicU64,
    /// Times the device was opened.
    pub opened: AtomicU64,
}
