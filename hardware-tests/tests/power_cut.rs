//! The power goes while the journal works, again and again: what was acknowledged is there, in order and chained, and
//! the next start is clean.
//!
//! ```text
//!   journal-under-test ──► cutfs ──(power goes at a random request)──► what a disk may hold
//!          ▲  │                                                            │
//!          │  └── "recorded ..." ──► witness ◄── opened, verified, compared ┤
//!          └────────────────── the next life begins on it ◄────────────────┘
//! ```
//!
//! Fifty cuts, with `SEGEL_NIGHTLY=1` five hundred; `SEGEL_SEED` repeats one order of things. The control experiment
//! shows that the same cuts catch a writer that syncs less than it promises.

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use libtest_mimic::Arguments;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use segel::journal::JournalReader;
use segel_hardware_tests::{
    cutfs::{Cut, CutFs, Image, Names, Trigger},
    length::{Length, seed},
    peers::{Peer, on_runtime, trial},
    witness::{Found, Life, Said, Talk, Witness},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_journal-under-test");
/// Power cuts in CI and nightly.
const CUTS: Length = Length { ci: 50, nightly: 500 };
/// Power cuts while a journal is being set aside, in CI and nightly.
const ASIDES: Length = Length { ci: 25, nightly: 200 };
/// Setting aside and beginning anew takes some thirty requests that change something.
const ASIDE_REQUESTS: u64 = 30;
/// Most cuts after one another on one journal: it grows with each.
const CHAIN: usize = 12;
/// Bytes of telemetry before the oldest is dropped: some hundred events, so that every life drops some.
const QUOTA: u64 = 60_000;
/// A life that is not cut by its own doing is cut by the clock.
const LIFE: std::ops::Range<u64> = 20..600;
/// Events of one life are numbered from a number no earlier life reached.
const NUMBERS: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("nothing_acknowledged_is_lost_whenever_the_power_goes_and_whatever_the_disk_kept", &[Peer::Fuse], || on_runtime(cuts())),
        trial("a_journal_being_set_aside_when_the_power_goes_is_set_aside_whole_afterwards", &[Peer::Fuse], || on_runtime(asides())),
        trial("the_same_cuts_catch_a_writer_that_syncs_less_than_it_promises", &[Peer::Fuse], || on_runtime(control())),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Where in a life the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// While the journal is being opened, or soon after.
    Opening,
    /// At some request.
    Working,
    /// At a request about the log.
    Log,
    /// At a request about the database file: a checkpoint, mostly.
    Database,
    /// At a request about the mark of the highest numbers.
    Mark,
    /// Whenever the clock says.
    Clock,
}

impl Moment {
    fn any(chance: &mut StdRng) -> Self {
        [Self::Opening, Self::Opening, Self::Working, Self::Working, Self::Log, Self::Database, Self::Mark, Self::Clock]
            [chance.random_range(0..8)]
    }

    fn trigger(self, chance: &mut StdRng) -> Option<Trigger> {
        let (names, most) = match self {
            Self::Opening => (Names::Any, 25),
            Self::Working => (Names::Any, 1_500),
            Self::Log => (Names::EndingIn("-wal"), 300),
            Self::Database => (Names::EndingIn("journal.db"), 60),
            Self::Mark => (Names::Containing("mark"), 6),
            Self::Clock => return None,
        };
        Some(Trigger { after: chance.random_range(1..=most), names })
    }
}

#[derive(Debug, Default)]
struct Tally {
    modes: BTreeMap<Cut, usize>,
    moments: BTreeMap<Moment, usize>,
    /// Cuts after which there was something to keep.
    with_promises: usize,
    in_opening: usize,
    /// Chains that began with a journal of the version before.
    older: usize,
    found: Found,
}

