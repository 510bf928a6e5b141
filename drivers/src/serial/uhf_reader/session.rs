//! One session with one reader: from opening the port until something fails.

use std::{
    convert::Infallible,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Mode, UhfReaderConfig,
    complaints::{Complaint, Complaints},
    pulse::{MISSED_MAX, Pulse, Verdict, Word},
};
use crate::{
    Ear, RadioFault, Sighting, TagRead, Trouble,
    codec::uhf::{
        Answer, BROADCAST, Command, Decoder, DecoderCounts, Dialect, Frame, InventoryEnd, ReaderInfo, ScanTime, TagEntry, code, meaning,
    },
    serial::Port,
};

/// A pause longer than this lies between frames, never inside one. A byte takes 1 ms at 9600 baud and USB adapters
/// hold bytes back for up to 16 ms; the rest is for a busy machine. It is only waited for behind garbage.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes read at once, at most.
const CHUNK: usize = 512;
/// Reads past a deadline: twice what the kernel keeps of a line (4 KiB).
const LATE_READS_MAX: usize = 2 * 4096 / CHUNK;
/// How often a reader is asked who it is before it counts as silent.
const GREETINGS: u32 = 3;
/// Shortest pause between two inventories, whatever is configured: the line and the reader need one.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Two to the power of this: how many tags we expect in the field at once (one truck).
const EXPECTED_TAGS_Q: u8 = 4;
/// Session in which tags answer every inventory anew.
const SESSION: u8 = 0;
/// Told once of frames that are whole and make no sense.
const UNREADABLE: &str = "its answers do not have the layout of its dialect and tags may go unseen: check `dialect` of this reader";
/// A UHFReader18 takes this many steps of 100 ms at least, whatever it says.
const SCAN_STEPS_MIN: u8 = 10;

/// An open reader.
pub(super) struct Session<'a> {
    config: &'a UhfReaderConfig,
    ear: &'a Ear,
    port: Port,
    decoder: Decoder,
    counted: DecoderCounts,
    /// Whose frames are ours; [`BROADCAST`] until the reader has said who it is.
    address: u8,
    info: Option<ReaderInfo>,
    /// What we said last: an adapter that hears itself gives it back.
    said: Option<Frame>,
    /// When anything at all came over the line.
    bytes_came: Instant,
    /// When the reader last said anything whole.
    heard: Instant,
    complaints: Complaints,
    /// The antenna asked last, where antennas are asked one by one.
    asked: Option<u8>,
    heartbeat: Command,
}

impl<'a> Session<'a> {
    pub(super) async fn open(config: &'a UhfReaderConfig, ear: &'a Ear) -> Result<Self, RadioFault> {
        let port = Port::open(&config.port, config.baud).await?;
        let heartbeat = Command::heartbeat(config.heartbeat, config.heartbeat_unit);
        Ok(Self {
            config,
            ear,
            port,
            decoder: Decoder::new(),
            counted: DecoderCounts::default(),
            address: config.address,
            info: None,
            said: None,
            bytes_came: Instant::now(),
            heard: Instant::now(),
            complaints: Complaints::new(own_heartbeat(config, heartbeat) * MISSED_MAX),
            asked: None,
            heartbeat,
        })
    }

    /// Asks the reader who it is, sets it up and says that it is up.
    pub(super) async fn greet(&mut self) -> Result<(), RadioFault> {
        let info = self.ask_who().await?;
        if info.dialect().is_some_and(|dialect| dialect != self.config.dialect) {
            let reason = format!("it says it is a {}; correct `dialect`", info.kind_name());
            return Err(self.cannot_open(reason));
        }
        match (self.config.effective_mode(), self.config.dialect) {
            (Mode::Realtime, _) => {
                self.set(self.heartbeat).await?;
                self.set(Command::RealtimeMode).await?;
            }
            (Mode::Poll, Dialect::UhfReader288) => self.set(Command::AnswerMode).await?,
            (Mode::Poll, Dialect::UhfReader18) => {}
        }
        self.ear.up(info.to_string()).await?;
        self.info = Some(info);
        Ok(())
    }

    /// Real-time mode: listens, and asks while it hears nothing, until the reader shows no sign of life.
    pub(super) async fn listen(&mut self) -> Result<Infallible, RadioFault> {
        let own = own_heartbeat(self.config, self.heartbeat);
        let mut pulse = Pulse::new(self.config.heartbeat, self.config.answer_timeout, own, Instant::now());
        let mut told_slow = false;
        loop {
            if let Some(frame) = self.next_frame(pulse.due()).await? {
                let understood = self.on_frame(&frame).await?.is_some();
                let word = match frame.code() {
                    code::REALTIME => Word::Own,
                    code::INFO if understood => Word::Answer,
                    _ => Word::Other,
                };
                pulse.on_word(word, self.heard);
                continue;
            }
            match pulse.on_silence(Instant::now()) {
                Verdict::Wait => {}
                Verdict::Ask => self.say(Command::Info).await?,
                Verdict::Dead(why) => return Err(self.silent(why)),
            }
            if pulse.is_slow() && !told_slow {
                told_slow = true;
                let known_after = pulse.silence();
                tracing::warn!(reader = %self.config.id, ?known_after, "it answers no question while it reads: if it dies, that shows late");
            }
        }
    }

