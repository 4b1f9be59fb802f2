//! Add-ons.

use aws_sdk_eks::types::{Addon as Description, AddonIssue, AddonPodIdentityAssociations, ResolveConflicts};

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::role::or_missing;
use crate::domain::deployment::eks::health::finding;
use crate::domain::deployment::eks::observed::Addon;
use crate::domain::deployment::eks::operation::AddonSpec;
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::observed::Tagged;
use crate::engine::port::Ids;

const DESCRIBE: &str = "eks:DescribeAddon";
const LIST: &str = "eks:ListAddons";
const CREATE: &str = "eks:CreateAddon";
const UPDATE: &str = "eks:UpdateAddon";
const DELETE: &str = "eks:DeleteAddon";

/// Returns the address of an add-on.
pub fn address(name: &str) -> String {
    format!("addon-{name}")
}

/// Reads an add-on.
pub async fn read(clients: &Clients, cluster: &str, name: &str) -> Result<Option<Tagged<Addon>>, CallError> {
    let call = clients.eks.describe_addon();
    let answer = call.cluster_name(cluster).addon_name(name).send().await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(answer
        .and_then(|answer| answer.addon)
        .map(|addon| described(&addon)))
}

fn issue(issue: &AddonIssue) -> String {
    let code = issue.code().map_or("Unknown", |code| code.as_str());
    finding(code, issue.message().unwrap_or_default(), issue.resource_ids())
}

fn described(addon: &Description) -> Tagged<Addon> {
    Tagged {
        tags: addon.tags().cloned().unwrap_or_default().into_iter().collect(),
        it: Addon {
            status: addon.status().map_or("", |status| status.as_str()).to_owned(),
            version: addon.addon_version().unwrap_or_default().to_owned(),
            // YAML is allowed too, which is not ours and so a difference.
            configuration: addon
                .configuration_values()
                .filter(|text| !text.is_empty())
                .map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into())),
            pod_identities: addon.pod_identity_associations().to_vec(),
            issues: addon
                .health()
                .map(|health| health.issues().iter().map(issue).collect())
                .unwrap_or_default(),
        },
    }
}

/// Lists the add-ons of a cluster.
pub async fn names(clients: &Clients, cluster: &str) -> Result<Vec<String>, CallError> {
    let mut names = Vec::new();
    let mut pages = clients
        .eks
        .list_addons()
        .cluster_name(cluster)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| classify(LIST, &error))?;
        names.extend(page.addons().iter().cloned());
    }
    Ok(names)
}

fn identities(
    scene: &Scene<'_>,
    addon: &AddonSpec,
    ids: &Ids,
    action: &'static str,
) -> Result<Option<Vec<AddonPodIdentityAssociations>>, CallError> {
    let built = addon.accounts.iter().map(|(account, of)| {
        AddonPodIdentityAssociations::builder()
            .service_account(account)
            .role_arn(scene.role_arn(*of, ids))
            .build()
            .map_err(|error| CallError::Malformed {
                action,
                cause: error.to_string(),
            })
    });
    let built = built.collect::<Result<Vec<_>, _>>()?;
    Ok((!built.is_empty()).then_some(built))
}

/// Installs an add-on.
///
/// In a cluster of ours nobody else can have meant its fields; in another one a conflict is told, not settled.
pub async fn create(scene: &Scene<'_>, eks: &Eks, addon: &AddonSpec, ids: &Ids) -> Result<(), CallError> {
    let conflicts = if eks.adopted {
        ResolveConflicts::None
    } else {
        ResolveConflicts::Overwrite
    };
    let address = address(&addon.name);
    scene
        .clients
        .eks
        .create_addon()
        .cluster_name(&eks.cluster)
        .addon_name(&addon.name)
        .addon_version(&addon.version)
        .set_configuration_values(addon.configuration.as_ref().map(ToString::to_string))
        .set_pod_identity_associations(identities(scene, addon, ids, CREATE)?)
        .resolve_conflicts(conflicts)
        .set_tags(Some(scene.tags(&address).into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    Ok(())
}

/// Changes version or settings; returns the change that EKS carries out.
///
/// What somebody set in the cluster stays as it is (`PRESERVE`), and where we say nothing of settings those of before do.
pub async fn update(
    scene: &Scene<'_>,
    eks: &Eks,
    addon: &AddonSpec,
    ids: &Ids,
) -> Result<Option<String>, CallError> {
    let answer = scene
        .clients
        .eks
        .update_addon()
        .cluster_name(&eks.cluster)
        .addon_name(&addon.name)
        .addon_version(&addon.version)
        .set_configuration_values(addon.configuration.as_ref().map(ToString::to_string))
        .set_pod_identity_associations(identities(scene, addon, ids, UPDATE)?)
        .resolve_conflicts(ResolveConflicts::Preserve)
        .send()
        .await
        .map_err(|error| classify(UPDATE, &error))?;
    Ok(answer.update.and_then(|update| update.id))
}

/// Removes an add-on with what it installed.
pub async fn delete(clients: &Clients, cluster: &str, name: &str) -> Result<(), CallError> {
    clients
        .eks
        .delete_addon()
        .cluster_name(cluster)
        .addon_name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
