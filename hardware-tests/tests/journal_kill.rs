//! The journal is killed at random moments, again and again: while it is opened, brought up from an older schema,
//! appends, puts events into the archive, deletes them, gives pages back and closes. Nothing acknowledged is lost, and
//! the next start is clean.
//!
//! Fifty kills, with `SEGEL_NIGHTLY=1` five hundred; `SEGEL_SEED` repeats one order of things, as far as the moments of
//! a clock can be repeated. What a kill leaves is what the kernel has; what a power cut leaves is in `power_cut`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use libtest_mimic::{Arguments, Trial};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use segel_hardware_tests::{
    cutfs::Image,
    length::{Length, seed},
    peers::on_runtime,
    witness::{Found, Life, Said, Witness},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_journal-under-test");
/// Kills in CI and nightly.
const KILLS: Length = Length { ci: 50, nightly: 500 };
/// Most kills after one another on one journal.
const CHAIN: usize = 10;
/// Bytes of telemetry before the oldest is dropped.
const QUOTA: u64 = 60_000;
/// A life that is killed while it opens lives at most so much longer than one that only opens, in parts of ten.
const OPENING_TENTHS: u32 = 13;
/// Longest that one takes on a busy machine.
const OPENS: Duration = Duration::from_secs(20);
/// The others live so long, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 30..500;
/// Events of one life are numbered from a number no earlier life reached.
const NUMBERS: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![Trial::test("nothing_acknowledged_is_lost_whenever_the_journal_is_killed", || on_runtime(kills()))];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What a life is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Opening,
    Reopening,
    Working,
    Archiving,
}

impl Purpose {
    fn any(chance: &mut StdRng) -> Self {
        [Self::Opening, Self::Opening, Self::Reopening, Self::Working, Self::Working, Self::Archiving, Self::Archiving, Self::Archiving]
            [chance.random_range(0..8)]
    }

    fn arguments(self) -> Vec<String> {
        match self {
            Self::Opening | Self::Working => vec![],
            Self::Reopening => vec!["--reopening=30".to_owned()],
            Self::Archiving => vec!["--archiving=40".to_owned(), "--size=3000".to_owned()],
        }
    }

