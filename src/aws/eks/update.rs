//! Changes that EKS carries out by itself after a call: of a cluster, of a node group, of an add-on.

use std::collections::BTreeMap;

use aws_sdk_eks::types::{ErrorDetail, Update};
use tokio::sync::Mutex;

use super::cluster::{self, Part};
use super::{Scene, addon, nodes, state, template};
use crate::aws::error::{CallError, classify};
use crate::aws::role::or_missing;
use crate::domain::deployment::eks::health::{finding, told};
use crate::domain::deployment::eks::operation::EksOperation;
use crate::domain::deployment::eks::spec::Eks;
use crate::engine::port::{Done, Found, Ids, Sight};

const DESCRIBE: &str = "eks:DescribeUpdate";

/// Changes that were begun in this run, by what they change; what another run began is seen by states alone.
#[derive(Debug, Default)]
pub struct Updates(Mutex<BTreeMap<String, String>>);

/// Returns what a change is called.
fn what(operation: &EksOperation) -> String {
    match operation {
        EksOperation::UpdateEndpoint => "the endpoint's access".to_owned(),
        EksOperation::UpdateLogging => "the cluster's logs".to_owned(),
        EksOperation::UpdateSupport => "the support policy".to_owned(),
        EksOperation::UpdateVersion { version, .. } => format!("the upgrade to Kubernetes {version}"),
        EksOperation::ScaleNodeGroup { .. } => "the limits of the node group".to_owned(),
        EksOperation::UpdateNodeGroup { .. } => "the rolling of the nodes".to_owned(),
        EksOperation::UpdateAddon { addon } => format!("the change of add-on {}", addon.name),
        _ => "the change".to_owned(),
    }
}

fn part(operation: &EksOperation) -> Option<Part> {
    match operation {
        EksOperation::UpdateEndpoint => Some(Part::Endpoint),
        EksOperation::UpdateLogging => Some(Part::Logging),
        EksOperation::UpdateSupport => Some(Part::Support),
        _ => None,
    }
}

/// Asks EKS for a change.
pub async fn begin(
    scene: &Scene<'_>,
    eks: &Eks,
    operation: &EksOperation,
    ids: &Ids,
) -> Result<(), CallError> {
    let clients = scene.clients;
    // One that failed before is not this one.
    scene.updates.0.lock().await.remove(&what(operation));
    let id = match operation {
        EksOperation::UpdateVersion { version, force } => {
            // An earlier run may have got it there.
            let read = cluster::read(clients, &eks.cluster).await?;
            if read.is_some_and(|read| read.it.version == *version) {
                None
            } else {
                cluster::upgrade(clients, &eks.cluster, version, *force).await?
            }
        }
        EksOperation::ScaleNodeGroup { min, max } => nodes::scale(scene, eks, *min, *max).await?,
        EksOperation::UpdateNodeGroup { version, release } => {
            nodes::roll(scene, eks, version.as_deref(), release.as_deref(), ids).await?
        }
        EksOperation::UpdateAddon { addon } => addon::update(scene, eks, addon, ids).await?,
        _ => match part(operation) {
            Some(part) => cluster::configure(clients, eks, part).await?,
            None => None,
        },
    };
    if let Some(id) = id {
        scene.updates.0.lock().await.insert(what(operation), id);
    }
    Ok(())
}

/// Looks whether a change was asked for: what is wanted is there, or EKS is at it.
pub async fn look(scene: &Scene<'_>, eks: &Eks, operation: &EksOperation) -> Result<Found, CallError> {
    let clients = scene.clients;
    let group = scene.owner.name.node_group();
    let begun = match operation {
        EksOperation::ScaleNodeGroup { min, max } => {
            let read = nodes::read(clients, &eks.cluster, &group).await?;
            read.is_some_and(|read| (read.it.min, read.it.max) == (*min, *max))
        }
        EksOperation::UpdateNodeGroup { .. } => {
            let read = nodes::read(clients, &eks.cluster, &group).await?;
            read.is_some_and(|read| read.it.status == "UPDATING")
        }
        EksOperation::UpdateAddon { addon } => {
            let read = addon::read(clients, &eks.cluster, &addon.name).await?;
            read.is_some_and(|read| read.it.status == "UPDATING")
        }
        _ => {
            let read = cluster::read(clients, &eks.cluster).await?;
            read.is_some_and(|read| match (operation, part(operation)) {
                (EksOperation::UpdateVersion { version, .. }, _) => {
                    read.it.version == *version || read.it.status == "UPDATING"
                }
                (_, Some(part)) => cluster::is_as_wanted(&read.it, eks, part),
                _ => false,
            })
        }
    };
    Ok(if begun { Found::Ours(None) } else { Found::Absent })
}

