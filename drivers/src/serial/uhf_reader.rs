//! A UHF reader of the UHFReader18 / UHFReader288 family on a serial line.
//!
//! A UHFReader288 is put into real-time mode and speaks by itself: a frame per tag, and a heartbeat when it has
//! seen none for a while, which it can only count in steps of 30 s; so it is asked in between whether it lives. A
//! UHFReader18, and a 288 so configured, is asked for an inventory again and again.
//!
//! What must hold: a reader that hangs up, that stops its heartbeat or that stops answering is a fault within a
//! known time (a reader that answers while it reads: within seconds); a reader in trouble says so once, not once per frame; what other readers say on the same line is
//! counted and is not ours; every question has a deadline.
//!
//! It decides nothing about tags: the same tag read a hundred times is a hundred sightings.

mod complaints;
mod pulse;
mod session;

use std::{path::PathBuf, time::Duration};

use crate::{
    Ear, Radio, RadioFault, ReaderId,
    codec::uhf::{Dialect, HEARTBEAT_UNIT},
};
use session::Session;

/// How long a reader in real-time mode may be silent before it is asked: its death is to show within seconds, and
/// its line is to stay its own.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How the reader is made to tell of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It speaks by itself (UHFReader288 only; a UHFReader18 is polled all the same).
    Realtime,
    /// It is asked.
    Poll,
}

/// One reader, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UhfReaderConfig {
    /// Its name.
    pub id: ReaderId,
    /// Its port, by a name that survives replugging: `/dev/serial/by-id/...`, or `by-path` for adapters without a
    /// serial number.
    pub port: PathBuf,
    /// Bits per second; readers leave the factory with 57600.
    pub baud: u32,
    /// Its address on the line, 0 to 254, or 255 for whichever answers.
    pub address: u8,
    /// Which layout it speaks.
    pub dialect: Dialect,
    /// How it tells of tags.
    pub mode: Mode,
    /// After how long without a word a reader in real-time mode is asked whether it lives. If it is known to answer
    /// while it reads, it is dead after three questions without a word: 3 x (`heartbeat` + `answer_timeout`). It is
    /// also told to say that it lives by itself, in this period rounded up to what it can count; whoever does not
    /// speak by itself for three of those is dead, whatever it answers.
    pub heartbeat: Duration,
    /// The step in which it counts its own heartbeat: 30 s by the makers' manual.
    pub heartbeat_unit: Duration,
    /// Pause between two inventories.
    pub poll_interval: Duration,
    /// How long it may take to answer, beyond the time of an inventory itself.
    pub answer_timeout: Duration,
}

impl UhfReaderConfig {
    /// A reader as it leaves the factory: 57600 baud, any address, real-time mode, asked after 3 s of
    /// silence whether it lives.
    #[must_use]
    pub fn new(id: ReaderId, port: impl Into<PathBuf>, dialect: Dialect) -> Self {
        Self {
            id,
            port: port.into(),
            baud: 57_600,
            address: 0xFF,
            dialect,
            mode: Mode::Realtime,
            heartbeat: HEARTBEAT,
            heartbeat_unit: HEARTBEAT_UNIT,
            poll_interval: Duration::from_millis(200),
            answer_timeout: Duration::from_secs(1),
        }
    }

    /// How it will be made to speak: only a UHFReader288 can speak by itself.
    #[must_use]
    pub fn effective_mode(&self) -> Mode {
        match self.dialect {
            Dialect::UhfReader18 => Mode::Poll,
            Dialect::UhfReader288 => self.mode,
        }
    }
}

/// The radio of one reader.
#[derive(Debug)]
pub struct UhfReader {
    config: UhfReaderConfig,
}

impl UhfReader {
    /// A reader not yet opened.
    #[must_use]
    pub fn new(config: UhfReaderConfig) -> Self {
        Self { config }
    }
}

impl Radio for UhfReader {
    fn id(&self) -> &ReaderId {
        &self.config.id
    }

    async fn listen(&mut self, ear: &Ear) -> RadioFault {
        let run = async {
            let mut session = Session::open(&self.config, ear).await?;
            session.greet().await?;
            match self.config.effective_mode() {
                Mode::Realtime => session.listen().await,
                Mode::Poll => session.poll().await,
            }
        };
        match run.await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }
}
