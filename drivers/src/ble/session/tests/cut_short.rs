//! Requests that are overtaken, called off or interrupted, and what they say of that.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{Priority, SealWord};

/// What the drain of a seal says that is asked for `more` after so many pieces, each of which takes two seconds.
async fn drain_until(bench: &mut Bench, pieces: u32, mut then: impl FnMut(&mut Bench, &Asked) -> bool) -> Ended {
    bench.heard();
    let asked = bench.ask(&TINY, Action::DrainLog);
    let mut stored = 0;
    while stored < pieces {
        let Sighting::Told(told) = bench.reports.recv().await.unwrap().sighting else { continue };
        stored += 1;
        if stored < pieces || then(bench, &asked) {
            told.confirm.unwrap().on_disk();
        }
    }
    asked.ended().await
}

#[tokio::test(start_paused = true)]
async fn an_unlock_of_the_very_seal_that_is_drained_interrupts_it_although_nobody_hears_it() {
    let mut bench = bench(|_| Wrong::Slow(1_000));
    bench.seal().log = (0..200).collect();
    let mut unlock = None;
    let drained = drain_until(&mut bench, 20, |bench, _| {
        let asked = bench.ask(&TINY, Action::Unlock);
        assert_eq!(*asked.progress().borrow(), Progress::Queued { ahead: 1 }, "it is in a session, and need not be woken");
        unlock = Some(asked);
        true
    });
    let outcome = drained.await.outcome;
    let Outcome::Done { drained: 20, interrupted: Some(Hindrance::Overtaken), .. } = outcome else { panic!("{outcome:?}") };
    let ended = unlock.unwrap().ended().await;
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "it was there until now: {ended:?}");
    assert_eq!(bench.of(|seal| (seal.openings, seal.log.len())), (1, 180));
}

#[tokio::test(start_paused = true)]
async fn a_seal_in_a_session_is_not_said_to_be_unheard() {
    let desks = Desks::default();
    let desk = desks.desk(&"ble-1".parse().unwrap());
    let _serving = desk.serving();
    desk.heard(address(), Some(-60), Instant::now().into_std());
    let _drain = desks.ask_by(&TINY, request(Action::DrainLog, 3 * MINUTE)).unwrap();
    let _turn = desk.next().await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let within = Duration::from_secs(5);
    let ended = desks.ask_by(&TINY, request(Action::Unlock, within)).unwrap().ended().await;
    assert_eq!(ended.outcome, Outcome::NotAttempted { why: Hindrance::Deadline(within) });
}

