//! What is done to hosts step by step, and on EKS by `up`: Helm puts the new runner beside the old one and lets it take over.

use super::args::{DeploymentArgs, WhichArgs};
use super::provision;
use super::reach::Reached;
use crate::cli::outcome::{Context, Ending, Exit, Failure};
use crate::cli::question::{QuestionArgs, TargetArg};
use crate::cli::up::UpArgs;

/// Minutes that the new runner may take: a node may have to come first.
const WAIT_MINUTES: u32 = 30;

/// Changes a deployment on EKS by `up`.
///
/// # Errors
///
/// As `up`.
pub async fn over(
    which: &WhichArgs,
    deployment: DeploymentArgs,
    yes: bool,
    context: &Context,
) -> Result<Ending, Failure> {
    let args = UpArgs {
        service: Some("eks".to_owned()),
        rest: Vec::new(),
        which: which.clone(),
        question: QuestionArgs {
            target: Some(TargetArg::Eks),
            ..QuestionArgs::default()
        },
        deployment,
        plan: None,
        yes,
        no_wait: false,
        wait_minutes: WAIT_MINUTES,
        renew: false,
        fargate: false,
    };
    provision::up(&args, context).await
}

/// Refuses what is for hosts alone.
pub fn refused(reached: &Reached, what: &str, hint: &str) -> Failure {
    let name = &reached.name;
    Failure::new(
        Exit::Refused,
        format!("{name} is on EKS, where {what}; nothing was changed"),
    )
    .hint(format!("{} {hint}", reached.command("up eks")))
}
