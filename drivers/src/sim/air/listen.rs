//! The radio that listens to the simulated air, and connects through it where it was given a desk.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use super::{
    line::{ROOM, SocketAir},
    wire::{self, Heard, Told},
};
use crate::{
    Ear, Radio, RadioFault, ReaderId,
    ble::{
        AirFrame, Desk, Register, interpret,
        session::{Served, serve},
    },
};

/// Connecting to a socket of this machine is done at once or not at all.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The air says twice a second that it is there; a busy machine may swallow a few.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long the air may take to take a question.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// Sessions in one run of the serving loop; there is nothing to be made anew between them here.
const SESSIONS: u32 = u32::MAX;

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
    desk: Option<Desk>,
}

impl SimulatedAir {
    /// A radio not yet listening, that makes no connections.
    #[must_use]
    pub fn new(config: SimulatedAirConfig) -> Self {
        Self { config, desk: None }
    }

    /// The same, serving the requests of this desk.
    #[must_use]
    pub fn serving(self, desk: Desk) -> Self {
        Self { desk: Some(desk), ..self }
    }

    fn device(&self) -> String {
        self.config.socket.display().to_string()
    }

    fn gone(&self, reason: String) -> RadioFault {
        RadioFault::Gone { device: self.device(), reason }
    }

    async fn run(&self, ear: &Ear) -> RadioFault {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(fault) => return fault,
        };
        if let Err(deaf) = ear.up(format!("simulated air at {}", self.device())).await {
            return deaf.into();
        }
        let (read, write) = stream.into_split();
        let (tell, told) = mpsc::channel(ROOM);
        let (out, questions) = mpsc::channel(ROOM);
        tokio::select! {
            fault = self.hear(read, ear, &tell) => fault,
            error = write_out(write, questions) => self.gone(error.to_string()),
            fault = Box::pin(self.serve(SocketAir::new(out, told), ear)) => fault,
        }
    }

    async fn hear(&self, read: OwnedReadHalf, ear: &Ear, tell: &mpsc::Sender<Told>) -> RadioFault {
        let mut stream = BufReader::new(read);
        let mut content = [0; wire::CONTENT_MAX];
        loop {
            let read = tokio::time::timeout(SILENCE_MAX, next(&mut stream, &mut content)).await;
            let heard = match read {
                Err(_) => return RadioFault::Silent { device: self.device(), reason: format!("nothing for {SILENCE_MAX:?}") },
                Ok(Err(error)) => return self.gone(error.to_string()),
                Ok(Ok(0)) => continue,
                Ok(Ok(length)) => wire::decode(&content[..length]),
            };
            match heard {
                // a session that does not listen loses what it is told, and notices by its own deadlines
                Some(Heard::Session(told)) => drop(tell.try_send(told)),
                Some(Heard::Advert(frame)) => {
                    if let Err(fault) = self.on_frame(Some(frame), ear).await {
                        return fault;
                    }
                }
                None => {
                    if let Err(fault) = self.on_frame(None, ear).await {
                        return fault;
                    }
                }
            }
        }
    }

    async fn serve(&self, mut air: SocketAir, ear: &Ear) -> RadioFault {
        let Some(desk) = &self.desk else { return std::future::pending().await };
        loop {
            match serve(desk, &mut air, ear, SESSIONS).await {
                Served::Enough => {}
                Served::Fails(reason) => return self.gone(reason),
                Served::Stopping => return RadioFault::Stopped,
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
        if let (Some(desk), Some(frame)) = (&self.desk, &frame)
            && self.config.register.get(frame.address).is_some()
        {
            desk.heard(frame.address, frame.rssi_dbm, Instant::now());
        }
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

/// Writes questions as they come; how that ended.
async fn write_out(mut write: OwnedWriteHalf, mut questions: mpsc::Receiver<Vec<u8>>) -> io::Error {
    while let Some(bytes) = questions.recv().await {
        match tokio::time::timeout(WRITE_DEADLINE, write.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return io::Error::other("the air takes no questions"),
        }
    }
    // nobody asks any more; the radio still listens
    std::future::pending().await
}

/// Reads one frame's content; its length.
pub(super) async fn next(stream: &mut (impl AsyncRead + Unpin), content: &mut [u8; wire::CONTENT_MAX]) -> io::Result<usize> {
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
        self.run(ear).await
    }
}
