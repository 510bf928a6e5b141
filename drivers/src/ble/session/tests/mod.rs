//! Sessions over an air in which everything goes wrong, with a clock that stands still while nothing happens.

mod cut_short;
mod tiny;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use self::tiny::{DUMB, LATER, Op, STORED, Seal, Shared, TINY, Tiny, TinyAir, Wrong, seal};
use super::{Asked, Desk, Desks, Request, SessionLimits, serve};
use crate::{
    Action, Ear, Ended, Evidence, Hindrance, LockClaim, MacAddress, Outcome, Progress, Rejection, Report, Sighting,
    ble::{KnownSeal, protocol::ProtocolName},
};

const MINUTE: Duration = Duration::from_secs(60);

fn address() -> MacAddress {
    "54:48:E6:8F:80:A5".parse().unwrap()
}

fn request(action: Action, within: Duration) -> Request {
    let mut seal = KnownSeal::new("SGL-1".parse().unwrap(), ProtocolName::Segel);
    seal.credentials.password = Some("739164".parse().unwrap());
    Request { address: address(), seal, action, within }
}

/// One adapter that serves one seal.
struct Bench {
    desks: Desks,
    desk: Desk,
    seal: Shared,
    reports: mpsc::Receiver<Report>,
    served: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn ear(name: &str) -> (Ear, mpsc::Receiver<Report>) {
    let (reports, heard) = mpsc::channel(256);
    (Ear::new(name.parse().unwrap(), reports), heard)
}

fn bench(plan: impl FnMut(Op) -> Wrong + Send + 'static) -> Bench {
    let desks = Desks::new(SessionLimits::default());
    let desk = desks.desk(&"ble-1".parse().unwrap());
    let seal = seal(plan);
    let (ear, reports) = ear("ble-1");
    let (serving, mut air) = (desk.clone(), TinyAir(Arc::clone(&seal)));
    let served = tokio::spawn(async move {
        serve(&serving, &mut air, &ear, 10_000).await;
    });
    Bench { desks, desk, seal, reports, served }
}

impl Bench {
    fn heard(&self) {
        self.desk.heard(address(), Some(-60), Instant::now().into_std());
    }

    fn ask(&self, protocol: &'static Tiny, action: Action) -> Asked {
        self.desks.ask_by(protocol, request(action, 3 * MINUTE)).expect("it may be asked")
    }

    async fn does(&self, action: Action) -> Ended {
        self.heard();
        self.ask(&TINY, action).ended().await
    }

    fn seal(&self) -> std::sync::MutexGuard<'_, Seal> {
        self.seal.lock().unwrap()
    }

    /// Asks the seal. Not twice in one statement with [`Self::seal`].
    fn of<T>(&self, ask: impl FnOnce(&Seal) -> T) -> T {
        ask(&self.seal())
    }

