//! A gate as a process of its own, which can be killed: for the demo and for tests at the wire.
//!
//! It is started from a configuration file, watched over its own socket, and ended either as a supervisor would end it
//! or as a power cut would.

use std::{
    fs::{File, OpenOptions},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{api::ask_status, status::Status};

/// The gate is open a few hundred milliseconds after its start; on a busy machine longer.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// The parts drain within seconds; after this the process hangs.
const CLOSE_DEADLINE: Duration = Duration::from_secs(40);
/// How often the story looks at the status while it waits for something.
const LOOK: Duration = Duration::from_millis(50);

/// A gate, running or not.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    config: PathBuf,
    runtime_dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// A gate not yet started: `dir` holds `segel.toml`, whose `runtime_dir` is `dir/run`; the log goes to
    /// `dir/gateway.log`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, dir: &Path) -> Self {
        let (config, runtime_dir, log) = (dir.join("segel.toml"), dir.join("run"), dir.join("gateway.log"));
        Self { program: program.into(), config, runtime_dir, log, child: None }
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Its log file, over all its lives.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the process and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, ends by itself, or does not answer in time.
    pub async fn start(&mut self) -> anyhow::Result<Status> {
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).context("the gateway's log cannot be written")?;
        let mut command = Command::new(&self.program);
        // Variables meant for another gate on this machine must not reach this one.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEGEL_")) {
            command.env_remove(name);
        }
        command
            .args(["run", "--with-parent", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().context("the gateway could not be started")?);
        self.until(OPEN_DEADLINE, |_| true).await.with_context(|| format!("the gateway did not open; its log is {}", self.log.display()))
    }

    /// Kills it as the kernel would: SIGKILL, it writes nothing any more.
    ///
    /// # Errors
    /// When it is not running or had ended by itself.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("the gateway is not running")?;
        child.start_kill()?;
        let status = child.wait().await?;
        anyhow::ensure!(status.signal() == Some(9), "the gateway ended by itself before it could be killed: {status}");
        Ok(status)
    }

    /// Tells it to stop and waits until it has.
    ///
    /// # Errors
    /// When it is not running or does not stop in time.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("the gateway is not running")?;
        if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        timeout(CLOSE_DEADLINE, child.wait())
            .await
            .context("the gateway did not stop in time")?
            .context("the gateway could not be waited for")
    }

    /// Its process number while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// How it is.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> anyhow::Result<Status> {
        Ok(ask_status(&self.runtime_dir).await?)
    }

    /// Waits until the gate's status is as wanted.
    ///
    /// # Errors
    /// When it is not within this time, or the process ends by itself.
    pub async fn until(&mut self, within: Duration, mut wanted: impl FnMut(&Status) -> bool) -> anyhow::Result<Status> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                anyhow::bail!("the gateway ended by itself: {status}");
            }
            match self.status().await {
                Ok(status) if wanted(&status) => return Ok(status),
                Ok(_) if Instant::now() > deadline => anyhow::bail!("the gateway did not get there within {} s", within.as_secs()),
                Err(fault) if Instant::now() > deadline => return Err(fault),
                _ => sleep(LOOK).await,
            }
        }
    }
}
