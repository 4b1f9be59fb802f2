//! Who may do something: principals of IAM in the cluster, and service accounts of the cluster in AWS.

use aws_sdk_eks::types::{AccessScope, AccessScopeType, PodIdentityAssociation as Association};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::role::or_missing;
use crate::domain::deployment::eks::name::{RoleOf, access_address};
use crate::domain::deployment::eks::observed::{AccessEntry, PodIdentity};
use crate::domain::deployment::name::Place;
use crate::domain::deployment::observed::Tagged;
use crate::domain::deployment::owner::DEPLOYMENT;
use crate::engine::port::Ids;

const LIST_ENTRIES: &str = "eks:ListAccessEntries";
const DESCRIBE_ENTRY: &str = "eks:DescribeAccessEntry";
const LIST_POLICIES: &str = "eks:ListAssociatedAccessPolicies";
const CREATE_ENTRY: &str = "eks:CreateAccessEntry";
const ASSOCIATE: &str = "eks:AssociateAccessPolicy";
const DELETE_ENTRY: &str = "eks:DeleteAccessEntry";
const LIST_IDENTITIES: &str = "eks:ListPodIdentityAssociations";
const DESCRIBE_IDENTITY: &str = "eks:DescribePodIdentityAssociation";
const CREATE_IDENTITY: &str = "eks:CreatePodIdentityAssociation";
const DELETE_IDENTITY: &str = "eks:DeletePodIdentityAssociation";

/// Questions at the same time: there is no call that tells the tags of several.
const AT_ONCE: usize = 8;

/// Returns the policy that lets a principal do everything in a cluster; it belongs to AWS, in every partition
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
pub fn admin_policy(place: &Place) -> String {
    let partition = place.partition();
    format!("arn:{partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy")
}

/// Returns the address of the pod identity with a role.
pub fn identity_address(of: RoleOf) -> String {
    format!("pod-identity-{}", of.word())
}

/// Reads the access entry of a principal.
pub async fn entry(
    clients: &Clients,
    cluster: &str,
    principal: &str,
) -> Result<Option<Tagged<AccessEntry>>, CallError> {
    let call = clients.eks.describe_access_entry();
    let answer = call.cluster_name(cluster).principal_arn(principal).send().await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE_ENTRY, &error)))?;
    let Some(entry) = answer.and_then(|answer| answer.access_entry) else {
        return Ok(None);
    };
    let mut policies = Vec::new();
    let call = clients.eks.list_associated_access_policies();
    let call = call.cluster_name(cluster).principal_arn(principal);
    let mut pages = call.into_paginator().send();
    while let Some(page) = pages.next().await {
        let Some(page) = or_missing(page.map_err(|error| classify(LIST_POLICIES, &error)))? else {
            return Ok(None);
        };
        let arns = page.associated_access_policies().iter();
        policies.extend(arns.filter_map(|policy| policy.policy_arn().map(str::to_owned)));
    }
    policies.sort();
    Ok(Some(Tagged {
        tags: entry.tags.unwrap_or_default().into_iter().collect(),
        it: AccessEntry { policies },
    }))
}