fn error(error: &ErrorDetail) -> String {
    let code = error.error_code().map_or("Unknown", |code| code.as_str());
    finding(
        code,
        error.error_message().unwrap_or_default(),
        error.resource_ids(),
    )
}

/// Judges what is over by what it should have come to, where nobody knows which change it was.
fn arrived_or_not(sight: Sight, arrived: bool, what: &str, cluster: &str) -> Sight {
    match sight {
        Sight::Come(_) if !arrived => Sight::Never(format!(
            "{what} did not come about; `aws eks list-updates --name {cluster}` lists what EKS did, and why"
        )),
        other => other,
    }
}

/// Judges a change.
fn judged(what: &str, update: &Update) -> Sight {
    let status = update.status().map_or("", |status| status.as_str());
    let errors: Vec<String> = update.errors().iter().map(error).collect();
    let seen = if errors.is_empty() {
        format!("{what} is {status}")
    } else {
        format!("{what} is {status}: {}", told(&errors))
    };
    match status {
        "Successful" => Sight::Come(Done::default()),
        "Failed" | "Cancelled" => Sight::Never(seen),
        _ => Sight::NotYet(seen),
    }
}

/// Looks how far a change is.
pub async fn watch(scene: &Scene<'_>, eks: &Eks, operation: &EksOperation) -> Result<Sight, CallError> {
    let clients = scene.clients;
    let group = scene.owner.name.node_group();
    let what = what(operation);
    let id = scene.updates.0.lock().await.get(&what).cloned();
    let Some(id) = id else {
        // Its answer was lost: what there is says when it is over.
        return Ok(match operation {
            EksOperation::UpdateNodeGroup { version, release } => {
                let read = nodes::read(clients, &eks.cluster, &group)
                    .await?
                    .map(|read| read.it);
                let newest = template::read(clients, &group).await?;
                let newest = newest.map(|template| template.it.version);
                let arrived = read
                    .as_ref()
                    .is_some_and(|it| nodes::is_rolled(it, version.as_deref(), release.as_deref(), newest));
                arrived_or_not(state::nodes(&group, read.as_ref()), arrived, &what, &eks.cluster)
            }
            EksOperation::ScaleNodeGroup { .. } => {
                let read = nodes::read(clients, &eks.cluster, &group).await?;
                state::nodes(&group, read.map(|read| read.it).as_ref())
            }
            EksOperation::UpdateVersion { version, .. } => {
                let read = cluster::read(clients, &eks.cluster).await?.map(|read| read.it);
                let arrived = read.as_ref().is_some_and(|it| it.version == *version);
                arrived_or_not(
                    state::cluster(&eks.cluster, read.as_ref()),
                    arrived,
                    &what,
                    &eks.cluster,
                )
            }
            EksOperation::UpdateAddon { addon } => {
                let read = addon::read(clients, &eks.cluster, &addon.name).await?;
                state::addon(&addon.name, read.map(|read| read.it).as_ref())
            }
            _ => {
                let read = cluster::read(clients, &eks.cluster).await?;
                state::cluster(&eks.cluster, read.map(|read| read.it).as_ref())
            }
        });
    };
    let call = clients.eks.describe_update().name(&eks.cluster).update_id(&id);
    let call = match operation {
        EksOperation::ScaleNodeGroup { .. } | EksOperation::UpdateNodeGroup { .. } => {
            call.nodegroup_name(&group)
        }
        EksOperation::UpdateAddon { addon } => call.addon_name(&addon.name),
        _ => call,
    };
    let answer = or_missing(call.send().await.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(match answer.and_then(|answer| answer.update) {
        Some(update) => judged(&what, &update),
        None => Sight::NotYet(format!("{what} is not visible yet")),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{ErrorCode, UpdateStatus};

    use super::*;

    #[test]
    fn a_change_that_failed_says_why() {
        let update = |status| {
            let why = ErrorDetail::builder()
                .error_code(ErrorCode::PodEvictionFailure)
                .error_message("Reached max retries while trying to evict pods")
                .resource_ids("ip-10-0-0-1")
                .build();
            Update::builder().status(status).errors(why).build()
        };
        let Sight::Never(why) = judged("the rolling of the nodes", &update(UpdateStatus::Failed)) else {
            panic!("it failed");
        };
        assert!(
            why.starts_with("the rolling of the nodes is Failed: PodEvictionFailure: Reached max")
                && why.contains("budget"),
            "{why}"
        );
        assert!(matches!(
            judged("x", &update(UpdateStatus::InProgress)),
            Sight::NotYet(_)
        ));
        assert!(matches!(
            judged("x", &update(UpdateStatus::Successful)),
            Sight::Come(_)
        ));
    }
}
