//! The journal against a model: any sequence of operations, with everything compared after each of them.
//!
//! `SEGEL_SEED` plays one run again (it is printed), `SEGEL_CASES` makes it longer or shorter, `SEGEL_NIGHTLY=1` plays the
//! nightly size. A failure is shrunk, and kept in `regressions.txt` so that it is played first ever after.
//!
//! There is one test in this file on purpose: it limits what the whole process may write.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test that meets an error has failed")]

mod bench;
#[path = "../journal_support/mod.rs"]
mod journal_support;
mod model;
mod operation;

use std::cell::RefCell;
use std::ops::Range;

use proptest::collection::vec;
use proptest::test_runner::{Config, FileFailurePersistence, RngAlgorithm, TestRng, TestRunner};

use self::bench::{Bench, Played};
use self::operation::{Operation, any_operation, once_found};

/// Sequences played in CI.
const CASES: u32 = 200;
/// Sequences played at night.
const CASES_NIGHTLY: u32 = 5_000;
/// Longest sequence.
const OPERATIONS: usize = 60;
/// Telemetry held at most, in bytes.
const QUOTA: Range<u64> = 8_000..40_000;
/// Steps of shrinking, and their time in milliseconds: more than a failure here has ever needed.
const SHRINK: (u32, u32) = (4_000, 30_000);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_journal_is_what_the_model_says_whatever_is_done_to_it() {
    let nightly = std::env::var("SEGEL_NIGHTLY").is_ok_and(|wish| wish == "1");
    let usual = if nightly { CASES_NIGHTLY } else { CASES };
    let cases = number("SEGEL_CASES").map_or(usual, |cases| cases.try_into().unwrap());
    let seed = number("SEGEL_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    eprintln!("{cases} sequences of operations: SEGEL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        max_shrink_iters: SHRINK.0,
        max_shrink_time: SHRINK.1,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/journal_model/regressions.txt"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let sequences = (vec(any_operation(), 1..OPERATIONS), QUOTA, 1..4_usize);
    let played = RefCell::new(Played::default());
    let play = |operations: &[Operation], quota, group_events| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new(quota, group_events);
            for operation in operations {
                bench.perform(operation).await?;
            }
            bench.end().await
        })
    };
    for operations in once_found() {
        let outcome = play(&operations, QUOTA.start, 1);
        assert!(outcome.is_ok(), "{operations:#?}: {outcome:?}");
    }
    let outcome = runner.run(&sequences, |(operations, quota, group_events)| {
        played.borrow_mut().add(play(&operations, quota, group_events)?);
        Ok(())
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
    let played = played.into_inner();
    eprintln!("{played:?}");
    let each = u64::from(cases / 4);
    let enough = [played.gaps, played.refused, played.crashes, played.archived, played.without_room].iter().all(|times| *times > each);
    assert!(enough, "too little came to pass: {played:?}");
}
