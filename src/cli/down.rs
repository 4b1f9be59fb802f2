//! `dataops-infra down`: removes what a deployment provably owns, and lists the rest.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra down --name dataops-runner-london --region eu-west-2
  dataops-infra down --name ci-1234 --yes --output json
  dataops-infra down --expired --region eu-west-2 --yes    what was leased and is over
  dataops-infra down --name dataops-runner-london --keep-data --snapshot

Jobs finish and the runner is unregistered first; then everything goes in
reverse order, and the record last. Only what carries the deployment's name,
generation and address, and for hosts the client token of their launch, is
removed; what does not is listed. Works after any `up` that failed.

Exit codes: 0 gone, or nothing was there, 1 a step failed, 2 wrong input, 3
refused, 5 AWS could not be read.";

/// Arguments of `down`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DownArgs {
    /// Which deployments.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Remove every deployment of the region whose lease is over.
    #[arg(long, conflicts_with_all = ["name", "file"])]
    pub expired: bool,
    /// Regions to look for leases in, besides --region.
    #[arg(long, value_name = "REGION", value_delimiter = ',', requires = "expired")]
    pub regions: Vec<String>,
    /// Leave what holds data: the hosts' volumes and the logs.
    #[arg(long)]
    pub keep_data: bool,
    /// Copy the hosts' volumes to snapshots first.
    #[arg(long)]
    pub snapshot: bool,
    /// Remove the file system of a deployment on EKS too; it stays as data otherwise.
    #[arg(long, conflicts_with = "keep_data")]
    pub delete_storage: bool,
    /// Minutes that running jobs may take to finish.
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub drain_timeout: u32,
    /// Abort running jobs instead of waiting for them; the runner is unregistered all the same.
    #[arg(long, conflicts_with_all = ["drain_timeout", "no_drain"])]
    pub now: bool,
    /// Neither wait for jobs nor unregister the runner.
    #[arg(long)]
    pub no_drain: bool,
    /// Also terminate hosts that are protected from it.
    #[arg(long)]
    pub unprotect: bool,
    /// Generation of a deployment whose record is gone; it is in the tags of what it left.
    #[arg(long, value_name = "GENERATION", requires = "name")]
    pub generation: Option<String>,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &DownArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &DownArgs, context: &Context) -> Ending {
    super::deployment::remove::run(args, context)
}
