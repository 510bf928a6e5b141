//! What customs has: every event received, by id, and the chain checked from the received bytes alone.

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use segel::{
    event::{
        Class, Seq,
        chain::{ChainCheck, ChainReport},
        document::Head,
    },
    forward::UPLINK,
    journal::JournalReader,
};
use segel_mqtt_bridge::sim::Received;

/// Records read at a time.
const PAGE: usize = 512;
/// Bytes read at a time.
const PAGE_BYTES: usize = 1 << 20;

/// Customs' books.
#[derive(Debug, Default)]
pub struct Ledger {
    documents: HashMap<String, Vec<u8>>,
    chain: ChainCheck,
    /// Events that came again with the same bytes.
    pub repeats: u64,
    /// Events that came again under the same id with other bytes.
    pub forged: u64,
}

impl Ledger {
    /// The books of all these messages.
    ///
    /// # Errors
    /// When an event's document cannot be read.
    pub fn of(received: &[Received]) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        received.iter().try_for_each(|message| ledger.take(&message.topic, &message.payload))?;
        Ok(ledger)
    }

    /// Takes in one received message; what is no event (a state) is passed over.
    ///
    /// # Errors
    /// When an event's document cannot be read.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        if !is_event(topic) {
            return Ok(());
        }
        let id = Head::parse(payload)?.id.to_string();
        self.chain.feed(payload)?;
        match self.documents.insert(id, payload.to_vec()) {
            None => {}
            Some(before) if before == payload => self.repeats += 1,
            Some(_) => self.forged += 1,
        }
        Ok(())
    }

    /// Different events received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether nothing was received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Whether this event is here with these bytes.
    #[must_use]
    pub fn holds(&self, id: &str, document: &[u8]) -> bool {
        self.documents.get(id).is_some_and(|held| held == document)
    }

    /// The chain as far as received.
    #[must_use]
    pub fn chain(self) -> ChainReport {
        self.chain.finish()
    }

    /// Compares with the gate's disk in both directions: how many events are there, and a fault for the first that is
    /// on one side only.
    ///
    /// # Errors
    /// When an event is on one side only, or differs.
    pub fn same_as(&self, state_dir: &Path) -> anyhow::Result<usize> {
        let reader = JournalReader::open(state_dir)?;
        let mut on_disk = 0;
        for class in Class::ALL {
            let mut after = Seq::NONE;
            loop {
                let records = reader.after(*class, after, PAGE, PAGE_BYTES)?;
                let Some(last) = records.last() else { break };
                after = last.seq;
                for record in &records {
                    let held = self.documents.get(&record.id.to_string());
                    let held =
                        held.with_context(|| format!("{} {} {} is on the gate's disk and not at customs", record.kind, class, record.seq))?;
                    anyhow::ensure!(*held == record.doc, "{} {} {} differs between the gate and customs", record.kind, class, record.seq);
                    on_disk += 1;
                }
            }
        }
        anyhow::ensure!(on_disk == self.documents.len(), "customs has {} events, the gate's disk {on_disk}", self.documents.len());
        Ok(on_disk)
    }

    /// Everything that must hold once the gate has been stopped with nothing left to send: the same events on both
    /// sides byte for byte, no second form of any, accounts that add up with nothing pending or dropped, and a chain
    /// that is whole from the received bytes alone. How many events there are.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn balance(self, state_dir: &Path) -> anyhow::Result<usize> {
        let count = self.same_as(state_dir)?;
        anyhow::ensure!(self.forged == 0, "{} events came again with other bytes", self.forged);
        let mut recorded = 0;
        for account in JournalReader::open(state_dir)?.accounts(&UPLINK)?.iter() {
            anyhow::ensure!(account.recorded == account.delivered + account.pending + account.dropped, "does not add up: {account:?}");
            anyhow::ensure!(account.pending == 0 && account.dropped == 0, "not everything is delivered: {account:?}");
            recorded += account.recorded;
        }
        anyhow::ensure!(recorded == count as u64, "the accounts have {recorded} events and the disk {count}");
        let repeats = self.repeats;
        let chain = self.chain();
        anyhow::ensure!(chain.is_whole(), "the chain is not whole from what customs received: {chain:?}");
        let linked: u64 = chain.chains.iter().map(|chain| chain.count).sum();
        anyhow::ensure!(linked == recorded, "the chains have {linked} different events, {recorded} were recorded");
        let counted: u64 = chain.chains.iter().map(|chain| chain.duplicates + chain.unchecked).sum();
        anyhow::ensure!(counted == repeats, "the chains have {counted} repeats, the ledger {repeats}");
        Ok(count)
    }
}

/// Whether messages of this topic are events.
#[must_use]
pub fn is_event(topic: &str) -> bool {
    topic.contains("/ev/")
}

/// The documents of all events of one kind, named as in the topic (`forced-open`), in the order they came.
///
/// # Panics
/// When one is no JSON: no gate of ours sends such.
#[must_use]
pub fn events(received: &[Received], kind: &str) -> Vec<serde_json::Value> {
    let of_kind = received.iter().filter(|m| m.topic.split_once("/ev/").is_some_and(|(_, tail)| tail == kind));
    of_kind.map(|m| serde_json::from_slice(&m.payload).expect("every event is JSON")).collect()
}
