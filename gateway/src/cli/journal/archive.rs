//! `segel journal archive`: delivered events go to sealed segments now.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::progress::{Bar, Unit};
use super::upkeep::{self, By, Site};
use super::wrong_usage;
use crate::archive::errand::{Line, Round};
use crate::archive::{Demand, Older};
use crate::cli::interrupt::Interrupt;
use crate::config::Config;

/// Arguments of `segel journal archive`.
#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// Events older than this: an age (12h, 30d), or 0 for all that are delivered; without it journal.retention_days
    #[arg(long, value_name = "AGE")]
    older_than: Option<OlderThan>,
    /// Archive to this directory instead of the configured one; only while the gate does not run
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Print what was done as JSON, one object per line
    #[arg(long)]
    json: bool,
}

/// An age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OlderThan(Older);

impl FromStr for OlderThan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("`{text}` is no age: write a number with s, m, h or d, e.g. 30d, or 0 for all that are delivered");
        if text == "0" {
            return Ok(Self(Older::All));
        }
        let each = match text.bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            _ => return Err(fault()),
        };
        let digits = &text[..text.len() - 1];
        let count: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())).ok_or_else(fault)?;
        Ok(Self(match count.checked_mul(each).ok_or_else(fault)? {
            0 => Older::All,
            seconds => Older::Than(Duration::from_secs(seconds)),
        }))
    }
}

/// Archives.
pub(super) fn run(args: &ArchiveArgs, config: &Config, by: By, interrupt: &Interrupt) -> anyhow::Result<ExitCode> {
    let older = match args.older_than {
        Some(OlderThan(older)) => older,
        None if config.journal.retention.is_zero() => {
            return Ok(wrong_usage(
                "journal.retention_days is 0, so nothing is ever too old: say --older-than AGE, or --older-than 0 for all that are delivered",
            ));
        }
        None => Older::Than(config.journal.retention),
    };
    let by = if args.to.is_some() { By::Us } else { by };
    let site = Site { config, to: args.to.as_deref(), by };
    let bar = Bar::new(Unit::Events, 0, "archiving");
    let mut done = Round::default();
    let outcome = upkeep::perform(&site, Demand::Archive(older), interrupt, |line| match line {
        Line::Sealing { done: sealed, at_most, .. } => bar.show(done.documents + sealed, done.documents + at_most),
        Line::Segment(put) => {
            done.segments += 1;
            done.documents += put.count;
            done.bytes += put.bytes;
            let mut out = io::stdout().lock();
            // That nobody reads it stops nothing: the gate's work goes on.
            let _ = if args.json {
                serde_json::to_writer(&mut out, line).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"))
            } else {
                writeln!(out, "{} {} to {}: {}/{}.jsonl", put.archived_class, put.first, put.last, put.folder, put.name)
            };
        }
        _ => {}
    });
    drop(bar);
    upkeep::conclude(outcome, done, args.json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit_and_nothing_else() {
        let than = |seconds| Ok(OlderThan(Older::Than(Duration::from_secs(seconds))));
        assert_eq!("30d".parse(), than(2_592_000));
        assert_eq!(["90s", "15m", "2h"].map(str::parse), [than(90), than(900), than(7_200)]);
        for all in ["0", "0d"] {
            assert_eq!(all.parse(), Ok(OlderThan(Older::All)), "{all}");
        }
        for bad in ["", "d", "-1d", "+1d", "1w", "1.5d", "30", "99999999999999999999d", "18446744073709551615d", "1é"] {
            assert!(bad.parse::<OlderThan>().is_err(), "{bad}");
        }
    }
}
