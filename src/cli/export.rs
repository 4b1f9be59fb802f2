//! `dataops-infra export`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {}

/// Runs the command.
pub fn run(_args: &ExportArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
