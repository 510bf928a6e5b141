//! UHF readers: one frame of the UHFReader18 / UHFReader288 family.

use segel_drivers::codec::uhf::{Answer, Decoder, Dialect, Frame, InventoryEnd, TagEntry, meaning};

use super::table::{Dissection, Fault, Knife};

/// Bytes around the body: length, address, code, check.
const AROUND: usize = 5;

pub(super) fn dissect(bytes: &[u8]) -> Dissection {
    let mut done = Dissection::default();
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let Some(frame) = decoder.next_frame().filter(|frame| frame.bytes() == bytes) else {
        done.fault = Some(fault(bytes));
        let mut knife = Knife::new("frame", bytes);
        knife.cut(1, "length of what follows");
        knife.cut(1, "address");
        knife.cut(1, "command");
        done.parts.push(knife.end("not read"));
        return done;
    };
    let mut knife = Knife::new("frame", bytes);
    knife.cut(1, format!("{} bytes follow", bytes[0]));
    knife.cut(1, format!("address {:02x}", frame.address()));
    knife.cut(1, format!("command {:02x}", frame.code()));
    let body = bytes.len() - AROUND;
    if body == 0 {
        done.says.push("To the reader: a command without data.".to_owned());
    } else {
        let told = [Dialect::UhfReader288, Dialect::UhfReader18]
            .into_iter()
            .find_map(|dialect| Some((dialect, Answer::read(&frame, dialect).ok()?)));
        let status = frame.body()[0];
        knife.cut(1, format!("as an answer: status {status:02x}, {}", status_word(&frame, status)));
        knife.cut(body - 1, "content");
        match told {
            Some((dialect, answer)) => {
                done.says.extend(said(&answer));
                done.notes.push(format!("Read as {dialect:?}; a command to the reader looks the same from outside."));
            }
            None => {
                done.says.push("Its check fits, and it has the layout of no answer: a command, or a reader of another family.".to_owned());
            }
        }
    }
    done.parts.push(knife.end("check, fits"));
    done
}

fn fault(bytes: &[u8]) -> Fault {
    let says = usize::from(bytes[0]) + 1;
    if bytes[0] < 4 {
        Fault::new(format!("{} bytes cannot follow: a frame has at least address, command and check", bytes[0])).at(0)
    } else if says != bytes.len() {
        Fault::new(format!("it says that it has {says} bytes, and it has {}", bytes.len())).at(0).remedy("Give one whole frame.")
    } else {
        Fault::new("its check does not fit").at(bytes.len() - 2).remedy("It was damaged on the line: look at speed and cable.")
    }
}

fn status_word(frame: &Frame, status: u8) -> &'static str {
    match (frame.code(), status) {
        (_, 0) => "done",
        (0x01, 1..=4) => "an inventory",
        (0x01, 0x26) => "the numbers of an inventory",
        (0xEE, 0x28) => "alive",
        _ => meaning(status),
    }
}

fn said(answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Info(info) => vec![info.to_string()],
        Answer::Inventory { end, tags } => {
            let end = match end {
                InventoryEnd::Complete => "complete",
                InventoryEnd::TimeOver => "time over",
                InventoryEnd::MoreFollows => "more follows",
                InventoryEnd::MemoryFull => "the reader's memory is full",
            };
            let first = format!("An inventory, {end}, tags: {}.", tags.len());
            std::iter::once(first).chain(tags.iter().map(tag)).collect()
        }
        Answer::Statistics { total } => vec![format!("Numbers of an inventory: {total} reads in all.")],
        Answer::Realtime(entry) => vec![tag(entry)],
        Answer::Heartbeat { packet, total, .. } => vec![format!("It lives: heartbeat {packet}, {total} reads in all.")],
        Answer::Done { .. } => vec!["Done.".to_owned()],
        Answer::AntennaFault { antenna, .. } => {
            vec![
                antenna.map_or_else(
                    || "An antenna is missing or mismatched.".to_owned(),
                    |n| format!("Antenna {n} is missing or mismatched."),
                ),
            ]
        }
        Answer::Failed { status, .. } => vec![format!("Not done: {}.", meaning(*status))],
    }
}

fn tag(entry: &TagEntry) -> String {
    let antenna = entry.antenna.map_or_else(String::new, |n| format!(", antenna {n}"));
    let signal = entry.rssi_raw.map_or_else(String::new, |raw| format!(", signal {raw}"));
    format!("tag {}{antenna}{signal}", entry.epc)
}