    /// Poll mode: asks for inventories until the reader has left three of them unanswered.
    pub(super) async fn poll(&mut self) -> Result<Infallible, RadioFault> {
        let mut missed = 0;
        loop {
            for (command, scan) in self.inventories() {
                let answered = self.inventory(command, scan).await?;
                missed = if answered { 0 } else { missed + 1 };
                if missed == MISSED_MAX {
                    return Err(self.silent(format!("{MISSED_MAX} inventories unanswered; check its power and its line")));
                }
            }
            let next = Instant::now() + self.config.poll_interval.max(POLL_INTERVAL_MIN);
            while let Some(frame) = self.next_frame(next).await? {
                self.on_frame(&frame).await?;
            }
        }
    }

    /// One round of inventories: one per antenna in use, and how long each may take.
    fn inventories(&self) -> Vec<(Command, Duration)> {
        let info = self.info.as_ref();
        match self.config.dialect {
            Dialect::UhfReader18 => {
                let scan = ScanTime::steps(info.map_or(0, |info| info.scan_time).max(SCAN_STEPS_MIN));
                vec![(Command::Inventory18, scan.duration())]
            }
            Dialect::UhfReader288 => {
                let bits = info.map_or(0, |info| info.antennas).max(1);
                let scan_time = ScanTime::SHORTEST;
                let one = |antenna| Command::Inventory288 { q: EXPECTED_TAGS_Q, session: SESSION, antenna, scan_time };
                (1..=8).filter(|antenna| bits >> (antenna - 1) & 1 == 1).map(|antenna| (one(antenna), scan_time.duration())).collect()
            }
        }
    }

    /// One inventory to its end; whether the reader answered at all.
    async fn inventory(&mut self, command: Command, scan: Duration) -> Result<bool, RadioFault> {
        self.asked = if let Command::Inventory288 { antenna, .. } = command { Some(antenna) } else { None };
        self.say(command).await?;
        let mut answered = false;
        let mut deadline = Instant::now() + scan + self.config.answer_timeout;
        while let Some(frame) = self.next_frame(deadline).await? {
            let answer = self.on_frame(&frame).await?;
            if frame.code() != command.code() {
                if Instant::now() >= deadline {
                    break;
                }
                continue;
            }
            answered = true;
            match answer {
                Some(Answer::Inventory { end: InventoryEnd::MoreFollows, .. }) => deadline = Instant::now() + self.config.answer_timeout,
                Some(Answer::Statistics { .. }) => {}
                Some(Answer::Inventory { .. }) => {
                    self.complaints.settle(self.asked);
                    break;
                }
                _ => break,
            }
        }
        Ok(answered)
    }

    async fn ask_who(&mut self) -> Result<ReaderInfo, RadioFault> {
        for greeting in 0..GREETINGS {
            if greeting > 0 && self.config.dialect == Dialect::UhfReader288 {
                // left in real-time mode by whoever had it before, it may not listen while it reads
                self.ask(Command::AnswerMode).await?;
            }
            if let Some((frame, Answer::Info(info))) = self.ask(Command::Info).await? {
                self.address = frame.address();
                return Ok(info);
            }
        }
        let (baud, address) = (self.config.baud, self.address);
        Err(self.silent(format!("it does not say who it is at {baud} baud, address {address}; check `baud`, `address`, power and cable")))
    }

    async fn set(&mut self, command: Command) -> Result<(), RadioFault> {
        for _ in 0..GREETINGS {
            match self.ask(command).await? {
                Some((_, Answer::Done { .. })) => return Ok(()),
                Some((_, Answer::Failed { status, .. })) => {
                    let what = meaning(status);
                    return Err(self.cannot_open(format!("it refused command {:02X}: {what}; try `mode = \"poll\"`", command.code())));
                }
                _ => {}
            }
        }
        Err(self.silent(format!("no answer to command {:02X}; check its power and its line", command.code())))
    }

