//! The gate as a process whose start is timed: by the word it gives its supervisor, and by its first answer.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use segel::{
    event::Class,
    journal::{Filter, JournalReader, Record},
    status::Status,
};
use segel_drivers::LockClaim;
use segel_hardware_tests::rig::Rig;
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// A start takes a fraction of this, even with a cold disk.
const READY: Duration = Duration::from_secs(60);
/// The parts drain within seconds; after this the process hangs.
const CLOSE: Duration = Duration::from_secs(40);
/// How often an answer or a record is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// How often the seal repeats itself.
const REPEAT: Duration = Duration::from_millis(5);
/// What a supervisor is told, with some room.
const WORD_MAX: usize = 4_096;

/// The process.
pub(super) struct Gate {
    child: Child,
    begun: Instant,
    supervisor: Arc<UnixDatagram>,
    runtime_dir: PathBuf,
}

impl Gate {
    /// Starts the gate of this rig. On the main task only: the gate ends with the thread that started it.
    pub(super) fn spawn(program: &Path, rig: &Rig) -> anyhow::Result<Self> {
        let socket = rig.dir().join("supervisor.sock");
        drop(std::fs::remove_file(&socket));
        let supervisor = Arc::new(UnixDatagram::bind(&socket)?);
        let log = File::options().create(true).append(true).open(rig.gate.log())?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEGEL_")) {
            command.env_remove(name);
        }
        command.env("NOTIFY_SOCKET", &socket).args(["run", "--with-parent", "--config"]).arg(rig.gate.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let begun = Instant::now();
        let child = command.spawn().context("the gate could not be started")?;
        Ok(Self { child, begun, supervisor, runtime_dir: rig.dir().join("run") })
    }

    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the gate ended by itself")
    }

    pub(super) async fn status(&self) -> anyhow::Result<Status> {
        Ok(segel::api::ask_status(&self.runtime_dir).await?)
    }

    /// The time from its start until it told its supervisor that it is ready.
    pub(super) async fn told_ready(&self) -> anyhow::Result<Duration> {
        let told = async {
            let mut word = [0; WORD_MAX];
            loop {
                let length = self.supervisor.recv(&mut word).await?;
                let took = self.begun.elapsed();
                if word[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                    return Ok::<_, std::io::Error>(took);
                }
            }
        };
        let ready = timeout(READY, told).await.context("the gate told nobody that it is ready")??;
        // A supervisor listens on: a socket nobody reads fills up, and whoever tells it something waits.
        let supervisor = Arc::clone(&self.supervisor);
        tokio::spawn(async move {
            let mut word = [0; WORD_MAX];
            while supervisor.recv(&mut word).await.is_ok() {}
        });
        Ok(ready)
    }

    /// The time from its start to its first answer.
    pub(super) async fn answered(&self) -> anyhow::Result<Duration> {
        let answered = async {
            while self.status().await.is_err() {
                sleep(LOOK).await;
            }
        };
        timeout(READY, answered).await.context("the gate gave no answer")?;
        Ok(self.begun.elapsed())
    }

    /// The first seal says this again and again until an event of this kind is recorded; that event, and the time from
    /// the start of the gate until it was.
    pub(super) async fn seal_says(
        &self,
        rig: &mut Rig,
        reader: &JournalReader,
        (lock, tamper): (LockClaim, bool),
        class: Class,
        kind: &str,
        within: Duration,
    ) -> anyhow::Result<(Record, Duration)> {
        let reading = &mut rig.seals[0].reading;
        (reading.lock, reading.tamper) = (Some(lock), Some(tamper));
        let filter = Filter { class: Some(class), ..Filter::default() };
        let before = reader.tail(&filter, 1)?.last().map(|record| record.seq);
        let deadline = Instant::now() + within;
        let mut said = None::<Instant>;
        loop {
            if said.is_none_or(|said| said.elapsed() >= REPEAT) {
                rig.advertise(0)?;
                said = Some(Instant::now());
            }
            // Other events may follow at once; a few are looked at.
            let last = reader.tail(&filter, 8)?;
            let found = last.into_iter().rfind(|record| record.kind == kind && Some(record.seq) > before);
            if let Some(record) = found {
                return Ok((record, self.begun.elapsed()));
            }
            anyhow::ensure!(Instant::now() < deadline, "the gate did not record {kind}");
            sleep(LOOK).await;
        }
    }

    /// Tells it to stop, and wants it to end well.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let ended = timeout(CLOSE, self.child.wait()).await.context("the gate did not stop in time")??;
        anyhow::ensure!(ended.code() == Some(0), "the gate ended with {ended}");
        Ok(())
    }
}
