//! The `segel` program, built beside the tests so that they can start it, watch it and kill it.

fn main() -> std::process::ExitCode {
    segel::cli::main()
}
