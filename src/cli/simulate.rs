//! `dataops-infra simulate`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub struct SimulateArgs {}

/// Runs the command.
pub fn run(_args: &SimulateArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
