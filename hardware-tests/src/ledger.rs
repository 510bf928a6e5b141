//! What customs has: every event received, by id, and the chain checked from the received bytes alone.

use std::{collections::HashMap, path::Path};

use anyhow::Context;
use segel::{
    event::{
        Class, Seq,
        chain::{ChainCheck, ChainReport},
        document::Head,
    },
    journal::JournalReader,
};

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
    /// Takes in one received message; what is no event (a state) is passed over.
    ///
    /// # Errors
    /// When an event's document cannot be read.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<()> {
        if !topic.contains("/ev/") {
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
}
