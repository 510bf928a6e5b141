//! From the air to a screen: a frame on the reader's line, an event on disk, a subscriber of the gate's own broker.
//!
//! Beside it stands what a person would build in an afternoon: a frame over a pseudo-terminal (for tags), as many bytes
//! appended to a bare file with `fdatasync`, then published at QoS 0 to mosquitto and received back; no parsing, no chain,
//! no record of what was forwarded. The two take turns. A reading waits for company by design, so it is measured with the
//! default wait and without any.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use segel_drivers::LockClaim;
use segel_hardware_tests::{
    mosquitto::Mosquitto,
    peers::Peer,
    rig::{Rig, RigConfig},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::SerialStream;

use super::{
    Plan,
    events::Events,
    sample::{Samples, ms},
    subscriber::Subscriber,
    table::Row,
};

/// Tags shown with the default wait, and alarms.
const MANY: usize = 200;
/// The gate's readers are up within this.
const READY: Duration = Duration::from_secs(20);
/// Bytes of a frame and of a document on the other side.
const FRAME: usize = 21;
const DOCUMENT: usize = 700;

/// The rows of this part.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let many = plan.of(MANY);
    let mut afternoon = Afternoon::new(plan).await?;
    let mut rows = Vec::new();
    let mut gate = Gate::open(plan, "").await?;
    let (tags, beside) = gate.tags(many, &mut afternoon).await?;
    rows.extend(pair("frame to subscriber, default wait of 50 ms", &tags, &beside));
    let (alarms, beside) = gate.alarms(many, &mut afternoon).await?;
    rows.extend(pair("seal forced open to subscriber", &alarms, &beside));
    gate.rig.gate.stop().await?;
    let mut gate = Gate::open(plan, "[journal]\ngroup_wait_ms = 0\n").await?;
    let (tags, beside) = gate.tags(many, &mut afternoon).await?;
    rows.extend(pair("frame to subscriber, no wait", &tags, &beside));
    gate.rig.gate.stop().await?;
    Ok(rows)
}

fn pair(what: &str, ours: &Samples, beside: &Samples) -> Vec<Row> {
    let row = |percent| {
        let row = Row::new(format!("{what}, p{percent}"), ms(ours.percentile(percent)));
        if beside.count() == 0 {
            return row;
        }
        let (ours, beside) = (ours.percentile(percent), beside.percentile(percent));
        row.beside(format!("{} bare file and mosquitto", ms(beside)), ours.as_secs_f64() / beside.as_secs_f64())
    };
    vec![row(50), row(99)]
}

struct Gate {
    rig: Rig,
    events: Events,
    screen: Subscriber,
}

impl Gate {
    async fn open(plan: &Plan, more: &str) -> anyhow::Result<Self> {
        let config = RigConfig { seals: 1, more: more.to_owned(), ..RigConfig::default() };
        let mut rig = Rig::build(&plan.program, &config)?;
        rig.gate.start().await?;
        let status = rig.gate.until(READY, |status| status.readers.len() == 2 && status.broker.is_some()).await?;
        let broker: SocketAddr = status.broker.map(|broker| broker.listen).ok_or_else(|| anyhow::anyhow!("the gate has no broker"))?;
        let screen = Subscriber::connect(broker, "figures", "segel/1/idsrg/g01/ev/#").await?;
        let mut gate = Self { rig, events: Events::new(), screen };
        for _ in 0..5 {
            gate.tag().await?;
        }
        Ok(gate)
    }

    async fn tag(&mut self) -> anyhow::Result<Duration> {
        let epc = self.events.epc();
        let text = epc.to_string();
        let begin = Instant::now();
        self.rig.reader.show(epc, 1, 90).await?;
        Ok(self.screen.next(&text).await? - begin)
    }

    async fn tags(&mut self, many: usize, afternoon: &mut Afternoon) -> anyhow::Result<(Samples, Samples)> {
        let (mut ours, mut beside) = (Samples::default(), Samples::default());
        for _ in 0..many {
            ours.push(self.tag().await?);
            afternoon.take_turn(Way::Line, &mut beside).await?;
        }
        Ok((ours, beside))
    }

    /// Says this, and waits for the event of this type.
    async fn seal_says(&mut self, lock: LockClaim, tamper: bool, event: &str) -> anyhow::Result<Duration> {
        let reading = &mut self.rig.seals[0].reading;
        (reading.lock, reading.tamper) = (Some(lock), Some(tamper));
        let begin = Instant::now();
        self.rig.advertise(0)?;
        Ok(self.screen.next(&format!("id.segel.{event}.v1")).await? - begin)
    }

    async fn alarms(&mut self, many: usize, afternoon: &mut Afternoon) -> anyhow::Result<(Samples, Samples)> {
        let (mut ours, mut beside) = (Samples::default(), Samples::default());
        self.seal_says(LockClaim::Locked, false, "DEVICE_STATUS").await?;
        for _ in 0..many {
            ours.push(self.seal_says(LockClaim::Unlocked, true, "FORCED_OPEN").await?);
            afternoon.take_turn(Way::Nothing, &mut beside).await?;
            self.seal_says(LockClaim::Locked, false, "SEALED").await?;
        }
        Ok((ours, beside))
    }
}

/// What lies between the other side and what it is told.
enum Way {
    /// Its own line to a reader.
    Line,
    Nothing,
}

/// The other side; without mosquitto there is none.
struct Afternoon {
    reader: (SerialStream, SerialStream),
    file: File,
    line: Option<(Subscriber, Mosquitto)>,
    turns: u64,
}

impl Afternoon {
    async fn new(plan: &Plan) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(plan.dir.path().join("afternoon"))?;
        let mut line = None;
        if Peer::Mosquitto.find().is_some() {
            let broker = Mosquitto::start(plan.dir.path())?;
            line = Some((Subscriber::connect(broker.address(), "afternoon", "afternoon").await?, broker));
        } else {
            eprintln!("  nothing stands beside these: {}", Peer::Mosquitto.remedy());
        }
        Ok(Self { reader: SerialStream::pair()?, file, line, turns: 0 })
    }

    async fn take_turn(&mut self, way: Way, samples: &mut Samples) -> anyhow::Result<()> {
        let Some((line, _)) = &mut self.line else { return Ok(()) };
        self.turns += 1;
        let text = format!("{{\"turn\":\"{}\",\"data\":\"", self.turns);
        let document = format!("{text}{:x<1$}\"}}", "", DOCUMENT - text.len());
        let begin = Instant::now();
        if let Way::Line = way {
            AsyncWriteExt::write_all(&mut self.reader.0, &[0x5A; FRAME]).await?;
            AsyncReadExt::read_exact(&mut self.reader.1, &mut [0; FRAME]).await?;
        }
        self.file.write_all(document.as_bytes())?;
        self.file.sync_data()?;
        line.publish("afternoon", document.into()).await?;
        samples.push(line.next(&text).await? - begin);
        Ok(())
    }
}
