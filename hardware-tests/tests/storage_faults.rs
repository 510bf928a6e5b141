//! The disk is full, fails, is read-only, lies, is locked or damaged under an open journal: each fault has its answer
//! with a remedy, nothing is acknowledged that is not on disk, nothing acknowledged vanishes, nothing crashes, and when
//! the fault is over everything goes on by itself with the same handle. A damaged journal is the exception: it is
//! condemned, and the next opening sets it aside whole.
//!
//! At the end of each the power goes with nothing kept that was not synced, which is the hardest judge of what was
//! acknowledged.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use libtest_mimic::{Arguments, Trial};
use rand::{SeedableRng as _, rngs::StdRng};
use segel::event::Class;
use segel_hardware_tests::{
    cutfs::{Cut, CutFs, Fault, Image, Names},
    peers::{Peer, on_runtime, trial},
    rig::{PATIENCE, Rig, RigConfig, recorded},
    witness::{RESERVE_BYTES, Said, Talk, Witness},
};

const JOURNAL: &str = env!("CARGO_BIN_EXE_journal-under-test");
const GATE: &str = env!("CARGO_BIN_EXE_gate-under-test");
/// Telemetry is not dropped here.
const QUOTA: u64 = 1 << 30;
/// Most reports until a disk without room is found to be full: a log of the journal has four megabytes.
const MORE: usize = 1_500;
/// What a fault is about when the process is to live through it: see [`Names::NotEndingIn`].
const NOT_THE_INDEX: Names = Names::NotEndingIn("-shm");

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let fuse = |name: &str, test: fn() -> anyhow::Result<()>| {
        trial(name, &[Peer::Fuse], move || on_runtime(async move { tokio::task::block_in_place(test) }))
    };
    let plain = |name: &str, test: fn() -> anyhow::Result<()>| {
        Trial::test(name, move || on_runtime(async move { tokio::task::block_in_place(test) }))
    };
    let trials = vec![
        fuse("a_full_disk_refuses_telemetry_first_and_records_alarms_into_the_reserve", full),
        fuse("a_disk_that_cannot_be_written_is_said_to_be_and_the_same_handle_goes_on", || passes(&Fault::Write(NOT_THE_INDEX), "Storage")),
        fuse("a_disk_that_became_read_only_is_said_to_be_and_the_same_handle_goes_on", || passes(&Fault::ReadOnly, "Storage")),
        fuse("a_disk_that_cannot_flush_acknowledges_nothing_and_the_same_handle_goes_on", || passes(&Fault::Sync(Names::Any), "Storage")),
        fuse("a_page_that_cannot_be_read_counts_as_damage_and_the_same_handle_goes_on_when_it_can", unreadable),
        fuse("an_event_found_after_a_crash_is_durable_before_anybody_sees_it", seen_is_durable),
        fuse("an_ambiguous_commit_is_answered_once_and_only_when_it_is_durable", ambiguous),
        fuse("a_database_that_cannot_be_opened_is_left_alone_and_resumed_later", cannot_open),
        plain("a_journal_that_another_program_locks_says_so_and_goes_on", busy),
        plain("a_journal_damaged_under_the_open_handle_is_condemned_and_set_aside_whole", damaged),
        trial("a_whole_gate_lives_through_a_full_and_a_failing_disk_and_says_why", &[Peer::Fuse], || on_runtime(gate())),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A journal on a disk that can fail.
struct Bench {
    // The process goes before its disk.
    talk: Talk,
    fs: CutFs,
    witness: Witness,
}

impl Bench {
    fn on(image: &Image) -> anyhow::Result<Self> {
        let fs = CutFs::mount(image)?;
        let talk = Talk::begin(JOURNAL, fs.path(), QUOTA)?;
        let mut bench = Self { talk, fs, witness: Witness::default() };
        bench.opens()?;
        Ok(bench)
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<(Vec<Said>, String)> {
        self.talk.ask(question, &mut self.witness)
    }

    fn opens(&mut self) -> anyhow::Result<()> {
        let (_, answer) = self.ask("open")?;
        anyhow::ensure!(answer == "opened", "{answer}");
        Ok(())
    }

    /// Asks for appends that must all be recorded.
    fn records(&mut self, question: &str) -> anyhow::Result<()> {
        let (said, answer) = self.ask(question)?;
        anyhow::ensure!(answer == "0 refused", "{question}: {said:?}");
        Ok(())
    }

    /// Asks for appends that must all be refused with this error.
    fn refuses(&mut self, question: &str, error: &str) -> anyhow::Result<()> {
        let (said, answer) = self.ask(question)?;
        let refused: Vec<_> =
            said.iter().filter_map(|said| if let Said::Refused(_, _, error) = said { Some(error.as_str()) } else { None }).collect();
        anyhow::ensure!(!refused.is_empty() && refused.iter().all(|name| *name == error), "{question}: {answer}, {said:?}");
        anyhow::ensure!(!said.iter().any(|said| matches!(said, Said::Recorded(_))), "{question} was acknowledged: {said:?}");
        Ok(())
    }

    fn standing(&mut self, wanted: &str) -> anyhow::Result<String> {
        self.talk
            .until("standing", &mut self.witness, |answer| wanted.split(' ').all(|word| answer.contains(word)))
            .with_context(|| format!("waiting for {wanted}"))
    }

    /// The power goes, nothing is kept that was not synced, and everything acknowledged is there.
    fn cut_and_check(mut self) -> anyhow::Result<()> {
        let image = self.fs.cut(Cut::Nothing, &mut StdRng::seed_from_u64(1));
        self.talk.kill()?;
        let dir = tempfile::tempdir()?;
        image.lay(dir.path())?;
        let found = check(&mut self.witness, dir.path())?;
        anyhow::ensure!(found > 0, "nothing was acknowledged in this test");
        eprintln!("  {found} acknowledged events found after the power went; {} requests had failed", self.fs.counts().failed);
        Ok(())
    }
}

fn check(witness: &mut Witness, dir: &Path) -> anyhow::Result<u64> {
    tokio::runtime::Handle::current().block_on(witness.check(dir, QUOTA)).map(|found| found.acknowledged)
}

// ---- full -------------------------------------------------------------------------------------------------------

fn full() -> anyhow::Result<()> {
    let mut bench = Bench::on(&Image::default())?;
    bench.records("append telemetry 20 200")?;
    bench.standing("reserve=Held room=Plenty vouches=yes")?;
    bench.fs.begin(Fault::Full { bytes: bench.fs.used() + 32 * 1024 });

    // Telemetry fills what is left; then it is what is refused, and it is counted.
    let (said, _) = bench.ask("append telemetry 60 1000")?;
    let refused = said.iter().filter(|said| matches!(said, Said::Refused(_, _, error) if error == "NoRoom")).count();
    anyhow::ensure!(refused > 0, "the disk is full and nothing was refused: {said:?}");
    anyhow::ensure!(said.iter().all(|said| !matches!(said, Said::Refused(_, _, error) if error != "NoRoom")), "{said:?}");
    bench.standing("reserve=Spent room=Scarce refusing=nothing vouches=yes")?;
    bench.refuses("append telemetry 1 10", "NoRoom")?;

    // Alarms and receipts go into the room that was kept for them.
    bench.records_in_reserve()?;

    // When that is full too, nothing is acknowledged and no receipt is promised.
    let mut alarms = 0;
    loop {
        let (said, _) = bench.ask("append alarm 1 12000")?;
        if let Some(Said::Refused(_, _, error)) = said.iter().find(|said| matches!(said, Said::Refused(..))) {
            anyhow::ensure!(error == "DiskFull", "{error}");
            break;
        }
        alarms += 1;
        anyhow::ensure!(alarms * 12_000 < RESERVE_BYTES, "the reserve holds more than it is large");
    }
    let standing = bench.standing("refusing=DiskFull vouches=no")?;
    anyhow::ensure!(standing.contains("could not prove"), "{standing}");
    bench.refuses("append receipt 1 10", "DiskFull")?;

    // Room returns: everything goes on by itself, and the reserve is there again.
    bench.fs.heal();
    bench.standing("refusing=nothing reserve=Held room=Plenty vouches=yes")?;
    bench.records("retry")?;
    bench.records("append telemetry 5 100")?;
    bench.cut_and_check()
}

impl Bench {
    fn records_in_reserve(&mut self) -> anyhow::Result<()> {
        let (_, before) = self.ask("append telemetry 0 0")?;
        for question in ["append alarm 5 200", "append receipt 5 200", "together telemetry,alarm,receipt"] {
            let (said, answer) = self.ask(question)?;
            anyhow::ensure!(answer == before, "{question}: {said:?}");
        }
        Ok(())
    }
}

// ---- failing ----------------------------------------------------------------------------------------------------

/// A fault that passes: the error while it lasts, everything as before when it is over.
fn passes(fault: &Fault, error: &str) -> anyhow::Result<()> {
    let mut bench = Bench::on(&Image::default())?;
    bench.records("append alarm 5 100")?;
    bench.records("append telemetry 5 100")?;
    for round in 0..3 {
        bench.fs.begin(fault.clone());
        for question in ["append alarm 2 100", "append telemetry 2 100", "together telemetry,receipt", "retry"] {
            bench.refuses(question, error).with_context(|| format!("round {round}"))?;
        }
        let standing = bench.standing(&format!("refusing={error} vouches=no"))?;
        anyhow::ensure!(standing.contains("dmesg"), "the remedy is said: {standing}");
        bench.fs.heal();
        if round == 1 {
            // Without anybody who wants to record something it is found out as well.
            bench.standing("refusing=nothing vouches=yes")?;
        }
        bench.records("retry").with_context(|| format!("round {round}"))?;
        bench.records("append receipt 2 100")?;
        bench.standing("refusing=nothing room=Plenty vouches=yes")?;
    }
    bench.cut_and_check()
}

/// A journal that is too large to be in memory, closed in order.
fn large(dir: &Path, witness: &mut Witness) -> anyhow::Result<()> {
    let mut talk = Talk::begin(JOURNAL, dir, QUOTA)?;
    talk.ask("open", witness)?;
    for _ in 0..60 {
        talk.ask(&format!("together {}", ["alarm", "receipt", "telemetry"].repeat(50).join(",")), witness)?;
    }
    let (_, answer) = talk.ask("close", witness)?;
    anyhow::ensure!(answer == "closed", "{answer}");
    Ok(())
}

fn unreadable() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut witness = Witness::default();
    large(dir.path(), &mut witness)?;
    let mut bench = Bench::on(&Image::of(dir.path())?)?;
    bench.witness = witness;
    bench.fs.begin(Fault::Read(NOT_THE_INDEX));
    // SQLite cannot tell a page that cannot be read from one that is damaged (it turns EIO on reading into CORRUPT), so
    // the answer is the harder one: the gate would condemn the journal, which loses nothing.
    let (said, _) = bench.ask("append alarm 40 100")?;
    let refused = said.iter().filter(|said| matches!(said, Said::Refused(_, _, error) if error == "Damaged" || error == "Storage")).count();
    anyhow::ensure!(refused > 0, "nothing had to be read: {said:?}");
    let other = said.iter().find(|said| matches!(said, Said::Refused(_, _, error) if error != "Damaged" && error != "Storage"));
    anyhow::ensure!(other.is_none(), "{other:?}");
    let standing = bench.standing("vouches=no")?;
    anyhow::ensure!(!standing.contains("refusing=nothing"), "{standing}");
    // Where nobody condemned it, the same handle goes on.
    bench.fs.heal();
    bench.records("retry")?;
    bench.standing("refusing=nothing vouches=yes")?;
    bench.cut_and_check()
}

/// Killed between the write and the flush: the next process finds the event in the log, in memory. Whoever reads it may
/// pass it on, so it must be on disk by then.
fn seen_is_durable() -> anyhow::Result<()> {
    let mut bench = Bench::on(&Image::default())?;
    bench.records("append alarm 3 100")?;
    bench.fs.begin(Fault::Sync(Names::EndingIn("-wal")));
    bench.refuses("append alarm 1 100", "Storage")?;
    bench.talk.kill()?;
    bench.fs.heal();
    bench.talk = Talk::begin(JOURNAL, bench.fs.path(), QUOTA)?;
    bench.opens()?;
    let (_, seen) = bench.ask("seen")?;
    anyhow::ensure!(seen == "4 seen", "{seen}: the log was recovered with the event that was not acknowledged");
    bench.cut_and_check()
}

/// The flush fails after the write, more than once, so that the database is opened anew: whether the event is on disk,
/// nobody knows. The retry is answered once it is, and it is there once.
fn ambiguous() -> anyhow::Result<()> {
    let mut bench = Bench::on(&Image::default())?;
    bench.records("append alarm 3 100")?;
    for _ in 0..3 {
        bench.fs.begin(Fault::Sync(Names::EndingIn("-wal")));
        bench.refuses("append receipt 1 100", "Storage")?;
        for _ in 0..4 {
            bench.refuses("retry", "Storage")?;
        }
        bench.fs.heal();
        bench.records("retry")?;
    }
    // The same when somebody closes and opens in between.
    bench.fs.begin(Fault::Sync(Names::EndingIn("-wal")));
    bench.refuses("append receipt 1 100", "Storage")?;
    let (_, answer) = bench.ask("close")?;
    anyhow::ensure!(answer == "closed" || answer.starts_with("error Storage"), "{answer}");
    bench.fs.heal();
    bench.opens()?;
    bench.ask("seen")?;
    bench.cut_and_check()
}

fn cannot_open() -> anyhow::Result<()> {
    let mut bench = Bench::on(&Image::default())?;
    bench.records("append alarm 10 100")?;
    bench.talk.kill()?;
    // The log is there and holds everything; the database cannot be found or opened.
    for name in ["journal.db", "-wal", "journal.db-shm", "journal.lock"] {
        bench.fs.begin(Fault::Open(Names::EndingIn(name)));
        // What the kernel remembers of names is a second old at most.
        std::thread::sleep(Duration::from_millis(1_100));
        bench.talk = Talk::begin(JOURNAL, bench.fs.path(), QUOTA)?;
        let (said, answer) = bench.ask("open")?;
        anyhow::ensure!(answer.starts_with("error Storage") || answer.starts_with("error Place"), "{name}: {answer}, {said:?}");
        bench.talk.kill()?;
        bench.fs.heal();
        let names = bench.fs.now().paths().map(|path| path.display().to_string()).collect::<Vec<_>>();
        anyhow::ensure!(!names.iter().any(|name| name.contains("damaged")), "{name}: set aside: {names:?}");
        bench.talk = Talk::begin(JOURNAL, bench.fs.path(), QUOTA)?;
        std::thread::sleep(Duration::from_millis(1_100));
        bench.opens()?;
        bench.records("append alarm 1 100")?;
        bench.talk.kill()?;
    }
    bench.talk = Talk::begin(JOURNAL, bench.fs.path(), QUOTA)?;
    bench.opens()?;
    // Under the open handle: writing fails, and so does opening anew.
    bench.fs.begin(Fault::Write(NOT_THE_INDEX));
    bench.fs.begin(Fault::Open(Names::Any));
    for _ in 0..4 {
        bench.refuses("append alarm 1 100", "Storage")?;
    }
    bench.fs.heal();
    bench.records("retry")?;
    bench.cut_and_check()
}

// ---- without a disk that fails ----------------------------------------------------------------------------------

fn busy() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut witness = Witness::default();
    let mut talk = Talk::begin(JOURNAL, dir.path(), QUOTA)?;
    talk.ask("open", &mut witness)?;
    talk.ask("append alarm 3 100", &mut witness)?;
    let foreign = rusqlite::Connection::open(dir.path().join("journal.db"))?;
    foreign.execute_batch("BEGIN IMMEDIATE")?;
    let (said, answer) = talk.ask("append alarm 1 100", &mut witness)?;
    anyhow::ensure!(said.iter().any(|said| matches!(said, Said::Refused(_, _, error) if error == "Busy")), "{answer}: {said:?}");
    let (_, standing) = talk.ask("standing", &mut witness)?;
    anyhow::ensure!(standing.contains("refusing=Busy") && standing.contains("close the tool"), "{standing}");
    // Somebody who only reads is in nobody's way.
    foreign.execute_batch("ROLLBACK; BEGIN; SELECT count(*) FROM event")?;
    let (said, answer) = talk.ask("retry", &mut witness)?;
    anyhow::ensure!(answer == "0 refused", "{said:?}");
    drop(foreign);
    let (_, answer) = talk.ask("standing", &mut witness)?;
    anyhow::ensure!(answer.contains("refusing=nothing"), "{answer}");
    talk.kill()?;
    anyhow::ensure!(check(&mut witness, dir.path())? == 4);
    Ok(())
}

