//! Managed node groups.

use aws_sdk_eks::types::{
    AmiTypes, CapacityTypes, Issue, LaunchTemplateSpecification, Nodegroup as Description,
    NodegroupScalingConfig, NodegroupUpdateConfig,
};

use super::{Scene, made, template};
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, Refusal, classify};
use crate::aws::role::or_missing;
use crate::domain::deployment::eks::health::finding;
use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::observed::NodeGroup;
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::eks::upgrade::{compared, is_older};
use crate::domain::deployment::observed::Tagged;
use crate::engine::port::Ids;

const DESCRIBE: &str = "eks:DescribeNodegroup";
const LIST: &str = "eks:ListNodegroups";
const FARGATE: &str = "eks:ListFargateProfiles";
const CREATE: &str = "eks:CreateNodegroup";
const CONFIGURE: &str = "eks:UpdateNodegroupConfig";
const VERSION: &str = "eks:UpdateNodegroupVersion";
const DELETE: &str = "eks:DeleteNodegroup";

/// Types that a node group may have
/// (<https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html>).
const MOST_TYPES: usize = 20;

/// Reads a node group.
pub async fn read(
    clients: &Clients,
    cluster: &str,
    name: &str,
) -> Result<Option<Tagged<NodeGroup>>, CallError> {
    let call = clients.eks.describe_nodegroup();
    let answer = call.cluster_name(cluster).nodegroup_name(name).send().await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(answer
        .and_then(|answer| answer.nodegroup)
        .map(|group| described(&group)))
}

fn issue(issue: &Issue) -> String {
    let code = issue.code().map_or("Unknown", |code| code.as_str());
    finding(code, issue.message().unwrap_or_default(), issue.resource_ids())
}

fn described(group: &Description) -> Tagged<NodeGroup> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let scaling = group.scaling_config();
    let size = |size: Option<i32>| size.and_then(|size| u32::try_from(size).ok()).unwrap_or_default();
    Tagged {
        tags: group.tags().cloned().unwrap_or_default().into_iter().collect(),
        it: NodeGroup {
            status: group.status().map_or("", |status| status.as_str()).to_owned(),
            instance_types: group.instance_types().to_vec(),
            min: size(scaling.and_then(NodegroupScalingConfig::min_size)),
            max: size(scaling.and_then(NodegroupScalingConfig::max_size)),
            desired: size(scaling.and_then(NodegroupScalingConfig::desired_size)),
            version: text(group.version()),
            release_version: text(group.release_version()),
            subnets: group.subnets().to_vec(),
            labels: group.labels().cloned().unwrap_or_default().into_iter().collect(),
            template_version: group
                .launch_template()
                .and_then(|template| template.version()?.parse().ok()),
            role: text(group.node_role()),
            issues: group
                .health()
                .map(|health| health.issues().iter().map(issue).collect())
                .unwrap_or_default(),
        },
    }
}

/// Lists node groups and Fargate profiles of a cluster, ours included.
pub async fn names(clients: &Clients, cluster: &str) -> Result<(Vec<String>, Vec<String>), CallError> {
    let groups = async {
        let mut names = Vec::new();
        let call = clients.eks.list_nodegroups().cluster_name(cluster);
        let mut pages = call.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(LIST, &error))?;
            names.extend(page.nodegroups().iter().cloned());
        }
        Ok(names)
    };
    let profiles = async {
        let mut names = Vec::new();
        let call = clients.eks.list_fargate_profiles().cluster_name(cluster);
        let mut pages = call.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(FARGATE, &error))?;
            names.extend(page.fargate_profile_names().iter().cloned());
        }
        Ok(names)
    };
    tokio::try_join!(groups, profiles)
}

/// Whether a type has a processor of Arm: a `g` among the letters after the generation, or the first of them all
/// (<https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html>).
pub fn is_arm(instance_type: &str) -> bool {
    let family = instance_type.split('.').next().unwrap_or_default();
    let options = family
        .trim_start_matches(|c: char| !c.is_ascii_digit())
        .trim_start_matches(|c: char| c.is_ascii_digit());
    family == "a1"
        || options
            .split('-')
            .next()
            .is_some_and(|options| options.contains('g'))
}

fn scaling(min: u32, max: u32, desired: u32) -> NodegroupScalingConfig {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    NodegroupScalingConfig::builder()
        .min_size(number(min))
        .max_size(number(max))
        .desired_size(number(desired))
        .build()
}

