//! Publishers without a journal: the rate a broker can be fed at by somebody who keeps nothing.

use std::{
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use segel_hardware_tests::peers::Peer;
use tokio::{process::Command, time::timeout};

/// Requests that may wait in the library, as in its own examples.
const REQUESTS: usize = 100;
/// A million messages take some ten seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// `rumqttc`'s own v4 client at QoS 1 as everybody uses it publishes `many` messages, these over and over: from the first
/// acknowledgement to the last.
pub(super) async fn rumqttc(broker: SocketAddr, messages: &[(String, Bytes)], many: usize) -> anyhow::Result<Duration> {
    anyhow::ensure!(!messages.is_empty(), "there is nothing to publish");
    let options = MqttOptions::new("figures-plain", broker.ip().to_string(), broker.port());
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let batch = messages.to_vec();
    let publishing = tokio::spawn(async move {
        for (topic, payload) in batch.into_iter().cycle().take(many) {
            client.publish_bytes(topic, QoS::AtLeastOnce, false, payload).await?;
        }
        // Kept until the last is acknowledged: a client that is gone ends the event loop.
        Ok::<_, rumqttc::ClientError>(client)
    });
    let (mut acked, mut first) = (0, None);
    let all = async {
        while acked < many {
            if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await? {
                acked += 1;
                first.get_or_insert_with(Instant::now);
            }
        }
        Ok::<_, rumqttc::ConnectionError>(())
    };
    timeout(PATIENCE, all).await.context("the plain publisher did not finish")??;
    let took = first.map(|first| first.elapsed()).context("nothing was published")?;
    drop(publishing.await??);
    Ok(took)
}

/// So many payloads, these over and over, one to a line, for [`mosquitto_pub`].
pub(super) fn lines(file: PathBuf, messages: &[(String, Bytes)], many: usize) -> anyhow::Result<PathBuf> {
    let mut lines = BufWriter::new(File::create(&file)?);
    for (_, payload) in messages.iter().cycle().take(many) {
        lines.write_all(payload)?;
        lines.write_all(b"\n")?;
    }
    lines.flush()?;
    Ok(file)
}

/// `mosquitto_pub -l -q 1` on a file of lines, from its start to its end; nothing where it is not installed.
pub(super) async fn mosquitto_pub(broker: SocketAddr, lines: &Path) -> anyhow::Result<Option<Duration>> {
    let Some(program) = Peer::MosquittoPub.find() else { return Ok(None) };
    let (host, port) = (broker.ip().to_string(), broker.port().to_string());
    let mut command = Command::new(program);
    command.args(["-h", &host, "-p", &port, "-q", "1", "-l", "-t", "figures/lines"]);
    command.stdin(File::open(lines)?).stdout(Stdio::null()).kill_on_drop(true);
    let begin = Instant::now();
    let status = timeout(PATIENCE, command.status()).await.context("mosquitto_pub did not finish")??;
    anyhow::ensure!(status.success(), "mosquitto_pub ended with {status}");
    Ok(Some(begin.elapsed()))
}
