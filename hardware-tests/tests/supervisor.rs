//! What the gate tells a service supervisor, heard on a real notification socket.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::{
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use segel_hardware_tests::rig::{Rig, RigConfig};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends the process when a test fails half way.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The notification that holds this line, and all that came before it.
fn until_told(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    let mut buffer = [0; 4_096];
    while Instant::now() < deadline {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        if let Ok(length) = socket.recv(&mut buffer) {
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            if told.iter().any(|message| message.lines().any(|line| line.starts_with(wanted))) {
                return told;
            }
        }
    }
    panic!("{wanted} was not told, but {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_supervisor_is_told_ready_how_it_is_alive_and_stopping() {
    let rig = Rig::build(PROGRAM, &RigConfig::default()).unwrap();
    let path = rig.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let child = Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(rig.gate.config())
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);

    let before_ready = until_told(&socket, "READY=1");
    assert!(!before_ready.concat().contains("STOPPING=1"), "{before_ready:?}");
    // Ready means that the local API answers and the monitors' port is open.
    let status = segel::api::ask_status(&rig.dir().join("run")).await.unwrap();
    std::net::TcpStream::connect(status.broker.expect("the broker is bound").listen).unwrap();

    let alive = until_told(&socket, "WATCHDOG=1").concat();
    assert!(alive.contains("STATUS=g01: ") || until_told(&socket, "STATUS=").concat().contains("STATUS=g01: "), "{alive}");

    kill_process(Pid::from_raw(child.0.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    until_told(&socket, "STOPPING=1");
    assert!(child.0.wait().unwrap().success());
}

/// A gate that has nothing to listen to is still alive, and must not be restarted for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_without_radios_feeds_the_watchdog_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let (place, config) = (dir.path().display(), dir.path().join("segel.toml"));
    let text = format!(
        "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nstate_dir = \"{place}/state\"\nruntime_dir = \"{place}/run\"\n\
         [broker]\nlisten = \"127.0.0.1:0\"\n[uplink]\nenabled = false\n"
    );
    std::fs::write(&config, text).unwrap();
    let path = dir.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(&config).env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(Stdio::null());
    let _child = Ended(command.spawn().unwrap());
    // Ingest counts as stuck after ten seconds without a look around; a beat comes every five.
    for _ in 0..4 {
        until_told(&socket, "WATCHDOG=1");
    }
}

/// An init that hangs must not hang the gate: its socket takes nothing more before the gate says its first word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_does_not_read_does_not_hold_up_the_gate() {
    let rig = Rig::build(PROGRAM, &RigConfig::default()).unwrap();
    let path = rig.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"X=1", &path).is_ok() {}
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(rig.gate.config()).env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = Ended(command.spawn().unwrap());
    let deadline = Instant::now() + PATIENCE;
    while segel::api::ask_status(&rig.dir().join("run")).await.is_err() {
        assert!(Instant::now() < deadline, "the gate opens, whoever listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill_process(Pid::from_raw(child.0.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    while child.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "and closes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(socket);
}
