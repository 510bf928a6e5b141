//! The commands a technician runs beside the gate: verify, tail, stats, export, archive.
//!
//! Commands this version does not have are told apart at the beginning and said to be left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use segel::event::{Digest, document::Head};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    diary::Diary,
    monitors::Shown,
    plan::{Act, Plan, Track},
};

/// Any of these commands ends within a fraction of this on a journal of this size.
const DEADLINE: Duration = Duration::from_secs(60);
/// Exit code of a command that could not open or read the journal: fair while the gate dies or its disk is full.
const UNREADABLE: i32 = 21;
/// What excuses it.
const EXCUSES: &[Act] = &[Act::GateKilled, Act::GateKilledOpening, Act::GateRestarted, Act::DiskFull, Act::DiskNearlyFull];

/// The commands, and what is needed to run them.
#[derive(Debug)]
pub(super) struct Beside {
    program: PathBuf,
    config: PathBuf,
    /// Where exports go: not on the gate's disk.
    exports: PathBuf,
    /// Acts this version has no command for.
    pub(super) missing: BTreeSet<Act>,
    /// Events that `tail` showed.
    pub(super) shown: Shown,
}

impl Beside {
    /// Asks the program which of the commands it has.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn ask(program: &Path, config: &Path, exports: &Path) -> anyhow::Result<Self> {
        let mut beside = Self {
            program: program.to_owned(),
            config: config.to_owned(),
            exports: exports.to_owned(),
            missing: BTreeSet::new(),
            shown: Shown::new(),
        };
        for (act, word) in [(Act::Export, "export"), (Act::Archive, "archive")] {
            let (status, _) = beside.run(&[word, "--help"]).await?;
            if !status.success() {
                beside.missing.insert(act);
            }
        }
        Ok(beside)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("journal").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end; what it said in both ways.
    async fn run(&self, arguments: &[&str]) -> anyhow::Result<(ExitStatus, String)> {
        let output = timeout(DEADLINE, self.command(arguments).output()).await;
        let output = output.with_context(|| format!("journal {} did not end", arguments.join(" ")))??;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Runs a command that has to succeed, unless the journal cannot be read at this moment for a good reason.
    async fn well(&self, arguments: &[&str], diary: &Diary) -> Option<String> {
        let config = self.config.display().to_string();
        let arguments = [arguments, &["--config", &config]].concat();
        match self.run(&arguments).await {
            Ok((status, said)) if status.success() => return Some(said),
            Ok((status, _)) if status.code() == Some(UNREADABLE) && diary.explains(EXCUSES, Timestamp::now()) => {
                diary.count("commands that could not read the journal for a good reason", 1);
            }
            Ok((status, _)) if arguments[0] == "archive" && !status.success() && diary.explains(EXCUSES, Timestamp::now()) => {
                diary.count("archive runs that a full disk or a dead gate stopped", 1);
            }
            Ok((status, said)) => {
                let end: Vec<_> = said.lines().rev().take(6).collect();
                diary.breaks(format!("journal {} ended with {status}: {}", arguments.join(" "), end.join(" | ")));
            }
            Err(fault) => diary.breaks(format!("{fault:#}")),
        }
        None
    }

    /// Does what is planned.
    pub(super) async fn work(&mut self, plan: &Plan, begin: Instant, diary: &Diary) {
        for step in plan.on(Track::Beside) {
            sleep_until(begin + step.at).await;
            if self.missing.contains(&step.act) {
                continue;
            }
            diary.did(step.act);
            match step.act {
                Act::Tail => self.tail(step.lasts, diary).await,
                Act::Stats => drop(self.well(&["stats", "--json"], diary).await),
                Act::Export => self.export(diary).await,
                Act::Archive => drop(self.well(&["archive", "--older-than", "0"], diary).await),
                _ => drop(self.well(&["verify"], diary).await),
            }
        }
    }

    /// What must hold once the gate has been stopped.
    pub(super) async fn at_the_end(&self, diary: &Diary) {
        self.well(&["verify"], diary).await;
    }

    async fn tail(&mut self, lasts: Duration, diary: &Diary) {
        let mut command = self.command(&["tail", "--follow", "--json", "--config"]);
        let Ok(mut child) = command.arg(&self.config).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            return diary.breaks("journal tail cannot be started");
        };
        let Some(said) = child.stdout.take() else { return };
        let mut lines = BufReader::new(said).lines();
        let end = Instant::now() + lasts;
        while let Ok(Ok(Some(line))) = timeout_at(end, lines.next_line()).await {
            match Head::parse(line.as_bytes()) {
                Ok(head) => drop(self.shown.insert(head.id.to_string(), Digest::of(line.as_bytes()))),
                Err(fault) => diary.breaks(format!("journal tail shows what is no event: {fault}: {line}")),
            }
        }
        if let Ok(Some(status)) = child.try_wait()
            && !(status.code() == Some(UNREADABLE) && diary.explains(EXCUSES, Timestamp::now()))
        {
            diary.breaks(format!("journal tail --follow ended by itself with {status}"));
        }
        // A technician closes the window.
        drop(child.kill().await);
    }

    async fn export(&self, diary: &Diary) {
        let file = self.exports.join("export.jsonl").display().to_string();
        drop(std::fs::remove_file(&file));
        if self.well(&["export", "--out", &file, "--force"], diary).await.is_none() {
            return;
        }
        // What is in the archive is not in the export: each class begins where it does.
        let mut first = BTreeMap::new();
        for line in std::fs::read_to_string(&file).unwrap_or_default().lines() {
            match Head::parse(line.as_bytes()) {
                Ok(head) => drop(first.entry(head.class.as_str()).or_insert(head.seq)),
                Err(fault) => return diary.breaks(format!("journal export wrote what is no event: {fault}: {line}")),
            }
        }
        let from: Vec<_> = first.iter().map(|(class, seq)| format!("--from={class}={seq}")).collect();
        let arguments: Vec<_> = ["verify", "--received", &file].into_iter().chain(from.iter().map(String::as_str)).collect();
        drop(self.well(&arguments, diary).await);
    }
}
