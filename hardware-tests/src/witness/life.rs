//! One life of `journal-under-test`, which ends as the test wants.

use std::{
    io::{self, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{Said, Witness};

/// A process at work.
#[derive(Debug)]
pub struct Life {
    child: Child,
    /// Reads along, so that the process never waits for somebody to listen.
    ear: Option<JoinHandle<io::Result<Vec<u8>>>>,
    complaints: Option<JoinHandle<io::Result<Vec<u8>>>>,
}

/// How a life ended and what was said in it.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Everything said on standard output.
    pub said: Vec<Said>,
    /// What it complained of on standard error.
    pub complaints: String,
}

impl Life {
    /// Starts `program` on the journal in `dir`, with these further arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(program: &str, dir: &Path, quota: u64, what: &[String]) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg("--dir")
            .arg(dir)
            .args(["--quota", &quota.to_string()])
            .args(what)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (mut out, mut err) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let ear = std::thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).map(|_| all)
        });
        let complaints = std::thread::spawn(move || {
            let mut all = Vec::new();
            err.read_to_end(&mut all).map(|_| all)
        });
        Ok(Self { child, ear: Some(ear), complaints: Some(complaints) })
    }

    /// Kills it as the kernel would, if it has not ended, and tells the witness all it has said.
    ///
    /// # Errors
    /// When the witness heard a contradiction.
    pub fn kill(mut self, witness: &mut Witness) -> anyhow::Result<Ended> {
        self.child.kill()?;
        self.end(witness)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it does not within this time, or the witness heard a contradiction.
    pub fn wait(mut self, within: Duration, witness: &mut Witness) -> anyhow::Result<Ended> {
        let deadline = Instant::now() + within;
        while self.child.try_wait()?.is_none() {
            anyhow::ensure!(Instant::now() < deadline, "journal-under-test did not end within {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end(witness)
    }

    fn end(&mut self, witness: &mut Witness) -> anyhow::Result<Ended> {
        let status = self.child.wait()?;
        let hear =
            |ear: Option<JoinHandle<io::Result<Vec<u8>>>>| ear.context("heard once")?.join().ok().context("an ear died")?.context("an ear");
        let said = hear(self.ear.take())?;
        let complaints = String::from_utf8_lossy(&hear(self.complaints.take())?).into_owned();
        Ok(Ended { status, said: witness.listen(&said[..])?, complaints })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // After a kill this finds nobody; after a failed test it leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
