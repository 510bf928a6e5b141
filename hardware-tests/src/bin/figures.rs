//! `figures`: what segel costs, each figure beside a baseline taken in the same run on the same disk.
//!
//! `cargo run --release -p segel-hardware-tests --bin figures` runs everything; `--only drain` one part of it; `--quick`
//! a tenth. The exit code says only whether something broke: a machine that is busy, or slow, is no fault.
//!
//! The gate under test is this very program, started again as `segel run`, so that it is never an older build.

use std::process::ExitCode;

use clap::Parser;

#[path = "../figures/mod.rs"]
mod figures;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "run") {
        return segel::cli::main();
    }
    let wanted = figures::Wanted::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(figures::run(&wanted)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("figures: {fault:#}");
            ExitCode::FAILURE
        }
    }
}