    /// Waits until the seal is disconnected.
    async fn is_free(&self) {
        let free = async {
            while self.seal().connected {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(MINUTE, free).await.expect("it is always disconnected at the end");
    }
}

fn fine(_: Op) -> Wrong {
    Wrong::Not
}

/// The first operation of a kind goes wrong.
fn first(kind: Op, wrong: Wrong) -> impl FnMut(Op) -> Wrong {
    let mut wrong = Some(wrong);
    move |op| if op == kind { wrong.take().unwrap_or(Wrong::Not) } else { Wrong::Not }
}

#[tokio::test(start_paused = true)]
async fn an_unlock_is_done_read_back_and_disconnected() {
    let mut bench = bench(fine);
    bench.heard();
    let asked = bench.ask(&TINY, Action::Unlock);
    let Ended { outcome, spent } = asked.ended().await;
    let Outcome::Done { evidence: Evidence::ReportedAndReadBack, status: Some(status), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((status.reading.lock, status.did_ours), (Some(LockClaim::Unlocked), Some(true)));
    assert_eq!(bench.of(|seal| (spent.attempts, seal.openings, seal.moves_handed)), (1, 1, 1));
    let Sighting::Read(read) = bench.reports.recv().await.unwrap().sighting else { panic!() };
    assert_eq!((read.during, read.rssi_dbm), (Action::Unlock, Some(-60)));
    bench.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn disconnect_after_the_write_reports_unknown_and_reads_back() {
    // it arrived, nobody said so, and the protocol does not say whose command was last
    let bench = bench(first(Op::WriteMoves, Wrong::FailsAfter));
    bench.heard();
    let Ended { outcome, spent } = bench.ask(&DUMB, Action::Unlock).ended().await;
    let Outcome::Unknown { why, read_back: Some(status) } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("out of reach") && why.contains("stands as asked"), "{why}");
    assert_eq!(status.reading.lock, Some(LockClaim::Unlocked));
    assert_eq!(bench.of(|seal| (spent.attempts, seal.moves_handed, seal.openings)), (2, 1, 1));
    // where it says so, it is known
    bench.seal().locked = true;
    bench.seal().plan = Box::new(first(Op::WriteMoves, Wrong::FailsAfter));
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Done { evidence: Evidence::ReadBack, .. }), "{outcome:?}");
    // it did not arrive, and says with proof that it did nothing
    bench.seal().locked = true;
    bench.seal().plan = Box::new(first(Op::WriteMoves, Wrong::Fails));
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Rejected { cause: Rejection::NeverTook, .. }), "{outcome:?}");
    assert_eq!(bench.of(|seal| (seal.moves_handed, seal.openings)), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_cannot_be_reached_after_the_write_is_unknown_within_its_time() {
    let mut gone = false;
    let bench = bench(move |op| match op {
        Op::WriteMoves => {
            gone = true;
            Wrong::FailsAfter
        }
        Op::Connect if gone => Wrong::Hangs,
        _ => Wrong::Not,
    });
    let begun = Instant::now();
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Unknown { read_back: None, .. }), "{outcome:?}");
    assert!(begun.elapsed() <= MINUTE + Duration::from_secs(15), "{:?}", begun.elapsed());
    bench.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_no_of_a_seal_that_opens_all_the_same_is_found_out() {
    let bench = bench(fine);
    bench.seal().refuses = true;
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Rejected { cause: Rejection::LowVoltage, read_back: Some(_) }), "{outcome:?}");
    bench.seal().lies = true;
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Done { evidence: Evidence::ReadBack, .. }), "{outcome:?}");
    bench.seal().locked = true;
    bench.heard();
    let outcome = bench.ask(&DUMB, Action::Unlock).ended().await.outcome;
    assert!(matches!(&outcome, Outcome::Unknown { why, .. } if why.contains("refused")), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_or_fails_is_tried_again_and_never_beyond_its_attempts() {
    let bench = bench(first(Op::Connect, Wrong::Hangs));
    let ended = bench.does(Action::Unlock).await;
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    assert_eq!(ended.spent.attempts, 2);
    assert_eq!(ended.spent.connecting.as_secs(), 20);
    bench.seal().plan = Box::new(|op| if op == Op::Connect { Wrong::Fails } else { Wrong::Not });
    let ended = bench.does(Action::Unlock).await;
    let Outcome::NotAttempted { why: Hindrance::NoConnection { attempts: 4, last } } = ended.outcome else { panic!("{ended:?}") };
    assert!(last.contains("does not answer"), "{last}");
    bench.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn connects_that_fail_half_of_the_time_after_forty_seconds_still_come_through_within_a_longer_limit() {
    let limits = SessionLimits { connect: Duration::from_secs(45), ..SessionLimits::default() };
    let desks = Desks::new(limits);
    let desk = desks.desk(&"ble-1".parse().unwrap());
    let mut turn = 0;
    let seal = seal(move |op| match op {
        Op::Connect => {
            turn += 1;
            if turn % 2 == 1 { Wrong::Hangs } else { Wrong::Slow(40_000) }
        }
        _ => Wrong::Not,
    });
    let (ear, _reports) = ear("ble-1");
    let (serving, mut air) = (desk.clone(), TinyAir(Arc::clone(&seal)));
    let served = tokio::spawn(async move { serve(&serving, &mut air, &ear, 100).await });
    for round in 1..=10 {
        desk.heard(address(), Some(-70), Instant::now().into_std());
        let ended = desks.ask_by(&TINY, request(Action::Unlock, 5 * MINUTE)).unwrap().ended().await;
        assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
        assert_eq!(seal.lock().unwrap().openings, round);
        seal.lock().unwrap().locked = true;
    }
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_not_heard_occupies_no_adapter_and_is_told_at_the_deadline() {
    let bench = bench(|_| Wrong::Slow(100));
    let asked = bench.ask(&TINY, Action::Unlock);
    assert_eq!(*asked.progress().borrow(), Progress::Waking);
    let begun = Instant::now();
    let outcome = asked.ended().await.outcome;
    assert_eq!(outcome, Outcome::NotAttempted { why: Hindrance::NotHeard { last: "never".to_owned() } });
    assert_eq!((begun.elapsed(), bench.seal().connects), (3 * MINUTE, 0));
    // heard later, it is served
    let asked = bench.ask(&TINY, Action::Unlock);
    let mut progress = asked.progress();
    tokio::time::sleep(MINUTE).await;
    bench.heard();
    let ended = tokio::spawn(asked.ended());
    let mut seen = vec![];
    while progress.changed().await.is_ok() {
        seen.push(*progress.borrow_and_update());
        tokio::task::yield_now().await;
    }
    let ended = ended.await.unwrap();
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    assert!(ended.spent.waiting >= MINUTE);
    assert!(seen.contains(&Progress::Connecting { attempt: 1, of: 4 }) && seen.contains(&Progress::ReadingBack), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_seal_last_heard_long_ago_is_not_there() {
    let bench = bench(fine);
    bench.heard();
    tokio::time::sleep(Duration::from_secs(16)).await;
    let outcome = bench.ask(&TINY, Action::Unlock).ended().await.outcome;
    assert_eq!(outcome, Outcome::NotAttempted { why: Hindrance::NotHeard { last: "196 s ago".to_owned() } });
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_before_the_write_has_called_it_off_and_after_it_has_not() {
    let bench = bench(|op| if op == Op::Connect { Wrong::Slow(5_000) } else { Wrong::Slow(1_000) });
    bench.heard();
    let asked = bench.ask(&TINY, Action::Unlock);
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(asked);
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    bench.is_free().await;
    assert_eq!(bench.of(|seal| (seal.connects, seal.moves_handed)), (1, 0));
    bench.heard();
    let asked = bench.ask(&TINY, Action::Unlock);
    let mut progress = asked.progress();
    progress.wait_for(|now| *now == Progress::Writing).await.unwrap();
    drop(asked);
    progress.wait_for(|now| *now == Progress::ReadingBack).await.unwrap();
    bench.is_free().await;
    assert_eq!(bench.of(|seal| (seal.openings, seal.moves_handed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_unlock_overtakes_a_queued_and_a_running_log_drain() {
    let mut bench = bench(|op| if op == Op::Connect { Wrong::Slow(1_000) } else { Wrong::Slow(100) });
    bench.seal().log = (0..200).collect();
    bench.heard();
    let mut drain = tokio::spawn(bench.ask(&TINY, Action::DrainLog).ended());
    let mut stored = 0;
    let mut unlock = None;
    let mut queued = None;
    let drained = loop {
        tokio::select! {
            ended = &mut drain => break ended.unwrap(),
            report = bench.reports.recv() => {
                let Sighting::Told(told) = report.unwrap().sighting else { panic!() };
                assert_eq!(told.memory, STORED);
                stored += 1;
                if stored == 5 {
                    bench.heard();
                    queued = Some(bench.ask(&TINY, Action::DrainLog));
                    unlock = Some(bench.ask(&TINY, Action::Unlock));
                }
                told.confirm.unwrap().on_disk();
            }
        }
    };
    let Outcome::Done { drained, interrupted, .. } = drained.outcome else { panic!("{drained:?}") };
    assert_eq!(interrupted, Some(Hindrance::Overtaken));
    assert_eq!((drained, stored), (5, 5), "between two pieces, and what is on disk was confirmed");
    assert_eq!(bench.seal().log.len(), 195);
    bench.heard();
    let unlocked = unlock.unwrap().ended().await;
    assert!(matches!(unlocked.outcome, Outcome::Done { .. }), "{unlocked:?}");
    assert_eq!(bench.seal().log.len(), 195, "before the drain that was queued earlier");
    drop(queued);
    bench.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_on_disk_is_never_confirmed_to_the_seal() {
    let mut bench = bench(fine);
    bench.seal().log = (0..3).collect();
    bench.heard();
    let drain = tokio::spawn(bench.ask(&TINY, Action::DrainLog).ended());
    while let Ok(Some(_)) = tokio::time::timeout(MINUTE, bench.reports.recv()).await {
        // each promise is dropped unkept
        bench.heard();
    }
    let outcome = drain.await.unwrap().outcome;
    assert_eq!(outcome, Outcome::NotAttempted { why: Hindrance::NotStored });
    assert_eq!(bench.of(|seal| (seal.log.len(), seal.connects)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_notification_is_read_and_duplicate_and_late_ones_change_nothing() {
    for wrong in [Wrong::Mute, Wrong::Twice, Wrong::Late(2_000), Wrong::Late(4_000)] {
        for op in [Op::Write, Op::WriteMoves] {
            let bench = bench(first(op, wrong));
            let ended = bench.does(Action::Unlock).await;
            assert!(matches!(ended.outcome, Outcome::Done { .. }), "{op:?} {wrong:?}: {ended:?}");
            assert_eq!(bench.of(|seal| (seal.openings, seal.moves_handed)), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_by_the_seal_is_rejected_and_one_lost_with_its_link_is_not() {
    let bench = bench(first(Op::WriteMoves, Wrong::Att(0x80)));
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert!(matches!(outcome, Outcome::Rejected { cause: Rejection::Other { code: 0x80, .. }, read_back: Some(_) }), "{outcome:?}");
    bench.seal().plan = Box::new(first(Op::Write, Wrong::Att(0x0E)));
    let ended = bench.does(Action::Unlock).await;
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "before the write it is tried again: {ended:?}");
    assert_eq!((ended.spent.attempts, bench.seal().moves_handed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_fails_before_the_write_gives_the_request_to_the_next() {
    let desks = Desks::new(SessionLimits::default());
    let (near, far) = (desks.desk(&"ble-1".parse().unwrap()), desks.desk(&"ble-2".parse().unwrap()));
    let broken = seal(|_| Wrong::NoAdapter);
    let works = seal(fine);
    let (ear_1, _reports_1) = ear("ble-1");
    let (ear_2, _reports_2) = ear("ble-2");
    let (mut air_1, mut air_2) = (TinyAir(Arc::clone(&broken)), TinyAir(Arc::clone(&works)));
    let (serving_1, serving_2) = (near.clone(), far.clone());
    let first = tokio::spawn(async move { serve(&serving_1, &mut air_1, &ear_1, 9).await });
    let second = tokio::spawn(async move { serve(&serving_2, &mut air_2, &ear_2, 9).await });
    near.heard(address(), Some(-50), Instant::now().into_std());
    far.heard(address(), Some(-80), Instant::now().into_std());
    let ended = desks.ask_by(&TINY, request(Action::Unlock, MINUTE)).unwrap().ended().await;
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    assert_eq!(first.await.unwrap(), super::Served::Fails("pulled".to_owned()), "the nearer one was tried first");
    assert_eq!((broken.lock().unwrap().connects, works.lock().unwrap().openings), (1, 1));
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_seal_has_one_session_at_a_time_whichever_adapter() {
    let desks = Desks::new(SessionLimits::default());
    let names = ["ble-1", "ble-2", "ble-3"];
    let places: Vec<Desk> = names.iter().map(|name| desks.desk(&name.parse().unwrap())).collect();
    // the same seal before all adapters: it says itself when it is connected to twice
    let seal = seal(|_| Wrong::Slow(300));
    let mut served = vec![];
    for desk in &places {
        let (ear, reports) = ear(desk.reader().as_str());
        let (serving, mut air) = (desk.clone(), TinyAir(Arc::clone(&seal)));
        served.push(tokio::spawn(async move {
            serve(&serving, &mut air, &ear, 100).await;
            drop(reports);
        }));
    }
    let mut asked = vec![];
    for round in 0..12 {
        // another adapter hears it best each time
        for (at, desk) in places.iter().enumerate() {
            desk.heard(address(), Some(if round % 3 == at { -40 } else { -80 }), Instant::now().into_std());
        }
        let action = if round % 2 == 0 { Action::Unlock } else { Action::Lock };
        let waiting = desks.ask_by(&TINY, request(action, 5 * MINUTE)).unwrap();
        asked.push(tokio::spawn(waiting.ended()));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let hears = tokio::spawn(async move {
        loop {
            for desk in &places {
                desk.heard(address(), None, Instant::now().into_std());
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    for asked in asked {
        let ended = asked.await.unwrap();
        assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    }
    hears.abort();
    let seal = seal.lock().unwrap();
    assert_eq!((seal.openings, seal.closings), (6, 6));
    assert!(served.iter().all(|served| !served.is_finished()), "no adapter met another at the seal");
}

#[tokio::test(start_paused = true)]
async fn what_can_be_said_at_once_is_said_at_once() {
    let bench = bench(fine);
    let mut missing = request(Action::Unlock, MINUTE);
    missing.seal.credentials.password = None;
    let error = bench.desks.ask_by(&TINY, missing).unwrap_err();
    assert_eq!(error, Hindrance::NoCredential { what: "password" });
    let error = Desks::default().ask_by(&TINY, request(Action::Unlock, MINUTE)).unwrap_err();
    assert!(matches!(error, Hindrance::NoAdapter(_)), "{error}");
    let bthome = KnownSeal::bthome("JT-1".parse().unwrap(), None);
    let error = bench.desks.may_ask(&bthome, Action::Unlock).unwrap_err();
    assert!(error.to_string().contains("bthome cannot unlock"), "{error}");
    let waiting: Vec<_> = (0..32).map(|_| bench.ask(&TINY, Action::Unlock)).collect();
    let error = bench.desks.ask_by(&TINY, request(Action::Unlock, MINUTE)).unwrap_err();
    assert_eq!(error, Hindrance::QueueFull(32));
    drop(waiting);
    bench.ask(&TINY, Action::Unlock);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_died_or_hangs_still_answers_by_the_ticket() {
    let bench = bench(|op| if op == Op::Connect { Wrong::Slow(3_000) } else { Wrong::Not });
    bench.heard();
    let asked = bench.ask(&TINY, Action::Unlock);
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.served.abort();
    let outcome = asked.ended().await.outcome;
    assert!(matches!(outcome, Outcome::NotAttempted { .. }), "{outcome:?}");
}

fn wrong() -> impl Strategy<Value = Wrong> {
    prop_oneof![
        8 => Just(Wrong::Not),
        1 => (1_u32..30_000).prop_map(Wrong::Slow),
        1 => Just(Wrong::Hangs),
        1 => Just(Wrong::HangsAfter),
        2 => Just(Wrong::Fails),
        2 => Just(Wrong::FailsAfter),
        2 => Just(Wrong::Mute),
        1 => Just(Wrong::Twice),
        1 => (1_u32..40_000).prop_map(Wrong::Late),
        1 => any::<u8>().prop_map(Wrong::Att),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SEGEL_NIGHTLY").is_some() { 20_000 } else { 300 }))]

    /// Whatever goes wrong, wherever, and whenever whoever asked goes away.
    #[test]
    fn no_write_is_ever_sent_twice(
        script in prop::collection::vec(wrong(), 0..24),
        refuses in any::<bool>(),
        whose in any::<bool>(),
        leaves in prop::option::of(0_u64..120_000),
        within in 1_u64..200,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut script = script.into_iter();
            let bench = bench(move |_| script.next().unwrap_or(Wrong::Not));
            bench.seal().refuses = refuses;
            bench.heard();
            let protocol = if whose { &TINY } else { &DUMB };
            let asked = bench.desks.ask_by(protocol, request(Action::Unlock, Duration::from_secs(within))).unwrap();
            let leaves = Duration::from_millis(leaves.unwrap_or(u64::MAX));
            let ended = tokio::time::timeout(leaves, asked.ended()).await.ok();
            // the session goes on by itself, at most as long as it may
            tokio::time::sleep(5 * MINUTE).await;
            bench.is_free().await;
            let seal = bench.seal();
            assert!(seal.moves_handed <= 1, "{} commands for one request", seal.moves_handed);
            assert!(seal.openings <= 1);
            if let Some(Ended { outcome, .. }) = ended {
                match &outcome {
                    Outcome::NotAttempted { .. } => assert_eq!(seal.moves_handed, 0, "{outcome:?}"),
                    Outcome::Done { .. } => assert_eq!(seal.openings, 1, "{outcome:?}"),
                    Outcome::Rejected { .. } => assert_eq!(seal.openings, 0, "{outcome:?}"),
                    Outcome::Already { .. } => panic!("{outcome:?}"),
                    Outcome::Unknown { .. } => assert_eq!(seal.moves_handed, 1, "{outcome:?}"),
                }
            }
        });
    }
}
