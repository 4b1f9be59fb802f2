//! `dataops-infra workload`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `workload`.
#[derive(Debug, clap::Args)]
pub struct WorkloadArgs {}

/// Runs the command.
pub fn run(_args: &WorkloadArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
