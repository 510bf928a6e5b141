//! Sessions with seals that speak the segel open seal protocol: what a recording is worth, who goes first, and what is
//! known when the line dies.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use segel_drivers::{
    Action, Confirm, Ended, Evidence, Hindrance, LockClaim, MacAddress, Outcome, Progress, Rejection, SealWord, Sighting, Standing,
    ble::{AdapterName, Asked, BleScan, BleScanConfig, Desk, Desks, KnownSeal, Register, Request, protocol::ProtocolName},
    codec::{bthome::SealKey, segel_v1::Bolt},
    sim::{SimLock, lock::segel_v1::SegelLock},
};
use segel_hardware_tests::bluez::{Bluez, Bus, ConnectFault, Delivered, SealAt, Times, WriteFault};

use super::{WITHIN, bench::Kept, done, limits, until};

const KEY: [u8; 16] = *b"a key of 16 byte";
/// The first byte of what a gate writes: a question for a challenge, and a command.
const HELLO: u8 = 0x01;
const COMMAND: u8 = 0x02;
/// Which log each seal begins with.
const LOG: u32 = 7;
/// Seals before the adapter.
const SEALS: u8 = 3;
/// What a seal hands over at a time.
const PIECE: usize = 10;

fn address(last: u8) -> MacAddress {
    MacAddress([0xA4, 0xC1, 0x38, 0x5E, 0x30, last])
}

fn number(last: u8) -> String {
    format!("SGL-300{last}")
}

fn known(last: u8, key: [u8; 16]) -> KnownSeal {
    let mut seal = KnownSeal::new(number(last).parse().expect("a seal"), ProtocolName::Segel);
    seal.credentials.key = Some(SealKey::new(key));
    seal
}

/// What the gate's journal would do: it takes what the seals tell, and says when it is on disk.
#[derive(Default)]
struct Record {
    told: Vec<(MacAddress, Vec<u32>)>,
    /// From this telling on nothing is said to be on disk by itself.
    stalls_at: Option<usize>,
    unsaid: Vec<Confirm>,
    /// Why the adapter was said to be down.
    downs: Vec<String>,
}

impl Record {
    fn take(&mut self, from: MacAddress, numbers: Vec<u32>, confirm: Option<Confirm>) {
        self.told.push((from, numbers));
        match confirm {
            Some(confirm) if self.stalls_at.is_some_and(|at| self.told.len() >= at) => self.unsaid.push(confirm),
            confirm => confirm.iter().for_each(Confirm::on_disk),
        }
    }

    fn of(&self, seal: MacAddress) -> Vec<u32> {
        self.told.iter().filter(|(from, _)| *from == seal).flat_map(|(_, numbers)| numbers.clone()).collect()
    }
}

struct Stand {
    lock: Arc<Mutex<SegelLock>>,
    at: SealAt,
}

/// An emulated BlueZ, three seals that are locked, and the driver that serves them on one adapter.
struct Ground {
    bluez: Bluez,
    stands: Vec<Stand>,
    desks: Desks,
    desk: Desk,
    record: Arc<Mutex<Record>>,
}

impl Ground {
    async fn new(bus: &Bus) -> Self {
        let bluez = Bluez::start(&bus.address).expect("nobody else is BlueZ there");
        let stand = |last: u8| {
            let lock = Arc::new(Mutex::new(SegelLock::new(address(last), &number(last), SealKey::new(KEY), LOG).locked()));
            let at = bluez.add(Arc::clone(&lock) as Arc<Mutex<dyn SimLock>>);
            Stand { lock, at }
        };
        let stands: Vec<_> = (1..=SEALS).map(stand).collect();
        let desks = Desks::new(limits());
        let desk = desks.desk(&"ble-1".parse().expect("a name"));
        let register: Register = (1..=SEALS).map(|last| (address(last), known(last, KEY))).collect();
        let adapter = AdapterName::Address(bluez.hci0().address());
        let config = BleScanConfig::new(desk.reader().clone(), adapter, Arc::new(register));
        let mut ble = Kept::new(BleScan::new(BleScanConfig { desk: desk.clone(), ..config }));
        let record = Arc::new(Mutex::new(Record::default()));
        let kept = Arc::clone(&record);
        tokio::spawn(async move {
            // all of it, or the radio is not kept
            let ble = &mut ble;
            while let Some(report) = ble.heard.recv().await {
                match report.sighting {
                    Sighting::Told(told) => {
                        let numbers = told.events.iter().map(|event| event.number.expect("entries have numbers")).collect();
                        kept.lock().expect("no panic").take(told.address, numbers, told.confirm);
                    }
                    Sighting::Standing(Standing::Down { reason }) => kept.lock().expect("no panic").downs.push(reason),
                    _ => {}
                }
            }
        });
        let ground = Self { bluez, stands, desks, desk, record };
        ground.is_heard().await;
        ground
    }

