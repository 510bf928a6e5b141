//! Work that changes where the journal's events are: by the running gate, or by us when it does not run.
//!
//! What must hold: the journal has one writer. Where a gate answers at its socket it does the work; where none does we
//! take the journal's lock, and whoever holds it without answering is named. Ctrl-C ends it at the next safe point with
//! 130, says what was done, and a second run goes on from there.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use segel_drivers::Heard;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::say;
use crate::api::{self, ApiError};
use crate::archive::errand::{Compacted, Errand, LINES, Line, Round};
use crate::archive::{Archivist, Counting, Demand, Housekeeping, Medium, Place};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupt;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::event::{Assurance, Class, Draft, EventType, Source, Subject};
use crate::gate;
use crate::journal::{Beginning, Entry, Journal, JournalError, JournalReader};

/// How often is looked whether Ctrl-C was pressed: too short to notice, too long to cost.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Who may do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The gate if it runs, else we.
    Anybody,
    /// We alone: the journal or the archive is not the configured one.
    Us,
}

/// How the work ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With this last line.
    Said(Line),
    /// The gate was left; it stops at its next safe point.
    Left,
}

/// The gate whose journal it is.
pub(super) struct Site<'a> {
    pub(super) config: &'a Config,
    /// Archive to here instead of the configured directory.
    pub(super) to: Option<&'a Path>,
    pub(super) by: By,
}

/// Does it and tells every line but the last.
pub(super) fn perform(site: &Site<'_>, demand: Demand, interrupt: &Interrupt, mut tell: impl FnMut(&Line)) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let stop = CancellationToken::new();
    let ended = runtime.block_on(async {
        let (told, heard) = (stop.clone(), interrupt.clone());
        let watching = tokio::spawn(async move {
            while !heard.is_told() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            told.cancel();
        });
        let ended = by_gate_or_us(site, demand, &stop, &mut tell).await;
        watching.abort();
        ended
    });
    // A disk that hangs must not hold a person who has been answered.
    runtime.shutdown_background();
    ended
}

async fn by_gate_or_us(site: &Site<'_>, demand: Demand, stop: &CancellationToken, tell: &mut impl FnMut(&Line)) -> anyhow::Result<Ended> {
    let nobody = if site.by == By::Us {
        None
    } else {
        match api::demand(&site.config.gate.runtime_dir, demand, stop, &mut *tell).await {
            Ok(last) => return Ok(last.map_or(Ended::Left, Ended::Said)),
            Err(fault @ ApiError::Connect { .. }) => Some(fault),
            Err(fault) => return Err(fault.into()),
        }
    };
    match by_us(site, demand, stop, tell).await {
        Err(fault) if matches!(fault.downcast_ref(), Some(JournalError::InUse { .. })) => match nobody {
            // Both halves of the truth: who holds it, and where nobody answered.
            Some(silent) => Err(fault.context(silent.to_string())),
            None => Err(fault.context("the gate runs: stop it first, or leave out --to and --state-dir and it does the work")),
        },
        outcome => outcome,
    }
}

async fn by_us(site: &Site<'_>, demand: Demand, stop: &CancellationToken, tell: &mut impl FnMut(&Line)) -> anyhow::Result<Ended> {
    let config = site.config;
    let state_dir = &config.gate.state_dir;
    // Opening for writing would begin a new one where there is none.
    let reader = JournalReader::open(state_dir)?;
    let clock = Clock::new(config.clock.holdover, gate::newest_wall(&reader)?);
    drop(reader);
    if tokio::task::spawn_blocking(clock::probe_synchronised).await? {
        clock.seen_synchronised(Heard::now());
    }
    let source = Source::new(config.gate.site.as_str(), config.gate.id.as_str()).context("site and gate of the configuration")?;
    let (journal, opening) = Journal::open(state_dir, gate::journal_config(config), source.clone())?;
    if let Beginning::SetAside { to, reason, .. } = &opening.beginning {
        // The gate would have said it at its next start, and will not know any more.
        let body = serde_json::json!({ "setAsideTo": to, "reason": reason });
        let draft = Draft::new(Class::Alarm, EventType::JournalSetAside, Subject::gateway(), clock.now(), Assurance::Own, &body)?;
        journal.append(Entry::new(draft)).await?;
        say(&format!("the journal was damaged ({reason}) and is set aside as {}; a new one has begun", to.display()));
    }
    let housekeeping = match site.to {
        None => gate::keeper::housekeeping(config, &source, &journal, &clock),
        Some(dir) => {
            let counting = if config.uplink.enabled { Counting::Uplink } else { Counting::Nobody };
            let place = Place::new(state_dir, Some(dir), Medium::Fixed);
            Housekeeping::new(Archivist::new(journal.clone(), clock, source, place, counting))
        }
    };
    let (listener, mut lines) = mpsc::channel(LINES);
    let errand = Errand::prompt(stop.clone(), listener);
    let turn = housekeeping.begin().context("nobody else has this journal open")?;
    let working = tokio::spawn(async move { housekeeping.perform(turn, demand, &errand).await });
    while let Some(line) = lines.recv().await {
        tell(&line);
    }
    let mut last = working.await.context("archiving and compacting do not panic")?;
    journal.close().await?;
    if let Line::Compacted(compacted) = &mut last {
        // Closing gave the log back, and only now the file is as short as it can be.
        let sizes = JournalReader::open(state_dir)?.sizes()?;
        compacted.bytes = sizes.database + sizes.log;
    }
    Ok(Ended::Said(last))
}

/// What a person or a program is told at the end, and the exit code. `done` is what was seen to be done until then.
pub(super) fn conclude(outcome: anyhow::Result<Ended>, done: Round, json: bool) -> anyhow::Result<ExitCode> {
    let last = match outcome {
        Ok(Ended::Said(last)) => last,
        Ok(Ended::Left) => {
            say(&format!("interrupted: {}; the gate stops at its next safe point, and a second run goes on from there", archived(&done)));
            return Ok(Exit::Interrupted.into());
        }
        Err(fault) => {
            if let Some(ApiError::Refused { reason }) = fault.downcast_ref() {
                say(reason);
                return Ok(Exit::Refused.into());
            }
            return Err(fault);
        }
    };
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &last)?;
        out.write_all(b"\n")?;
    }
    let (text, stopped) = match &last {
        Line::Archived(round) => (archived(round), round.stopped),
        Line::Compacted(compacted) => (given_back(compacted), compacted.stopped),
        Line::Failed { what, .. } => {
            if done.segments > 0 {
                say(&format!("{} before it failed", archived(&done)));
            }
            say(what);
            return Ok(Exit::Other.into());
        }
        _ => return Ok(Exit::Good.into()),
    };
    if stopped {
        say(&format!("interrupted: {text}; a second run goes on from there"));
        return Ok(Exit::Interrupted.into());
    }
    if !json {
        writeln!(out, "{text}")?;
    }
    Ok(Exit::Good.into())
}

fn archived(round: &Round) -> String {
    let (segments, events) = (counted(round.segments, "segment"), counted(round.documents, "event"));
    match round.segments {
        0 => "nothing was archived".to_owned(),
        1 => format!("{segments} with {events}, {}, was archived", size(round.bytes)),
        _ => format!("{segments} with {events}, {}, were archived", size(round.bytes)),
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn given_back(compacted: &Compacted) -> String {
    let Compacted { trimmed, bytes_before, bytes, .. } = *compacted;
    format!("{trimmed} rows deleted; the journal took {} and takes {}", size(bytes_before), size(bytes))
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
