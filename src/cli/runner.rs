//! `dataops-infra runner`: day-to-day work on the runner of a deployment.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra runner stop --name dataops-runner-london --region eu-west-2
  dataops-infra runner stop --name dataops-runner-london --now --yes    aborts running jobs
  dataops-infra runner restart --name dataops-runner-london --timeout 120
  dataops-infra runner start --name dataops-runner-london --output json
  dataops-infra runner logs --name dataops-runner-london --tail 50 --follow

On hosts everything goes through Systems Manager Run Command; no port is opened
and no key is needed. On EKS the API server of the cluster is asked. A runner
that is stopped finishes its jobs first, takes no new ones, and stays stopped
until `runner start`, also over a reboot.

Exit codes: 0 done, 1 the host could not do it, or jobs still run, 2 wrong
input, 3 refused: no such deployment, no host that runs, not confirmed, 5 AWS
could not be read.";

/// Arguments of `runner`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true, subcommand_value_name = "ACTION")]
pub struct RunnerArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the runner.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Start the runner, and wait until it asks for jobs.
    Start(StartArgs),
    /// Let it finish its jobs and stop it.
    Stop(StopArgs),
    /// Let it finish its jobs, stop it and start it again.
    Restart(StopArgs),
    /// Show what it logs, secrets masked.
    Logs(LogsArgs),
}

/// Arguments of `runner start`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StartArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Do not ask; nothing is asked for a start.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Arguments of `runner stop` and `runner restart`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StopArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Minutes that running jobs may take to finish.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub timeout: u32,
    /// Abort running jobs instead of waiting for them.
    #[arg(long, conflicts_with = "timeout")]
    pub now: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Arguments of `runner logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct LogsArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Lines from the end.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tail: u32,
    /// Only what is newer: a span such as 10m, or a time such as 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Go on until Ctrl-C; the host is asked every few seconds.
    #[arg(long, short = 'f')]
    pub follow: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &RunnerArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &RunnerArgs, context: &Context) -> Ending {
    super::deployment::runner::run(args, context)
}
