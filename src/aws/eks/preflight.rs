//! Reads what must hold before the first create of a deployment on EKS.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_eks::types::{
    AddonVersionInfo, Category, ClusterVersionInformation, Compatibility, InsightsFilter, VersionStatus,
};
use aws_smithy_types::date_time::Format;

use super::nodes;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, Refusal, classify};
use crate::aws::parameter;
use crate::aws::preflight::quota;
use crate::aws::role::or_missing;
use crate::aws::security_group::filter;
use crate::domain::deployment::eks::preflight::{
    AddonVersions, CLUSTERS_QUOTA, EksFacts, FILE_SYSTEMS_QUOTA, KubernetesVersion, NODE_GROUPS_QUOTA,
    NODES_QUOTA, SERVICE_ROLES,
};
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::eks::upgrade::{Facts, Insight};
use crate::domain::deployment::preflight::Quota;
use crate::domain::deployment::record::Record;

const VERSIONS: &str = "eks:DescribeClusterVersions";
const ADDONS: &str = "eks:DescribeAddonVersions";
const CLUSTERS: &str = "eks:ListClusters";
const VPCS: &str = "ec2:DescribeVpcs";
const ZONES: &str = "ec2:DescribeAvailabilityZones";
const ROLE: &str = "iam:GetRole";
const INSIGHTS: &str = "eks:ListInsights";
const INSIGHT: &str = "eks:DescribeInsight";

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

/// Reads the newest release of the nodes' image for a version of Kubernetes
/// (<https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html>).
pub async fn release(clients: &Clients, kubernetes: &str, arm: bool) -> Result<String, CallError> {
    let processor = if arm { "arm64" } else { "x86_64" };
    let name = format!(
        "/aws/service/eks/optimized-ami/{kubernetes}/amazon-linux-2023/{processor}/standard/recommended/release_version"
    );
    let mut read = parameter::read(clients, std::slice::from_ref(&name), false).await?;
    read.remove(&name)
        .map(|parameter| parameter.value)
        .ok_or_else(|| CallError::Refused {
            action: parameter::READ,
            why: Refusal::Missing,
            cause: format!("there is no parameter {name}"),
        })
}

/// Reads what EKS found about an upgrade to a version, with what it recommends for what is not well.
pub async fn insights(clients: &Clients, cluster: &str, kubernetes: &str) -> Result<Vec<Insight>, CallError> {
    let filter = InsightsFilter::builder()
        .categories(Category::UpgradeReadiness)
        .kubernetes_versions(kubernetes)
        .build();
    let mut pages = clients
        .eks
        .list_insights()
        .cluster_name(cluster)
        .filter(filter)
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(INSIGHTS, &error))?;
        found.extend(page.insights().iter().cloned());
    }
    let told = found.into_iter().map(|summary| async move {
        let mut insight = Insight {
            name: summary.name().unwrap_or_default().to_owned(),
            ..Insight::default()
        };
        if let Some(status) = summary.insight_status() {
            insight.status = status.status().map_or("", |status| status.as_str()).to_owned();
            status
                .reason()
                .unwrap_or_default()
                .clone_into(&mut insight.reason);
        }
        if insight.status == "PASSING" {
            return Ok(insight);
        }
        let call = clients.eks.describe_insight().cluster_name(cluster);
        let answer = call.id(summary.id().unwrap_or_default()).send().await;
        let answer = or_missing(answer.map_err(|error| classify(INSIGHT, &error)))?;
        let recommendation = answer
            .as_ref()
            .and_then(|answer| answer.insight()?.recommendation());
        recommendation
            .unwrap_or_default()
            .clone_into(&mut insight.recommendation);
        Ok::<_, CallError>(insight)
    });
    futures_util::future::try_join_all(told).await
}

/// Reads the node groups of others in a cluster, with their versions of Kubernetes.
async fn others(clients: &Clients, cluster: &str, ours: &str) -> Result<Vec<(String, String)>, CallError> {
    let (groups, _) = nodes::names(clients, cluster).await?;
    let read = groups
        .into_iter()
        .filter(|name| name != ours)
        .map(|name| async move {
            let read = nodes::read(clients, cluster, &name).await?;
            Ok::<_, CallError>(read.map(|read| (name, read.it.version)))
        });
    Ok(futures_util::future::try_join_all(read)
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Asks only where that is needed.
async fn only<T>(needed: bool, asked: impl Future<Output = T>) -> Option<T> {
    if needed { Some(asked.await) } else { None }
}

/// Reads what must be known before an upgrade of a deployment to a version of Kubernetes; `up` says that the control plane goes up,
/// `reads_release` that the nodes' image becomes another.
pub async fn upgrade(
    clients: &Clients,
    record: &Record,
    eks: &Eks,
    kubernetes: &str,
    (up, reads_release): (bool, bool),
) -> Result<Facts, CallError> {
    let names: BTreeSet<String> = eks.addons.keys().cloned().collect();
    let group = record.name.node_group();
    let arm = nodes::is_arm(&record.spec.instance_type);
    let changes = eks.version != kubernetes;
    let (versions, addons, release, insights, others) = tokio::join!(
        Box::pin(only(up, versions(clients))),
        Box::pin(only(changes, addons(clients, kubernetes, &names))),
        Box::pin(only(reads_release, release(clients, kubernetes, arm))),
        Box::pin(only(up, insights(clients, &eks.cluster, kubernetes))),
        Box::pin(only(up, others(clients, &eks.cluster, &group))),
    );
    Ok(Facts {
        versions: versions.and_then(Result::ok),
        addons: addons.and_then(Result::ok),
        release: release.map(|read| read.map_err(|error| error.to_string())),
        insights: insights.map(|read| read.map_err(|error| error.to_string())),
        others: others.transpose()?.unwrap_or_default(),
    })
}
