//! `dataops-infra catalog`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `catalog`.
#[derive(Debug, clap::Args)]
pub struct CatalogArgs {}

/// Runs the command.
pub fn run(_args: &CatalogArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
