//! What comes down is acknowledged only after the gate has kept it, and slow commands stop nothing.

mod uplink_bench;

use std::sync::atomic::Ordering;
use std::time::Duration;

use segel_mqtt_bridge::sim::{Grant, Sendoff};
use uplink_bench::{Care, Queue, Running, SOON, Tray, UNLOCK, config, customs};

#[tokio::test(flavor = "multi_thread")]
async fn link_is_not_up_until_commands_are_subscribed() {
    let customs = customs().await;
    customs.grant(Grant::Silence);
    let queue = Queue::holding(5);
    let mut cfg = config(customs.address());
    cfg.connect_timeout = Duration::from_secs(2);
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    let subscribing = link.until("subscribing", |standing| standing.phase == segel_mqtt_bridge::uplink::Phase::Subscribing).await;
    assert_eq!(subscribing.connections, 1);
    link.until_down_because("did not answer SUBSCRIBE").await;
    assert!(customs.received().is_empty(), "nothing is published before the commands are subscribed");

    customs.grant(Grant::Refused);
    let reason = link.until_down_because("refused the subscription").await;
    assert!(reason.contains(uplink_bench::COMMANDS), "{reason}");
    assert!(customs.received().is_empty());

    customs.grant(Grant::QosZero);
    link.until_down_because("did not grant QoS 1").await;
    assert!(customs.received().is_empty());

    customs.grant(Grant::AsAsked);
    link.until_up().await;
    queue.until_delivered(5).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_acknowledged_only_after_the_inbox_kept_it() {
    let customs = customs().await;
    let tray = Tray::that(Care::Wait);
    let mut link = Running::start(config(customs.address()), &Queue::default(), &tray);
    link.until_up().await;
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    tray.until_offered(1).await;
    assert!(!customs.is_acknowledged(command), "the inbox has it but has not kept it");

    // The line goes while the gate is at work: the command comes again, and still nothing is acknowledged.
    customs.hang_up();
    tray.until_offered(2).await;
    assert!(!customs.is_acknowledged(command));

    tray.open.send_replace(true);
    customs.until_acknowledged(SOON, command).await.expect("acknowledged once kept");
    let kept = tray.kept();
    assert!(kept.iter().any(|delivery| delivery.duplicate), "the broker says that it repeats: {kept:?}");
    assert!(kept.iter().all(|delivery| delivery.topic == UNLOCK && delivery.payload == "open" && !delivery.retained));
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_while_the_gate_was_away_is_delivered() {
    let customs = customs().await;
    let tray = Tray::that(Care::Keep);
    let mut link = Running::start(config(customs.address()), &Queue::default(), &tray);
    link.until_up().await;
    link.end().await;
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    let link = Running::start(config(customs.address()), &Queue::default(), &tray);
    customs.until_acknowledged(SOON, command).await.expect("the session was kept");
    assert!(customs.connects().iter().all(|connect| !connect.clean_session));
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_command_is_passed_on_as_such() {
    let customs = customs().await;
    let tray = Tray::that(Care::Keep);
    let link = Running::start(config(customs.address()), &Queue::default(), &tray);
    let command = customs.send(Sendoff { retained: true, duplicate: true, ..Sendoff::new(UNLOCK, "open") });
    customs.until_acknowledged(SOON, command).await.expect("it is the gate that refuses it");
    assert!(tray.kept()[0].retained && tray.kept()[0].duplicate);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_unlock_does_not_drop_the_link() {
    let customs = customs().await;
    let queue = Queue::default();
    let tray = Tray::that(Care::Wait);
    let mut link = Running::start(config(customs.address()), &queue, &tray);
    link.until_up().await;
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    tray.until_offered(1).await;
    // Several keep-alives of one second pass while the unlock is under way, and messages go up all the time.
    for number in 0..10 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        queue.put("ev", format!("parcel {number}"));
        queue.until_delivered(number + 1).await;
    }
    assert!(!customs.is_acknowledged(command));
    tray.open.send_replace(true);
    customs.until_acknowledged(SOON, command).await.expect("acknowledged at last");
    assert_eq!(customs.connects().len(), 1, "the link was never dropped");
    assert_eq!(tray.offered.load(Ordering::SeqCst), 1);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_allowed_at_a_time_come_again_and_none_is_lost() {
    let customs = customs().await;
    let tray = Tray::that(Care::Wait);
    let mut cfg = config(customs.address());
    cfg.commands_in_progress = 4;
    let mut link = Running::start(cfg, &Queue::default(), &tray);
    link.until_up().await;
    let commands: Vec<_> = (0..30).map(|number| customs.send(Sendoff::new(UNLOCK, format!("open {number}")))).collect();
    tray.until_offered(4).await;
    assert!(commands.iter().all(|command| !customs.is_acknowledged(*command)));
    tray.open.send_replace(true);
    for command in commands {
        customs.until_acknowledged(SOON, command).await.expect("each is acknowledged in the end");
    }
    assert!(tray.most_at_once.load(Ordering::SeqCst) <= 4, "{} at a time", tray.most_at_once.load(Ordering::SeqCst));
    let kept: std::collections::BTreeSet<_> = tray.kept().into_iter().map(|delivery| delivery.payload).collect();
    assert_eq!(kept.len(), 30);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_could_not_be_kept_is_offered_again_on_the_same_line() {
    let customs = customs().await;
    let tray = Tray::that(Care::FailFirst(2));
    let link = Running::start(config(customs.address()), &Queue::default(), &tray);
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    customs.until_acknowledged(SOON, command).await.expect("kept at the third offer");
    assert_eq!((tray.offered.load(Ordering::SeqCst), tray.kept().len(), customs.connects().len()), (3, 1, 1));
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_which_the_gate_fails_comes_again() {
    let customs = customs().await;
    let tray = Tray::that(Care::PanicOnce);
    let link = Running::start(config(customs.address()), &Queue::default(), &tray);
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    customs.until_acknowledged(SOON, command).await.expect("kept on the next line");
    assert_eq!(tray.offered.load(Ordering::SeqCst), 2);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_too_long_is_kept_as_its_beginning_and_does_not_block_the_line() {
    let customs = customs().await;
    let tray = Tray::that(Care::Keep);
    let mut cfg = config(customs.address());
    cfg.max_payload_in = 1_000;
    let mut link = Running::start(cfg, &Queue::default(), &tray);
    let long = customs.send(Sendoff::new(UNLOCK, vec![0; 1_001]));
    let fits = customs.send(Sendoff::new(UNLOCK, vec![0; 1_000]));
    customs.until_acknowledged(SOON, fits).await.expect("the next one is taken");
    customs.until_acknowledged(SOON, long).await.expect("taken off the line");
    assert_eq!((tray.kept().len(), customs.connects().len()), (2, 1));
    assert_eq!(link.until_up().await.commands_kept, 2);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_acknowledged_in_the_order_they_came() {
    let customs = customs().await;
    let tray = Tray::that(Care::WaitForFirst);
    let mut link = Running::start(config(customs.address()), &Queue::default(), &tray);
    link.until_up().await;
    let first = customs.send(Sendoff::new(UNLOCK, "slow"));
    tray.until_offered(1).await;
    let second = customs.send(Sendoff::new(UNLOCK, "quick"));
    tray.until_offered(2).await;
    let third = customs.send(Sendoff::new(UNLOCK, "quick too"));
    tray.until_offered(3).await;
    // MQTT 3.1.1 wants the acknowledgements in order, and brokers insist: the quick ones wait for the slow one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!([first, second, third].iter().all(|command| !customs.is_acknowledged(*command)));
    tray.open.send_replace(true);
    for command in [first, second, third] {
        customs.until_acknowledged(SOON, command).await.expect("all are acknowledged");
    }
    assert_eq!(customs.connects().len(), 1);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_beyond_every_limit_does_not_keep_the_gate_from_its_alarms() {
    let customs = customs().await;
    let queue = Queue::default();
    let tray = Tray::that(Care::Keep);
    let mut link = Running::start(config(customs.address()), &queue, &tray);
    link.until_up().await;
    customs.send(Sendoff::new(UNLOCK, vec![0; 6 << 20]));
    // Were the session kept, the broker would send it first on every new line.
    link.until_down_because("commands that waited there are lost").await;
    queue.put("ev", "parcel 0");
    queue.until_delivered(1).await;
    let wiping: Vec<_> = customs.connects().iter().map(|connect| connect.clean_session).collect();
    assert_eq!(wiping, [false, true, false], "wiped once, then kept again");
    let command = customs.send(Sendoff::new(UNLOCK, "open"));
    customs.until_acknowledged(SOON, command).await.expect("commands come as before");
    link.end().await;
}
