//! Reads what must hold before the first create of a deployment on EKS.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eks::types::{AddonVersionInfo, ClusterVersionInformation, Compatibility, VersionStatus};
use aws_smithy_types::date_time::Format;

use super::nodes;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::preflight::quota;
use crate::aws::role::or_missing;
use crate::aws::security_group::filter;
use crate::domain::deployment::eks::preflight::{
    AddonVersions, CLUSTERS_QUOTA, EksFacts, FILE_SYSTEMS_QUOTA, KubernetesVersion, NODE_GROUPS_QUOTA,
    NODES_QUOTA, SERVICE_ROLES,
};
use crate::domain::deployment::preflight::Quota;

const VERSIONS: &str = "eks:DescribeClusterVersions";
const ADDONS: &str = "eks:DescribeAddonVersions";
const CLUSTERS: &str = "eks:ListClusters";
const VPCS: &str = "ec2:DescribeVpcs";
const ZONES: &str = "ec2:DescribeAvailabilityZones";
const ROLE: &str = "iam:GetRole";

/// Reads the versions of Kubernetes that EKS makes clusters of, the newest first.
pub async fn versions(clients: &Clients) -> Result<Vec<KubernetesVersion>, CallError> {
    let mut pages = clients.eks.describe_cluster_versions().into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(VERSIONS, &error))?;
        found.extend(page.cluster_versions().iter().map(version));
    }
    found.sort_by_key(|version| std::cmp::Reverse(version.number()));
    Ok(found)
}

fn version(version: &ClusterVersionInformation) -> KubernetesVersion {
    let day = |time: Option<&aws_smithy_types::DateTime>| {
        let text = time?.fmt(Format::DateTime).ok()?;
        text.get(..10).map(str::to_owned)
    };
    KubernetesVersion {
        version: version.cluster_version().unwrap_or_default().to_owned(),
        default: version.default_version(),
        standard: version.version_status() == Some(&VersionStatus::StandardSupport),
        standard_until: day(version.end_of_standard_support_date()),
        extended_until: day(version.end_of_extended_support_date()),
    }
}

/// Reads the versions of AWS's own add-ons for a version of Kubernetes.
pub async fn addons(
    clients: &Clients,
    kubernetes: &str,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, AddonVersions>, CallError> {
    let mut pages = clients
        .eks
        .describe_addon_versions()
        .kubernetes_version(kubernetes)
        .owners("aws")
        .into_paginator()
        .send();
    let mut found: BTreeMap<String, AddonVersions> = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(ADDONS, &error))?;
        for addon in page.addons() {
            let name = addon.addon_name().unwrap_or_default();
            if !names.contains(name) {
                continue;
            }
            let read = found.entry(name.to_owned()).or_default();
            let offered = |info: &&AddonVersionInfo| {
                info.compatibilities()
                    .iter()
                    .any(|fits| fits.cluster_version() == Some(kubernetes))
            };
            for info in addon.addon_versions().iter().filter(offered) {
                let version = info.addon_version().unwrap_or_default().to_owned();
                let fits = info.compatibilities().iter();
                if fits
                    .filter(|fits| fits.cluster_version() == Some(kubernetes))
                    .any(Compatibility::default_version)
                {
                    read.default = Some(version.clone());
                }
                read.versions.push(version);
            }
        }
    }
    Ok(found)
}

/// Reads the ranges of a VPC.
pub async fn cidrs(clients: &Clients, vpc: &str) -> Result<Vec<String>, CallError> {
    let answer = clients
        .ec2
        .describe_vpcs()
        .filters(filter("vpc-id", vec![vpc.to_owned()]))
        .send()
        .await
        .map_err(|error| classify(VPCS, &error))?;
    let mut cidrs = BTreeSet::new();
    for vpc in answer.vpcs() {
        cidrs.extend(vpc.cidr_block().map(str::to_owned));
        let more = vpc.cidr_block_association_set().iter().filter(|more| {
            let state = more.cidr_block_state().and_then(|state| state.state());
            state.is_none_or(|state| state.as_str() == "associated")
        });
        cidrs.extend(more.filter_map(|more| more.cidr_block().map(str::to_owned)));
    }
    Ok(cidrs.into_iter().collect())
}

