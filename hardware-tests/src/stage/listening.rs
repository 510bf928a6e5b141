//! The driver's radio at work, and what it reported.

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use segel_drivers::{
    Action, Ear, Ended, MacAddress, ReaderId, Report, SealAdvert, SealEvent, Sighting, Standing,
    ble::{AdapterName, BleScan, BleScanConfig, Desks, Register, Request, SessionLimits},
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
    desks: Desks,
    told: Vec<SealEvent>,
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
        let desks = Desks::new(SessionLimits::default());
        config.desk = desks.desk(&id);
        let (sender, reports) = mpsc::channel(BACKLOG);
        let stop = CancellationToken::new();
        let patience = Patience { cap: Duration::from_secs(2), ..Patience::default() };
        let kept = tokio::spawn(supervise::keep(BleScan::new(config), Ear::new(id, sender), patience, stop.clone()));
        Self { desks, told: Vec::new(), reports, stop, kept }
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

    /// Asks something of a seal and waits for its end. What seals tell meanwhile is kept, and confirmed as if it were on
    /// disk.
    ///
    /// # Errors
    /// When it cannot be asked, or the radio was dropped.
    pub async fn ask(&mut self, seal: &StagedSeal, action: Action, within: Duration) -> anyhow::Result<Ended> {
        let ended = self.ask_all(std::slice::from_ref(seal), action, within).await?;
        ended.into_iter().next().context("one answer to one request")
    }

    /// Asks all of these seals at once.
    ///
    /// # Errors
    /// When one cannot be asked, or the radio was dropped.
    pub async fn ask_all(&mut self, seals: &[StagedSeal], action: Action, within: Duration) -> anyhow::Result<Vec<Ended>> {
        let ask = |seal: &StagedSeal| {
            let request = Request { address: seal.address, seal: seal.known.clone(), action, within };
            self.desks.ask(request).map(segel_drivers::ble::Asked::ended)
        };
        let asked: Vec<_> = seals.iter().map(ask).collect::<Result<_, _>>()?;
        let all = futures_util::future::join_all(asked);
        tokio::pin!(all);
        loop {
            tokio::select! {
                ended = &mut all => return Ok(ended),
                report = self.reports.recv() => self.on_report(report.context("the radio was dropped")?),
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        if let Sighting::Told(told) = report.sighting {
            self.told.extend(told.events);
            if let Some(confirm) = told.confirm {
                confirm.on_disk();
            }
        }
    }

    /// What seals told while something was asked of them.
    pub fn take_told(&mut self) -> Vec<SealEvent> {
        std::mem::take(&mut self.told)
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
