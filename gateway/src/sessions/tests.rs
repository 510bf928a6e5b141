//! Orders against a counter that does what it is told.

use std::sync::Mutex;

use segel_drivers::{Evidence, Rejection, SealReading, SealStatus, Security, ble::protocol::ProtocolName};
use tokio::sync::Notify;

use super::*;
use crate::{
    config::LoadArgs,
    event::{Seq, Source, document::Head},
    journal::{JournalConfig, LEGACY_NOTE, Legacy},
};

/// What the counter is to do with the next request.
struct Play {
    journal: Journal,
    /// Set by the test when the session is to end like this.
    end: Mutex<Option<Outcome>>,
    go: Notify,
    progress: watch::Sender<Progress>,
    ticket: Arc<Ticket>,
    /// Events of the journal when it was asked: (kind, body).
    asked: Mutex<Vec<Vec<String>>>,
}

impl Play {
    fn new(journal: &Journal) -> Arc<Self> {
        Arc::new(Self {
            journal: journal.clone(),
            end: Mutex::new(None),
            go: Notify::new(),
            progress: watch::Sender::new(Progress::Waking),
            ticket: Arc::default(),
            asked: Mutex::default(),
        })
    }

    fn ends(&self, outcome: Outcome) {
        *self.end.lock().unwrap() = Some(outcome);
        self.go.notify_one();
    }
}

struct Played(Arc<Play>);

impl Counter for Played {
    fn may_ask(&self, _: &KnownSeal, action: Action) -> Result<(), Hindrance> {
        if action == Action::SetTime {
            return Err(Hindrance::CannotDo { protocol: ProtocolName::Bthome, action });
        }
        Ok(())
    }

    fn ask(&self, _: Request) -> Result<Going, Hindrance> {
        self.0.asked.lock().unwrap().push(words(&self.0.journal));
        let play = Arc::clone(&self.0);
        let ended = Box::pin(async move {
            loop {
                play.go.notified().await;
                if let Some(outcome) = play.end.lock().unwrap().take() {
                    return Ended { outcome, spent: Spent { attempts: 2, ..Spent::default() } };
                }
            }
        });
        Ok(Going { progress: self.0.progress.subscribe(), ticket: Arc::clone(&self.0.ticket), ended })
    }

