//! The file system for caches: EFS, its mount targets and its security group.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{IpPermission, IpRange, SecurityGroup as Group};
use aws_sdk_efs::types::{FileSystemDescription, PerformanceMode, Tag, ThroughputMode};

use super::{Scene, made, preflight};
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, Refusal, classify};
use crate::aws::role::or_missing;
use crate::aws::security_group::{self, filter, tags_of};
use crate::domain::deployment::eks::observed::{FileSystem, MountTarget};
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::observed::{SecurityGroup, Tagged};
use crate::domain::deployment::owner::{DEPLOYMENT, GENERATION, KEPT, Tags, told};
use crate::engine::port::{Found, Ids};

const DESCRIBE: &str = "elasticfilesystem:DescribeFileSystems";
const TARGETS: &str = "elasticfilesystem:DescribeMountTargets";
const CREATE: &str = "elasticfilesystem:CreateFileSystem";
const CREATE_TARGET: &str = "elasticfilesystem:CreateMountTarget";
const DELETE_TARGET: &str = "elasticfilesystem:DeleteMountTarget";
const DELETE: &str = "elasticfilesystem:DeleteFileSystem";
const TAG: &str = "elasticfilesystem:TagResource";
const UNTAG: &str = "elasticfilesystem:UntagResource";
const GROUPS: &str = "ec2:DescribeSecurityGroups";
const AUTHORIZE: &str = "ec2:AuthorizeSecurityGroupIngress";

/// Port of NFS.
const NFS: i32 = 2049;

fn tags_for(tags: &Tags, action: &'static str) -> Result<Vec<Tag>, CallError> {
    let built = tags.iter().map(|(key, value)| {
        Tag::builder()
            .key(key)
            .value(value)
            .build()
            .map_err(|error| CallError::Malformed {
                action,
                cause: error.to_string(),
            })
    });
    built.collect()
}

/// Returns the file system of a deployment: the user's, or the one that a step made.
pub fn file_system_id<'a>(eks: &'a Eks, ids: &'a Ids) -> Result<&'a str, CallError> {
    match &eks.storage.file_system {
        Some(theirs) => Ok(theirs),
        None => made(ids, "file-system", DESCRIBE),
    }
}

fn described(system: &FileSystemDescription) -> Tagged<FileSystem> {
    Tagged {
        tags: system
            .tags()
            .iter()
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect(),
        it: FileSystem {
            id: system.file_system_id().to_owned(),
            state: system.life_cycle_state().as_str().to_owned(),
            encrypted: system.encrypted() == Some(true),
            mount_targets: BTreeMap::new(),
        },
    }
}

/// Reads a file system without its mount targets.
pub async fn by_id(clients: &Clients, id: &str) -> Result<Option<Tagged<FileSystem>>, CallError> {
    let answer = clients
        .efs
        .describe_file_systems()
        .file_system_id(id)
        .send()
        .await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(answer.and_then(|answer| answer.file_systems().first().map(described)))
}

/// Reads the file system that carries a deployment's name, with its mount targets.
///
/// One that a former life left as data has no generation; one of this life goes before it.
pub async fn of(clients: &Clients, deployment: &str) -> Result<Option<Tagged<FileSystem>>, CallError> {
    let mut found = Vec::new();
    let mut pages = clients.efs.describe_file_systems().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(DESCRIBE, &error))?;
        let systems = page.file_systems().iter().map(described);
        found.extend(systems.filter(|system| {
            system.tags.get(DEPLOYMENT).map(String::as_str) == Some(deployment)
                && system.it.state != "deleted"
        }));
    }
    found.sort_by_key(|system| (!system.tags.contains_key(GENERATION), system.it.id.clone()));
    let Some(mut system) = found.into_iter().next() else {
        return Ok(None);
    };
    system.it.mount_targets = targets(clients, &system.it.id).await?.into_iter().collect();
    Ok(Some(system))
}

/// Reads the mount targets of a file system, by zone; none where it is gone.
pub async fn targets(clients: &Clients, id: &str) -> Result<Vec<(String, MountTarget)>, CallError> {
    let mut found = Vec::new();
    let mut pages = clients
        .efs
        .describe_mount_targets()
        .file_system_id(id)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let Some(page) = or_missing(page.map_err(|error| classify(TARGETS, &error)))? else {
            return Ok(Vec::new());
        };
        found.extend(page.mount_targets().iter().map(|target| {
            let zone = target.availability_zone_name().unwrap_or_default().to_owned();
            let read = MountTarget {
                id: target.mount_target_id().to_owned(),
                subnet: target.subnet_id().to_owned(),
                state: target.life_cycle_state().as_str().to_owned(),
            };
            (zone, read)
        }));
    }
    Ok(found)
}

