//! `dataops-infra explain`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {}

/// Runs the command.
pub fn run(_args: &ExplainArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