    fn life(self, opens: Duration, chance: &mut StdRng) -> Duration {
        match self {
            Self::Opening => (opens * OPENING_TENTHS / 10).mul_f64(chance.random()),
            _ => Duration::from_millis(chance.random_range(LIFE_MS)),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// By what it was at when it was killed.
    phases: BTreeMap<String, usize>,
    /// Killed while it opened a journal of schema 1.
    migrating: usize,
    /// Journals of schema 1 that were found grown afterwards.
    migrated: usize,
    with_promises: usize,
    found: Found,
}

impl Tally {
    fn kills(&self) -> usize {
        self.phases.values().sum()
    }
}

async fn kills() -> anyhow::Result<()> {
    let seed = seed();
    let wanted = KILLS.now();
    eprintln!("{wanted} kills: SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let began = Instant::now();
    while tally.kills() < wanted {
        let length = chance.random_range(1..=CHAIN).min(wanted - tally.kills());
        chain(length, &mut chance, &mut tally).await.with_context(|| format!("SEGEL_SEED={seed}, after {tally:?}"))?;
    }
    let Found { held, gone, acknowledged, surplus } = tally.found;
    eprintln!(
        "{wanted} kills in {} s by phase {:?}, {} with schema 1 before them ({} found brought up), {} with promises to keep; \
         {acknowledged} acknowledged events looked for and found ({held} held, {gone} accounted for), {surplus} found besides",
        began.elapsed().as_secs(),
        tally.phases,
        tally.migrating,
        tally.migrated,
        tally.with_promises
    );
    anyhow::ensure!(tally.with_promises * 2 > wanted, "too many kills had nothing to lose");
    for phase in ["opening", "working", "trimming"] {
        anyhow::ensure!(tally.phases.contains_key(phase), "no kill came while it was {phase}");
    }
    anyhow::ensure!(tally.migrating > 0, "no kill came while a journal of schema 1 was being opened");
    Ok(())
}

/// The journal that the version before wrote.
fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("frozen/journal-v1.db")
}

/// How long a life takes now that opens the older journal, brings it up and ends.
fn time_to_open() -> anyhow::Result<Duration> {
    let dir = tempfile::tempdir()?;
    std::fs::copy(frozen(), dir.path().join("journal.db"))?;
    let began = Instant::now();
    let life = Life::begin(PROGRAM, dir.path(), QUOTA, &["work".to_owned(), "--seed=1".to_owned(), "--steps=0".to_owned()])?;
    let ended = life.wait(OPENS, &mut Witness::of(dir.path())?)?;
    anyhow::ensure!(ended.status.success(), "it does not open: {}", ended.complaints);
    Ok(began.elapsed())
}

/// Kills after one another on one journal; every third chain begins with one of schema 1.
async fn chain(length: usize, chance: &mut StdRng, tally: &mut Tally) -> anyhow::Result<()> {
    let opens = tokio::task::block_in_place(time_to_open)?;
    let mut dir = tempfile::tempdir()?;
    let mut witness = Witness::default();
    let old = chance.random_ratio(1, 3) || tally.kills() == 0;
    if old {
        std::fs::copy(frozen(), dir.path().join("journal.db"))?;
        witness = Witness::of(dir.path())?;
    }
    for number in 0..length {
        let was_old = is_version_1(dir.path());
        let purpose = if was_old { Purpose::Opening } else { Purpose::any(chance) };
        let mut order =
            vec!["work".to_owned(), format!("--seed={}", chance.random::<u64>()), format!("--from={}", (number as u64 + 1) * NUMBERS)];
        order.extend(purpose.arguments());
        let life = Life::begin(PROGRAM, dir.path(), QUOTA, &order)?;
        tokio::time::sleep(purpose.life(opens, chance)).await;
        let ended = life.kill(&mut witness)?;
        anyhow::ensure!(ended.status.code().is_none(), "it ended by itself before it was killed: {}: {}", ended.status, ended.complaints);

        let last = ended.said.iter().rev().find_map(|said| if let Said::Doing(what) = said { Some(what.clone()) } else { None });
        *tally.phases.entry(last.unwrap_or_else(|| "starting".to_owned())).or_default() += 1;
        tally.migrating += usize::from(was_old);
        tally.migrated += usize::from(was_old && !is_version_1(dir.path()));
        tally.with_promises += usize::from(!witness.is_empty());

        // Looked at in a copy, so that the next life may find what the kill left.
        let copy = tempfile::tempdir()?;
        Image::of(dir.path())?.lay(copy.path())?;
        let mut judge = witness.clone();
        let found = match judge.check(copy.path(), QUOTA).await {
            Ok(found) => found,
            Err(fault) => {
                let (left, checked) = (dir.keep(), copy.keep());
                return Err(fault.context(format!(
                    "kill {number} of a chain, {purpose:?}; what it left is in {}, what the check made of it in {}",
                    left.display(),
                    checked.display()
                )));
            }
        };
        tally.found.held += found.held;
        tally.found.gone += found.gone;
        tally.found.acknowledged += found.acknowledged;
        tally.found.surplus += found.surplus;
        if chance.random_bool(0.5) {
            (witness, dir) = (judge, copy);
        }
    }
    Ok(())
}

/// Whether the file is still as the version before wrote it: the number in its header, without opening it.
fn is_version_1(dir: &Path) -> bool {
    let version = std::fs::read(dir.join("journal.db")).ok().and_then(|bytes| bytes.get(60..64).map(<[u8]>::to_vec));
    // What is in the log only does not count: then it is still to be brought up, or has been; both are wanted.
    version.as_deref() == Some(&[0, 0, 0, 1])
}
