//! A cluster as eksctl makes it: its `ClusterConfig` with the same nodes, add-ons, roles and access as `up eks` makes.
//!
//! Schema: <https://github.com/eksctl-io/eksctl/blob/main/pkg/apis/eksctl.io/v1alpha5/assets/schema.json>. eksctl makes roles itself, out of the
//! policies that are named, and no file system.

use serde_json::{Map, Value, json};

use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::operation::AddonSpec;
use crate::domain::deployment::eks::spec::{Autoscaler, Eks};
use crate::domain::deployment::eks::{addons, identity};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::spec::Spec;

/// Policy of somebody who may do everything in a cluster
/// (<https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html>).
const ADMIN: &str = "AmazonEKSClusterAdminPolicy";

/// Returns the `ClusterConfig`; none where the deployment is none on EKS.
///
/// The account in ARNs may be `*`, where nobody knows it.
pub fn config(name: &Name, spec: &Spec, place: &Place) -> Option<Value> {
    let eks = spec.eks.as_deref()?;
    let mut config = json!({
        "apiVersion": "eksctl.io/v1alpha5",
        "kind": "ClusterConfig",
        "metadata": { "name": eks.cluster, "region": place.region },
        "addons": addons(spec, eks, place),
        "addonsConfig": { "disableDefaultAddons": true },
    });
    if !eks.version.is_empty() {
        config["metadata"]["version"] = json!(eks.version);
    }
    if !spec.tags.is_empty() {
        config["metadata"]["tags"] = json!(spec.tags);
    }
    if !eks.adopted {
        made(&mut config, spec, eks, place);
    }
    let accounts = accounts(name, eks, place);
    if !accounts.is_empty() {
        config["iam"] = json!({ "podIdentityAssociations": accounts });
    }
    if eks.autoscaler != Autoscaler::Cluster {
        config["managedNodeGroups"] = json!([nodes(name, spec, eks, place)]);
    }
    Some(config)
}

/// Adds what a cluster has that is made.
fn made(config: &mut Value, spec: &Spec, eks: &Eks, place: &Place) {
    config["upgradePolicy"] = json!({ "supportType": "STANDARD" });
    let admins: Vec<Value> = eks
        .admins
        .iter()
        .map(|principal| {
            let policy = format!("arn:{}:eks::aws:cluster-access-policy/{ADMIN}", place.partition());
            json!({
                "principalARN": principal,
                "type": "STANDARD",
                "accessPolicies": [{ "policyARN": policy, "accessScope": { "type": "cluster" } }],
            })
        })
        .collect();
    config["accessConfig"] = json!({ "authenticationMode": "API" });
    if !admins.is_empty() {
        config["accessConfig"]["accessEntries"] = admins.into();
    }
    let endpoint = &eks.endpoint;
    let mut vpc = json!({
        "clusterEndpoints": { "publicAccess": endpoint.public, "privateAccess": endpoint.private },
    });
    if !endpoint.cidrs.is_empty() {
        vpc["publicAccessCIDRs"] = json!(endpoint.cidrs);
    }
    if !spec.vpc.is_empty() {
        vpc["id"] = json!(spec.vpc);
    }
    let subnets: Map<String, Value> = spec
        .subnets
        .iter()
        .filter(|subnet| !subnet.id.is_empty())
        .map(|subnet| (subnet.id.clone(), json!({ "id": subnet.id })))
        .collect();
    if !subnets.is_empty() {
        vpc["subnets"] = json!({ "private": subnets });
    }
    config["vpc"] = vpc;
    if !eks.log_types.is_empty() {
        config["cloudWatch"] = json!({ "clusterLogging": {
            "enableTypes": eks.log_types,
            "logRetentionInDays": spec.log_retention_days,
        } });
    }
    if let Some(key) = &eks.secrets_key {
        config["secretsEncryption"] = json!({ "keyARN": key });
    }
}

fn addons(spec: &Spec, eks: &Eks, place: &Place) -> Vec<Value> {
    addons::addons(spec)
        .iter()
        .map(|addon| {
            let AddonSpec {
                name,
                version,
                configuration,
                accounts: _,
            } = addon;
            let mut entry = json!({ "name": name });
            if !version.is_empty() {
                entry["version"] = json!(version);
            }
            if let Some(configuration) = configuration {
                entry["configurationValues"] = json!(configuration.to_string());
            }
            if let Some((of, namespace, account)) = addons::account(name) {
                entry["podIdentityAssociations"] = json!([{
                    "namespace": namespace,
                    "serviceAccountName": account,
                    "permissionPolicyARNs": identity::attached(of, eks, place),
                }]);
            }
            entry
        })
        .collect()
}