    /// Says a command and waits for its answer; what else arrives meanwhile is heard as always.
    async fn ask(&mut self, command: Command) -> Result<Option<(Frame, Answer)>, RadioFault> {
        self.say(command).await?;
        let deadline = Instant::now() + self.config.answer_timeout;
        while let Some(frame) = self.next_frame(deadline).await? {
            let answer = self.on_frame(&frame).await?;
            if frame.code() == command.code() {
                return Ok(answer.map(|answer| (frame, answer)));
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Ok(None)
    }

    async fn say(&mut self, command: Command) -> Result<(), RadioFault> {
        let frame = command.frame(self.address);
        self.port.write(frame.bytes()).await?;
        // the answer to this one command is the same bytes as the command: take either for the answer
        self.said = (command != Command::AnswerMode).then_some(frame);
        Ok(())
    }

    /// The next frame of our reader, or `None` at the deadline.
    async fn next_frame(&mut self, deadline: Instant) -> Result<Option<Frame>, RadioFault> {
        let mut chunk = [0; CHUNK];
        let mut late = 0;
        loop {
            let frame = self.decoder.next_frame();
            self.count();
            if let Some(frame) = frame {
                if self.said.take_if(|said| *said == frame).is_some() {
                    continue;
                }
                if self.address != BROADCAST && frame.address() != self.address {
                    self.ear.tally().foreign.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.heard = Instant::now();
                return Ok(Some(frame));
            }
            // after a stall what came meanwhile is still looked at, but a line that never ends has a deadline too
            if Instant::now() >= deadline {
                late += 1;
                if late > LATE_READS_MAX {
                    return Ok(None);
                }
            }
            // a pause counts from the last byte, not from when we began to look: a short deadline cuts no frame
            let waiting = self.decoder.is_waiting();
            let pause = self.bytes_came + PAUSE;
            let until = if waiting { deadline.min(pause) } else { deadline };
            match tokio::time::timeout_at(until.into(), self.port.read(&mut chunk)).await {
                Ok(read) => {
                    self.decoder.push(&chunk[..read?]);
                    self.bytes_came = Instant::now();
                }
                Err(_) if waiting && Instant::now() >= pause => self.decoder.idle(),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Passes on what a frame says; gives back what it was, or `None` if it made no sense.
    async fn on_frame(&mut self, frame: &Frame) -> Result<Option<Answer>, RadioFault> {
        let answer = match Answer::read(frame, self.config.dialect) {
            Ok(answer) => answer,
            Err(unreadable) => {
                self.ear.tally().not_understood.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(reader = %self.config.id, %unreadable, ?frame, "a frame makes no sense");
                // tags may have been in it: somebody has to look
                let status = unreadable.status;
                let trouble = Trouble::ReaderError { status, meaning: UNREADABLE };
                self.complain(Complaint { antenna: self.asked, status }, trouble).await?;
                return Ok(None);
            }
        };
        self.ear.tally().frames.fetch_add(1, Ordering::Relaxed);
        match &answer {
            Answer::Realtime(tag) => self.on_tag(tag, frame).await?,
            Answer::Inventory { tags, .. } => {
                for tag in tags {
                    self.on_tag(tag, frame).await?;
                }
            }
            Answer::AntennaFault { antenna, .. } => {
                let status = frame.body()[0];
                let antenna = antenna.or(self.asked);
                self.complain(Complaint { antenna, status }, Trouble::Antenna { antenna, status }).await?;
            }
            // a reader that will not say who it is while it reads lives all the same
            Answer::Failed { code: code::INFO, .. } if self.info.is_some() => {}
            Answer::Failed { status, .. } => {
                let trouble = Trouble::ReaderError { status: *status, meaning: meaning(*status) };
                self.complain(Complaint { antenna: self.asked, status: *status }, trouble).await?;
            }
            Answer::Info(_) | Answer::Statistics { .. } | Answer::Heartbeat { .. } | Answer::Done { .. } => {}
        }
        Ok(Some(answer))
    }

    async fn on_tag(&self, tag: &TagEntry, frame: &Frame) -> Result<(), RadioFault> {
        let TagEntry { epc, antenna, rssi_raw, .. } = tag.clone();
        let read = TagRead { epc, antenna, rssi_raw, raw: frame.bytes().to_vec() };
        Ok(self.ear.hear(Sighting::Tag(read)).await?)
    }

    async fn complain(&mut self, complaint: Complaint, trouble: Trouble) -> Result<(), RadioFault> {
        if self.complaints.is_news(complaint, Instant::now()) {
            self.ear.hear(Sighting::Trouble(trouble)).await?;
        }
        Ok(())
    }

    /// Adds what the decoder has counted since the last time to the radio's tally.
    fn count(&mut self) {
        let counts = self.decoder.counts();
        let tally = self.ear.tally();
        tally.bad_checks.fetch_add(counts.bad_checks - self.counted.bad_checks, Ordering::Relaxed);
        tally.skipped_bytes.fetch_add(counts.skipped_bytes - self.counted.skipped_bytes, Ordering::Relaxed);
        self.counted = counts;
    }

    fn silent(&self, reason: String) -> RadioFault {
        RadioFault::Silent { device: self.port.name().to_owned(), reason }
    }

    fn cannot_open(&self, reason: String) -> RadioFault {
        RadioFault::Open { device: self.port.name().to_owned(), reason }
    }
}

/// The period of the heartbeat that a reader in real-time mode can really keep.
fn own_heartbeat(config: &UhfReaderConfig, heartbeat: Command) -> Duration {
    let steps = if let Command::Heartbeat { steps } = heartbeat { u32::from(steps) } else { 1 };
    config.heartbeat_unit * steps
}
