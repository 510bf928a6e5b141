//! Which events a command is about: the options, what they understand, and what is said when nothing fits.
//!
//! People type what they see: a seal in lower case, a type as in a topic (`forced-open`), a time as an age. What is
//! understood is repeated in the sentence that says nothing was found, so that a wrong reading is seen.

use std::fmt::Write as _;
use std::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use segel_drivers::SealId;

use crate::event::{Class, EventType, Seq, Subject};
use crate::journal::{Filter, JournalError, JournalReader, Moment};

/// Which events.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Of this class only: alarm, receipt or telemetry
    #[arg(long, value_parser = class)]
    pub(super) class: Option<Class>,
    /// Of this type only, e.g. FORCED_OPEN, or as in a topic: forced-open
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: Option<EventType>,
    /// About this seal only, e.g. JT-8000620011
    #[arg(long, conflicts_with = "subject", value_parser = seal)]
    seal: Option<SealId>,
    /// About this subject only, e.g. reader/gate-in or gateway
    #[arg(long)]
    subject: Option<Subject>,
    /// Not older than this: an age (90s, 15m, 2h, 3d) or a time (2026-11-21, 2026-11-21T07:00, both UTC; or with a zone, 2026-11-21T14:00+07:00)
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
}

impl Which {
    /// The filter these options make.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            class: self.class,
            kind: self.kind,
            subject: self.seal.as_ref().map(Subject::seal).or_else(|| self.subject.clone()),
            since: self.since.map(When::time),
            ..Filter::default()
        }
    }
}

/// A class, in whatever case.
fn class(text: &str) -> Result<Class, String> {
    text.to_lowercase().parse().map_err(|error: crate::event::UnknownWord| error.to_string())
}

/// A type, as a word or as the topic names it.
fn kind(text: &str) -> Result<EventType, String> {
    let word = text.trim().to_uppercase().replace('-', "_");
    word.parse().map_err(|_| {
        let near = EventType::ALL.iter().map(|kind| kind.as_str()).min_by_key(|known| strsim::damerau_levenshtein(&word, known));
        let near = near.filter(|near| strsim::damerau_levenshtein(&word, near) <= word.len() / 3);
        let meant = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
        format!("`{text}` is no type of event: {meant}`segel journal stats --types` lists those in the journal")
    })
}

/// A seal, in whatever case: its identity has capital letters only.
fn seal(text: &str) -> Result<SealId, String> {
    text.trim().to_uppercase().parse().map_err(|error: segel_drivers::IdentityError| error.to_string())
}

/// A point in time: written out, or as an age.
#[derive(Debug, Clone, Copy)]
pub(super) struct When(Timestamp);

impl When {
    /// The time itself.
    pub(super) const fn time(self) -> Timestamp {
        self.0
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("`{text}` is no time: write 2026-11-21T07:00:00Z, a day like 2026-11-21, or an age like 15m, 2h, 3d");
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self(time));
        }
        if let Ok(time) = text.parse::<Zoned>() {
            return Ok(Self(time.timestamp()));
        }
        if let Ok(civil) = text.parse::<DateTime>() {
            return civil.to_zoned(TimeZone::UTC).map(|time| Self(time.timestamp())).map_err(|_| fault());
        }
        let unit = text.chars().last().ok_or_else(fault)?;
        let seconds_each = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(fault()),
        };
        let count: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| fault())?;
        let seconds = count.checked_mul(seconds_each).filter(|seconds| *seconds >= 0).ok_or_else(fault)?;
        let age = Span::new().try_seconds(seconds).map_err(|_| fault())?;
        Timestamp::now().checked_sub(age).map(Self).map_err(|_| fault())
    }
}

/// A number of an event, from 1.
pub(super) fn number(text: &str) -> Result<Seq, String> {
    let number = text.parse().ok().filter(|number| *number > 0).map(Seq);
    number.ok_or_else(|| format!("`{text}` is no number of an event: they count from 1"))
}

/// The sentence for a filter that nothing passed: what was looked for, among how many.
pub(super) fn nothing(filter: &Filter, reader: &JournalReader, moment: &Moment) -> Result<String, JournalError> {
    let mut text = String::from("nothing found: no ");
    if let Some(class) = filter.class {
        let _ = write!(text, "{class} ");
    }
    text.push_str("event");
    if let Some(kind) = filter.kind {
        let _ = write!(text, " of type {kind}");
    }
    if let Some(subject) = &filter.subject {
        let _ = write!(text, " about {subject}");
    }
    if let Some(first) = filter.first {
        let _ = write!(text, " from number {first}");
    }
    if let Some(last) = filter.last {
        let _ = write!(text, " to number {last}");
    }
    if let Some(since) = filter.since {
        let _ = write!(text, " since {since:.0}");
    }
    if let Some(until) = filter.until {
        let _ = write!(text, " until {until:.0}");
    }
    let _ = write!(text, " among the {} held in the journal {} of {}", events(moment.held(None)), reader.journal(), reader.source());
    if let Some(subject) = &filter.subject
        && !reader.knows(subject)?
    {
        let _ = write!(text, "; it holds nothing at all about {subject}: check how it is written");
    }
    Ok(text)
}

/// A count of events, with its noun.
pub(super) fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_a_day_and_a_time_are_all_understood() {
        let now = Timestamp::now();
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("3d", 259_200)] {
            let age = now.as_second() - text.parse::<When>().unwrap().time().as_second();
            assert!((seconds - 1..=seconds + 1).contains(&age), "{text}: {age}");
        }
        for text in ["2026-11-21T07:00:00Z", "2026-11-21T07:00", "2026-11-21T14:00:00+07:00", "2026-11-21T14:00[Asia/Jakarta]"] {
            assert_eq!(text.parse::<When>().unwrap().time().as_second(), 1_795_244_400, "{text}");
        }
        assert_eq!("2026-11-21".parse::<When>().unwrap().time().as_second(), 1_795_219_200);
        for bad in ["", "m", "1w", "-3h", "gestern", "9223372036854775807d", "3é", "2026-13-01", "21.11.2026"] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_are_understood_as_people_type_them() {
        for text in ["FORCED_OPEN", "forced_open", "forced-open", "Forced-Open"] {
            assert_eq!(kind(text), Ok(EventType::ForcedOpen), "{text}");
        }
        assert_eq!(class("Alarm"), Ok(Class::Alarm));
        assert_eq!(seal("jt-8000620011").unwrap().to_string(), "JT-8000620011");
        assert!(kind("forced-opn").unwrap_err().contains("did you mean FORCED_OPEN?"));
        assert!(kind("xyz").unwrap_err().contains("segel journal stats --types"));
        assert!(number("0").is_err() && number("-1").is_err() && number("five").is_err());
    }
}
