//! Remembers what a journal promised and looks afterwards whether it kept it.
//!
//! What must hold, whatever happened to the machine in between:
//!
//! - the journal opens, goes on under its own identity, and is whole by its own verification;
//! - every event that was acknowledged is there under its number with its digest, or its number lies in what a `GAP`
//!   or an archive segment accounts for; alarms and receipts are never dropped;
//! - nothing is there that nobody tried to record, and no event is there twice;
//! - a note that became durable with an acknowledged event is not older than that;
//! - numbers go on where they ended, and the next opening is clean.
//!
//! An event that was tried and not acknowledged may be there or not: both are honest.

mod life;
mod said;
mod talk;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use segel::{
    event::{Assurance, BootId, Class, ClockQuality, Draft, EventType, JournalId, Seq, Source, Stamp, Subject},
    journal::{Beginning, Entry, Journal, JournalConfig, JournalError, JournalReader, Opening, Outlet, Recorded},
};
use uuid::Uuid;

pub use self::{
    life::{Ended, Life},
    said::Said,
    talk::Talk,
};

/// The outlets of the journal under test.
pub const OUTLETS: [Outlet; 2] = [Outlet::named("broker"), Outlet::named("uplink")];
/// The kind of the notes it keeps.
pub const NOTES: &str = "work";
/// Room it keeps for alarms and receipts, in bytes.
pub const RESERVE_BYTES: u64 = 1024 * 1024;
/// Longest between a fork and its exec on a busy machine.
const LOCK_PASSES: Duration = Duration::from_secs(2);
/// Longest that upkeep of these small journals takes on a busy machine.
const UPKEEP: Duration = Duration::from_secs(30);
/// Records read at a time.
const PAGE: usize = 256;
/// Bytes read at a time.
const PAGE_BYTES: usize = 1 << 20;
/// The clock of the events made here starts at this millisecond; the wall clock of the machine plays no part.
const EPOCH_MS: i64 = 1_795_000_000_000;
/// Words of events that the journal records on its own.
const OWN_WORDS: [&str; 2] = ["GAP", "ARCHIVED"];

/// The gate whose journal is under test.
///
/// # Panics
/// Never: the names are good.
#[must_use]
pub fn source() -> Source {
    Source::new("idsrg", "g01").expect("these are good names")
}

/// How the journal under test is set up: groups close soon, telemetry is dropped early.
#[must_use]
pub fn config(telemetry_quota_bytes: u64) -> JournalConfig {
    let group_wait = Duration::from_millis(3);
    JournalConfig { group_wait, group_events: 16, telemetry_quota_bytes, reserve_bytes: RESERVE_BYTES, ..JournalConfig::default() }
}

/// The `n`th event of somebody, of at least `size` bytes.
///
/// # Panics
/// When `size` is beyond what an event may hold.
#[must_use]
pub fn draft(class: Class, n: u64, size: usize) -> Draft {
    let kind = match class {
        Class::Alarm => EventType::ForcedOpen,
        Class::Receipt => EventType::CommandReceived,
        Class::Telemetry => EventType::DeviceStatus,
    };
    let stamp = Stamp {
        wall: jiff::Timestamp::from_millisecond(EPOCH_MS + n.cast_signed()).expect("within the next centuries"),
        monotonic_ms: 1_000 + n,
        boot: BootId(Uuid::from_u128(0xB007)),
        clock: ClockQuality::Ntp,
    };
    // Numbers that are far apart lie in far leaves of the index, as those of real seals do.
    let subject: Subject = format!("seal/JT-{:05}", n.wrapping_mul(7_919) % 99_991).parse().expect("a good subject");
    let body = serde_json::json!({ "n": n, "text": "x".repeat(size) });
    Draft::new(class, kind, subject, stamp, Assurance::Claim, &body).expect("a small object")
}

/// What a check found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Events held.
    pub held: u64,
    /// Events accounted for that are not held any more.
    pub gone: u64,
    /// Acknowledged events, held or accounted for.
    pub acknowledged: u64,
    /// Events there that were never acknowledged.
    pub surplus: u64,
}

/// What one journal has promised over all its lives.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    /// Its identity, once it was told.
    journal: Option<JournalId>,
    promised: [BTreeMap<Seq, Recorded>; Class::ALL.len()],
    tried: HashSet<Uuid>,
    notes: HashMap<String, u64>,
    /// Ends of segments that were tried and not acknowledged: they may be there or not.
    putting_away: [Seq; Class::ALL.len()],
    put_away: [Seq; Class::ALL.len()],
}

