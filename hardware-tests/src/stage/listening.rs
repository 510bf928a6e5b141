//! The driver's radio at work, and what it reported.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use segel_drivers::{
    Ear, MacAddress, ReaderId, Report, SealAdvert, Sighting, Standing,
    ble::{AdapterName, BleScan, BleScanConfig, Register},
    supervise::{self, Patience},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Stage, StagedSeal};

/// Reports that wait to be looked at.
const BACKLOG: usize = 4096;
/// Quiet after which the scan is begun anew; every staged seal speaks many times in it.
const QUIET: Duration = Duration::from_secs(2);

/// A radio that listens, kept alive as the gate keeps it.
#[derive(Debug)]
pub struct Listening {
    reports: mpsc::Receiver<Report>,
    stop: CancellationToken,
    kept: JoinHandle<()>,
}

impl Listening {
    /// Listens on this stage for all that stands there.
    pub fn on(stage: &impl Stage) -> Self {
        let mut register = Register::new();
        for StagedSeal { address, known } in stage.beacons().into_iter().chain(stage.seals()) {
            register.insert(address, known);
        }
        Self::with(stage.adapter(), register)
    }

    /// Listens with one adapter for these seals.
    ///
    /// # Panics
    /// Never: `ble` is a good name for a reader.
    #[must_use]
    pub fn with(adapter: AdapterName, register: Register) -> Self {
        let id: ReaderId = "ble".parse().expect("a good name for a reader");
        let mut config = BleScanConfig::new(id.clone(), adapter, Arc::new(register));
        config.quiet = QUIET;
        let (sender, reports) = mpsc::channel(BACKLOG);
        let stop = CancellationToken::new();
        let patience = Patience { cap: Duration::from_secs(2), ..Patience::default() };
        let kept = tokio::spawn(supervise::keep(BleScan::new(config), Ear::new(id, sender), patience, stop.clone()));
        Self { reports, stop, kept }
    }

    /// The first report that is what is looked for. Those before it are gone.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn until<T: Debug>(
        &mut self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Sighting) -> Option<T>,
    ) -> anyhow::Result<T> {
        let looking = async {
            loop {
                let report = self.reports.recv().await.context("the radio was dropped")?;
                if let Some(found) = wanted(&report.sighting) {
                    return anyhow::Ok(found);
                }
            }
        };
        tokio::time::timeout(within, looking).await.with_context(|| format!("{what} within {within:?}"))?
    }

    /// The next advertisement of this seal.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn advert_of(&mut self, address: MacAddress, within: Duration) -> anyhow::Result<SealAdvert> {
        let what = format!("an advertisement of {address}");
        let of_it = |sighting: &Sighting| match sighting {
            Sighting::Advert(advert) if advert.address == address => Some(advert.clone()),
            _ => None,
        };
        self.until(&what, within, of_it).await
    }

    /// The radio is up.
    ///
    /// # Errors
    /// When it does not come up in time.
    pub async fn up(&mut self, within: Duration) -> anyhow::Result<String> {
        let up = |sighting: &Sighting| match sighting {
            Sighting::Standing(Standing::Up { detail }) => Some(detail.clone()),
            _ => None,
        };
        self.until("the radio up", within, up).await
    }

    /// Forgets what was reported until now.
    pub fn forget(&mut self) {
        while self.reports.try_recv().is_ok() {}
    }

    /// Stops the radio.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub async fn stop(self, within: Duration) -> anyhow::Result<()> {
        self.stop.cancel();
        drop(self.reports);
        let since = Instant::now();
        tokio::time::timeout(within, self.kept).await.context("the radio does not stop")??;
        ensure!(since.elapsed() < within, "the radio stops too slowly");
        Ok(())
    }
}
