//! ESealBD: a whole frame, to or from the seal.

use segel_drivers::codec::eseal::{
    self, Answer, ENVELOPE_LEN, EsealFault, HEAD_LEN, Opened, Order, PAYLOAD_HEAD_LEN, PUBLISHED_KEY, Rod, STORED_NAMES, Safe, State, Turn,
    kind, kind_name, stored_lines,
};

use super::{
    Given,
    table::{Dissection, Fault, Knife},
};

pub(super) fn dissect(bytes: &[u8], given: &Given) -> Dissection {
    let mut done = Dissection::default();
    let mut knife = Knife::new("frame", bytes);
    head(&mut knife);
    let key = given.key.as_ref().map_or(Ok(PUBLISHED_KEY), eseal::short_key);
    let opened = match key {
        Ok(key) => eseal::open(bytes, key),
        Err(fault) => {
            done.parts.push(knife.end("not read"));
            done.fault = Some(Fault::new(fault.to_string()));
            return done;
        }
    };
    if bytes.len() >= HEAD_LEN + ENVELOPE_LEN + PAYLOAD_HEAD_LEN && eseal::body(bytes).is_ok() {
        knife.take("number", |id: [u8; 4]| format!("seal {}", u32::from_be_bytes(id)));
        knife.take(
            "rn",
            |rn: [u8; 4]| if u32::from_be_bytes(rn) == eseal::FIRMWARE_RN { "rn, the fixed one".to_owned() } else { "rn".to_owned() },
        );
        knife.take("length", |length: [u8; 2]| format!("{} bytes of payload", u16::from_be_bytes(length)));
        if opened.is_ok() {
            knife.cut(knife.rest().len(), "payload, under the keystream SHA-1(number, rn, key)");
        }
    }
    match &opened {
        Ok(opened) if opened.envelope.is_some() => {
            let mut inside = Knife::new("decrypted", &opened.payload);
            done.fault = payload(&mut inside, opened, HEAD_LEN + ENVELOPE_LEN, &mut done.says);
            done.parts.push(knife.end(""));
            done.parts.push(inside.end("not read"));
            if given.key.is_none() {
                done.notes.push("It is under the key of the maker's published app: anybody can read and write such frames.".to_owned());
            }
        }
        Ok(opened) => {
            done.fault = payload(&mut knife, opened, HEAD_LEN, &mut done.says);
            done.parts.push(knife.end("not read"));
        }
        Err(fault) => {
            done.parts.push(knife.end("not read"));
            done.fault = Some(why(*fault, bytes));
        }
    }
    done
}

fn head(knife: &mut Knife<'_>) {
    if !knife.rest().starts_with(&[0xFF; 4]) {
        return;
    }
    knife.cut(4, "beginning of a frame");
    knife.take("check", |_: [u8; 2]| "check over port and length".to_owned());
    knife.take(
        "port",
        |port: [u8; 2]| if u16::from_be_bytes(port) == eseal::PORT { "port of seal operations".to_owned() } else { "port".to_owned() },
    );
    knife.take("length", |length: [u8; 2]| format!("{} bytes follow", u16::from_be_bytes(length)));
}

fn why(fault: EsealFault, bytes: &[u8]) -> Fault {
    let told = Fault::new(fault.to_string());
    match fault {
        EsealFault::Lead => told.at(0),
        EsealFault::HeadCheck { .. } => told.at(4),
        EsealFault::Port(_) => told.at(6),
        EsealFault::Length { .. } if eseal::body(bytes).is_err() => {
            told.at(8).remedy("Give one whole frame: a seal sends it in several notifications.")
        }
        EsealFault::Length { .. } => told.at(HEAD_LEN + 8),
        EsealFault::Cut(at) => told.at(at),
        EsealFault::PayloadCheck => told.at(bytes.len().min(HEAD_LEN + ENVELOPE_LEN)).remedy("Look at the key (8 hex digits)."),
        EsealFault::TooLong | EsealFault::Content { .. } | EsealFault::OtherSeal(_) => told,
    }
}

