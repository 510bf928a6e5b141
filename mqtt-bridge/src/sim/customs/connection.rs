//! One connection to customs' broker, from CONNECT to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::{ConnAck, ConnectReturnCode, LastWill, Packet, PubAck, Publish, QoS, SubAck, Subscribe, SubscribeReasonCode, mqttbytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::state::{Shared, State};
use super::words::{Ack, Grant, Reading, Received};

/// Larger packets end the connection.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// Shuffled acknowledgements leave at the latest after this pause, so that the last ones do not wait for company.
const SHUFFLE_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn greet(socket: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>, number: u64) {
    // Best effort: it only makes the tests faster.
    let _ = socket.set_nodelay(true);
    match tls {
        None => Connection::serve(socket, shared, number).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(socket).await {
                Connection::serve(stream, shared, number).await;
            }
        }
    }
}

struct Connection<S> {
    stream: S,
    input: BytesMut,
    shared: Arc<Shared>,
    number: u64,
    client: String,
    held: Vec<u16>,
    next_id: u16,
}

/// The connection is over.
struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Publishes a will when a connection ends in any way but by DISCONNECT; the task may simply be dropped.
struct Testament {
    shared: Arc<Shared>,
    will: Option<LastWill>,
}

impl Drop for Testament {
    fn drop(&mut self) {
        if let Some(will) = self.will.take() {
            self.shared.change(|state| state.wills.push(will));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn serve(stream: S, shared: Arc<Shared>, number: u64) {
        let mut connection = Self { stream, input: BytesMut::new(), shared, number, client: String::new(), held: Vec::new(), next_id: 1 };
        let Ok(will) = connection.welcome().await else { return };
        let mut testament = Testament { shared: Arc::clone(&connection.shared), will };
        let mut changed = connection.shared.changed.subscribe();
        loop {
            match connection.step(&mut changed).await {
                Ok(Packet::Disconnect) => {
                    testament.will = None;
                    connection.shared.change(|state| state.disconnects += 1);
                    return;
                }
                Ok(packet) => {
                    if connection.on_packet(packet).await.is_err() {
                        return;
                    }
                }
                Err(Gone) => return,
            }
        }
    }

    /// CONNECT and its answer; the will to keep.
    async fn welcome(&mut self) -> Result<Option<LastWill>, Gone> {
        let connect = loop {
            match self.parse()? {
                Some(Packet::Connect(connect)) => break connect,
                Some(_) => return Err(Gone),
                None => self.read().await?,
            }
        };
        let (code, present) = self.shared.change(|state| {
            state.connects.push(connect.clone());
            if connect.clean_session {
                state.sessions.remove(&connect.client_id);
                state.commands.iter_mut().for_each(|command| command.forgotten = true);
            }
            let present = state.sessions.contains_key(&connect.client_id);
            if state.connect_answer == ConnectReturnCode::Success && !connect.clean_session {
                state.sessions.entry(connect.client_id.clone()).or_default();
            }
            (state.connect_answer, present)
        });
        self.client = connect.client_id;
        self.write(&Packet::ConnAck(ConnAck::new(code, present && code == ConnectReturnCode::Success))).await?;
        if code == ConnectReturnCode::Success { Ok(connect.last_will) } else { Err(Gone) }
    }

    /// The next packet; meanwhile send what is due.
    async fn step(&mut self, changed: &mut watch::Receiver<u64>) -> Result<Packet, Gone> {
        loop {
            changed.borrow_and_update();
            let asleep = self.shared.state().reading == Reading::Asleep;
            if !asleep {
                self.release().await?;
                self.deliver().await?;
                if let Some(packet) = self.parse()? {
                    return Ok(packet);
                }
            }
            tokio::select! {
                read = self.stream.read_buf(&mut self.input), if !asleep => if read? == 0 { return Err(Gone) },
                _ = changed.changed() => {}
                () = tokio::time::sleep(SHUFFLE_PAUSE), if !self.held.is_empty() && !asleep => self.shuffle(1).await?,
            }
        }
    }

    async fn on_packet(&mut self, packet: Packet) -> Result<(), Gone> {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish).await,
            Packet::Subscribe(subscribe) => self.on_subscribe(subscribe).await,
            Packet::PubAck(ack) => {
                self.on_command_acked(ack.pkid);
                Ok(())
            }
            Packet::PingReq => self.write(&Packet::PingResp).await,
            _ => Err(Gone),
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), Gone> {
        let (id, qos) = (publish.pkid, publish.qos);
        let received = Received {
            topic: publish.topic,
            payload: Bytes::copy_from_slice(&publish.payload),
            dup: publish.dup,
            retain: publish.retain,
            connection: self.number,
        };
        let drop = self.shared.change(|state| {
            state.received.push(received);
            let left = state.drop_after.map(|left| left.saturating_sub(1));
            state.drop_after = left.filter(|left| *left > 0);
            left == Some(0)
        });
        if drop {
            return Err(Gone);
        }
        if qos != QoS::AtMostOnce {
            self.held.push(id);
        }
        self.release().await
    }

    /// Send the acknowledgements that may leave.
    async fn release(&mut self) -> Result<(), Gone> {
        let acks = self.shared.state().acks;
        match acks {
            Ack::Withheld => Ok(()),
            Ack::AtOnce => {
                for id in std::mem::take(&mut self.held) {
                    self.write(&Packet::PubAck(PubAck::new(id))).await?;
                }
                Ok(())
            }
            Ack::Shuffled(group) => self.shuffle(group).await,
        }
    }

    /// Send the held acknowledgements newest first, if there are at least so many and they are to be shuffled.
    async fn shuffle(&mut self, at_least: usize) -> Result<(), Gone> {
        if matches!(self.shared.state().acks, Ack::Shuffled(_)) && self.held.len() >= at_least {
            for id in std::mem::take(&mut self.held).into_iter().rev() {
                self.write(&Packet::PubAck(PubAck::new(id))).await?;
            }
        }
        Ok(())
    }

    async fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), Gone> {
        let grant = self.shared.state().grant;
        let code = |asked: QoS| match grant {
            Grant::AsAsked => SubscribeReasonCode::Success(asked),
            Grant::QosZero => SubscribeReasonCode::Success(QoS::AtMostOnce),
            Grant::Refused | Grant::Silence => SubscribeReasonCode::Failure,
        };
        let codes = subscribe.filters.iter().map(|filter| code(filter.qos)).collect();
        if grant == Grant::Silence {
            return Ok(());
        }
        self.write(&Packet::SubAck(SubAck::new(subscribe.pkid, codes))).await?;
        if grant == Grant::AsAsked {
            let filters = subscribe.filters.into_iter().map(|filter| filter.path);
            self.shared.change(|state| state.sessions.entry(self.client.clone()).or_default().extend(filters));
        }
        Ok(())
    }

