//! A conversation with `journal-under-test`: one thing asked, one answer.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{Said, Witness};

/// Longer than any answer takes on a busy machine; SQLite itself waits two seconds for a foreign lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process and what was heard of it.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    mouth: ChildStdin,
    ear: Receiver<String>,
}

impl Talk {
    /// Starts `program` on the journal in `dir`. The journal is not opened before that is asked for.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(program: &str, dir: &Path, quota: u64) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .arg("--dir")
            .arg(dir)
            .args(["--quota", &quota.to_string(), "serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let (mouth, out) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let (say, ear) = channel();
        std::thread::spawn(move || {
            // It ends with the process, or with whoever listens.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, mouth, ear })
    }

    /// Asks; returns what was said before the answer, and the answer.
    ///
    /// # Errors
    /// When it dies or does not answer in time.
    pub fn ask(&mut self, question: &str, witness: &mut Witness) -> anyhow::Result<(Vec<Said>, String)> {
        writeln!(self.mouth, "{question}").with_context(|| format!("it does not listen any more, asked `{question}`"))?;
        let mut all = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = match self.ear.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => anyhow::bail!("no answer to `{question}` within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("it died of `{question}`: {}", self.child.wait()?),
            };
            match line.parse()? {
                Said::Answer(answer) => return Ok((all, answer)),
                said => {
                    witness.hear(&said)?;
                    all.push(said);
                }
            }
        }
    }

    /// Asks again until the answer is as wanted.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn until(&mut self, question: &str, witness: &mut Witness, mut wanted: impl FnMut(&str) -> bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.ask(question, witness)?;
            if wanted(&answer) {
                return Ok(answer);
            }
            anyhow::ensure!(Instant::now() < deadline, "`{question}` is still answered by `{answer}`");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // After a kill this finds nobody; after a failed test it leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
