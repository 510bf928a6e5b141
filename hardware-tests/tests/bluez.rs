//! The emulated BlueZ behaves as the real one was seen to: the Bluetooth library alone before it, no driver.

use std::{
    future::Future,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use btleplug::{
    api::{
        BDAddr, Central, CentralEvent, CentralState, Characteristic, Manager as _, Peripheral as _, ScanFilter, ValueNotification,
        WriteType,
    },
    platform::{Adapter, Manager, Peripheral},
};
use futures_util::{Stream, StreamExt};
use libtest_mimic::Arguments;
use segel_drivers::{
    MacAddress,
    ble::{Payload, air::uuid16},
    sim::{SimLock, SimPorts},
};
use segel_hardware_tests::bluez::{
    Answer, Bluez, Bus, ConnectFault, Delivered, NotifyFault, SealAt, Times, WriteFault, again::on_private_bus,
};

/// Far beyond what anything here takes on a busy machine; only a failing test waits that long.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long is waited for what must not come.
const NEVER: Duration = Duration::from_millis(300);

macro_rules! named {
    ($with:ident: $($test:ident),+ $(,)?) => { vec![$($with(stringify!($test), $test)),+] };
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = named![on_private_bus:
        a_seal_is_found_written_to_and_heard_and_each_write_is_on_record,
        gatt_objects_outlive_their_link_and_say_that_it_is_gone,
        what_bluez_refuses_the_emulator_refuses_in_its_words,
        a_signal_strength_is_gone_when_the_scan_is,
        a_filter_of_a_scan_looks_at_the_listed_services_only,
        a_connect_too_soon_after_a_disconnect_fails_once,
        a_dropped_connect_goes_on_until_it_is_disconnected,
        connecting_meets_what_it_was_told_to,
        a_link_lost_in_a_write_is_an_att_error_whether_or_not_the_seal_got_it,
        notifications_are_lost_doubled_late_or_merged_when_told,
        a_call_of_any_name_can_be_withheld_delayed_or_refused,
        a_device_not_heard_for_long_is_forgotten,
        an_adapter_says_that_it_is_off_before_it_is_gone_and_takes_its_links_with_it,
        a_client_that_leaves_the_bus_scans_no_more_and_its_rules_go,
        a_hundred_connections_leave_no_match_rule_behind,
        two_seals_of_one_name_are_two_devices,
        a_seal_that_wants_to_pair_gets_silence_and_then_its_object_is_gone,
        a_disconnect_is_answered_when_the_link_is_down_and_it_stays_up_meanwhile,
        signals_come_in_the_order_and_the_company_bluetoothd_sends_them_in,
        the_bus_dies_and_bluez_returns_on_the_next,
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Answers each write with its bytes in reverse, then with their number.
struct Echo {
    address: MacAddress,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl SimLock for Echo {
    fn address(&self) -> MacAddress {
        self.address
    }
    fn name(&self) -> Option<String> {
        Some("echo".to_owned())
    }
    fn ports(&self) -> SimPorts {
        SimPorts { service: uuid16(0xFFE0), write: uuid16(0xFFE1), notify: uuid16(0xFFE2) }
    }
    fn advertise(&mut self) -> Vec<Payload> {
        vec![Payload::ManufacturerData { company: 0xFFFF, bytes: vec![1] }]
    }
    fn connected(&mut self) {}
    fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.got.lock().expect("no panic").push(bytes.to_vec());
        vec![bytes.iter().rev().copied().collect(), vec![u8::try_from(bytes.len()).expect("short")]]
    }
    fn value(&self) -> Vec<u8> {
        b"value".to_vec()
    }
    fn openings(&self) -> u32 {
        0
    }
    fn closings(&self) -> u32 {
        0
    }
}

fn mac(last: u8) -> MacAddress {
    MacAddress([0xA4, 0xC1, 0x38, 0x0B, 0x52, last])
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("it happens in time")
}

/// Waits until something is so.
async fn until(what: &str, so: impl Fn() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// BlueZ with a seal, a client that scans, and the seal's device in its hands.
struct Bench {
    _bus: Bus,
    bluez: Bluez,
    seal: SealAt,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
    adapter: Adapter,
    device: Peripheral,
}

impl Bench {
    async fn new(bus: Bus) -> Self {
        let bluez = Bluez::start(&bus.address).expect("nobody else is BlueZ");
        bluez.pace(|pace| pace.settle = Duration::ZERO);
        let got = Arc::default();
        let seal = bluez.add(Arc::new(Mutex::new(Echo { address: mac(1), got: Arc::clone(&got) })));
        let adapter = client().await;
        let mut events = adapter.events().await.expect("events");
        adapter.start_scan(ScanFilter::default()).await.expect("it switches the adapter on and scans");
        assert!(bluez.hci0().is_powered() && bluez.hci0().is_scanning());
        assert_eq!(seal.advertises(), 1);
        let found = found(&mut events).await;
        let device = adapter.peripheral(&found).await.expect("it is there");
        Self { _bus: bus, bluez, seal, got, adapter, device }
    }

    async fn connect(&self) {
        within(self.device.connect()).await.expect("it connects");
        within(self.device.discover_services()).await.expect("it has services");
    }

    async fn disconnect(&self) {
        within(self.device.disconnect()).await.expect("it disconnects");
    }

    fn port(&self, short: u16) -> Characteristic {
        let found = self.device.characteristics().into_iter().find(|one| one.uuid == uuid16(short));
        found.expect("the characteristic is there")
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let written = within(self.device.write(&self.port(0xFFE1), bytes, WriteType::WithResponse)).await;
        written.map_err(|error| error.to_string())
    }

    /// Takes the notifications and asks for them.
    async fn subscribe(&self) -> impl Stream<Item = ValueNotification> + Unpin + use<> {
        let notifications = self.device.notifications().await.expect("notifications");
        within(self.device.subscribe(&self.port(0xFFE2))).await.expect("it notifies");
        notifications
    }
}

async fn client() -> Adapter {
    let manager = within(Manager::new()).await.expect("the bus");
    within(manager.adapters()).await.expect("BlueZ").remove(0)
}

async fn found(events: &mut (impl Stream<Item = CentralEvent> + Unpin)) -> btleplug::platform::PeripheralId {
    within(async {
        loop {
            if let CentralEvent::DeviceDiscovered(id) = events.next().await.expect("events go on") {
                return id;
            }
        }
    })
    .await
}

async fn heard(notifications: &mut (impl Stream<Item = ValueNotification> + Unpin)) -> Vec<u8> {
    within(notifications.next()).await.expect("they go on").value
}

async fn silent(notifications: &mut (impl Stream<Item = ValueNotification> + Unpin)) {
    assert_eq!(tokio::time::timeout(NEVER, notifications.next()).await.ok(), None, "nothing more is heard");
}

async fn a_seal_is_found_written_to_and_heard_and_each_write_is_on_record(bus: Bus) {
    let bench = Bench::new(bus).await;
    let known = bench.device.properties().await.expect("they are asked").expect("they are there");
    assert_eq!((known.rssi, known.local_name.as_deref()), (Some(-60), Some("echo")));
    assert_eq!(known.address, BDAddr::from(mac(1).0));
    bench.connect().await;
    let services: Vec<_> = bench.device.services().into_iter().map(|service| service.uuid).collect();
    assert_eq!(services, [uuid16(0x1801), uuid16(0xFFE0)], "and the Generic Attribute service every peripheral has");
    assert_eq!(bench.seal.advertises(), 0, "with a link it does not advertise");
    let mut notifications = bench.subscribe().await;
    bench.write(b"abc").await.expect("it is written");
    assert_eq!((heard(&mut notifications).await, heard(&mut notifications).await), (b"cba".to_vec(), vec![3]));
    let read = within(bench.device.read(&bench.port(0xFFE2))).await.expect("it is read");
    assert_eq!((read, heard(&mut notifications).await), (b"value".to_vec(), b"value".to_vec()), "a reading is announced too");
    bench.disconnect().await;
    let writes = bench.seal.writes();
    assert_eq!((writes.len(), &writes[0].bytes[..], writes[0].delivered), (1, &b"abc"[..], Delivered::Yes));
    let counts = bench.seal.counts();
    assert_eq!((counts.connects, counts.links, counts.ended, counts.writes, counts.reads, counts.notifications), (1, 1, 1, 1, 1, 2));
    assert_eq!((bench.bluez.links(), bench.bluez.called("StartDiscovery"), bench.bluez.writes().len()), (0, 1, 1));
}

async fn gatt_objects_outlive_their_link_and_say_that_it_is_gone(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.connect().await;
    let mut notifications = bench.subscribe().await;
    bench.disconnect().await;
    assert_eq!(bench.write(b"x").await, Err("Not connected".to_owned()));
    within(bench.device.connect()).await.expect("it connects again");
    bench.write(b"x").await.expect("the objects are the same as before");
    silent(&mut notifications).await;
    within(bench.device.subscribe(&bench.port(0xFFE2))).await.expect("each link is subscribed to anew");
    bench.write(b"y").await.expect("it is written");
    assert_eq!(heard(&mut notifications).await, b"y");
    bench.seal.loses_link();
    until("the device is no longer connected", || bench.bluez.links() == 0).await;
    assert_eq!(bench.write(b"x").await, Err("Not connected".to_owned()));
    assert_eq!(bench.seal.writes().len(), 2, "what found no link was no write");
}

async fn what_bluez_refuses_the_emulator_refuses_in_its_words(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.connect().await;
    assert_eq!(bench.write(&[0; 513]).await, Err("Invalid Length".to_owned()));
    let port = bench.port(0xFFE2);
    within(bench.device.subscribe(&port)).await.expect("once");
    assert!(within(bench.device.subscribe(&port)).await.is_err(), "twice is once too often");
    let refused = within(bench.device.write(&port, b"x", WriteType::WithResponse)).await;
    assert_eq!(refused.map_err(|error| error.to_string()), Err("Write not permitted".to_owned()));
    assert!(bench.adapter.start_scan(ScanFilter::default()).await.is_err(), "a client scans once");
    bench.adapter.stop_scan().await.expect("it scanned");
    let twice = bench.adapter.stop_scan().await.map_err(|error| error.to_string());
    assert_eq!(twice, Err("No discovery started".to_owned()));
    bench.disconnect().await;
    assert!(within(bench.device.disconnect()).await.is_err(), "it is not connected");
}

async fn a_signal_strength_is_gone_when_the_scan_is(bus: Bus) {
    let bench = Bench::new(bus).await;
    assert_eq!(bench.device.read_rssi().await.ok(), Some(-60));
    bench.adapter.stop_scan().await.expect("it scanned");
    assert!(bench.device.read_rssi().await.is_err());
    assert_eq!(bench.seal.advertises(), 0, "nobody listens");
    assert_eq!(bench.bluez.heard_and_unheard(), (1, 1));
}

async fn a_filter_of_a_scan_looks_at_the_listed_services_only(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.adapter.stop_scan().await.expect("it scanned");
    let filter = ScanFilter { services: vec![uuid16(0xFCD2)] };
    bench.adapter.start_scan(filter).await.expect("it scans again");
    let carried = [Payload::ServiceData { uuid: uuid16(0xFCD2), bytes: vec![0x40] }];
    assert_eq!(bench.bluez.hears(mac(9), -70, &carried), 0, "what only carries data of the service is not told of");
    assert_eq!(bench.bluez.hears_listing(mac(9), -70, &[uuid16(0xFCD2)], &carried), 1);
}

async fn a_connect_too_soon_after_a_disconnect_fails_once(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.bluez.pace(|pace| pace.settle = DEADLINE);
    bench.connect().await;
    within(bench.device.disconnect()).await.expect("it disconnects");
    let soon = within(bench.device.connect()).await.map_err(|error| error.to_string());
    assert_eq!(soon, Err("Input/output error".to_owned()));
    bench.bluez.pace(|pace| pace.settle = Duration::ZERO);
    within(bench.device.connect()).await.expect("later it connects");
}

async fn a_dropped_connect_goes_on_until_it_is_disconnected(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.seal.goes_away();
    assert!(tokio::time::timeout(NEVER, bench.device.connect()).await.is_err(), "it waits until the seal is heard");
    let again = within(bench.device.connect()).await.map_err(|error| error.to_string());
    assert_eq!(again, Err("Operation already in progress".to_owned()));
    within(bench.device.disconnect()).await.expect("that calls it off");
    bench.seal.comes_back();
    within(bench.device.connect()).await.expect("and then it connects");
    assert_eq!(bench.seal.counts().links, 1);
}

async fn connecting_meets_what_it_was_told_to(bus: Bus) {
    let bench = Bench::new(bus).await;
    let late = Duration::from_millis(400);
    bench.seal.connecting_meets(ConnectFault::Refused("le-connection-abort-by-local".to_owned()), Times::Next(2));
    bench.seal.connecting_meets(ConnectFault::After(late), Times::Next(1));
    bench.seal.connecting_meets(ConnectFault::Never, Times::Next(1));
    bench.seal.connecting_meets(ConnectFault::LostBeforeServices, Times::Next(1));
    bench.seal.connecting_meets(ConnectFault::NeverResolved, Times::Next(1));
    bench.seal.connecting_meets(ConnectFault::Vanishes, Times::Next(1));
    for _ in 0..2 {
        let refused = within(bench.device.connect()).await.map_err(|error| error.to_string());
        assert_eq!(refused, Err("le-connection-abort-by-local".to_owned()));
    }
    let since = Instant::now();
    within(bench.device.connect()).await.expect("late");
    assert!(since.elapsed() >= late);
    bench.disconnect().await;
    assert!(tokio::time::timeout(NEVER, bench.device.connect()).await.is_err(), "never");
    bench.disconnect().await;
    assert!(tokio::time::timeout(NEVER, bench.device.connect()).await.is_err(), "the services never come: the link is gone");
    assert_eq!((bench.bluez.links(), bench.seal.counts().links), (0, 2));
    assert!(tokio::time::timeout(NEVER, bench.device.connect()).await.is_err(), "the services never come: the link stays");
    assert_eq!(bench.bluez.links(), 1);
    bench.disconnect().await;
    assert!(tokio::time::timeout(NEVER, bench.device.connect()).await.is_err(), "it vanished");
    assert!(bench.device.properties().await.is_err() && bench.bluez.hci0().devices().is_empty());
    bench.seal.advertises();
    within(bench.device.connect()).await.expect("all faults have struck");
}

async fn a_link_lost_in_a_write_is_an_att_error_whether_or_not_the_seal_got_it(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.seal.writing_meets(WriteFault::AttError(0x80), Times::Next(1));
    for delivered in [Delivered::Yes, Delivered::No] {
        bench.seal.writing_meets(WriteFault::LinkLost(delivered), Times::Next(1));
    }
    bench.seal.writing_meets(WriteFault::LinkLostAfterwards, Times::Next(1));
    for delivered in [Delivered::Yes, Delivered::No] {
        bench.seal.writing_meets(WriteFault::Unanswered(delivered), Times::Next(1));
    }
    bench.connect().await;
    let mut notifications = bench.subscribe().await;
    assert_eq!(bench.write(b"1").await, Err("Operation failed with ATT error: 0x80".to_owned()));
    for bytes in [b"2", b"3"] {
        assert_eq!(bench.write(bytes).await, Err("Operation failed with ATT error: 0x0e".to_owned()));
        assert_eq!(bench.write(bytes).await, Err("Not connected".to_owned()));
        bench.connect().await;
        within(bench.device.subscribe(&bench.port(0xFFE2))).await.expect("it notifies");
    }
    bench.write(b"4").await.expect("the answer came before the link went");
    assert_eq!(bench.write(b"4").await, Err("Not connected".to_owned()));
    silent(&mut notifications).await;
    bench.connect().await;
    within(bench.device.subscribe(&bench.port(0xFFE2))).await.expect("it notifies");
    for bytes in [b"5", b"6"] {
        let write = bench.device.write(&bench.port(0xFFE1), bytes, WriteType::WithResponse).await_at_most(NEVER).await;
        assert!(write.is_none(), "nobody answers");
    }
    assert_eq!(heard(&mut notifications).await, b"5");
    assert_eq!(heard(&mut notifications).await, [1]);
    silent(&mut notifications).await;
    assert_eq!(*bench.got.lock().expect("no panic"), [b"2", b"4", b"5"]);
    let delivered: Vec<_> = bench.seal.writes().iter().map(|written| written.delivered == Delivered::Yes).collect();
    assert_eq!(delivered, [false, true, false, true, true, false], "each write is on record, whatever became of it");
}

trait AtMost: Future + Sized {
    async fn await_at_most(self, limit: Duration) -> Option<Self::Output> {
        tokio::time::timeout(limit, self).await.ok()
    }
}

impl<F: Future> AtMost for F {}

async fn notifications_are_lost_doubled_late_or_merged_when_told(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.connect().await;
    let mut notifications = bench.subscribe().await;
    for (fault, told) in [
        (NotifyFault::Lost, &[][..]),
        (NotifyFault::LostOne(0), &[2][..]),
        (NotifyFault::Twice, &[b'b', b'b', 2, 2]),
        (NotifyFault::Merged, &[2]),
        (NotifyFault::Late(NEVER * 2), &[]),
    ] {
        bench.seal.notifying_meets(fault, Times::Next(1));
        bench.write(b"ab").await.expect("it is written");
        for first in told {
            assert_eq!(heard(&mut notifications).await[0], *first, "{fault:?}");
        }
        silent(&mut notifications).await;
    }
    assert_eq!(heard(&mut notifications).await, b"ba", "late");
    assert_eq!(heard(&mut notifications).await, [2]);
    bench.seal.notifies(b"by itself");
    assert_eq!(heard(&mut notifications).await, b"by itself");
}

async fn a_call_of_any_name_can_be_withheld_delayed_or_refused(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.connect().await;
    let port = bench.port(0xFFE2);
    let read = || bench.device.read(&port).await_at_most(NEVER);
    bench.bluez.answers("ReadValue", Answer::Never, Times::Next(1));
    bench.bluez.hci0().answers("ReadValue", Answer::After(NEVER / 3), Times::Next(1));
    bench.seal.answers("ReadValue", &Answer::att_error(0x81), Times::Next(1));
    assert!(read().await.is_none(), "never");
    assert_eq!(bench.seal.counts().reads, 0, "and it did not happen");
    assert!(read().await.expect("late").is_ok());
    let refused = read().await.expect("at once").map_err(|error| error.to_string());
    assert_eq!(refused, Err("Operation failed with ATT error: 0x81".to_owned()));
    bench.bluez.answers("ReadValue", Answer::Mute, Times::Always);
    assert!(read().await.is_none());
    assert_eq!(bench.seal.counts().reads, 2, "it happened");
    bench.bluez.answers_again();
    assert!(read().await.expect("at once").is_ok());
    bench.bluez.answers("GetAll", Answer::Never, Times::Always);
    assert!(bench.device.properties().await_at_most(NEVER).await.is_none());
}

async fn a_device_not_heard_for_long_is_forgotten(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.bluez.pace(|pace| pace.expiry = Duration::from_millis(100));
    bench.connect().await;
    bench.bluez.hears(mac(2), -60, &[Payload::Bare]);
    until("it is forgotten", || bench.bluez.hci0().devices() == [mac(1)]).await;
    // the first object was made before the pace was changed; it goes by what was said then, and not while connected
    assert!(bench.device.properties().await.is_ok());
}

async fn an_adapter_says_that_it_is_off_before_it_is_gone_and_takes_its_links_with_it(bus: Bus) {
    let bench = Bench::new(bus).await;
    let mut events = bench.adapter.events().await.expect("events");
    bench.connect().await;
    assert_eq!(bench.bluez.hci0().links(), 1);
    bench.bluez.hci0().pull();
    let off = within(async {
        let mut links = 1;
        loop {
            match events.next().await.expect("events go on") {
                CentralEvent::DeviceDisconnected(_) => links -= 1,
                CentralEvent::StateUpdate(CentralState::PoweredOff) => return links,
                _ => {}
            }
        }
    });
    assert_eq!(off.await, 0);
    assert_eq!(bench.bluez.links(), 0);
    assert!(bench.adapter.start_scan(ScanFilter::default()).await.is_err(), "there is no such adapter");
    bench.bluez.hci0().put_back("hci3");
    let adapter = client().await;
    assert!(adapter.adapter_info().await.expect("it is there").starts_with("hci3 "));
    adapter.start_scan(ScanFilter::default()).await.expect("and it scans");
    assert_eq!(bench.seal.advertises(), 1);
}

async fn a_client_that_leaves_the_bus_scans_no_more_and_its_rules_go(bus: Bus) {
    let bluez = Bluez::start(&bus.address).expect("nobody else is BlueZ");
    let hci0 = bluez.hci0();
    let (scans, held) = (bluez.hci0(), bluez.rules().clone());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let adapter = client().await;
            let _events = adapter.events().await.expect("events");
            adapter.start_scan(ScanFilter::default()).await.expect("it scans");
            until("its rules are seen", || held.total() == 2).await;
            assert!(scans.is_scanning());
        });
    });
    until("it has left", || thread.is_finished()).await;
    thread.join().expect("it scanned");
    until("nobody scans", || !hci0.is_scanning()).await;
    until("its rules are gone", || bluez.rules().total() == 0).await;
}

