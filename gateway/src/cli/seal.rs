//! `segel seal`: asks something of one seal by way of the running gate, and shows where it is until it ends.
//!
//! What must hold: Ctrl-C before the seal was written to calls it off; after that it goes on at the gate, and this command
//! says so and under which name its outcome will be in the journal. There is no way to ask for an unlock.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use segel_drivers::{LockClaim, SealId};
use tokio_util::sync::CancellationToken;

use super::{exit::Exit, interrupt::Interrupt, settings::runtime_dir};
use crate::{
    api::{Order, Ordered, order},
    sessions::{
        End, Errand, Line, WITHIN,
        line::{ReadBack, Word},
    },
};

/// How often is looked whether Ctrl-C was pressed: too short to notice, too long to cost.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Read, lock or drain one seal, or set its clock. A seal is only opened on a permit of customs.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// The seal: maker and number, e.g. JT-8000620011.
    seal: String,
    /// What it is asked: read, lock, drain or set-time.
    action: String,
    /// Print every line as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// By when it must be done or not begun, in seconds; reading back may take longer.
    #[arg(long, value_name = "SECONDS", default_value_t = WITHIN.1.as_secs(),
          value_parser = clap::value_parser!(u64).range(WITHIN.0.as_secs()..=WITHIN.2.as_secs()))]
    within: u64,
    /// The configuration file, to find the gate's runtime directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The runtime directory itself, instead of asking the configuration.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
}

/// Asks, follows and prints.
///
/// # Errors
/// When no gate answers or it refuses.
pub fn run(args: &SealArgs) -> anyhow::Result<Exit> {
    let parsed = args.seal.parse::<SealId>().map_err(|fault| fault.to_string());
    let parsed = parsed.and_then(|seal| Ok((seal, args.action.parse::<Errand>().map_err(|fault| fault.to_string())?)));
    let (seal, errand) = match parsed {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("segel: {why}");
            return Ok(Exit::Usage);
        }
    };
    let dir = match &args.runtime_dir {
        Some(dir) => dir.clone(),
        None => runtime_dir(args.config.as_deref())?,
    };
    let asked = Order { seal, errand, within: Duration::from_secs(args.within) };
    let interrupt = Interrupt::listen()?;
    let stop = CancellationToken::new();
    let mut shown = Shown { json: args.json, out: io::stdout(), err: io::stderr() };
    let ended = super::runtime()?.block_on(async {
        let watching = watch(interrupt, stop.clone());
        let asking = order(&dir, &asked, &stop, |line| shown.line(line));
        tokio::select! {
            ended = asking => ended,
            never = watching => match never {},
        }
    })?;
    match ended {
        Ordered::Ended(end) => {
            shown.end(&asked, &end)?;
            Ok(exit(&end, stop.is_cancelled()))
        }
        Ordered::GoesOn { command } => {
            eprintln!(
                "segel: the seal was written to already, so it goes on; what becomes of it will be in the journal as ACTION_ENDED, commandId {command}"
            );
            Ok(Exit::Interrupted)
        }
        Ordered::Left => {
            eprintln!(
                "segel: broken off before the gate gave it a name; it is called off there unless the seal was written to: what became of it, if it was recorded, is in the journal as ACTION_ENDED"
            );
            Ok(Exit::Interrupted)
        }
    }
}

/// Passes Ctrl-C on.
async fn watch(interrupt: Interrupt, stop: CancellationToken) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if interrupt.is_told() {
            stop.cancel();
        }
    }
}

/// The code for how it ended; what was called off in time ends as every command that was broken off.
fn exit(end: &End, interrupted: bool) -> Exit {
    match end.outcome {
        Word::Done | Word::Already => Exit::Good,
        Word::Rejected => Exit::Rejected,
        Word::NotAttempted if interrupted => Exit::Interrupted,
        Word::NotAttempted => Exit::NotAttempted,
        Word::Unknown => Exit::Unknown,
    }
}

/// Where lines go: as JSON all to standard output, for a person what goes on to standard error and the result to standard
/// output.
struct Shown<O, E> {
    json: bool,
    out: O,
    err: E,
}

impl<O: Write, E: Write> Shown<O, E> {
    fn line(&mut self, line: &Line) {
        // A reader who is gone is told nothing; the order goes on.
        let _ = if self.json {
            serde_json::to_string(line).map_err(io::Error::from).and_then(|text| writeln!(self.out, "{text}"))
        } else {
            match line {
                Line::Accepted { command, .. } => writeln!(self.err, "accepted as {command}"),
                Line::Progress(progress) => writeln!(self.err, "{progress}"),
                Line::Waiting | Line::Ended(_) => Ok(()),
            }
        };
    }

    fn end(&mut self, asked: &Order, end: &End) -> io::Result<()> {
        if self.json {
            let line = serde_json::to_string(&Line::Ended(end.clone())).map_err(io::Error::from)?;
            return writeln!(self.out, "{line}");
        }
        writeln!(self.out, "{}", result(asked, end))
    }
}