/// Returns the service accounts of ours that have a role.
fn accounts(name: &Name, eks: &Eks, place: &Place) -> Vec<Value> {
    let mut accounts = Vec::new();
    let wanted = [
        (
            RoleOf::Autoscaler,
            eks.autoscaler == Autoscaler::ClusterAutoscaler,
        ),
        (RoleOf::Jobs, !eks.job_policies.is_empty()),
    ];
    for (of, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
        let Some((namespace, account)) = identity::account(of, name, eks) else {
            continue;
        };
        let mut entry = json!({ "namespace": namespace, "serviceAccountName": account });
        if let Some(policy) = identity::inline(of, name, eks, place) {
            entry["permissionPolicy"] = policy;
        } else {
            entry["permissionPolicyARNs"] = json!(identity::attached(of, eks, place));
        }
        accounts.push(entry);
    }
    accounts
}

fn nodes(name: &Name, spec: &Spec, eks: &Eks, place: &Place) -> Value {
    let types: Vec<&String> = std::iter::once(&spec.instance_type)
        .chain(&spec.fallback_types)
        .collect();
    let mut group = json!({
        "name": name.node_group(),
        "amiFamily": "AmazonLinux2023",
        "instanceTypes": types,
        "minSize": eks.min_nodes,
        "maxSize": eks.max_nodes,
        "desiredCapacity": eks.min_nodes,
        "volumeSize": spec.disk.gib,
        "volumeType": "gp3",
        "volumeIOPS": spec.disk.iops,
        "volumeThroughput": spec.disk.throughput,
        "volumeEncrypted": true,
        "disableIMDSv1": true,
        "disablePodIMDS": true,
        "labels": name.node_labels(),
        "iam": { "attachPolicyARNs": identity::attached(RoleOf::Nodes, eks, place) },
    });
    if let Some(key) = &spec.disk.kms_key {
        group["volumeKmsKeyID"] = json!(key);
    }
    if spec.subnets.iter().any(|subnet| !subnet.id.is_empty()) {
        group["privateNetworking"] = json!(true);
    }
    if !spec.tags.is_empty() {
        group["tags"] = json!(spec.tags);
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{eks, eks_spec};

    fn place() -> Place {
        Place {
            account: "123456789012".to_owned(),
            region: "cn-north-1".to_owned(),
        }
    }

    #[test]
    fn it_is_the_cluster_that_up_makes() {
        let name = Name::new("abc").expect("sound");
        let config = config(&name, &eks_spec(), &place()).expect("a cluster");
        assert_eq!(config["upgradePolicy"]["supportType"], "STANDARD");
        let group = &config["managedNodeGroups"][0];
        assert_eq!(
            (&group["minSize"], &group["maxSize"], &group["volumeSize"]),
            (&json!(2), &json!(4), &json!(200))
        );
        let accounts = config["iam"]["podIdentityAssociations"]
            .as_array()
            .expect("accounts");
        assert_eq!(accounts.len(), 2, "{accounts:?}");
        for addon in config["addons"].as_array().expect("add-ons") {
            let of = addons::account(addon["name"].as_str().expect("a name"));
            assert_eq!(addon.get("podIdentityAssociations").is_some(), of.is_some());
        }
        let all = config.to_string();
        assert!(!all.contains("arn:aws:iam::aws"), "of another partition: {all}");
    }

    #[test]
    fn of_an_adopted_cluster_only_what_is_ours_is_said() {
        let name = Name::new("abc").expect("sound");
        let spec = Spec {
            eks: Some(Box::new(Eks {
                adopted: true,
                autoscaler: Autoscaler::Cluster,
                job_policies: Vec::new(),
                ..eks()
            })),
            ..eks_spec()
        };
        let config = config(&name, &spec, &place()).expect("a cluster");
        for of_the_cluster in ["vpc", "accessConfig", "upgradePolicy", "managedNodeGroups", "iam"] {
            assert!(config.get(of_the_cluster).is_none(), "{of_the_cluster}");
        }
    }
}
