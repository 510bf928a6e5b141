//! Every reason for having no link is a sentence a person can act on.

mod uplink_bench;

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::ConnectReturnCode;
use segel_mqtt_bridge::uplink::{Credentials, Phase, Uplink};
use uplink_bench::{Care, Queue, Running, Tray, config, customs};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let free: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut link = Running::start(config(free), &Queue::default(), &Tray::that(Care::Keep));
    let reason = link.until_down_because("refused the connection").await;
    assert!(reason.contains(&free.to_string()), "{reason}");
    let standing = link.until("several attempts", |standing| matches!(standing.phase, Phase::Down { attempts: 3.., .. })).await;
    assert!(matches!(standing.phase, Phase::Down { next_try: Some(_), .. }));
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_unknown() {
    let mut cfg = config("127.0.0.1:1".parse().unwrap());
    cfg.host = "customs.invalid".into();
    cfg.connect_timeout = Duration::from_secs(20);
    let mut link = Running::start(cfg, &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("\"customs.invalid\" could not be looked up").await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customs_refuses_connect() {
    let customs = customs().await;
    let queue = Queue::holding(1);
    let mut cfg = config(customs.address());
    cfg.credentials = Some(Credentials { username: "g03".into(), password: "wrong".into() });
    customs.answer_connect(ConnectReturnCode::BadUserNamePassword);
    let mut link = Running::start(cfg, &queue, &Tray::that(Care::Keep));
    link.until_down_because("code 4: user name or password is wrong").await;
    customs.answer_connect(ConnectReturnCode::NotAuthorized);
    link.until_down_because("code 5: this gate is not authorised").await;
    assert!(customs.received().is_empty());
    customs.answer_connect(ConnectReturnCode::Success);
    queue.until_delivered(1).await;
    let login = customs.connects()[0].login.clone().unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), ("g03", "wrong"));
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customs_accepts_the_call_and_says_nothing() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut cfg = config(deaf.local_addr().unwrap());
    cfg.connect_timeout = Duration::from_secs(1);
    let mut link = Running::start(cfg, &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("did not answer within 1s").await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customs_hangs_up_on_connect() {
    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = rude.local_addr().unwrap();
    let rudeness = tokio::spawn(async move { while rude.accept().await.is_ok() {} });
    let mut link = Running::start(config(address), &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("closed the connection without answering CONNECT").await;
    link.end().await;
    rudeness.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_is_no_mqtt_broker() {
    let web = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = web.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        while let Ok((mut socket, _)) = web.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, &[b"HTTP/1.1 400 Bad Request\r\n".as_slice(), &[b'x'; 100]].concat())
                .await;
            tokio::spawn(async move { tokio::io::copy(&mut socket, &mut tokio::io::sink()).await });
        }
    });
    let mut link = Running::start(config(address), &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("broke the MQTT protocol").await;
    link.end().await;
    answering.abort();
}

#[test]
fn every_fault_of_a_configuration_is_reported() {
    let mut cfg = config("127.0.0.1:1883".parse().unwrap());
    cfg.host = String::new();
    cfg.client_id = String::new();
    cfg.window = 0;
    cfg.keep_alive = Duration::from_millis(10);
    cfg.command_filters = vec!["a/#/b".into()];
    let Err(faults) = Uplink::new(cfg, Queue::default(), Tray::that(Care::Keep)) else { panic!("accepted") };
    let keys: Vec<_> = faults.iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["host", "client_id", "keep_alive", "window", "command_filters"]);
    let secret = Credentials { username: "g03".into(), password: "hunter2".into() };
    assert!(!format!("{secret:?}").contains("hunter2"));
}
