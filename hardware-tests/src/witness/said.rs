//! What `journal-under-test` says on its standard output, one line each. A line is one write, so that a process that
//! dies has said a thing or not.

use std::{fmt, io::Write as _, str::FromStr};

use anyhow::Context as _;
use segel::{
    event::{Class, JournalId, Seq},
    journal::Recorded,
};
use uuid::Uuid;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The journal is open: `resumed`, `fresh` or `aside`.
    Opened(String, JournalId),
    /// This event is about to be handed to the journal.
    Trying(Class, Uuid),
    /// The journal has acknowledged this event.
    Recorded(Recorded),
    /// The journal has answered that this event is not recorded; the name of the error.
    Refused(Class, Uuid, String),
    /// A note became durable with an event that was acknowledged. Numbers of one key only grow.
    Noted(String, u64),
    /// A segment of this class that ends at this number is about to be put away.
    PuttingAway(Class, Seq),
    /// It was acknowledged.
    PutAway(Class, Seq),
    /// What it is at, one word: where a kill may hit it.
    Doing(String),
    /// Anything else, for a person or a test that asked.
    Answer(String),
}

impl Said {
    /// Says it.
    ///
    /// # Panics
    /// When nobody listens any more: there is nothing left to work for.
    pub fn say(&self) {
        let line = format!("{self}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).expect("whoever started this program reads what it says");
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(how, journal) => write!(f, "opened {how} {journal}"),
            Self::Trying(class, id) => write!(f, "trying {class} {id}"),
            Self::Recorded(Recorded { class, seq, id, digest }) => write!(f, "recorded {class} {seq} {id} {digest}"),
            Self::Refused(class, id, error) => write!(f, "refused {class} {id} {error}"),
            Self::Noted(key, number) => write!(f, "noted {key} {number}"),
            Self::PuttingAway(class, last) => write!(f, "putting-away {class} {last}"),
            Self::PutAway(class, last) => write!(f, "put-away {class} {last}"),
            Self::Doing(what) => write!(f, "doing {what}"),
            Self::Answer(text) => write!(f, "answer {text}"),
        }
    }
}

impl FromStr for Said {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut parts = rest.split(' ');
        let mut next = || parts.next().context("a word is missing");
        Ok(match word {
            "opened" => Self::Opened(next()?.to_owned(), next()?.parse()?),
            "trying" => Self::Trying(next()?.parse()?, next()?.parse()?),
            "recorded" => Self::Recorded(Recorded {
                class: next()?.parse()?,
                seq: Seq(next()?.parse()?),
                id: next()?.parse()?,
                digest: next()?.parse()?,
            }),
            "refused" => Self::Refused(next()?.parse()?, next()?.parse()?, next()?.to_owned()),
            "noted" => Self::Noted(next()?.to_owned(), next()?.parse()?),
            "putting-away" => Self::PuttingAway(next()?.parse()?, Seq(next()?.parse()?)),
            "put-away" => Self::PutAway(next()?.parse()?, Seq(next()?.parse()?)),
            "doing" => Self::Doing(rest.to_owned()),
            "answer" => Self::Answer(rest.to_owned()),
            _ => anyhow::bail!("`{line}` is nothing the program under test says"),
        })
    }
}

#[cfg(test)]
mod tests {
    use segel::event::Digest;

    use super::*;

    #[test]
    fn what_is_said_is_what_is_understood() {
        let id = Uuid::from_u128(7);
        let recorded = Recorded { class: Class::Alarm, seq: Seq(3), id, digest: Digest::of(b"x") };
        for said in [
            Said::Opened("fresh".to_owned(), JournalId(id)),
            Said::Trying(Class::Telemetry, id),
            Said::Recorded(recorded),
            Said::Refused(Class::Receipt, id, "DiskFull".to_owned()),
            Said::Noted("k1".to_owned(), 9),
            Said::PuttingAway(Class::Alarm, Seq(4)),
            Said::PutAway(Class::Alarm, Seq(4)),
            Said::Doing("opening".to_owned()),
            Said::Answer("two words".to_owned()),
        ] {
            assert_eq!(said.to_string().parse::<Said>().expect("it was said by us"), said);
        }
        assert!("recorded alarm 3".parse::<Said>().is_err(), "a line that was cut off is no acknowledgement");
    }
}
