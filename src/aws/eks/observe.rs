//! Reads what there is of a deployment on EKS, without what stands in the cluster.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::{access, addon, cluster, nodes, role, storage, template};
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, Refusal};
use crate::aws::{logs, role::or_missing};
use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::observed::{AccessEntry, Addon, PodIdentity};
use crate::domain::deployment::eks::observed::{Cluster, Inside, NodeGroup, ObservedEks};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::observed::{LogGroup, Tagged};

/// Reads everything of one deployment at once; what is within a cluster only where there is one.
pub async fn observe(
    clients: &Clients,
    place: &Place,
    name: &Name,
    cluster: &str,
) -> Result<ObservedEks, CallError> {
    let efs_group = name.efs_security_group();
    let template_name = name.node_group();
    // Boxed, because together they are too much for the stack of a thread.
    let (whole, roles, launch_template, file_system, efs_group, own_logs, agent_logs) = tokio::try_join!(
        Box::pin(whole(clients, name, cluster)),
        Box::pin(roles(clients, place, name)),
        Box::pin(template::read(clients, &template_name)),
        Box::pin(storage::of(clients, name.as_str())),
        Box::pin(storage::group_named(clients, &efs_group, name.as_str())),
        Box::pin(log_groups(clients, place, format!("/aws/eks/{cluster}/"))),
        Box::pin(log_groups(
            clients,
            place,
            format!("/aws/containerinsights/{cluster}/")
        )),
    )?;
    let (cluster, within) = whole;
    Ok(ObservedEks {
        cluster,
        roles,
        launch_template,
        node_group: within.node_group,
        others_in_cluster: within.others,
        addons: within.addons,
        access_entries: within.access_entries,
        pod_identities: within.pod_identities,
        file_system,
        efs_group,
        log_groups: own_logs.into_iter().chain(agent_logs).collect(),
        inside: Inside::Nothing,
    })
}

async fn roles(
    clients: &Clients,
    place: &Place,
    name: &Name,
) -> Result<BTreeMap<RoleOf, Tagged<crate::domain::deployment::eks::observed::EksRole>>, CallError> {
    let read = RoleOf::ALL.map(|of| {
        Box::pin(async move {
            let read = role::read(clients, place, name, of).await?;
            Ok::<_, CallError>(read.map(|read| (of, read)))
        })
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

async fn log_groups(
    clients: &Clients,
    place: &Place,
    prefix: String,
) -> Result<BTreeMap<String, Tagged<LogGroup>>, CallError> {
    let found = logs::beginning(clients, &prefix).await?;
    let read = found.into_iter().map(|(name, it)| async move {
        let arn = place.arn("logs", &format!("log-group:{name}"));
        // It may have gone meanwhile.
        let tags = or_missing(logs::tags(clients, &arn).await)?;
        Ok::<_, CallError>(tags.map(|tags| (name, Tagged { it, tags })))
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}

/// What is within a cluster, as far as AWS knows.
#[derive(Default)]
struct Within {
    node_group: Option<Tagged<NodeGroup>>,
    others: Vec<String>,
    addons: BTreeMap<String, Tagged<Addon>>,
    access_entries: BTreeMap<String, Tagged<AccessEntry>>,
    pod_identities: BTreeMap<String, Tagged<PodIdentity>>,
}

/// Reads the cluster, and what is within where there is one.
async fn whole(
    clients: &Clients,
    name: &Name,
    cluster: &str,
) -> Result<(Option<Tagged<Cluster>>, Within), CallError> {
    let Some(found) = cluster::read(clients, cluster).await? else {
        return Ok((None, Within::default()));
    };
    // The entries of a cluster that knows a config map alone cannot be listed.
    let has_entries = found.it.authentication != "CONFIG_MAP";
    let group = name.node_group();
    let entries = async {
        if has_entries {
            access::entries(clients, cluster, name.as_str()).await
        } else {
            Ok(Vec::new())
        }
    };
    let (names, node_group, addons, entries, identities) = tokio::try_join!(
        Box::pin(settled(nodes::names(clients, cluster))),
        Box::pin(nodes::read(clients, cluster, &group)),
        Box::pin(settled(addons(clients, cluster))),
        Box::pin(settled(entries)),
        Box::pin(settled(access::identities(clients, cluster, name.as_str()))),
    )?;
    let (groups, profiles) = names;
    let others = groups.into_iter().filter(|other| *other != group);
    let profiles = profiles
        .into_iter()
        .map(|profile| format!("Fargate profile {profile}"));
    let within = Within {
        node_group,
        others: others.chain(profiles).collect(),
        addons,
        access_entries: entries.into_iter().collect(),
        pod_identities: identities.into_iter().collect(),
    };
    Ok((Some(found), within))
}

/// Returns nothing where a cluster that comes or goes has nothing to list yet or any more.
async fn settled<T: Default>(asked: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    match asked.await {
        Err(error) if matches!(error.refusal(), Some(Refusal::Missing | Refusal::NotYet)) => Ok(T::default()),
        other => other,
    }
}

async fn addons(clients: &Clients, cluster: &str) -> Result<BTreeMap<String, Tagged<Addon>>, CallError> {
    let names = addon::names(clients, cluster).await?;
    let read = names.into_iter().map(|name| async move {
        let read = addon::read(clients, cluster, &name).await?;
        Ok::<_, CallError>(read.map(|read| (name, read)))
    });
    Ok(try_join_all(read).await?.into_iter().flatten().collect())
}
