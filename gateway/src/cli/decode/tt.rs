//! TT-Series BLE-ELOCK A7: one frame, to or from the lock.

use segel_drivers::codec::{
    calendar::SealTime,
    tt::{
        Access, Command, Frame, Kind, Message, PASSWORD_LEN, Report, Source, TtFault,
        codes::Verdict,
        decoder,
        state::{Flags, State},
    },
};

use super::{
    Given,
    table::{Dissection, Fault, Knife, utc, word},
};

/// kind, len.
const HEAD: usize = 2;

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let mut knife = Knife::new("frame", bytes);
    knife.take("kind", |[kind]: [u8; 1]| match kind {
        0x01 => "in the clear".to_owned(),
        0x11 => "encrypted, AES-128-ECB".to_owned(),
        _ => "no kind of this protocol".to_owned(),
    });
    let frame = match whole(bytes) {
        Ok(frame) => frame,
        Err(fault) => {
            knife.take("length", |[length]: [u8; 1]| format!("length of the data: {length}"));
            done.parts.push(knife.end("not read"));
            done.fault = Some(fault);
            return done;
        }
    };
    knife.take("length", |[length]: [u8; 1]| format!("length of the data: {length}"));
    let body = bytes.len() - HEAD - 1;
    let clear = match (frame.open(given.key.as_ref()), frame.kind()) {
        // Shown all the same: what it says is in it for everybody to see.
        (Err(TtFault::PlainDespiteKey), _) => {
            done.fault = Some(
                Fault::new("in the clear although a key is given: a lock with a key is not believed in the clear")
                    .at(0)
                    .remedy("Leave the key out to read it anyway."),
            );
            frame.open(None)
        }
        (opened, _) => opened,
    };
    match clear {
        Ok(data) if frame.kind() == Kind::Plain => {
            let fault = cut(&mut knife, &data, given, &mut done.says);
            done.fault = done.fault.or(fault.map(|fault| fault.at(HEAD)));
            knife.cut((HEAD + body).saturating_sub(knife.at()), "not read");
        }
        Ok(data) => {
            knife.cut(body, "data, encrypted and padded with zeros");
            let mut inside = Knife::new("decrypted", &data);
            done.fault = cut(&mut inside, &data, given, &mut done.says).map(|fault| fault.at(HEAD));
            knife.cut(1, "check, fits");
            done.parts.push(knife.end(""));
            done.parts.push(inside.end("not read"));
            return done;
        }
        Err(fault) => {
            knife.cut(body, "data, encrypted");
            let remedy = "Put the lock's key into SEGEL_DECODE_KEY or --key-file; if it is right, the frame is another lock's.";
            done.fault = Some(Fault::new(fault.to_string()).at(HEAD).remedy(remedy));
        }
    }
    knife.cut(1, "check, fits");
    done.parts.push(knife.end(""));
    done
}

/// The one frame these bytes are.
fn whole(bytes: &[u8]) -> Result<Frame, Fault> {
    let mut decoder = decoder();
    decoder.push(bytes);
    let first = decoder.next();
    let left = decoder.waiting();
    match first {
        Some(Ok(frame)) if left == 0 => Ok(frame),
        Some(Ok(_)) => Err(Fault::new("more bytes follow after a whole frame").at(bytes.len() - left).remedy("Give one frame at a time.")),
        Some(Err(TtFault::Check)) => Err(Fault::new(TtFault::Check.to_string()).at(checked(bytes))),
        Some(Err(fault)) => Err(Fault::new(fault.to_string()).at(0)),
        None => Err(Fault::new("it ends in the middle")
            .at(bytes.len())
            .remedy("Give one whole frame: a lock may send it in several notifications.")),
    }
}

/// Where the check of a frame stands.
fn checked(bytes: &[u8]) -> usize {
    let length = usize::from(*bytes.get(1).unwrap_or(&0));
    HEAD + if bytes.first() == Some(&0x11) { length.next_multiple_of(16) } else { length }
}

/// Cuts the data; the fault where its code or its length makes no sense.
fn cut(knife: &mut Knife<'_>, data: &[u8], given: &Given, says: &mut Vec<String>) -> Option<Fault> {
    if let Some(command) = Command::read(data).ok().filter(|command| command.write() == data) {
        commanded(knife, &command, given, says);
        return None;
    }
    match Message::read(data) {
        Ok(message) => told(knife, &message, data.len(), says),
        Err(fault) => return Some(Fault::new(fault.to_string())),
    }
    None
}

