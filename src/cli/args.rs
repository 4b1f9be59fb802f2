//! The command line as typed.

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::outcome::{Context, Format};
use super::{
    alarms, calibrate, catalog, completions, doctor, down, eks_token, explain, export, kubeconfig, man, plan,
    resize, rotate_token, runner, simulate, status, up, upgrade, workload,
};
use crate::render::log::Log;
use crate::render::style::Style;

const EXAMPLES: &str = "\
Recommend:
  dataops-infra plan --workload production
  dataops-infra plan --workload team.yaml --target eks --region eu-west-2
  dataops-infra simulate --workload production

Provision:
  dataops-infra up ec2 --name dataops-runner-london --region eu-west-2 --token-file runner.token
  dataops-infra status --name dataops-runner-london --region eu-west-2
  dataops-infra doctor --name dataops-runner-london --region eu-west-2
  dataops-infra alarms test --name dataops-runner-london --region eu-west-2
  dataops-infra down --name dataops-runner-london --region eu-west-2

Describe a workload:
  dataops-infra workload list
  dataops-infra workload show production --yaml > team.yaml
  dataops-infra workload check team.yaml
  dataops-infra calibrate jobs.csv

Understand:
  dataops-infra explain fargate
  dataops-infra catalog show
  dataops-infra export iam-policy --for plan > policy.json

Exit codes: 0 done, 1 a step failed, 2 wrong input, 3 refused, 4 findings, 5
could not check.";

/// Recommends, provisions, watches and removes hosts of the DataOps Runner on AWS.
#[derive(Debug, Parser)]
#[command(
    name = "dataops-infra",
    version,
    after_help = EXAMPLES,
    arg_required_else_help = true,
    max_term_width = 100,
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// AWS region [env: AWS_REGION, AWS_DEFAULT_REGION].
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// AWS profile, as in the AWS configuration files [env: AWS_PROFILE].
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Address that AWS calls go to instead of AWS [env: AWS_ENDPOINT_URL].
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Format of the answer: table, json, yaml or markdown.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, hide_possible_values = true,
          value_name = "FORMAT")]
    pub output: Format,
    /// Say nothing on stderr but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more on stderr; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Use no colours [env: NO_COLOR].
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Format of errors and warnings: text, or json with one object a line.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, hide_possible_values = true,
          value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// The format of stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For log collectors.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recommend a host for a workload, with reasons and cost.
    Plan(Box<plan::PlanArgs>),
    /// Show the queue behind the recommendation.
    Simulate(simulate::SimulateArgs),
    /// Make a workload profile from real job history.
    Calibrate(calibrate::CalibrateArgs),
    /// List, show and check workload profiles.
    Workload(workload::WorkloadArgs),
    /// Show or refresh the priced instance table.
    Catalog(catalog::CatalogArgs),
    /// Explain why a service is refused, or when it fits.
    Explain(explain::ExplainArgs),
    /// Make a deployment, or go on with it; other services are refused with reasons.
    Up(Box<up::UpArgs>),
    /// Show what there is, whether it is well, and how it differs.
    Status(status::StatusArgs),
    /// Check machine, account, deployment, host, runner and alarms, and say what mends them.
    Doctor(Box<doctor::DoctorArgs>),
    /// Prove that alarms can fire and are heard.
    Alarms(alarms::AlarmsArgs),
    /// Remove a deployment, and nothing else.
    Down(Box<down::DownArgs>),
    /// Start, stop or restart the runner, or show its log.
    Runner(runner::RunnerArgs),
    /// Change the version of the runner, and on EKS of Kubernetes and nodes.
    Upgrade(upgrade::UpgradeArgs),
    /// Give the hosts another type or a larger disk.
    Resize(resize::ResizeArgs),
    /// Change the token of the runner, without a gap.
    RotateToken(rotate_token::RotateArgs),
    /// Write how kubectl and others reach the cluster of a deployment.
    Kubeconfig(kubeconfig::KubeconfigArgs),
    /// Print the login to a cluster, for kubectl, Helm and others.
    EksToken(eks_token::EksTokenArgs),
    /// Write what other tools need, such as the IAM policy.
    Export(Box<export::ExportArgs>),
    /// Write the completion script of a shell.
    Completions(completions::CompletionsArgs),
    /// Write the manual page.
    Man(man::ManArgs),
}

impl Global {
    /// Resolves flags and environment; flags win, and an empty variable is one that is not set.
    pub fn resolve(&self, variable: impl Fn(&str) -> Option<String>) -> Context {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let either = |flag: &Option<String>, names: &[&str]| {
            let flag = flag.clone().filter(|value| !value.is_empty());
            flag.or_else(|| names.iter().find_map(set))
        };
        Context {
            format: self.output,
            region: either(&self.region, &["AWS_REGION", "AWS_DEFAULT_REGION"]),
            region_flag: self.region.clone().filter(|region| !region.is_empty()),
            profile_flag: self.profile.clone().filter(|profile| !profile.is_empty()),
            aws_profile: either(&self.profile, &["AWS_PROFILE"]),
            endpoint_url: either(&self.endpoint_url, &["AWS_ENDPOINT_URL"]),
            quiet: self.quiet,
            verbose: self.verbose,
            progress: !self.quiet
                && self.log_format == LogFormat::Text
                && Style::stderr_colour(self.no_color),
            log: self.log(),
        }
    }

    /// Returns how stderr looks.
    pub fn log(&self) -> Log {
        Log {
            json: self.log_format == LogFormat::Json,
            colour: Style::stderr_colour(self.no_color),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_and_empty_variables_are_not_set() {
        let environment = |name: &str| match name {
            "AWS_REGION" => Some(String::new()),
            "AWS_DEFAULT_REGION" => Some("eu-west-2".to_owned()),
            "AWS_PROFILE" => Some("work".to_owned()),
            _ => None,
        };
        let none = Global::default().resolve(environment);
        assert_eq!(none.region.as_deref(), Some("eu-west-2"));
        assert_eq!(none.aws_profile.as_deref(), Some("work"));
        assert_eq!(none.endpoint_url, None);
        let flags = Global {
            region: Some("us-east-1".to_owned()),
            ..Global::default()
        };
        assert_eq!(flags.resolve(environment).region.as_deref(), Some("us-east-1"));
    }
}
