//! A serial port, opened by its stable name.
//!
//! What must hold: a port that hangs up is noticed at the next read (the kernel says so by reading nothing, at once
//! and for ever); no call waits without a deadline; closing never waits for a dead device; each reason for not
//! opening comes with what to do about it, in one line that stays the same as long as the reason does.
//!
//! It never flushes: draining the line would block the thread for as long as the device holds it up.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{ClearBuffer, DataBits, ErrorKind, FlowControl, Parity, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

use crate::RadioFault;

/// Opening talks to the driver; a dying USB device can hold that up.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// A command is at most 256 bytes, 270 ms at 9600 baud.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);
/// Where udev names adapters by their own serial number, and by the socket they are plugged into.
const STABLE_NAMES: [&str; 2] = ["/dev/serial/by-id", "/dev/serial/by-path"];
/// Most names listed in a reason.
const NAMES_MAX: usize = 8;

/// An open port: raw, 8 data bits, no parity, 1 stop bit, ours alone.
#[derive(Debug)]
pub struct Port {
    stream: SerialStream,
    name: String,
}

impl Port {
    /// Opens `path` at `baud` and throws away what arrived before.
    ///
    /// # Errors
    /// [`RadioFault::Open`] with what to do.
    pub async fn open(path: &Path, baud: u32) -> Result<Self, RadioFault> {
        let name = path.display().to_string();
        let fault = |reason: String| RadioFault::Open { device: name.clone(), reason };
        let owned = path.to_owned();
        let opening = tokio::task::spawn_blocking(move || open_now(&owned, baud));
        let stream = match tokio::time::timeout(OPEN_DEADLINE, opening).await {
            Ok(Ok(Ok(stream))) => stream,
            Ok(Ok(Err(error))) => {
                let path = path.to_owned();
                let reason = tokio::task::spawn_blocking(move || remedy(&error, &path)).await;
                return Err(fault(reason.unwrap_or_else(|_| "the gate is stopping".to_owned())));
            }
            Ok(Err(_)) => return Err(fault("opening was given up; the gate is stopping".to_owned())),
            Err(_) => return Err(fault("opening did not end; unplug the adapter and plug it in again".to_owned())),
        };
        Ok(Self { stream, name })
    }

    /// Waits for bytes; at least one.
    ///
    /// # Errors
    /// [`RadioFault::Gone`] when the line hung up: drop the port before opening it again.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, RadioFault> {
        match self.stream.read(buffer).await {
            Ok(0) => Err(self.gone("the line hung up (unplugged?)")),
            Ok(n) => Ok(n),
            Err(error) => Err(self.gone(&format!("reading failed: {error}"))),
        }
    }

    /// Writes all of `bytes`, or gives the port up.
    ///
    /// # Errors
    /// [`RadioFault::Gone`] when the line hung up or takes no bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), RadioFault> {
        match tokio::time::timeout(WRITE_DEADLINE, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.gone(&format!("writing failed: {error}"))),
            Err(_) => Err(self.gone("it takes no bytes")),
        }
    }

    /// The name it was opened by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn gone(&self, reason: &str) -> RadioFault {
        RadioFault::Gone { device: self.name.clone(), reason: reason.to_owned() }
    }
}

impl Drop for Port {
    /// Closing waits until the last byte has left, up to 30 s: throw away what has not. And a terminal stays
    /// marked as ours while anybody has it open (an emulated one always is): take the mark off.
    fn drop(&mut self) {
        let _ = self.stream.clear(ClearBuffer::Output);
        let _ = self.stream.set_exclusive(false);
    }
}

fn open_now(path: &Path, baud: u32) -> tokio_serial::Result<SerialStream> {
    let stream = tokio_serial::new(path.to_string_lossy(), baud)
        .data_bits(DataBits::Eight)
        .parity(Parity::None)
        .stop_bits(StopBits::One)
        .flow_control(FlowControl::None)
        .open_native_async()?;
    stream.clear(ClearBuffer::Input)?;
    Ok(stream)
}

/// Why a port did not open and what to do, as one sentence.
fn remedy(error: &tokio_serial::Error, path: &Path) -> String {
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => {
            format!("there is no such device; plug the reader in or correct `port`. {}", present())
        }
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "no permission; add the user segel runs as to the group `dialout`, then restart segel".to_owned()
        }
        ErrorKind::NoDevice => "another program has it open; find it with `fuser` and stop it".to_owned(),
        _ if is_not_a_terminal(path) => "it is not a serial port; correct `port`".to_owned(),
        _ => format!("{error}; unplug the adapter and plug it in again"),
    }
}

fn is_not_a_terminal(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::metadata(path) else { return false };
    if !metadata.file_type().is_char_device() {
        return true;
    }
    // without waiting for a carrier, and without taking it as our terminal
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).is_ok_and(|file| !rustix::termios::isatty(file))
}

fn present() -> String {
    let mut names: Vec<PathBuf> = STABLE_NAMES
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    names.sort();
    names.truncate(NAMES_MAX);
    if names.is_empty() {
        return "No serial adapter is plugged in (/dev/serial/by-id is empty)".to_owned();
    }
    let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    format!("Plugged in: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reason(path: &Path) -> String {
        Port::open(path, 57_600).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn each_reason_for_not_opening_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        assert!(reason(&directory.path().join("none")).await.contains("correct `port`"));
        let file = directory.path().join("file");
        std::fs::write(&file, "no port").unwrap();
        assert!(reason(&file).await.contains("not a serial port"));
        assert!(reason(Path::new("/dev/null")).await.contains("not a serial port"));
    }

    #[test]
    fn a_missing_permission_names_the_group() {
        let denied = tokio_serial::Error::new(ErrorKind::Io(io::ErrorKind::PermissionDenied), "Permission denied");
        assert!(remedy(&denied, Path::new("/dev/ttyUSB0")).contains("dialout"));
    }
}
