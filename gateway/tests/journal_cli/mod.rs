//! `segel journal` as somebody types it: the real program, its output, its exit code, and signals to it.

#![allow(dead_code, unreachable_pub, reason = "every test binary takes what it needs")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use segel::event::Class;

use crate::journal_support::{PATIENCE, draft, open};

/// The command with these words, on the journal in `dir`.
pub fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segel"));
    command.arg("journal").args(words).arg("--state-dir").arg(dir).stdin(Stdio::null());
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: i32,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { out: text(output.stdout), err: text(output.stderr), code: output.status.code().expect("it ends by itself") }
    }
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Runs it to its end.
pub fn segel(dir: &Path, words: &[&str]) -> Said {
    command(dir, words).output().unwrap().into()
}

/// A command that is still running; it is ended when the test is.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    /// Sends Ctrl-C.
    pub fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Waits until it has taken Ctrl-C into its own hands.
    pub fn hears_interrupts(&self) {
        wait_for(|| {
            let status = self.status();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim();
            u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0
        });
    }

    /// What the system says of the process.
    pub fn status(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default()
    }

    pub fn end(self) -> Said {
        let mut this = std::mem::ManuallyDrop::new(self);
        let deadline = Instant::now() + PATIENCE;
        while this.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it should have ended long ago");
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = |pipe: Option<Box<dyn std::io::Read>>| {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut text).unwrap();
            }
            String::from_utf8(text).unwrap()
        };
        let out = output(this.child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let err = output(this.child.stderr.take().map(|pipe| Box::new(pipe) as _));
        Said { out, err, code: this.child.wait().unwrap().code().expect("it ends by itself") }
    }

    /// Its lines as they come, from a thread of their own.
    pub fn lines(&mut self) -> Lines {
        Lines::of(self.child.stdout.take().unwrap())
    }

    /// What it says on standard error, as it comes.
    pub fn words(&mut self) -> Lines {
        Lines::of(self.child.stderr.take().unwrap())
    }

    pub fn take_stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come.
#[derive(Debug)]
pub struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    fn of(pipe: impl std::io::Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { lines }
    }

    /// The next line.
    pub fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line should have come long ago")
    }

    /// Lines until one has this in it; that one.
    pub fn until(&self, text: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// All lines that are left, once the command has ended.
    pub fn rest(self) -> Vec<String> {
        self.lines.iter().collect()
    }
}

/// Asks again until it is so.
pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "this should have become true long ago");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A journal of a stopped gate with `count` telemetry events of a little more than `bytes` each: long to read.
pub async fn bulky(dir: &Path, count: u64, bytes: usize) {
    let (journal, _) = open(dir);
    for from in (0..count).step_by(200) {
        let entries = (from..count.min(from + 200)).map(|n| draft(Class::Telemetry, n, bytes).into()).collect();
        journal.append_all(entries).await.unwrap();
    }
    journal.close().await.unwrap();
}
