//! Just enough of BlueZ on a private D-Bus to hear a seal through: one adapter, a few devices, and faults.

use std::{
    collections::HashMap,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use dbus::{
    Message,
    arg::{PropMap, RefArg, Variant},
    blocking::Connection,
    channel::{MatchingReceiver, Sender},
    message::MatchRule,
};

const ADAPTER: &str = "/org/bluez/hci0";
const SERVICE_DATA: &str = "0000fcd2-0000-1000-8000-00805f9b34fb";

/// Whether D-Bus's daemon is on this machine.
pub(crate) fn has_daemon() -> bool {
    let mut daemon = Command::new("dbus-daemon");
    daemon.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    daemon.status().is_ok_and(|status| status.success())
}

/// A bus of our own.
pub(crate) struct Bus {
    daemon: Child,
    pub(crate) address: String,
}

impl Bus {
    pub(crate) fn start(directory: &Path) -> Self {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let config = directory.join("bus.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><listen>{address}</listen>\
             <auth>EXTERNAL</auth><policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>"
        );
        std::fs::write(&config, text).expect("the bus's configuration");
        let mut daemon = Command::new("dbus-daemon");
        daemon.arg(format!("--config-file={}", config.display())).args(["--nofork", "--nopidfile"]).stdout(Stdio::null());
        let daemon = daemon.spawn().expect("dbus-daemon is installed");
        let since = Instant::now();
        while !socket.exists() {
            assert!(since.elapsed() < super::DEADLINE, "the bus listens in time");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { daemon, address }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A device as BlueZ knows it: its signal strength while it is heard, and its service data.
type Device = (Option<i16>, Vec<u8>);

/// What the emulated BlueZ knows and counts.
#[derive(Default)]
struct State {
    devices: Mutex<HashMap<String, Device>>,
    scans: AtomicU32,
    refuse_scans: AtomicBool,
}

/// The emulated BlueZ, on a thread of its own until it is dropped.
pub(crate) struct Bluez {
    state: Arc<State>,
    signals: Option<mpsc::Sender<Message>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bluez {
    /// Takes the name `org.bluez` on the system bus of this process.
    pub(crate) fn start() -> Self {
        let state = Arc::new(State::default());
        let connection = Connection::new_system().expect("the private bus");
        connection.request_name("org.bluez", false, true, false).expect("nobody else is BlueZ there");
        let serving = Arc::clone(&state);
        let answer = move |message: Message, connection: &Connection| {
            let _ = connection.send(reply(&serving, &message));
            true
        };
        connection.start_receive(MatchRule::new_method_call(), Box::new(answer));
        let (signals, waiting) = mpsc::channel::<Message>();
        let thread = std::thread::spawn(move || {
            loop {
                connection.process(Duration::from_millis(2)).expect("the bus stays");
                match waiting.try_recv() {
                    Ok(signal) => connection.send(signal).map(drop).expect("the bus stays"),
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
        });
        Self { state, signals: Some(signals), thread: Some(thread) }
    }

    /// A device that BlueZ remembers and does not hear.
    pub(crate) fn remembers(&self, device: &str, service_data: &[u8]) {
        self.state.devices.lock().expect("no panic").insert(path(device), (None, service_data.to_vec()));
    }

    /// A device advertises: for the first time, as a new object; after that, as changed properties.
    pub(crate) fn hears(&self, device: &str, rssi: i16, service_data: &[u8]) {
        let path = path(device);
        let known = self.state.devices.lock().expect("no panic").insert(path.clone(), (Some(rssi), service_data.to_vec()));
        let properties = device_properties(&path, Some(rssi), service_data);
        let signal = if known.is_some() {
            let changed: PropMap = properties.into_iter().filter(|(name, _)| name == "RSSI" || name == "ServiceData").collect();
            let signal = Message::new_signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged").expect("names");
            signal.append3("org.bluez.Device1", changed, Vec::<String>::new())
        } else {
            let interfaces = HashMap::from([("org.bluez.Device1".to_owned(), properties)]);
            let signal = Message::new_signal("/", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded").expect("names");
            signal.append2(dbus::Path::from(path), interfaces)
        };
        self.signals.as_ref().expect("until it is dropped").send(signal).expect("it serves");
    }

    /// How often a scan was begun.
    pub(crate) fn scans(&self) -> u32 {
        self.state.scans.load(Ordering::Relaxed)
    }

    /// From now on no scan can be begun, as when the adapter was pulled.
    pub(crate) fn refuse_scans(&self) {
        self.state.refuse_scans.store(true, Ordering::Relaxed);
    }
}

impl Drop for Bluez {
    fn drop(&mut self) {
        drop(self.signals.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn path(device: &str) -> String {
    format!("{ADAPTER}/dev_{}", device.replace(':', "_"))
}

fn reply(state: &State, message: &Message) -> Message {
    let path = message.path().map(|path| path.to_string()).unwrap_or_default();
    let back = message.method_return();
    match message.member().as_deref() {
        Some("GetManagedObjects") => back.append1(objects(state)),
        Some("GetAll") if path == ADAPTER => back.append1(adapter_properties()),
        Some("GetAll") => match state.devices.lock().expect("no panic").get(&path) {
            Some((rssi, data)) => back.append1(device_properties(&path, *rssi, data)),
            None => message.error(&"org.freedesktop.DBus.Error.UnknownObject".into(), c"no such device"),
        },
        Some("StartDiscovery") if state.refuse_scans.load(Ordering::Relaxed) => {
            message.error(&"org.bluez.Error.NotReady".into(), c"Resource Not Ready")
        }
        Some("StartDiscovery") => {
            state.scans.fetch_add(1, Ordering::Relaxed);
            back
        }
        _ => back,
    }
}

fn objects(state: &State) -> HashMap<dbus::Path<'static>, HashMap<String, PropMap>> {
    let devices = state.devices.lock().expect("no panic");
    let mut objects: HashMap<_, _> = devices
        .iter()
        .map(|(path, (rssi, data))| {
            let properties = device_properties(path, *rssi, data);
            (dbus::Path::from(path.clone()), HashMap::from([("org.bluez.Device1".to_owned(), properties)]))
        })
        .collect();
    objects.insert(ADAPTER.into(), HashMap::from([("org.bluez.Adapter1".to_owned(), adapter_properties())]));
    objects
}

fn text(value: &str) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value.to_owned()))
}

fn yes(value: bool) -> Variant<Box<dyn RefArg>> {
    Variant(Box::new(value))
}

fn adapter_properties() -> PropMap {
    HashMap::from([
        ("Address".to_owned(), text("00:11:22:33:44:55")),
        ("AddressType".to_owned(), text("public")),
        ("Name".to_owned(), text("gate")),
        ("Alias".to_owned(), text("gate")),
        ("Modalias".to_owned(), text("usb:v1D6Bp0246d0542")),
        ("Powered".to_owned(), yes(true)),
        ("Discovering".to_owned(), yes(true)),
    ])
}

fn device_properties(path: &str, rssi: Option<i16>, service_data: &[u8]) -> PropMap {
    let address = path.rsplit_once("dev_").map(|(_, address)| address.replace('_', ":")).unwrap_or_default();
    let data: HashMap<String, Variant<Box<dyn RefArg>>> =
        HashMap::from([(SERVICE_DATA.to_owned(), Variant(Box::new(service_data.to_vec()) as Box<dyn RefArg>))]);
    let mut properties: PropMap = HashMap::from([
        ("Address".to_owned(), text(&address)),
        ("AddressType".to_owned(), text("random")),
        ("Alias".to_owned(), text("seal")),
        ("ServiceData".to_owned(), Variant(Box::new(data) as Box<dyn RefArg>)),
    ]);
    for name in ["Paired", "Connected", "ServicesResolved", "Trusted", "Blocked", "LegacyPairing"] {
        properties.insert(name.to_owned(), yes(false));
    }
    if let Some(rssi) = rssi {
        properties.insert("RSSI".to_owned(), Variant(Box::new(rssi)));
    }
    properties
}
