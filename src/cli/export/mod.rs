//! `dataops-infra export`: the answer for people who apply it by other means.

mod cluster;
mod deployment;
mod iam_policy;

use super::outcome::{Context, Ending};

const EXAMPLES: &str = "\
Examples:
  dataops-infra export iam-policy --for up > policy.json
  dataops-infra export cloudformation --name dataops-runner-london > runner.yaml
  dataops-infra export user-data --name dataops-runner-london --region eu-west-2 > user-data.sh
  dataops-infra export eksctl --name dataops-runner-singapore --workload kubernetes > cluster.yaml";

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// What to write.
    #[command(subcommand)]
    pub kind: Kind,
}

/// What can be written.
#[derive(Debug, clap::Subcommand)]
pub enum Kind {
    /// Write the least IAM policy for a command.
    #[command(after_help = iam_policy::EXAMPLES)]
    IamPolicy(iam_policy::PolicyArgs),
    /// Write a deployment as a CloudFormation template.
    #[command(after_help = deployment::CLOUDFORMATION)]
    Cloudformation(deployment::ExportDeploymentArgs),
    /// Write the script that makes a host out of a fresh Ubuntu machine.
    #[command(after_help = deployment::USER_DATA)]
    UserData(deployment::ExportDeploymentArgs),
    /// Write a cluster as eksctl makes it.
    #[command(after_help = cluster::EKSCTL)]
    Eksctl(deployment::ExportDeploymentArgs),
    /// Write the values that the vendor's chart is installed with.
    #[command(after_help = cluster::HELM_VALUES)]
    HelmValues(deployment::ExportDeploymentArgs),
    /// Write what must stand in a cluster before the chart.
    #[command(after_help = cluster::MANIFESTS)]
    Manifests(deployment::ExportDeploymentArgs),
}

/// Runs the command.
pub fn run(args: &ExportArgs, context: &Context) -> Ending {
    let ended = match &args.kind {
        Kind::IamPolicy(args) => return iam_policy::run(args, context).into(),
        Kind::Cloudformation(args) => deployment::cloudformation(args, context),
        Kind::UserData(args) => deployment::user_data(args, context),
        Kind::Eksctl(args) => cluster::eksctl(args, context),
        Kind::HelmValues(args) => cluster::helm_values(args, context),
        Kind::Manifests(args) => cluster::manifests(args, context),
    };
    ended.map_or_else(Ending::Failed, |text| Ending::Raw(text.into_bytes()))
}
