//! What the wire tests share: a kept radio, and waiting on conditions with a deadline.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{path::Path, sync::Arc, time::Duration};

use segel_drivers::{
    Ear, Epc, Radio, Report, Sighting, Standing, Tally,
    codec::uhf::Dialect,
    serial::{UhfReader, UhfReaderConfig},
    sim::{EmulatedReader, reader::EmulatedReaderConfig},
    supervise::{Patience, keep},
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far beyond what anything here takes on a busy machine; only a failing test waits that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// The heartbeat of the readers on the bench: long against a busy machine's stutter, short against [`DEADLINE`].
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// A radio kept by its own task, and what it says.
pub(crate) struct Kept {
    pub(crate) heard: mpsc::Receiver<Report>,
    pub(crate) tally: Arc<Tally>,
    _stop: DropGuard,
}

impl Kept {
    pub(crate) fn new<R: Radio>(radio: R) -> Self {
        let (reports, heard) = mpsc::channel(1024);
        let ear = Ear::new(radio.id().clone(), reports);
        let tally = Arc::clone(ear.tally());
        let stop = CancellationToken::new();
        let patience = Patience { first: Duration::from_millis(20), cap: Duration::from_millis(200), stable: HEARTBEAT };
        tokio::spawn(keep(radio, ear, patience, stop.clone()));
        Self { heard, tally, _stop: stop.drop_guard() }
    }

    pub(crate) async fn next(&mut self) -> Sighting {
        tokio::time::timeout(DEADLINE, self.heard.recv()).await.expect("something is heard in time").expect("the radio is kept").sighting
    }

    /// Waits for the next change of standing, passing over tags.
    pub(crate) async fn standing(&mut self) -> Standing {
        loop {
            if let Sighting::Standing(standing) = self.next().await {
                return standing;
            }
        }
    }

    pub(crate) async fn up(&mut self) -> String {
        match self.standing().await {
            Standing::Up { detail } => detail,
            Standing::Down { reason } => panic!("down: {reason}"),
        }
    }

    pub(crate) async fn down(&mut self) -> String {
        match self.standing().await {
            Standing::Down { reason } => reason,
            Standing::Up { detail } => panic!("up: {detail}"),
        }
    }

    /// Waits for the next tag, passing over nothing.
    pub(crate) async fn tag(&mut self) -> segel_drivers::TagRead {
        match self.next().await {
            Sighting::Tag(tag) => tag,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn epc(number: u8) -> Epc {
    Epc::new(&[0xE2, 0x80, 0x69, 0x15, 0, 0, 0x50, 0x1D, 0x63, 0xE2, 0x78, number]).expect("twelve bytes")
}

/// An emulated reader plugged in at `directory/name`.
pub(crate) fn plug_in(directory: &Path, name: &str, dialect: Dialect) -> EmulatedReader {
    let config = EmulatedReaderConfig { heartbeat_unit: HEARTBEAT, ..EmulatedReaderConfig::new(directory.join(name), dialect) };
    EmulatedReader::plug_in(config).expect("a pseudo-terminal")
}

/// How the daemon is told of the reader at `directory/name`.
pub(crate) fn configured(directory: &Path, name: &str, dialect: Dialect) -> UhfReaderConfig {
    let id = name.parse().expect("a reader name");
    UhfReaderConfig {
        heartbeat: HEARTBEAT,
        heartbeat_unit: HEARTBEAT,
        poll_interval: Duration::from_millis(20),
        ..UhfReaderConfig::new(id, directory.join(name), dialect)
    }
}

pub(crate) fn kept(directory: &Path, name: &str, dialect: Dialect) -> Kept {
    Kept::new(UhfReader::new(configured(directory, name, dialect)))
}
