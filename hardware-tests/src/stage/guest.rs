//! The real stage: this process runs in the guest that `bluez-uml/run` starts, beside the real bluetoothd and kernel.
//!
//! The seals and the stick are those of `seals.py`, told over its socket in lines and answered in lines of JSON.
//! bluetoothd is a process of the guest, killed and started like any.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use segel_drivers::{
    MacAddress, SealKey,
    ble::{AdapterName, KnownSeal, protocol::ProtocolName},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Command,
};

use super::{Life, Stage, StagedSeal, WriteFate};
use crate::length::Length;

/// Where `guest/session` has the seals' socket.
const SEALS_SOCKET: &str = "/run/seals.sock";
/// What starts bluetoothd in the guest.
const START_BLUETOOTHD: &str = "/segel/guest/bluetoothd";
/// The adapter the kernel makes of the stick. It keeps this number when it is pulled and put in again.
const ADAPTER: &str = "hci0";
/// How long one command may take, and how long BlueZ may take to have or lose its adapter.
const DONE_WITHIN: Duration = Duration::from_secs(20);
/// How often a change is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The real stage.
#[derive(Debug)]
pub struct Guest {
    seals: BufReader<UnixStream>,
    beacons: Vec<StagedSeal>,
    connectable: Vec<StagedSeal>,
}

impl Guest {
    /// Meets the seals of the guest this process runs in.
    ///
    /// # Errors
    /// When it does not run in one.
    pub async fn enter() -> anyhow::Result<Self> {
        let stream = UnixStream::connect(SEALS_SOCKET).await;
        let stream = stream.with_context(|| format!("no seals on {SEALS_SOCKET}; start this by hardware-tests/bluez-uml/run"))?;
        let mut guest = Self { seals: BufReader::new(stream), beacons: Vec::new(), connectable: Vec::new() };
        let listed = guest.tell("list").await?;
        for address in listed["seals"].as_array().context("a list of seals")? {
            let address: MacAddress = address.as_str().context("an address")?.parse()?;
            let told = guest.tell(&format!("tell {address}")).await?;
            let staged = staged(address, &told)?;
            match staged.known.protocol {
                ProtocolName::Bthome => guest.beacons.push(staged),
                _ => guest.connectable.push(staged),
            }
        }
        Ok(guest)
    }

    /// Tells the seals something and gives their answer.
    ///
    /// # Errors
    /// When they did not do it.
    pub async fn tell(&mut self, command: &str) -> anyhow::Result<Value> {
        let conversation = async {
            self.seals.get_mut().write_all(format!("{command}\n").as_bytes()).await?;
            let mut line = String::new();
            self.seals.read_line(&mut line).await?;
            anyhow::Ok(serde_json::from_str::<Value>(&line).with_context(|| format!("the answer {line:?}"))?)
        };
        let answer = tokio::time::timeout(DONE_WITHIN, conversation).await;
        let answer = answer.with_context(|| format!("no answer to `{command}`"))?.with_context(|| command.to_owned())?;
        ensure!(answer.get("error").is_none(), "`{command}` was not done: {}", answer["error"]);
        Ok(answer)
    }

    async fn adapter_is_there(&self) -> bool {
        bluez(&["org.freedesktop.DBus.Properties.Get", "string:org.bluez.Adapter1", "string:Powered"]).await.is_ok()
    }

