//! The technician's part: a seal is put on, locked over a connection, read, and hands over its log.
//!
//! The seal speaks the segel open seal protocol; what the gate and it say to each other is real, the radio is simulated.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use segel_drivers::{MacAddress, SealId, codec::bthome::SealKey, sim::EmulatedAir, sim::lock::segel_v1::SegelLock};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Order, Ordered, order},
    sessions::{End, Errand, Line},
};

/// The seal the technician has in his hand.
const NUMBER: &str = "SGL-2001";
/// The container it is for.
pub(super) const CONTAINER: &str = "TGHU3077030";
const ADDRESS: MacAddress = MacAddress([0xA4, 0xC1, 0x38, 0x5E, 0x20, 0x01]);
/// An order takes a second; a busy machine may take a few more.
const WITHIN: Duration = Duration::from_secs(30);

/// A seal that can be connected to.
#[derive(Debug)]
pub(super) struct HandSeal {
    seal: Arc<Mutex<SegelLock>>,
    key: [u8; 16],
}

impl HandSeal {
    /// The seal, standing in this air.
    pub(super) fn stand_in(air: &EmulatedAir) -> Self {
        let key = *b"demo key, 16 byt";
        // Another log with each demo: its numbers begin anew, and no gate has seen them.
        let log = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.subsec_nanos()).max(1);
        let seal = Arc::new(Mutex::new(SegelLock::new(ADDRESS, NUMBER, SealKey::new(key), log)));
        air.add(&seal);
        Self { seal, key }
    }

    /// Its table in the register.
    pub(super) fn register(&self) -> String {
        let key: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "\n[[seal]]\nid = \"{NUMBER}\"\naddress = \"{ADDRESS}\"\nprotocol = \"segel\"\nkey = \"{key}\"\ncontainer = \"{CONTAINER}\"\n"
        )
    }

    /// Lets it advertise once.
    pub(super) fn advertise(&self, air: &EmulatedAir) -> std::io::Result<()> {
        air.advertise(ADDRESS).map(drop)
    }

    /// How often its motor has closed it, and how many entries its log holds.
    pub(super) fn closings_and_log(&self) -> (u32, usize) {
        use segel_drivers::sim::SimLock as _;
        let seal = self.seal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (seal.closings(), seal.held().len())
    }
}

/// Asks the gate for something of the seal; how it ended, and the way there in a line.
pub(super) async fn ask(run_dir: &Path, errand: Errand) -> anyhow::Result<(End, String)> {
    let seal: SealId = NUMBER.parse()?;
    let asked = Order { seal, errand, within: WITHIN };
    let mut stages: Vec<String> = Vec::new();
    let nobody = CancellationToken::new();
    let ended = order(run_dir, &asked, &nobody, |line| {
        if let Line::Progress(progress) = line {
            stages.push(progress.to_string());
        }
    });
    let ended = ended.await?;
    let way = format!("segel seal {NUMBER} {}: {}", errand.as_str(), stages.join(", "));
    match ended {
        Ordered::Ended(end) => Ok((end, way)),
        Ordered::GoesOn { command } => anyhow::bail!("{command} goes on although nobody called it off"),
        Ordered::Left => anyhow::bail!("it was left although nobody said so"),
    }
}
