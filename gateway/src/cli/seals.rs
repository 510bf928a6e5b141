//! `segel seals`: every seal of the register, for a person or as JSON, once or again and again.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use segel_drivers::{LockClaim, SealWord};

use super::{exit::Exit, interrupt::Interrupt, settings::runtime_dir};
use crate::{api::ask_seals, seals::Presence, sessions::list::SealLine};

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The widest line, in characters.
const WIDTH: usize = 100;
/// Clears the terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The seals of the register: heard when and how strongly, in what state, and how far that can be believed.
#[derive(Debug, Args)]
pub struct SealsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Look again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// The configuration file, to find the gate's runtime directory.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The runtime directory itself, instead of asking the configuration.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
}

/// Asks and prints.
///
/// # Errors
/// When no gate answers.
pub fn run(args: &SealsArgs) -> anyhow::Result<Exit> {
    let dir = match &args.runtime_dir {
        Some(dir) => dir.clone(),
        None => runtime_dir(args.config.as_deref())?,
    };
    let runtime = super::runtime()?;
    let interrupt = if args.watch { Some(Interrupt::listen()?) } else { None };
    let mut out = io::stdout().lock();
    loop {
        let seals = match (runtime.block_on(ask_seals(&dir)), args.watch) {
            (Ok(seals), _) => Ok(seals),
            // It may be restarting: whoever watches is told, and sees it come back.
            (Err(fault), true) => Err(fault),
            (Err(fault), false) => return Err(fault.into()),
        };
        let clear = if args.watch && !args.json && out.is_terminal() { CLEAR } else { "" };
        let text = match seals {
            Ok(seals) => shown(&seals, args, clear)?,
            Err(fault) if args.json => {
                eprintln!("segel: {fault}");
                String::new()
            }
            Err(fault) => format!("{clear}{fault}\n"),
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read it has seen enough.
            Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Good),
            written => written?,
        }
        // Watching has no end of its own: being told to stop is how it is done.
        if interrupt.as_ref().is_none_or(|interrupt| interrupt.wait(LOOK_EVERY)) {
            return Ok(Exit::Good);
        }
    }
}

fn shown(seals: &[SealLine], args: &SealsArgs, clear: &str) -> serde_json::Result<String> {
    Ok(match (args.json, args.watch) {
        (true, false) => format!("{}\n", serde_json::to_string_pretty(seals)?),
        (true, true) => format!("{}\n", serde_json::to_string(seals)?),
        (false, _) => format!("{clear}{}", page(seals)),
    })
}

/// The list as a person reads it, no line wider than 100 characters.
#[must_use]
pub fn page(seals: &[SealLine]) -> String {
    let mut out = String::new();
    if seals.is_empty() {
        out.push_str("No seal is registered: add seals to the file named by gate.seals_file.\n");
        return out;
    }
    let head = ["SEAL", "SPEAKS", "RATED", "HEARD", "DBM", "STATE", "BATT", "BELIEF", "SECRETS", "CONTAINER"];
    push(&mut out, &head.map(str::to_owned));
    // One protocol is rated differently with a key and without.
    let mut ratings = BTreeSet::new();
    for seal in seals {
        push(&mut out, &cells(seal));
        ratings.insert((seal.protocol.as_str(), seal.security.as_str(), seal.reason.as_str()));
    }
    out.push('\n');
    for (protocol, security, reason) in ratings {
        wrapped(&mut out, &format!("{protocol}, {security}: {reason}"));
    }
    out
}

fn cells(seal: &SealLine) -> [String; 10] {
    let secrets = match (seal.has_key, seal.has_password) {
        (true, true) => "key+pw",
        (true, false) => "key",
        (false, true) => "pw",
        (false, false) => "-",
    };
    let charge = match (seal.says.battery_percent, seal.says.battery_low) {
        (Some(percent), _) => format!("{percent}%"),
        (None, Some(true)) => "LOW".to_owned(),
        (None, _) if seal.complaints.contains(&SealWord::LowBattery) => "LOW".to_owned(),
        _ => "-".to_owned(),
    };
    [
        seal.seal.to_string(),
        seal.protocol.clone(),
        seal.security.as_str().to_owned(),
        seal.heard_ago_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", age(ms / 1_000))),
        seal.rssi_dbm.map_or_else(|| "-".to_owned(), |dbm| dbm.to_string()),
        state(seal),
        charge,
        seal.assurance.map_or_else(|| "-".to_owned(), |assurance| assurance.to_string()),
        secrets.to_owned(),
        seal.container.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

/// The worst there is to say of it in a word; with `?` where it contradicts evidence, in brackets where it is not heard.
fn state(seal: &SealLine) -> String {
    let word = worst(seal);
    let doubt = if seal.contradicts_evidence.is_empty() { "" } else { "?" };
    if seal.presence == Some(Presence::NotHeard) { format!("({word}{doubt})") } else { format!("{word}{doubt}") }
}

/// At most 8 characters: what says that it was broken before what says how it stands, and that before every other complaint.
fn worst(seal: &SealLine) -> &'static str {
    const BROKEN: [SealWord; 4] = [SealWord::ForcedOpen, SealWord::ShackleCut, SealWord::EmergencyOpened, SealWord::CoverOpened];
    if let Some(broken) = BROKEN.into_iter().find(|word| seal.complaints.contains(word)) {
        return short(broken);
    }
    if seal.says.tamper == Some(true) {
        return "TAMPERED";
    }
    match (seal.says.lock, seal.says.open) {
        (Some(LockClaim::Locked) | None, Some(true)) => "NOT SHUT",
        (Some(LockClaim::Unlocked), _) => "open",
        (Some(LockClaim::Locked), _) => "locked",
        (None, _) => seal.complaints.first().map_or("-", |word| short(*word)),
    }
}

/// A word of a seal that fits into its column with a doubt and in brackets.
fn short(word: SealWord) -> &'static str {
    match word {
        SealWord::ForcedOpen => "FORCED",
        SealWord::ShackleCut => "CUT",
        SealWord::EmergencyOpened => "EMERGENC",
        SealWord::CoverOpened => "COVER",
        SealWord::Sealed => "sealed",
        SealWord::Unsealed => "unsealed",
        SealWord::WrongPassword => "WRONG PW",
        SealWord::OpenTooLong => "OPENLONG",
        SealWord::LowBattery => "LOW BATT",
        SealWord::MotorStuck => "STUCK",
        SealWord::LocallySealed => "by hand",
        SealWord::SealingCancelled => "CANCELED",
        SealWord::Restarted => "RESTART",
        SealWord::TimeSet => "time set",
        SealWord::LogLost => "LOG LOST",
        SealWord::Abnormal => "ABNORMAL",
        SealWord::Heartbeat => "-",
    }
}

