//! One command to a TT lock and everything that comes until its answer.

use std::{collections::VecDeque, time::Duration};

use crate::{
    Action, Hindrance, Memory, Rejection, SealEvent, SealKey, SealStatus, SealWord, Security,
    ble::protocol::{Effect, Exchange, Input, Said, Step},
    codec::{
        calendar::SealTime,
        tt::{
            self, Command, Decoder, Frame, LockId, Message, Report, Source, TtFault,
            codes::{Code, Verdict},
            state::State,
        },
    },
};

/// How long an answer may take: a motor needs seconds, and the maker's kit waits as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// The code its maker calls "overtime".
const OVERTIME: u8 = 0x99;
/// Inputs of one exchange at most. A lock that talks without end is not heard out; a chatty one needs a dozen.
const INPUTS_MAX: u16 = 200;

pub(super) struct TtExchange {
    action: Action,
    command: Vec<u8>,
    lock: LockId,
    key: Option<SealKey>,
    at: SealTime,
    decoder: Decoder,
    /// What is to be done before the next frame is looked at: three steps at most.
    next: VecDeque<Step>,
    /// The first thing that was no frame, unless a frame behind it settled the matter.
    damaged: Option<TtFault>,
    /// A refusal that names another source than Bluetooth: ours only if nothing better comes.
    perhaps: Option<Said>,
    inputs_left: u16,
    over: bool,
}

impl TtExchange {
    pub(super) fn new(action: Action, command: &Command, lock: LockId, key: Option<SealKey>, at: SealTime) -> Self {
        Self {
            action,
            command: tt::write(&command.write(), key.as_ref()),
            lock,
            key,
            at,
            decoder: tt::decoder(),
            next: VecDeque::new(),
            damaged: None,
            perhaps: None,
            inputs_left: INPUTS_MAX,
            over: false,
        }
    }

    fn go_on(&mut self) -> Step {
        loop {
            if let Some(step) = self.next.pop_front() {
                return step;
            }
            match self.decoder.next() {
                Some(Ok(frame)) => self.on_frame(&frame),
                Some(Err(fault)) => self.damaged = self.damaged.or(Some(fault)),
                None => match self.damaged {
                    Some(fault) => self.end(Said::Cannot(hindrance(fault))),
                    None => return Step::Listen { within: ANSWER_WITHIN },
                },
            }
        }
    }

    fn on_silence(&mut self) -> Step {
        self.decoder.idle();
        match self.go_on() {
            Step::Listen { .. } => Step::End(self.perhaps.take().unwrap_or(Said::Nothing)),
            step => step,
        }
    }

    fn on_frame(&mut self, frame: &Frame) {
        let read = frame.open(self.key.as_ref()).and_then(|data| Ok((Message::read(&data)?, data)));
        let (message, data) = match read {
            Ok(read) => read,
            // The maker's newer locks may tell more than we know.
            Err(TtFault::UnknownCode(_)) => return,
            Err(fault) => return self.end(Said::Cannot(hindrance(fault))),
        };
        match message {
            Message::TimeSet if self.action == Action::SetTime => self.end(Said::TimeSet),
            Message::TimeSet => {}
            Message::Heartbeat(report) | Message::Alarm(_, report) | Message::Answer(_, report) if report.lock != self.lock => {
                let detail = format!("the lock calls itself {}", report.lock);
                self.end(Said::Cannot(Hindrance::WrongCredential { what: "device number", detail }));
            }
            Message::Heartbeat(report) => {
                let words = [vec![SealWord::Heartbeat], alarms(report.state)].concat();
                self.tell(&words, &report, &data);
                let heard = Command::Heard(self.lock, self.at).write();
                self.next.push_back(Step::Write { bytes: tt::write(&heard, self.key.as_ref()), effect: Effect::Harmless });
            }
            Message::Alarm(alarm, report) => self.tell(&alarm.words(report.state), &report, &data),
            Message::Answer(code, report) => self.on_answer(code, &report, &data),
        }
    }

