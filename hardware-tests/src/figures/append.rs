//! What a durable append costs beside the least it can cost: the same bytes at the end of a bare file and `fdatasync`.
//!
//! The two take turns, one append or one group each, so that whatever else the machine does falls on both. What is
//! timed begins with the event made and ends when it is on disk; on the side of the journal that holds the document,
//! its digest, two indexes and the way to the writer's thread and back.

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use segel::{
    event::{Digest, Draft, JournalId, Seq, document},
    journal::{Entry, Journal},
};

use super::{
    Plan,
    events::{self, Events},
    sample::{Samples, middle, ms, per_second, rate},
    table::Row,
};

/// Single appends on each side.
const SINGLE: usize = 2_000;
/// The ratio of the middles is taken in so many blocks and the middle one counts, for a disk that others use for a while
/// must not decide.
const BLOCKS: usize = 10;
/// Events in the groups on each side, for every size of group.
const GROUPED: usize = 40_000;
/// At most this much slower than the bare file, in the middle.
const TARGET: f64 = 1.3;

/// A file that is only ever appended to.
pub(super) struct Bare(File);

impl Bare {
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> std::io::Result<Duration> {
        let begin = Instant::now();
        self.0.write_all(bytes)?;
        self.0.sync_data()?;
        Ok(begin.elapsed())
    }
}

/// The rows of this part.
pub(super) async fn run(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    on(plan, &plan.dir.path().join("append"), Events::new(), &[64, 256]).await
}

/// The same on the journal in this directory, whatever is in it, with these events, in groups of these sizes.
pub(super) async fn on(plan: &Plan, dir: &Path, events: Events, groups: &[usize]) -> anyhow::Result<Vec<Row>> {
    let mut bench = Bench::open(dir, &plan.dir.path().join("bare"), events)?;
    let mut rows = bench.single(plan.of(SINGLE)).await?;
    for size in groups {
        rows.push(bench.grouped(*size, plan.of(GROUPED) / size).await?);
    }
    bench.journal.close().await?;
    Ok(rows)
}

/// A journal and a bare file, and events for both.
pub(super) struct Bench {
    source: segel::event::Source,
    id: JournalId,
    pub(super) events: Events,
    pub(super) bare: Bare,
    pub(super) journal: Journal,
}

impl Bench {
    /// The journal in `dir` is gone on with, the bare file begun or gone on with.
    pub(super) fn open(dir: &Path, bare: &Path, events: Events) -> anyhow::Result<Self> {
        let (journal, opening) = events::open(dir)?;
        Ok(Self { source: events::source()?, id: opening.journal, events, bare: Bare::new(bare)?, journal })
    }

    /// The bytes the journal will write for this draft, but for the digits of its number.
    pub(super) fn bytes(&self, draft: &Draft) -> Vec<u8> {
        document::write(draft, &self.source, self.id, Seq(1_000), &Digest::ZERO)
    }

    async fn single(&mut self, many: usize) -> anyhow::Result<Vec<Row>> {
        let (mut ours, mut bare, mut ratios) = (Samples::default(), Samples::default(), Vec::new());
        for _ in 0..BLOCKS {
            let (mut our_block, mut bare_block) = (Samples::default(), Samples::default());
            for _ in 0..many / BLOCKS {
                let draft = self.events.alarm()?;
                let bytes = self.bytes(&draft);
                let begin = Instant::now();
                self.journal.append(Entry::new(draft)).await?;
                our_block.push(begin.elapsed());
                bare_block.push(self.bare.append(&bytes)?);
            }
            ratios.push(our_block.median().as_secs_f64() / bare_block.median().as_secs_f64());
            ours.extend(our_block);
            bare.extend(bare_block);
        }
        let row = |percent: usize, ratio: f64| {
            let (ours, bare) = (ours.percentile(percent), bare.percentile(percent));
            let what = if percent == 100 { "longest".to_owned() } else { format!("p{percent}") };
            Row::new(format!("one durable append, {what}"), ms(ours)).beside(format!("{} bare file + fdatasync", ms(bare)), ratio)
        };
        let ratio = middle(ratios);
        let of = |percent| ours.percentile(percent).as_secs_f64() / bare.percentile(percent).as_secs_f64();
        let median = row(50, ratio).aims(format!("at most {TARGET} x"), ratio <= TARGET);
        Ok(vec![median, row(99, of(99)), row(100, of(100))])
    }

    async fn grouped(&mut self, size: usize, groups: usize) -> anyhow::Result<Row> {
        let groups = groups.max(3);
        let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..groups {
            let drafts = (0..size).map(|_| self.events.tag()).collect::<anyhow::Result<Vec<_>>>()?;
            let bytes = drafts.iter().flat_map(|draft| self.bytes(draft)).collect::<Vec<_>>();
            let begin = Instant::now();
            let mut tickets = Vec::with_capacity(size);
            for draft in drafts {
                tickets.push(self.journal.submit(Entry::new(draft)).await?);
            }
            for ticket in tickets {
                ticket.await?;
            }
            ours += begin.elapsed();
            bare += self.bare.append(&bytes)?;
        }
        let (ours, bare) = (rate(groups * size, ours), rate(groups * size, bare));
        Ok(Row::new(format!("durable appends, {size} in flight"), per_second(ours))
            .beside(format!("{} bare file, one fdatasync a group", per_second(bare)), ours / bare))
    }
}
