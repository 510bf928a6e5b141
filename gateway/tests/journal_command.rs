//! `segel journal tail`, `verify` and `stats` as somebody types them.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod journal_cli;
mod journal_support;

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::process::Stdio;

use journal_cli::*;
use journal_support::*;
use segel::event::{Class, Seq};
use segel::journal::{JournalConfig, JournalReader, Outlet};

#[tokio::test]
async fn the_journal_is_shown_counted_and_checked_beside_the_daemon_without_it_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 8_000, ..JournalConfig::default() });
    for n in 0..60 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).with_container("CSQU3054383").unwrap().into()).await.unwrap();
    }
    journal.advance(&Outlet::named("uplink"), Class::Alarm, Seq(7));
    let reader = journal.reader().unwrap();
    until(|| !reader.outlets().unwrap().is_empty()).await;
    let all: [&[&str]; 8] = [
        &["tail"],
        &["tail", "-n", "3", "--json"],
        &["tail", "--class", "ALARM", "--type", "forced-open", "--seal", "jt-3", "--since", "3650d"],
        &["stats"],
        &["stats", "--types", "--json"],
        &["verify"],
        &["verify", "--json"],
        &["export"],
    ];
    let check = |dir: &std::path::Path| {
        for words in all {
            let said = segel(dir, words);
            assert_eq!((said.code, said.out.is_empty()), (0, false), "{words:?}: {said:?}");
        }
    };
    check(dir.path());
    journal.close().await.unwrap();
    check(dir.path());
    let aside = dir.path().join("journal.damaged-20261121T070000Z");
    fs::create_dir(&aside).unwrap();
    fs::rename(dir.path().join("journal.db"), aside.join("journal.db")).unwrap();
    check(&aside);
    let said = segel(dir.path(), &["tail"]);
    assert!(said.code == 21 && said.err.contains("there is no journal in"), "{said:?}");
}

#[tokio::test]
async fn tail_shows_the_last_that_pass_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..30 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 400).into()).await.unwrap();
    }
    let numbers = |words: &[&str]| {
        let said = segel(dir.path(), &[&["tail", "--json"], words].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}");
        let n = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["n"].as_u64().unwrap();
        said.out.lines().map(n).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&["-n", "4"]), [26, 27, 28, 29]);
    assert_eq!(numbers(&["-n", "1000"]), (0..30).collect::<Vec<_>>());
    assert_eq!(numbers(&["-n", "2", "--class", "alarm"]), [24, 27]);
    assert_eq!(numbers(&["--seal", "jt-3"]), [3, 10, 17, 24]);
    assert_eq!(numbers(&["--subject", "seal/JT-3", "--class", "alarm"]), [3, 24]);
    assert_eq!(numbers(&["--type", "command-received", "-n", "2"]), [25, 28]);
    assert!(numbers(&["-n", "0"]).is_empty());
    let said = segel(dir.path(), &["tail", "-n", "1"]);
    assert!(said.out.contains(&"x".repeat(400)) && said.out.lines().count() == 1, "where it is no terminal, nothing is left out: {said:?}");
    journal.close().await.unwrap();
}

#[tokio::test]
async fn a_filter_that_nothing_passes_says_what_was_looked_for_among_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..10 {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    journal.close().await.unwrap();
    fs::create_dir(dir.path().join("journal.damaged-20261121T070000Z")).unwrap();
    for (words, parts) in [
        (&["--seal", "jt-999"][..], &["no event about seal/JT-999 among the 10 events", "nothing at all about seal/JT-999"][..]),
        (&["--type", "gap", "--class", "telemetry"], &["no telemetry event of type GAP", "among the 10 events"]),
        (&["--since", "2031-01-01"], &["since 2031-01-01T00:00:00Z"]),
        (&["--type", "gap"], &["/idsrg/g01", "--state-dir", "journal.damaged-20261121T070000Z"]),
    ] {
        let said = segel(dir.path(), &[&["tail"], words].concat());
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{words:?}");
        assert!(parts.iter().all(|part| said.err.contains(part)), "{words:?}: {}", said.err);
        assert!(words[0] == "--seal" || !said.err.contains("nothing at all"), "{}", said.err);
    }
}

