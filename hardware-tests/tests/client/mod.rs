//! A client of somebody else: a program that prints a line for what it hears, ended when dropped.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::Context;
use segel_hardware_tests::rig::PATIENCE;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long it may take to end once it is told to.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// How much of each line is shown when the wanted one does not come, in bytes (they are ASCII).
const SHOWN: usize = 160;

/// The program.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it said and nobody has asked for yet.
    passed: Vec<String>,
}

impl Client {
    /// Starts it.
    pub(crate) fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("its input is piped")?;
        let lines = BufReader::new(child.stdout.take().context("its output is piped")?).lines();
        Ok(Self { child, input, lines, passed: Vec::new() })
    }

    /// Takes the first line like this that nobody has taken yet, waiting for it if it has not been said.
    pub(crate) async fn line(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        if let Some(said) = self.passed.iter().position(|line| wanted(line)) {
            return Ok(self.passed.remove(said));
        }
        let waited = timeout(PATIENCE, async {
            while let Some(line) = self.lines.next_line().await? {
                if wanted(&line) {
                    return Ok(line);
                }
                self.passed.push(line);
            }
            anyhow::bail!("the client ended")
        });
        let found = waited.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the client did not say it in time")));
        found.with_context(|| format!("it said {:#?}", self.passed.iter().map(|line| &line[..line.len().min(SHOWN)]).collect::<Vec<_>>()))
    }

    /// Gives it a line.
    pub(crate) async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Ends it: closes its input, and kills it unless it ends by that.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Self { mut child, input, lines, .. } = self;
        drop((input, lines));
        if timeout(END_DEADLINE, child.wait()).await.is_err() {
            child.kill().await?;
        }
        Ok(())
    }
}
