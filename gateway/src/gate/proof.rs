//! Proves, slowly and again and again, that what is on disk is what was written.
//!
//! ```text
//!   after the start, then every journal.proof_every_h:
//!     structure (quick_check, if it can be done in a moment) ─► row by row: digest, link, row against document, holes
//!       damaged, delivered already      JOURNAL_DAMAGED, and on we go: customs has the bytes (or nobody is to have them)
//!       damaged, not delivered, or the  the journal is condemned: the gate ends, and its next start sets it aside and
//!       structure itself                carries over what can be read
//! ```
//!
//! What must hold: a finding is told once, not once a day, and a flood of them is counted; nothing is condemned before a
//! second look over a new connection found the same; no read is long enough to keep the log from being given back.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    archive::Counting,
    clock::Clock,
    event::{Assurance, Class, Draft, EventType, Seq, Subject},
    forward::UPLINK,
    journal::{Entry, Flaw, Journal, JournalError, JournalReader, Legacy, Note, Proving, Structure},
};

/// The first proof begins so long after the start, when the rush is over.
const FIRST_AFTER: Duration = Duration::from_secs(20);
/// Rows looked at in one piece: a few milliseconds.
pub(crate) const PIECE: usize = 128;
/// Pause between two pieces; ten million events take some two hours and a tenth of one core.
const PAUSE: Duration = Duration::from_millis(100);
/// The structure is checked by one long read; longer than this it is left to the rows. Meanwhile the log grows by what is
/// recorded in this time.
pub(crate) const STRUCTURE_WITHIN: Duration = Duration::from_secs(3);
/// Findings told one by one; beyond it they are counted.
pub(crate) const TOLD_MAX: usize = 20;
/// The kind of the notes that say which findings were told.
const TOLD_NOTE: &str = Legacy::NOT_INHERITED;
/// The key of the note that says how many more there were.
const MORE: &str = "more";

/// The particulars of `JOURNAL_DAMAGED`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Damaged<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<String>,
    what: &'a str,
    /// Whether customs had it before it was damaged.
    delivered: bool,
    /// Findings beyond those told one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
}

/// How a proof ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The journal can go on.
    GoesOn,
    /// It was condemned.
    Condemned,
}

/// The task that proves.
#[derive(Debug)]
pub(crate) struct Proof {
    journal: Journal,
    clock: Clock,
    counting: Counting,
    every: Duration,
}

/// What was told before, and what this walk found beyond it.
#[derive(Debug, Default)]
struct Told {
    keys: BTreeSet<String>,
    more: u64,
    found_more: u64,
}

impl Proof {
    /// A proof every so often; `every` of zero means never.
    pub(crate) const fn new(journal: Journal, clock: Clock, counting: Counting, every: Duration) -> Self {
        Self { journal, clock, counting, every }
    }

