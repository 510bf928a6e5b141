//! Connections over the simulated air, as a session needs them.
//!
//! What must hold: a future that is dropped leaves no half frame on the socket, because frames are written by the radio's
//! own loop; what comes for a connection that is over is thrown away.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{Mutex, mpsc};

use super::wire::{self, Asked, Told, Wanted};
use crate::{
    MacAddress,
    ble::{
        link::{Air, Link, LinkFault},
        protocol::Ports,
    },
};

/// What a radio does not get rid of, or has not read yet, at most: far more than one exchange says.
pub(super) const ROOM: usize = 64;

/// Connections through one socket.
#[derive(Debug)]
pub(super) struct SocketAir {
    line: Arc<Mutex<Line>>,
}

/// The two ends of a socket that others read and write.
#[derive(Debug)]
struct Line {
    out: mpsc::Sender<Vec<u8>>,
    told: mpsc::Receiver<Told>,
    link: u32,
    ask: u32,
    lost: bool,
    notified: VecDeque<Vec<u8>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct SocketLink {
    line: Arc<Mutex<Line>>,
    link: u32,
    piece: usize,
}

fn gone() -> LinkFault {
    LinkFault::Adapter("the simulated air has ended".to_owned())
}

impl SocketAir {
    /// Frames to be written go into `out`; what was told about connections comes out of `told`.
    pub(super) fn new(out: mpsc::Sender<Vec<u8>>, told: mpsc::Receiver<Told>) -> Self {
        Self { line: Arc::new(Mutex::new(Line { out, told, link: 0, ask: 0, lost: false, notified: VecDeque::new() })) }
    }
}

impl Line {
    async fn ask(&self, asked: Asked) -> Result<(), LinkFault> {
        let bytes = wire::ask(asked).map_err(|error| LinkFault::Lost(error.to_string()))?;
        self.out.send(bytes).await.map_err(|_| gone())
    }

    /// The next thing told about the present connection; notifications are kept. Safe to cancel.
    async fn next(&mut self) -> Result<Told, LinkFault> {
        loop {
            if self.lost {
                return Err(LinkFault::Lost("the seal is out of reach".to_owned()));
            }
            match self.told.recv().await.ok_or_else(gone)? {
                Told::Notified { link, bytes } if link == self.link => {
                    self.notified.push_back(bytes);
                    self.notified.truncate(ROOM);
                    return Ok(Told::Notified { link, bytes: Vec::new() });
                }
                Told::Lost { link } if link == self.link => self.lost = true,
                Told::Connected { link } if link == self.link => return Ok(Told::Connected { link }),
                Told::Refused { link, why } if link == self.link => return Err(why.into()),
                told @ (Told::Written { link, ask, .. } | Told::Value { link, ask, .. }) if (link, ask) == (self.link, self.ask) => {
                    return Ok(told);
                }
                _ => {}
            }
        }
    }

    fn of(&self, link: u32) -> Result<(), LinkFault> {
        if link == self.link { Ok(()) } else { Err(LinkFault::Lost("it was closed".to_owned())) }
    }
}

impl Air for SocketAir {
    type Link = SocketLink;

    async fn connect(&mut self, address: MacAddress, ports: Ports) -> Result<SocketLink, LinkFault> {
        let piece = match ports {
            Ports::Fixed { piece, .. } | Ports::AnyPair { piece } => piece.max(1),
            Ports::None => return Err(LinkFault::NoPorts("its protocol has no connections".to_owned())),
        };
        let mut line = self.line.lock().await;
        line.link = line.link.wrapping_add(1);
        line.lost = false;
        line.notified.clear();
        let link = line.link;
        line.ask(Asked::Connect { link, address: address.0, wanted: Wanted::of(ports) }).await?;
        while !matches!(line.next().await?, Told::Connected { .. }) {}
        drop(line);
        Ok(SocketLink { line: Arc::clone(&self.line), link, piece })
    }

    async fn hang_up(&mut self) {
        let mut line = self.line.lock().await;
        let link = line.link;
        // an air that has ended has no connections
        let _ = line.ask(Asked::Disconnect { link }).await;
        line.link = link.wrapping_add(1);
    }
}

impl Link for SocketLink {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkFault> {
        let mut line = self.line.lock().await;
        line.of(self.link)?;
        for piece in bytes.chunks(self.piece) {
            line.ask = line.ask.wrapping_add(1);
            let ask = line.ask;
            line.ask(Asked::Write { link: self.link, ask, bytes: piece.to_vec() }).await?;
            loop {
                match line.next().await? {
                    Told::Written { att_error: Some(code), .. } => return Err(LinkFault::Att(code)),
                    Told::Written { .. } => break,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn notified(&mut self) -> Result<Vec<u8>, LinkFault> {
        let mut line = self.line.lock().await;
        line.of(self.link)?;
        loop {
            if let Some(bytes) = line.notified.pop_front() {
                return Ok(bytes);
            }
            line.next().await?;
        }
    }

    async fn reread(&mut self) -> Result<Vec<u8>, LinkFault> {
        let mut line = self.line.lock().await;
        line.of(self.link)?;
        line.ask = line.ask.wrapping_add(1);
        let ask = line.ask;
        line.ask(Asked::Read { link: self.link, ask }).await?;
        loop {
            if let Told::Value { bytes, .. } = line.next().await? {
                return Ok(bytes);
            }
        }
    }

    async fn close(self) {
        let mut line = self.line.lock().await;
        if line.of(self.link).is_ok() {
            let _ = line.ask(Asked::Disconnect { link: self.link }).await;
            line.link = line.link.wrapping_add(1);
        }
    }
}
