//! Parses, runs, and turns the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    dataops_infra::cli::run(&std::env::args_os().collect::<Vec<_>>())
}
