//! What the commands on deployments share: options and file to settings, settings to what is wanted, and how it is done.
//!
//! `args` are the options, `select` merges them with `dataops-infra.yaml`, `size` turns a workload into a size, `token`
//! reads secrets; with AWS, `prepare` compares what is wanted with what there is, and `apply` takes the steps.

pub mod args;
pub mod confirm;
pub mod select;
pub mod size;
pub mod specify;
pub mod token;

#[cfg(feature = "aws")]
pub mod alarm_test;
#[cfg(feature = "aws")]
pub mod apply;
#[cfg(feature = "aws")]
pub mod calls;
#[cfg(feature = "aws")]
pub mod cluster;
#[cfg(feature = "aws")]
pub mod eks;
#[cfg(feature = "aws")]
pub mod ends;
#[cfg(feature = "aws")]
pub mod inspect;
#[cfg(feature = "aws")]
pub mod nodes;
#[cfg(feature = "aws")]
pub mod planned;
#[cfg(feature = "aws")]
pub mod prepare;
#[cfg(feature = "aws")]
pub mod preview;
#[cfg(feature = "aws")]
pub mod provision;
#[cfg(feature = "aws")]
pub mod reach;
#[cfg(feature = "aws")]
pub mod release;
#[cfg(feature = "aws")]
pub mod remove;
#[cfg(feature = "aws")]
pub mod resize;
#[cfg(feature = "aws")]
pub mod rotate;
#[cfg(feature = "aws")]
pub mod runner;
#[cfg(feature = "aws")]
pub mod runner_cluster;
pub mod shared;
#[cfg(feature = "aws")]
pub mod site;
#[cfg(feature = "aws")]
pub mod upgrade;
#[cfg(feature = "aws")]
pub mod wants;

/// Says that this build cannot call AWS.
#[cfg(not(feature = "aws"))]
pub fn without_aws() -> crate::cli::outcome::Failure {
    use crate::cli::outcome::{Exit, Failure};
    Failure::new(
        Exit::Failed,
        "this build of dataops-infra cannot call AWS; nothing was changed",
    )
    .hint("build it with the feature `aws`, which is on by default")
}