#[tokio::test]
async fn received_documents_are_checked_without_the_journal_and_a_change_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    for n in 0..10 {
        journal.append(entry(Class::Alarm, n)).await.unwrap();
    }
    let documents = all(&journal.reader().unwrap(), Class::Alarm);
    let lines: Vec<_> = documents.iter().map(|record| String::from_utf8(record.doc.clone()).unwrap()).collect();
    let nowhere = dir.path().join("nowhere");
    let check = |lines: &[String], more: &[&str]| {
        let file = dir.path().join("received.jsonl");
        fs::write(&file, lines.join("\n")).unwrap();
        segel(&nowhere, &[&["verify", "--received", file.to_str().unwrap()], more].concat())
    };
    assert_eq!(check(&lines, &[]).code, 0);
    let found = check(&lines, &["--json"]);
    assert_eq!((found.code, &found.json()["good"], &found.json()["chains"][0]["count"]), (0, &true.into(), &10.into()));
    assert_eq!(check(&[&lines[..], &lines[5..]].concat(), &[]).code, 0, "repeats are nothing wrong");
    let said = check(&lines[4..], &[]);
    assert_eq!(said.code, 1, "the first four are missing");
    assert!(said.out.contains("segel journal export --class alarm --from-seq 1 --to-seq 4"), "{}", said.out);
    assert_eq!(check(&lines[4..], &["--from", "alarm=5"]).code, 0, "and that was said");
    let said = check(&[], &[]);
    assert!(said.code == 1 && said.out.contains("one document per line"), "nothing is no proof: {said:?}");
    let mut changed = lines.clone();
    changed[3] = changed[3].replace("JT-3", "JT-4");
    let said = check(&changed, &[]);
    assert!(said.code == 1 && said.out.contains("compare with the gate's own bytes"), "{said:?}");
    assert!(said.out.contains("--from-seq 4 --to-seq 4"), "{}", said.out);
    changed[3] = "not a document".to_owned();
    assert!(check(&changed, &[]).out.contains("line 4:"));
    let mut with_topics: Vec<_> = lines.iter().map(|line| format!("segel/1/idsrg/g01/ev/forced-open {line}\r")).collect();
    with_topics.push("segel/1/idsrg/g01/state/gateway {\"v\":1,\"status\":\"ready\"}".to_owned());
    let said = check(&with_topics, &[]);
    assert!(said.code == 0 && said.out.contains("1 messages of other topics passed over"), "{said:?}");
}

#[tokio::test]
async fn a_changed_row_and_a_changed_document_are_found_in_the_journal() {
    for change in [
        "UPDATE event SET doc = CAST(replace(CAST(doc AS TEXT), 'JT-3', 'JT-4') AS BLOB) WHERE seq = 4",
        "UPDATE event SET subject = 'seal/JT-9' WHERE seq = 4",
        "UPDATE event SET wall = wall + 1 WHERE seq = 4",
        "UPDATE event SET octets = octets + 1 WHERE seq = 4",
        "DELETE FROM event WHERE seq = 4",
        "DELETE FROM event WHERE seq = 1",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = open(dir.path());
        for n in 0..10 {
            journal.append(entry(Class::Receipt, n)).await.unwrap();
        }
        journal.close().await.unwrap();
        assert_eq!(segel(dir.path(), &["verify"]).code, 0);
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        assert_eq!(hand.execute(change, []).unwrap(), 1, "{change}");
        drop(hand);
        let said = segel(dir.path(), &["verify"]);
        assert_eq!(said.code, 1, "{change}");
        assert!(said.out.contains("NOT WHOLE") && said.out.contains("What to do"), "{change}: {}", said.out);
        let said = segel(dir.path(), &["verify", "--json"]);
        assert_eq!((said.code, &said.json()["good"]), (1, &false.into()), "{change}");
        assert!(!JournalReader::open(dir.path()).unwrap().verify(|_| {}).unwrap().is_good(), "{change}");
    }
}