async fn a_hundred_connections_leave_no_match_rule_behind(bus: Bus) {
    let bench = Bench::new(bus).await;
    let _events = bench.adapter.events().await.expect("events");
    bench.connect().await;
    within(bench.device.disconnect()).await.expect("it disconnects");
    // the stream of events has two
    let before = 2;
    until("they are seen", || bench.bluez.rules().total() == before).await;
    for _ in 0..100 {
        within(bench.device.connect()).await.expect("it connects");
        within(bench.device.disconnect()).await.expect("it disconnects");
    }
    until("no rule is left behind", || bench.bluez.rules().total() == before).await;
    assert_eq!(bench.seal.counts().links, 101);
}

async fn two_seals_of_one_name_are_two_devices(bus: Bus) {
    let bench = Bench::new(bus).await;
    let got = Arc::default();
    let twin = bench.bluez.add(Arc::new(Mutex::new(Echo { address: mac(2), got: Arc::clone(&got) })));
    let mut events = bench.adapter.events().await.expect("events");
    twin.advertises();
    let other = within(async {
        loop {
            let id = found(&mut events).await;
            if id != bench.device.id() {
                return bench.adapter.peripheral(&id).await.expect("it is there");
            }
        }
    });
    let other = other.await;
    assert_eq!(other.properties().await.expect("asked").expect("there").local_name.as_deref(), Some("echo"));
    bench.connect().await;
    bench.write(b"x").await.expect("it is written");
    assert_eq!((bench.got.lock().expect("no panic").len(), got.lock().expect("no panic").len()), (1, 0));
    assert!(bench.seal.is_linked() && !twin.is_linked());
}