impl Witness {
    /// Everything in a journal that was written by somebody else, taken as promised.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(dir: &Path) -> anyhow::Result<Self> {
        let reader = JournalReader::open(dir)?;
        let mut witness = Self { journal: Some(reader.journal()), ..Self::default() };
        for class in Class::ALL {
            reader.each(*class, |record| {
                let (class, seq, id) = (*class, record.seq, record.id);
                witness.tried.insert(id);
                let digest = segel::event::Digest::of(&record.doc);
                witness.promised[class as usize].insert(seq, Recorded { class, seq, id, digest });
            })?;
        }
        for note in reader.notes(NOTES)? {
            witness.notes.insert(note.key, number_in(&note.value));
        }
        Ok(witness)
    }

    /// Takes in one thing said.
    ///
    /// # Errors
    /// When a promise contradicts an earlier one: a number given twice.
    pub fn hear(&mut self, said: &Said) -> anyhow::Result<()> {
        match said {
            Said::Opened(_, journal) if self.is_empty() => self.journal = Some(*journal),
            Said::Opened(how, journal) => {
                anyhow::ensure!(self.journal == Some(*journal), "{how}: another journal, with {} events promised", self.count());
            }
            Said::Trying(_, id) => drop(self.tried.insert(*id)),
            Said::Recorded(recorded) => {
                let before = self.promised[recorded.class as usize].insert(recorded.seq, *recorded);
                anyhow::ensure!(before.is_none_or(|b| b == *recorded), "{} {} was given twice", recorded.class, recorded.seq);
            }
            Said::Noted(key, number) => {
                let known = self.notes.entry(key.clone()).or_default();
                *known = (*known).max(*number);
            }
            Said::PuttingAway(class, last) => raise(&mut self.putting_away[*class as usize], *last),
            Said::PutAway(class, last) => raise(&mut self.put_away[*class as usize], *last),
            Said::Refused(..) | Said::Doing(_) | Said::Answer(_) => {}
        }
        Ok(())
    }

    /// Takes in all that a process says until it is gone. A last line that was cut off says nothing.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn listen(&mut self, from: impl Read) -> anyhow::Result<Vec<Said>> {
        let mut all = Vec::new();
        let mut lines = BufReader::new(from);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            if line.ends_with('\n') {
                let said: Said = line.trim_end().parse()?;
                self.hear(&said)?;
                all.push(said);
            }
            line.clear();
        }
        Ok(all)
    }

    /// Whether nothing was promised yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.promised.iter().all(BTreeMap::is_empty)
    }

    /// Events promised.
    #[must_use]
    pub fn count(&self) -> usize {
        self.promised.iter().map(BTreeMap::len).sum()
    }

    /// Opens the journal in `dir` after whatever happened, looks whether it kept its promises, lets it go on by one
    /// event of each class, and opens it once more. What it promises in this is remembered too.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub async fn check(&mut self, dir: &Path, quota: u64) -> anyhow::Result<Found> {
        let (journal, opening) = Journal::open(dir, config(quota), source()).context("it does not open")?;
        let may_begin = self.is_empty();
        match &opening.beginning {
            Beginning::Resumed => {}
            Beginning::Fresh if may_begin => {}
            other => anyhow::bail!("it does not go on: {other:?}, with {} events promised", self.count()),
        }
        self.hear(&Said::Opened("check".to_owned(), opening.journal))?;
        settled(&journal).await?;
        let found = self.compare(&journal.reader()?)?;
        for class in Class::ALL {
            let draft = draft(*class, 1, 20);
            self.tried.insert(draft.id);
            let recorded = journal.append(Entry::new(draft)).await.context("it does not go on")?;
            anyhow::ensure!(recorded.seq > opening.heads.of(*class), "{class} {} was given before", recorded.seq);
            self.hear(&Said::Recorded(recorded))?;
        }
        journal.close().await.context("it does not close")?;

        let (journal, opening) = open_again(dir, quota).await.context("it does not open again")?;
        anyhow::ensure!(opening.beginning == Beginning::Resumed, "the second opening is not clean: {:?}", opening.beginning);
        settled(&journal).await?;
        self.compare(&journal.reader()?).context("after it went on")?;
        journal.close().await?;
        Ok(found)
    }

    /// Compares what is there with what was promised.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn compare(&self, reader: &JournalReader) -> anyhow::Result<Found> {
        let verified = reader.verify(|_| {})?;
        anyhow::ensure!(verified.is_good(), "what is there is not whole: {verified:#?}");
        let mut found = Found::default();
        let mut seen = HashSet::new();
        for class in Class::ALL {
            self.compare_class(reader, *class, &mut found, &mut seen)?;
        }
        for (key, number) in &self.notes {
            let there = reader.note(NOTES, key)?.map_or(0, |value| number_in(&value));
            anyhow::ensure!(there >= *number, "the note {key} is {there} and {number} was promised with an event");
        }
        for totals in reader.totals()? {
            let sum = totals.held + totals.archived + totals.dropped;
            anyhow::ensure!(totals.recorded == sum, "the totals do not add up: {totals:?}");
            anyhow::ensure!(totals.class == Class::Telemetry || totals.dropped == 0, "dropped: {totals:?}");
        }
        for outlet in &OUTLETS {
            for account in reader.accounts(outlet)?.iter() {
                let sum = account.delivered + account.pending + account.dropped;
                anyhow::ensure!(account.recorded == sum, "the accounts of {outlet} do not add up: {account:?}");
            }
        }
        Ok(found)
    }

    fn compare_class(&self, reader: &JournalReader, class: Class, found: &mut Found, seen: &mut HashSet<Uuid>) -> anyhow::Result<()> {
        let mut there = BTreeMap::new();
        let mut after = Seq::NONE;
        loop {
            let records = reader.after(class, after, PAGE, PAGE_BYTES)?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in records {
                anyhow::ensure!(seen.insert(record.id), "{class} {} is there twice: {}", record.seq, record.id);
                let own = OWN_WORDS.contains(&record.kind.as_str());
                anyhow::ensure!(own || self.tried.contains(&record.id), "{class} {} is there and nobody tried it", record.seq);
                if !own && !self.promised[class as usize].contains_key(&record.seq) {
                    found.surplus += 1;
                }
                there.insert(record.seq, (record.id, segel::event::Digest::of(&record.doc)));
            }
        }
        let away = self.away(reader, class)?;
        let front = reader.front(class)?.last;
        let first = there.keys().next().copied().unwrap_or(front.next());
        anyhow::ensure!(first == front.next(), "{class} begins at {first} and is accounted for up to {front}");
        for (seq, promised) in &self.promised[class as usize] {
            if *seq <= front {
                anyhow::ensure!(class == Class::Telemetry || *seq <= away, "{class} {seq} was promised and is gone");
                found.gone += 1;
            } else {
                let held = there.get(seq);
                anyhow::ensure!(
                    held == Some(&(promised.id, promised.digest)),
                    "{class} {seq} was promised as {promised:?}, there is {held:?}"
                );
            }
            found.acknowledged += 1;
        }
        found.held += there.len() as u64;
        Ok(())
    }

    /// The last number of a class that an archive segment accounts for.
    fn away(&self, reader: &JournalReader, class: Class) -> anyhow::Result<Seq> {
        let there = reader.segments(class)?.last().map_or(Seq::NONE, |segment| segment.last);
        let (promised, tried) = (self.put_away[class as usize], self.putting_away[class as usize]);
        anyhow::ensure!(
            there >= promised,
            "{class} events up to {promised} were promised to be in the archive, the record ends at {there}"
        );
        anyhow::ensure!(there <= tried.max(promised), "{class} events up to {there} are recorded as archived and nobody tried that");
        Ok(there)
    }
}

/// Opens a journal that this process has just closed. A process that another test starts at this moment holds the lock
/// for an instant: between its fork and its exec it has all that is open here.
async fn open_again(dir: &Path, quota: u64) -> Result<(Journal, Opening), JournalError> {
    let deadline = tokio::time::Instant::now() + LOCK_PASSES;
    loop {
        match Journal::open(dir, config(quota), source()) {
            Err(JournalError::InUse { .. }) if tokio::time::Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(5)).await,
            other => return other,
        }
    }
}

/// Lets upkeep end, so that nothing leaves while it is being compared.
async fn settled(journal: &Journal) -> anyhow::Result<()> {
    journal.hurry_upkeep().await?;
    let mut standing = journal.standing();
    tokio::time::timeout(UPKEEP, standing.wait_for(|standing| !standing.upkeep.hurried)).await.context("upkeep does not end")??;
    Ok(())
}

fn raise(known: &mut Seq, to: Seq) {
    *known = (*known).max(to);
}

/// The number a note of the journal under test holds.
fn number_in(value: &[u8]) -> u64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}
