//! The emulated reader itself: what it answers, and what it says by itself.

use std::{collections::VecDeque, io, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use super::{EmulatedReaderConfig, terminal::Terminal};
use crate::{
    Epc,
    codec::uhf::{BROADCAST, Decoder, Dialect, Frame, code},
};

/// Tags waiting until the reader may speak; more are lost, oldest first.
const WAITING_MAX: usize = 256;
/// A pause between the pieces of a frame.
const CHUNK_PAUSE: Duration = Duration::from_millis(1);
/// How often the mark of a killed program is taken off the line.
const UNMARK_EVERY: Duration = Duration::from_millis(200);
/// After a pause this long what was left of a command is no command.
const PAUSE: Duration = Duration::from_millis(200);

/// What the emulated reader can be told.
#[derive(Debug)]
pub(super) enum Order {
    Show { epc: Epc, antenna: u8, rssi: u8 },
    Silent,
    Speak,
    Unplug,
    Replug,
    Noise(Vec<u8>),
    Chunk(usize),
    CorruptNext,
    AntennaFault,
    AntennaRepaired,
    Echo,
    DeafWhileReading,
    ForgetMode,
}

#[derive(Debug)]
struct Tag {
    epc: Epc,
    antenna: u8,
    rssi: u8,
}

/// The reader and its line.
#[derive(Debug)]
pub(super) struct Bench {
    config: EmulatedReaderConfig,
    /// `None` while it is unplugged.
    line: Option<Terminal>,
    decoder: Decoder,
    tags: VecDeque<Tag>,
    realtime: bool,
    silent: bool,
    antenna_fault: bool,
    corrupt_next: bool,
    chunk: usize,
    echo: bool,
    deaf_while_reading: bool,
    heartbeat: Duration,
    heartbeats: u32,
    /// When the next heartbeat is due if no tag is seen before.
    beat: Instant,
    told: u32,
}

impl Bench {
    pub(super) fn new(config: EmulatedReaderConfig) -> io::Result<Self> {
        let line = Some(Terminal::plug_in(&config.link)?);
        let heartbeat = config.heartbeat_unit;
        Ok(Self {
            config,
            line,
            decoder: Decoder::new(),
            tags: VecDeque::new(),
            realtime: false,
            silent: false,
            antenna_fault: false,
            corrupt_next: false,
            chunk: usize::MAX,
            echo: false,
            deaf_while_reading: false,
            heartbeat,
            heartbeats: 0,
            beat: Instant::now() + heartbeat,
            told: 0,
        })
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<(Order, oneshot::Sender<io::Result<()>>)>) {
        let mut unmark: Interval = interval(UNMARK_EVERY);
        unmark.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut chunk = [0; 256];
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    let _ = done.send(self.on_order(order).await);
                }
                read = read(self.line.as_ref(), &mut chunk) => match read {
                    Ok(n) => self.on_bytes(&chunk[..n]).await,
                    Err(error) => {
                        tracing::warn!(%error, "the emulated reader's line failed");
                        self.line = None;
                    }
                },
                () = sleep_until(self.beat), if self.realtime => self.on_beat().await,
                () = tokio::time::sleep(PAUSE), if self.decoder.is_waiting() => self.on_pause().await,
                _ = unmark.tick() => if let Some(line) = &self.line { line.unmark() },
            }
        }
    }

    async fn on_order(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Show { epc, antenna, rssi } => {
                if self.tags.len() == WAITING_MAX {
                    self.tags.pop_front();
                }
                self.tags.push_back(Tag { epc, antenna: antenna.clamp(1, 8), rssi });
                self.tell_tags().await;
            }
            Order::Silent => self.silent = true,
            Order::Speak => {
                self.silent = false;
                self.tell_tags().await;
            }
            Order::Unplug => self.line = None,
            Order::Replug => {
                self.line = None;
                self.decoder = Decoder::new();
                self.line = Some(Terminal::plug_in(&self.config.link)?);
            }
            Order::Noise(bytes) => self.send(&bytes).await,
            Order::Chunk(bytes) => self.chunk = bytes,
            Order::CorruptNext => self.corrupt_next = true,
            Order::AntennaFault => {
                self.antenna_fault = true;
                if self.realtime {
                    self.say(code::REALTIME, &[0xF8, 1]).await;
                }
            }
            Order::AntennaRepaired => self.antenna_fault = false,
            Order::Echo => self.echo = true,
            Order::DeafWhileReading => self.deaf_while_reading = true,
            Order::ForgetMode => self.realtime = false,
        }
        Ok(())
    }

    async fn on_bytes(&mut self, bytes: &[u8]) {
        if self.echo {
            self.send(bytes).await;
        }
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame() {
            self.on_command(&frame).await;
        }
    }

    async fn on_pause(&mut self) {
        self.decoder.idle();
        self.on_bytes(&[]).await;
    }

    async fn on_command(&mut self, frame: &Frame) {
        if frame.address() != BROADCAST && frame.address() != self.config.address {
            return;
        }
        if self.realtime && self.deaf_while_reading && frame.code() != code::MODE {
            return;
        }
        let known = self.config.dialect == Dialect::UhfReader288;
        match (frame.code(), frame.body()) {
            (code::INFO, []) => self.say(code::INFO, self.info()).await,
            (code::INVENTORY, asked) => self.inventory(asked).await,
            (code::MODE, &[mode]) if known => {
                self.realtime = mode == 1;
                self.beat = Instant::now() + self.heartbeat;
                self.say(code::MODE, &[0]).await;
                self.tell_tags().await;
            }
            (code::HEARTBEAT, &[period]) if known => {
                if period & 0x80 != 0 {
                    self.heartbeat = self.config.heartbeat_unit * u32::from((period & 0x7F).max(1));
                }
                self.say(code::HEARTBEAT, &[0, period & 0x7F]).await;
            }
            (code::INFO | code::MODE | code::HEARTBEAT, _) if known => self.say(frame.code(), &[0xFD]).await,
            _ => self.say(frame.code(), &[0xFE]).await,
        }
    }

    fn info(&self) -> &'static [u8] {
        match self.config.dialect {
            // status, version, type, protocols, band, power, scan time
            Dialect::UhfReader18 => &[0, 2, 36, 0x09, 0x03, 0x4E, 0x00, 30, 3],
            // and antennas in use, two reserved bytes, antenna check
            Dialect::UhfReader288 => &[0, 0, 22, 0x0C, 0x03, 0x4E, 0x00, 30, 3, 0b11, 0, 0, 0],
        }
    }

    /// Answers an inventory: a frame for each tag that waits (more follow), then the end.
    async fn inventory(&mut self, asked: &[u8]) {
        if self.silent {
            return;
        }
        let old = self.config.dialect == Dialect::UhfReader18;
        // the antenna asked is the last byte but one: 80 is the first
        let first = asked.len() < 2 || asked[asked.len() - 2] == 0x80;
        if self.antenna_fault && first {
            self.say(code::INVENTORY, &[0xF8]).await;
            return;
        }
        if old && !asked.is_empty() {
            self.say(code::INVENTORY, &[0xFF]).await;
            return;
        }
        while let Some(tag) = self.tags.pop_front() {
            let head: &[u8] = if old { &[3, 1] } else { &[3, 1 << (tag.antenna - 1), 1] };
            let tail: &[u8] = if old { &[] } else { &[tag.rssi] };
            self.say(code::INVENTORY, &[head, &named(&tag.epc), tail].concat()).await;
        }
        let end: &[u8] = if old { &[1, 0] } else { &[1, 1, 0] };
        self.say(code::INVENTORY, end).await;
    }

    /// In real-time mode, tells the tags that wait.
    async fn tell_tags(&mut self) {
        while self.realtime && !self.silent && self.line.is_some() {
            let Some(tag) = self.tags.pop_front() else { return };
            self.told += 1;
            self.beat = Instant::now() + self.heartbeat;
            let body = [&[0, 1 << (tag.antenna - 1)][..], &named(&tag.epc), &[tag.rssi]].concat();
            self.say(code::REALTIME, &body).await;
        }
    }

    async fn on_beat(&mut self) {
        self.beat = Instant::now() + self.heartbeat;
        self.heartbeats += 1;
        let body = [&[0x28][..], &self.heartbeats.to_be_bytes(), &[0; 8], &self.told.to_be_bytes()].concat();
        self.say(code::REALTIME, &body).await;
    }

    async fn say(&mut self, code: u8, body: &[u8]) {
        if self.silent {
            return;
        }
        let mut bytes = Frame::new(self.config.address, code, body).bytes().to_vec();
        if std::mem::take(&mut self.corrupt_next)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0xFF;
        }
        self.send(&bytes).await;
    }

    async fn send(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.chunk) {
            let Some(line) = &self.line else { return };
            if let Err(error) = line.write(piece) {
                tracing::warn!(%error, "the emulated reader cannot write");
                return;
            }
            if self.chunk != usize::MAX {
                tokio::time::sleep(CHUNK_PAUSE).await;
            }
        }
    }
}

/// The length of an EPC and the EPC.
fn named(epc: &Epc) -> Vec<u8> {
    let len = u8::try_from(epc.as_bytes().len()).expect("an EPC has at most 62 bytes");
    [&[len], epc.as_bytes()].concat()
}

async fn read(line: Option<&Terminal>, buffer: &mut [u8]) -> io::Result<usize> {
    match line {
        Some(line) => line.read(buffer).await,
        None => std::future::pending().await,
    }
}
