//! The one trait a radio fulfils, and the ear it speaks into.
//!
//! A radio opens itself, listens until it fails, and gives the device back before it returns. It never decides
//! to try again: [`crate::supervise`] does. It reports through an [`Ear`]: a bounded channel that stamps each
//! sighting with the time its bytes arrived.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
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

/// What a radio speaks into. Clones share their tally and what was last said of the radio's standing.
#[derive(Debug, Clone)]
pub struct Ear {
    reader: ReaderId,
    reports: mpsc::Sender<Report>,
    tally: Arc<Tally>,
    said: Arc<Mutex<Said>>,
}

/// Most reasons remembered of one outage; a radio that finds more of them repeats itself.
const REASONS_MAX: usize = 16;

/// What has been said of a radio's standing, so that each change is said once.
#[derive(Debug)]
enum Said {
    Nothing,
    Up { detail: String, since: Instant },
    Down { reasons: Vec<String> },
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
        Self { reader, reports, tally: Arc::default(), said: Arc::new(Mutex::new(Said::Nothing)) }
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

    /// The device has answered. `detail` says what it is, e.g. type and firmware; said and logged once per change.
    ///
    /// # Errors
    /// [`Deaf`] when the gate is stopping.
    pub async fn up(&self, detail: impl Into<String> + Send) -> Result<(), Deaf> {
        let detail = detail.into();
        self.tally.opened.fetch_add(1, Ordering::Relaxed);
        if self.note_up(&detail) {
            tracing::info!(reader = %self.reader, %detail, "radio is up");
            self.hear(Sighting::Standing(Standing::Up { detail })).await?;
        }
        Ok(())
    }

    /// The device does not work. Said and logged once per reason until it is up again.
    ///
    /// # Errors
    /// [`Deaf`] when the gate is stopping.
    pub async fn down(&self, reason: impl Into<String> + Send) -> Result<(), Deaf> {
        let reason = reason.into();
        if self.note_down(&reason) {
            tracing::error!(reader = %self.reader, %reason, "radio is down");
            self.hear(Sighting::Standing(Standing::Down { reason })).await?;
        }
        Ok(())
    }

    /// For how long the device has been up; `None` while it is not.
    #[must_use]
    pub fn up_for(&self) -> Option<Duration> {
        match &*self.said.lock().unwrap_or_else(PoisonError::into_inner) {
            Said::Up { since, .. } => Some(since.elapsed()),
            Said::Nothing | Said::Down { .. } => None,
        }
    }

    /// Notes that the device is up; whether that is news.
    fn note_up(&self, detail: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*said, Said::Up { detail: before, .. } if before == detail) {
            return false;
        }
        *said = Said::Up { detail: detail.to_owned(), since: Instant::now() };
        true
    }

    /// Notes that the device is down; whether that is news.
    fn note_down(&self, reason: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *said {
            Said::Down { reasons } if reasons.iter().any(|known| known == reason) => return false,
            Said::Down { reasons } => {
                if reasons.len() == REASONS_MAX {
                    reasons.remove(0);
                }
                reasons.push(reason.to_owned());
            }
            Said::Nothing | Said::Up { .. } => *said = Said::Down { reasons: vec![reason.to_owned()] },
        }
        true
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
    /// Whole frames of other readers on the same line.
    pub foreign: AtomicU64,
    /// Sightings lost because the gate was too slow.
    pub overruns: AtomicU64,
    /// Times the device was opened.
    pub opened: AtomicU64,
    /// Panics in tasks of the radio's library.
    pub panics: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(mut reports: mpsc::Receiver<Report>) -> Vec<String> {
        reports.close();
        let mut said = Vec::new();
        while let Some(report) = reports.recv().await {
            match report.sighting {
                Sighting::Standing(Standing::Up { detail }) => said.push(format!("up {detail}")),
                Sighting::Standing(Standing::Down { reason }) => said.push(format!("down {reason}")),
                other => panic!("{other:?}"),
            }
        }
        said
    }

    #[tokio::test]
    async fn each_change_of_standing_is_said_once() {
        let (reports, heard) = mpsc::channel(32);
        let ear = Ear::new("gate-in-1".parse().unwrap(), reports);
        for _ in 0..3 {
            ear.down("not found").await.unwrap();
            ear.down("locked").await.unwrap();
        }
        assert_eq!(ear.up_for(), None);
        ear.up("a").await.unwrap();
        ear.up("a").await.unwrap();
        assert!(ear.up_for().is_some());
        ear.down("not found").await.unwrap();
        assert_eq!(ear.tally().opened.load(Ordering::Relaxed), 2);
        assert_eq!(said(heard).await, ["down not found", "down locked", "up a", "down not found"]);
    }

    #[tokio::test]
    async fn a_gate_that_is_busy_costs_a_counted_sighting_and_never_a_wait() {
        let (reports, heard) = mpsc::channel(1);
        let ear = Ear::new("gate-in-1".parse().unwrap(), reports);
        let sighting = Sighting::Trouble(crate::Trouble::Antenna { antenna: None, status: 0xF8 });
        ear.try_hear(sighting.clone()).unwrap();
        ear.try_hear(sighting.clone()).unwrap();
        assert_eq!(ear.tally().overruns.load(Ordering::Relaxed), 1);
        drop(heard);
        assert_eq!(ear.try_hear(sighting), Err(Deaf));
    }
}