    fn hearing(&self, _: MacAddress) -> Option<(String, Hearing)> {
        Some(("ble".to_owned(), Hearing { at: std::time::Instant::now(), rssi_dbm: Some(-41) }))
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    journal: Journal,
    play: Arc<Play>,
    sessions: Arc<Sessions>,
    config: Config,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segel.toml");
    std::fs::write(&file, "[gate]\nsite = \"idsrg\"\nid = \"g01\"\nseals_file = \"seals.toml\"\n[uplink]\nenabled = false\n").unwrap();
    let seals = "[[seal]]\nid = \"SGL-1\"\naddress = \"A4:C1:38:0B:52:01\"\ncontainer = \"CSQU3054383\"\n[[seal]]\nid = \"SGL-2\"\n";
    std::fs::write(dir.path().join("seals.toml"), seals).unwrap();
    let config = Config::load(&LoadArgs::of_file(&file)).unwrap_or_else(|faults| panic!("{faults}")).config;
    let journal = Journal::open(dir.path(), JournalConfig::default(), Source::new("idsrg", "g01").unwrap()).unwrap().0;
    let play = Play::new(&journal);
    let sessions = Sessions::new(Played(Arc::clone(&play)), &config, journal.clone(), clock());
    Bench { _dir: dir, journal, play, sessions, config }
}

fn clock() -> Clock {
    Clock::new(Duration::from_secs(60), None)
}

fn order(errand: Errand) -> Order {
    Order { seal: "SGL-1".parse().unwrap(), errand, within: Duration::from_secs(20), who: Who { uid: Some(1007), pid: Some(42) } }
}

/// The receipts on record, in order.
fn receipts(journal: &Journal) -> Vec<(String, serde_json::Value)> {
    let records = journal.reader().unwrap().after(Class::Receipt, Seq::NONE, 100, usize::MAX).unwrap();
    let body = |doc: &[u8]| serde_json::from_str(Head::parse(doc).unwrap().data.get()).unwrap();
    records.iter().map(|record| (record.kind.clone(), body(&record.doc))).collect()
}

fn words(journal: &Journal) -> Vec<String> {
    receipts(journal).into_iter().map(|(kind, _)| kind).collect()
}

fn status() -> SealStatus {
    let reading = SealReading { lock: Some(segel_drivers::LockClaim::Locked), ..SealReading::default() };
    SealStatus { reading, complaints: Vec::new(), security: Security::Authenticated, did_ours: Some(true), stored: None, raw: Vec::new() }
}

fn done() -> Outcome {
    Outcome::Done { evidence: Evidence::ReportedAndReadBack, status: Some(status()), drained: 0, remaining: None, interrupted: None }
}

async fn last(mut lines: mpsc::Receiver<Line>) -> End {
    let ended = async {
        while let Some(line) = lines.recv().await {
            if let Line::Ended(end) = line {
                return end;
            }
        }
        panic!("it ended before it said how");
    };
    timeout(Duration::from_secs(30), ended).await.expect("there always is an end")
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "this should have become true long ago");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_on_disk_with_who_asked_before_the_seal_is_asked_and_its_end_after() {
    let bench = bench();
    let lines = bench.sessions.begin(order(Errand::Lock)).await.unwrap();
    until(|| !bench.play.asked.lock().unwrap().is_empty()).await;
    assert_eq!(bench.play.asked.lock().unwrap()[0], ["ACTION_INTENDED"], "on disk when the seal was asked");
    bench.play.ends(done());
    let end = last(lines).await;
    assert_eq!((end.outcome, end.recorded, end.spent.attempts), (line::Word::Done, Some(true), 2));
    let receipts = receipts(&bench.journal);
    let (intent, ended) = (&receipts[0].1, &receipts[1].1);
    assert_eq!(receipts[1].0, "ACTION_ENDED");
    assert_eq!((&intent["askedBy"]["uid"], &intent["action"], &intent["seal"]), (&1007.into(), &"lock".into(), &"SGL-1".into()));
    assert_eq!(intent["commandId"], ended["commandId"]);
    assert_eq!((&ended["outcome"], &ended["evidence"]), (&"done".into(), &"reported_and_read_back".into()));
    assert_eq!((&ended["readBack"]["lock"], &ended["readBack"]["security"]), (&"locked".into(), &"authenticated".into()));
    assert!(bench.journal.reader().unwrap().notes(NOTE).unwrap().is_empty());
    assert_eq!(bench.sessions.settle().await.unwrap(), 0, "what has ended is not ended again");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_needs_no_intent_and_leaves_no_receipt() {
    let bench = bench();
    let lines = bench.sessions.begin(order(Errand::Read)).await.unwrap();
    bench.play.ends(done());
    assert_eq!(last(lines).await.recorded, None);
    assert_eq!(words(&bench.journal), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_no_receipt_can_be_promised() {
    let bench = bench();
    let config = JournalConfig { receipt_quota_bytes: 1, ..JournalConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), config, Source::new("idsrg", "g01").unwrap()).unwrap().0;
    let sessions = Sessions::new(Played(Arc::clone(&bench.play)), &bench.config, journal.clone(), clock());
    let lines = sessions.begin(order(Errand::Lock)).await.unwrap();
    bench.play.ends(done());
    last(lines).await;
    until(|| journal.standing().borrow().vouches_for_a_receipt().is_err()).await;
    let asked = bench.play.asked.lock().unwrap().len();
    for errand in [Errand::Lock, Errand::Drain] {
        let refusal = sessions.begin(order(errand)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::NoReceipt(_)), "{refusal}");
        assert!(refusal.to_string().contains("nothing was sent"), "{refusal}");
    }
    assert_eq!((bench.play.asked.lock().unwrap().len(), words(&journal).len()), (asked, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_without_an_end_is_ended_as_unknown_by_the_next_start_once() {
    let bench = bench();
    let lines = bench.sessions.begin(order(Errand::Lock)).await.unwrap();
    until(|| !bench.play.asked.lock().unwrap().is_empty()).await;
    // The process dies here: nobody records an end, and the journal is as it is.
    let _died = lines;
    let next = Sessions::new(Played(Play::new(&bench.journal)), &bench.config, bench.journal.clone(), clock());
    assert_eq!(next.settle().await.unwrap(), 1);
    assert_eq!(next.settle().await.unwrap(), 0);
    let receipts = receipts(&bench.journal);
    assert_eq!(words(&bench.journal), ["ACTION_INTENDED", "ACTION_ENDED"]);
    assert_eq!((&receipts[1].1["outcome"], &receipts[1].1["askedBy"]["uid"]), (&"unknown".into(), &1007.into()));
    assert!(receipts[1].1["cause"].as_str().unwrap().contains("look at the seal"));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_write_it_can_be_called_off_and_after_it_goes_on() {
    let bench = bench();
    let mut lines = bench.sessions.begin(order(Errand::Lock)).await.unwrap();
    let Some(Line::Accepted { command, .. }) = lines.recv().await else { panic!("the first line names it") };
    until(|| bench.sessions.under_way.is_in(&command)).await;
    assert_eq!(bench.sessions.call_off(&command).await, CallOff::CalledOff);
    let end = last(lines).await;
    assert_eq!((end.outcome, end.recorded), (line::Word::NotAttempted, Some(true)));
    assert!(bench.play.ticket.is_called_off(), "no session will ever write for it");
    assert_eq!(bench.sessions.call_off(&command).await, CallOff::NotUnderWay);

    let written = Play::new(&bench.journal);
    assert!(written.ticket.take_the_write());
    written.progress.send_replace(Progress::Writing);
    let sessions = Sessions::new(Played(Arc::clone(&written)), &bench.config, bench.journal.clone(), clock());
    let mut lines = sessions.begin(order(Errand::Lock)).await.unwrap();
    let Some(Line::Accepted { command, .. }) = lines.recv().await else { panic!("the first line names it") };
    until(|| sessions.under_way.is_in(&command)).await;
    assert_eq!(sessions.call_off(&command).await, CallOff::GoesOn);
    // Whoever asked goes away, and it is on record all the same.
    drop(lines);
    written.ends(Outcome::Unknown { why: "the line broke".to_owned(), read_back: None });
    until(|| words(&bench.journal).len() == 4).await;
    assert_eq!(receipts(&bench.journal)[3].1["outcome"], "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_calls_it_off_and_a_closing_gate_too() {
    let bench = bench();
    drop(bench.sessions.begin(order(Errand::Lock)).await.unwrap());
    until(|| words(&bench.journal).len() == 2).await;
    assert_eq!(receipts(&bench.journal)[1].1["outcome"], "not_attempted");
    let play = Play::new(&bench.journal);
    let sessions = Sessions::new(Played(Arc::clone(&play)), &bench.config, bench.journal.clone(), clock());
    let lines = sessions.begin(order(Errand::Drain)).await.unwrap();
    timeout(Duration::from_secs(30), sessions.close()).await.unwrap();
    assert!(last(lines).await.cause.unwrap().contains("stopping"));
    assert!(matches!(sessions.begin(order(Errand::Drain)).await, Err(Refusal::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_while_the_intent_is_being_recorded_leaves_no_intent_without_its_end() {
    let bench = bench();
    for _ in 0..20 {
        let mut asking = Box::pin(bench.sessions.begin(order(Errand::Lock)));
        // Asked once, so that it is under way, and dropped there as a server drops what nobody waits for.
        assert!(std::future::Future::poll(asking.as_mut(), &mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
        drop(asking);
    }
    until(|| bench.sessions.orders.is_empty()).await;
    let of = |kind: &str| receipts(&bench.journal).into_iter().filter(|(word, _)| word == kind).collect::<Vec<_>>();
    let (intents, ends) = (of("ACTION_INTENDED"), of("ACTION_ENDED"));
    assert_eq!((intents.len(), ends.len()), (20, 20));
    for (_, intent) in &intents {
        let of_it: Vec<_> = ends.iter().filter(|(_, end)| end["commandId"] == intent["commandId"]).collect();
        assert_eq!(of_it.len(), 1, "{intent}");
        assert_eq!(of_it[0].1["outcome"], "not_attempted");
    }
    assert!(bench.play.asked.lock().unwrap().is_empty(), "no seal was asked");
    assert!(bench.journal.reader().unwrap().notes(NOTE).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_called_off_after_it_had_an_effect_ends_with_what_it_did() {
    let bench = bench();
    let mut lines = bench.sessions.begin(order(Errand::Drain)).await.unwrap();
    let Some(Line::Accepted { command, .. }) = lines.recv().await else { panic!("the first line names it") };
    for stage in [Progress::Draining { events: 3 }, Progress::Queued { ahead: 1 }] {
        bench.play.progress.send_replace(stage);
        while lines.recv().await != Some(Line::Progress(stage)) {}
    }
    assert_eq!(bench.sessions.call_off(&command).await, CallOff::CalledOff);
    bench.play.ends(Outcome::Done { evidence: Evidence::Reported, status: None, drained: 3, remaining: None, interrupted: None });
    let end = last(lines).await;
    assert_eq!((end.outcome, end.drained), (line::Word::Done, Some(3)), "three are deleted at the seal, and that is said");
}

#[test]
fn an_end_that_no_trying_can_keep_is_not_tried_for_ever() {
    assert!(is_final(&JournalError::Replaced { dir: "/var/lib/segel".into() }) && is_final(&JournalError::Closed));
    let full = rusqlite::ffi::Error { code: rusqlite::ErrorCode::DiskFull, extended_code: 13 };
    assert!(!is_final(&JournalError::from(rusqlite::Error::SqliteFailure(full, None))), "a disk can have room again");
}

#[test]
fn every_order_that_can_be_under_way_has_room_for_its_end_before_one_is_taken() {
    let with = |left| JournalStanding { reserve: Reserve::Spent { left }, ..JournalStanding::default() };
    let needed = ORDERS_MAX as u64 * ENDS_ROOM;
    assert!(vouched(&with(needed)).is_ok());
    assert!(matches!(vouched(&with(needed - 1)), Err(NoReceipt::Full { .. })));
    assert!(vouched(&JournalStanding::default()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_orders_than_allowed_are_under_way_however_many_ask_at_once() {
    let bench = bench();
    let asked = (0..ORDERS_MAX + 10).map(|_| {
        let sessions = Arc::clone(&bench.sessions);
        tokio::spawn(async move { sessions.begin(order(Errand::Lock)).await })
    });
    let mut taken = Vec::new();
    let mut busy = 0;
    for asked in asked.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(lines) => taken.push(lines),
            Err(Refusal::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((taken.len(), busy), (ORDERS_MAX, 10));
    drop(taken);
    until(|| bench.sessions.orders.is_empty()).await;
    let _lines = bench.sessions.begin(order(Errand::Lock)).await.expect("a place is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_beside_orders_under_way_leaves_them_alone_and_an_unreadable_intent_gets_its_end() {
    let bench = bench();
    let lines = bench.sessions.begin(order(Errand::Lock)).await.unwrap();
    until(|| !bench.play.asked.lock().unwrap().is_empty()).await;
    bench.journal.keep(vec![Note::keep(NOTE, "0198-unreadable", "{\"of\":\"another form\"}")]).await.unwrap();
    let reader = bench.journal.reader().unwrap();
    until(|| reader.notes(NOTE).unwrap().len() == 2).await;
    assert_eq!(bench.sessions.settle().await.unwrap(), 1);
    assert_eq!(bench.sessions.settle().await.unwrap(), 0);
    let end = &receipts(&bench.journal)[1].1;
    assert_eq!((&end["commandId"], &end["outcome"]), (&"0198-unreadable".into(), &"unknown".into()));
    bench.play.ends(done());
    assert_eq!(last(lines).await.outcome, line::Word::Done);
    assert_eq!(words(&bench.journal), ["ACTION_INTENDED", "ACTION_ENDED", "ACTION_ENDED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_whose_note_is_copied_late_again_and_again_is_ended_once() {
    let bench = bench();
    let intent = serde_json::json!({
        "commandId": "c-1", "seal": "SGL-1", "action": "lock", "withinS": 20, "askedBy": {"uid": 1}, "protocol": "segel",
    });
    let owing = |owed| Legacy { name: "journal.damaged-1".into(), notes_owed: owed, ..legacy() };
    let reader = bench.journal.reader().unwrap();
    bench.journal.keep(vec![owing(true).note(), Note::keep(NOTE, "c-1", intent.to_string())]).await.unwrap();
    until(|| reader.note(NOTE, "c-1").unwrap().is_some()).await;
    assert_eq!(bench.sessions.settle().await.unwrap(), 1);
    assert!(reader.note(NOTE, "c-1").unwrap().is_some(), "or it would be copied once more, and ended once more");
    assert_eq!(bench.sessions.settle().await.unwrap(), 0);
    bench.journal.keep(vec![owing(false).note()]).await.unwrap();
    until(|| !serde_json::from_slice::<Legacy>(&reader.notes(LEGACY_NOTE).unwrap()[0].value).unwrap().notes_owed).await;
    assert_eq!(bench.sessions.settle().await.unwrap(), 0);
    until(|| reader.note(NOTE, "c-1").unwrap().is_none()).await;
    assert_eq!(words(&bench.journal), ["ACTION_ENDED"]);
}

fn legacy() -> Legacy {
    Legacy { name: String::new(), reason: String::new(), notes: 0, notes_whole: false, notes_owed: true, announced: true, plan: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_said_at_once_is_and_nothing_is_intended() {
    let bench = bench();
    let end = last(bench.sessions.begin(order(Errand::SetTime)).await.unwrap()).await;
    assert!(end.cause.unwrap().contains("cannot set-time"));
    let no_address = Order { seal: "SGL-2".parse().unwrap(), ..order(Errand::Lock) };
    assert!(last(bench.sessions.begin(no_address).await.unwrap()).await.cause.unwrap().contains("no radio address"));
    let unknown = Order { seal: "SGL-9".parse().unwrap(), ..order(Errand::Lock) };
    assert!(matches!(bench.sessions.begin(unknown).await, Err(Refusal::UnknownSeal(_))));
    for within in [0, 601] {
        let order = Order { within: Duration::from_secs(within), ..order(Errand::Read) };
        assert!(matches!(bench.sessions.begin(order).await, Err(Refusal::Within)));
    }
    assert!(bench.play.asked.lock().unwrap().is_empty() && words(&bench.journal).is_empty());
}

#[test]
fn an_unlock_has_no_word_here() {
    assert_eq!("unlock".parse::<Errand>(), Err(NoErrand::Unlock));
    assert!(Errand::ALL.iter().all(|errand| errand.action() != Action::Unlock));
    assert!(serde_json::from_str::<Errand>("\"unlock\"").is_err());
    let said = NoErrand::Unlock.to_string();
    assert!(said.contains("permit") && said.matches('.').count() == 0, "one sentence: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_registered_seal_is_listed_heard_or_not() {
    let bench = bench();
    let lines = bench.sessions.list(&bench.journal.reader().unwrap()).unwrap();
    let seen: Vec<_> = lines.iter().map(|line| (line.seal.as_str(), line.heard_ago_ms.is_some(), line.rssi_dbm)).collect();
    assert_eq!(seen, [("SGL-1", true, Some(-41)), ("SGL-2", false, None)]);
    assert_eq!(lines[0].container.as_deref(), Some("CSQU3054383"));
    assert!(!lines[0].has_key && !lines[0].reason.is_empty() && lines[0].seal_condition.is_none());
}

#[test]
fn every_outcome_has_its_word_and_a_line_reads_back() {
    let outcomes = [
        Outcome::NotAttempted { why: Hindrance::FactoryPassword },
        Outcome::Rejected { cause: Rejection::WrongPassword, read_back: Some(status()) },
        Outcome::Already { status: status() },
        done(),
        Outcome::Unknown { why: "x".to_owned(), read_back: None },
    ];
    for outcome in outcomes {
        let word = outcome.as_str();
        let end = End::of(&Ended { outcome, spent: Spent::default() });
        assert_eq!(end.outcome.as_str(), word);
        let text = serde_json::to_string(&Line::Ended(end.clone())).unwrap();
        assert!(text.starts_with("{\"line\":\"ended\"") && text.contains(word), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), Line::Ended(end));
    }
    let line = Line::Progress(Progress::Connecting { attempt: 2, of: 4 });
    let text = serde_json::to_string(&line).unwrap();
    assert_eq!(text, r#"{"line":"progress","stage":"connecting","attempt":2,"of":4}"#);
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
}
