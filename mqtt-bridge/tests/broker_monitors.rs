//! What a monitor may count on, and what it may not do.

mod broker_bench;

use std::time::Duration;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use broker_bench::*;
use segel_mqtt_bridge::broker::{Access, Broker, BrokerConfig, BrokerError, Keep, Limits, RouterState, Users};
use segel_mqtt_bridge::topic::Class;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_cannot_speak_to_another_monitor() {
    let broker = broker(Limits::default()).await;
    let mut listener = Monitor::hello(broker.local_addr(), "listener").await;
    assert_eq!(listener.ask(&[("#", 1)]).await, [1]);
    for first in [0x30, 0x31, 0x32, 0x34, 0x3d] {
        let mut speaker = Monitor::hello(broker.local_addr(), "speaker").await;
        let id: &[u8] = if first & 6 == 0 { b"" } else { &[0, 1] };
        speaker.send(&packet(first, &[&field(b"segel/1/idtpp/g03/alarm/forged")[..], id, b"forged"].concat())).await;
        speaker.sees_the_end().await;
        let mut mourner = Monitor::dial(broker.local_addr()).await;
        let will = [field(b"segel/1/idtpp/g03/alarm/forged"), field(b"forged")].concat();
        assert_eq!(mourner.greet(&connect(4, 0b0010_0110, 60, b"mourner", &will)).await, Some(5));
    }
    broker.publish(&topic(Class::Event, "x"), b"true", Keep::Passing);
    let got = listener.message().await.unwrap();
    assert_eq!((got.payload.as_str(), got.topic.as_str()), ("true", "segel/1/idtpp/g03/ev/x"), "nothing forged came before it");
    let mut later = Monitor::hello(broker.local_addr(), "later").await;
    later.ask(&[("#", 0)]).await;
    later.ping().await;
    assert_eq!(broker.standing().borrow().expelled, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_state_of_five_hundred_topics_reaches_a_new_subscriber_completely() {
    let broker = broker(Limits::default()).await;
    let value = |number: usize| format!("value {number} {}", "x".repeat(200));
    for number in 0..500 {
        let seal = topic(Class::State, &format!("seal-{number:03}"));
        broker.publish(&seal, b"old", Keep::Retained);
        broker.publish(&seal, value(number).as_bytes(), Keep::Retained);
    }
    broker.publish(&topic(Class::State, "gone"), b"x", Keep::Retained);
    broker.publish(&topic(Class::State, "gone"), b"", Keep::Retained);
    for quality in [0, 1] {
        let mut monitor = Monitor::hello(broker.local_addr(), "new").await;
        assert_eq!(monitor.ask(&[("segel/1/+/+/state/+", quality)]).await, [quality]);
        for number in 0..500 {
            let got = monitor.message().await.unwrap();
            assert_eq!((got.topic, got.payload), (format!("segel/1/idtpp/g03/state/seal-{number:03}"), value(number)));
            assert!(got.retain && got.id.is_some() == (quality == 1));
        }
        monitor.ping().await;
        // a live value comes without the flag
        broker.publish(&topic(Class::State, "seal-000"), value(0).as_bytes(), Keep::Retained);
        assert!(!monitor.message().await.unwrap().retain);
        // asking again brings it all again
        monitor.ask(&[("segel/1/idtpp/g03/state/seal-007", quality)]).await;
        let again = monitor.message().await.unwrap();
        assert_eq!((again.payload, again.retain), (value(7), true));
    }
    assert_eq!(broker.standing().borrow().retained, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_cut_off_and_others_are_not_delayed() {
    let broker = broker(Limits { queue_bytes: 256 * 1024, ..Limits::default() }).await;
    let mut slow = Monitor::listening(broker.local_addr(), "slow").await;
    let mut good = Monitor::listening(broker.local_addr(), "good").await;
    let standing = broker.standing();
    let mut said = 0;
    while standing.borrow().cut_off == 0 {
        assert!(said < 2000, "the slow one was never cut off");
        let text = format!("{said:06}{}", "x".repeat(50_000));
        broker.publish(&topic(Class::Telemetry, "flood"), text.as_bytes(), Keep::Passing);
        assert_eq!(good.message().await.expect("the good one was cut off").payload[..6], text[..6]);
        said += 1;
    }
    within("the slow one is closed", slow.sees_some_until_the_end()).await;
    assert_eq!(broker.standing().borrow().cut_off, 1);
    assert_eq!(broker.standing().borrow().lost, 0);
    all_is_well(&broker, &mut good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_takes_nothing_is_cut_off_even_when_the_gate_falls_silent() {
    let broker = broker(Limits { stall: Duration::from_secs(3), queue_bytes: 64 << 20, ..Limits::default() }).await;
    let mut dead = Monitor::listening(broker.local_addr(), "dead").await;
    let mut good = Monitor::listening(broker.local_addr(), "good").await;
    // more than the kernel's buffers take
    for _ in 0..400 {
        broker.publish(&topic(Class::Telemetry, "flood"), &vec![b'x'; 60_000], Keep::Passing);
        assert_eq!(good.message().await.unwrap().payload.len(), 60_000);
    }
    until(&broker, "cut off", |s| s.cut_off == 1).await;
    within("closed", dead.sees_some_until_the_end()).await;
    all_is_well(&broker, &mut good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_beyond_all_bounds_is_counted_and_leaves_no_monitor_with_a_gap() {
    let broker = broker(Limits { transit_bytes: 64 * 1024, ..Limits::default() }).await;
    let mut monitor = Monitor::listening(broker.local_addr(), "monitor").await;
    for number in 0..20_000 {
        broker.publish(&topic(Class::Telemetry, "burst"), format!("{number} {}", "x".repeat(100)).as_bytes(), Keep::Passing);
    }
    let (mut next, mut whole) = (0, false);
    while let Some(got) = monitor.message().await {
        assert!(got.payload.starts_with(&format!("{next} ")), "a gap before {:.20}", got.payload);
        next += 1;
        whole = next == 20_000;
        if whole {
            break;
        }
    }
    let standing = broker.standing().borrow().clone();
    assert_eq!(standing.published, 20_000);
    assert!(whole || standing.cut_off == 1, "it ended after {next} without a reason: {standing:?}");
    assert!(whole || next < 20_000);
    // the bound is not used up for good
    let mut after = Monitor::listening(broker.local_addr(), "after").await;
    all_is_well(&broker, &mut after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_could_not_be_carried_ends_those_who_show_the_old_one() {
    for limits in [Limits { transit_bytes: 300, ..Limits::default() }, Limits { payload_bytes: 300, ..Limits::default() }] {
        let broker = broker(limits).await;
        let seal = topic(Class::State, "seal-1");
        broker.publish(&seal, b"locked", Keep::Retained);
        let mut monitor = Monitor::listening(broker.local_addr(), "m").await;
        assert_eq!(monitor.message().await.unwrap().payload, "locked");
        // the gate says nothing more after this
        broker.publish(&seal, &[b'x'; 400], Keep::Retained);
        monitor.sees_the_end().await;
        let standing = broker.standing().borrow().clone();
        assert_eq!(standing.lost, 1);
        let mut again = Monitor::listening(broker.local_addr(), "m").await;
        if standing.retained == 1 {
            assert_eq!(again.message().await.unwrap().payload.len(), 400, "the true state");
        }
        again.ping().await;
        until(&broker, "it is counted", |s| s.cut_off == 1).await;
    }
}

fn quick(password: &str) -> String {
    // the cheapest there is: the tests are about who gets in, not about the cost
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).expect("the least"));
    argon.hash_password(password.as_bytes()).expect("a hash").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_gets_code_4_and_no_password_code_5() {
    let users = Users::new([("ops".to_owned(), quick("right")), ("guest".to_owned(), quick("other"))]).unwrap();
    let limits = Limits { refusal_delay: Duration::from_millis(50), ..Limits::default() };
    let broker = with_access(Access::Users(users), limits).await;
    let code = async |flags: u8, login: &[u8]| {
        let mut monitor = Monitor::dial(broker.local_addr()).await;
        let code = monitor.greet(&connect(4, flags, 60, b"screen", login)).await;
        (code, monitor)
    };
    let both = |user: &[u8], password: &[u8]| [field(user), field(password)].concat();
    let (accepted, mut ops) = code(0b1100_0010, &both(b"ops", b"right")).await;
    assert_eq!(accepted, Some(0));
    for (user, password) in [(&b"ops"[..], &b"other"[..]), (b"nobody", b"right"), (b"ops", b""), (b"", b"right")] {
        assert_eq!(code(0b1100_0010, &both(user, password)).await.0, Some(4), "{user:?} {password:?}");
    }
    assert_eq!(code(0b1000_0010, &field(b"ops")).await.0, Some(4), "a user without password");
    assert_eq!(code(0b0000_0010, b"").await.0, Some(5), "neither");
    // the same client id of another user takes nobody's place
    let (accepted, mut guest) = code(0b1100_0010, &both(b"guest", b"other")).await;
    assert_eq!(accepted, Some(0));
    ops.ping().await;
    guest.ping().await;
    assert_eq!(broker.standing().borrow().clients, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_wrong_passwords_at_once_do_not_keep_the_right_one_out() {
    let users = Users::new([("ops".to_owned(), quick("right"))]).unwrap();
    let limits = Limits { refusal_delay: Duration::from_secs(3600), waiting: 4, ..Limits::default() };
    let broker = with_access(Access::Users(users), limits).await;
    let mut guessers = Vec::new();
    for _ in 0..4 {
        let mut guesser = Monitor::dial(broker.local_addr()).await;
        guesser.send(&connect(4, 0b1100_0010, 60, b"g", &[field(b"ops"), field(b"wrong")].concat())).await;
        guessers.push(guesser);
    }
    let mut ops = Monitor::dial(broker.local_addr()).await;
    let login = [field(b"ops"), field(b"right")].concat();
    within("the right one gets in", async {
        // a line full of guesses is answered with 3: come again
        while ops.greet(&connect(4, 0b1100_0010, 60, b"screen", &login)).await != Some(0) {
            ops = Monitor::dial(broker.local_addr()).await;
        }
    })
    .await;
    ops.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_router_dies_monitors_come_back_and_get_the_retained_state() {
    let broker = broker(Limits::default()).await;
    broker.publish(&topic(Class::State, "gateway"), b"ready", Keep::Retained);
    let mut monitors = Vec::new();
    for number in 0..3 {
        let mut monitor = Monitor::listening(broker.local_addr(), &format!("m{number}")).await;
        assert_eq!(monitor.message().await.unwrap().payload, "ready");
        monitors.push(monitor);
    }
    for death in 1..=3 {
        broker.break_router();
        for mut monitor in monitors.drain(..) {
            monitor.sees_the_end().await;
        }
        until(&broker, "a new router", |s| s.router_restarts == death && s.router == RouterState::Up).await;
        let state = format!("ready after {death}");
        broker.publish(&topic(Class::State, "gateway"), state.as_bytes(), Keep::Retained);
        for number in 0..3 {
            let mut monitor = Monitor::listening(broker.local_addr(), &format!("m{number}")).await;
            let got = monitor.message().await.unwrap();
            assert_eq!((got.payload.as_str(), got.retain), (state.as_str(), true));
            monitors.push(monitor);
        }
        broker.publish(&topic(Class::Event, "x"), b"live", Keep::Passing);
        for monitor in &mut monitors {
            assert_eq!(monitor.message().await.unwrap().payload, "live");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_published_while_the_router_is_dead_is_not_forgotten() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    broker.break_router();
    before.sees_the_end().await;
    broker.publish(&topic(Class::Alarm, "x"), b"stands", Keep::Retained);
    until(&broker, "a new router", |s| s.router_restarts == 1).await;
    let mut after = Monitor::listening(broker.local_addr(), "after").await;
    assert_eq!(after.message().await.unwrap().payload, "stands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_carry_the_return_codes_of_mqtt_3_1_1() {
    let broker = broker(Limits::default()).await;
    let code = async |bytes: Vec<u8>| Monitor::dial(broker.local_addr()).await.greet(&bytes).await;
    let old = packet(0x10, &[field(b"MQIsdp"), vec![3, 2, 0, 60], field(b"x")].concat());
    assert_eq!(code(old).await, Some(1));
    assert_eq!(code(connect(5, 2, 60, b"x", b"")).await, Some(1));
    assert_eq!(code(connect(4, 0, 60, b"", b"")).await, Some(2));
    assert_eq!(code(connect(4, 2, 60, &[b'x'; 129], b"")).await, Some(2));
    assert_eq!(code(connect(4, 2, 60, b"x\0y", b"")).await, Some(2));
    assert_eq!(code(connect(4, 2, 60, b"", b"")).await, Some(0));
    assert_eq!(code(connect(4, 0, 60, b"lasting", b"")).await, Some(0));
    assert_eq!(code(b"GET / HTTP/1.1\r\n\r\n".to_vec()).await, None);
    assert_eq!(code(connect(4, 3, 60, b"x", b"")).await, None, "reserved flag");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_monitor_is_dropped_after_its_keepalive_and_one_that_pings_is_not() {
    let broker = broker(Limits::default()).await;
    let mut silent = Monitor::dial(broker.local_addr()).await;
    assert_eq!(silent.greet(&connect(4, 2, 1, b"silent", b"")).await, Some(0));
    let mut pings = Monitor::dial(broker.local_addr()).await;
    assert_eq!(pings.greet(&connect(4, 2, 1, b"pings", b"")).await, Some(0));
    let mut none = Monitor::hello(broker.local_addr(), "none").await;
    let ended = async {
        silent.sees_the_end().await;
    };
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => break,
            () = tokio::time::sleep(Duration::from_millis(300)) => pings.ping().await,
        }
    }
    pings.ping().await;
    none.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_bounded_and_dollar_topics_are_quietly_empty() {
    let broker = broker(Limits { subscriptions: 3, ..Limits::default() }).await;
    let mut monitor = Monitor::hello(broker.local_addr(), "m").await;
    assert_eq!(monitor.ask(&[("$SYS/#", 0), ("a/#/b", 0), ("b", 2), ("c", 1), ("d", 0)]).await, [0, 0x80, 1, 1, 0x80]);
    monitor.send(&packet(0xa2, &[&[0, 9][..], &field(b"never")].concat())).await;
    assert_eq!(monitor.packet().await, Some((0xb0, vec![0, 9])));
    monitor.send(&packet(0xa2, &[&[0, 10][..], &field(b"b"), &field(b"c")].concat())).await;
    assert_eq!(monitor.packet().await, Some((0xb0, vec![0, 10])));
    assert_eq!(monitor.ask(&[("segel/#", 0)]).await, [0]);
    broker.publish(&topic(Class::Event, "x"), b"1", Keep::Passing);
    assert_eq!(monitor.message().await.unwrap().payload, "1");
    monitor.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_closed_and_a_full_waiting_room_lets_newcomers_in() {
    let limits = Limits { waiting: 4, connect_deadline: Duration::from_secs(3600), ..Limits::default() };
    let broker = broker(limits).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(Monitor::dial(broker.local_addr()).await);
    }
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    silent.remove(0).sees_the_end().await;
    all_is_well(&broker, &mut before).await;
    drop(broker);

    let broker = broker_with_deadline().await;
    let mut silent = Monitor::dial(broker.local_addr()).await;
    silent.send(&[0x10, 20, 0]).await;
    silent.sees_the_end().await;
    until(&broker, "it is counted", |s| s.refused == 1).await;
}

async fn broker_with_deadline() -> Broker {
    broker(Limits { connect_deadline: Duration::from_millis(200), ..Limits::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_closing_still_arrives() {
    let broker = broker(Limits::default()).await;
    let address = broker.local_addr();
    let mut monitors = Vec::new();
    for number in 0..3 {
        monitors.push(Monitor::listening(address, &format!("m{number}")).await);
    }
    for number in 0..50 {
        broker.publish(&topic(Class::Event, "x"), format!("{number}").as_bytes(), Keep::Passing);
    }
    broker.publish(&topic(Class::State, "gateway"), b"stopping", Keep::Retained);
    within("close", broker.close()).await;
    for monitor in &mut monitors {
        for number in 0..50 {
            assert_eq!(monitor.message().await.unwrap().payload, format!("{number}"));
        }
        assert_eq!(monitor.message().await.unwrap().payload, "stopping");
        monitor.sees_the_end().await;
    }
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_says_why() {
    let first = broker(Limits::default()).await;
    let config =
        |listen: &str| BrokerConfig { listen: listen.parse().unwrap(), access: Access::Anyone, tls: None, limits: Limits::default() };
    let taken = first.local_addr().to_string();
    assert!(matches!(Broker::bind(config(&taken)).await, Err(BrokerError::InUse(_))));
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(matches!(Broker::bind(config(open)).await, Err(BrokerError::OpenToAll(_))), "{open}");
    }
    let users = Access::Users(Users::new([("ops".to_owned(), quick("x"))]).unwrap());
    let elsewhere = BrokerConfig { access: users, ..config("192.0.2.1:0") };
    assert!(matches!(Broker::bind(elsewhere).await, Err(BrokerError::NotHere(_))));
}