/// Cuts a payload in clear; `base` is where it begins in the frame.
fn payload(knife: &mut Knife<'_>, opened: &Opened, base: usize, says: &mut Vec<String>) -> Option<Fault> {
    knife.cut(2, "check over what follows, fits");
    knife.cut(2, kind_name(opened.kind));
    knife.take("length", |length: [u8; 2]| format!("{} bytes of content", u16::from_be_bytes(length)));
    let number = opened.content.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
    let id = opened.envelope.map(|(id, _)| id).or(number).unwrap_or_default();
    if let Some(number) = number {
        let odd = if number == id { "" } else { ", which is NOT the one outside" };
        knife.cut(4, format!("seal {number}{odd}"));
    }
    if let Some(order) = opened.order(id) {
        says.push(ordered(knife, order, id));
        return None;
    }
    match opened.answer(id) {
        Ok(answer) => {
            answered(knife, &answer, opened.kind, id, says);
            None
        }
        Err(fault) => Some(Fault::new(fault.to_string()).at(base + PAYLOAD_HEAD_LEN)),
    }
}

fn ordered(knife: &mut Knife<'_>, order: Order, id: u32) -> String {
    match order {
        Order::Query => format!("To seal {id}: how do you stand?"),
        Order::GetId => "To any seal: what is your number?".to_owned(),
        Order::ReadStored { most } => {
            knife.cut(2, format!("at most {most} bytes"));
            format!("To seal {id}: what is stored?")
        }
        Order::Operate(turn) => {
            knife.cut(1, "power on");
            let (word, said) = match turn {
                Turn::Seal => ("seal", "seal yourself"),
                Turn::Unseal => ("unseal", "unseal yourself"),
            };
            knife.cut(1, word);
            format!("To seal {id}: {said}.")
        }
    }
}

fn answered(knife: &mut Knife<'_>, answer: &Answer, kind: u16, id: u32, says: &mut Vec<String>) {
    match answer {
        Answer::State(state) => says.push(stood(knife, state, id)),
        Answer::Id(id) => says.push(format!("From seal {id}: its number.")),
        Answer::Error(code) => {
            knife.cut(1, format!("error {code}; what that means is not published"));
            says.push(format!("From seal {id}: it refuses, code {code}."));
        }
        Answer::Stored(bytes) => {
            knife.cut(2, format!("{} stored bytes", bytes.len()));
            stored(knife, bytes, id, says);
        }
        Answer::Other => says.push(format!("Seal {id}: {}; its content is not read here.", named(kind))),
    }
}

fn named(code: u16) -> String {
    match kind_name(code) {
        name if code == kind::POSITION => format!("{name} ({code:04x}), whose layout app and firmware tell differently"),
        name => format!("{name} ({code:04x})"),
    }
}

fn stood(knife: &mut Knife<'_>, state: &State, id: u32) -> String {
    knife.cut(2, format!("reports every {} s", state.period_s));
    knife.cut(1, format!("receive window {} s", state.window_s));
    knife.cut(1, format!("channel set: {}", channel(state.channel)));
    knife.cut(1, format!("channel of this answer: {}", channel(state.via)));
    knife.cut(1, if state.power == 0 { "power off" } else { "power on" });
    let (word, said) = match state.safe {
        Safe::Unsealed => ("not sealed".to_owned(), "it is not sealed"),
        Safe::Sealed => ("sealed".to_owned(), "it says that it is sealed"),
        Safe::ForcedOpen => ("FORCED OPEN".to_owned(), "it was FORCED OPEN while it was sealed"),
        Safe::Unnamed(code) => (format!("state {code}, which has no name"), "its state has no name"),
    };
    knife.cut(1, word);
    let rod = if state.rod == Rod::In { "rod in" } else { "rod out" };
    knife.cut(1, rod);
    knife.cut(9, "limits for temperature, humidity and shaking");
    format!("From seal {id}: {said}; {rod}.")
}

fn channel(code: u8) -> &'static str {
    match code {
        0 => "it chooses",
        1 => "GPRS",
        2 => "Beidou",
        3 => "GPRS and Beidou",
        4 => "D+",
        5 => "GPRS and D+",
        _ => "without a name",
    }
}

fn stored(knife: &mut Knife<'_>, bytes: &[u8], id: u32, says: &mut Vec<String>) {
    let Some(lines) = stored_lines(bytes) else {
        knife.cut(bytes.len(), "stored bytes, not the nine lines the maker's app writes");
        says.push(format!("From seal {id}: what is stored in it, {} bytes of a layout not known.", bytes.len()));
        return;
    };
    says.push(format!("From seal {id}: what is stored in it, as the maker's app writes it."));
    let last = lines.len() - 1;
    for (number, (name, line)) in STORED_NAMES.into_iter().zip(lines).enumerate() {
        let end = if number == last { 0 } else { 2 };
        knife.cut(line.len() + end, format!("{name}: {line:?}"));
    }
}
