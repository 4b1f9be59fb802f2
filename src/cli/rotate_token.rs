//! `dataops-infra rotate-token`: another token for the runner, without a gap.

use std::path::PathBuf;

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};
use super::upgrade::JobArgs;

const EXAMPLES: &str = "\
Examples:
  dataops-infra rotate-token --name dataops-runner-london --token-file new.token
  pass show runner | dataops-infra rotate-token --name dataops-runner-london --token-file - --yes
  dataops-infra rotate-token --name dataops-runner-london --token-secret runners/london
  dataops-infra rotate-token --name dataops-runner-london    the value in your parameter or secret has changed

The token is stored first. Then a second runner is registered with it beside the
first, as `upgrade` does; when it asks for jobs, the first finishes its jobs,
and is unregistered and removed. Interrupted and run again, it goes on; `upgrade
--rollback` takes the second runner away again, but not the stored token.

Exit codes: 0 done or nothing to change, 1 a step failed, 2 wrong input, 3
refused: no such deployment, an upgrade is not finished, not confirmed, 5 AWS
could not be read.";

/// Arguments of `rotate-token`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RotateArgs {
    /// Which deployment.
    #[command(flatten)]
    pub which: WhichArgs,
    /// File with the runner's token; - for standard input [env: DATAOPS_INFRA_TOKEN holds the token itself].
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Environment variable with the runner's token.
    #[arg(long, value_name = "VARIABLE")]
    pub token_env: Option<String>,
    /// SSM parameter of yours with the runner's token.
    #[arg(long, value_name = "PARAMETER")]
    pub token_parameter: Option<String>,
    /// Secret of yours in Secrets Manager with the runner's token.
    #[arg(long, value_name = "SECRET")]
    pub token_secret: Option<String>,
    /// How long jobs may take.
    #[command(flatten)]
    pub jobs: JobArgs,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &RotateArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &RotateArgs, context: &Context) -> Ending {
    super::deployment::rotate::run(args, context)
}
