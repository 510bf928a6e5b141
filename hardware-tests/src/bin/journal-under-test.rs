//! `journal-under-test`: a journal in a process of its own, which can be killed or lose its disk at any moment.

use std::process::ExitCode;

use clap::Parser;

#[path = "../under_test/mod.rs"]
mod under_test;

fn main() -> ExitCode {
    let wanted = under_test::Wanted::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(under_test::run(wanted)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("journal-under-test: {fault:#}");
            ExitCode::FAILURE
        }
    }
}