/// Reads the access entries that carry a deployment's name, by principal.
pub async fn entries(
    clients: &Clients,
    cluster: &str,
    deployment: &str,
) -> Result<Vec<(String, Tagged<AccessEntry>)>, CallError> {
    let mut principals = Vec::new();
    let call = clients.eks.list_access_entries().cluster_name(cluster);
    let mut pages = call.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(LIST_ENTRIES, &error))?;
        principals.extend(page.access_entries().iter().cloned());
    }
    let read = stream::iter(principals)
        .map(|principal| async move {
            let read = entry(clients, cluster, &principal).await?;
            Ok::<_, CallError>(read.map(|read| (principal, read)))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(read
        .into_iter()
        .flatten()
        .filter(|(_, entry)| entry.tags.get(DEPLOYMENT).map(String::as_str) == Some(deployment))
        .collect())
}

/// Lets a principal into the cluster.
pub async fn create_entry(scene: &Scene<'_>, cluster: &str, principal: &str) -> Result<(), CallError> {
    let address = access_address(principal);
    scene
        .clients
        .eks
        .create_access_entry()
        .cluster_name(cluster)
        .principal_arn(principal)
        .set_tags(Some(scene.tags(&address).into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE_ENTRY, &error))?;
    Ok(())
}

/// Lets it do everything there; saying so twice is no harm.
pub async fn associate_policy(scene: &Scene<'_>, cluster: &str, principal: &str) -> Result<(), CallError> {
    let whole = AccessScope::builder().r#type(AccessScopeType::Cluster).build();
    scene
        .clients
        .eks
        .associate_access_policy()
        .cluster_name(cluster)
        .principal_arn(principal)
        .policy_arn(admin_policy(scene.place))
        .access_scope(whole)
        .send()
        .await
        .map_err(|error| classify(ASSOCIATE, &error))?;
    Ok(())
}

/// Removes an access entry with its policies.
pub async fn delete_entry(clients: &Clients, cluster: &str, principal: &str) -> Result<(), CallError> {
    clients
        .eks
        .delete_access_entry()
        .cluster_name(cluster)
        .principal_arn(principal)
        .send()
        .await
        .map_err(|error| classify(DELETE_ENTRY, &error))?;
    Ok(())
}

/// A pod identity association with its namespace and service account.
type Named = (String, Tagged<PodIdentity>);

fn described(found: Association) -> Named {
    let text = |text: Option<String>| text.unwrap_or_default();
    let name = format!("{}/{}", text(found.namespace), text(found.service_account));
    let read = Tagged {
        tags: found.tags.unwrap_or_default().into_iter().collect(),
        it: PodIdentity {
            id: text(found.association_id),
            role: text(found.role_arn),
            owner: found.owner_arn,
        },
    };
    (name, read)
}

/// Returns the identities of associations, of one service account or of all, those of add-ons left out.
async fn associations(
    clients: &Clients,
    cluster: &str,
    of: Option<(&str, &str)>,
) -> Result<Vec<String>, CallError> {
    let mut found = Vec::new();
    let call = clients.eks.list_pod_identity_associations().cluster_name(cluster);
    let call = match of {
        Some((namespace, account)) => call.namespace(namespace).service_account(account),
        None => call,
    };
    let mut pages = call.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(LIST_IDENTITIES, &error))?;
        let listed = page.associations().iter();
        let listed = listed.filter(|listed| of.is_some() || listed.owner_arn().is_none());
        found.extend(listed.filter_map(|listed| listed.association_id().map(str::to_owned)));
    }
    Ok(found)
}

async fn identity(clients: &Clients, cluster: &str, id: &str) -> Result<Option<Named>, CallError> {
    let call = clients.eks.describe_pod_identity_association();
    let answer = call.cluster_name(cluster).association_id(id).send().await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE_IDENTITY, &error)))?;
    Ok(answer.and_then(|answer| answer.association).map(described))
}

/// Reads the pod identity of a service account.
pub async fn identity_of(
    clients: &Clients,
    cluster: &str,
    namespace: &str,
    account: &str,
) -> Result<Option<Tagged<PodIdentity>>, CallError> {
    let found = associations(clients, cluster, Some((namespace, account))).await?;
    match found.first() {
        None => Ok(None),
        Some(id) => Ok(identity(clients, cluster, id).await?.map(|(_, read)| read)),
    }
}

/// Reads the pod identities that carry a deployment's name, by `namespace/service account`.
pub async fn identities(clients: &Clients, cluster: &str, deployment: &str) -> Result<Vec<Named>, CallError> {
    let found = associations(clients, cluster, None).await?;
    let read = stream::iter(found)
        .map(|id| async move { identity(clients, cluster, &id).await })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(read
        .into_iter()
        .flatten()
        .filter(|(_, read)| read.tags.get(DEPLOYMENT).map(String::as_str) == Some(deployment))
        .collect())
}

/// Lets a service account take a role; returns the identity of that.
pub async fn create_identity(
    scene: &Scene<'_>,
    cluster: &str,
    namespace: &str,
    account: &str,
    of: RoleOf,
    ids: &Ids,
) -> Result<String, CallError> {
    let address = identity_address(of);
    let answer = scene
        .clients
        .eks
        .create_pod_identity_association()
        .cluster_name(cluster)
        .namespace(namespace)
        .service_account(account)
        .role_arn(scene.role_arn(of, ids))
        .set_tags(Some(scene.tags(&address).into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE_IDENTITY, &error))?;
    let id = answer
        .association
        .and_then(|association| association.association_id);
    id.ok_or(CallError::Malformed {
        action: CREATE_IDENTITY,
        cause: "no association id".to_owned(),
    })
}

/// Takes a role from a service account.
pub async fn delete_identity(clients: &Clients, cluster: &str, id: &str) -> Result<(), CallError> {
    clients
        .eks
        .delete_pod_identity_association()
        .cluster_name(cluster)
        .association_id(id)
        .send()
        .await
        .map_err(|error| classify(DELETE_IDENTITY, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_of_aws_are_in_the_partition_of_the_region() {
        let place = |region: &str| Place {
            account: "1".repeat(12),
            region: region.to_owned(),
        };
        assert!(admin_policy(&place("eu-west-2")).starts_with("arn:aws:eks::aws:"));
        assert!(admin_policy(&place("cn-north-1")).starts_with("arn:aws-cn:eks::aws:"));
        assert!(admin_policy(&place("us-gov-west-1")).starts_with("arn:aws-us-gov:"));
    }
}