    async fn is_heard(&self) {
        until("it scans", || self.bluez.hci0().is_scanning()).await;
        self.stands.iter().for_each(|stand| stand.at.advertises_every(Duration::from_millis(50)));
        until("all are heard", || (1..=SEALS).all(|last| self.desk.hearing(address(last)).is_some())).await;
    }

    fn ask_with(&self, last: u8, key: [u8; 16], action: Action) -> Asked {
        let request = Request { address: address(last), seal: known(last, key), action, within: WITHIN };
        self.desks.ask(request).expect("it may be asked")
    }

    fn ask(&self, last: u8, action: Action) -> Asked {
        self.ask_with(last, KEY, action)
    }

    async fn does(&self, action: Action) -> Ended {
        self.ask(1, action).ended().await
    }

    fn at(&self, last: u8) -> &SealAt {
        &self.stands[usize::from(last) - 1].at
    }

    fn with<T>(&self, last: u8, with: impl FnOnce(&mut SegelLock) -> T) -> T {
        with(&mut self.stands[usize::from(last) - 1].lock.lock().expect("no panic"))
    }

    fn record<T>(&self, with: impl FnOnce(&mut Record) -> T) -> T {
        with(&mut self.record.lock().expect("no panic"))
    }

    fn openings(&self) -> u32 {
        self.with(1, |seal| seal.openings())
    }

    /// What the first seal was written.
    fn written(&self) -> Vec<Vec<u8>> {
        self.at(1).writes().into_iter().map(|written| written.bytes).collect()
    }

    /// Commands, of whatever content, that BlueZ was given for the first seal.
    fn commands(&self) -> usize {
        self.written().iter().filter(|bytes| bytes.first() == Some(&COMMAND)).count()
    }

    async fn is_free(&self) {
        until("it is always disconnected at the end", || self.bluez.links() == 0).await;
    }
}

/// How many entries were handed over, confirmed and deleted.
fn drained(ended: &Ended) -> u32 {
    let Outcome::Done { drained, .. } = ended.outcome else { panic!("{ended:?}") };
    drained
}

pub(crate) async fn a_replayed_exchange_does_not_open_the_seal(bus: Bus) {
    let ground = Ground::new(&bus).await;
    assert_eq!(done(&ground.does(Action::Unlock).await), Evidence::ReportedAndReadBack);
    let recorded = ground.written();
    assert_eq!((ground.openings(), ground.commands()), (1, 1));
    // the seal's journal remembers another command now than the recorded one
    assert_eq!(done(&ground.does(Action::Lock).await), Evidence::ReportedAndReadBack);
    let later = ground.written()[recorded.len()].clone();
    assert!(later.first() == Some(&HELLO) && !recorded.contains(&later), "each exchange begins with a HELLO of its own");
    ground.is_free().await;
    ground.at(1).falls_silent();
    let stands = |case: &str| {
        let now = ground.with(1, |seal| (seal.openings(), seal.bolt()));
        assert_eq!(now, (1, Bolt::Locked), "{case}");
    };
    let command = recorded.iter().find(|bytes| bytes.first() == Some(&COMMAND)).expect("it was commanded").clone();
    for power in ["kept its power", "lost its power"] {
        if power == "lost its power" {
            ground.with(1, SegelLock::lose_power);
        }
        // from each place on, and with a HELLO that it has not seen in this order
        let mut played: Vec<_> = (0..recorded.len()).map(|from| recorded[from..].to_vec()).collect();
        played.push(vec![later.clone(), command.clone(), command.clone()]);
        for (turn, frames) in played.iter().enumerate() {
            let case = format!("a seal that {power}, turn {turn}");
            ground.with(1, |seal| {
                // it takes nothing for a second after a wrong code
                seal.pass(Duration::from_secs(2));
                seal.connected();
                frames.iter().for_each(|frame| drop(seal.written(frame)));
            });
            stands(&case);
        }
        // and the power goes in the middle of it
        ground.with(1, |seal| {
            seal.pass(Duration::from_secs(2));
            seal.connected();
            seal.written(&recorded[0]);
            seal.lose_power();
            seal.connected();
            seal.written(&command);
        });
        stands("the power went between HELLO and COMMAND");
    }
    // it is not that it opens to nobody any more
    ground.with(1, |seal| seal.pass(Duration::from_secs(2)));
    ground.at(1).advertises_every(Duration::from_millis(50));
    assert_eq!(done(&ground.does(Action::Unlock).await), Evidence::ReportedAndReadBack);
    assert_eq!(ground.openings(), 2);
}