/// Seconds as a person reads them.
fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Columns of fixed width, so that a screen that is redrawn does not jump; together 100 characters.
fn push(out: &mut String, cells: &[String; 10]) {
    const WIDTHS: [usize; 10] = [15, 8, 13, 10, 4, 11, 4, 8, 7, 11];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let _ = write!(line, "{:width$} ", shortened(cell, width));
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// A cell that is too long keeps its end: of a seal's number that is what differs.
fn shortened(cell: &str, width: usize) -> String {
    let count = cell.chars().count();
    if count <= width { cell.to_owned() } else { format!("…{}", cell.chars().skip(count + 1 - width).collect::<String>()) }
}

fn wrapped(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = " ".to_owned();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use segel_drivers::Security;

    use super::*;
    use crate::{event::Assurance, seals::SealSays};

    fn line(id: &str) -> SealLine {
        SealLine {
            seal: id.parse().unwrap(),
            protocol: "nokelock".to_owned(),
            security: Security::Authenticated,
            reason: "a reason that is long enough to be worth a line of its own, and then some words more to make it wrap around"
                .to_owned(),
            heard_ago_ms: None,
            rssi_dbm: None,
            adapter: None,
            presence: None,
            says: SealSays::default(),
            complaints: Vec::new(),
            seal_condition: None,
            assurance: None,
            contradicts_evidence: Vec::new(),
            event_date_time: None,
            container: None,
            has_key: false,
            has_password: false,
            stored_events: None,
        }
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_characters_and_a_long_number_keeps_its_end() {
        let full = SealLine {
            heard_ago_ms: Some(119_900),
            rssi_dbm: Some(-127),
            presence: Some(Presence::InRange),
            says: SealSays { lock: Some(LockClaim::Locked), battery_percent: Some(100), ..SealSays::default() },
            complaints: vec![SealWord::EmergencyOpened],
            assurance: Some(Assurance::Evidence),
            contradicts_evidence: vec!["lock".to_owned()],
            container: Some("CSQU3054383".to_owned()),
            has_key: true,
            has_password: true,
            ..line("MAKER-123456789012345678901234567")
        };
        let page = page(&[full, line("SGL-2")]);
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        let first = page.lines().nth(1).unwrap();
        assert!(first.starts_with("…4567890123456") || first.starts_with('…'), "{first}");
        for part in ["01234567 nokelock", "119 s ago", "-127", "100%", "evidence", "key+pw", "CSQU3054383", "EMERGENC?"] {
            assert!(first.contains(part), "{part}: {first}");
        }
        assert!(page.lines().nth(2).unwrap().contains("never"), "{page}");
        assert!(page.contains("nokelock, authenticated: a reason"), "{page}");
    }

    #[test]
    fn what_is_worst_is_said_first_and_what_is_not_heard_stands_in_brackets() {
        let mut seal = SealLine { says: SealSays { lock: Some(LockClaim::Unlocked), ..SealSays::default() }, ..line("SGL-1") };
        assert_eq!(state(&seal), "open");
        seal.says.tamper = Some(true);
        seal.presence = Some(Presence::NotHeard);
        assert_eq!(state(&seal), "(TAMPERED)");
        seal.complaints = vec![SealWord::ShackleCut];
        assert_eq!(state(&seal), "(CUT)");
        // Heard earlier in this run, and not any more.
        seal.heard_ago_ms = Some(600_000);
        seal.contradicts_evidence = vec!["lock".to_owned()];
        assert_eq!(state(&seal), "(CUT?)");
        seal.complaints = vec![SealWord::LowBattery, SealWord::CoverOpened, SealWord::ForcedOpen];
        assert_eq!(worst(&seal), "FORCED");
        seal.complaints.truncate(1);
        assert_eq!(worst(&seal), "TAMPERED");
        seal.says.tamper = None;
        assert_eq!(worst(&seal), "open", "a low battery hides no open seal");
        seal.says = SealSays { lock: Some(LockClaim::Locked), open: Some(true), ..SealSays::default() };
        assert_eq!(worst(&seal), "NOT SHUT");
        seal.says = SealSays::default();
        assert_eq!(worst(&seal), "LOW BATT");
    }

    #[test]
    fn a_protocol_that_is_rated_twice_has_both_its_reasons_below() {
        let keyless = SealLine { security: Security::Weak, reason: "the second reason".to_owned(), ..line("SGL-2") };
        let page = page(&[line("SGL-1"), keyless]);
        assert!(page.contains("nokelock, authenticated: a reason") && page.contains("nokelock, weak: the second reason"), "{page}");
    }
}
