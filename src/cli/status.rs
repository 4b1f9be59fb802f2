//! `dataops-infra status`: what there is, whether it is well, how it differs, what it costs.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra status --name dataops-runner-london --region eu-west-2
  dataops-infra status --all --regions eu-west-2,us-east-1
  dataops-infra status --file dataops-infra.yaml --output json

Compares everything with what the deployment's record says, field by field;
changes nothing.

Exit codes: 0 as it should be, 2 wrong input, 3 a record cannot be read, 4
something differs, is not online or in alarm, 5 AWS could not be read.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArgs {
    /// Which deployments.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Every deployment of the region [default, when neither name nor file says which].
    #[arg(long, conflicts_with_all = ["name", "file"])]
    pub all: bool,
    /// Regions to look at, with --all.
    #[arg(long, value_name = "REGION", value_delimiter = ',', conflicts_with_all = ["name", "file"])]
    pub regions: Vec<String>,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &StatusArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &StatusArgs, context: &Context) -> Ending {
    super::deployment::inspect::run(args, context)
}
