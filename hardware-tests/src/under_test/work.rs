//! Random work: everything a gate asks of its journal, in any order.

use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use segel::{
    event::{Class, Digest, Seq},
    journal::{Entry, Journal, Note, Segment},
};
use segel_hardware_tests::witness::{NOTES, OUTLETS, Said, draft};

use super::Place;

/// Largest text in an event, in bytes: some documents spill over a page, most do not.
const SIZE_MAX: usize = 6_000;
/// Most events in one call or in flight.
const BUNCH: u64 = 20;
/// Most events in one segment.
const SEGMENT_MAX: usize = 400;
/// Longest wait for upkeep.
const UPKEEP: std::time::Duration = std::time::Duration::from_secs(2);
/// Different notes.
const KEYS: u64 = 5;

/// How much work.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// What is done comes from this.
    #[arg(long)]
    seed: u64,
    /// Steps before it closes the journal and ends.
    #[arg(long, default_value_t = u64::MAX)]
    steps: u64,
    /// Events are numbered from here, so that the notes of later lives are above those of earlier ones.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Largest text in an event, in bytes.
    #[arg(long, default_value_t = SIZE_MAX)]
    size: usize,
    /// So many steps of a hundred put events into the archive or give pages back, beside the usual.
    #[arg(long, default_value_t = 0)]
    archiving: u32,
    /// So many steps of a hundred close the journal and open it again, beside the usual.
    #[arg(long, default_value_t = 0)]
    reopening: u32,
}

/// Works until the steps are done.
pub(super) async fn run(place: &Place, order: &Order) -> anyhow::Result<()> {
    let mut worker = Worker {
        chance: StdRng::seed_from_u64(order.seed),
        made: order.from,
        size: order.size,
        archiving: order.archiving,
        reopening: order.reopening,
        journal: place.open()?,
    };
    Said::Doing("working".to_owned()).say();
    for _ in 0..order.steps {
        worker.step(place).await?;
    }
    Said::Doing("closing".to_owned()).say();
    worker.journal.close().await?;
    Ok(())
}

struct Worker {
    chance: StdRng,
    /// Events made so far.
    made: u64,
    size: usize,
    archiving: u32,
    reopening: u32,
    journal: Journal,
}

