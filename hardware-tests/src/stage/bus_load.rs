//! What the bus carries, as dbus-daemon counts it: a client that leaks shows here.

use anyhow::{Context, ensure};
use tokio::process::Command;

/// Of all connections to the system bus together, bluetoothd's own among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusLoad {
    /// Match rules. A connection may have 512.
    pub match_rules: u32,
    /// Connections, the asking program's own among them.
    pub connections: u32,
}

impl BusLoad {
    /// Now.
    ///
    /// # Errors
    /// When dbus-daemon does not answer or was built without counting (Debian's counts).
    pub async fn now() -> anyhow::Result<Self> {
        let mut command = Command::new("dbus-send");
        command.args(["--system", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
        let output = command.arg("org.freedesktop.DBus.Debug.Stats.GetStats").output().await.context("dbus-send, of Debian's package dbus")?;
        ensure!(output.status.success(), "dbus-daemon does not say its load: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(Self { match_rules: count(&text, "MatchRules")?, connections: count(&text, "ActiveConnections")? })
    }
}

/// The number after `string "NAME"`: `variant  uint32 7`.
fn count(stats: &str, name: &str) -> anyhow::Result<u32> {
    let (_, after) = stats.split_once(&format!("\"{name}\"")).with_context(|| format!("no {name} in dbus-daemon's load"))?;
    let (_, number) = after.split_once("uint32 ").context("a number")?;
    Ok(number.split_whitespace().next().context("a number")?.parse()?)
}
