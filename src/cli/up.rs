//! `dataops-infra up`: from nothing, or from whatever there is, to a complete deployment.

use std::ffi::OsString;
use std::path::PathBuf;

use super::deployment::args::{DeploymentArgs, WhichArgs};
use super::explain;
use super::outcome::{Answer, Context, Ending, Exit, Failure};
use super::question::{QuestionArgs, TargetArg};
use crate::domain::explain as knowledge;
use crate::domain::explain::Standing;

const EXAMPLES: &str = "\
Examples:
  dataops-infra up ec2 --name dataops-runner-london --workload production \\
      --region eu-west-2 --token-file runner.token
  dataops-infra up ec2 --name ci-1234 --workload proof-of-technology --ttl 4h --yes \\
      --output json --token-parameter /runners/token
  dataops-infra up eks --name dataops-runner-singapore --workload kubernetes \\
      --region ap-southeast-1 --token-file runner.token \\
      --chart-repository https://charts.example.com --chart dataops-runner
  dataops-infra up eks --name dataops-runner-paris --cluster shared --chart ./runner \\
      --token-secret runners/token    into a cluster that is there
  dataops-infra up --file dataops-infra.yaml --yes
  dataops-infra up --plan plan.json
  dataops-infra up fargate    why it is refused, and what to use instead
  dataops-infra up eks --fargate    what the vendor says of pods on Fargate

Shows the steps and asks; without a terminal --yes is needed. Run again, it
changes nothing; interrupted at any moment and run again, it goes on. Options
that are not repeated stay as they were.

Exit codes: 0 online or nothing to change, 1 a step failed, 2 wrong input, 3
refused: preflight, something of another owner in the way, a stale plan, 4 done
but something differs that `up` does not change, 5 AWS could not be read.";

/// Arguments of `up`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// The service to host the runner on: ec2 or eks.
    pub service: Option<String>,
    /// What else was asked for of a service that is refused.
    #[arg(hide = true)]
    pub rest: Vec<String>,
    /// Which deployments.
    #[command(flatten)]
    pub which: WhichArgs,
    /// What the size is computed from.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// The deployment.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Apply exactly the plan in this file, which `plan --live --out` wrote; refuse it if anything has changed since.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "file"])]
    pub plan: Option<PathBuf>,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Do not wait until the runner is online.
    #[arg(long)]
    pub no_wait: bool,
    /// Minutes to wait for the runner.
    #[arg(long, value_name = "MINUTES", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=240))]
    pub wait_minutes: u32,
    /// Begin the lease anew.
    #[arg(long)]
    pub renew: bool,
    /// Pods on Fargate: refused, with the limits under which the vendor's chart can be made to run there.
    #[arg(long, help_heading = "EKS")]
    pub fargate: bool,
}

/// Returns where the arguments name the service to bring up, if it is one that we refuse.
pub(super) fn service_position(arguments: &[OsString]) -> Option<usize> {
    let refused = |argument: &OsString| {
        argument
            .to_str()
            .and_then(knowledge::find)
            .is_some_and(|service| service.standing != Standing::Supported)
    };
    let up = arguments.iter().position(|argument| argument == "up")?;
    Some(up + arguments[up..].iter().position(refused)?)
}

/// Runs the command.
pub fn run(args: &UpArgs, context: &Context) -> Ending {
    let fargate = args.fargate.then(|| "eks-on-fargate".to_owned());
    let Some(name) = fargate.as_ref().or(args.service.as_ref()) else {
        if args.plan.is_none()
            && args.which.file.is_none()
            && !std::path::Path::new("dataops-infra.yaml").exists()
        {
            return Ending::Failed(
                Failure::new(
                    Exit::BadInput,
                    "no service is named, and there is no dataops-infra.yaml",
                )
                .hint("dataops-infra up ec2 --name dataops-runner-london"),
            );
        }
        return provision(args, context);
    };
    match explain::find(name) {
        Err(unknown) => Ending::Failed(unknown),
        Ok(service) if service.standing == Standing::Supported => {
            let target = match service.name {
                "eks" => TargetArg::Eks,
                _ => TargetArg::Ec2,
            };
            if let [other, ..] = &args.rest[..] {
                return Ending::Failed(Failure::new(
                    Exit::BadInput,
                    format!("unexpected argument '{other}' after {}", service.name),
                ));
            }
            if args.question.target.is_some_and(|said| said != target) {
                return Ending::Failed(Failure::new(
                    Exit::BadInput,
                    format!("`up {}` and --target name different services", service.name),
                ));
            }
            let mut args = args.clone();
            args.question.target = Some(target);
            provision(&args, context)
        }
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

#[cfg(not(feature = "aws"))]
fn provision(_args: &UpArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

#[cfg(feature = "aws")]
fn provision(args: &UpArgs, context: &Context) -> Ending {
    super::deployment::provision::run(args, context)
}