pub(crate) async fn an_unlock_overtakes_a_queued_log_drain(bus: Bus) {
    const LONG: u32 = 60;
    const SHORT: u32 = 15;
    let ground = Ground::new(&bus).await;
    for (last, entries) in [(1, LONG), (2, SHORT)] {
        ground.with(last, |seal| (0..entries).for_each(|_| seal.happens(SealWord::LowBattery)));
    }
    ground.record(|record| record.stalls_at = Some(3));
    let running = ground.ask(1, Action::DrainLog);
    until("the drain is in the middle of the log", || ground.record(|record| record.unsaid.len()) == 1).await;
    let queued = ground.ask(2, Action::DrainLog);
    let unlock = ground.ask(3, Action::Unlock);
    assert_eq!(*unlock.progress().borrow(), Progress::Queued { ahead: 0 });
    assert_eq!(*queued.progress().borrow(), Progress::Queued { ahead: 1 });
    ground.record(|record| {
        record.stalls_at = None;
        record.unsaid.drain(..).for_each(|confirm| confirm.on_disk());
    });

    let interrupted = drained(&running.ended().await);
    assert_eq!(interrupted, 30, "what was on disk is confirmed, and nothing more is asked for");
    let held = ground.with(1, |seal| seal.held());
    assert_eq!(held, Vec::from_iter(interrupted + 1..=LONG), "what was interrupted is still there");
    assert_eq!(done(&unlock.ended().await), Evidence::ReportedAndReadBack);
    assert_eq!(ground.with(3, |seal| seal.openings()), 1);
    assert_eq!(drained(&queued.ended().await), SHORT);
    let order: Vec<_> = ground.bluez.writes().into_iter().map(|written| written.seal).collect();
    let mut served = order;
    served.dedup();
    assert_eq!(served, [address(1), address(3), address(2)], "the unlock is served whole before the drain that was asked before it");

    assert_eq!(drained(&ground.does(Action::DrainLog).await), LONG - interrupted);
    assert_eq!(ground.record(|record| record.of(address(1))), Vec::from_iter(1..=LONG), "each once, in order");
    assert_eq!(ground.record(|record| record.of(address(2))), Vec::from_iter(1..=SHORT));
    assert_eq!(ground.with(1, |seal| seal.held()), Vec::<u32>::new());
}

pub(crate) async fn a_link_lost_between_the_store_and_the_confirm_loses_no_stored_event(bus: Bus) {
    const ENTRIES: u32 = 25;
    let ground = Ground::new(&bus).await;
    ground.with(1, |seal| (0..ENTRIES).for_each(|_| seal.happens(SealWord::LowBattery)));
    ground.record(|record| record.stalls_at = Some(2));
    let asked = ground.ask(1, Action::DrainLog);
    until("the second piece is taken", || ground.record(|record| record.unsaid.len()) == 1).await;
    ground.at(1).loses_link();
    ground.record(|record| {
        record.stalls_at = None;
        record.unsaid.drain(..).for_each(|confirm| confirm.on_disk());
    });
    let held = ground.with(1, |seal| seal.held());
    assert_eq!(held, Vec::from_iter(11..=ENTRIES), "only what was confirmed is deleted");

    let ended = asked.ended().await;
    assert_eq!((drained(&ended), ended.spent.attempts), (ENTRIES, 2), "{ended:?}");
    let told = ground.record(|record| record.of(address(1)));
    let once = BTreeSet::from_iter(told.iter().copied());
    assert_eq!(once, BTreeSet::from_iter(1..=ENTRIES), "none is missing");
    assert_eq!(told.len(), once.len() + PIECE, "what was not confirmed is told again, under its numbers: {told:?}");
    assert_eq!(ground.with(1, |seal| seal.held()), Vec::<u32>::new());
}

