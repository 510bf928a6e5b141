//! Random work: everything a gate asks of its journal, in any order.

use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use segel::{
    event::{Class, Seq},
    journal::{Entry, Journal, Note},
};
use segel_hardware_tests::witness::{NOTES, OUTLETS, Said, draft};

use super::Place;

/// Largest text in an event, in bytes: some documents spill over a page, most do not.
const SIZE_MAX: usize = 6_000;
/// Most events in one call or in flight.
const BUNCH: u64 = 20;
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
}

/// Works until the steps are done.
pub(super) async fn run(place: &Place, order: &Order) -> anyhow::Result<()> {
    let mut worker = Worker { chance: StdRng::seed_from_u64(order.seed), made: order.from, size: order.size, journal: place.open()? };
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
    journal: Journal,
}

impl Worker {
    async fn step(&mut self, place: &Place) -> anyhow::Result<()> {
        match self.chance.random_range(0..100) {
            0..40 => self.one().await,
            40..60 => self.pipelined().await?,
            60..75 => self.together().await,
            75..80 => {
                let number = self.next();
                self.journal.keep(vec![Note::keep(NOTES, "alone", number.to_string())]).await?;
            }
            80..95 => self.confirm(),
            95..99 => tokio::time::sleep(std::time::Duration::from_millis(self.chance.random_range(0..5))).await,
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

    async fn reopen(&mut self, place: &Place) -> anyhow::Result<()> {
        Said::Doing("closing".to_owned()).say();
        self.journal.close().await?;
        self.journal = place.open()?;
        Said::Doing("working".to_owned()).say();
        Ok(())
    }
}