impl Worker {
    async fn step(&mut self, place: &Place) -> anyhow::Result<()> {
        if self.chance.random_range(0..100) < self.reopening {
            return self.reopen(place).await;
        }
        if self.chance.random_range(0..100) < self.archiving {
            self.put_away().await?;
            if self.chance.random_ratio(1, 3) {
                self.give_back().await?;
            }
            return Ok(());
        }
        match self.chance.random_range(0..100) {
            0..40 => self.one().await,
            40..60 => self.pipelined().await?,
            60..75 => self.together().await,
            75..80 => {
                let number = self.next();
                self.journal.keep(vec![Note::keep(NOTES, "alone", number.to_string())]).await?;
            }
            80..90 => self.confirm(),
            90..93 => self.put_away().await?,
            93 => self.give_back().await?,
            94..99 => tokio::time::sleep(std::time::Duration::from_millis(self.chance.random_range(0..5))).await,
            _ => self.reopen(place).await?,
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn entry(&mut self) -> Entry {
        let class = Class::ALL[[0, 1, 2, 2, 2][self.chance.random_range(0..5_usize)]];
        // Most are small, as in life.
        let most = if self.chance.random_ratio(1, 12) { self.size } else { self.size.min(300) };
        let size = self.chance.random_range(0..=most);
        let draft = draft(class, self.next(), size);
        Said::Trying(class, draft.id).say();
        Entry::new(draft)
    }

    /// One event, waited for, sometimes with a note.
    async fn one(&mut self) {
        let mut entry = self.entry();
        let note = self.chance.random_ratio(1, 2).then(|| (format!("k{}", self.chance.random_range(0..KEYS)), self.made));
        if let Some((key, number)) = &note {
            entry = entry.with(Note::keep(NOTES, key.clone(), number.to_string()));
        }
        let (class, id) = (entry.draft.class, entry.draft.id);
        match self.journal.append(entry).await {
            Ok(recorded) => {
                Said::Recorded(recorded).say();
                if let Some((key, number)) = note {
                    Said::Noted(key, number).say();
                }
            }
            Err(error) => super::refused(class, id, &error),
        }
    }

    /// Several events in flight at once, each acknowledged as it is.
    async fn pipelined(&mut self) -> anyhow::Result<()> {
        let mut waiting = Vec::new();
        for _ in 0..self.chance.random_range(1..=BUNCH) {
            let entry = self.entry();
            let (class, id) = (entry.draft.class, entry.draft.id);
            let ticket = self.journal.submit(entry).await?;
            waiting.push(tokio::spawn(async move {
                match ticket.await {
                    Ok(recorded) => Said::Recorded(recorded).say(),
                    Err(error) => super::refused(class, id, &error),
                }
            }));
        }
        for task in waiting {
            task.await?;
        }
        Ok(())
    }

    /// Several events in one transaction.
    async fn together(&mut self) {
        let entries: Vec<_> = (0..self.chance.random_range(1..=BUNCH / 2)).map(|_| self.entry()).collect();
        let tried: Vec<_> = entries.iter().map(|entry| (entry.draft.class, entry.draft.id)).collect();
        match self.journal.append_all(entries).await {
            Ok(all) => all.into_iter().for_each(|recorded| Said::Recorded(recorded).say()),
            Err(error) => tried.into_iter().for_each(|(class, id)| super::refused(class, id, &error)),
        }
    }

    /// An outlet has delivered some more.
    fn confirm(&mut self) {
        let heads = *self.journal.heads().borrow();
        let class = Class::ALL[self.chance.random_range(0..Class::ALL.len())];
        let outlet = &OUTLETS[self.chance.random_range(0..OUTLETS.len())];
        self.journal.advance(outlet, class, Seq(self.chance.random_range(0..=heads.of(class).0)));
    }

    /// The oldest part of a class is in the archive: its rows go.
    async fn put_away(&mut self) -> anyhow::Result<()> {
        Said::Doing("putting-away".to_owned()).say();
        let reader = self.journal.reader()?;
        let class = Class::ALL[self.chance.random_range(0..Class::ALL.len())];
        let front = reader.front(class)?.last;
        let away = reader.segments(class)?.last().map_or(front, |segment| segment.last.max(front));
        let most = self.chance.random_range(1..=SEGMENT_MAX);
        let records = reader.after(class, away, most, usize::MAX)?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let segment = Segment {
            class,
            first: first.seq,
            last: last.seq,
            count: records.len() as u64,
            bytes: records.iter().map(|record| record.doc.len() as u64).sum(),
            digest: Digest::of(&last.doc),
            name: format!("{class}-{}-{}", first.seq, last.seq),
            manifest: Digest::of(b"a manifest"),
            place: "/an/archive".to_owned(),
        };
        // The journal writes this word on its own account once it seals segments itself; here it is any receipt.
        let draft = draft(Class::Receipt, self.next(), 50);
        let id = draft.id;
        Said::Trying(Class::Receipt, id).say();
        Said::PuttingAway(class, last.seq).say();
        match self.journal.put_away(segment, Entry::new(draft)).await {
            Ok(recorded) => {
                Said::PutAway(class, last.seq).say();
                Said::Recorded(recorded).say();
                Said::Doing("trimming".to_owned()).say();
            }
            Err(error) => super::refused(Class::Receipt, id, &error),
        }
        Ok(())
    }

    /// Everything that is put away goes now, and the pages it leaves.
    async fn give_back(&mut self) -> anyhow::Result<()> {
        Said::Doing("vacuuming".to_owned()).say();
        self.journal.hurry_upkeep().await?;
        let mut standing = self.journal.standing();
        // On a disk without power it never ends.
        let _ = tokio::time::timeout(UPKEEP, standing.wait_for(|standing| !standing.upkeep.hurried)).await;
        Said::Doing("working".to_owned()).say();
        Ok(())
    }

    async fn reopen(&mut self, place: &Place) -> anyhow::Result<()> {
        Said::Doing("closing".to_owned()).say();
        self.journal.close().await?;
        self.journal = place.open()?;
        Said::Doing("working".to_owned()).say();
        Ok(())
    }
}