async fn a_seal_that_wants_to_pair_gets_silence_and_then_its_object_is_gone(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.bluez.pace(|pace| pace.pairing = NEVER);
    bench.connect().await;
    bench.seal.writing_meets(WriteFault::AttError(0x05), Times::Always);
    let write = bench.device.write(&bench.port(0xFFE1), b"x", WriteType::WithResponse).await_at_most(NEVER / 2).await;
    assert!(write.is_none());
    until("its object goes", || bench.bluez.hci0().devices().is_empty()).await;
}

async fn a_disconnect_is_answered_when_the_link_is_down_and_it_stays_up_meanwhile(bus: Bus) {
    let bench = Bench::new(bus).await;
    bench.connect().await;
    bench.bluez.pace(|pace| pace.disconnect = NEVER * 2);
    assert!(bench.device.disconnect().await_at_most(NEVER).await.is_none());
    assert_eq!(bench.bluez.links(), 1);
    until("then it is down", || bench.bluez.links() == 0).await;
}

/// What BlueZ signals, one word for each signal, until one of it is `last`.
async fn words(signals: &mut zbus::MessageStream, last: &str) -> Vec<String> {
    type Props = std::collections::BTreeMap<String, zbus::OwnedVariant>;
    let mut words = Vec::new();
    while words.last().is_none_or(|word| word != last) {
        let signal = within(signals.next()).await.expect("they go on").expect("it is a message");
        let header = signal.header();
        if header.interface().is_none_or(|interface| interface.as_str() == "org.freedesktop.DBus") {
            continue;
        }
        let path = header.path().expect("a signal has one").to_string();
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().chars().take(7).collect::<String>();
        words.push(match header.member().expect("a signal has one").as_str() {
            "PropertiesChanged" => {
                let (_, changed, gone) = signal.body().deserialize::<(String, Props, Vec<String>)>().expect("its arguments");
                let tell = |(name, value): (String, zbus::OwnedVariant)| match bool::try_from(value) {
                    Ok(value) => format!("{name}={value}"),
                    Err(_) => name,
                };
                let told: Vec<_> = changed.into_iter().map(tell).chain(gone.into_iter().map(|name| format!("-{name}"))).collect();
                format!("{}: {}", last(&path), told.join(" "))
            }
            member => {
                let body = signal.body();
                let object = match member {
                    "InterfacesAdded" => {
                        body.deserialize::<(zbus::ObjectPath<'_>, std::collections::BTreeMap<String, Props>)>().expect("its arguments").0
                    }
                    _ => body.deserialize::<(zbus::ObjectPath<'_>, Vec<String>)>().expect("its arguments").0,
                };
                format!("{} {}", if member == "InterfacesAdded" { "+" } else { "-" }, last(object.as_str()))
            }
        });
    }
    words
}

async fn signals_come_in_the_order_and_the_company_bluetoothd_sends_them_in(bus: Bus) {
    let listener = zbus::connection::Builder::address(bus.address.as_str()).build().await.expect("the bus");
    let bus_itself = Some("org.freedesktop.DBus");
    let mut signals = zbus::MessageStream::from(&listener);
    listener.call_method(bus_itself, "/org/freedesktop/DBus", bus_itself, "AddMatch", &("sender='org.bluez'",)).await.expect("a rule");
    let bench = Bench::new(bus).await;
    bench.connect().await;
    bench.disconnect().await;
    let began = ["+ hci0", "hci0: Powered=true", "hci0: Discovering=true", "+ dev_A4_"];
    let connected = ["dev_A4_: Connected=true", "+ service", "+ char000", "+ desc000", "+ service", "+ char001", "+ char001", "+ desc001"];
    let ended = ["dev_A4_: ServicesResolved=true UUIDs", "dev_A4_: ServicesResolved=false", "dev_A4_: Connected=false"];
    assert_eq!(words(&mut signals, ended[2]).await, [&began[..], &connected, &ended].concat());
    bench.seal.advertises();
    assert_eq!(words(&mut signals, "dev_A4_: ManufacturerData RSSI").await.len(), 1, "all of an advertisement in one signal");
    bench.adapter.stop_scan().await.expect("it scanned");
    assert_eq!(words(&mut signals, "dev_A4_: -RSSI").await, ["hci0: Discovering=false", "dev_A4_: -RSSI"]);
    bench.bluez.hci0().pull();
    let gone = ["hci0: Powered=false", "- desc001", "- char001", "- char001", "- service", "- desc000", "- char000", "- service"];
    assert_eq!(words(&mut signals, "- hci0").await, [&gone[..], &["- dev_A4_", "- hci0"]].concat());
}

async fn the_bus_dies_and_bluez_returns_on_the_next(mut bus: Bus) {
    let bluez = Bluez::start(&bus.address).expect("nobody else is BlueZ");
    bus.dies();
    bus.returns().expect("it comes back");
    bluez.returns().expect("and BlueZ with it");
    assert!(client().await.adapter_info().await.is_ok());
    bluez.dies().expect("it dies");
    let manager = within(Manager::new()).await.expect("the bus");
    assert!(manager.adapters().await.is_err(), "nobody is BlueZ");
    bluez.returns().expect("it returns");
    assert_eq!(manager.adapters().await.expect("BlueZ").len(), 1);
}
