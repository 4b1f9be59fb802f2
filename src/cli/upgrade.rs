//! `dataops-infra upgrade`: another version of the runner, blue/green.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra upgrade --name dataops-runner-london --runner-version latest-next
  dataops-infra upgrade --name dataops-runner-london --runner-version latest --yes --output json
  dataops-infra upgrade --name dataops-runner-london --runner-version latest-next --trial
  dataops-infra upgrade --name dataops-runner-london --rollback    while both runners are there

A second runner of the new image is put beside the first, registered, and
watched until it asks for jobs; if it does not, it is removed and the first goes
on. After a question (or --yes) the first finishes its jobs, is removed and
unregistered, and the second takes its name. While it is tried, the second has
the tag NAME-VERSION, so that a job of a feature branch can test it; with a
token that begins with glrt- tags are the platform's, and it takes jobs at once.
Interrupted at any moment and run again, it goes on. Back after that: upgrade to
the former version.

Exit codes: 0 done or nothing to change, 1 a step failed, 2 wrong input, 3
refused: no such deployment, another upgrade is not finished, not confirmed, 5
AWS could not be read.";

/// Arguments of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct UpgradeArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Tag of the runner's image: latest, latest-next or another.
    #[arg(long, value_name = "TAG", required_unless_present = "rollback")]
    pub runner_version: Option<String>,
    /// Take the second runner of an unfinished upgrade away, and let the first go on.
    #[arg(long, conflicts_with_all = ["runner_version", "trial"])]
    pub rollback: bool,
    /// Stop when both runners are there; the same command without this goes on.
    #[arg(long)]
    pub trial: bool,
    /// How long jobs may take.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// How long running jobs may take.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct JobArgs {
    /// Minutes that running jobs may take to finish.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub timeout: u32,
    /// Abort running jobs instead of waiting for them.
    #[arg(long, conflicts_with = "timeout")]
    pub now: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &UpgradeArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &UpgradeArgs, context: &Context) -> Ending {
    super::deployment::upgrade::run(args, context)
}
