//! `dataops-infra calibrate`.

use super::outcome::{Context, Exit, Failure, Outcome};

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {}

/// Runs the command.
pub fn run(_args: &CalibrateArgs, _context: &Context) -> Outcome {
    Err(Failure::new(Exit::Failed, "not wired yet"))
}
