//! Monitors: one that watches and remembers what it was shown, and others that misbehave.

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use segel::{
    event::{Digest, document::Head},
    status::Status,
};
use segel_drivers::{MacAddress, sim::EmulatedAir};
use segel_hardware_tests::ledger::is_event;
use segel_mqtt_bridge::sim::Monitor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    diary::Diary,
    plan::{Act, Plan, Step, Track},
    radios,
};

/// How often the watching monitor looks whether the gate has moved.
const LOOK: Duration = Duration::from_millis(200);
/// More monitors than the broker takes.
const CROWD: usize = 40;
/// A packet to the broker is on its way within this, or the broker does not want it.
const WRITE: Duration = Duration::from_millis(500);
/// An MQTT 3.1.1 CONNECT with a clean session and a keep-alive of a minute; the client's name of four letters follows.
const CONNECT: &[u8] = &[0x10, 16, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 4];
/// SUBSCRIBE to everything.
const SUBSCRIBE: &[u8] = &[0x82, 6, 0, 1, 0, 1, b'#', 0];
/// PUBLISH of `x` on the topic `a/b`.
const PUBLISH: &[u8] = &[0x30, 6, 0, 3, b'a', b'/', b'b', b'x'];

/// What monitors were shown: documents by id.
pub(super) type Shown = HashMap<String, Digest>;

/// Watches in every life of the gate.
pub(super) async fn watch(status: watch::Receiver<Option<Status>>, shown: &mut Shown) -> Infallible {
    let address = |status: &watch::Receiver<Option<Status>>| status.borrow().as_ref()?.broker.as_ref().map(|broker| broker.listen);
    loop {
        let Some(broker) = address(&status) else {
            sleep(LOOK).await;
            continue;
        };
        let monitor = Monitor::watch(broker, "segel/#");
        while address(&status) == Some(broker) {
            sleep(LOOK).await;
        }
        for message in monitor.received().iter().filter(|message| is_event(&message.topic)) {
            if let Ok(head) = Head::parse(&message.payload) {
                shown.insert(head.id.to_string(), Digest::of(&message.payload));
            }
        }
    }
}

/// Misbehaves as planned; the flood of the air has its place on this track too.
pub(super) async fn misbehave(
    status: watch::Receiver<Option<Status>>,
    air: &EmulatedAir,
    known: &[MacAddress],
    plan: &Plan,
    begin: Instant,
    diary: &Diary,
) {
    for step in plan.on(Track::Monitors) {
        sleep_until(begin + step.at).await;
        if step.act == Act::AirFlooded {
            let _trouble = diary.trouble(step.act);
            radios::flood(air, known, step).await;
            continue;
        }
        diary.did(step.act);
        let broker = status.borrow().as_ref().and_then(|status| status.broker.as_ref()).map(|broker| broker.listen);
        if let Some(broker) = broker {
            // The broker may send it away at any moment, and does; what is tested is the gate.
            drop(one(broker, step).await);
        }
    }
}

async fn one(broker: SocketAddr, step: Step) -> std::io::Result<()> {
    let mut chance = StdRng::seed_from_u64(step.seed);
    match step.act {
        Act::MonitorPublishes => {
            let mut socket = connect(broker, *b"publ").await?;
            say(&mut socket, PUBLISH).await?;
            drop(timeout(step.lasts, socket.read(&mut [0; 64])).await);
        }
        Act::MonitorDeaf => {
            let mut socket = connect(broker, *b"deaf").await?;
            say(&mut socket, SUBSCRIBE).await?;
            sleep(step.lasts).await;
        }
        Act::MonitorCrowd => {
            let mut crowd = Vec::new();
            for number in 0..CROWD {
                let name = [b'c', b'r', b'0' + u8::try_from(number / 10).unwrap_or(9), b'0' + u8::try_from(number % 10).unwrap_or(9)];
                crowd.push(connect(broker, name).await);
            }
            sleep(step.lasts).await;
        }
        _ => {
            let mut socket = TcpStream::connect(broker).await?;
            let garbage: Vec<u8> = (0..chance.random_range(1..2_000)).map(|_| chance.random()).collect();
            say(&mut socket, &garbage).await?;
            sleep(step.lasts).await;
        }
    }
    Ok(())
}

async fn connect(broker: SocketAddr, name: [u8; 4]) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(broker).await?;
    say(&mut socket, &[CONNECT, &name].concat()).await?;
    Ok(socket)
}

async fn say(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    timeout(WRITE, socket.write_all(bytes)).await.unwrap_or(Ok(()))
}
