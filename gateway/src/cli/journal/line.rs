//! One event for people.
//!
//! What must hold: nothing an event says is cut off. Where the line goes to a file or a pipe it is one line with the
//! whole body. On a terminal it is broken to the width; members that tell what happened are always there, the others as
//! far as the last line has room, and how many were left out is said. Nothing an event brings (names and texts come
//! from radios and brokers) can move the cursor, change colours or turn the direction of writing.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use crate::event::document::Head;
use crate::journal::Record;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The documents as they are.
    Documents,
    /// One line each, with everything.
    Whole,
    /// Broken to so many columns.
    Fitted(usize),
}

/// Members that tell what happened, in the order they are told; looked for by the last part of their path.
const TELLING: [&str; 28] = [
    "container",
    "reason",
    "changed",
    "lock",
    "tamper",
    "sealCondition",
    "trouble",
    "meaning",
    "status",
    "detail",
    "code",
    "textEn",
    "commandId",
    "refusedBecause",
    "setAsideTo",
    "carriedOver",
    "stepMs",
    "first",
    "last",
    "count",
    "undelivered",
    "lost",
    "batteryPercent",
    "lane",
    "reader",
    "beginning",
    "version",
    "what",
];
/// Columns of one step inwards.
const INDENT: usize = 4;
/// From so many columns on, the columns of the head stand below each other.
const ALIGNED_FROM: usize = 130;
/// Deepest a body is taken apart; deeper parts are shown as JSON.
const DEPTH_MAX: usize = 3;

/// Shows one event.
pub(super) fn show(out: &mut impl Write, record: &Record, form: Form) -> io::Result<()> {
    match form {
        Form::Documents => {
            out.write_all(&record.doc)?;
            out.write_all(b"\n")
        }
        Form::Whole => writeln!(out, "{}", whole(record)),
        Form::Fitted(width) => writeln!(out, "{}", fitted(record, width)),
    }
}

fn whole(record: &Record) -> String {
    let (assurance, clock, body) = match Head::parse(&record.doc) {
        Ok(head) => {
            let container = head.container.map(|container| format!("{container} ")).unwrap_or_default();
            (head.assurance.as_str(), clock(head.clock.as_str()), harmless(&format!("{container}{}", head.data.get())))
        }
        Err(error) => ("?", String::new(), format!("THE DOCUMENT CANNOT BE READ: {error}")),
    };
    format!(
        "{:.3}{clock}  {:9} {:>6}  {:16} {:24} {assurance:8} {body}",
        record.wall,
        record.class,
        record.seq.0,
        harmless(&record.kind),
        record.subject
    )
}

fn fitted(record: &Record, width: usize) -> String {
    let kind = harmless(&record.kind);
    let head = match Head::parse(&record.doc) {
        Ok(head) => head,
        Err(error) => {
            let (wall, class, seq, subject) = (record.wall, record.class, record.seq, &record.subject);
            return format!("{wall:.3} {class} {seq} {kind} {subject} THE DOCUMENT CANNOT BE READ: {error}");
        }
    };
    let clock = clock(head.clock.as_str());
    let (wall, class, seq, subject, assurance) = (record.wall, record.class, record.seq.0, &record.subject, head.assurance);
    let mut page = if width >= ALIGNED_FROM {
        Page::new(format!("{wall:.3}{clock}  {class:9} {seq:>6}  {kind:16} {subject:24} {assurance:8}"), width)
    } else {
        Page::new(format!("{wall:.3}{clock} {class} {seq} {kind} {subject} {assurance}"), width)
    };
    let mut members = Vec::new();
    if let Some(container) = &head.container {
        members.push(("container".to_owned(), harmless(container)));
    }
    match serde_json::from_str(head.data.get()) {
        Ok(body) => flatten("", &body, 0, &mut members),
        // A body that JSON takes apart no further is shown as it is.
        Err(_) => members.push(("data".to_owned(), harmless(head.data.get()))),
    }
    let rank = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        TELLING.iter().position(|telling| *telling == last).unwrap_or(TELLING.len())
    };
    members.sort_by_key(|(name, _)| rank(name));
    let mut left_out = 0;
    for (name, value) in members {
        let token = format!("{name}={value}");
        if rank(&name) < TELLING.len() {
            page.put(&token);
        } else if left_out > 0 || !page.put_if_room(&token) {
            left_out += 1;
        }
    }
    if left_out > 0 {
        page.put(&format!("(+{left_out}: --wide)"));
    }
    page.text
}

/// What the clock was worth, where it is worth a word.
fn clock(clock: &str) -> String {
    if clock == "ntp" { String::new() } else { format!(" (clock {clock})") }
}

/// The members of a body with their values as text.
fn flatten(path: &str, value: &Value, depth: usize, members: &mut Vec<(String, String)>) {
    match value {
        Value::Object(inner) if depth < DEPTH_MAX => {
            for (name, value) in inner {
                let name = harmless(name);
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&path, value, depth + 1, members);
            }
        }
        Value::String(text) if is_plain(text) => members.push((path.to_owned(), text.clone())),
        other => members.push((path.to_owned(), harmless(&other.to_string()))),
    }
}