#[tokio::test]
async fn counts_add_up_and_where_they_do_not_a_sentence_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open_with(dir.path(), JournalConfig { telemetry_quota_bytes: 8_000, ..JournalConfig::default() });
    for n in 0..90 {
        journal.append(draft(Class::ALL[n % 3], n as u64, 20).into()).await.unwrap();
    }
    journal.advance(&Outlet::named("uplink"), Class::Alarm, Seq(7));
    let reader = journal.reader().unwrap();
    until(|| !reader.outlets().unwrap().is_empty()).await;
    drop(reader);
    journal.close().await.unwrap();
    let stats = segel(dir.path(), &["stats", "--types", "--json"]).json();
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    for class in stats["classes"].as_array().unwrap() {
        assert_eq!(number(&class["recorded"]), ["held", "archived", "dropped"].iter().map(|key| number(&class[key])).sum::<u64>());
        assert!(class["first_held"].is_string() && class["last_held"].is_string());
    }
    assert!(number(&stats["classes"][2]["dropped"]) > 0, "there is something to add up");
    let held: u64 = stats["classes"].as_array().unwrap().iter().map(|class| number(&class["held"])).sum();
    assert_eq!(stats["types"].as_array().unwrap().iter().map(|kind| number(&kind["held"])).sum::<u64>(), held);
    assert_eq!(stats["outlets"][0]["classes"][0]["pending"], 23);
    assert!(
        number(&stats["outlets"][0]["classes"][0]["oldest_pending_s"]) > 0
            || stats["outlets"][0]["classes"][0]["oldest_pending"].is_string()
    );
    assert!(number(&stats["sizes"]["database"]) > 0 && stats["adds_up"] == true);

    let original = fs::read(dir.path().join("journal.db")).unwrap();
    for (change, words, said_to_be) in [
        ("UPDATE cursor SET skipped = 30", &["stats"][..], "alarm to uplink: 30 were recorded"),
        ("UPDATE cursor SET seq = 31 WHERE class = 0", &["stats"], "alarm to uplink: 30 were recorded"),
        ("UPDATE dropped SET archived = 3", &["stats"], "telemetry: 3 are archived, but the segments"),
        ("DELETE FROM event WHERE class = 1 AND seq = 1", &["stats"], "receipt: the first held should be number 1 and is 2"),
        ("DELETE FROM event WHERE class = 1 AND seq = 5", &["stats", "--types"], "receipt 5 to 5 should be held and are not found"),
    ] {
        fs::write(dir.path().join("journal.db"), &original).unwrap();
        let hand = rusqlite::Connection::open(dir.path().join("journal.db")).unwrap();
        assert!(hand.execute(change, []).unwrap() > 0, "{change}");
        drop(hand);
        let said = segel(dir.path(), words);
        assert_eq!(said.code, 1, "{change}: {said:?}");
        assert!(said.err.contains("DO NOT ADD UP") && said.err.contains(said_to_be), "{change}: {}", said.err);
        let said = segel(dir.path(), &[words, &["--json"]].concat());
        assert_eq!((said.code, &said.json()["adds_up"]), (1, &false.into()), "{change}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_check_with_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let mut waiting = command(dir.path(), &["verify", "--received", "-"]);
    let mut waiting = Running::start(waiting.stdin(Stdio::piped()));
    let mut input = waiting.child.stdin.take().unwrap();
    input.write_all(b"half a doc").unwrap();
    waiting.hears_interrupts();
    waiting.interrupt();
    let said = waiting.end();
    drop(input);
    assert_eq!((said.code, said.out.as_str()), (130, ""));
    assert!(said.err.contains("this is no verdict"), "{}", said.err);

    bulky(dir.path(), 25_000, 4_000).await;
    let checking = Running::start(&mut command(dir.path(), &["verify", "--json"]));
    checking.hears_interrupts();
    checking.interrupt();
    let said = checking.end();
    assert_eq!((said.code, &said.json()["good"], &said.json()["interrupted"]), (130, &serde_json::Value::Null, &true.into()), "{said:?}");
    assert!(said.err.contains("this is no verdict"), "{}", said.err);
}

#[tokio::test]
async fn a_closed_output_ends_every_command_silently() {
    let dir = tempfile::tempdir().unwrap();
    bulky(dir.path(), 5_000, 4_000).await;
    for words in [&["tail", "-n", "5000", "--json"][..], &["export"], &["tail", "-n", "5000", "--follow"]] {
        let mut running = Running::start(&mut command(dir.path(), words));
        let mut line = String::new();
        let mut out = running.take_stdout();
        out.read_line(&mut line).unwrap();
        drop(out);
        let said = running.end();
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn every_wrong_word_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let none: [&[&str]; 4] = [&["tail"], &["verify"], &["stats"], &["export"]];
    for words in none {
        let said = segel(dir.path(), words);
        assert!(said.code == 21 && said.err.contains("there is no journal in") && said.err.contains("state directory"), "{said:?}");
    }
    for (words, code, parts) in [
        (&["tail", "--class", "news"][..], 2, &["--class", "alarm, receipt, telemetry"][..]),
        (&["tail", "--type", "forced-opne"], 2, &["--type", "did you mean FORCED_OPEN?"]),
        (&["tail", "--seal", "8000620011"], 2, &["--seal", "8000620011"]),
        (&["tail", "--since", "yesterday"], 2, &["--since", "an age like 15m"]),
        (&["tail", "--subject", "nobody"], 2, &["--subject", "KIND/NAME"]),
        (&["tail", "-n", "many"], 2, &["--number"]),
        (&["verify", "--from", "alarm=0", "--received", "-"], 2, &["--from", "CLASS=NUMBER"]),
        (&["verify", "--from", "alarm=3"], 2, &["--received"]),
        (&["verify", "--received", "/nonexistent/file"], 1, &["one document per line", "/nonexistent/file"]),
        (&["verify", "--received", "/"], 1, &["is a directory"]),
        (&["export", "--from-seq", "3"], 2, &["--class"]),
        (&["export", "--class", "alarm", "--from-seq", "0"], 2, &["--from-seq", "they count from 1"]),
        (&["export", "--class", "alarm", "--from-seq", "9", "--to-seq", "5"], 2, &["--from-seq 9", "exchange them"]),
        (&["export", "--since", "2026-11-02", "--until", "2026-11-01"], 2, &["--until 2026-11-01", "exchange them"]),
    ] {
        let said = segel(dir.path(), words);
        assert_eq!(said.code, code, "{words:?}: {said:?}");
        assert!(parts.iter().all(|part| said.err.contains(part)), "{words:?}: {}", said.err);
    }
}