pub(crate) async fn disconnect_after_the_write_is_settled_by_the_last_command_the_seal_names(bus: Bus) {
    let ground = Ground::new(&bus).await;
    for delivered in [Delivered::Yes, Delivered::No] {
        let (openings, commands) = (ground.openings(), ground.commands());
        // the HELLO goes well, the COMMAND does not
        ground.at(1).writing_meets(WriteFault::Nothing, Times::Next(1));
        ground.at(1).writing_meets(WriteFault::LinkLost(delivered), Times::Next(1));
        let ended = ground.does(Action::Unlock).await;
        match (delivered, &ended.outcome) {
            (Delivered::Yes, Outcome::Done { evidence: Evidence::ReadBack, status: Some(status), .. }) => {
                assert_eq!((status.reading.lock, status.did_ours), (Some(LockClaim::Unlocked), Some(true)));
            }
            (Delivered::No, Outcome::Rejected { cause: Rejection::NeverTook, read_back: Some(status) }) => {
                assert_eq!((status.reading.lock, status.did_ours), (Some(LockClaim::Locked), Some(false)));
            }
            _ => panic!("{delivered:?}: {ended:?}"),
        }
        let opened = u32::from(delivered == Delivered::Yes);
        assert_eq!((ground.openings(), ground.commands()), (openings + opened, commands + 1), "{delivered:?}");
        assert_eq!(ended.spent.attempts, 2, "it was connected to again, to read");
        ground.is_free().await;
        if delivered == Delivered::Yes {
            assert_eq!(done(&ground.does(Action::Lock).await), Evidence::ReportedAndReadBack);
        }
    }
}

pub(crate) async fn with_a_wrong_key_nothing_that_moves_is_written(bus: Bus) {
    let ground = Ground::new(&bus).await;
    for action in [Action::Unlock, Action::DrainLog, Action::SetTime, Action::ReadState] {
        let ended = ground.ask_with(1, *b"another key, 16b", action).ended().await;
        assert!(matches!(ended.outcome, Outcome::NotAttempted { why: Hindrance::WrongCredential { .. } }), "{action:?}: {ended:?}");
    }
    let written = ground.written();
    assert_eq!(written.len(), 4, "it is not tried again with a key that is wrong");
    assert!(written.iter().all(|bytes| bytes.first() == Some(&HELLO)), "{written:?}");
    assert_eq!((ground.openings(), ground.with(1, |seal| seal.held())), (0, Vec::new()), "the seal has nothing to complain of");
}

pub(crate) async fn the_bus_dying_in_a_session_is_answered_and_survived(mut bus: Bus) {
    let ground = Ground::new(&bus).await;
    // before the write
    ground.at(1).connecting_meets(ConnectFault::Never, Times::Next(1));
    let asked = ground.ask(1, Action::Unlock);
    until("it connects", || ground.at(1).counts().connects > 0).await;
    returns_after(&mut bus, &ground).await;
    let ended = asked.ended().await;
    let opened = match ended.outcome {
        Outcome::Done { .. } => 1,
        Outcome::NotAttempted { .. } => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!((ground.openings(), ground.commands()), (opened, opened as usize));
    ground.is_heard().await;
    if opened == 1 {
        assert_eq!(done(&ground.does(Action::Lock).await), Evidence::ReportedAndReadBack);
    }
    ground.is_free().await;

    // after it
    let commands = ground.commands();
    ground.at(1).writing_meets(WriteFault::Nothing, Times::Next(1));
    ground.at(1).writing_meets(WriteFault::Unanswered(Delivered::Yes), Times::Next(1));
    let asked = ground.ask(1, Action::Unlock);
    until("the seal has it", || ground.openings() == opened + 1).await;
    returns_after(&mut bus, &ground).await;
    let ended = asked.ended().await;
    assert!(matches!(ended.outcome, Outcome::Unknown { .. } | Outcome::Done { evidence: Evidence::ReadBack, .. }), "{ended:?}");
    assert_eq!((ground.openings(), ground.commands()), (opened + 1, commands + 1), "it is never written again");
    ground.is_heard().await;
    let Outcome::Done { status: Some(status), .. } = ground.does(Action::ReadState).await.outcome else { panic!("it is read again") };
    assert_eq!(status.reading.lock, Some(LockClaim::Unlocked));
    let downs = ground.record(|record| record.downs.clone());
    assert_eq!(downs, Vec::<String>::new(), "the session that met the dead bus has it begun anew, not the silence that follows");
}

/// The bus dies, and after a while it and BlueZ are there again.
async fn returns_after(bus: &mut Bus, ground: &Ground) {
    bus.dies();
    until("the link went with it", || !ground.at(1).is_linked()).await;
    bus.returns().expect("it comes back");
    ground.bluez.returns().expect("and BlueZ with it");
}