/// A text that needs no quotes to be read as one value.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

/// The text with whatever a terminal would obey written out.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_format(c) {
            let _ = write!(harmless, "\\u{{{:x}}}", u32::from(c));
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// Marks that turn the direction of writing, join or hide characters.
const fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Lines that are filled word by word.
struct Page {
    text: String,
    column: usize,
    width: usize,
}

impl Page {
    fn new(head: String, width: usize) -> Self {
        let column = head.chars().count();
        Self { text: head, column, width }
    }

    fn put(&mut self, token: &str) {
        if !self.put_if_room(token) {
            self.text.push('\n');
            self.text.push_str(&" ".repeat(INDENT));
            self.text.push_str(token);
            self.column = INDENT + token.chars().count();
        }
    }

    fn put_if_room(&mut self, token: &str) -> bool {
        let columns = token.chars().count() + 1;
        if self.column + columns > self.width {
            return false;
        }
        self.text.push(' ');
        self.text.push_str(token);
        self.column += columns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Assurance, BootId, Class, ClockQuality, Digest, Draft, EventType, JournalId, Seq, Source, Stamp, Subject, document,
    };
    use uuid::Uuid;

    fn record(body: &Value) -> Record {
        let stamp = Stamp {
            wall: jiff::Timestamp::from_millisecond(1_795_244_400_123).unwrap(),
            monotonic_ms: 1,
            boot: BootId(Uuid::from_u128(1)),
            clock: ClockQuality::Ntp,
        };
        let subject: Subject = "seal/JT-8000620011".parse().unwrap();
        let draft = Draft::new(Class::Alarm, EventType::ForcedOpen, subject.clone(), stamp, Assurance::Keyed, body).unwrap();
        let draft = draft.with_container("CSQU3054383").unwrap();
        let source = Source::new("idsrg", "g01").unwrap();
        let doc = document::write(&draft, &source, JournalId(Uuid::from_u128(2)), Seq(17), &Digest::ZERO);
        Record { class: Class::Alarm, seq: Seq(17), id: draft.id, kind: "FORCED_OPEN".to_owned(), subject, wall: stamp.wall, doc }
    }

    #[test]
    fn a_long_body_is_broken_to_the_width_and_its_telling_members_are_all_there() {
        let reason = "the shackle was cut while the lock said locked and nobody was authorised ".repeat(3);
        let record = record(&serde_json::json!({
            "raw": "00".repeat(200), "driver": "air", "reason": reason, "state": {"lock": "unlocked", "batteryPercent": 96, "v": 1}
        }));
        for width in [40, 80, 100, 140, 200] {
            let shown = fitted(&record, width);
            for token in ["container=CSQU3054383", reason.as_str(), "state.lock=unlocked", "state.batteryPercent=96", "--wide)"] {
                assert!(shown.contains(token), "{width}: {token} is not in\n{shown}");
            }
            assert!(!shown.contains(&"00".repeat(200)));
            let too_long =
                shown.lines().filter(|line| line.chars().count() > width && !line.contains("reason=") && !line.contains(":00.123Z"));
            assert_eq!(too_long.count(), 0, "{width}:\n{shown}");
        }
        assert!(whole(&record).contains(&"00".repeat(200)) && !whole(&record).contains('\n'));
    }

    #[test]
    fn what_fits_is_shown_on_one_line_with_everything() {
        let record = record(&serde_json::json!({ "zeta": 1, "reason": "opened" }));
        let expected = "2026-11-21T07:00:00.123Z alarm 17 FORCED_OPEN seal/JT-8000620011 keyed container=CSQU3054383 reason=opened zeta=1";
        assert_eq!(fitted(&record, 120), expected);
    }

    #[test]
    fn no_text_of_an_event_reaches_the_terminal_as_a_command() {
        let evil = "\u{1b}[2J\u{9b}31m\u{202e}\r\n\u{200f}x";
        let record = record(&serde_json::json!({ "reason": evil, evil: [evil], "textEn": "a=b \"c\"" }));
        for shown in [whole(&record), fitted(&record, 60)] {
            let obeyed = shown.chars().find(|c| (c.is_control() && *c != '\n') || is_format(*c));
            assert_eq!(obeyed, None, "{shown:?}");
        }
        assert!(!whole(&record).contains('\n'));
        assert!(fitted(&record, 60).contains(r#"textEn="a=b \"c\"""#));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_shown_with_what_is_known() {
        let record = Record { doc: b"{}".to_vec(), ..record(&serde_json::json!({})) };
        for shown in [whole(&record), fitted(&record, 80)] {
            assert!(shown.contains("CANNOT BE READ") && shown.contains("FORCED_OPEN") && shown.contains("17"), "{shown}");
        }
    }
}
