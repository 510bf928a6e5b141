//! The books of the gate against what customs received, from customs' bytes alone and then against the gate's disk.

use std::{collections::HashMap, fmt, path::Path};

use segel_mqtt_bridge::sim::Received;
use sha2::{Digest as _, Sha256};

use crate::{
    event::{
        Class, Seq,
        chain::{ChainCheck, ChainReport},
        document::Head,
    },
    forward::UPLINK,
    journal::{Accounts, JournalReader},
};

/// What the comparison found.
#[derive(Debug)]
pub(super) struct Verdict {
    accounts: Accounts,
    chain: ChainReport,
    /// Per class: different events received, repeats of them.
    received: HashMap<Class, (u64, u64)>,
    /// Per class: events on disk that customs does not have, byte for byte.
    missing: HashMap<Class, u64>,
    /// Events that came again under the same id with other bytes.
    altered: u64,
    /// Events of a class that came before an earlier one of the same class, in what came after the line returned.
    disordered: u64,
}

/// Compares what customs received with what is on the gate's disk. `returned` is where the line returned.
pub(super) fn compare(state_dir: &Path, received: &[Received], returned: usize) -> anyhow::Result<Verdict> {
    let mut chain = ChainCheck::new();
    let mut digests: HashMap<String, [u8; 32]> = HashMap::new();
    let mut counts: HashMap<Class, (u64, u64)> = HashMap::new();
    let mut altered = 0;
    for message in received.iter().filter(|m| m.topic.contains("/ev/")) {
        chain.feed(&message.payload)?;
        let head = Head::parse(&message.payload)?;
        let digest: [u8; 32] = Sha256::digest(&message.payload).into();
        let count = counts.entry(head.class).or_default();
        match digests.insert(head.id.to_string(), digest) {
            None => count.0 += 1,
            Some(before) => {
                count.1 += 1;
                altered += u64::from(before != digest);
            }
        }
    }
    let reader = JournalReader::open(state_dir)?;
    let accounts = reader.accounts(&UPLINK)?;
    let mut missing = HashMap::new();
    for class in Class::ALL {
        missing.insert(*class, missing_at_customs(&reader, *class, &digests)?);
    }
    let disordered = disordered(&received[returned..])?;
    Ok(Verdict { accounts, chain: chain.finish(), received: counts, missing, altered, disordered })
}

fn missing_at_customs(reader: &JournalReader, class: Class, received: &HashMap<String, [u8; 32]>) -> anyhow::Result<u64> {
    let mut missing = 0;
    reader.each(class, |record| {
        let digest: [u8; 32] = Sha256::digest(&record.doc).into();
        missing += u64::from(received.get(&record.id.to_string()) != Some(&digest));
    })?;
    Ok(missing)
}

/// Within a class and a connection events come in the order of their numbers.
fn disordered(received: &[Received]) -> anyhow::Result<u64> {
    let mut last: HashMap<(u64, Class), Seq> = HashMap::new();
    let mut disordered = 0;
    for message in received.iter().filter(|m| m.topic.contains("/ev/")) {
        let head = Head::parse(&message.payload)?;
        let before = last.insert((message.connection, head.class), head.seq);
        disordered += u64::from(before.is_some_and(|before| head.seq <= before));
    }
    Ok(disordered)
}

impl Verdict {
    /// Whether everything holds.
    pub(super) fn holds(&self) -> bool {
        self.faults().is_empty()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for account in self.accounts.iter() {
            let (class, name) = (account.class, account.class.as_str());
            let received = self.received.get(&class).map_or(0, |(distinct, _)| *distinct);
            if account.recorded != account.delivered + account.pending + account.dropped {
                faults.push(format!("{name}: the accounts do not add up"));
            }
            if account.pending != 0 || account.dropped != 0 || received != account.recorded {
                faults.push(format!("{name}: {} recorded and {received} at customs", account.recorded));
            }
            if self.missing.get(&class).is_none_or(|missing| *missing != 0) {
                faults.push(format!("{name}: customs lacks events that are on the gate's disk"));
            }
        }
        if self.altered != 0 {
            faults.push(format!("{} events came again with other bytes", self.altered));
        }
        if self.disordered != 0 {
            faults.push(format!("{} events came out of order", self.disordered));
        }
        if !self.chain.is_whole() {
            faults.push("the chain does not verify from what customs received".to_owned());
        }
        if !self.received.contains_key(&Class::Alarm) {
            faults.push("no alarm reached customs".to_owned());
        }
        faults
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        let row = |f: &mut fmt::Formatter<'_>, cells: [&str; 7]| {
            let [class, rest @ ..] = cells;
            write!(f, "  {class:<10}")?;
            rest.iter().try_for_each(|cell| write!(f, " {cell:>10}"))?;
            writeln!(f)
        };
        row(f, ["class", "recorded", "delivered", "pending", "dropped", "at customs", "repeats"])?;
        for account in self.accounts.iter() {
            let (distinct, repeats) = self.received.get(&account.class).copied().unwrap_or_default();
            let numbers = [account.recorded, account.delivered, account.pending, account.dropped, distinct, repeats].map(|n| n.to_string());
            let [a, b, c, d, e, g] = &numbers;
            row(f, [account.class.as_str(), a, b, c, d, e, g])?;
        }
        writeln!(f)?;
        let chains = self.chain.chains.len();
        match self.faults().as_slice() {
            [] => {
                writeln!(f, "  The chain verifies from customs' bytes alone ({chains} chains, no hole, no break),")?;
                writeln!(f, "  and every event on the gate's disk is at customs, byte for byte. Repeats carry the same id and bytes.")
            }
            faults => faults.iter().try_for_each(|fault| writeln!(f, "  NOT GOOD: {fault}")),
        }
    }
}
