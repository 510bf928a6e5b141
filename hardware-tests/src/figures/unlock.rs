//! What an unlock costs beside the radio: asking, connecting, proving, the one write, the answer, reading back.
//!
//! The emulated BlueZ answers at once and its seal has no radio, so what is left is the driver, the Bluetooth library and the
//! bus. Beside it stand as many bare calls over the same bus, one after the other, as the session made: less than that no
//! client of BlueZ can take. The pause that is kept between two connections is not in it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::ensure;
use segel_drivers::{
    Action, Ear, MacAddress, Outcome,
    ble::{AdapterName, BleScan, BleScanConfig, Desks, KnownSeal, Register, Request, SessionLimits, protocol::ProtocolName},
    codec::bthome::SealKey,
    sim::{SimLock, lock::segel_v1::SegelLock},
    supervise::{Patience, keep},
};
use segel_hardware_tests::bluez::Bluez;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    sample::{Samples, ms},
    table::Row,
};

/// Unlocks whose time is taken; each is followed by a lock.
const TIMED: usize = 200;
/// What never takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

/// The rows of this part.
pub(super) async fn run(plan: &Plan, bus: &str) -> anyhow::Result<Vec<Row>> {
    let bluez = Bluez::start(bus)?;
    let (address, key, number) = (MacAddress([0x54, 0x48, 0xE6, 0x8F, 0x80, 0xB1]), SealKey::new([9; 16]), "SGL-1");
    let lock = Arc::new(Mutex::new(SegelLock::new(address, number, key.clone(), 1).locked()));
    let seal = bluez.add(Arc::clone(&lock) as Arc<Mutex<dyn SimLock>>);
    let mut known = KnownSeal::new(number.parse()?, ProtocolName::Segel);
    known.credentials.key = Some(key);
    let register: Register = [(address, known.clone())].into_iter().collect();
    let desks = Desks::new(SessionLimits { pause: Duration::from_millis(30), ..SessionLimits::default() });
    let desk = desks.desk(&"ble-1".parse()?);
    let config = BleScanConfig::new(desk.reader().clone(), AdapterName::Kernel("hci0".to_owned()), Arc::new(register));
    let (reports, mut reported) = mpsc::channel(1024);
    let ear = Ear::new(config.id.clone(), reports);
    let stop = CancellationToken::new();
    let kept = tokio::spawn(keep(BleScan::new(BleScanConfig { desk: desk.clone(), ..config }), ear, Patience::default(), stop.clone()));
    let heard = tokio::spawn(async move { while reported.recv().await.is_some() {} });
    seal.advertises_every(Duration::from_millis(100));
    let since = Instant::now();
    while desk.hearing(address).is_none() {
        ensure!(since.elapsed() < DEADLINE, "the seal is not heard");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let bare = zbus::connection::Builder::address(bus).build().await?;
    let (mut ours, mut beside, mut calls) = (Samples::default(), Samples::default(), 0);
    let many = plan.of(TIMED);
    for _ in 0..many {
        let before = made(&bluez);
        let ended = ask(&desks, address, &known, Action::Unlock).await?;
        ours.push(ended);
        let made = made(&bluez).saturating_sub(before);
        calls += u64::from(made);
        let began = Instant::now();
        for _ in 0..made {
            let (to, at) = (Some("org.bluez"), "/org/bluez/hci0");
            bare.call_method(to, at, Some("org.freedesktop.DBus.Properties"), "GetAll", &("org.bluez.Adapter1",)).await?;
        }
        beside.push(began.elapsed());
        ask(&desks, address, &known, Action::Lock).await?;
    }
    let openings = lock.lock().map_err(|_| anyhow::anyhow!("the seal panicked"))?.openings();
    ensure!(usize::try_from(openings)? == many, "{many} unlocks opened the seal {openings} times");
    stop.cancel();
    kept.await?;
    heard.await?;
    let each = calls / many as u64;
    Ok([50, 99]
        .map(|percent| {
            let (ours, beside) = (ours.percentile(percent), beside.percentile(percent));
            let row = Row::new(format!("unlock, everything but the radio, p{percent}"), ms(ours));
            row.beside(format!("{} the bus alone, {each} calls", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64())
        })
        .into())
}

/// How long a session was at it, from its connect to its answer.
async fn ask(desks: &Desks, address: MacAddress, seal: &KnownSeal, action: Action) -> anyhow::Result<Duration> {
    let request = Request { address, seal: seal.clone(), action, within: DEADLINE };
    let ended = desks.ask(request)?.ended().await;
    ensure!(matches!(ended.outcome, Outcome::Done { .. }), "{action}: {:?}", ended.outcome);
    ensure!(ended.spent.attempts == 1, "{action} took {} connections", ended.spent.attempts);
    Ok(ended.spent.connecting + ended.spent.talking)
}

/// Calls BlueZ was asked so far.
fn made(bluez: &Bluez) -> u32 {
    bluez.calls().values().sum()
}
