//! `dataops-infra plan`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {}

/// Runs the command.
pub fn run(_args: &PlanArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