/// How it ended, in one or two lines.
fn result(asked: &Order, end: &End) -> String {
    let (seal, errand) = (&asked.seal, asked.errand.as_str());
    let cause = end.cause.as_deref().unwrap_or_default();
    let mut text = match end.outcome {
        Word::Done if end.is_in_part() => format!("{seal} {errand}: IN PART"),
        Word::Done => format!("{seal} {errand}: done"),
        Word::Already => format!("{seal} {errand}: it stood so already, nothing was sent"),
        Word::Rejected => format!("{seal} {errand}: REFUSED BY THE SEAL: {cause}"),
        Word::NotAttempted => format!("{seal} {errand}: not attempted: {cause}"),
        Word::Unknown => format!("{seal} {errand}: UNKNOWN: {cause}. Look at the seal; do not simply ask again"),
    };
    if let Some(drained) = end.drained {
        text.push_str(&format!(", {drained} stored events are on record and confirmed to the seal"));
    }
    if end.is_in_part() {
        let rest = end.remaining.map_or_else(|| "the rest waits".to_owned(), |remaining| format!("{remaining} wait"));
        let drained = if end.drained.is_none() { ", none confirmed" } else { "" };
        text.push_str(&format!("{drained}; {rest} at the seal: {}", end.cause.as_deref().unwrap_or("it was broken off")));
    }
    if end.recorded == Some(false) {
        text.push_str("\nwhat became of it is NOT on record yet: the journal cannot be written");
    }
    if let Some(read) = &end.read_back {
        text.push_str(&format!("\n{}", state(read)));
    }
    text
}

fn state(read: &ReadBack) -> String {
    let lock = match read.says.lock {
        Some(LockClaim::Locked) => "locked",
        Some(LockClaim::Unlocked) => "open",
        None => "it does not say whether it is locked",
    };
    let mut parts = vec![lock.to_owned()];
    if read.says.tamper == Some(true) {
        parts.push("TAMPERED".to_owned());
    }
    parts.extend(read.complaints.iter().filter_map(|word| Some(serde_json::to_value(word).ok()?.as_str()?.to_uppercase())));
    parts.extend(read.says.battery_percent.map(|percent| format!("battery {percent}%")));
    parts.extend(read.stored_events.map(|stored| format!("{stored} stored events wait")));
    format!("state: {} ({})", parts.join(", "), read.security.as_str())
}

#[cfg(test)]
mod tests {
    use segel_drivers::{Evidence, Progress, Security};

    use super::*;
    use crate::{seals::SealSays, sessions::line::SpentMs};

    fn end(outcome: Word) -> End {
        let says = SealSays { lock: Some(LockClaim::Locked), battery_percent: Some(80), ..SealSays::default() };
        let read = ReadBack { says, complaints: Vec::new(), security: Security::Weak, did_ours: None, stored_events: Some(3) };
        End {
            outcome,
            evidence: Some(Evidence::Reported),
            cause: Some("the cause".to_owned()),
            read_back: Some(read),
            drained: None,
            remaining: None,
            spent: SpentMs::default(),
            recorded: Some(true),
        }
    }

    #[test]
    fn rejected_not_attempted_and_unknown_have_codes_of_their_own() {
        let codes =
            [Word::Done, Word::Already, Word::Rejected, Word::NotAttempted, Word::Unknown].map(|word| exit(&end(word), false).code());
        assert_eq!(codes, [0, 0, 11, 12, 13]);
        assert_eq!(exit(&end(Word::NotAttempted), true), Exit::Interrupted);
        assert_eq!(exit(&end(Word::Unknown), true), Exit::Unknown, "an unknown outcome is never hidden by Ctrl-C");
    }

    #[test]
    fn a_drain_that_was_broken_off_says_how_far_it_came_and_why() {
        let asked = Order { seal: "SGL-1".parse().unwrap(), errand: Errand::Drain, within: WITHIN.1 };
        let of = |drained, remaining, cause: Option<&str>| {
            result(&asked, &End { drained, remaining, cause: cause.map(str::to_owned), read_back: None, ..end(Word::Done) })
        };
        let whole = of(Some(7), None, None);
        assert_eq!(whole, "SGL-1 drain: done, 7 stored events are on record and confirmed to the seal");
        let part = of(Some(3), Some(4), Some("called off"));
        assert_eq!(part, "SGL-1 drain: IN PART, 3 stored events are on record and confirmed to the seal; 4 wait at the seal: called off");
        let unread = of(Some(3), None, Some("the connection broke"));
        assert!(unread.ends_with("; the rest waits at the seal: the connection broke"), "{unread}");
    }

    #[test]
    fn progress_goes_to_standard_error_and_the_result_to_standard_output() {
        let asked = Order { seal: "SGL-1".parse().unwrap(), errand: Errand::Lock, within: WITHIN.1 };
        let mut shown = Shown { json: false, out: Vec::new(), err: Vec::new() };
        shown.line(&Line::Progress(Progress::Connecting { attempt: 2, of: 4 }));
        shown.line(&Line::Waiting);
        shown.end(&asked, &end(Word::Unknown)).unwrap();
        let (out, err) = (String::from_utf8(shown.out).unwrap(), String::from_utf8(shown.err).unwrap());
        assert_eq!(err, "connecting 2/4\n");
        assert_eq!(
            out,
            "SGL-1 lock: UNKNOWN: the cause. Look at the seal; do not simply ask again\nstate: locked, battery 80%, 3 stored events wait (weak)\n"
        );
        let mut shown = Shown { json: true, out: Vec::new(), err: Vec::new() };
        shown.line(&Line::Progress(Progress::Waking));
        shown.end(&asked, &End { recorded: Some(false), ..end(Word::Done) }).unwrap();
        assert!(shown.err.is_empty() && String::from_utf8(shown.out).unwrap().lines().all(|line| line.starts_with("{\"line\":")));
    }
}
