//! The segel open seal protocol v1: an advertisement, or the frames of one exchange from its HELLO on.
//!
//! ```text
//!   10 bytes                                 an advertisement
//!   HELLO | CHALLENGE | COMMAND | RESULT     as many as were captured, one after the other
//! ```
//!
//! Each frame is bound to those before it, so the frames after the first are only opened behind them.

use segel_drivers::{
    Protection, SealKey,
    codec::segel_v1::{
        Answer, Bolt, CHALLENGE_LEN, Challenged, Command, Entry, Form, Hello, Last, Marks, Offer, Outcome, REQUEST_LEN, Status, Trouble,
        form, read_advert,
    },
};

use super::{
    Given,
    table::{Dissection, Fault, Knife, hundredths, utc, word},
};

const ADVERT_LEN: usize = 10;
const HELLO: u8 = 0x01;
const TAG: usize = 8;
/// Kind, length, version and nonce of a CHALLENGE.
const CHALLENGE_HEAD: usize = 20;

/// What frames are opened with.
struct Seal<'a> {
    key: &'a SealKey,
    number: &'a str,
}

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    if bytes.len() == ADVERT_LEN {
        return advert(bytes, given);
    }
    let mut done = Dissection::default();
    let mut knife = Knife::new("frames", bytes);
    done.fault = exchange(&mut knife, given, &mut done).map(|fault| Fault { offset: fault.offset.or(Some(knife.at())), ..fault });
    if !done.parts.is_empty() {
        done.notes.push("What was decrypted is shown as it was understood: bits the document reserves are shown as 0.".to_owned());
    }
    done.parts.insert(0, knife.end("not read"));
    done
}

fn advert(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let mut knife = Knife::new("service data", bytes);
    let number = given.number.as_deref().unwrap_or_default();
    let key = given.key.as_ref().filter(|_| given.number.is_some());
    match read_advert(key, number, bytes) {
        Ok(advert) => {
            let battery = advert.reading.battery_percent.map_or_else(|| "not known".to_owned(), |percent| format!("{percent} %"));
            knife.cut(1, format!("version 1, battery {battery}"));
            knife.cut(1, "flags");
            done.says = super::bthome::says(&advert.reading);
            if advert.stored {
                done.says.push("Its log holds entries.".to_owned());
            }
            done.notes.push(match advert.protection {
                Protection::Keyed { .. } => {
                    "Its code fits the key: a claim of this seal, which can be played again until its counter goes on.".to_owned()
                }
                Protection::Plain => "Its code was not looked at: give the seal's key and --number.".to_owned(),
            });
        }
        Err(fault) => {
            knife.cut(2, "version, battery and flags, not read");
            done.fault = Some(Fault::new(fault.to_string()).at(if given.key.is_some() { 6 } else { 0 }));
        }
    }
    knife.take("counter", |counter: [u8; 4]| format!("counter {}", u32::from_le_bytes(counter)));
    knife.cut(4, "code");
    done.parts.push(knife.end(""));
    done
}

/// Cuts frame after frame.
fn exchange(knife: &mut Knife<'_>, given: &Given, done: &mut Dissection) -> Option<Fault> {
    if knife.rest().first() != Some(&HELLO) {
        return alone(knife);
    }
    let hello = match Hello::read(&knife.rest()[..knife.rest().len().min(REQUEST_LEN)]) {
        Ok(hello) => hello,
        Err(fault) => return Some(Fault::new(fault.to_string())),
    };
    knife.cut(1, "HELLO, to the seal");
    knife.cut(2, format!("versions {} to {}", hello.lowest, hello.highest));
    knife.cut(1, "always 00");
    knife.cut(16, "nonce of the gate");
    done.says.push("HELLO: the gate begins.".to_owned());
    if knife.rest().is_empty() {
        return None;
    }
    let (Some(key), Some(number)) = (&given.key, given.number.as_deref()) else {
        let fault = Fault::new("what follows is encrypted, and key or number of the seal is not given");
        return Some(fault.remedy("Give --number, and the key in SEGEL_DECODE_KEY or --key-file."));
    };
    challenge(knife, &hello, &Seal { key, number }, done)
}

/// A frame without the ones before it.
fn alone(knife: &mut Knife<'_>) -> Option<Fault> {
    let kind = *knife.rest().first()?;
    let name = match (kind, form(knife.rest())) {
        (0x02, _) if knife.rest().len() == REQUEST_LEN => "COMMAND, to the seal",
        (0x80, Form::Whole(_)) => {
            knife.cut(3, "PENDING, from the seal: no answer yet");
            return None;
        }
        (0x81, Form::Whole(_)) => "CHALLENGE, from the seal",
        (0x82, Form::Whole(_)) => "RESULT, from the seal",
        (0x81 | 0x82, Form::Cut(_)) => {
            let fault = Fault::new("it ends in the middle").at(knife.rest().len());
            return Some(fault.remedy("A notification was cut: read the answer characteristic."));
        }
        _ => return Some(Fault::new("no frame and no advertisement of this protocol").at(0)),
    };
    knife.cut(1, name);
    let fault = Fault::new("it is bound to the frames before it").at(0);
    Some(fault.remedy("Give all frames of the exchange one after the other, from its HELLO on."))
}

