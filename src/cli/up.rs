//! `dataops-infra up`: in this version it only ever says why not.

use std::ffi::OsString;

use super::outcome::{Context, Ending, Exit, Failure};

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// The service to host the runner on.
    pub service: String,
    /// What a service that is refused would have been given.
    #[arg(hide = true)]
    pub rest: Vec<String>,
}

/// Returns where the arguments name the service to bring up, if it is one that we know.
pub(super) fn service_position(_arguments: &[OsString]) -> Option<usize> {
    None
}

/// Runs the command.
pub fn run(_args: &UpArgs, _context: &Context) -> Ending {
    Ending::Failed(Failure::new(Exit::Refused, "not wired yet"))
}