fn commanded(knife: &mut Knife<'_>, command: &Command, given: &Given, says: &mut Vec<String>) {
    match command {
        Command::State(access) => asked(knife, access, "state", "say how you stand", given, says),
        Command::Lock(access) => asked(knife, access, "lock", "lock", given, says),
        Command::Unlock(access) => asked(knife, access, "unlock", "unlock", given, says),
        Command::SetTime(at) => {
            knife.cut(1, "to the lock: set time");
            knife.cut(6, utc(at.unix()));
            says.push(format!("To the lock: it is {}.", utc(at.unix())));
        }
        Command::Heard(lock, at) => {
            knife.cut(1, "to the lock: heartbeat heard");
            knife.cut(4, format!("lock {lock}"));
            knife.cut(6, utc(at.unix()));
            says.push(format!("To lock {lock}: its heartbeat was heard."));
        }
    }
}

fn asked(knife: &mut Knife<'_>, access: &Access, name: &str, said: &str, given: &Given, says: &mut Vec<String>) {
    knife.cut(1, format!("to the lock: {name}"));
    knife.cut(4, format!("lock {}", access.lock));
    knife.hide(PASSWORD_LEN, super::table::password(&access.password, given.password.as_ref()));
    knife.cut(6, format!("written {}", utc(access.at.unix())));
    says.push(format!("To lock {}: {said}.", access.lock));
}

fn told(knife: &mut Knife<'_>, message: &Message, length: usize, says: &mut Vec<String>) {
    match message {
        Message::TimeSet => {
            knife.cut(1, "from the lock: its clock is set");
            says.push("From the lock: its clock is set.".to_owned());
        }
        Message::Heartbeat(report) => reported(knife, report, "heartbeat", length, says),
        Message::Alarm(alarm, report) => {
            let words: Vec<String> = alarm.words(report.state).into_iter().map(word).collect();
            reported(knife, report, &format!("ALARM, code {:02x}: {}", alarm.code(), words.join(", ")), length, says);
        }
        Message::Answer(code, report) => {
            let verdict = match code.verdict {
                Verdict::Done => "done".to_owned(),
                Verdict::Already => "it stood so already".to_owned(),
                Verdict::Refused(why) => format!("refused: {why}"),
            };
            reported(knife, report, &format!("answer to {}: {}, {verdict}", code.answers, code.name), length, says);
        }
    }
}

fn reported(knife: &mut Knife<'_>, report: &Report, name: &str, length: usize, says: &mut Vec<String>) {
    knife.cut(1, format!("from the lock: {name}"));
    knife.cut(4, format!("lock {}", report.lock));
    let battery = report.battery;
    knife.cut(1, if battery <= 100 { format!("battery {battery} %") } else { format!("battery {battery}, which is no percentage") });
    knife.cut(1, format!("status: {}", state(report.state)));
    knife.cut(1, "reserved");
    if let Some(source) = report.source {
        knife.cut(
            1,
            match source {
                Source::Itself => "operated by itself".to_owned(),
                Source::Keyboard => "operated by its keyboard".to_owned(),
                Source::Bluetooth => "operated over Bluetooth".to_owned(),
                Source::Unknown(byte) => format!("operated by {byte}, which has no name"),
            },
        );
    }
    let time = report.time.map_or_else(|| "no date".to_owned(), |time: SealTime| format!("its own time {}", utc(time.unix())));
    knife.cut(6.min(length), time);
    says.push(format!("From lock {}: {name}; status: {}.", report.lock, state(report.state)));
}

fn state(state: State) -> String {
    let word = match state {
        State::Open => "open",
        State::Standby => "standing by",
        State::NotReady => "not ready",
        State::Sealed => "sealed",
        State::LocallySealed => "sealed on the spot",
        State::Unsealed => "unsealed",
        State::AlarmCancelled => "an alarm was cancelled",
        State::Abnormal => "abnormal",
        State::Unknown(byte) => return format!("{byte:02x}, which has no name"),
        State::Alarm(flags) => {
            let all =
                [(Flags::ROD_CUT, "rod cut"), (Flags::OPENED, "opened"), (Flags::SHELL, "shell opened"), (Flags::EMERGENCY, "emergency")];
            let set: Vec<&str> = all.iter().filter(|(bit, _)| flags.bits() & bit != 0).map(|(_, name)| *name).collect();
            return if set.is_empty() { "ALARM".to_owned() } else { format!("ALARM: {}", set.join(", ")) };
        }
    };
    word.to_owned()
}
