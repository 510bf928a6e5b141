//! The eight ways in which rumqttd 0.20's own network server dies or blocks for good, each played against our front with
//! raw bytes. After each one a monitor that was there before still listens, and a new one gets in.

mod broker_bench;

use std::sync::Arc;
use std::time::Duration;

use broker_bench::*;
use rustls_pki_types::ServerName;
use segel_mqtt_bridge::broker::{Access, Broker, BrokerConfig, Keep, Limits, server_config};
use segel_mqtt_bridge::topic::Class;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_begins_with_two_bytes_does_not_stop_the_router() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    for topic in ["é/x", "Ж", "\u{1F512}/lock"] {
        let mut publisher = Monitor::hello(broker.local_addr(), "attacker").await;
        publisher.ask(&[("#", 1), ("é/#", 0)]).await;
        publisher.send(&packet(0x30, &[field(topic.as_bytes()), b"x".to_vec()].concat())).await;
        publisher.sees_the_end().await;

        let will = [field(topic.as_bytes()), field(b"gone")].concat();
        let mut mourner = Monitor::dial(broker.local_addr()).await;
        assert_eq!(mourner.greet(&connect(4, 0b0000_0110, 60, b"mourner", &will)).await, Some(5));
        mourner.sees_the_end().await;
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_id_of_wildcards_that_connects_twice_does_not_lock_the_door() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let mut older: Option<Monitor> = None;
    for _ in 0..5 {
        let mut newer = Monitor::listening(broker.local_addr(), "a+b$c#d/e").await;
        newer.ping().await;
        if let Some(mut older) = older.replace(newer) {
            older.sees_the_end().await;
        }
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_5_client_with_properties_does_not_hurt_those_of_version_4() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let properties = [&[5u8, 0x02][..], &60u32.to_be_bytes()].concat();
    let publish = packet(0x30, &[field(b"segel/1/a/b/ev/x"), properties, b"x".to_vec()].concat());
    for _ in 0..3 {
        let mut five = Monitor::dial(broker.local_addr()).await;
        assert_eq!(five.greet(&connect(5, 2, 60, b"five", b"")).await, Some(1));
        five.send(&publish).await;
        five.sees_the_end().await;
        // one that says 4 and then speaks 5
        let mut liar = Monitor::hello(broker.local_addr(), "five").await;
        liar.send(&publish).await;
        liar.sees_the_end().await;
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_a_shared_group_may_drop_with_unacknowledged_messages() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    for round in 0..5 {
        let mut member = Monitor::dial(broker.local_addr()).await;
        assert_eq!(member.greet(&connect(4, 0, 60, b"member", b"")).await, Some(0), "a lasting session is served as a clean one");
        assert_eq!(member.ask(&[("$share/g/segel/#", 1), ("segel/#", 1)]).await, [0x80, 1]);
        broker.publish(&topic(Class::Alarm, "x"), format!("{round}").as_bytes(), Keep::Passing);
        // takes the message and leaves without acknowledging it
        assert_eq!(member.packet().await.unwrap().0, 0x32);
        assert_eq!(before.message().await.unwrap().payload, format!("{round}"));
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitors_that_disconnect_in_a_flood_do_not_stop_the_router() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let flood = topic(Class::Telemetry, "flood");
    for cycle in 0..60 {
        let mut leaver = Monitor::listening(broker.local_addr(), &format!("leaver-{}", cycle % 3)).await;
        for number in 0..400 {
            broker.publish(&flood, format!("{cycle} {number}").as_bytes(), Keep::Passing);
            if number == 250 {
                leaver.send(&DISCONNECT).await;
            }
        }
        if cycle % 2 == 0 {
            leaver.sees_some_until_the_end().await;
        }
        drop(leaver);
        // the one that stays reads along, so that only the leavers are at fault
        for number in 0..400 {
            assert_eq!(before.message().await.expect("cut off").payload, format!("{cycle} {number}"));
        }
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_takeovers_in_a_flood_do_not_stop_the_router() {
    let broker = Arc::new(broker(Limits::default()).await);
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let mut last = None;
    for number in 0..360 {
        let newer = Monitor::listening(broker.local_addr(), "same").await;
        for _ in 0..5 {
            broker.publish(&topic(Class::Telemetry, "flood"), format!("{number}").as_bytes(), Keep::Passing);
        }
        for _ in 0..5 {
            assert_eq!(before.message().await.expect("cut off").payload, format!("{number}"));
        }
        last = Some(newer);
    }
    drop(last);
    until(&broker, "only one is left", |s| s.clients == 1).await;
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_does_not_keep_others_from_their_tls_handshake() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let limits = Limits { waiting: 8, tls_deadline: Duration::from_millis(700), ..Limits::default() };
    let tls = Some(server_config(&certificate, &key).unwrap());
    let config = BrokerConfig { listen: "127.0.0.1:0".parse().unwrap(), access: Access::Anyone, tls, limits };
    let broker = Broker::bind(config).await.unwrap();
    let address = broker.local_addr();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let secure = async |id: &str| {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut monitor = Monitor { stream: within("TLS", connector.connect(name, stream)).await.unwrap() };
        assert_eq!(monitor.greet(&connect(4, 2, 0, id.as_bytes(), b"")).await, Some(0));
        assert_eq!(monitor.ask(&[("segel/#", 1)]).await, [1]);
        monitor
    };

    let mut before = secure("before").await;
    // more silent ones than may wait; some say half a hello, some speak plain MQTT
    let mut silent = Vec::new();
    for number in 0..20 {
        let mut one = Monitor::dial(address).await;
        match number % 3 {
            0 => {}
            1 => one.send(&[0x16, 0x03, 0x01, 0x02]).await,
            _ => one.send(&connect(4, 2, 60, b"plain", b"")).await,
        }
        silent.push(one);
    }
    let mut after = secure("after").await;
    broker.publish(&topic(Class::Event, "proof"), b"through TLS", Keep::Passing);
    for monitor in [&mut before, &mut after] {
        assert_eq!(monitor.message().await.unwrap().payload, "through TLS");
    }
    for mut one in silent {
        within("the deadline or the bound ends it", async { while one.packet().await.is_some() {} }).await;
    }
    until(&broker, "all are counted", |s| s.refused == 20).await;
    let mut last = secure("last").await;
    broker.publish(&topic(Class::Event, "proof"), &vec![b'x'; 60_000], Keep::Passing);
    for monitor in [&mut before, &mut after, &mut last] {
        assert_eq!(monitor.message().await.unwrap().payload.len(), 60_000);
    }
    assert_eq!(broker.standing().borrow().router_restarts, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_too_many_is_told_so_and_gets_in_when_others_left() {
    let broker = broker(Limits { clients: 4, ..Limits::default() }).await;
    let address = broker.local_addr();
    let mut before = Monitor::listening(address, "before").await;
    let mut others = Vec::new();
    for number in 0..3 {
        others.push(Monitor::listening(address, &format!("other-{number}")).await);
    }
    for _ in 0..10 {
        let mut late = Monitor::dial(address).await;
        assert_eq!(late.greet(&connect(4, 2, 60, b"late", b"")).await, Some(3));
        late.sees_the_end().await;
    }
    // taking over one's own seat needs no new one
    let mut same = Monitor::listening(address, "other-0").await;
    others[0].sees_the_end().await;
    same.ping().await;
    drop((same, others));
    until(&broker, "the others are gone", |s| s.clients == 1).await;
    assert_eq!(broker.standing().borrow().refused, 10);
    let mut late = Monitor::hello(address, "late").await;
    late.ping().await;
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_speaks_like_a_server_only_ends_itself() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let server_packets: [&[u8]; 8] = [
        &[0x20, 2, 0, 0],
        &[0xb0, 2, 0, 1],
        &[0xb0, 3, 0, 1, 0],
        &[0x90, 3, 0, 1, 0],
        &[0xd0, 0],
        &[0x50, 2, 0, 1],
        &[0x62, 2, 0, 1],
        &[0xf0, 0],
    ];
    for bytes in server_packets {
        for level in [4, 5] {
            let mut attacker = Monitor::dial(broker.local_addr()).await;
            let wanted = if level == 4 { 0 } else { 1 };
            assert_eq!(attacker.greet(&connect(level, 2, 60, b"attacker", b"")).await, Some(wanted));
            attacker.send(bytes).await;
            attacker.sees_the_end().await;
            // and as the very first packet
            let mut rude = Monitor::dial(broker.local_addr()).await;
            rude.send(bytes).await;
            rude.sees_the_end().await;
        }
    }
    all_is_well(&broker, &mut before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mutated_packets_do_not_stop_it() {
    let broker = broker(Limits::default()).await;
    let mut before = Monitor::listening(broker.local_addr(), "before").await;
    let login = [field(b"ops"), field(b"secret")].concat();
    let seeds: Vec<Vec<u8>> = vec![
        connect(4, 2, 60, b"fuzz", b""),
        connect(4, 0b1100_0010, 60, b"fuzz", &login),
        connect(4, 0b0010_1110, 60, b"fuzz", &[field("é".as_bytes()), field(b"x")].concat()),
        connect(5, 2, 60, b"fuzz", b""),
        subscribe(1, &[("segel/#", 1), ("$share/g/#", 0), ("a/+/b", 2)]),
        packet(0xa2, &[&[0, 2][..], &field(b"segel/#"), &field(b"x")].concat()),
        packet(0x32, &[&field(b"a/b")[..], &[0, 1], b"x"].concat()),
        packet(0x40, &[0, 1]),
        PINGREQ.to_vec(),
        DISCONNECT.to_vec(),
    ];
    let mut state = 0x5e6e_1000_2026_1121u64;
    let mut dice = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (sides as u64)).unwrap()
    };
    for round in 0..1000 {
        let mut bytes = seeds[dice(seeds.len())].clone();
        for _ in 0..=dice(4) {
            let at = dice(bytes.len());
            match dice(4) {
                0 => bytes[at] ^= 1 << dice(8),
                1 => bytes[at] = u8::try_from(dice(256)).unwrap(),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, u8::try_from(dice(256)).unwrap()),
            }
        }
        let mut one = if round % 2 == 0 {
            Monitor::hello(broker.local_addr(), &format!("fuzz-{}", dice(4))).await
        } else {
            Monitor::dial(broker.local_addr()).await
        };
        one.send(&bytes).await;
        one.send(&PINGREQ).await;
        if round % 100 == 99 {
            broker.publish(&topic(Class::Event, "fuzz"), format!("{round}").as_bytes(), Keep::Passing);
            assert_eq!(before.message().await.expect("cut off").payload, format!("{round}"));
        }
    }
    all_is_well(&broker, &mut before).await;
}