fn challenge(knife: &mut Knife<'_>, hello: &Hello, seal: &Seal<'_>, done: &mut Dissection) -> Option<Fault> {
    let frame = &knife.rest()[..knife.rest().len().min(CHALLENGE_LEN)];
    let challenged = match hello.open(seal.key, seal.number, frame) {
        Ok(challenged) => challenged,
        Err(fault) => return Some(Fault::new(format!("CHALLENGE: {fault}")).remedy("Look at key and number.")),
    };
    knife.cut(1, "CHALLENGE, from the seal");
    knife.cut(2, format!("{CHALLENGE_LEN} bytes"));
    knife.cut(1, "version 1");
    knife.cut(16, "nonce of the seal");
    knife.cut(CHALLENGE_LEN - CHALLENGE_HEAD - TAG, "state, encrypted");
    knife.cut(TAG, "code, fits");
    let plain = challenged.status.write();
    let mut inside = Knife::new("CHALLENGE, decrypted", &plain);
    state(&mut inside, &challenged.status);
    done.parts.push(inside.end("not read"));
    done.says.push(format!("CHALLENGE, genuine: {}.", stood(&challenged.status)));
    let nonce = frame[4..CHALLENGE_HEAD].try_into().expect("16 bytes");
    let offer = Offer::new(seal.key, seal.number, hello, nonce, &challenged.status);
    if knife.rest().is_empty() { None } else { command(knife, challenged, &offer, done) }
}

fn command(knife: &mut Knife<'_>, challenged: Challenged, offer: &Offer, done: &mut Dissection) -> Option<Fault> {
    let frame = &knife.rest()[..knife.rest().len().min(REQUEST_LEN)];
    let plain = match offer.open(frame) {
        Ok(plain) => plain,
        Err(fault) => return Some(Fault::new(format!("COMMAND: {fault}"))),
    };
    let Some(command) = Command::read(&plain) else {
        return Some(Fault::new("COMMAND: genuine, and none the document names"));
    };
    knife.cut(1, "COMMAND, to the seal");
    knife.cut(REQUEST_LEN - 1 - TAG, "command, encrypted");
    knife.cut(TAG, "code, fits");
    let mut inside = Knife::new("COMMAND, decrypted", &plain);
    done.says.push(commanded(&mut inside, &command));
    done.parts.push(inside.end("always 00"));
    if knife.rest().is_empty() {
        return None;
    }
    let sent = challenged.command(&command);
    let answer = match sent.open(knife.rest()) {
        Ok(answer) => answer,
        Err(fault) => return Some(Fault::new(format!("RESULT: {fault}"))),
    };
    knife.cut(1, "RESULT, from the seal");
    knife.take("length", |length: [u8; 2]| format!("{} bytes", u16::from_le_bytes(length)));
    knife.cut(knife.rest().len().saturating_sub(TAG), "outcome, state and entries, encrypted");
    knife.cut(TAG, "code, fits");
    result(&answer, done);
    None
}

fn commanded(knife: &mut Knife<'_>, command: &Command) -> String {
    match command {
        Command::Lock(reference) | Command::Unlock(reference) => {
            let word = if matches!(command, Command::Lock(_)) { "lock" } else { "unlock" };
            knife.cut(1, word);
            knife.cut(8, "reference of this command");
            format!("COMMAND, genuine: {word}, reference {}.", hex::encode(reference.0))
        }
        Command::SetTime(seconds) => {
            knife.cut(1, "set time");
            knife.cut(4, utc(u64::from(*seconds)));
            format!("COMMAND, genuine: it is {}.", utc(u64::from(*seconds)))
        }
        Command::Drain { log, confirm, most } => {
            knife.cut(1, "hand over the log");
            knife.cut(4, format!("log {log:08x}"));
            knife.cut(4, format!("entries up to {confirm} are on disk and may be deleted"));
            knife.cut(1, format!("at most {most} entries"));
            format!("COMMAND, genuine: hand over at most {most} entries of log {log:08x}; up to {confirm} they may be deleted.")
        }
    }
}

