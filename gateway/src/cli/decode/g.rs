//! G-Series (IMZ, Bander V11): one frame, to or from the lock.

use segel_drivers::codec::{
    calendar::SealTime,
    g_series::{
        ByWhom, Frame, GFault, Opened, PARAM_BATTERY, PARAM_LOCK, PARAM_PASSWORD, PARAM_SEAL, QUERY, QueryAnswer, SET, Unit, Verdict, Way,
        decoder, params, query_answer, set_answer, verdict,
    },
};

use super::{
    Given,
    table::{Dissection, Fault, Knife, utc},
};

/// Head, mark, command, length.
const BEFORE: usize = 8;
/// Check and end of a frame.
const BEHIND: usize = 3;
const SEALED: &str = "body, AES-128-ECB: check, serial, random, content";

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let way = if bytes.starts_with(&[0xF1]) { Way::ToLock } else { Way::FromLock };
    let mut knife = Knife::new("frame", bytes);
    let unit = match whole(bytes, way) {
        Ok(unit) => unit,
        Err(fault) => {
            if bytes.starts_with(&[0xF1, 0x1F]) || bytes.starts_with(&[0xF3, 0x3F]) {
                head(&mut knife, way);
            }
            done.parts.push(knife.end("not read"));
            done.fault = Some(fault);
            return done;
        }
    };
    let frame = match unit {
        Unit::Short(result) => {
            knife.cut(2, "from the lock: short answer, without any check");
            knife.cut(1, result_meaning(result));
            done.says.push(format!("From the lock: {}.", result_meaning(result)));
            done.parts.push(knife.end(""));
            return done;
        }
        Unit::Frame(frame) => frame,
    };
    head(&mut knife, way);
    let body = knife.rest().len().saturating_sub(BEHIND);
    match frame.open(given.key.as_ref()) {
        // In the frame's own table: its bytes, a password among them, are shown or hidden once.
        Ok(opened) if opened.by == ByWhom::Anybody => {
            let end = knife.at() + body;
            done.fault = inside(&mut knife, &frame, &opened, way, given, &mut done.says);
            knife.cut(end.saturating_sub(knife.at()), if done.fault.is_some() { "not read" } else { "padding, or not known" });
            done.notes.push("Nothing protects it: anybody can write it.".to_owned());
        }
        Ok(opened) => {
            knife.cut(body, SEALED);
            let mut content = Knife::new("content", &opened.content);
            done.fault = inside(&mut content, &frame, &opened, way, given, &mut done.says).map(|fault| fault.at(BEFORE));
            behind(&mut knife);
            done.parts.push(knife.end(""));
            done.parts.push(content.end(if done.fault.is_some() { "not read" } else { "padding, or not known" }));
            let serial = opened.serial.unwrap_or_default();
            let time = SealTime::from_bcd(serial).map_or_else(|| "which is no date".to_owned(), |time| utc(time.unix()));
            done.notes.push(format!(
                "Serial {}, {time}: the lock takes it only above the last one; this command does not know that.",
                hex::encode(serial)
            ));
            return done;
        }
        Err(fault) => {
            knife.cut(body, SEALED);
            done.fault = Some(Fault::new(fault.to_string()).at(BEFORE).remedy("Put the lock's key into SEGEL_DECODE_KEY or --key-file."));
        }
    }
    behind(&mut knife);
    done.parts.push(knife.end(""));
    done
}

fn behind(knife: &mut Knife<'_>) {
    knife.cut(1, "check, fits");
    knife.cut(2, "end of a frame");
}

/// The one frame these bytes are.
fn whole(bytes: &[u8], way: Way) -> Result<Unit, Fault> {
    let mut decoder = decoder(way);
    decoder.push(bytes);
    let first = decoder.next();
    let left = decoder.waiting();
    match first {
        Some(Ok(unit)) if left == 0 => Ok(unit),
        Some(Ok(_)) => Err(Fault::new("more bytes follow after a whole frame").at(bytes.len() - left).remedy("Give one frame at a time.")),
        Some(Err(fault)) => {
            let at = if fault == GFault::Check { bytes.len().saturating_sub(BEHIND) } else { 0 };
            Err(Fault::new(fault.to_string()).at(at))
        }
        None => Err(Fault::new("it ends in the middle")
            .at(bytes.len())
            .remedy("Give one whole frame: a lock may send it in several notifications.")),
    }
}

