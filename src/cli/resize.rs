//! `dataops-infra resize`: another type, a larger disk.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};
use super::upgrade::JobArgs;

const EXAMPLES: &str = "\
Examples:
  dataops-infra resize --name dataops-runner-london --instance-type c5.2xlarge
  dataops-infra resize --name dataops-runner-london --disk-gib 500 --yes --output json
  dataops-infra resize --name dataops-runner-london    goes on with one that was interrupted

For another type the runner finishes its jobs, the host is stopped, changed and
started, and waited for until its runner is online; several hosts one after the
other. A disk grows while it is in use, and its file system with it; it never
shrinks, and AWS changes a volume once in six hours. The number of jobs at once
stays: `up --concurrency` changes it. On EKS another disk means other nodes: the
runner finishes its jobs, EKS replaces the nodes one after the other, and the
runner comes back; a node group keeps its types.

Exit codes: 0 done or nothing to change, 1 a step failed, 2 wrong input, 3
refused: no such deployment, the type is not offered there, a disk would shrink,
not confirmed, 5 AWS could not be read.";

/// Arguments of `resize`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ResizeArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Type of the hosts.
    #[arg(long, visible_alias = "type", value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// Size of each root volume.
    #[arg(long, visible_alias = "disk", value_name = "GIB")]
    pub disk_gib: Option<String>,
    /// How long jobs may take.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Minutes to wait for each runner.
    #[arg(long, value_name = "MINUTES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=240))]
    pub wait_minutes: u32,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &ResizeArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &ResizeArgs, context: &Context) -> Ending {
    super::deployment::resize::run(args, context)
}
