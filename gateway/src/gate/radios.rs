//! From the configuration to running radios.

use std::{collections::HashMap, sync::Arc};

use segel_drivers::{
    Ear, Radio, ReaderId, Report,
    ble::Register,
    ble::scan::{AdapterName, BleScan, BleScanConfig},
    ble::session::{Desks, SessionLimits},
    serial::uhf_reader::{self, UhfReader, UhfReaderConfig},
    sim::air::{SimulatedAir, SimulatedAirConfig},
    supervise::{self, Patience},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Dialect, ReadMode, Reader, SealRegister, SessionSettings},
    ingest::{Known, ReaderPlace, Thinning},
};

/// Starts every configured radio, each supervised in a task of its own, so that none can hold up another.
pub(super) fn start(config: &Config, desks: &Desks, reports: &mpsc::Sender<Report>, stop: &CancellationToken) -> JoinHandle<()> {
    let patience = Patience { first: config.reopen.first, cap: config.reopen.cap, stable: config.reopen.stable };
    let register = Arc::new(register(&config.seals));
    let mut radios = JoinSet::new();
    for (id, reader) in &config.readers {
        let ear = Ear::new(id.clone(), reports.clone());
        match reader {
            Reader::UhfReader(uhf) => keep(&mut radios, UhfReader::new(uhf_config(id, uhf)), ear, patience, stop),
            Reader::Ble(ble) => {
                let Ok(adapter) = ble.adapter.parse::<AdapterName>();
                let mut scan = BleScanConfig::new(id.clone(), adapter, Arc::clone(&register));
                scan.desk = desks.desk(id);
                keep(&mut radios, BleScan::new(scan), ear, patience, stop);
            }
            Reader::SimulatedAir(air) => {
                tracing::warn!(reader = id.as_str(), "this reader is simulated; its events say so and are no evidence");
                let air = SimulatedAirConfig { id: id.clone(), socket: air.socket.clone(), register: Arc::clone(&register) };
                keep(&mut radios, SimulatedAir::new(air).serving(desks.desk(id)), ear, patience, stop);
            }
        }
    }
    tokio::spawn(async move { while radios.join_next().await.is_some() {} })
}

fn keep<R: Radio>(radios: &mut JoinSet<()>, radio: R, ear: Ear, patience: Patience, stop: &CancellationToken) {
    radios.spawn(supervise::keep(radio, ear, patience, stop.clone()));
}

fn uhf_config(id: &ReaderId, uhf: &crate::config::UhfReader) -> UhfReaderConfig {
    let dialect = match uhf.dialect {
        Dialect::Uhf288 => segel_drivers::codec::uhf::Dialect::UhfReader288,
        Dialect::Uhf18 => segel_drivers::codec::uhf::Dialect::UhfReader18,
    };
    let mut config = UhfReaderConfig::new(id.clone(), uhf.port.clone(), dialect);
    config.baud = uhf.baud;
    config.address = uhf.address;
    config.mode = match uhf.mode {
        ReadMode::Realtime => uhf_reader::Mode::Realtime,
        ReadMode::Poll => uhf_reader::Mode::Poll,
    };
    config.heartbeat = uhf.heartbeat;
    config.poll_interval = uhf.poll_interval;
    config
}

fn register(seals: &SealRegister) -> Register {
    let mut register = Register::default();
    for seal in seals {
        if let Some(address) = seal.address {
            register.insert(address, seal.known());
        }
    }
    register
}

/// A desk for every radio that can hold a conversation with a seal.
pub(super) fn desks(config: &Config) -> Desks {
    let desks = Desks::new(limits(&config.sessions));
    for (id, reader) in &config.readers {
        if matches!(reader, Reader::Ble(_) | Reader::SimulatedAir(_)) {
            // Set up once here, in the order of the configuration; the radios ask for the same one by name.
            let _ = desks.desk(id);
        }
    }
    desks
}

fn limits(settings: &SessionSettings) -> SessionLimits {
    SessionLimits {
        heard_within: settings.heard_within,
        connect: settings.connect_timeout,
        attempts: settings.attempts,
        pause: settings.pause,
        call: settings.call_timeout,
        disconnect: settings.disconnect_timeout,
        read_back: settings.read_back,
        store: settings.store_timeout,
        queue: settings.queue as usize,
    }
}

/// When something unchanged is worth recording again.
pub(super) fn thinning(config: &Config) -> Thinning {
    Thinning {
        heartbeat: config.thinning.heartbeat,
        tag_repeat: config.thinning.tag_repeat,
        battery_step_percent: config.thinning.battery_step_percent,
        temperature_step_c: f64::from(config.thinning.temperature_step_c),
        lost_after: config.thinning.lost_after,
    }
}

/// What the gate knows beforehand.
pub(super) fn known(config: &Config) -> Known {
    let place = |reader: &Reader| {
        let driver = match reader {
            Reader::UhfReader(_) => "uhf-reader",
            Reader::Ble(_) => "ble",
            Reader::SimulatedAir(_) => "simulated-air",
        };
        ReaderPlace { driver, lane: Some(reader.lane().to_string()) }
    };
    let container = |seal: &crate::config::RegisteredSeal| seal.container.as_ref().map(ToString::to_string);
    Known {
        readers: config.readers.iter().map(|(id, reader)| (id.clone(), place(reader))).collect(),
        seals: config.seals.iter().map(|seal| (seal.id.clone(), container(seal))).collect(),
        tags: config.seals.iter().filter_map(|seal| Some((seal.epc.clone()?, seal.id.clone()))).collect::<HashMap<_, _>>(),
    }
}