fn head(knife: &mut Knife<'_>, way: Way) {
    knife.cut(2, if way == Way::ToLock { "beginning of a frame to the lock" } else { "beginning of a frame from the lock" });
    knife.take("mark", |mark: [u8; 2]| match mark {
        [0xFF, 0xEE] => "marked encrypted".to_owned(),
        [0xFF, 0xFF] => "marked in the clear".to_owned(),
        _ => "no mark of this protocol".to_owned(),
    });
    knife.take("command", |command: [u8; 2]| match u16::from_be_bytes(command) {
        SET => "set".to_owned(),
        QUERY => "query".to_owned(),
        other => format!("command {other:04x}, which has no name"),
    });
    knife.take("length", |length: [u8; 2]| format!("length before padding: {}", u16::from_be_bytes(length)));
}

fn inside(knife: &mut Knife<'_>, frame: &Frame, opened: &Opened, way: Way, given: &Given, says: &mut Vec<String>) -> Option<Fault> {
    let content = opened.content.as_slice();
    match (way, frame.command) {
        (Way::ToLock, SET) => parameters(knife, content, given, says),
        (Way::ToLock, QUERY) => {
            for param in content {
                knife.cut(1, format!("asks for {}", name(*param)));
                says.push(format!("To the lock: say {}.", name(*param)));
            }
            None
        }
        (Way::FromLock, SET) => results(knife, content, says),
        (Way::FromLock, QUERY) => match query_answer(content) {
            Ok(QueryAnswer::Refused(result)) => {
                knife.cut(1, result_meaning(result));
                says.push(format!("From the lock: {}.", result_meaning(result)));
                None
            }
            Ok(QueryAnswer::Values(_)) => parameters(knife, content, given, says),
            Err(fault) => Some(Fault::new(fault.to_string()).at(BEFORE)),
        },
        (_, command) => {
            says.push(format!("Its checks fit; what command {command:04x} contains is not known."));
            None
        }
    }
}

fn parameters(knife: &mut Knife<'_>, content: &[u8], given: &Given, says: &mut Vec<String>) -> Option<Fault> {
    let Some(params) = params(content) else {
        return Some(Fault::new("the content is not a count with as many parameters").at(BEFORE));
    };
    knife.cut(1, format!("parameters: {}", params.len()));
    for (param, value) in params {
        knife.cut(1, name(param));
        knife.cut(1, format!("length {}", value.len()));
        let meaning = if param == PARAM_PASSWORD {
            let told = super::table::password(&value, given.password.as_ref());
            knife.hide(value.len(), told);
            "its password, not shown".to_owned()
        } else {
            let meaning = value_meaning(param, &value);
            knife.cut(value.len(), meaning.clone());
            meaning
        };
        says.push(format!("{}: {meaning}.", name(param)));
    }
    None
}

fn results(knife: &mut Knife<'_>, content: &[u8], says: &mut Vec<String>) -> Option<Fault> {
    let result = match set_answer(content) {
        Ok(result) => result,
        Err(fault) => return Some(Fault::new(fault.to_string()).at(BEFORE)),
    };
    if content.len() < 3 || content[1..].iter().all(|byte| *byte == 0) {
        knife.cut(1, result_meaning(result));
    } else {
        knife.cut(1, format!("parameters: {}", content[0]));
        for pair in content[1..].chunks_exact(2).take(content[0].into()) {
            knife.cut(1, name(pair[0]));
            knife.cut(1, result_meaning(pair[1]));
        }
    }
    says.push(format!("From the lock: {}.", result_meaning(result)));
    None
}

fn result_meaning(result: u8) -> String {
    match verdict(result) {
        Verdict::Done => "done".to_owned(),
        Verdict::Refused(why) => format!("refused: {why}"),
    }
}

fn name(param: u8) -> String {
    match param {
        PARAM_SEAL => "sealing".to_owned(),
        PARAM_PASSWORD => "password".to_owned(),
        PARAM_LOCK => "lock state".to_owned(),
        PARAM_BATTERY => "battery".to_owned(),
        other => format!("parameter {other:02x}"),
    }
}

fn value_meaning(param: u8, value: &[u8]) -> String {
    match (param, value) {
        (PARAM_SEAL, [0]) => "unseal".to_owned(),
        (PARAM_SEAL, [1]) => "seal".to_owned(),
        (PARAM_LOCK, [0x00 | 0x30]) => "not locked".to_owned(),
        (PARAM_LOCK, [0x01 | 0x31]) => "locked".to_owned(),
        (PARAM_BATTERY, [percent]) => format!("{percent} %"),
        _ => "a value without a name".to_owned(),
    }
}
