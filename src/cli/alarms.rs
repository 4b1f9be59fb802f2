//! `dataops-infra alarms test`: proves that alarms see their metric, fire, and are heard.

use super::deployment::args::WhichArgs;
use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra alarms test --name dataops-runner-london --region eu-west-2
  dataops-infra alarms test --name dataops-runner-london --alarm alarm-disk-space-critical --yes
  dataops-infra alarms test --name dataops-runner-london --no-fire

For each alarm: the exact metric it watches has arrived lately, the alarm goes
to ALARM and tells its topic, somebody listens to that topic. Then it is put
back as it was. Real messages are sent. Actions that recover or reboot the host
are taken off the alarm while it is tested, so the host goes on.

Exit codes: 0 all proven, 2 wrong input, 3 refused, 4 an alarm would not do what
it is for, 5 something could not be seen.";

/// Arguments of `alarms`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct AlarmsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: AlarmsCommand,
}

/// What can be done with alarms.
#[derive(Debug, clap::Subcommand)]
pub enum AlarmsCommand {
    /// Prove that each alarm sees its metric, fires, and is heard.
    Test(AlarmsTestArgs),
}

/// Arguments of `alarms test`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AlarmsTestArgs {
    /// Which deployments.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Only these alarms, by address or name; may be repeated [default: all].
    #[arg(long = "alarm", value_name = "ALARM")]
    pub alarms: Vec<String>,
    /// Only look at metrics and listeners; no alarm is driven, nothing is sent.
    #[arg(long)]
    pub no_fire: bool,
    /// Minutes to wait for metrics that have not arrived yet, as right after `up`.
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1440))]
    pub wait: u32,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Runs the command.
#[cfg(not(feature = "aws"))]
pub fn run(_args: &AlarmsArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

/// Runs the command.
#[cfg(feature = "aws")]
pub fn run(args: &AlarmsArgs, context: &Context) -> Ending {
    let AlarmsCommand::Test(args) = &args.command;
    super::deployment::alarm_test::run(args, context)
}
