//! The radio that listens to the simulated air.

use std::{io, path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, BufReader},
    net::UnixStream,
};

use super::wire;
use crate::{
    Ear, Radio, RadioFault, ReaderId,
    ble::{AirFrame, Register, interpret},
};

/// Connecting to a socket of this machine is done at once or not at all.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The air says twice a second that it is there; a busy machine may swallow a few.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// One simulated air, as configured.
#[derive(Debug, Clone)]
pub struct SimulatedAirConfig {
    /// Its name.
    pub id: ReaderId,
    /// The socket [`super::EmulatedAir`] listens at.
    pub socket: PathBuf,
    /// The seals we know.
    pub register: Arc<Register>,
}

/// The radio of a simulated air.
#[derive(Debug)]
pub struct SimulatedAir {
    config: SimulatedAirConfig,
}

impl SimulatedAir {
    /// A radio not yet listening.
    #[must_use]
    pub fn new(config: SimulatedAirConfig) -> Self {
        Self { config }
    }

    fn device(&self) -> String {
        self.config.socket.display().to_string()
    }

    async fn run(&self, ear: &Ear) -> Result<std::convert::Infallible, RadioFault> {
        let gone = |reason: String| RadioFault::Gone { device: self.device(), reason };
        let mut stream = BufReader::new(self.connect().await?);
        ear.up(format!("simulated air at {}", self.device())).await?;
        let mut content = [0; wire::CONTENT_MAX];
        loop {
            let read = tokio::time::timeout(SILENCE_MAX, next(&mut stream, &mut content)).await;
            match read {
                Err(_) => return Err(RadioFault::Silent { device: self.device(), reason: format!("nothing for {SILENCE_MAX:?}") }),
                Ok(Err(error)) => return Err(gone(error.to_string())),
                Ok(Ok(0)) => {}
                Ok(Ok(length)) => self.on_frame(wire::decode(&content[..length]), ear).await?,
            }
        }
    }

    async fn connect(&self) -> Result<UnixStream, RadioFault> {
        let fault = |reason: String| RadioFault::Open { device: self.device(), reason };
        match tokio::time::timeout(CONNECT_DEADLINE, UnixStream::connect(&self.config.socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Err(fault("nobody plays the air there; start it first, or correct `socket`".to_owned()))
            }
            Ok(Err(error)) => Err(fault(error.to_string())),
            Err(_) => Err(fault("it does not accept".to_owned())),
        }
    }

    async fn on_frame(&self, frame: Option<AirFrame>, ear: &Ear) -> Result<(), RadioFault> {
        let tally = ear.tally();
        match frame.as_ref().and_then(|frame| interpret(frame, &self.config.register)) {
            Some(sighting) => {
                tally.frames.fetch_add(1, Ordering::Relaxed);
                Ok(ear.hear(sighting).await?)
            }
            None => {
                tally.not_understood.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// Reads one frame's content; its length.
async fn next(stream: &mut BufReader<UnixStream>, content: &mut [u8; wire::CONTENT_MAX]) -> io::Result<usize> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("the air has ended"),
        _ => error,
    })?;
    let length = u32::from_le_bytes(length);
    let content = usize::try_from(length).ok().and_then(|length| content.get_mut(..length));
    let content = content.ok_or_else(|| io::Error::other("a frame is longer than any may be; whoever plays the air is not ours"))?;
    stream.read_exact(content).await
}

impl Radio for SimulatedAir {
    fn id(&self) -> &ReaderId {
        &self.config.id
    }

    async fn listen(&mut self, ear: &Ear) -> RadioFault {
        match self.run(ear).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }
}