    /// Proves until told to stop, or until the journal is condemned.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if self.every.is_zero() {
            tracing::info!("journal.proof_every_h is 0: damage on disk is found only when it is met");
            return;
        }
        tokio::select! {
            () = self.again_and_again() => {}
            () = stop.cancelled() => {}
        }
    }

    async fn again_and_again(&self) {
        sleep(FIRST_AFTER).await;
        loop {
            let begun = Instant::now();
            match self.once(PAUSE).await {
                Ok(Verdict::GoesOn) => {}
                Ok(Verdict::Condemned) | Err(JournalError::Closed) => return,
                Err(fault) => tracing::warn!(%fault, "the journal could not be proved; it is tried again in its turn"),
            }
            sleep_until(begun + self.every).await;
        }
    }

    /// One proof of everything.
    async fn once(&self, pause: Duration) -> Result<Verdict, JournalError> {
        match self.structure().await {
            Ok(Structure::Well) => {}
            Ok(Structure::TooLarge) => tracing::debug!("the journal is too large for a look at its structure; its rows are looked at"),
            Ok(Structure::Broken(flaw)) => return Ok(self.condemn(flaw)),
            Err(fault) if fault.is_damage() => return Ok(self.give_up(&fault)),
            Err(fault) => return Err(fault),
        }
        let mut told = self.told().await?;
        let (mut proving, mut rows) = (Proving::new(), 0);
        loop {
            let step = self.reading(move |reader| {
                let step = proving.step(reader, PIECE);
                Ok((proving, step))
            });
            let (back, step) = step.await?;
            proving = back;
            let step = match step {
                Ok(Some(step)) => step,
                Ok(None) => break,
                Err(fault) if fault.is_damage() => return self.second_look(&fault).await,
                Err(fault) => return Err(fault),
            };
            rows += step.rows;
            for flaw in step.flaws {
                if self.on_flaw(flaw, &mut told).await? == Verdict::Condemned {
                    return Ok(Verdict::Condemned);
                }
            }
            sleep(pause).await;
        }
        self.tell_more(&told).await?;
        tracing::debug!(rows, "every row of the journal was held against what was written");
        Ok(Verdict::GoesOn)
    }

    async fn structure(&self) -> Result<Structure, JournalError> {
        let journal = self.journal.clone();
        let look = move || {
            let first = journal.reader()?.structure(STRUCTURE_WITHIN);
            let suspicious = first.as_ref().map_or_else(JournalError::is_damage, |said| matches!(said, Structure::Broken(_)));
            if suspicious { journal.reader()?.structure(STRUCTURE_WITHIN) } else { first }
        };
        tokio::task::spawn_blocking(look).await.expect("reading rows does not panic")
    }

    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&JournalReader) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = self.journal.clone();
        // A connection for each piece holds nothing open in between, not even memory.
        tokio::task::spawn_blocking(move || read(&journal.reader()?)).await.expect("reading rows and JSON does not panic")
    }

    /// The walk met something that cannot be read: is it so when everything is read anew?
    async fn second_look(&self, fault: &JournalError) -> Result<Verdict, JournalError> {
        let again = self.reading(|reader| {
            let mut proving = Proving::new();
            while proving.step(reader, PIECE)?.is_some() {}
            Ok(())
        });
        match again.await {
            Err(again) if again.is_damage() => Ok(self.give_up(&again)),
            Err(other) => Err(other),
            Ok(()) => {
                tracing::warn!(%fault, "the journal could not be read for a moment, and now it can; look at this machine's memory");
                Ok(Verdict::GoesOn)
            }
        }
    }

    fn give_up(&self, fault: &JournalError) -> Verdict {
        self.journal.look_at(fault);
        Verdict::Condemned
    }

    fn condemn(&self, flaw: Flaw) -> Verdict {
        self.journal.condemn_for(flaw);
        Verdict::Condemned
    }

    async fn on_flaw(&self, flaw: Flaw, told: &mut Told) -> Result<Verdict, JournalError> {
        let Some((class, seq)) = flaw.place else { return Ok(self.condemn(flaw)) };
        if !self.is_still_there(class, seq).await? {
            return Ok(Verdict::GoesOn);
        }
        if let Some(undelivered) = self.undelivered(flaw.clone(), class, seq).await? {
            return Ok(self.condemn(undelivered));
        }
        let key = format!("{class}/{seq}");
        if told.keys.contains(&key) {
            return Ok(Verdict::GoesOn);
        }
        if told.keys.len() >= TOLD_MAX {
            told.found_more += 1;
            return Ok(Verdict::GoesOn);
        }
        tracing::error!(class = class.as_str(), seq = seq.0, what = flaw.what, "an event is not what was written any more");
        let note = Note::keep(TOLD_NOTE, key.clone(), flaw.what.clone());
        self.journal.append(Entry::new(alarm(&self.clock, &flaw, self.delivered(), None)).with(note)).await?;
        told.keys.insert(key);
        Ok(Verdict::GoesOn)
    }

    /// What of this flaw customs should still get: it itself, or the end of a hole that began before the cursor. A gate
    /// that reports to nobody owes nothing.
    async fn undelivered(&self, flaw: Flaw, class: Class, seq: Seq) -> Result<Option<Flaw>, JournalError> {
        if self.counting == Counting::Nobody {
            return Ok(None);
        }
        let look = move |reader: &JournalReader| {
            let cursor = reader.cursor(&UPLINK, class)?;
            if seq > cursor {
                return Ok(Some(flaw));
            }
            Ok(reader.proven_after(class, cursor, Seq::NONE, 1, usize::MAX)?.1)
        };
        self.reading(look).await
    }

    const fn delivered(&self) -> Delivered {
        match self.counting {
            Counting::Uplink => Delivered::Yes,
            Counting::Nobody => Delivered::No,
        }
    }

    /// Whether a new connection sees the same: what was dropped meanwhile, or misread, is no damage.
    async fn is_still_there(&self, class: Class, seq: Seq) -> Result<bool, JournalError> {
        match self.reading(move |reader| reader.is_flawed(class, seq)).await {
            Ok(flawed) => Ok(flawed),
            Err(fault) if fault.is_damage() => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    async fn told(&self) -> Result<Told, JournalError> {
        let notes = self.reading(|reader| reader.notes(TOLD_NOTE)).await?;
        let mut told = Told::default();
        for note in notes {
            if note.key == MORE {
                told.more = std::str::from_utf8(&note.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
            } else {
                told.keys.insert(note.key);
            }
        }
        Ok(told)
    }

    async fn tell_more(&self, told: &Told) -> Result<(), JournalError> {
        if told.found_more == 0 || told.found_more == told.more {
            return Ok(());
        }
        let flaw = Flaw { place: None, what: format!("{} more events are not what was written", told.found_more) };
        let note = Note::keep(TOLD_NOTE, MORE, told.found_more.to_string());
        let draft = alarm(&self.clock, &flaw, self.delivered(), Some(told.found_more));
        self.journal.append(Entry::new(draft).with(note)).await.map(drop)
    }
}

/// Whether customs had an event before it was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It had.
    Yes,
    /// It had not, or nobody knows.
    No,
}

/// The alarm that says what was found.
pub(crate) fn alarm(clock: &Clock, flaw: &Flaw, delivered: Delivered, more: Option<u64>) -> Draft {
    let (class, seq) = flaw.place.unzip();
    let seq = seq.map(|seq| seq.to_string());
    let body = Damaged { class, seq, what: &flaw.what, delivered: delivered == Delivered::Yes, more };
    Draft::new(Class::Alarm, EventType::JournalDamaged, Subject::gateway(), clock.now(), Assurance::Own, &body)
        .expect("a class, a number and a sentence are a small object")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::event::Source;
    use crate::journal::{Beginning, JournalConfig, Opening};

    fn open(dir: &Path, quota: u64) -> (Proof, Opening) {
        open_for(dir, quota, Counting::Uplink)
    }

    fn open_for(dir: &Path, quota: u64, counting: Counting) -> (Proof, Opening) {
        let config = JournalConfig { telemetry_quota_bytes: quota, ..JournalConfig::default() };
        let (journal, opening) = Journal::open(dir, config, Source::new("idsrg", "g01").unwrap()).unwrap();
        (Proof::new(journal, Clock::new(Duration::from_secs(1), None), counting, Duration::from_secs(1)), opening)
    }

    async fn record(proof: &Proof, class: Class, count: u64) {
        for n in 0..count {
            let body = serde_json::json!({ "n": n });
            let draft = Draft::new(class, EventType::ForcedOpen, Subject::gateway(), proof.clock.now(), Assurance::Own, &body).unwrap();
            proof.journal.append(Entry::new(draft).at_once()).await.unwrap();
        }
    }

    /// Everything of the alarms so far is delivered, as far as the journal knows.
    async fn deliver(proof: &Proof, upto: Seq) {
        proof.journal.advance(&UPLINK, Class::Alarm, upto);
        record(proof, Class::Receipt, 1).await;
        assert_eq!(proof.journal.reader().unwrap().cursor(&UPLINK, Class::Alarm).unwrap(), upto);
    }

    fn falsify(dir: &Path, from: i64, to: i64) {
        let tool = rusqlite::Connection::open(dir.join("journal.db")).unwrap();
        tool.execute("UPDATE event SET doc = CAST('{}' AS BLOB) WHERE class = 0 AND seq BETWEEN ?1 AND ?2", [from, to]).unwrap();
    }

    fn told(proof: &Proof) -> Vec<serde_json::Value> {
        let mut told = Vec::new();
        let take = |record: &crate::journal::Record| {
            if record.kind == "JOURNAL_DAMAGED" {
                told.push(serde_json::from_slice::<serde_json::Value>(&record.doc).unwrap()["data"].clone());
            }
        };
        proof.journal.reader().unwrap().each(Class::Alarm, take).unwrap();
        told
    }

    #[tokio::test]
    async fn a_sound_journal_is_proved_without_a_word_also_while_it_drops_and_records() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), 20_000);
        record(&proof, Class::Alarm, 30).await;
        record(&proof, Class::Telemetry, 60).await;
        let mut proving = Proving::new();
        let mut rows = 0;
        while let Some(step) = proving.step(&proof.journal.reader().unwrap(), 7).unwrap() {
            assert_eq!(step.flaws, []);
            rows += step.rows;
            if rows < 400 {
                record(&proof, Class::Telemetry, 20).await;
            }
        }
        assert!(rows > 100, "{rows}");
        assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::GoesOn);
        assert!(told(&proof).is_empty());
    }

    #[tokio::test]
    async fn a_damaged_event_that_was_delivered_is_told_once_and_a_flood_of_them_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), u64::MAX);
        record(&proof, Class::Alarm, 200).await;
        deliver(&proof, Seq(200)).await;
        falsify(dir.path(), 40, 40);
        for _ in 0..2 {
            assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::GoesOn);
            let told = told(&proof);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((&told[0]["class"], &told[0]["seq"], &told[0]["delivered"]), (&"alarm".into(), &"40".into(), &true.into()));
        }
        falsify(dir.path(), 100, 149);
        for _ in 0..2 {
            assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::GoesOn);
            let told = told(&proof);
            assert_eq!(told.len(), TOLD_MAX + 1, "{told:?}");
            assert_eq!(told[TOLD_MAX]["more"], 31, "{told:?}");
        }
    }

    #[tokio::test]
    async fn a_damaged_event_that_was_not_delivered_condemns_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), u64::MAX);
        record(&proof, Class::Alarm, 20).await;
        deliver(&proof, Seq(10)).await;
        falsify(dir.path(), 11, 11);
        assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::Condemned);
        assert_eq!(proof.journal.condemned().await.place, Some((Class::Alarm, Seq(11))));
        proof.journal.close().await.unwrap();
        let (_, opening) = open(dir.path(), u64::MAX);
        let Beginning::SetAside { reason, .. } = opening.beginning else { panic!("{:?}", opening.beginning) };
        assert!(reason.starts_with("its alarm 11 is damaged"), "{reason}");
    }

    #[tokio::test]
    async fn a_row_that_is_gone_out_of_order_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), u64::MAX);
        record(&proof, Class::Alarm, 20).await;
        let tool = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        tool.execute("DELETE FROM event WHERE class = 0 AND seq = 5", []).unwrap();
        drop(tool);
        assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::Condemned);
        assert!(proof.journal.condemned().await.what.contains("the numbers from 5 to 5 are missing"));
    }

    #[tokio::test]
    async fn a_hole_that_reaches_beyond_what_is_delivered_condemns_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), u64::MAX);
        record(&proof, Class::Alarm, 20).await;
        deliver(&proof, Seq(7)).await;
        let tool = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        tool.execute("DELETE FROM event WHERE class = 0 AND seq BETWEEN 5 AND 9", []).unwrap();
        drop(tool);
        assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::Condemned);
        assert_eq!(proof.journal.condemned().await.place, Some((Class::Alarm, Seq(8))));
    }

    #[tokio::test]
    async fn a_gate_that_reports_to_nobody_tells_of_damage_once_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open_for(dir.path(), u64::MAX, Counting::Nobody);
        record(&proof, Class::Alarm, 20).await;
        falsify(dir.path(), 11, 11);
        for _ in 0..2 {
            assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::GoesOn);
            let told = told(&proof);
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((&told[0]["seq"], &told[0]["delivered"]), (&"11".into(), &false.into()));
        }
    }

    #[tokio::test]
    async fn a_tree_that_is_broken_condemns_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (proof, _) = open(dir.path(), u64::MAX);
        record(&proof, Class::Alarm, 200).await;
        proof.journal.close().await.unwrap();
        let path = dir.path().join("journal.db");
        let tool = rusqlite::Connection::open(&path).unwrap();
        let root: u32 = tool.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'event_subject'", [], |row| row.get(0)).unwrap();
        drop(tool);
        let (proof, opening) = open(dir.path(), u64::MAX);
        assert_eq!(opening.beginning, Beginning::Resumed);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(root as usize - 1) * 4096..root as usize * 4096].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(proof.once(Duration::ZERO).await.unwrap(), Verdict::Condemned);
        assert_eq!(proof.journal.condemned().await.place, None);
    }
}
