//! Parses, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

/// Bytes. The arguments of all commands and the futures of the long ones are large, and the stack of a main thread is
/// whatever the system gives.
const STACK: usize = 32 << 20;

fn main() -> ExitCode {
    let run = || dataops_infra::cli::run(&std::env::args_os().collect::<Vec<_>>());
    match std::thread::Builder::new().stack_size(STACK).spawn(run) {
        Ok(thread) => thread.join().unwrap_or(ExitCode::FAILURE),
        Err(_) => run(),
    }
}