    /// Send the commands this gate is subscribed to and has not had on this connection.
    async fn deliver(&mut self) -> Result<(), Gone> {
        let mut due = Vec::new();
        {
            let mut state = self.shared.state();
            let State { sessions, commands, .. } = &mut *state;
            let Some(filters) = sessions.get(&self.client) else { return Ok(()) };
            for command in commands.iter_mut() {
                let here = command.sent.is_some_and(|(connection, _)| connection == self.number);
                if command.acknowledged
                    || command.forgotten
                    || here
                    || !filters.iter().any(|filter| mqttbytes::matches(&command.what.topic, filter))
                {
                    continue;
                }
                let mut publish = Publish::from_bytes(command.what.topic.clone(), QoS::AtLeastOnce, command.what.payload.clone());
                publish.pkid = self.next_id;
                publish.retain = command.what.retained;
                publish.dup = command.what.duplicate || command.deliveries > 0;
                self.next_id = self.next_id % u16::MAX + 1;
                command.sent = Some((self.number, publish.pkid));
                command.deliveries += 1;
                due.push(publish);
            }
        }
        if !due.is_empty() {
            for publish in due {
                self.write(&Packet::Publish(publish)).await?;
            }
            self.shared.change(|_| {});
        }
        Ok(())
    }

    fn on_command_acked(&mut self, id: u16) {
        self.shared.change(|state| {
            if let Some(command) = state.commands.iter_mut().find(|command| command.sent == Some((self.number, id))) {
                command.acknowledged = true;
            }
        });
    }

    fn parse(&mut self) -> Result<Option<Packet>, Gone> {
        match Packet::read(&mut self.input, MAX_PACKET) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(_) => Err(Gone),
        }
    }

    async fn read(&mut self) -> Result<(), Gone> {
        if self.stream.read_buf(&mut self.input).await? == 0 { Err(Gone) } else { Ok(()) }
    }

    async fn write(&mut self, packet: &Packet) -> Result<(), Gone> {
        let mut output = BytesMut::new();
        packet.write(&mut output, MAX_PACKET).map_err(|_| Gone)?;
        self.stream.write_all(&output).await?;
        self.stream.flush().await?;
        Ok(())
    }
}
