//! Trust, identity and the clock.
#![allow(clippy::unwrap_used)] // In the helpers of this test.

mod uplink_bench;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use segel_mqtt_bridge::sim::{CustomsBroker, CustomsTls};
use segel_mqtt_bridge::tls::{IdentityFiles, TlsFault, TlsFiles, client_config};
use segel_mqtt_bridge::uplink::{Phase, UplinkConfig};
use uplink_bench::{Care, Queue, Running, Tray, config};

/// An authority of a test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, PEM, valid from and until these seconds from now.
    fn issue(&self, purpose: ExtendedKeyUsagePurpose, from: i64, until: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let at = |offset: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.checked_add_signed(offset).unwrap());
        (params.not_before, params.not_after) = (at(from), at(until));
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The files of a gate, and customs' broker with TLS.
struct Bench {
    directory: tempfile::TempDir,
    authority: Authority,
    customs: CustomsBroker,
}

impl Bench {
    async fn new(from: i64, until: i64) -> Self {
        Self::with(from, until, Authority::named("Customs CA"), false).await
    }

    async fn with(from: i64, until: i64, authority: Authority, client_certificates: bool) -> Self {
        let (certificate, key) = authority.issue(ExtendedKeyUsagePurpose::ServerAuth, from, until);
        let client_ca = client_certificates.then(|| authority.pem.clone());
        let customs = CustomsBroker::start_tls(&CustomsTls { certificate, key, client_ca }).await.unwrap();
        let bench = Self { directory: tempfile::tempdir().unwrap(), authority, customs };
        bench.write("ca.pem", &bench.authority.pem);
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn config(&self) -> UplinkConfig {
        let tls = Some(TlsFiles { ca: self.file("ca.pem"), identity: None });
        UplinkConfig { host: "localhost".into(), tls, ..config(self.customs.address()) }
    }

    fn with_identity(&self) -> UplinkConfig {
        let identity = Some(IdentityFiles { certificate: self.file("gate.pem"), key: self.file("gate.key") });
        UplinkConfig { tls: Some(TlsFiles { ca: self.file("ca.pem"), identity }), ..self.config() }
    }

    fn write_identity(&self, authority: &Authority, from: i64, until: i64) {
        let (certificate, key) = authority.issue(ExtendedKeyUsagePurpose::ClientAuth, from, until);
        self.write("gate.pem", &certificate);
        self.write("gate.key", &key);
    }
}

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn uplink_connects_once_the_clock_is_set() {
    // To the gate a certificate that begins in six seconds and a clock that is six seconds behind are the same.
    let bench = Bench::new(6, DAY).await;
    let queue = Queue::holding(3);
    let mut link = Running::start(bench.config(), &queue, &Tray::that(Care::Keep));
    let reason = link.until_down_because("clock").await;
    assert!(reason.starts_with("clock: ") && reason.contains("valid only from"), "{reason}");
    let standing = link.until("it keeps trying", |standing| matches!(standing.phase, Phase::Down { attempts: 2.., .. })).await;
    assert!(!standing.phase.is_up());
    assert!(queue.delivered().is_empty());
    link.until_up().await;
    queue.until_delivered(3).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_over_may_also_be_a_clock_ahead() {
    let bench = Bench::new(-2 * DAY, -DAY).await;
    let mut link = Running::start(bench.config(), &Queue::default(), &Tray::that(Care::Keep));
    let reason = link.until_down_because("was valid until").await;
    assert!(reason.contains("clock"), "{reason}");
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_trusted_until_the_right_ca_is_in_place() {
    let bench = Bench::new(-DAY, DAY).await;
    bench.write("ca.pem", &Authority::named("Another CA").pem);
    let queue = Queue::holding(1);
    let mut link = Running::start(bench.config(), &queue, &Tray::that(Care::Keep));
    link.until_down_because("was not issued by the authority we trust").await;
    assert!(bench.customs.connects().is_empty(), "not even CONNECT is told to a stranger");
    // The file is read again for each attempt. Two authorities may stand in it.
    bench.write("ca.pem", &format!("{}{}", Authority::named("Another CA").pem, bench.authority.pem));
    queue.until_delivered(1).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_the_name_of_our_authority_is_not_trusted() {
    let bench = Bench::new(-DAY, DAY).await;
    bench.write("ca.pem", &Authority::named("Customs CA").pem);
    let mut link = Running::start(bench.config(), &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("was not issued by the authority we trust").await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_must_be_the_one_in_the_certificate() {
    let bench = Bench::new(-DAY, DAY).await;
    let mut cfg = bench.config();
    cfg.host = "127.0.0.2".into();
    // A line of this machine listens on every loopback address only if told so: the name is checked before CONNECT.
    let everywhere = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    cfg.port = everywhere.local_addr().unwrap().port();
    let customs = bench.customs.address();
    let relay = tokio::spawn(async move {
        while let Ok((mut gate, _)) = everywhere.accept().await {
            tokio::spawn(async move {
                let mut broker = tokio::net::TcpStream::connect(customs).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut gate, &mut broker).await;
            });
        }
    });
    let mut link = Running::start(cfg, &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("is not for the name \"127.0.0.2\"").await;
    assert!(bench.customs.connects().is_empty());
    link.end().await;
    relay.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn customs_demands_a_certificate_and_takes_ours_once_it_is_renewed() {
    let bench = Bench::with(-DAY, DAY, Authority::named("Customs CA"), true).await;
    let queue = Queue::holding(2);
    let mut link = Running::start(bench.config(), &queue, &Tray::that(Care::Keep));
    link.until_down_because("demands a client certificate").await;
    link.end().await;

    bench.write_identity(&Authority::named("Another CA"), -DAY, DAY);
    let mut link = Running::start(bench.with_identity(), &queue, &Tray::that(Care::Keep));
    link.until_down_because("refused this gate's certificate").await;
    bench.write_identity(&bench.authority, -2 * DAY, -DAY);
    link.until_down_because("this gate's certificate is not valid at this time").await;
    assert!(queue.delivered().is_empty());
    // Renewed on disk, without a restart.
    bench.write_identity(&bench.authority, -DAY, DAY);
    queue.until_delivered(2).await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named_and_waited_for() {
    let bench = Bench::new(-DAY, DAY).await;
    std::fs::remove_file(bench.file("ca.pem")).unwrap();
    let mut link = Running::start(bench.config(), &Queue::default(), &Tray::that(Care::Keep));
    let reason = link.until_down_because("cannot be read").await;
    assert!(reason.contains(bench.file("ca.pem").to_str().unwrap()), "{reason}");
    bench.write("ca.pem", &bench.authority.pem);
    link.until_up().await;
    link.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_port_is_not_a_tls_port() {
    let bench = Bench::new(-DAY, DAY).await;
    let mut cfg = bench.config();
    let plain = uplink_bench::customs().await;
    cfg.port = plain.address().port();
    let mut link = Running::start(cfg, &Queue::default(), &Tray::that(Care::Keep));
    link.until_down_because("is this the right port (TLS or plain)").await;
    link.end().await;
}

#[tokio::test]
async fn each_fault_names_its_file_and_the_remedy() {
    let bench = Bench::new(-DAY, DAY).await;
    let files = |ca: &str, certificate: &str, key: &str| TlsFiles {
        ca: bench.file(ca),
        identity: Some(IdentityFiles { certificate: bench.file(certificate), key: bench.file(key) }),
    };
    bench.write_identity(&bench.authority, -DAY, DAY);
    assert!(client_config(&files("ca.pem", "gate.pem", "gate.key")).is_ok());

    bench.write("text.pem", "this is no certificate");
    let told = |fault: TlsFault, name: &str, word: &str| {
        let text = fault.to_string();
        assert!(text.contains(bench.file(name).to_str().unwrap()) && text.contains(word), "{text}");
    };
    told(client_config(&files("none.pem", "gate.pem", "gate.key")).unwrap_err(), "none.pem", "correct the path");
    told(client_config(&files("text.pem", "gate.pem", "gate.key")).unwrap_err(), "text.pem", "CA certificate");
    told(client_config(&files("ca.pem", "gate.key", "gate.key")).unwrap_err(), "gate.key", "no certificate in it");
    told(client_config(&files("ca.pem", "gate.pem", "gate.pem")).unwrap_err(), "gate.pem", "private key");
    bench.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    told(client_config(&files("ca.pem", "gate.pem", "other.key")).unwrap_err(), "other.key", "must belong to the first certificate");
    let mut huge = bench.authority.pem.clone();
    huge.push_str(&"\n".repeat(2 << 20));
    bench.write("huge.pem", &huge);
    told(client_config(&files("huge.pem", "gate.pem", "gate.key")).unwrap_err(), "huge.pem", "larger than");
}