fn damaged() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut witness = Witness::default();
    large(dir.path(), &mut witness)?;
    let mut talk = Talk::begin(JOURNAL, dir.path(), QUOTA)?;
    talk.ask("open", &mut witness)?;
    let file = dir.path().join("journal.db");
    let mut bytes = fs::read(&file)?;
    // All but the first page. The pages at the ends of the trees are in memory already, the others are not.
    bytes[4096..].iter_mut().for_each(|byte| *byte = !*byte);
    fs::write(&file, &bytes)?;
    let (said, answer) = talk.ask("append alarm 40 100", &mut witness)?;
    let refused = said.iter().filter(|said| matches!(said, Said::Refused(_, _, error) if error == "Damaged")).count();
    anyhow::ensure!(refused > 0, "no damaged page had to be read: {answer}");
    anyhow::ensure!(said.iter().all(|said| !matches!(said, Said::Refused(_, _, error) if error != "Damaged")), "{said:?}");
    let (_, standing) = talk.ask("standing", &mut witness)?;
    anyhow::ensure!(standing.contains("refusing=Damaged") && standing.contains("vouches=no") && standing.contains("restart"), "{standing}");
    let (_, answer) = talk.ask("condemn", &mut witness)?;
    anyhow::ensure!(answer == "condemned", "{answer}");
    talk.kill()?;
    let (database, log) = (fs::read(&file)?, fs::read(dir.path().join("journal.db-wal"))?);

    // Another journal begins, so another witness listens.
    let mut witness = Witness::default();
    let mut talk = Talk::begin(JOURNAL, dir.path(), QUOTA)?;
    let (said, answer) = talk.ask("open", &mut witness)?;
    anyhow::ensure!(
        answer == "opened" && said.iter().any(|said| matches!(said, Said::Opened(how, _) if how == "aside")),
        "{answer}: {said:?}"
    );
    let (_, answer) = talk.ask("append alarm 3 100", &mut witness)?;
    anyhow::ensure!(answer == "0 refused", "{answer}");
    talk.kill()?;
    let aside = fs::read_dir(dir.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.is_dir())
        .context("nothing was set aside")?;
    anyhow::ensure!(fs::read(aside.join("journal.db"))? == database, "the damaged database is kept as it was");
    anyhow::ensure!(fs::read(aside.join("journal.db-wal"))? == log, "and so is its log");
    anyhow::ensure!(check(&mut witness, dir.path())? == 3, "the next opening is clean");
    Ok(())
}

