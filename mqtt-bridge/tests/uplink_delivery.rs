//! What goes up arrives at least once, and nothing is called delivered that customs has not received.

mod uplink_bench;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use segel_mqtt_bridge::sim::{Ack, Direction, Line, Weather};
use segel_mqtt_bridge::uplink::{Announcement, LineFault, Phase, Unsendable};
use uplink_bench::{Care, Queue, Running, SOON, Tray, config, customs, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn unacked_events_are_sent_again_after_the_session_is_lost() {
    let customs = customs().await;
    customs.acks(Ack::Withheld);
    let queue = Queue::holding(30);
    let mut link = Running::start(config(customs.address()), &queue, &Tray::that(Care::Keep));
    customs.until(SOON, |received| received.len() == 30).await.expect("all are sent");
    assert!(queue.delivered().is_empty(), "nothing is delivered before it is acknowledged");
    assert_eq!(link.until("in flight", |standing| standing.in_flight == 30 || standing.phase.is_up()).await.acked, 0);

    customs.forget_sessions();
    customs.acks(Ack::AtOnce);
    // The acknowledgements held on the old connection must not get out first.
    customs.acks(Ack::Withheld);
    customs.hang_up();
    customs.until_connects(SOON, 2).await.expect("it connects again");
    customs.acks(Ack::AtOnce);
    queue.until_delivered(30).await;

    let received = customs.received();
    assert_eq!(numbers(&received).len(), 30);
    let second = received.iter().filter(|one| one.connection == 2).count();
    assert!(second > 0, "nothing was sent again");
    assert_eq!(queue.delivered_twice(), 0);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uplink_recovers_when_broker_forgets_the_session() {
    let customs = customs().await;
    let queue = Queue::holding(0);
    let mut cfg = config(customs.address());
    // A small ring of packet ids, half of it open in disorder when the session goes: a loop used twice would wedge here.
    cfg.window = 4;
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    link.until_up().await;
    let mut total = 0;
    for round in 0..10 {
        customs.acks(if round % 2 == 0 { Ack::Shuffled(3) } else { Ack::Withheld });
        customs.drop_after(7 + round);
        for number in total..total + 20 {
            queue.put("ev", format!("parcel {number}"));
        }
        total += 20;
        if round % 2 == 1 {
            customs.until(SOON, |received| received.len() >= total - 20).await.expect("it sends");
            customs.hang_up();
        }
        customs.forget_sessions();
        customs.acks(Ack::AtOnce);
        queue.until_delivered(total).await;
    }
    assert_eq!(numbers(&customs.received()).len(), total);
    assert!(customs.connects().len() > 5, "the line was lost again and again");
    link.until_up().await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_event_is_delivered() {
    let customs = customs().await;
    let queue = Queue::holding(0);
    let mut link = Running::start(config(customs.address()), &queue, &Tray::that(Care::Keep));
    link.until_up().await;
    for number in 0..50 {
        queue.put("ev", format!("parcel {number}"));
        // Each alone: the next one comes only after this one has arrived, so nothing else can push it along.
        queue.until_delivered(number + 1).await;
    }
    assert_eq!(customs.received().len(), 50);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_out_of_order_move_nothing_wrongly() {
    let customs = customs().await;
    customs.acks(Ack::Shuffled(7));
    let queue = Queue::holding(1_000);
    let mut cfg = config(customs.address());
    cfg.window = 10;
    let link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    queue.until_delivered(1_000).await;
    assert_eq!(customs.connects().len(), 1, "acknowledgements out of order cost no line");
    let received = customs.received();
    assert_eq!((received.len(), numbers(&received).len()), (1_000, 1_000), "nothing is sent twice");
    assert_eq!(queue.delivered_twice(), 0);
    assert!(queue.most_handed() <= 10, "{} handed out", queue.most_handed());
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_parcels_with_acks_withheld_never_exceed_the_window() {
    let customs = customs().await;
    customs.acks(Ack::Withheld);
    let queue = Queue::holding(3_000);
    let mut cfg = config(customs.address());
    cfg.window = 100;
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    customs.until(SOON, |received| received.len() == 100).await.expect("the window fills");
    // Two pings later still nothing more was sent.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(customs.received().len(), 100);
    assert_eq!(queue.most_handed(), 100);
    assert!(link.until_up().await.phase.is_up());
    customs.acks(Ack::AtOnce);
    queue.until_delivered(3_000).await;
    assert_eq!(queue.most_handed(), 100);
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_answers_pings_but_never_acknowledges_loses_the_line() {
    let customs = customs().await;
    customs.acks(Ack::Withheld);
    let queue = Queue::holding(5);
    let mut cfg = config(customs.address());
    cfg.ack_timeout = Duration::from_secs(2);
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    link.until_down_because("has not acknowledged our oldest message").await;
    customs.acks(Ack::AtOnce);
    queue.until_delivered(5).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parcel_arrives_through_forty_cuts() {
    const PARCELS: usize = 5_000;
    const CUTS: usize = 40;
    let customs = customs().await;
    let line = Line::to(customs.address()).await.unwrap();
    let queue = Queue::holding(PARCELS);
    let link = Running::start(config(line.address()), &queue, &Tray::that(Care::Keep));
    let mut random = StdRng::seed_from_u64(40);
    for cut in 0..CUTS {
        // Spread over the run: the next cut is made once this share has arrived.
        let share = PARCELS * cut / (CUTS + 1);
        customs.until(SOON * 4, |received| received.len() > share).await.expect("it goes on after each cut");
        match random.random_range(0..4) {
            0 => line.snap(),
            1 => customs.drop_after(random.random_range(1..50)),
            2 => line.cut_after(Direction::Up, random.random_range(1..4_000)),
            _ => line.cut_after(Direction::Down, random.random_range(1..200)),
        }
        if random.random_range(0..4) == 0 {
            customs.forget_sessions();
        }
        customs.acks(if random.random_range(0..3) == 0 { Ack::Shuffled(9) } else { Ack::AtOnce });
        // Delivered first, received second: what is delivered now must already have been received.
        let delivered = queue.delivered();
        let received = numbers(&customs.received());
        assert!(delivered.is_subset(&received), "delivered but never received: {:?}", delivered.difference(&received));
    }
    queue.until_delivered(PARCELS).await;
    let received = customs.received();
    assert_eq!(numbers(&received).len(), PARCELS, "every parcel arrived");
    assert_eq!(queue.delivered_twice(), 0);
    assert!(customs.connects().len() > CUTS / 2, "only {} connections: the cuts did not cut", customs.connects().len());
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_holed_line_is_noticed_and_replaced() {
    let customs = customs().await;
    let line = Line::to(customs.address()).await.unwrap();
    let queue = Queue::holding(10);
    let mut cfg = config(line.address());
    cfg.connect_timeout = Duration::from_secs(2);
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    queue.until_delivered(10).await;
    // Nothing is closed, nothing is refused: only silence.
    line.set(Weather::BlackHole);
    for number in 10..20 {
        queue.put("ev", format!("parcel {number}"));
    }
    link.until_down_because("nothing was heard from customs").await;
    // The next attempts disappear as well, and say so.
    link.until_down_because("did not answer within 2s").await;
    line.set(Weather::Fair);
    queue.until_delivered(20).await;
    link.until_up().await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_noticed_even_when_the_socket_buffer_is_full() {
    let customs = customs().await;
    let line = Line::to(customs.address()).await.unwrap();
    let queue = Queue::default();
    let mut cfg = config(line.address());
    (cfg.connect_timeout, cfg.max_payload_out) = (Duration::from_secs(2), 1 << 20);
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    link.until_up().await;
    customs.reading(segel_mqtt_bridge::sim::Reading::Asleep);
    for _ in 0..40 {
        queue.put("ev", vec![7; 1 << 20]);
    }
    link.until_down_because("nothing was heard from customs").await;
    customs.reading(segel_mqtt_bridge::sim::Reading::Awake);
    queue.until_delivered(40).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_sent_is_given_back_and_blocks_nothing() {
    let customs = customs().await;
    let queue = Queue::default();
    queue.put("ev", "parcel 0");
    queue.put("ev", vec![0; 2_000]);
    queue.put("ev/#", "wildcard");
    queue.put("", "no topic");
    queue.put("ev", "parcel 4");
    let mut cfg = config(customs.address());
    cfg.max_payload_out = 1_999;
    let link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    queue.until_delivered(2).await;
    let refused = queue.unsendable();
    assert_eq!(refused[0], (1, Unsendable::TooLong { bytes: 2_000, limit: 1_999 }));
    assert_eq!(refused.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(customs.connects().len(), 1, "it cost no line");
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_waits_for_acknowledgements_and_says_farewell() {
    let customs = customs().await;
    let queue = Queue::holding(20);
    let mut cfg = config(customs.address());
    let say = |status: &'static str| Some(Announcement { topic: "state/gateway".into(), payload: status.into() });
    (cfg.will, cfg.birth, cfg.farewell) = (say("lost"), say("ready"), say("stopped"));
    customs.acks(Ack::Withheld);
    let link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    customs.until(SOON, |received| received.len() == 21).await.expect("birth and parcels");
    let received = customs.received();
    assert_eq!((&received[0].payload[..], received[0].retain), (&b"ready"[..], true), "the birth is retained and comes first");
    assert!(received[1..].iter().all(|one| !one.retain));
    link.stop.cancel();
    customs.acks(Ack::AtOnce);
    let standing = link.standing.clone();
    link.end().await;
    assert_eq!(queue.delivered().len(), 20, "what was under way counts");
    let received = customs.received();
    assert_eq!((&received[21].payload[..], received[21].retain), (&b"stopped"[..], true));
    assert_eq!((customs.disconnects(), customs.wills().len()), (1, 0), "it left with DISCONNECT, so no will is published");
    assert!(matches!(standing.borrow().phase, Phase::Down { reason: LineFault::Stopped, next_try: None, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_bounded_when_customs_is_silent_and_the_will_speaks() {
    let customs = customs().await;
    customs.acks(Ack::Withheld);
    let queue = Queue::holding(20);
    let mut cfg = config(customs.address());
    let say = |status: &'static str| Some(Announcement { topic: "state/gateway".into(), payload: status.into() });
    (cfg.will, cfg.farewell, cfg.drain) = (say("lost"), say("stopped"), Duration::from_millis(300));
    let link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    customs.until(SOON, |received| received.len() == 20).await.expect("sent");
    link.end().await;
    assert!(queue.delivered().is_empty());
    let ended = async {
        while customs.wills().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("customs hears that we are lost");
}
