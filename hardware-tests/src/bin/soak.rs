//! `soak`: everything at once for as long as wanted, with faults at random, and a reckoning at the end.
//!
//! `cargo run --release -p segel-hardware-tests --bin soak -- --minutes 60 --seed 7`. The last line says PASSED or FAILED
//! with the seed; the exit code says the same. What is done when is drawn from the seed before it begins; how the
//! machine's timing interleaves it is not.
//!
//! The gate under test, and the commands beside it, are this very program started again as `segel`.

use std::process::ExitCode;

use clap::Parser;

#[path = "../soak/mod.rs"]
mod soak;

/// What this program is started again as.
const VERBS: [&str; 3] = ["run", "journal", "status"];

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|verb| VERBS.contains(&verb.as_str())) {
        return segel::cli::main();
    }
    let wanted = soak::Wanted::parse();
    if let Some(code) = soak::room::enter() {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(soak::run(&wanted))) {
        Ok(soak::Verdict::Passed) => ExitCode::SUCCESS,
        Ok(soak::Verdict::Failed) => ExitCode::FAILURE,
        Err(fault) => {
            println!("FAILED seed {}: {fault:#}", wanted.seed());
            ExitCode::FAILURE
        }
    }
}
