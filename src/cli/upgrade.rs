//! `dataops-infra upgrade`: another version of the runner, blue/green; on EKS of Kubernetes and of the nodes' image.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra upgrade --name dataops-runner-london --runner-version latest-next
  dataops-infra upgrade --name dataops-runner-london --runner-version latest --yes --output json
  dataops-infra upgrade --name dataops-runner-london --runner-version latest-next --trial
  dataops-infra upgrade --name dataops-runner-london --rollback    while both runners are there
  dataops-infra upgrade --name dataops-runner-eks --kubernetes-version 1.35
  dataops-infra upgrade --name dataops-runner-eks --nodes    the newest image for the nodes

A second runner of the new image is put beside the first, registered, and
watched until it asks for jobs; if it does not, it is removed and the first goes
on. After a question (or --yes) the first finishes its jobs, is removed and
unregistered, and the second takes its name. While it is tried, the second has
the tag NAME-VERSION, so that a job of a feature branch can test it; with a
token that begins with glrt- tags are the platform's, and it takes jobs at once.
Interrupted at any moment and run again, it goes on. Back after that: upgrade to
the former version.

On EKS, --kubernetes-version upgrades the control plane by one minor version,
then the add-ons, then the nodes; --nodes replaces the nodes by such of the
newest image of their version, which is due about once a month, and brings those
in an adopted cluster to its version. EKS does not wait for jobs while it
replaces nodes, so the runner finishes its jobs first, takes none meanwhile, and
comes back after. Nothing goes down a version. The same command, or `up eks`,
goes on with what was interrupted.

Exit codes: 0 done or nothing to change, 1 a step failed, 2 wrong input, 3
refused: no such deployment, another upgrade is not finished, EKS found what is
in the way, not confirmed, 4 done and something else differs, 5 AWS could not be
read.";

/// Arguments of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct UpgradeArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Tag of the runner's image: latest, latest-next or another.
    #[arg(long, value_name = "TAG", required_unless_present_any = ["rollback", "kubernetes_version", "nodes"])]
    pub runner_version: Option<String>,
    /// Take the second runner of an unfinished upgrade away, and let the first go on.
    #[arg(long, conflicts_with_all = ["runner_version", "trial"])]
    pub rollback: bool,
    /// Stop when both runners are there; the same command without this goes on.
    #[arg(long)]
    pub trial: bool,
    /// Upgrade Kubernetes to this version: control plane, add-ons and nodes.
    #[arg(long, value_name = "VERSION", help_heading = "EKS",
          conflicts_with_all = ["runner_version", "rollback", "trial", "nodes"])]
    pub kubernetes_version: Option<String>,
    /// Replace the nodes by such of the newest image of their version of Kubernetes.
    #[arg(long, help_heading = "EKS", conflicts_with_all = ["runner_version", "rollback", "trial"])]
    pub nodes: bool,
    /// Upgrade Kubernetes although EKS found what the new version breaks.
    #[arg(long, help_heading = "EKS", requires = "kubernetes_version")]
    pub ignore_insights: bool,
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
