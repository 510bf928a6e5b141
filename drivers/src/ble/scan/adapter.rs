//! One session with one adapter, on the thread of its own.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use btleplug::{
    api::{BDAddr, Central, CentralEvent, CentralState, Manager as _, Peripheral as _, ScanFilter},
    platform::{Adapter, Manager, PeripheralId},
};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    AdapterName, BleScanConfig, Ended,
    link::{BluezAir, Held, Parted},
    strangers::Allowance,
    visits::Visits,
};
use crate::{
    Ear, MacAddress, RadioFault, Sighting, Trouble,
    ble::{AirFrame, Payload, air::uuid16, interpret, session},
    codec::bthome::SERVICE_DATA_UUID,
};

/// Asking for the adapters, their events, a scan: BlueZ answers in milliseconds, a busy one in a second.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Asking one adapter or one device.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// How often the thread says that it moves, and looks whether the air is silent.
const PULSE: Duration = Duration::from_secs(1);
/// Events moved out of the library and not yet looked at: some seconds of the busiest air BlueZ can deliver. The
/// library's own queue has no bound, so events are moved out at once.
const BACKLOG: usize = 4096;
/// Most devices whose signal strength is remembered.
const STRENGTHS_MAX: usize = 4096;
/// Times the air may be found silent, and the scan begun anew, before everything is rebuilt.
const SILENCES_MAX: u32 = 10;
/// How often lost advertisements are told of at most.
const OVERRUN_EVERY: Duration = Duration::from_secs(60);
/// A scan that cannot be begun is tried once more after this: BlueZ may still be busy with the last.
const SCAN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Sessions after which everything is rebuilt: each leaves two match rules on the bus if the library's panic hits it, and
/// the bus allows 512; on this kind of runtime it was not seen to in 4,000.
const SESSIONS_MAX: u32 = 500;
/// How often a connection that could not be ended is ended once more while nothing is asked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

type Events = Pin<Box<dyn Stream<Item = CentralEvent> + Send>>;

/// Opens the adapter and listens until something fails.
pub(super) async fn run(config: &BleScanConfig, ear: &Ear, pulse: &AtomicU64, stop: &CancellationToken) -> Ended {
    let held = Held::default();
    let config = &BleScanConfig { desk: config.desk.until(stop), ..config.clone() };
    let moving = async {
        loop {
            pulse.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PULSE).await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ended::Fault(RadioFault::Stopped),
        ended = life(config, ear, &held) => ended.unwrap_or_else(Ended::Fault),
        never = moving => never,
    };
    // whatever ended it, no connection is left standing
    held.let_all_go(config.desk.limits().disconnect).await;
    ended
}

async fn life(config: &BleScanConfig, ear: &Ear, held: &Held) -> Result<Ended, RadioFault> {
    let mut scan = Scan::open(config, ear).await?;
    // the one stream of this session, kept until its end
    let events = scan.call("its events", scan.adapter.events()).await?;
    scan.begin().await?;
    ear.up(scan.detail.clone()).await?;
    let (backlog, moved) = mpsc::channel(BACKLOG);
    let visits = scan.visits.clone();
    let air = BluezAir::new(scan.adapter.clone(), *config.desk.limits(), Parted::clone(&scan.parted), held.clone(), visits);
    let moving_out = async {
        // at its end the backlog is closed, which its listener sees
        move_out(events, backlog, ear).await;
        std::future::pending().await
    };
    tokio::select! {
        ended = scan.listen(moved) => ended,
        ended = sessions(config, air, ear) => ended,
        never = moving_out => never,
    }
}

/// Serves what is asked of this adapter's seals, until a rebuild is due.
async fn sessions(config: &BleScanConfig, mut air: BluezAir, ear: &Ear) -> Result<Ended, RadioFault> {
    air.sweep(&config.register).await;
    for _ in 0..SESSIONS_MAX {
        match one_session(config, &mut air, ear).await {
            session::Served::Enough => {}
            session::Served::Fails(why) => {
                tracing::warn!(adapter = %config.adapter, %why, "the adapter failed in a session; begun anew");
                return Ok(Ended::Rebuild);
            }
            session::Served::Stopping => return Err(RadioFault::Stopped),
        }
    }
    Ok(Ended::Rebuild)
}