/// Reads the identities of zones, by name: those are the same for every account.
pub async fn zone_ids(clients: &Clients) -> Result<BTreeMap<String, String>, CallError> {
    let answer = clients
        .ec2
        .describe_availability_zones()
        .send()
        .await
        .map_err(|error| classify(ZONES, &error))?;
    let zones = answer.availability_zones().iter();
    Ok(zones
        .filter_map(|zone| Some((zone.zone_name()?.to_owned(), zone.zone_id()?.to_owned())))
        .collect())
}

/// Counts the clusters of the region.
async fn clusters(clients: &Clients) -> Result<f64, CallError> {
    let mut pages = clients.eks.list_clusters().into_paginator().send();
    let mut count = 0_u32;
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(CLUSTERS, &error))?;
        count += u32::try_from(page.clusters().len()).unwrap_or(u32::MAX);
    }
    Ok(f64::from(count))
}

async fn limit(clients: &Clients, service: &str, code: &str, used: Option<f64>) -> Quota {
    match quota(clients, service, code).await {
        Ok(limit) => Quota::Value { limit, used },
        Err(error) => Quota::Unread(error.to_string()),
    }
}

/// Returns which of the roles that AWS's services make for themselves are there.
async fn service_roles(clients: &Clients) -> Result<BTreeSet<&'static str>, CallError> {
    let asked = SERVICE_ROLES.map(|(role, _)| async move {
        let answer = clients.iam.get_role().role_name(role).send().await;
        let found = or_missing(answer.map_err(|error| classify(ROLE, &error)))?;
        Ok::<_, CallError>(found.map(|_| role))
    });
    let found = futures_util::future::try_join_all(asked).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Returns what was read, and else why not.
fn read<T>(asked: Result<T, CallError>) -> (Option<T>, Option<CallError>) {
    match asked {
        Ok(read) => (Some(read), None),
        Err(error) => (None, Some(error)),
    }
}

/// Reads the facts; what cannot be read is none, and the findings say so.
///
/// `cluster` is one that is adopted: its node groups count.
pub async fn facts(
    clients: &Clients,
    vpc: &str,
    kubernetes: Option<&str>,
    names: &BTreeSet<String>,
    cluster: Option<&str>,
) -> EksFacts {
    let used_groups = async {
        match cluster {
            Some(cluster) => nodes::names(clients, cluster)
                .await
                .ok()
                .map(|(groups, _)| groups.len() as f64),
            None => Some(0.0),
        }
    };
    let (versions, cidrs, zone_ids, used, used_groups, roles) = tokio::join!(
        Box::pin(versions(clients)),
        Box::pin(cidrs(clients, vpc)),
        Box::pin(zone_ids(clients)),
        Box::pin(clusters(clients)),
        Box::pin(used_groups),
        Box::pin(service_roles(clients)),
    );
    let wanted = kubernetes.map(str::to_owned).or_else(|| {
        let versions = versions.as_ref().ok()?;
        Some(versions.iter().find(|version| version.default)?.version.clone())
    });
    let addons = async {
        match &wanted {
            Some(version) => read(addons(clients, version, names).await),
            None => (None, None),
        }
    };
    let (addons, clusters, node_groups, nodes, file_systems) = tokio::join!(
        Box::pin(addons),
        Box::pin(limit(clients, "eks", CLUSTERS_QUOTA, used.ok())),
        Box::pin(limit(clients, "eks", NODE_GROUPS_QUOTA, used_groups)),
        Box::pin(limit(clients, "eks", NODES_QUOTA, None)),
        Box::pin(limit(clients, "elasticfilesystem", FILE_SYSTEMS_QUOTA, None)),
    );
    let (versions, versions_unread) = read(versions);
    let (addons, addons_unread) = addons;
    EksFacts {
        versions,
        versions_unread,
        addons,
        addons_unread,
        cidrs: cidrs.ok(),
        zone_ids: zone_ids.ok(),
        clusters: Some(clusters),
        node_groups: Some(node_groups),
        nodes: Some(nodes),
        file_systems: Some(file_systems),
        service_roles: roles.ok(),
    }
}