fn result(answer: &Answer, done: &mut Dissection) {
    let status = answer.status.write();
    let entries: Vec<u8> = answer.entries.iter().flat_map(Entry::write).collect();
    let count = u8::try_from(answer.entries.len()).unwrap_or(u8::MAX);
    let plain = [&[answer.outcome.0, count][..], &status, &entries].concat();
    let mut inside = Knife::new("RESULT, decrypted", &plain);
    inside.cut(1, outcome(answer.outcome));
    inside.cut(1, format!("entries: {count}"));
    state(&mut inside, &answer.status);
    done.says.push(format!("RESULT, genuine: {}; {}.", outcome(answer.outcome), stood(&answer.status)));
    for entry in &answer.entries {
        let word = word(entry.what.word());
        inside.cut(4, format!("entry {}", entry.number));
        inside.cut(4, clock(entry.time, if entry.clock_set { Clock::Set } else { Clock::NotSet }));
        inside.cut(1, word.clone());
        inside.cut(1, "flags");
        inside.cut(1, format!("battery {}", entry.battery));
        inside.cut(1, "always 00");
        inside.cut(8, entry.lost().map_or_else(|| "detail".to_owned(), |lost| format!("{lost} entries were lost")));
        done.says.push(format!("Entry {}: {word}.", entry.number));
    }
    done.parts.push(inside.end("not read"));
}

fn state(knife: &mut Knife<'_>, status: &Status) {
    knife.cut(1, format!("{}{}", bolt(status.bolt), listed(&MARKS, |mark| status.marks.has(mark))));
    knife.cut(1, format!("trouble{}", listed(&TROUBLE, |trouble| status.trouble.has(trouble))));
    knife.cut(1, status.battery_percent.map_or_else(|| "battery not known".to_owned(), |percent| format!("battery {percent} %")));
    knife.cut(2, format!("{} mV", status.millivolts));
    knife.cut(2, status.temperature_centi_c.map_or_else(|| "no temperature".to_owned(), |t| format!("{} °C", hundredths(t.into()))));
    knife.cut(4, clock(status.clock, if status.marks.has(Marks::CLOCK) { Clock::Set } else { Clock::NotSet }));
    knife.cut(4, format!("log {:08x}", status.log));
    knife.cut(4, format!("oldest entry {}", status.oldest));
    knife.cut(2, format!("entries held: {}", status.stored));
    let Last { action, result, reference } = status.last;
    knife.cut(1, format!("last command done: {}", ["none", "lock", "unlock"].get(usize::from(action)).unwrap_or(&"without a name")));
    knife.cut(1, format!("which ended: {}", outcome(Outcome(result))));
    knife.cut(8, format!("reference {}", hex::encode(reference.0)));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Set,
    NotSet,
}

fn clock(seconds: u32, clock: Clock) -> String {
    match clock {
        Clock::Set => utc(seconds.into()),
        Clock::NotSet => format!("{seconds} s since it started; its clock is not set"),
    }
}

const MARKS: [(Marks, &str); 5] = [
    (Marks::SHACKLE, "shackle in"),
    (Marks::CLOCK, "clock set"),
    (Marks::FACTORY_KEY, "FACTORY KEY"),
    (Marks::BATTERY_LOW, "battery low"),
    (Marks::LOG_LOST, "log lost entries"),
];

const TROUBLE: [(Trouble, &str); 7] = [
    (Trouble::FORCED, "FORCED OPEN"),
    (Trouble::CUT, "CUT"),
    (Trouble::COVER, "COVER OPENED"),
    (Trouble::EMERGENCY, "emergency opened"),
    (Trouble::STUCK, "motor stuck"),
    (Trouble::FAULT, "fault of its own"),
    (Trouble::WRONG_CODE, "wrong codes were tried"),
];

fn listed<T: Copy>(all: &[(T, &'static str)], has: impl Fn(T) -> bool) -> String {
    let set: Vec<&str> = all.iter().filter(|(bit, _)| has(*bit)).map(|(_, name)| *name).collect();
    if set.is_empty() { ": nothing".to_owned() } else { format!(": {}", set.join(", ")) }
}

fn bolt(bolt: Bolt) -> &'static str {
    match bolt {
        Bolt::Locked => "locked",
        Bolt::Unlocked => "UNLOCKED",
        Bolt::Between => "bolt at neither end",
    }
}

fn stood(status: &Status) -> String {
    format!("{}, trouble{}", bolt(status.bolt), listed(&TROUBLE, |trouble| status.trouble.has(trouble)))
}

fn outcome(outcome: Outcome) -> String {
    let word = match outcome {
        Outcome::DONE => "done",
        Outcome::ALREADY => "it stood so already",
        Outcome::BATTERY_LOW => "refused, battery low",
        Outcome::SHACKLE_OUT => "refused, shackle out",
        Outcome::STUCK => "motor stuck",
        Outcome::IN_ALARM => "refused, in alarm",
        Outcome::FACTORY_KEY => "refused, factory key",
        Outcome::BAD_BODY => "refused, a command without sense",
        Outcome::INTERRUPTED => "interrupted and not done",
        Outcome::WRONG_LOG => "refused, another log",
        Outcome::NOT_TOLD => "refused, it never told those entries",
        Outcome(code) => return format!("code {code}, which has no name"),
    };
    word.to_owned()
}