/// Makes the file system: encrypted, and with a throughput that follows use; returns its identity.
pub async fn create(scene: &Scene<'_>) -> Result<String, CallError> {
    let mut tags = scene.tags("file-system");
    // The console shows nothing else.
    tags.entry("Name".to_owned())
        .or_insert_with(|| scene.owner.name.node_group());
    let answer = scene
        .clients
        .efs
        .create_file_system()
        .creation_token(scene.token("file-system"))
        .performance_mode(PerformanceMode::GeneralPurpose)
        .throughput_mode(ThroughputMode::Elastic)
        .encrypted(true)
        .set_kms_key_id(scene.record.spec.disk.kms_key.clone())
        .set_tags(Some(tags_for(&tags, CREATE)?))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    Ok(answer.file_system_id().to_owned())
}

/// Looks for the file system by its creation token.
pub async fn look(scene: &Scene<'_>) -> Result<Found, CallError> {
    let answer = scene
        .clients
        .efs
        .describe_file_systems()
        .creation_token(scene.token("file-system"))
        .send()
        .await
        .map_err(|error| classify(DESCRIBE, &error))?;
    Ok(match answer.file_systems().first().map(described) {
        None => Found::Absent,
        Some(system) => {
            let what = format!("file system {}", system.it.id);
            scene.claim(&system.tags, "file-system", &what, Some(system.it.id))
        }
    })
}

/// Removes a file system.
pub async fn delete(clients: &Clients, id: &str) -> Result<(), CallError> {
    clients
        .efs
        .delete_file_system()
        .file_system_id(id)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}

/// Leaves a file system as data: it says of which life it was, and no longer that it is of one.
pub async fn keep(scene: &Scene<'_>, id: &str) -> Result<(), CallError> {
    let kept = Tags::from([(KEPT.to_owned(), scene.owner.generation.to_string())]);
    set_tags(scene.clients, id, &kept).await?;
    scene
        .clients
        .efs
        .untag_resource()
        .resource_id(id)
        .tag_keys(GENERATION)
        .send()
        .await
        .map_err(|error| classify(UNTAG, &error))?;
    Ok(())
}

/// Sets tags of a file system.
pub async fn set_tags(clients: &Clients, id: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .efs
        .tag_resource()
        .resource_id(id)
        .set_tags(Some(tags_for(tags, TAG)?))
        .send()
        .await
        .map_err(|error| classify(TAG, &error))?;
    Ok(())
}

/// Makes a mount target; returns its identity. It has no tags: whose file system it is of, theirs it is.
pub async fn create_target(
    scene: &Scene<'_>,
    eks: &Eks,
    subnet: &str,
    ids: &Ids,
) -> Result<String, CallError> {
    let answer = scene
        .clients
        .efs
        .create_mount_target()
        .file_system_id(file_system_id(eks, ids)?)
        .subnet_id(subnet)
        .security_groups(made(ids, "efs-security-group", CREATE_TARGET)?)
        .send()
        .await
        .map_err(|error| classify(CREATE_TARGET, &error))?;
    Ok(answer.mount_target_id().to_owned())
}

/// Looks for the mount target of a subnet; another subnet of the same zone is told by the refusal.
pub async fn look_target(scene: &Scene<'_>, eks: &Eks, subnet: &str, ids: &Ids) -> Result<Found, CallError> {
    let targets = targets(scene.clients, file_system_id(eks, ids)?).await?;
    let found = targets.into_iter().find(|(_, target)| target.subnet == subnet);
    Ok(found.map_or(Found::Absent, |(_, target)| Found::Ours(Some(target.id))))
}

/// Removes a mount target.
pub async fn delete_target(clients: &Clients, id: &str) -> Result<(), CallError> {
    clients
        .efs
        .delete_mount_target()
        .mount_target_id(id)
        .send()
        .await
        .map_err(|error| classify(DELETE_TARGET, &error))?;
    Ok(())
}

/// Returns what a rule lets in, one text for each range or group: `tcp 2049 10.0.0.0/16`.
fn doors(rule: &IpPermission) -> Vec<String> {
    let protocol = match rule.ip_protocol() {
        None | Some("-1") => "all",
        Some(protocol) => protocol,
    };
    let ports = match (rule.from_port(), rule.to_port()) {
        (Some(from), Some(to)) if from == to => format!(" {from}"),
        (Some(from), Some(to)) => format!(" {from}-{to}"),
        _ => String::new(),
    };
    let ranges = rule.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let ranges = ranges.chain(rule.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6()));
    let groups = rule
        .user_id_group_pairs()
        .iter()
        .filter_map(|pair| pair.group_id());
    let lists = rule
        .prefix_list_ids()
        .iter()
        .filter_map(|list| list.prefix_list_id());
    ranges
        .chain(groups)
        .chain(lists)
        .map(|from| format!("{protocol}{ports} {from}"))
        .collect()
}

