//! Roles of a deployment on EKS: what they have besides what `aws/role` makes.

use serde_json::Value;

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::role::{create_role, or_missing, role};
use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::observed::EksRole;
use crate::domain::deployment::name::{IAM_PATH, Name, Place};
use crate::domain::deployment::observed::Tagged;

const ATTACH: &str = "iam:AttachRolePolicy";
const DETACH: &str = "iam:DetachRolePolicy";
const ATTACHED: &str = "iam:ListAttachedRolePolicies";

/// Says what a role is for, where people look at it.
fn description(of: RoleOf) -> &'static str {
    match of {
        RoleOf::Cluster => "Control plane of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Nodes => "Nodes of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Cni => "Network add-on of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Ebs => "EBS driver of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Efs => "EFS driver of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Observability => "CloudWatch agent of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Autoscaler => "Cluster Autoscaler of a DataOps Runner's cluster, made by dataops-infra",
        RoleOf::Jobs => "Jobs of a DataOps Runner, made by dataops-infra",
    }
}

/// Makes a role.
pub async fn create(scene: &Scene<'_>, of: RoleOf, trust: &Value) -> Result<(), CallError> {
    let tags = scene.tags(&of.address());
    create_role(scene.clients, &scene.role(of), description(of), trust, &tags).await
}

/// Attaches a policy.
pub async fn attach(clients: &Clients, role: &str, policy: &str) -> Result<(), CallError> {
    clients
        .iam
        .attach_role_policy()
        .role_name(role)
        .policy_arn(policy)
        .send()
        .await
        .map_err(|error| classify(ATTACH, &error))?;
    Ok(())
}

/// Takes a policy off.
pub async fn detach(clients: &Clients, role: &str, policy: &str) -> Result<(), CallError> {
    clients
        .iam
        .detach_role_policy()
        .role_name(role)
        .policy_arn(policy)
        .send()
        .await
        .map_err(|error| classify(DETACH, &error))?;
    Ok(())
}

/// Reads a role with its policies.
pub async fn read(
    clients: &Clients,
    place: &Place,
    name: &Name,
    of: RoleOf,
) -> Result<Option<Tagged<EksRole>>, CallError> {
    let full = name.eks_role(&place.region, of);
    let Some(found) = role(clients, &full).await? else {
        return Ok(None);
    };
    let mut attached = Vec::new();
    let mut pages = clients
        .iam
        .list_attached_role_policies()
        .role_name(&full)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        // It may have gone meanwhile.
        let Some(page) = or_missing(page.map_err(|error| classify(ATTACHED, &error)))? else {
            return Ok(None);
        };
        let arns = page.attached_policies().iter();
        attached.extend(arns.filter_map(|policy| policy.policy_arn().map(str::to_owned)));
    }
    attached.sort();
    Ok(Some(Tagged {
        tags: found.tags,
        it: EksRole {
            arn: place.iam_arn(&format!("role{IAM_PATH}{full}")),
            role: found.it,
            attached,
        },
    }))
}