/// Serves one request to its end, and then ends what it may have left standing.
async fn one_session(config: &BleScanConfig, air: &mut BluezAir, ear: &Ear) -> session::Served {
    let served = loop {
        let (held, visits) = (air.held(), air.visits());
        let remains = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                // nothing is lost of a request that has not begun to connect: it waits again
                if held.leaves_any() && !visits.stands() {
                    return;
                }
            }
        };
        tokio::select! {
            served = session::serve(&config.desk, air, ear, 1) => break served,
            () = remains => held.sweep(config.desk.limits()).await,
        }
    };
    let (held, visits) = (air.held(), air.visits());
    if visits.stands() {
        // others are not to take for this what is meant for this adapter
        let _serving = config.desk.serving();
        if !matches!(served, session::Served::Fails(_)) {
            held.sweep(config.desk.limits()).await;
        }
        visits.end();
        if !visits.is_closed() {
            // sooner after a disconnect, the kernel refuses to connect
            tokio::time::sleep(config.desk.limits().pause).await;
        }
    }
    if visits.is_closed() {
        // what closed it ends this life
        std::future::pending::<()>().await;
    }
    served
}

/// Moves events out of the library as they come; what the backlog cannot take is lost and counted.
async fn move_out(mut events: Events, backlog: mpsc::Sender<CentralEvent>, ear: &Ear) {
    while let Some(event) = events.next().await {
        match backlog.try_send(event) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                ear.tally().overruns.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

/// An adapter that scans.
struct Scan<'a> {
    config: &'a BleScanConfig,
    ear: &'a Ear,
    adapter: Adapter,
    detail: String,
    strengths: HashMap<MacAddress, i16>,
    parted: Parted,
    visits: Visits,
    strangers: Allowance,
    /// What ends this life as soon as no session stands.
    due: Option<Result<Ended, RadioFault>>,
    /// When anything was heard last.
    heard: Instant,
    /// When the scan was begun anew for want of that.
    scanned: Instant,
    silences: u32,
    overruns: u64,
    overrun_told: Option<Instant>,
}

impl<'a> Scan<'a> {
    async fn open(config: &'a BleScanConfig, ear: &'a Ear) -> Result<Self, RadioFault> {
        let fault = |reason: String| RadioFault::Open { device: config.adapter.to_string(), reason };
        let manager = deadline(CALL_DEADLINE, Manager::new()).await.map_err(|error| {
            fault(format!("no connection to the D-Bus system bus ({error}); start dbus.service and let segel use its socket"))
        })?;
        let adapters = deadline(CALL_DEADLINE, manager.adapters()).await;
        let adapters = adapters.map_err(|error| fault(format!("BlueZ does not answer ({error}); start bluetooth.service")))?;
        let mut present = Vec::new();
        for adapter in adapters {
            let info = deadline(ASK_DEADLINE, adapter.adapter_info()).await.unwrap_or_default();
            let name = info.split(' ').next().unwrap_or_default().to_owned();
            let address = deadline(ASK_DEADLINE, adapter.adapter_address()).await.ok().flatten().map(mac);
            let ours = match &config.adapter {
                AdapterName::Kernel(wanted) => *wanted == name,
                AdapterName::Address(wanted) => Some(*wanted) == address,
            };
            let described = format!("{name} {}", address.map_or_else(|| "of unknown address".to_owned(), |a| a.to_string()));
            if ours {
                return Ok(Self {
                    config,
                    ear,
                    adapter,
                    detail: described,
                    strengths: HashMap::new(),
                    parted: Parted::default(),
                    visits: Visits::default(),
                    strangers: Allowance::new(Instant::now()),
                    due: None,
                    heard: Instant::now(),
                    scanned: Instant::now(),
                    silences: 0,
                    overruns: ear.tally().overruns.load(Ordering::Relaxed),
                    overrun_told: None,
                });
            }
            present.push(described);
        }
        present.sort();
        let there = if present.is_empty() { "none at all".to_owned() } else { present.join(", ") };
        Err(fault(format!("no such adapter; plug it in or correct `adapter`. There is: {there}")))
    }

    /// Begins scanning, whatever was before. Anything may be filtered by other programs: nothing is by us.
    async fn begin(&self) -> Result<(), RadioFault> {
        // an error says that no scan was on, which is fine
        let _ = deadline(ASK_DEADLINE, self.adapter.stop_scan()).await;
        if self.call("a scan", self.adapter.start_scan(ScanFilter::default())).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(SCAN_AGAIN_AFTER).await;
        self.call("a scan", self.adapter.start_scan(ScanFilter::default())).await
    }

    /// Looks at what was heard, and at whether anything is, until something fails or a rebuild is due and no session
    /// stands.
    async fn listen(&mut self, mut moved: mpsc::Receiver<CentralEvent>) -> Result<Ended, RadioFault> {
        let mut look = tokio::time::interval(PULSE.min(self.config.quiet));
        let (visits, mut comes) = (self.visits.clone(), true);
        loop {
            if !visits.stands()
                && let Some(due) = self.due.take()
            {
                return due;
            }
            let due = tokio::select! {
                event = moved.recv(), if comes => match event {
                    Some(event) => self.on_event(event).await.err().map(Err),
                    None => {
                        comes = false;
                        Some(Err(self.gone("its events ended")))
                    }
                },
                _ = look.tick() => match self.on_look().await {
                    Ok(rebuild) => rebuild.then_some(Ok(Ended::Rebuild)),
                    Err(fault) => Some(Err(fault)),
                },
                () = visits.ended() => None,
            };
            if let Some(due) = due {
                self.on_due(due);
            }
        }
    }

    /// The first of what is due counts; none of it ends a session that stands, and no other begins.
    fn on_due(&mut self, due: Result<Ended, RadioFault>) {
        if self.due.is_none() {
            if self.visits.stands() {
                tracing::debug!(adapter = %self.detail, "the scan fails while a session stands; it is begun anew after that");
            }
            self.visits.close();
            self.due = Some(due);
        }
    }

    async fn on_event(&mut self, event: CentralEvent) -> Result<(), RadioFault> {
        match event {
            CentralEvent::RssiUpdate { id, rssi } => {
                self.on_heard();
                let Some(address) = address(&id) else { return Ok(()) };
                if self.strengths.len() >= STRENGTHS_MAX {
                    self.strengths.clear();
                }
                self.strengths.insert(address, rssi);
                self.on_present(address, Some(rssi));
                self.on_carried(address, Some(rssi), self.bare(address)).await
            }
            CentralEvent::DeviceDisconnected(_) => {
                self.parted.notify_one();
                Ok(())
            }
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                self.on_heard();
                let Some(address) = address(&id) else { return Ok(()) };
                self.on_present(address, self.strengths.get(&address).copied());
                self.on_carried(address, self.strengths.get(&address).copied(), of_services(service_data)).await
            }
            CentralEvent::ManufacturerDataAdvertisement { id, manufacturer_data } => {
                self.on_heard();
                let Some(address) = address(&id) else { return Ok(()) };
                self.on_present(address, self.strengths.get(&address).copied());
                self.on_carried(address, self.strengths.get(&address).copied(), of_companies(manufacturer_data)).await
            }
            CentralEvent::DeviceDiscovered(id) => self.on_discovered(&id).await,
            CentralEvent::StateUpdate(CentralState::PoweredOff) => {
                tracing::warn!(adapter = %self.detail, "the adapter was switched off; switching it on again");
                self.begin().await
            }
            _ => Ok(()),
        }
    }

    /// A device's first advertisement comes without its data: it has to be asked for. A device BlueZ only remembers
    /// has no signal strength, and what it once said is not heard now.
    async fn on_discovered(&mut self, id: &PeripheralId) -> Result<(), RadioFault> {
        let known = address(id).is_some_and(|address| self.config.register.get(address).is_some());
        let begun = Instant::now();
        let limit = if known { Some(2 * ASK_DEADLINE) } else { self.strangers.left(begun) };
        let Some(limit) = limit else { return Ok(()) };
        let asking = async { self.adapter.peripheral(id).await?.properties().await };
        let asked = deadline(limit, asking).await;
        if !known {
            self.strangers.spend(begun, Instant::now());
        }
        let Ok(Some(properties)) = asked else { return Ok(()) };
        let Some(rssi) = properties.rssi else { return Ok(()) };
        self.on_heard();
        let address = mac(properties.address);
        self.on_present(address, Some(rssi));
        let carried = of_services(properties.service_data).chain(of_companies(properties.manufacturer_data));
        self.on_carried(address, Some(rssi), carried.chain(self.bare(address))).await
    }

    /// Sessions are with seals that are there.
    fn on_present(&self, address: MacAddress, rssi_dbm: Option<i16>) {
        if self.config.register.get(address).is_some() {
            self.config.desk.heard(address, rssi_dbm, Instant::now());
        }
    }

    /// Being heard at all, for registered seals that say nothing in their advertisements. For those that do it would
    /// only repeat each of them.
    fn bare(&self, address: MacAddress) -> Option<Payload> {
        let seal = self.config.register.get(address)?;
        seal.protocol.protocol().service_data().is_none().then_some(Payload::Bare)
    }

    /// The parts of one advertisement, each by itself.
    async fn on_carried(
        &self,
        address: MacAddress,
        rssi_dbm: Option<i16>,
        carried: impl IntoIterator<Item = Payload>,
    ) -> Result<(), RadioFault> {
        for payload in carried {
            self.on_frame(&AirFrame { address, rssi_dbm, payload }).await?;
        }
        Ok(())
    }

    async fn on_frame(&self, frame: &AirFrame) -> Result<(), RadioFault> {
        match interpret(frame, &self.config.register) {
            Some(sighting) => {
                self.ear.tally().frames.fetch_add(1, Ordering::Relaxed);
                Ok(self.ear.hear(sighting).await?)
            }
            None => {
                // the air is full of others; what claims to be a sensor and says nothing of a seal is worth a count
                if matches!(frame.payload, Payload::ServiceData { uuid, .. } if uuid == uuid16(SERVICE_DATA_UUID)) {
                    self.ear.tally().not_understood.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        }
    }

    fn on_heard(&mut self) {
        self.heard = Instant::now();
        self.silences = 0;
    }

    /// Whether everything is to be rebuilt.
    async fn on_look(&mut self) -> Result<bool, RadioFault> {
        self.tell_overrun().await?;
        if self.visits.stands() {
            // a seal that is connected says nothing to others, and it may be the only one
            self.scanned = Instant::now();
            return Ok(false);
        }
        if self.heard.elapsed() < self.config.quiet || self.scanned.elapsed() < self.config.quiet {
            return Ok(false);
        }
        self.silences += 1;
        if self.silences > SILENCES_MAX {
            return Ok(true);
        }
        let state = deadline(ASK_DEADLINE, self.adapter.adapter_state()).await;
        tracing::debug!(adapter = %self.detail, ?state, "nothing heard for a while; scanning anew");
        self.begin().await?;
        self.scanned = Instant::now();
        Ok(false)
    }

    async fn tell_overrun(&mut self) -> Result<(), RadioFault> {
        let lost = self.ear.tally().overruns.load(Ordering::Relaxed) - self.overruns;
        if lost == 0 || self.overrun_told.is_some_and(|told| told.elapsed() < OVERRUN_EVERY) {
            return Ok(());
        }
        self.overruns += lost;
        self.overrun_told = Some(Instant::now());
        Ok(self.ear.hear(Sighting::Trouble(Trouble::Overrun { lost })).await?)
    }

    async fn call<T>(&self, what: &str, call: impl Future<Output = btleplug::Result<T>>) -> Result<T, RadioFault> {
        deadline(CALL_DEADLINE, call).await.map_err(|error| RadioFault::Silent {
            device: self.config.adapter.to_string(),
            reason: format!("BlueZ does not give {what} ({error}); check the adapter and bluetooth.service"),
        })
    }

    fn gone(&self, reason: &str) -> RadioFault {
        RadioFault::Gone { device: self.config.adapter.to_string(), reason: reason.to_owned() }
    }
}

/// A call with a deadline of ours; its error as one line.
async fn deadline<T>(limit: Duration, call: impl Future<Output = btleplug::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

fn of_services(data: HashMap<Uuid, Vec<u8>>) -> impl Iterator<Item = Payload> {
    data.into_iter().map(|(uuid, bytes)| Payload::ServiceData { uuid, bytes })
}

fn of_companies(data: HashMap<u16, Vec<u8>>) -> impl Iterator<Item = Payload> {
    data.into_iter().map(|(company, bytes)| Payload::ManufacturerData { company, bytes })
}

pub(super) fn mac(address: BDAddr) -> MacAddress {
    MacAddress(address.into_inner())
}

/// The address in a device's name, `hci0/dev_A4_C1_38_0B_52_01`: asking BlueZ for it would be one more call for
/// each advertisement.
fn address(id: &PeripheralId) -> Option<MacAddress> {
    let name = id.to_string();
    let (_, address) = name.rsplit_once("dev_")?;
    address.replace('_', ":").parse().ok()
}
