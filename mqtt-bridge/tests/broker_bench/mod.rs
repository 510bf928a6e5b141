//! A monitor made of raw bytes, and a broker to try it on. Every wait has a deadline; no client library is involved, so
//! that nothing here can be too polite to be an attack.
#![allow(clippy::unwrap_used, reason = "clippy does not know that this file is only for tests")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::time::Duration;

use segel_mqtt_bridge::broker::{Access, Broker, BrokerConfig, BrokerStanding, Keep, Limits};
use segel_mqtt_bridge::topic::{Class, Place, Topic};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes this long on a healthy broker, however loaded the machine is.
pub const SOON: Duration = Duration::from_secs(20);

pub fn topic(class: Class, key: &str) -> Topic {
    Place::new("idtpp", "g03").unwrap().topic(class, key).unwrap()
}

pub async fn broker(limits: Limits) -> Broker {
    with_access(Access::Anyone, limits).await
}

pub async fn with_access(access: Access, limits: Limits) -> Broker {
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().unwrap(), access, tls: None, limits };
    Broker::bind(config).await.unwrap()
}

pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until the broker's standing is as wished.
pub async fn until(broker: &Broker, what: &str, wish: impl FnMut(&BrokerStanding) -> bool) {
    let mut standing = broker.standing();
    within(what, standing.wait_for(wish)).await.unwrap();
}

/// A field with its length in front, as MQTT writes strings.
pub fn field(text: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text);
    bytes
}

/// A packet from its first byte and its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest > 0x7f { 0x80 } else { 0 };
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | more);
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// CONNECT of any level with any flags; `rest` follows the client id.
pub fn connect(level: u8, flags: u8, keepalive: u16, id: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut body = field(b"MQTT");
    body.extend([level, flags]);
    body.extend(keepalive.to_be_bytes());
    if level == 5 {
        body.push(0);
    }
    body.extend(field(id));
    body.extend(rest);
    packet(0x10, &body)
}

pub fn subscribe(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(field(filter.as_bytes()));
        body.push(*qos);
    }
    packet(0x82, &body)
}

pub const DISCONNECT: [u8; 2] = [0xe0, 0];
pub const PINGREQ: [u8; 2] = [0xc0, 0];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub topic: String,
    pub payload: String,
    pub retain: bool,
    pub id: Option<u16>,
}

pub struct Monitor<S = TcpStream> {
    pub stream: S,
}

impl Monitor {
    pub async fn dial(address: SocketAddr) -> Monitor {
        Monitor { stream: within("TCP connect", TcpStream::connect(address)).await.unwrap() }
    }

    /// Connected, with a clean session and no keepalive.
    pub async fn hello(address: SocketAddr, id: &str) -> Monitor {
        let mut monitor = Monitor::dial(address).await;
        assert_eq!(monitor.greet(&connect(4, 2, 0, id.as_bytes(), b"")).await, Some(0), "{id}");
        monitor
    }

    /// Connected and listening to everything.
    pub async fn listening(address: SocketAddr, id: &str) -> Monitor {
        let mut monitor = Monitor::hello(address, id).await;
        assert_eq!(monitor.ask(&[("segel/#", 0)]).await, [0]);
        monitor
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Monitor<S> {
    pub async fn send(&mut self, bytes: &[u8]) {
        // the broker may have hung up already; what it does is seen by reading
        let _ = within("write", self.stream.write_all(bytes)).await;
        let _ = within("flush", self.stream.flush()).await;
    }

    /// Sends a CONNECT; the return code of CONNACK, or nothing when the connection closed without one.
    pub async fn greet(&mut self, connect: &[u8]) -> Option<u8> {
        self.send(connect).await;
        let (first, body) = self.packet().await?;
        assert_eq!((first, body.len(), body[0]), (0x20, 2, 0), "CONNACK without a session");
        Some(body[1])
    }

    /// The next packet, or nothing when the connection closed.
    pub async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a packet", async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        })
        .await
    }

    /// The next PUBLISH, acknowledged if it asks for that; nothing when the connection closed.
    pub async fn message(&mut self) -> Option<Got> {
        let (first, body) = self.packet().await?;
        assert_eq!(first >> 4, 3, "expected PUBLISH, got {first:#x} {body:?}");
        let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let quality = (first >> 1) & 3;
        assert!(quality < 2 && first & 8 == 0);
        let id = (quality == 1).then(|| u16::from_be_bytes([body[end], body[end + 1]]));
        if let Some(id) = id {
            self.send(&packet(0x40, &id.to_be_bytes())).await;
        }
        let payload = text(&body[end + if id.is_some() { 2 } else { 0 }..]);
        Some(Got { topic: text(&body[2..end]), payload, retain: first & 1 == 1, id })
    }

    /// Subscribes; the return codes. Only for a monitor that gets nothing else at the moment.
    pub async fn ask(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(&subscribe(7, filters)).await;
        let (first, body) = self.packet().await.expect("a SUBACK");
        assert_eq!((first, &body[..2]), (0x90, &[0, 7][..]));
        body[2..].to_vec()
    }

    pub async fn ping(&mut self) {
        self.send(&PINGREQ).await;
        assert_eq!(self.packet().await, Some((0xd0, Vec::new())), "PINGRESP");
    }

    /// Reads whatever still comes until the broker closes the connection.
    pub async fn sees_some_until_the_end(&mut self) {
        while self.packet().await.is_some() {}
    }

    /// Asserts that the broker closes the connection and says nothing more.
    pub async fn sees_the_end(&mut self) {
        assert_eq!(self.packet().await, None);
    }
}

/// Says something and sees that a monitor which was there before, and one that comes now, both get it, and that the
/// router did not have to be replaced for that.
pub async fn all_is_well(broker: &Broker, before: &mut Monitor) {
    let mut after = Monitor::listening(broker.local_addr(), "comes-after").await;
    for round in 0..3 {
        let wanted = format!("well {round}");
        broker.publish(&topic(Class::Event, "proof"), wanted.as_bytes(), Keep::Passing);
        for monitor in [&mut *before, &mut after] {
            loop {
                let got = monitor.message().await.expect("a monitor that behaved was cut off");
                if got.payload == wanted {
                    break;
                }
            }
        }
    }
    after.send(&DISCONNECT).await;
    after.sees_the_end().await;
    assert_eq!(broker.standing().borrow().router_restarts, 0, "the router died");
}