// ---- the whole gate ---------------------------------------------------------------------------------------------

async fn gate() -> anyhow::Result<()> {
    let fs = CutFs::mount(&Image::default())?;
    let mut rig = Rig::build(GATE, &RigConfig { seals: 2, ..RigConfig::default() })?;
    rig.configure(&format!("[gate]\nstate_dir = \"{}\"\n[journal]\nreserve_mib = 1\n", fs.join("state").display()))?;
    rig.open().await?;
    rig.advertise(0)?;
    rig.gate.until(PATIENCE, |status| status.seals.in_range > 0).await?;
    let mut alarms = recorded(&rig.gate.status().await?, Class::Alarm);

    for (fault, word) in [
        (Fault::Write(NOT_THE_INDEX), "storage fails"),
        (Fault::Sync(NOT_THE_INDEX), "storage fails"),
        (Fault::ReadOnly, "storage fails"),
        (Fault::Full { bytes: 0 }, "full"),
    ] {
        eprintln!("  the gate under {fault:?}");
        let fault = if matches!(fault, Fault::Full { .. }) { Fault::Full { bytes: fs.used() } } else { fault };
        fs.begin(fault.clone());
        // Telemetry and alarms, as they come at a gate.
        for _ in 0..4 {
            rig.advertise(1)?;
            rig.seals[1].turn();
        }
        rig.seals[0].force_open();
        rig.advertise(0)?;
        if !matches!(fault, Fault::Full { .. }) {
            let says = |status: &segel::status::Status| status.journal_refuses.as_deref().is_some_and(|why| why.contains(word));
            rig.gate.until(PATIENCE, says).await.with_context(|| format!("the gate does not say why: {fault:?}"))?;
        } else {
            // The reserve takes the alarm.
            rig.gate
                .until(PATIENCE, |status| recorded(status, Class::Alarm) > alarms)
                .await
                .context("the reserve did not take the alarm")?;
            // The log of the journal may have room in itself for some more.
            for _ in 0..MORE {
                if rig.log()?.contains("disk is full") {
                    break;
                }
                rig.seals[1].turn();
                rig.advertise(1)?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            rig.until_logged("telemetry is refused until there is room", 1).await?;
        }
        fs.heal();
        let healed = Instant::now();
        rig.gate
            .until(PATIENCE, |status| status.journal_refuses.is_none() && recorded(status, Class::Alarm) > alarms)
            .await
            .with_context(|| format!("the gate does not resume: {fault:?}"))?;
        eprintln!("    resumed after {} ms", healed.elapsed().as_millis());
        alarms = recorded(&rig.gate.status().await?, Class::Alarm);
        rig.seals[0].reading.lock = Some(segel_drivers::LockClaim::Locked);
        rig.seals[0].reading.tamper = Some(false);
        rig.advertise(0)?;
    }
    rig.close().await?;
    // Everything it counted is on disk when the power goes.
    let image = fs.cut(Cut::Nothing, &mut StdRng::seed_from_u64(1));
    let dir = tempfile::tempdir()?;
    image.lay(dir.path())?;
    let reader = segel::journal::JournalReader::open(&dir.path().join("state"))?;
    let verified = reader.verify(|_| {})?;
    anyhow::ensure!(verified.is_good(), "{verified:?}");
    let mut ids = std::collections::HashSet::new();
    let (mut kept, mut twice) = (0, 0);
    for class in Class::ALL {
        reader.each(*class, |record| {
            kept += u64::from(*class == Class::Alarm);
            twice += u64::from(!ids.insert(record.id));
        })?;
    }
    anyhow::ensure!(kept >= alarms && twice == 0, "{kept} alarms are there of {alarms}, {twice} events are there twice");
    Ok(())
}