/// Makes the node group.
pub async fn create(scene: &Scene<'_>, eks: &Eks, ids: &Ids) -> Result<(), CallError> {
    let spec = &scene.record.spec;
    let name = scene.owner.name.node_group();
    let id = made(ids, "launch-template", CREATE)?;
    let version = newest(scene, id).await?;
    let types = std::iter::once(&spec.instance_type).chain(&spec.fallback_types);
    let images = if is_arm(&spec.instance_type) {
        AmiTypes::Al2023Arm64Standard
    } else {
        AmiTypes::Al2023X8664Standard
    };
    scene
        .clients
        .eks
        .create_nodegroup()
        .cluster_name(&eks.cluster)
        .nodegroup_name(&name)
        .node_role(scene.role_arn(RoleOf::Nodes, ids))
        .set_subnets(Some(
            spec.subnets.iter().map(|subnet| subnet.id.clone()).collect(),
        ))
        .set_instance_types(Some(types.take(MOST_TYPES).cloned().collect()))
        .ami_type(images)
        .capacity_type(CapacityTypes::OnDemand)
        .scaling_config(scaling(eks.min_nodes, eks.max_nodes, eks.min_nodes))
        .update_config(NodegroupUpdateConfig::builder().max_unavailable(1).build())
        .launch_template(specification(id, version))
        .set_labels(Some(scene.owner.name.node_labels().into_iter().collect()))
        .set_tags(Some(scene.tags("nodes").into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    Ok(())
}

fn specification(id: &str, version: i64) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .id(id)
        .version(version.to_string())
        .build()
}

/// Returns the number of the template's newest version, so that the group says which it has.
async fn newest(scene: &Scene<'_>, id: &str) -> Result<i64, CallError> {
    let read = template::read(scene.clients, &scene.owner.name.node_group()).await?;
    match read {
        Some(read) if read.it.id == id => Ok(read.it.version),
        // Made a moment before, and not seen by everybody.
        _ => Err(CallError::Refused {
            action: CREATE,
            why: Refusal::NotYet,
            cause: format!("the launch template {id} is not visible yet"),
        }),
    }
}

/// Changes the limits, and the nodes that there are only where they are outside of them: they are the autoscaler's.
pub async fn scale(scene: &Scene<'_>, eks: &Eks, min: u32, max: u32) -> Result<Option<String>, CallError> {
    let name = scene.owner.name.node_group();
    let desired = read(scene.clients, &eks.cluster, &name)
        .await?
        .map_or(min, |group| group.it.desired.clamp(min, max.max(min)));
    let answer = scene
        .clients
        .eks
        .update_nodegroup_config()
        .cluster_name(&eks.cluster)
        .nodegroup_name(&name)
        .scaling_config(scaling(min, max, desired))
        .send()
        .await
        .map_err(|error| classify(CONFIGURE, &error))?;
    Ok(answer.update.and_then(|update| update.id))
}

/// Whether a node group has what it was to be rolled to.
pub fn is_rolled(
    group: &NodeGroup,
    version: Option<&str>,
    release: Option<&str>,
    template: Option<i64>,
) -> bool {
    version.is_none_or(|version| !is_older(&group.version, version))
        && release.is_none_or(|release| compared(&group.release_version, release).is_ge())
        && (group.template_version.is_none() || group.template_version == template)
}

/// Rolls the nodes to the newest version of the template, or to another version of Kubernetes or of their image.
///
/// Not by force: pods go as their disruption budgets allow. What an earlier run has come to is not begun again.
pub async fn roll(
    scene: &Scene<'_>,
    eks: &Eks,
    version: Option<&str>,
    release: Option<&str>,
    ids: &Ids,
) -> Result<Option<String>, CallError> {
    let name = scene.owner.name.node_group();
    let id = made(ids, "launch-template", VERSION)?;
    let newest = newest(scene, id).await?;
    let read = read(scene.clients, &eks.cluster, &name).await?;
    if read.is_some_and(|read| is_rolled(&read.it, version, release, Some(newest))) {
        return Ok(None);
    }
    let answer = scene
        .clients
        .eks
        .update_nodegroup_version()
        .cluster_name(&eks.cluster)
        .nodegroup_name(&name)
        .set_version(version.map(str::to_owned))
        .set_release_version(release.map(str::to_owned))
        .launch_template(specification(id, newest))
        .send()
        .await
        .map_err(|error| classify(VERSION, &error))?;
    Ok(answer.update.and_then(|update| update.id))
}

/// Removes a node group.
pub async fn delete(clients: &Clients, cluster: &str, name: &str) -> Result<(), CallError> {
    clients
        .eks
        .delete_nodegroup()
        .cluster_name(cluster)
        .nodegroup_name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_follow_the_family() {
        for arm in [
            "a1.large",
            "c7g.xlarge",
            "m6gd.large",
            "t4g.small",
            "g5g.xlarge",
            "c8gn.large",
        ] {
            assert!(is_arm(arm), "{arm}");
        }
        for other in [
            "c6i.large",
            "t3a.large",
            "g4dn.xlarge",
            "m7i-flex.large",
            "c5.xlarge",
            "hpc6a.48xlarge",
        ] {
            assert!(!is_arm(other), "{other}");
        }
    }
}