    async fn wait_for_adapter(&self, there: bool) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.adapter_is_there().await != there {
            ensure!(since.elapsed() < DONE_WITHIN, "bluetoothd {} the adapter", if there { "has not" } else { "still has" });
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn staged(address: MacAddress, told: &Value) -> anyhow::Result<StagedSeal> {
    let key = told["key"].as_str().map(str::parse::<SealKey>).transpose()?;
    let bytes = address.0;
    let number = u16::from_be_bytes([bytes[4], bytes[5]]);
    let known = match told["kind"].as_str() {
        Some("bthome") => KnownSeal::bthome(format!("BTH-{number}").parse()?, key),
        Some("segel") => {
            let mut known = KnownSeal::new(told["seal"].as_str().context("the seal's number")?.parse()?, ProtocolName::Segel);
            known.credentials.key = key;
            known
        }
        other => bail!("a seal of unknown kind {other:?}"),
    };
    Ok(StagedSeal { address, known })
}

/// A call of the adapter's object, by a program of the guest, so that this process's own connection is not in it.
async fn bluez(call: &[&str]) -> anyhow::Result<String> {
    let object = format!("/org/bluez/{ADAPTER}");
    let mut command = Command::new("dbus-send");
    command.args(["--system", "--print-reply", "--reply-timeout=10000", "--dest=org.bluez", &object]).args(call);
    let output = command.output().await.context("dbus-send")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// bluetoothd, if one runs.
fn bluetoothd() -> Option<rustix::process::Pid> {
    let runs = |directory: &Path| {
        let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        (head.ends_with("(bluetoothd") && !tail.starts_with('Z')).then_some(())?;
        directory.file_name()?.to_str()?.parse().ok().and_then(rustix::process::Pid::from_raw)
    };
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| runs(&entry.path()))
}

impl Stage for Guest {
    fn adapter(&self) -> AdapterName {
        AdapterName::Kernel(ADAPTER.to_owned())
    }

    fn beacons(&self) -> Vec<StagedSeal> {
        self.beacons.clone()
    }

    fn seals(&self) -> Vec<StagedSeal> {
        self.connectable.clone()
    }

    async fn mend(&mut self) -> anyhow::Result<()> {
        self.tell("plug").await?;
        self.tell("duplicates none").await?;
        self.tell("online all").await?;
        for seal in self.seals() {
            self.forget_fates(seal.address).await?;
            self.tell(&format!("set {} bolt 1", seal.address)).await?;
        }
        if bluetoothd().is_none() {
            return self.start_bluez().await;
        }
        self.wait_for_adapter(true).await
    }

    async fn next_writes(&mut self, seal: MacAddress, fates: &[WriteFate]) -> anyhow::Result<()> {
        for fate in fates {
            let fault = match fate {
                WriteFate::Fine => "fine".to_owned(),
                WriteFate::Att(code) => format!("att {code}"),
                WriteFate::LostBefore => "lose-before".to_owned(),
                WriteFate::LostAfter => "lose-after".to_owned(),
                WriteFate::LostBeforeReply => "lose-reply".to_owned(),
                WriteFate::Unanswered => "hang".to_owned(),
                WriteFate::Mute => "mute".to_owned(),
                WriteFate::Twice => "twice".to_owned(),
                WriteFate::Late(milliseconds) => format!("late {milliseconds}"),
            };
            self.tell(&format!("fault {seal} {fault}")).await?;
        }
        Ok(())
    }

    async fn forget_fates(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.tell(&format!("clear {seal}")).await.map(drop)
    }

    async fn vanish_while_connecting(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.tell(&format!("fault {seal} vanish")).await.map(drop)
    }

    async fn take_away(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.tell(&format!("offline {seal}")).await.map(drop)
    }

    async fn bring_back(&mut self, seal: MacAddress) -> anyhow::Result<()> {
        self.tell(&format!("online {seal}")).await.map(drop)
    }

    async fn dullest_duplicate_filter(&mut self) -> anyhow::Result<()> {
        self.tell("duplicates address").await.map(drop)
    }

    async fn power_off(&mut self) -> anyhow::Result<()> {
        let off = ["org.freedesktop.DBus.Properties.Set", "string:org.bluez.Adapter1", "string:Powered", "variant:boolean:false"];
        bluez(&off).await.map(drop)
    }

    async fn pull(&mut self) -> anyhow::Result<()> {
        self.tell("pull").await?;
        self.wait_for_adapter(false).await
    }

    async fn plug(&mut self) -> anyhow::Result<()> {
        self.tell("plug").await?;
        self.wait_for_adapter(true).await
    }

    async fn kill_bluez(&mut self) -> anyhow::Result<()> {
        let pid = bluetoothd().context("bluetoothd does not run")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        let since = Instant::now();
        while bluetoothd().is_some() {
            ensure!(since.elapsed() < DONE_WITHIN, "bluetoothd does not die");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn start_bluez(&mut self) -> anyhow::Result<()> {
        let status = Command::new(START_BLUETOOTHD).status().await.context(START_BLUETOOTHD)?;
        ensure!(status.success(), "{START_BLUETOOTHD}: {status}");
        self.wait_for_adapter(true).await
    }

    fn sessions_in_a_row(&self) -> Length {
        // bluetoothd takes two seconds for each disconnect.
        Length { ci: 30, nightly: 300 }
    }

    async fn life(&mut self, seal: MacAddress) -> anyhow::Result<Life> {
        Ok(serde_json::from_value(self.tell(&format!("tell {seal}")).await?)?)
    }
}