async fn cuts() -> anyhow::Result<()> {
    let seed = seed();
    let wanted = CUTS.now();
    eprintln!("{wanted} power cuts: SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let began = Instant::now();
    while tally.modes.values().sum::<usize>() < wanted {
        let length = chance.random_range(1..=CHAIN).min(wanted - tally.modes.values().sum::<usize>());
        chain(length, &mut chance, &mut tally).await.with_context(|| format!("SEGEL_SEED={seed}, after {tally:?}"))?;
    }
    let Found { held, gone, acknowledged, surplus } = tally.found;
    eprintln!(
        "{wanted} cuts in {} s by what was kept {:?} and by moment {:?}, {} while opening, {} with promises to keep, {} chains from schema 1; \
         {acknowledged} acknowledged events looked for and found ({held} held, {gone} accounted for), {surplus} found besides",
        began.elapsed().as_secs(),
        tally.modes,
        tally.moments,
        tally.in_opening,
        tally.with_promises,
        tally.older
    );
    anyhow::ensure!(tally.with_promises * 2 > wanted, "too many cuts had nothing to lose: {tally:?}");
    anyhow::ensure!(tally.in_opening > 0, "no cut came while the journal was being opened");
    anyhow::ensure!(Cut::ALL.iter().all(|how| tally.modes.contains_key(how)), "not every kind of cut was made");
    Ok(())
}

/// A journal as the version before wrote it: the first life brings it up to this one's schema, or is cut while it does.
fn older() -> anyhow::Result<(Image, Witness)> {
    let dir = tempfile::tempdir()?;
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("frozen/journal-v1.db");
    std::fs::copy(frozen, dir.path().join("journal.db"))?;
    let image = Image::of(dir.path())?;
    Ok((image, Witness::of(dir.path())?))
}

/// Cuts after one another on one journal.
async fn chain(length: usize, chance: &mut StdRng, tally: &mut Tally) -> anyhow::Result<()> {
    let (mut image, mut witness) = if chance.random_ratio(1, 5) || tally.modes.is_empty() { older()? } else { Default::default() };
    tally.older += usize::from(!witness.is_empty());
    for number in 0..length {
        let (how, moment) = (Cut::ALL[chance.random_range(0..Cut::ALL.len())], Moment::any(chance));
        let order = ["work".to_owned(), format!("--seed={}", chance.random::<u64>()), format!("--from={}", (number as u64 + 1) * NUMBERS)];
        let fs = CutFs::mount(&image)?;
        if let Some(trigger) = moment.trigger(chance) {
            fs.arm(trigger);
        }
        let life = Life::begin(PROGRAM, fs.path(), QUOTA, &order)?;
        // Whether the trigger or the clock was first does not matter.
        let _ = fs.wait_for_dark(Duration::from_millis(chance.random_range(LIFE)));
        image = fs.cut(how, chance);
        let ended = life.kill(&mut witness)?;
        drop(fs);

        *tally.modes.entry(how).or_default() += 1;
        *tally.moments.entry(moment).or_default() += 1;
        tally.with_promises += usize::from(!witness.is_empty());
        let last = ended.said.iter().rev().find(|said| matches!(said, Said::Opened(..) | Said::Doing(_)));
        tally.in_opening += usize::from(last.is_none_or(|said| *said == Said::Doing("opening".to_owned())));

        let dir = tempfile::tempdir()?;
        image.lay(dir.path())?;
        let mut judge = witness.clone();
        let context = || format!("cut {number} of a chain, {moment:?}, kept {how}; {}", keep(&image));
        let found = judge.check(dir.path(), QUOTA).await.with_context(context)?;
        tally.found.held += found.held;
        tally.found.gone += found.gone;
        tally.found.acknowledged += found.acknowledged;
        tally.found.surplus += found.surplus;
        // The next life begins on what the cut left, or on what the check made of it.
        if chance.random_bool(0.5) {
            (witness, image) = (judge, Image::of(dir.path())?);
        }
    }
    Ok(())
}

// ---- setting aside ----------------------------------------------------------------------------------------------

/// A condemned journal is opened, and the power goes while it is being set aside: afterwards everything acknowledged is
/// in what was set aside, and a new journal works.
async fn asides() -> anyhow::Result<()> {
    let seed = seed();
    let wanted = ASIDES.now();
    eprintln!("{wanted} power cuts while setting aside: SEGEL_SEED={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let (condemned, promised) = tokio::task::block_in_place(condemned)?;
    let (mut finished, mut before) = (0, 0);
    for number in 0..wanted {
        let how = Cut::ALL[chance.random_range(0..Cut::ALL.len())];
        let fs = CutFs::mount(&condemned)?;
        fs.arm(Trigger { after: chance.random_range(1..=ASIDE_REQUESTS), names: Names::Any });
        let life = Life::begin(PROGRAM, fs.path(), QUOTA, &["work".to_owned(), "--seed=1".to_owned(), "--steps=0".to_owned()])?;
        let _ = fs.wait_for_dark(Duration::from_secs(2));
        let image = fs.cut(how, &mut chance);
        life.kill(&mut Witness::default())?;
        drop(fs);
        before += usize::from(!image.paths().any(|path| path.to_string_lossy().contains("damaged")));
        set_aside_whole(&image, &promised)
            .await
            .with_context(|| format!("SEGEL_SEED={seed}, cut {number}, kept {how}; {}", keep(&image)))?;
        finished += 1;
    }
    eprintln!(
        "{finished} cuts, {before} of them before anything had moved; {} acknowledged events found aside each time",
        promised.count()
    );
    anyhow::ensure!(before < wanted, "no cut came while the journal was being moved");
    Ok(())
}

/// A journal with a log, and the mark that condemns it.
fn condemned() -> anyhow::Result<(Image, Witness)> {
    let dir = tempfile::tempdir()?;
    let mut witness = Witness::default();
    let mut talk = Talk::begin(PROGRAM, dir.path(), QUOTA)?;
    for question in ["open", "append alarm 10 100", "append receipt 10 100", "condemn"] {
        talk.ask(question, &mut witness)?;
    }
    talk.kill()?;
    Ok((Image::of(dir.path())?, witness))
}

async fn set_aside_whole(image: &Image, promised: &Witness) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    image.lay(dir.path())?;
    let mut witness = Witness::default();
    let mut talk = Talk::begin(PROGRAM, dir.path(), QUOTA)?;
    for question in ["open", "append alarm 1 100", "close"] {
        let (_, answer) = talk.ask(question, &mut witness)?;
        anyhow::ensure!(!answer.starts_with("error"), "{question}: {answer}");
    }
    talk.kill()?;
    witness.check(dir.path(), QUOTA).await.context("the new journal")?;
    let aside: Vec<_> =
        std::fs::read_dir(dir.path())?.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    let holds = |path: &&std::path::PathBuf| JournalReader::open(path).is_ok_and(|reader| promised.compare(&reader).is_ok());
    let whole = aside.iter().filter(holds).count();
    anyhow::ensure!(whole == 1, "{whole} of {aside:?} hold what was promised");
    Ok(())
}

/// Keeps what a cut left for whoever looks into it; says where.
fn keep(image: &Image) -> String {
    let kept = tempfile::Builder::new().prefix("segel-power-cut-").tempdir().map(tempfile::TempDir::keep);
    match kept.and_then(|dir| image.lay(&dir).map(|()| dir)) {
        Ok(dir) => format!("the disk after it is in {}", dir.display()),
        Err(fault) => format!("the disk after it could not be kept: {fault}"),
    }
}

// ---- the control ------------------------------------------------------------------------------------------------

/// Rows acknowledged before the power goes, more or less.
const ROWS: u64 = 40;

async fn control() -> anyhow::Result<()> {
    let mut chance = StdRng::seed_from_u64(seed());
    for (synchronous, how, loses) in [
        ("off", Cut::Nothing, true),
        ("normal", Cut::Nothing, true),
        ("full", Cut::Nothing, false),
        ("full", Cut::Pages, false),
        ("full", Cut::Torn, false),
        ("off", Cut::Everything, false),
    ] {
        let (promised, there) = tokio::task::block_in_place(|| plain(synchronous, how, &mut chance))?;
        eprintln!("control: synchronous = {synchronous}, {how} kept: {promised} rows acknowledged, {there} there");
        anyhow::ensure!(promised >= ROWS / 2, "{promised} rows are too few to lose");
        anyhow::ensure!((there < promised) == loses, "synchronous = {synchronous}, {how} kept: {promised} acknowledged, {there} there");
    }
    Ok(())
}

fn plain(synchronous: &str, how: Cut, chance: &mut StdRng) -> anyhow::Result<(u64, u64)> {
    let fs = CutFs::mount(&Image::default())?;
    // A row is one write of a frame at least; all of them are far below a checkpoint.
    fs.arm(Trigger { after: 4 * ROWS + chance.random_range(0..ROWS), names: Names::EndingIn("-wal") });
    let life = Life::begin(PROGRAM, fs.path(), QUOTA, &["plain".to_owned(), format!("--synchronous={synchronous}")])?;
    anyhow::ensure!(fs.wait_for_dark(Duration::from_secs(30)), "it never wrote so much");
    let image = fs.cut(how, chance);
    let ended = life.kill(&mut Witness::default())?;
    drop(fs);
    let promised = ended.said.iter().filter_map(|said| if let Said::Noted(_, number) = said { Some(*number) } else { None }).max();
    let dir = tempfile::tempdir()?;
    image.lay(dir.path())?;
    let connection = rusqlite::Connection::open(dir.path().join("plain.db"))?;
    // Nothing at all may be left of what was never synced, not even the table.
    let there = connection.query_row("SELECT max(number) FROM row", [], |row| row.get::<_, Option<i64>>(0)).ok().flatten();
    Ok((promised.unwrap_or(0), there.unwrap_or(0).cast_unsigned()))
}