fn group(group: &Group) -> Tagged<SecurityGroup> {
    Tagged {
        tags: tags_of(group.tags()),
        it: SecurityGroup {
            id: group.group_id().unwrap_or_default().to_owned(),
            name: group.group_name().unwrap_or_default().to_owned(),
            vpc: group.vpc_id().unwrap_or_default().to_owned(),
            ingress: group.ip_permissions().iter().flat_map(doors).collect(),
            egress_open: group
                .ip_permissions_egress()
                .iter()
                .any(|rule| doors(rule).iter().any(|door| door == "all 0.0.0.0/0")),
        },
    }
}

async fn groups_by(
    clients: &Clients,
    name: &str,
    value: &str,
) -> Result<Vec<Tagged<SecurityGroup>>, CallError> {
    let mut groups = Vec::new();
    let call = clients.ec2.describe_security_groups();
    let mut pages = call
        .filters(filter(name, vec![value.to_owned()]))
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(GROUPS, &error))?;
        groups.extend(page.security_groups().iter().map(group));
    }
    Ok(groups)
}

/// Reads the group of a name: the one that carries the deployment's, else any.
pub async fn group_named(
    clients: &Clients,
    name: &str,
    deployment: &str,
) -> Result<Option<Tagged<SecurityGroup>>, CallError> {
    let mut groups = groups_by(clients, "group-name", name).await?;
    groups.sort_by_key(|group| {
        let ours = group.tags.get(DEPLOYMENT).map(String::as_str) == Some(deployment);
        (!ours, group.it.id.clone())
    });
    Ok(groups.into_iter().next())
}

/// Makes the group; returns its identity.
pub async fn create_group(scene: &Scene<'_>, vpc: &str) -> Result<String, CallError> {
    let name = scene.owner.name.efs_security_group();
    let tags = scene.tags("efs-security-group");
    let what = "File system of a DataOps Runner: NFS in from its VPC";
    security_group::create(scene.clients, &name, what, vpc, &tags).await
}

/// Looks for the group in its VPC.
pub async fn look_group(scene: &Scene<'_>, vpc: &str) -> Result<Found, CallError> {
    let groups = groups_by(
        scene.clients,
        "group-name",
        &scene.owner.name.efs_security_group(),
    )
    .await?;
    Ok(match groups.into_iter().find(|group| group.it.vpc == vpc) {
        None => Found::Absent,
        Some(group) if scene.owner.owns(&group.tags, "efs-security-group") => Found::Ours(Some(group.it.id)),
        Some(group) => Found::Foreign(format!("security group {} {}", group.it.id, told(&group.tags))),
    })
}

fn door(cidr: &str) -> String {
    format!("tcp {NFS} {cidr}")
}

/// Returns the ranges that NFS is not let in from yet; where none are named, those of the VPC are meant.
async fn shut_out(scene: &Scene<'_>, id: &str, cidrs: &[String]) -> Result<Vec<String>, CallError> {
    let wanted = async {
        if cidrs.is_empty() {
            preflight::cidrs(scene.clients, &scene.record.spec.vpc).await
        } else {
            Ok(cidrs.to_vec())
        }
    };
    let (mut wanted, groups) = tokio::try_join!(wanted, groups_by(scene.clients, "group-id", id))?;
    let open = groups.into_iter().next().map(|group| group.it.ingress);
    let open = open.unwrap_or_default();
    wanted.retain(|cidr| !open.contains(&door(cidr)));
    Ok(wanted)
}

/// Lets NFS in from ranges; AWS refuses all of them where one is let in already, so only the others are named.
pub async fn allow_nfs(scene: &Scene<'_>, cidrs: &[String], ids: &Ids) -> Result<(), CallError> {
    let id = made(ids, "efs-security-group", AUTHORIZE)?;
    let shut = shut_out(scene, id, cidrs).await?;
    if shut.is_empty() {
        return Ok(());
    }
    let ranges = shut
        .iter()
        .map(|cidr| IpRange::builder().cidr_ip(cidr).build())
        .collect();
    let rule = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(NFS)
        .to_port(NFS)
        .set_ip_ranges(Some(ranges))
        .build();
    scene
        .clients
        .ec2
        .authorize_security_group_ingress()
        .group_id(id)
        .ip_permissions(rule)
        .send()
        .await
        .map_err(|error| classify(AUTHORIZE, &error))?;
    Ok(())
}

/// Looks whether NFS is let in.
pub async fn look_nfs(scene: &Scene<'_>, cidrs: &[String], ids: &Ids) -> Result<Found, CallError> {
    let id = made(ids, "efs-security-group", AUTHORIZE)?;
    match shut_out(scene, id, cidrs).await {
        Ok(shut) if shut.is_empty() => Ok(Found::Ours(None)),
        Ok(_) => Ok(Found::Absent),
        Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(Found::Absent),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_one_by_one() {
        let rule = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(NFS)
            .to_port(NFS)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/16").build())
            .ip_ranges(IpRange::builder().cidr_ip("10.1.0.0/16").build())
            .build();
        assert_eq!(doors(&rule), [door("10.0.0.0/16"), door("10.1.0.0/16")]);
        let all = IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        assert_eq!(doors(&all), ["all 0.0.0.0/0"]);
    }
}