#[tokio::test(start_paused = true)]
async fn an_adapter_is_wanted_only_for_what_it_could_take_now() {
    let desks = Desks::default();
    let (near, far) = (desks.desk(&"ble-1".parse().unwrap()), desks.desk(&"ble-2".parse().unwrap()));
    let (_near, _far) = (near.serving(), far.serving());
    let own = "54:48:E6:8F:80:A6".parse().unwrap();
    far.heard(address(), Some(-60), Instant::now().into_std());
    let _read = desks.ask_by(&TINY, request(Action::ReadState, MINUTE)).unwrap();
    let turn = far.next().await;
    near.heard(address(), Some(-40), Instant::now().into_std());
    let _unlock = desks.ask_by(&TINY, request(Action::Unlock, MINUTE)).unwrap();
    let wanted = || near.is_wanted_for_more_than(own, Priority::Draining);
    assert!(!wanted(), "the other adapter has the seal: giving way to it would only spin");
    assert!(far.is_wanted_for_more_than(address(), Priority::Draining), "whoever hears it best, it is the seal of that session");
    drop(turn);
    assert!(wanted());
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_fails_in_the_middle_says_so_beside_what_it_did() {
    // the disk
    let mut bench = bench(fine);
    bench.seal().log = (0..9).collect();
    let outcome = drain_until(&mut bench, 3, |_, _| false).await.outcome;
    let Outcome::Done { drained: 2, interrupted: Some(Hindrance::NotStored), .. } = outcome else { panic!("{outcome:?}") };
    bench.is_free().await;
    // whoever asked
    let outcome = drain_until(&mut bench, 4, |_, asked| {
        assert!(asked.ticket().call_off());
        true
    });
    let outcome = outcome.await.outcome;
    let Outcome::Done { drained: 3, interrupted: Some(Hindrance::CalledOff), .. } = outcome else { panic!("{outcome:?}") };
    bench.is_free().await;
    // the air, until the time is over
    let outcome = drain_until(&mut bench, 2, |bench, _| {
        bench.seal().plan = Box::new(|_| Wrong::Fails);
        true
    });
    let outcome = outcome.await.outcome;
    let Outcome::Done { drained: 1, interrupted: Some(Hindrance::NoConnection { .. }), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(bench.seal().log.len(), 3);
    // and one that comes to its end
    bench.seal().plan = Box::new(fine);
    let outcome = drain_until(&mut bench, 3, |_, _| true).await.outcome;
    let Outcome::Done { drained: 3, interrupted: None, .. } = outcome else { panic!("{outcome:?}") };
}

#[tokio::test(start_paused = true)]
async fn a_time_that_was_sent_and_not_confirmed_is_unknown_and_one_that_was_not_sent_is_not() {
    let bench = bench(|op| if op == Op::Write { Wrong::FailsAfter } else { Wrong::Not });
    let outcome = bench.does(Action::SetTime).await.outcome;
    assert!(matches!(&outcome, Outcome::Unknown { why, .. } if why.contains("time was sent")), "{outcome:?}");
    bench.seal().plan = Box::new(|op| if op == Op::Connect { Wrong::Fails } else { Wrong::Not });
    let outcome = bench.does(Action::SetTime).await.outcome;
    assert!(matches!(outcome, Outcome::NotAttempted { why: Hindrance::NoConnection { .. } }), "{outcome:?}");
    // called off while it is on its way
    bench.seal().plan = Box::new(|op| if op == Op::Write { Wrong::HangsAfter } else { Wrong::Not });
    bench.heard();
    let asked = bench.ask(&TINY, Action::SetTime);
    let (mut progress, ticket) = (asked.progress(), asked.ticket());
    progress.wait_for(|now| *now == Progress::Reading).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ticket.call_off());
    let outcome = asked.ended().await.outcome;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_called_off_while_it_waits_says_so() {
    let bench = bench(fine);
    let asked = bench.ask(&TINY, Action::Unlock);
    assert!(asked.ticket().call_off());
    // whatever looks at the hall next
    bench.heard();
    assert_eq!(asked.ended().await.outcome, Outcome::NotAttempted { why: Hindrance::CalledOff });
}

#[tokio::test(start_paused = true)]
async fn an_old_state_is_not_taken_for_how_it_stands_and_an_alarm_before_it_is_told() {
    let mut bench = bench(first(Op::WriteMoves, Wrong::AndOld(b'U')));
    bench.seal().refuses = true;
    bench.heard();
    let outcome = bench.ask(&DUMB, Action::Unlock).ended().await.outcome;
    let Outcome::Rejected { cause: Rejection::LowVoltage, read_back: Some(status) } = outcome else { panic!("{outcome:?}") };
    assert_eq!(status.reading.lock, Some(LockClaim::Locked));
    let Sighting::Told(told) = bench.reports.recv().await.unwrap().sighting else { panic!() };
    assert_eq!(told.events[0].word, SealWord::ForcedOpen);
}

#[tokio::test(start_paused = true)]
async fn drains_that_wait_keep_no_unlock_out() {
    let bench = bench(fine);
    let _drains: Vec<_> = (0..32).map(|_| bench.ask(&TINY, Action::DrainLog)).collect();
    let error = bench.desks.ask_by(&TINY, request(Action::DrainLog, MINUTE)).unwrap_err();
    assert_eq!(error, Hindrance::QueueFull(32));
    let _reads: Vec<_> = (0..32).map(|_| bench.ask(&TINY, Action::ReadState)).collect();
    assert_eq!(bench.desks.ask_by(&TINY, request(Action::SetTime, MINUTE)).unwrap_err(), Hindrance::QueueFull(32));
    let _unlock = bench.ask(&TINY, Action::Unlock);
}

#[tokio::test(start_paused = true)]
async fn before_the_write_an_att_error_is_no_refusal_and_later_means_again_after_a_second() {
    let bench = bench(first(Op::Write, Wrong::Att(0x80)));
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert_eq!(outcome, Outcome::NotAttempted { why: Hindrance::Refused(0x80) });
    bench.seal().plan = Box::new(first(Op::Write, Wrong::Att(LATER)));
    let begun = Instant::now();
    let ended = bench.does(Action::Unlock).await;
    assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
    assert!(ended.spent.attempts == 1 && begun.elapsed() >= Duration::from_secs(1), "on the same connection: {ended:?}");
    bench.is_free().await;
    bench.seal().locked = true;
    bench.seal().plan = Box::new(|op| if op == Op::Write { Wrong::Att(LATER) } else { Wrong::Not });
    let outcome = bench.does(Action::Unlock).await.outcome;
    assert_eq!(outcome, Outcome::NotAttempted { why: Hindrance::Refused(LATER) });
    assert_eq!(bench.of(|seal| (seal.openings, seal.moves_handed)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_takes_no_report_does_not_hold_a_session_beyond_its_deadline() {
    let desks = Desks::default();
    let desk = desks.desk(&"ble-1".parse().unwrap());
    let (reports, _unread) = mpsc::channel(1);
    let ear = Ear::new("ble-1".parse().unwrap(), reports);
    let seal = seal(fine);
    let (serving, mut air) = (desk.clone(), TinyAir(Arc::clone(&seal)));
    let served = tokio::spawn(async move { serve(&serving, &mut air, &ear, 9).await });
    for _ in 0..2 {
        let begun = Instant::now();
        desk.heard(address(), Some(-60), begun.into_std());
        let within = Duration::from_secs(4);
        let ended = desks.ask_by(&TINY, request(Action::ReadState, within)).unwrap().ended().await;
        assert!(matches!(ended.outcome, Outcome::Done { .. }), "{ended:?}");
        assert!(begun.elapsed() <= within, "{:?}", begun.elapsed());
    }
    served.abort();
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_was_told_to_stop_moves_nothing_any_more() {
    let desks = Desks::default();
    let stop = CancellationToken::new();
    let desk = desks.desk(&"ble-1".parse().unwrap());
    let told = stop.clone();
    // it hangs in the write before the one that moves, and wakes up
    let seal = seal(move |op| {
        if op == Op::Write {
            told.cancel();
        }
        Wrong::Slow(2_000)
    });
    let (ear, _reports) = ear("ble-1");
    let (serving, mut air) = (desk.until(&stop), TinyAir(Arc::clone(&seal)));
    let served = tokio::spawn(async move { serve(&serving, &mut air, &ear, 9).await });
    desk.heard(address(), Some(-60), Instant::now().into_std());
    let asked = desks.ask_by(&TINY, request(Action::Unlock, MINUTE)).unwrap();
    assert!(matches!(served.await.unwrap(), crate::ble::session::Served::Fails(_)));
    assert_eq!(seal.lock().unwrap().moves_handed, 0);
    assert!(!asked.ticket().has_moved(), "whoever takes its place may serve it");
}
