//! `dataops-infra up`: in this version it says why a service is refused, and provisions nothing.

use std::ffi::OsString;

use super::explain;
use super::outcome::{Answer, Context, Ending, Exit, Failure};
use crate::domain::explain as knowledge;
use crate::domain::explain::{Service, Standing};

const EXAMPLES: &str = "\
This version recommends hosts and provisions none: every service ends with exit code 3.

Examples:
  dataops-infra up fargate    why it is refused, and what to use instead
  dataops-infra up ec2        what to do until provisioning is there";

/// Arguments of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// The service to host the runner on.
    pub service: String,
    /// What else would have been asked for.
    #[arg(hide = true)]
    pub rest: Vec<String>,
}

/// Returns where the arguments name the service to bring up, if it is one that we know.
pub(super) fn service_position(arguments: &[OsString]) -> Option<usize> {
    let known = |argument: &OsString| {
        argument
            .to_str()
            .is_some_and(|name| knowledge::find(name).is_some())
    };
    let up = arguments.iter().position(|argument| argument == "up")?;
    Some(up + arguments[up..].iter().position(known)?)
}

/// Runs the command.
pub fn run(args: &UpArgs, _context: &Context) -> Ending {
    match explain::find(&args.service) {
        Err(unknown) => Ending::Failed(unknown),
        Ok(service) if service.standing == Standing::Supported => Ending::Failed(not_yet(service)),
        Ok(service) => Ending::Refused(
            Answer {
                exit: Exit::Refused,
                ..explain::explanation(service)
            },
            Failure::new(
                Exit::Refused,
                format!("{} is refused as a host of the runner", service.title),
            )
            .hint(service.next.command),
        ),
    }
}

fn not_yet(service: &Service) -> Failure {
    let message = format!(
        "this version recommends a host on {} but does not provision it; nothing was created",
        service.title
    );
    Failure::new(Exit::Refused, message).hint(service.next.command)
}
