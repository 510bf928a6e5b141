//! `segel`: the gateway daemon at a port gate, and the commands around it.

use std::process::ExitCode;

fn main() -> ExitCode {
    segel::cli::main()
}