    fn on_answer(&mut self, code: Code, report: &Report, data: &[u8]) {
        let by_another = matches!(report.source, Some(Source::Itself | Source::Keyboard));
        // The password goes along with every command, so every command can be refused for it.
        let wrong_password = code.word == Some(SealWord::WrongPassword) && self.action != Action::SetTime;
        if code.answers != self.action && !wrong_password {
            return self.tell_of(code, report, data, by_another);
        }
        let said = match code.verdict {
            Verdict::Done if self.action == Action::ReadState => return self.end(Said::Status(status(report, data))),
            // Whoever stands at its keyboard did it, not we.
            Verdict::Done if by_another => return self.tell_of(code, report, data, true),
            Verdict::Done => Said::Did,
            Verdict::Already => Said::Already(Some(status(report, data))),
            // Nobody says what is over time: its motor may have turned.
            Verdict::Refused(cause) if code.code == OVERTIME && self.action.moves() => Said::Doubtful(cause),
            Verdict::Refused(cause) => Said::Refused(cause),
        };
        if by_another {
            self.tell_of(code, report, data, true);
            self.perhaps = Some(match said {
                Said::Refused(cause) if self.action.moves() => Said::Doubtful(cause),
                Said::Already(_) if self.action.moves() => Said::Doubtful(Rejection::StoodSo),
                said => said,
            });
            return;
        }
        self.tell_of(code, report, data, false);
        self.end(said);
    }

    /// Tells what an answer says has happened. What we did ourselves is no news.
    fn tell_of(&mut self, code: Code, report: &Report, data: &[u8], by_another: bool) {
        let ours = [SealWord::Sealed, SealWord::Unsealed, SealWord::WrongPassword];
        let mut words: Vec<_> = code.word.into_iter().filter(|word| by_another || !ours.contains(word)).collect();
        words.extend(alarms(report.state).into_iter().filter(|word| Some(*word) != code.word));
        self.tell(&words, report, data);
    }

    fn tell(&mut self, words: &[SealWord], report: &Report, data: &[u8]) {
        let device_time = report.time.map(SealTime::unix);
        let event = |word: &SealWord| SealEvent { word: *word, number: None, device_time, raw: data.to_vec() };
        if !words.is_empty() {
            self.next.push_back(Step::Tell { events: words.iter().map(event).collect(), memory: Memory::Live });
        }
    }

    fn end(&mut self, said: Said) {
        self.next.push_back(Step::End(said));
    }
}

impl Exchange for TtExchange {
    fn step(&mut self, input: Input<'_>) -> Step {
        if self.over {
            return Step::End(Said::Nothing);
        }
        let step = match (self.inputs_left.checked_sub(1), input) {
            (None, _) => Step::End(Said::Cannot(Hindrance::Unintelligible("it talks without end".to_owned()))),
            (Some(left), input) => {
                self.inputs_left = left;
                match input {
                    Input::Begin => {
                        let effect = if self.action.moves() { Effect::Moves } else { Effect::Harmless };
                        Step::Write { bytes: std::mem::take(&mut self.command), effect }
                    }
                    Input::Notified(bytes) => {
                        self.decoder.push(bytes);
                        self.go_on()
                    }
                    Input::Silence => self.on_silence(),
                    Input::Written | Input::Told | Input::Reread(_) | Input::OnDisk | Input::NotOnDisk | Input::OnDiskAndHurry => {
                        self.go_on()
                    }
                }
            }
        };
        self.over = matches!(step, Step::End(_));
        step
    }
}

/// What a status byte says has happened, as far as it is an alarm.
fn alarms(state: State) -> Vec<SealWord> {
    if matches!(state, State::Alarm(_)) { state.complaints() } else { Vec::new() }
}

fn status(report: &Report, data: &[u8]) -> SealStatus {
    let mut reading = report.state.reading();
    reading.battery_percent = (report.battery <= 100).then_some(report.battery);
    reading.device_time = report.time.and_then(|time| u32::try_from(time.unix()).ok());
    SealStatus {
        reading,
        complaints: report.state.complaints(),
        security: Security::Weak,
        did_ours: None,
        stored: None,
        raw: data.to_vec(),
    }
}

fn hindrance(fault: TtFault) -> Hindrance {
    let key = |detail: &str| Hindrance::WrongCredential { what: "key", detail: detail.to_owned() };
    match fault {
        TtFault::NoKey => Hindrance::NoCredential { what: "key" },
        TtFault::PlainDespiteKey => key("there is one, and the lock answers in the clear"),
        TtFault::WrongKey => key("the lock's answer does not decrypt with it"),
        TtFault::Check | TtFault::Garbage | TtFault::Cut | TtFault::UnknownCode(_) | TtFault::TooShort { .. } => {
            Hindrance::Unintelligible(fault.to_string())
        }
    }
}
